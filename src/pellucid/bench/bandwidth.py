"""Kernels that memory bounds, as a fraction of the copy bandwidth: elementwise equations, pooling, statistics,
depthwise convolutions, copies. PyTorch beside them, on channels-last tensors.

In front of every run the caches are filled with other data, as the rest of a step would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.bench.judge import largest_error
from pellucid.bench.kernels import bound_call, random_arrays
from pellucid.bench.peers import keep_freed_memory, load, set_threads
from pellucid.bench.rows import Row, timed
from pellucid.bench.turns import bandwidth_limit, clock_for, take_turns
from pellucid.equation import Equation

__all__ = ["CASES", "Case", "measure"]

Array: TypeAlias = NDArray[Any]
# 25 MB, as much as a layer of such a network: beside so much it counts little that a run begins with cold code.
IMAGES, MAPS = (96, 32, 32, 64), (16, 56, 56, 128)
HALVED = (16, 28, 28, 128)
FILTERS = (3, 3, 128)
# Bytes that are walked between two runs: more than the last cache holds.
OTHER = 64 << 20
# The largest difference from float64; the sums are short, or of parts.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Case:
    """An equation, or its gradient towards `wrt`, and PyTorch's function of the same arrays in order, the output's
    gradient first; `peer` takes the package in front. Arrays of four dimensions are channels last, filters of depthwise
    convolutions [rows, columns, channels].
    """

    equation: str
    shapes: Mapping[str, tuple[int, ...]]
    peer: Callable[..., Any]
    extents: Mapping[str, int] = field(default_factory=dict[str, int])
    constants: Mapping[str, int] = field(default_factory=dict[str, int])
    wrt: str = ""


def _of_x(equation: str, shape: tuple[int, ...], peer: Callable[[Any, Any], Any], **extents: int) -> Case:
    return Case(equation, {"x": shape}, peer, extents)


def _depthwise(stride: int, wrt: str = "") -> Case:
    def forward(torch: Any, x: Any, w: Any) -> Any:
        return torch.nn.functional.conv2d(x, w, stride=stride, padding=1, groups=128)

    def backward(torch: Any, g: Any, x: Any, w: Any) -> Any:
        one, mask = [1, 1], [wrt == "x", wrt == "w", False]
        run = torch.ops.aten.convolution_backward
        dx, dw, _ = run(g, x, w, None, [stride] * 2, one, one, False, [0, 0], 128, mask)
        return dx if wrt == "x" else dw

    equation = "z[n,i,j,c] = sum(s,t) x[n,i*S+s-1,j*S+t-1,c] * w[s,t,c]"
    shapes = {"g": MAPS if stride == 1 else HALVED, "x": MAPS, "w": FILTERS}
    shapes = shapes if wrt else {name: shapes[name] for name in "xw"}
    return Case(equation, shapes, backward if wrt else forward, {}, {"S": stride}, wrt)


def _pool_gradient(equation: str, shape: tuple[int, ...], window: int, padding: int) -> Case:
    """Stride 2; PyTorch runs forwards too, for it keeps the winners."""

    def backward(torch: Any, g: Any, x: Any) -> Any:
        x = x.detach().requires_grad_()
        torch.nn.functional.max_pool2d(x, window, 2, padding).backward(g)
        return x.grad

    n, rows, columns, c = shape
    shapes = {"g": (n, rows // 2, columns // 2, c), "x": shape}
    return Case(equation, shapes, backward, {"s": window, "t": window}, {}, "x")


GELU = "y[n,i,j,c] = 0.5*x[n,i,j,c]*(1 + erf(0.7071067811865476*x[n,i,j,c]))"
MAX_POOL_2 = "p[n,i,j,c] = max(s,t) x[n,2*i+s,2*j+t,c]"
MAX_POOL_3 = "p[n,i,j,c] = max(s,t) x[n,2*i+s-1,2*j+t-1,c]"
AVERAGE_POOL_2 = "p[n,i,j,c] = sum(s,t) x[n,2*i+s,2*j+t,c] / 4"
POOLED_3 = (8, 112, 112, 64)
NORMALISED = {"x": MAPS, "m": (128,), "r": (128,), "b": (128,)}


def _gelu_gradient(torch: Any, g: Any, x: Any) -> Any:
    return torch.ops.aten.gelu_backward(g, x)


def _normalised(_: Any, x: Any, m: Any, r: Any, b: Any) -> Any:
    return (x - m[:, None, None]) * r[:, None, None] + b[:, None, None]


def _deviations(_: Any, g: Any, x: Any, m: Any) -> Any:
    return (g * (x - m[:, None, None])).sum((0, 2, 3))


CASES: Mapping[str, Case] = MappingProxyType(
    {
        "relu": _of_x("y[n,i,j,c] = max(x[n,i,j,c], 0)", IMAGES, lambda torch, x: torch.nn.functional.relu(x)),
        "sigmoid": _of_x("y[n,i,j,c] = sigmoid(x[n,i,j,c])", IMAGES, lambda torch, x: torch.sigmoid(x)),
        "tanh": _of_x("y[n,i,j,c] = tanh(x[n,i,j,c])", IMAGES, lambda torch, x: torch.tanh(x)),
        "gelu": _of_x(GELU, IMAGES, lambda torch, x: torch.nn.functional.gelu(x)),
        "gelu, dx": Case(GELU, {"g": IMAGES, "x": IMAGES}, _gelu_gradient, wrt="x"),
        "max pool 2": _of_x(MAX_POOL_2, MAPS, lambda torch, x: torch.nn.functional.max_pool2d(x, 2), s=2, t=2),
        "max pool 2, dx": _pool_gradient(MAX_POOL_2, MAPS, 2, 0),
        "max pool 3/2": _of_x(
            MAX_POOL_3, POOLED_3, lambda torch, x: torch.nn.functional.max_pool2d(x, 3, 2, 1), s=3, t=3
        ),
        "max pool 3/2, dx": _pool_gradient(MAX_POOL_3, POOLED_3, 3, 1),
        "average pool 2": _of_x(AVERAGE_POOL_2, MAPS, lambda torch, x: torch.nn.functional.avg_pool2d(x, 2), s=2, t=2),
        "sum over images": _of_x("m[c] = sum(n,i,j) x[n,i,j,c]", IMAGES, lambda _, x: x.sum((0, 2, 3))),
        "squares over images": _of_x("m[c] = sum(n,i,j) x[n,i,j,c]**2", IMAGES, lambda _, x: (x * x).sum((0, 2, 3))),
        "sum over channels": _of_x("m[n,i,j] = sum(c) x[n,i,j,c]", MAPS, lambda _, x: x.sum(1)),
        "normalised images": Case("y[n,i,j,c] = (x[n,i,j,c] - m[c])*r[c] + b[c]", NORMALISED, _normalised),
        "normalised, sums for dx": Case(
            "d[c] = sum(n,i,j) g[n,i,j,c]*(x[n,i,j,c] - m[c])", {"g": MAPS, "x": MAPS, "m": (128,)}, _deviations
        ),
        "depthwise": _depthwise(1),
        "depthwise, dx": _depthwise(1, "x"),
        "depthwise, dw": _depthwise(1, "w"),
        "depthwise /2": _depthwise(2),
        "depthwise /2, dx": _depthwise(2, "x"),
        "depthwise /2, dw": _depthwise(2, "w"),
        "transpose": _of_x(
            "y[n,c,i,j] = x[n,i,j,c]", MAPS, lambda torch, x: x.contiguous(memory_format=torch.contiguous_format)
        ),
    }
)


def measure(names: Sequence[str], peers: Sequence[str], threads: Sequence[int], rounds: int) -> Iterator[Row]:
    """A row for every case and number of threads, verified in float64 before it is timed, if there is a peer.

    Bytes are those of all arrays read and written, each counted once.
    """
    if peers:
        keep_freed_memory()
    for count in threads:
        set_threads(peers, count)
        for name in names:
            yield _contest(name, peers, count, rounds)


def _contest(name: str, peers: Sequence[str], threads: int, rounds: int) -> Row:
    case = CASES[name]
    arrays = random_arrays(case.shapes)
    equation = Equation(case.equation, **case.constants)
    equation = equation.gradient(case.wrt) if case.wrt else equation
    output = equation.formula.output.tensor
    kernel = equation.compile(extents=dict(case.extents), **arrays)
    call, result = bound_call(kernel, arrays, output, threads)
    ways: dict[str, Callable[[], object]] = {"ours": call}
    error: float | None = None
    if peers:
        torch = load("torch")
        given = [_to_torch(array) for array in arrays.values()]
        exact = _from_torch(case.peer(torch, *(tensor.double() for tensor in given)), name)
        call()
        error = largest_error(name, {output: result}, {output: exact}, TOLERANCE)
        ways["torch"] = lambda: case.peer(torch, *given)
    read = {tensor.name for tensor in kernel.loop_nest.program.tensors if tensor.role == "input"}
    size = sum(array.nbytes for key, array in arrays.items() if key in read) + result.nbytes
    other = np.zeros(OTHER // 8)
    turns = take_turns(
        ways,
        size,
        bandwidth_limit(threads),
        rounds=rounds,
        clock=clock_for(threads),
        before=lambda: np.negative(other, out=other),
    )
    peer, theirs = "torch" if peers else None, turns.seconds.get("torch")
    return timed(name, "bandwidth", threads, turns, size, peer=peer, theirs=theirs, error=error)


def _to_torch(array: Array) -> Any:
    """The array as PyTorch expects it: maps channels last, filters [c, 1, rows, columns]."""
    tensor = load("torch").from_numpy(array)
    if array.ndim == 4:
        return tensor.permute(0, 3, 1, 2)
    return tensor.permute(2, 0, 1)[:, None].contiguous() if array.shape == FILTERS else tensor


def _from_torch(tensor: Any, name: str) -> Array:
    """PyTorch's result in the order of ours."""
    if name == "transpose" or tensor.ndim != 4:
        return tensor.numpy()
    return (tensor[:, 0].permute(1, 2, 0) if tensor.shape[1] == 1 else tensor.permute(0, 2, 3, 1)).numpy()
