"""Kernels that memory bounds: elementwise equations, pooling, statistics, depthwise convolutions, copies; as a fraction
of the copy bandwidth.

    python bench/memory.py [NAME ...] [--rounds 9]

Bytes are those of all arrays read and written, each counted once. The bandwidth is that of a large copy in the same
run, reading and writing both counted. PyTorch beside it, on channels-last tensors.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from kernels import bound_call

import pellucid
from pellucid.emit.peak import measure_copy_bandwidth

F = torch.nn.functional
IMAGES, MAPS = (32, 32, 32, 64), (8, 56, 56, 128)
HALVED = (8, 28, 28, 128)
FILTERS = (3, 3, 128)


@dataclass(frozen=True)
class Case:
    """An equation, or its gradient towards `wrt`, and PyTorch's function of the same arrays in order, the output's
    gradient first. Arrays of four dimensions are channels last, filters of depthwise convolutions [rows, columns, c].
    """

    equation: str
    shapes: Mapping[str, tuple[int, ...]]
    peer: Callable[..., torch.Tensor]
    extents: Mapping[str, int] = field(default_factory=dict)
    constants: Mapping[str, int] = field(default_factory=dict)
    wrt: str = ""


def of_x(equation: str, shape: tuple[int, ...], peer: Callable[..., torch.Tensor], **extents: int) -> Case:
    """A case of one array."""
    return Case(equation, {"x": shape}, peer, extents)


def depthwise(stride: int, wrt: str = "") -> Case:
    """A pass of a depthwise 3x3 convolution of 128 channels."""

    def peer(*tensors: torch.Tensor) -> torch.Tensor:
        if not wrt:
            return F.conv2d(*tensors, stride=stride, padding=1, groups=128)
        g, x, w = tensors
        one = [1, 1]
        mask = [wrt == "x", wrt == "w", False]
        dx, dw, _ = torch.ops.aten.convolution_backward(g, x, w, None, [stride] * 2, one, one, False, [0, 0], 128, mask)
        return dx if wrt == "x" else dw

    equation = "z[n,i,j,c] = sum(s,t) x[n,i*S+s-1,j*S+t-1,c] * w[s,t,c]"
    shapes = {"g": MAPS if stride == 1 else HALVED, "x": MAPS, "w": FILTERS}
    shapes = shapes if wrt else {name: shapes[name] for name in "xw"}
    return Case(equation, shapes, peer, {}, {"S": stride}, wrt)


def pooled(equation: str, shape: tuple[int, ...], window: int, pool: Callable[[torch.Tensor], torch.Tensor]) -> Case:
    """The gradient of a pooling with stride 2; PyTorch runs forwards too, for it keeps the winners."""

    def peer(g: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        x = x.detach().requires_grad_()
        pool(x).backward(g)
        assert x.grad is not None
        return x.grad

    n, rows, columns, c = shape
    shapes = {"g": (n, rows // 2, columns // 2, c), "x": shape}
    return Case(equation, shapes, peer, {"s": window, "t": window}, {}, "x")


MAX_POOL_2 = "p[n,i,j,c] = max(s,t) x[n,2*i+s,2*j+t,c]"
MAX_POOL_3 = "p[n,i,j,c] = max(s,t) x[n,2*i+s-1,2*j+t-1,c]"
NORMALISED = {"x": MAPS, "m": (128,), "r": (128,), "b": (128,)}
CASES = {
    "relu": of_x("y[n,i,j,c] = max(x[n,i,j,c], 0)", IMAGES, F.relu),
    "sigmoid": of_x("y[n,i,j,c] = sigmoid(x[n,i,j,c])", IMAGES, torch.sigmoid),
    "tanh": of_x("y[n,i,j,c] = tanh(x[n,i,j,c])", IMAGES, torch.tanh),
    "gelu": of_x("y[n,i,j,c] = 0.5*x[n,i,j,c]*(1 + erf(0.7071067811865476*x[n,i,j,c]))", IMAGES, F.gelu),
    "gelu, dx": Case(
        "y[n,i,j,c] = 0.5*x[n,i,j,c]*(1 + erf(0.7071067811865476*x[n,i,j,c]))", {"g": IMAGES, "x": IMAGES},
        torch.ops.aten.gelu_backward, wrt="x",
    ),
    "max pool 2": of_x(MAX_POOL_2, MAPS, lambda x: F.max_pool2d(x, 2), s=2, t=2),
    "max pool 2, dx": pooled(MAX_POOL_2, MAPS, 2, lambda x: F.max_pool2d(x, 2)),
    "max pool 3/2": of_x(MAX_POOL_3, (8, 112, 112, 64), lambda x: F.max_pool2d(x, 3, 2, 1), s=3, t=3),
    "max pool 3/2, dx": pooled(MAX_POOL_3, (8, 112, 112, 64), 3, lambda x: F.max_pool2d(x, 3, 2, 1)),
    "average pool 2": of_x(
        "p[n,i,j,c] = sum(s,t) x[n,2*i+s,2*j+t,c] / 4", MAPS, lambda x: F.avg_pool2d(x, 2), s=2, t=2
    ),
    "sum over images": of_x("m[c] = sum(n,i,j) x[n,i,j,c]", IMAGES, lambda x: x.sum((0, 2, 3))),
    "squares over images": of_x("m[c] = sum(n,i,j) x[n,i,j,c]**2", IMAGES, lambda x: (x * x).sum((0, 2, 3))),
    "sum over channels": of_x("m[n,i,j] = sum(c) x[n,i,j,c]", MAPS, lambda x: x.sum(1)),
    "normalised images": Case(
        "y[n,i,j,c] = (x[n,i,j,c] - m[c])*r[c] + b[c]", NORMALISED,
        lambda x, m, r, b: (x - m[:, None, None]) * r[:, None, None] + b[:, None, None],
    ),
    "normalised, sums for dx": Case(
        "d[c] = sum(n,i,j) g[n,i,j,c]*(x[n,i,j,c] - m[c])", {"g": MAPS, "x": MAPS, "m": (128,)},
        lambda g, x, m: (g * (x - m[:, None, None])).sum((0, 2, 3)),
    ),
    "depthwise": depthwise(1),
    "depthwise, dx": depthwise(1, "x"),
    "depthwise, dw": depthwise(1, "w"),
    "depthwise /2": depthwise(2),
    "depthwise /2, dx": depthwise(2, "x"),
    "depthwise /2, dw": depthwise(2, "w"),
    "transpose": of_x("y[n,c,i,j] = x[n,i,j,c]", MAPS, lambda x: x.contiguous(memory_format=torch.contiguous_format)),
}  # fmt: skip


def given_to_torch(array: np.ndarray) -> torch.Tensor:
    """The array as PyTorch expects it: maps channels last, filters [c, 1, rows, columns]."""
    tensor = torch.from_numpy(array)
    if array.ndim == 4:
        return tensor.permute(0, 3, 1, 2)
    return tensor.permute(2, 0, 1)[:, None].contiguous() if array.shape == FILTERS else tensor


def taken_from_torch(tensor: torch.Tensor, name: str) -> np.ndarray:
    """PyTorch's result in the order of ours."""
    if name == "transpose" or tensor.ndim != 4:
        return tensor.numpy()
    return (tensor[:, 0].permute(1, 2, 0) if tensor.shape[1] == 1 else tensor.permute(0, 2, 3, 1)).numpy()


def measure(name: str, case: Case, rounds: int) -> str:
    """The line of a case, verified."""
    rng = np.random.default_rng(0)
    arrays = {key: rng.standard_normal(shape, dtype=np.float32) for key, shape in case.shapes.items()}
    equation = pellucid.Equation(case.equation, **case.constants)
    equation = equation.gradient(case.wrt) if case.wrt else equation
    kernel = equation.compile(extents=dict(case.extents), **arrays)
    call, result = bound_call(kernel, arrays, equation.formula.output.tensor, 1)
    call()
    given = [given_to_torch(array) for array in arrays.values()]
    exact = taken_from_torch(case.peer(*(tensor.double() for tensor in given)), name)
    error = np.abs(result - exact).max() / np.abs(exact).max()
    if not error < 1e-5:
        raise SystemExit(f"{name} is wrong: relative difference {error:.2g}")
    seconds: dict[str, list[float]] = {"ours": [], "peer": []}
    bandwidth = []
    for _ in range(rounds):
        bandwidth.append(measure_copy_bandwidth())
        start = time.thread_time()
        call()
        between = time.thread_time()
        case.peer(*given)
        seconds["ours"].append(between - start)
        seconds["peer"].append(time.thread_time() - between)
    ours, theirs = (statistics.median(seconds[key]) for key in ("ours", "peer"))
    read = {tensor.name for tensor in kernel.loop_nest.program.tensors if tensor.role == "input"}
    rate = (sum(array.nbytes for name, array in arrays.items() if name in read) + result.nbytes) / ours
    return (
        f"{name:24s} {ours * 1e3:7.2f} {rate / 1e9:6.1f} {rate / statistics.median(bandwidth):8.0%} "
        f"{theirs * 1e3:8.2f} {theirs / ours:6.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of the names of cases; all without one")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'case':24s} {'ms':>7s} {'GB/s':>6s} {'of copy':>8s} {'PyTorch':>8s} {'ratio':>6s}")
    for name, case in CASES.items():
        if not options.names or any(part in name for part in options.names):
            print(measure(name, case, options.rounds), flush=True)


if __name__ == "__main__":
    main()
