"""A network's outputs as probabilities of the classes, as its loss understands them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid import nn

__all__ = ["probabilities_of"]


def probabilities_of(outputs: NDArray[Any], loss: nn.Loss | None) -> NDArray[np.float64]:
    """(count, classes) float64: of logits their softmax or, where classes stand by themselves, their sigmoid; of what
    are probabilities already, themselves."""
    values = outputs.astype(np.float64)
    if isinstance(loss, nn.CrossEntropyLoss):
        exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
        return exponentials / exponentials.sum(axis=-1, keepdims=True)
    if isinstance(loss, nn.NLLLoss):
        return np.exp(values)
    if isinstance(loss, nn.BCEWithLogitsLoss):
        return 0.5 * (1 + np.tanh(values / 2))
    return values
