"""PyTorch's convolutions and dense layers, on tensors of both memory formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pellucid.bench.contender import Contenders
from pellucid.bench.peers import load

if TYPE_CHECKING:
    from pellucid.bench.kernels import Convolution, Dense

__all__ = ["contenders", "layouts"]


def contenders(case: Convolution | Dense, which: str, arrays: Mapping[str, NDArray[Any]]) -> Contenders:
    """A pass of a layer on `x`, `w` and the output's gradient `g`, all in our layouts."""
    return (_convolution if len(arrays["x"].shape) == 4 else _dense)(case, which, arrays)


def layouts(*tensors: Any) -> dict[str, list[Any]]:
    """The tensors in PyTorch's two memory formats."""
    torch = load("torch")
    return {
        "contiguous": [tensor.contiguous() for tensor in tensors],
        "channels last": [tensor.contiguous(memory_format=torch.channels_last) for tensor in tensors],
    }


def _convolution(case: Any, which: str, arrays: Mapping[str, NDArray[Any]]) -> Contenders:
    torch = load("torch")
    x, g = (torch.from_numpy(arrays[name]).permute(0, 3, 1, 2) for name in "xg")
    w = torch.from_numpy(arrays["w"]).permute(3, 2, 0, 1)

    def call_on(x: Any, w: Any, g: Any) -> Callable[[], Any]:
        if which == "forward":
            return lambda: torch.nn.functional.conv2d(x, w, None, case.stride, case.padding, case.dilation)
        mask = [which == "dx", which == "dw", False]
        stride, padding, dilation = [case.stride] * 2, [case.padding] * 2, [case.dilation] * 2

        def backward() -> Any:
            run = torch.ops.aten.convolution_backward
            dx, dw, _ = run(g, x, w, None, stride, padding, dilation, False, [0, 0], 1, mask)
            return dx if which == "dx" else dw

        return backward

    def exact() -> NDArray[Any]:
        found = call_on(x.double(), w.double(), g.double())()
        return found.permute(*((2, 3, 1, 0) if which == "dw" else (0, 2, 3, 1))).numpy()

    return Contenders(exact, {form: call_on(*tensors) for form, tensors in layouts(x, w, g).items()})


def _dense(case: object, which: str, arrays: Mapping[str, NDArray[Any]]) -> Contenders:
    """Weights as PyTorch's own layer keeps them: [out, in]."""
    torch = load("torch")
    x, g = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["g"])
    w = torch.from_numpy(np.ascontiguousarray(arrays["w"].T))
    way: Callable[[Any, Any, Any], Any]
    if which == "forward":
        way = lambda x, w, g: x @ w.T  # noqa: E731
    elif which == "dx":
        way = lambda x, w, g: g @ w  # noqa: E731
    else:
        way = lambda x, w, g: g.T @ x  # noqa: E731
    exact = way(x.double(), w.double(), g.double())
    return Contenders((exact.T if which == "dw" else exact).numpy, {"eager": lambda: way(x, w, g)})
