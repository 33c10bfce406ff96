"""A network that runs: built for an input shape, with its parameters, its optimiser's state and its programs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from math import isfinite, sqrt
from threading import RLock
from types import TracebackType
from typing import Any, Self, TypeAlias
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from pellucid.errors import ArgumentError, DtypeError, ShapeError
from pellucid.nn import programs
from pellucid.nn.blueprint import DRY_BATCH, Blueprint, Outline, outline
from pellucid.nn.diagnosis import not_finite
from pellucid.nn.kept import KeptProgram, KeptPrograms
from pellucid.nn.losses import Loss
from pellucid.nn.programs import Target
from pellucid.nn.state import ParameterView, State, draw_mask
from pellucid.nn.summary import summary_text
from pellucid.nn.targets import is_labels
from pellucid.nn.update import scalar_name
from pellucid.optim import Optimizer
from pellucid.optim.schedules import rate_at

__all__ = ["Model"]

# A forked child has none of its parent's other threads, but their locks.
_locks: WeakSet[Any] = WeakSet()


def _free_locks() -> None:
    for lock in _locks:
        lock._at_fork_reinit()


os.register_at_fork(after_in_child=_free_locks)

Array: TypeAlias = NDArray[Any]

# `predict` takes as many rows at once as keep the largest activation within these bytes, but no more than this: with
# 32 the cost of a call and of reading the weights is small beside that of the images.
PREDICT_BYTES, PREDICT_ROWS = 2**25, 32
# What a row costs by itself, in rows of a block: 1.8 with six convolutions, 2.5 with LeNet-5, 4 with layers all linear.
ROW_COST = 3


class Model:
    """Made by `Sequential.build` and `Graph.build`.

    Images are `(batch, height, width, channels)`, floats of any size of the model's kind: they are converted to its
    `dtype`. A program is compiled for the largest batch met, and kept; smaller batches use it. Two Python threads may
    share a model: their calls follow one another. An interrupt (Ctrl-C) never leaves a step half made, and a forked
    child may go on with its parent's model. `close`, the end of a `with` block or that of the model itself releases
    programs and threads.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint = blueprint
        self._outline: Outline = outline(blueprint)
        self._state = State(self._outline.parameters, blueprint.optimizer, blueprint.seed, blueprint.dtype)
        self._constants = {
            f"loss.{local}": array
            for local, array in (blueprint.loss.weights(blueprint.dtype) if blueprint.loss else {}).items()
        }
        # What changes from step to step has its place, too, so that a call carries a batch and nothing else.
        names = blueprint.optimizer.scalars(0, 1.0) if blueprint.optimizer is not None else ()
        self._scalars = {name: np.zeros((), blueprint.dtype) for name in names}
        scalars = {scalar_name(name): array for name, array in self._scalars.items()}
        self._programs = KeptPrograms({**self._state.arrays, **self._constants, **scalars})
        self._kind = np.dtype(blueprint.dtype)
        self._lock = RLock()
        _locks.add(self._lock)
        self._closed = False
        self._rate = rate_at(blueprint.optimizer.lr, 0) if blueprint.optimizer is not None else 0.0
        self._norms: dict[str, float] = {}
        self._state_norms: dict[str, tuple[float, ...]] = {}

    def close(self) -> None:
        """Releases the programs, their memory and their threads, once no step is running; the parameters stay.

        Running a closed model raises ArgumentError; closing it again does nothing.
        """
        with self._lock:
            self._closed = True
            self._programs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input, without the batch axis."""
        return self._blueprint.input_shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of one prediction, without the batch axis."""
        return self._outline.output_shape

    @property
    def dtype(self) -> str:
        """The floating type of parameters and predictions."""
        return self._blueprint.dtype

    @property
    def loss(self) -> Loss | None:
        """What the model is trained to make small."""
        return self._blueprint.loss

    @property
    def optimizer(self) -> Optimizer | None:
        """What changes the parameters."""
        return self._blueprint.optimizer

    @property
    def steps(self) -> int:
        """The number of training steps made."""
        return self._state.steps

    @property
    def learning_rate(self) -> float:
        """The rate of the last step; before any, that of the first."""
        return self._rate

    @property
    def gradient_norms(self) -> Mapping[str, float]:
        """The L2 norm of each parameter's gradient in the last `train_step(..., gradient_norms=True)`, unclipped."""
        return dict(self._norms)

    @property
    def state_gradient_norms(self) -> Mapping[str, tuple[float, ...]]:
        """The L2 norm of the gradient of each recurrent layer's state ("1.state_l0"), for each step in time from the
        first, in the last `train_step(..., gradient_norms=True)`."""
        return dict(self._state_norms)

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Every parameter and running statistic by name ("0.weight", "1.running_mean"); look-ups give copies."""
        return ParameterView(self._state.parameters, self._lock)

    def load_parameters(self, parameters: Mapping[str, Array], /, *, strict: bool = True) -> None:
        """Takes these values, all or none; with `strict` every parameter must be given.

        Raises ArgumentError (unknown or missing name, values not finite), ShapeError, DtypeError.
        """
        with self._lock:
            self._programs.refresh()
            self._state.load(parameters, strict=strict)

    @property
    def blueprint(self) -> Blueprint:
        """What the model was built from."""
        return self._blueprint

    def state(self) -> dict[str, Array]:
        """Copies of all that training changes: parameters, running statistics, the optimiser's moments
        ("0.weight:v") and the number of `steps`. With it `load_state` of an equal model goes on to the same bits."""
        with self._lock:
            return self._state.everything()

    def load_state(self, state: Mapping[str, Array], /) -> None:
        """Takes what `state` gave, all or nothing; ArgumentError, ShapeError, DtypeError for another's."""
        with self._lock:
            self._programs.refresh()
            self._state.take(state)

    def prepare(self, *, step_rows: int | None = None, score_rows: int | None = None) -> None:
        """Says how large the batches of `train_step`, and those of `evaluate` and `score`, will be at most: one program
        then serves all of them, where the network allows it, and bits do not depend on which sizes came before.

        Raises ArgumentError for a number below 1.
        """
        for name, kind, rows in (("step_rows", "step", step_rows), ("score_rows", "scoring", score_rows)):
            if rows is not None:
                if rows < 1:
                    raise ArgumentError(f"`{name}` (={rows}) must be a whole number of at least 1")
                self._programs.promise(kind, rows)

    def train_step(
        self, x: Array, t: Array, /, *, learning_rate: float | None = None, gradient_norms: bool = False
    ) -> float:
        """One step of the optimiser on a batch; the loss before it, penalties included.

        `learning_rate` takes the place of the optimiser's own for this step.
        Raises TrainingError, with nothing changed, where the loss is not finite (or the gradients' norm, where it is
        computed): it names the step and the first layer whose output or gradient is not. ArgumentError, ShapeError,
        DtypeError for arrays that do not fit.
        """
        optimizer = self._blueprint.optimizer
        if optimizer is None:
            raise ArgumentError("this model cannot be trained: it was built without an `optimizer`")
        if learning_rate is not None and not (isfinite(learning_rate) and learning_rate > 0):
            raise ArgumentError(f"`learning_rate` (={learning_rate}) must be a finite number above 0")
        with self._lock:
            x, t, target = self._take(x, t)
            program = self._programs.get(
                ("step", target, gradient_norms),
                len(x),
                lambda rows: programs.training_step(self._blueprint, rows, target, norms=gradient_norms),
            )
            steps = self._state.steps
            rate = learning_rate if learning_rate is not None else rate_at(optimizer.lr, steps)
            for name, value in optimizer.scalars(steps, rate).items():
                self._scalars[name][...] = value
            # Before the step, so that no interrupt behind it leaves predictions with what was.
            self._programs.refresh()
            found = program({"x": x, "t": t, **self._masks(program, len(x))})
            loss = float(found[program.outputs["loss"]])
            squares = float(found[program.outputs["squares"]]) if "squares" in program.outputs else 0.0
            if not (isfinite(loss) and isfinite(squares)):
                seen = self._diagnose(x, t, target)
                raise not_finite(self._blueprint, seen, self._state.parameters, self.steps, loss)
            self._rate = rate
            if gradient_norms:
                own = {name: found[value] for name, value in program.outputs.items() if name not in ("loss", "squares")}
                states = {name: own.pop(name) for name in list(own) if name.startswith("state ")}
                self._norms = {name: sqrt(float(square)) for name, square in own.items()}
                self._state_norms = {
                    name.removeprefix("state "): tuple(np.sqrt(squares).tolist()) for name, squares in states.items()
                }
            return loss

    def gradients(self, x: Array, t: Array, /) -> tuple[float, dict[str, Array]]:
        """The loss of a batch as `train_step` takes it, and its gradient for every trained parameter; changes nothing.

        Raises ArgumentError, ShapeError, DtypeError for arrays that do not fit.
        """
        with self._lock:
            x, t, target = self._take(x, t)
            program = self._programs.get(
                ("gradients", target), len(x), lambda rows: programs.gradients(self._blueprint, rows, target)
            )
            found = program({"x": x, "t": t, **self._masks(program, len(x))})
            names = {name: value for name, value in program.outputs.items() if name != "loss"}
            return float(found[program.outputs["loss"]]), {name: found[value] for name, value in names.items()}

    def predict(self, x: Array, /) -> Array:
        """The network's output for any number of inputs: running statistics instead of the batch's, no dropout.

        An input alone and one among others may differ in the last bits; see docs/networks.md.
        Raises ArgumentError, ShapeError, DtypeError for arrays that do not fit.
        """
        with self._lock:
            x = self._take_input(x)
            if len(x) == 1 or not self._rows_independent:
                return self._predicted(x, len(x))
            parts = [self._predicted(x[part], size) for part, size in _blocks(len(x), self._rows_at_once)]
            return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def evaluate(self, x: Array, t: Array, /) -> dict[str, float]:
        """`loss` of the predictions for `x`, without penalties, and `accuracy` where the loss knows right from wrong.

        Raises ArgumentError, ShapeError, DtypeError for arrays that do not fit.
        """
        with self._lock:
            x, t, _ = self._take(x, t)
            return self.score(self.predict(x), t)

    def score(self, y: Array, t: Array, /) -> dict[str, float]:
        """What `evaluate` gives, of predictions `y` that are there already.

        Raises ArgumentError, ShapeError, DtypeError for arrays that do not fit.
        """
        with self._lock:
            self._check_open()
            y = np.asarray(y, self.dtype, order="C")
            if y.shape[1:] != self.output_shape or not len(y):
                wanted = ", ".join(("batch", *(str(extent) for extent in self.output_shape)))
                raise ShapeError(f"`y` has shape {y.shape}; the model gives ({wanted})")
            t, target = self._take_target(t, len(y), "y")
            program = self._programs.get(
                ("scoring", target),
                len(y),
                lambda rows: programs.scoring(self._blueprint, rows, self.output_shape, target),
            )
            found = program({"y": y, "t": t})
            measures = {"loss": float(found[program.outputs["loss"]])}
            correct = self._loss.correct(y, t)
            if correct is not None and correct.size:
                measures["accuracy"] = float(correct.mean())
            return measures

    def summary(self, *, kernels: bool = False) -> str:
        """Each layer's output shape, parameters, multiply-adds an input, and equation.

        With `kernels` also how each equation runs, forward and backward, and why: of the last training step that was
        compiled, before any that of inference for one input.
        """
        plans: Mapping[str, Sequence[str]] = {}
        if kernels:
            with self._lock:
                self._check_open()
                steps = self._programs.of("step")
                program = steps[-1] if steps else self._inference(1)
                plans = getattr(program.compiled.engine, "plans", {})
        return summary_text(self._blueprint.topology, self._outline, plans)

    def export(
        self,
        path: str | os.PathLike[str],
        /,
        *,
        opset: int | None = None,
        class_names: Sequence[str] = (),
        preprocessing: Any = None,
        include_preprocessing: bool = False,
        probabilities: bool = False,
    ) -> None:
        """Writes the model, as it predicts, as an ONNX file; see `pellucid.exchange.onnx.export.export`.

        Args:
            path: of the file, which is written whole or not at all.
            opset: the set of operators; 17 unless given.
            class_names: kept in the file's metadata.
            preprocessing: a `pellucid.exchange.Preprocessing`, how pictures become inputs; kept there too.
            include_preprocessing: the file takes pictures, uint8 (batch, height, width, 3) of any size, and gives
                probabilities.
            probabilities: the file gives what the loss makes of predictions.

        Raises:
            ArgumentError: an argument is outside its rule, or a layer cannot be written; it is named.
            MissingPackageError: the package onnx is not installed.
            StorageError: the file cannot be written.
        """
        # The one way from here to the files: a model is exported by the model, as it is trained by it.
        from pellucid.exchange.onnx.export import DEFAULT_OPSET, export

        export(
            self,
            path,
            opset=DEFAULT_OPSET if opset is None else opset,
            class_names=class_names,
            preprocessing=preprocessing,
            include_preprocessing=include_preprocessing,
            probabilities=probabilities,
        )

    @property
    def _loss(self) -> Loss:
        if self._blueprint.loss is None:
            raise ArgumentError("this model has no loss: it was built without a `loss`")
        return self._blueprint.loss

    @cached_property
    def _rows_at_once(self) -> int:
        values = [self._outline.graph.values[name] for name in self._outline.laid.outputs.values()]
        largest = max(value.size for value in values) // DRY_BATCH * np.dtype(self.dtype).itemsize
        return min(PREDICT_ROWS, 1 << max(0, (PREDICT_BYTES // largest).bit_length() - 1))

    @cached_property
    def _rows_independent(self) -> bool:
        return programs.rows_stay_apart(self._blueprint)

    def _inference(self, batch: int) -> KeptProgram:
        return self._programs.get("inference", batch, lambda rows: programs.inference(self._blueprint, rows))

    def _predicted(self, x: Array, rows: int) -> Array:
        """The prediction for `x`, made by the program for `rows` rows."""
        program = self._inference(rows)
        y = program({"x": x})[program.outputs["y"]]
        return y if len(x) == rows else y[: len(x)]

    def _masks(self, program: KeptProgram, rows: int) -> dict[str, Array]:
        return {
            name: draw_mask(
                (rows, *mask.shape[1:]),
                mask.rate,
                seed=self._blueprint.seed,
                step=self.steps,
                name=name,
                dtype=self.dtype,
            )
            for name, mask in program.masks.items()
        }

    def _diagnose(self, x: Array, t: Array, target: Target) -> dict[str, Array]:
        program = self._programs.get(
            ("diagnosis", target), len(x), lambda rows: programs.diagnosis(self._blueprint, rows, target)
        )
        found = program({"x": x, "t": t, **self._masks(program, len(x))})
        return {"input": x, **{name: found[value] for name, value in program.outputs.items()}}

    def _take(self, x: Array, t: Array) -> tuple[Array, Array, Target]:
        x = self._take_input(x)
        return x, *self._take_target(t, len(x), "x")

    def _take_target(self, t: Array, rows: int, beside: str) -> tuple[Array, Target]:
        t = np.asarray(t)
        if t.ndim and len(t) != rows:
            raise ShapeError(f"`{beside}` has {rows} rows and `t` has {len(t)}")
        t = self._loss.take(t, (rows, *self.output_shape), self.dtype)
        return t, Target(t.shape[1:], "int64" if is_labels(t) else self.dtype)

    def _check_open(self) -> None:
        if self._closed:
            raise ArgumentError("this model is closed: it has its parameters, but runs no more")

    def _take_input(self, x: Array) -> Array:
        self._check_open()
        # What fits as it is, as nearly every batch, costs no call of NumPy's.
        fits = type(x) is np.ndarray and x.dtype is self._kind and x.shape[1:] == self.input_shape and len(x)
        if fits and x.flags.c_contiguous:
            return x
        x = np.asarray(x)
        if x.ndim != len(self.input_shape) + 1 or x.shape[1:] != self.input_shape:
            wanted = ", ".join(("batch", *(str(extent) for extent in self.input_shape)))
            raise ShapeError(f"`x` has shape {x.shape}; the model takes ({wanted})")
        if x.dtype.kind != "f":
            hint = "; scale images to floats first: x.astype('float32') / 255" if x.dtype == np.uint8 else ""
            raise DtypeError(f"`x` has dtype {x.dtype}; the model takes floats{hint}")
        if len(x) == 0:
            raise ArgumentError(f"`x` {x.shape} is an empty batch; at least 1 row is needed")
        return np.asarray(x, self.dtype, order="C")


def _blocks(rows: int, block: int) -> Iterator[tuple[slice, int]]:
    """Which rows are predicted together, and the size of the program that does it: whole blocks, and for what is left
    over a block that is not full, or row by row where that is less work. One row alone is never
    a block: with large images a block has two."""
    rest = rows % block
    for start in range(0, rows - rest, block):
        yield slice(start, start + block), block
    if rows > 1 and rest * ROW_COST > block:
        yield slice(rows - rest, rows), block
    else:
        for start in range(rows - rest, rows):
            yield slice(start, start + 1), 1
