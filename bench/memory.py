"""Kernels that memory bounds: elementwise equations, pooling, statistics, copies; as a fraction of the copy bandwidth.

    python bench/memory.py [NAME ...] [--rounds 9]

Bytes are those of all inputs and outputs, each counted once. The bandwidth is that of a large copy in the same run,
reading and writing both counted. PyTorch in its better layout beside it, where it has the operation.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from kernels import bound_call

import pellucid
from pellucid.emit.peak import measure_copy_bandwidth

F = torch.nn.functional
IMAGES, MAPS = (32, 32, 32, 64), (8, 56, 56, 128)
Peer = Callable[[torch.Tensor], torch.Tensor]

# name: equation, shape of x, given extents, PyTorch on a channels-last tensor
CASES: dict[str, tuple[str, tuple[int, ...], dict[str, int], Peer]] = {
    "relu": ("y[n,i,j,c] = max(x[n,i,j,c], 0)", IMAGES, {}, F.relu),
    "sigmoid": ("y[n,i,j,c] = sigmoid(x[n,i,j,c])", IMAGES, {}, torch.sigmoid),
    "tanh": ("y[n,i,j,c] = tanh(x[n,i,j,c])", IMAGES, {}, torch.tanh),
    "gelu": ("y[n,i,j,c] = 0.5*x[n,i,j,c]*(1 + erf(0.7071067811865476*x[n,i,j,c]))", IMAGES, {}, F.gelu),
    "max pool 2": (
        "p[n,i,j,c] = max(s,t) x[n,2*i+s,2*j+t,c]", MAPS, {"s": 2, "t": 2}, lambda x: F.max_pool2d(x, 2),
    ),
    "max pool 3/2": (
        "p[n,i,j,c] = max(s,t) x[n,2*i+s-1,2*j+t-1,c]", (8, 112, 112, 64), {"s": 3, "t": 3},
        lambda x: F.max_pool2d(x, 3, 2, 1),
    ),
    "average pool 2": (
        "p[n,i,j,c] = sum(s,t) x[n,2*i+s,2*j+t,c] / 4", MAPS, {"s": 2, "t": 2}, lambda x: F.avg_pool2d(x, 2),
    ),
    "sum over images": ("m[c] = sum(n,i,j) x[n,i,j,c]", IMAGES, {}, lambda x: x.sum((0, 2, 3))),
    "squares over images": ("m[c] = sum(n,i,j) x[n,i,j,c]**2", IMAGES, {}, lambda x: (x * x).sum((0, 2, 3))),
    "sum over channels": ("m[n,i,j] = sum(c) x[n,i,j,c]", MAPS, {}, lambda x: x.sum(1)),
    "transpose": (
        "y[n,c,i,j] = x[n,i,j,c]", MAPS, {}, lambda x: x.contiguous(memory_format=torch.contiguous_format),
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of the names of cases; all without one")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'case':21s} {'ms':>7s} {'GB/s':>6s} {'of copy':>8s} {'PyTorch':>8s} {'ratio':>6s}")
    for name, (text, shape, extents, peer) in CASES.items():
        if options.names and not any(part in name for part in options.names):
            continue
        x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        equation = pellucid.Equation(text)
        kernel = equation.compile(x=x, extents=extents)
        call, result = bound_call(kernel, {"x": x}, equation.formula.output.tensor, 1)
        call()
        given = torch.from_numpy(x).permute(0, 3, 1, 2)
        exact = peer(given.double())
        exact = exact.permute(0, 2, 3, 1) if result.ndim == 4 and name != "transpose" else exact
        error = np.abs(result - exact.numpy()).max() / np.abs(exact.numpy()).max()
        if not error < 1e-5:
            raise SystemExit(f"{name} is wrong: relative difference {error:.2g}")
        seconds: dict[str, list[float]] = {"ours": [], "peer": []}
        bandwidth = []
        for _ in range(options.rounds):
            bandwidth.append(measure_copy_bandwidth())
            start = time.thread_time()
            call()
            between = time.thread_time()
            peer(given)
            seconds["ours"].append(between - start)
            seconds["peer"].append(time.thread_time() - between)
        ours, theirs = (statistics.median(seconds[key]) for key in ("ours", "peer"))
        rate = (x.nbytes + result.nbytes) / ours
        print(
            f"{name:21s} {ours * 1e3:7.2f} {rate / 1e9:6.1f} {rate / statistics.median(bandwidth):8.0%} "
            f"{theirs * 1e3:8.2f} {theirs / ours:6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
