"""What the tests of operations share: PyTorch as a judge of another make, and how arrays go there and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pellucid import ops
from pellucid.ops.operation import run

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """PyTorch, with which every layer is compared."""
    reason = "PyTorch is the independent judge of these tests: pip install 'pellucid[judges]'"
    return pytest.importorskip("torch", reason=reason)


@dataclass(frozen=True)
class Judge:
    """Compares an operation, forward and backward, with a function of PyTorch.

    `apart` is the largest difference that is allowed, as a part of the largest value of the array.
    """

    torch: ModuleType

    def agree(
        self,
        operation: Callable[..., Array],
        theirs: Callable[..., Any],
        arrays: Sequence[Array | None],
        *,
        backend: str = "reference",
        apart: float = 1e-12,
        gradients: int | None = None,
        **attributes: object,
    ) -> None:
        """`theirs` takes the arrays as tensors and gives a tensor; both must agree in the result and the gradients."""
        y, pullback = ops.vjp(operation, *arrays, backend=backend, **attributes)
        tensors = [self._tensor(array) for array in arrays]
        expected = theirs(*tensors)
        close(y, expected.detach().numpy(), apart, "result")
        g = np.random.default_rng(7).standard_normal(y.shape).astype(y.dtype)
        expected.backward(self.torch.tensor(g))
        for number, (mine, tensor) in enumerate(zip(pullback(g), tensors, strict=True)):
            if gradients is not None and number >= gradients:
                continue
            if tensor is None or not tensor.requires_grad:
                assert mine is None
                continue
            grad = tensor.grad if tensor.grad is not None else self.torch.zeros_like(tensor)
            close(mine, grad.numpy(), apart, f"gradient {number}")

    def _tensor(self, array: Array | None) -> Any:
        return None if array is None else self.torch.tensor(array, requires_grad=array.dtype.kind == "f")


@pytest.fixture(scope="session")
def judge(torch: ModuleType) -> Judge:
    """The comparison with PyTorch."""
    return Judge(torch)


def close(mine: Array, theirs: Array, apart: float, name: str) -> None:
    assert mine.shape == theirs.shape, name
    assert mine.dtype == theirs.dtype, name
    scale = max(float(np.max(np.abs(theirs))), 1e-300)
    worst = float(np.max(np.abs(mine - theirs))) / scale
    assert worst <= apart, f"{name}: {worst:.3g} apart, {apart:.3g} allowed"


def _call(operation: Callable[..., Array], arguments: Sequence[object], attributes: dict[str, object]) -> Array:
    return run(operation.operation.apply(*arguments, **attributes), "reference")  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def literally() -> Callable[..., Array]:
    """`literally(operation, *arguments, **attributes)`: the operation by the reference evaluator."""
    return lambda operation, *arguments, **attributes: _call(operation, arguments, attributes)


@pytest.fixture
def draw() -> Callable[..., Array]:
    """`draw(*shape)`: standard normal float64 numbers, the same ones in every run."""
    generator = np.random.default_rng(20)
    return lambda *shape: generator.standard_normal(shape)
