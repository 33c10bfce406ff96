"""A linear classifier in float64 NumPy: the least that the training loop can train."""

import numpy as np


class LinearModel:
    """Softmax regression by plain gradient descent; keeps what it was given."""

    def __init__(self, inputs: int, classes: int, rate: float = 0.5):
        self.parameters = {"weight": np.zeros((inputs, classes)), "bias": np.zeros(classes)}
        self.learning_rate = rate
        self.batches: list[tuple[np.ndarray, np.ndarray]] = []
        self.evaluated: list[int] = []
        self.gradient_norms: dict[str, float] = {}
        self.state_gradient_norms: dict[str, tuple[float, ...]] = {}

    def load_parameters(self, parameters):
        self.parameters = {name: np.array(value) for name, value in parameters.items()}

    def train_step(self, x, t, *, gradient_norms=False):
        self.batches.append((x.copy(), t.copy()))
        loss, gradients = self.gradients(x, t)
        if gradient_norms:
            self.gradient_norms = {name: float(np.linalg.norm(value)) for name, value in gradients.items()}
        for name, gradient in gradients.items():
            self.parameters[name] = self.parameters[name] - self.learning_rate * gradient
        return loss

    def gradients(self, x, t):
        flat, p = x.reshape(len(x), -1).astype(np.float64), self._probabilities(x)
        loss = float(-np.log(p[np.arange(len(t)), t]).mean())
        p[np.arange(len(t)), t] -= 1
        p /= len(t)
        return loss, {"weight": flat.T @ p, "bias": p.sum(axis=0)}

    def prepare(self, *, step_rows=None, score_rows=None):
        self.prepared = step_rows, score_rows

    def predict(self, x):
        return self._probabilities(x)

    def score(self, y, t):
        self.evaluated.append(len(y))
        return {
            "loss": float(-np.log(y[np.arange(len(t)), t]).mean()),
            "accuracy": float((y.argmax(axis=1) == t).mean()),
        }

    def _probabilities(self, x):
        z = x.reshape(len(x), -1).astype(np.float64) @ self.parameters["weight"] + self.parameters["bias"]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)
