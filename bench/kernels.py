"""Kernels of single equations against PyTorch, on the shapes of the project's first table.

    python bench/kernels.py [NAME ...] [--pass forward,dx,dw] [--threads 1] [--rounds 9] [--json FILE]

Each kernel is verified against PyTorch in float64 first. Then ours and PyTorch's two memory layouts take turns in one
process; so does a loop of independent multiply-adds, whose rate is the peak of that run. Ours writes to memory that it
was given once, as in a training step; PyTorch allocates its result. Medians; `bench/METHOD.md` says more.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
import torch

import pellucid
from pellucid.emit.peak import measure_peak
from pellucid.equation import Kernel

CONVOLUTION = "z[n,i,j,k] = sum(s,t,c) x[n, i*S+s-P, j*S+t-P, c] * w[s,t,c,k]"


@dataclass(frozen=True)
class Shape:
    """A convolution: batch, rows = columns, input channels, output channels, kernel, stride, padding."""

    batch: int
    size: int
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0

    @property
    def result(self) -> int:
        return (self.size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def flops(self) -> int:
        """Nominal: a multiply and an add for every tap, those in the padding too."""
        return 2 * self.batch * self.result**2 * self.outputs * self.kernel**2 * self.inputs


SHAPES = {
    "28x28x1 5x5-8": Shape(64, 28, 1, 8, 5),
    "28x28x1 5x5-20": Shape(64, 28, 1, 20, 5),
    "12x12x20 5x5-50": Shape(64, 12, 20, 50, 5),
    "32x32x3 3x3-32": Shape(64, 32, 3, 32, 3, 1, 1),
    "32x32x32 3x3-64": Shape(64, 32, 32, 64, 3, 1, 1),
    "16x16x128 3x3-128": Shape(64, 16, 128, 128, 3, 1, 1),
    "8x8x256 3x3-256": Shape(64, 8, 256, 256, 3, 1, 1),
    "56x56x64 3x3-64": Shape(64 // 8, 56, 64, 64, 3, 1, 1),
    "28x28x128 3x3-128": Shape(8, 28, 128, 128, 3, 1, 1),
    "14x14x256 3x3-256": Shape(8, 14, 256, 256, 3, 1, 1),
    "7x7x512 3x3-512": Shape(8, 7, 512, 512, 3, 1, 1),
    "56x56x64 1x1-256": Shape(8, 56, 64, 256, 1),
    "14x14x1024 1x1-256": Shape(8, 14, 1024, 256, 1),
    "56x56x128 3x3/2-128": Shape(8, 56, 128, 128, 3, 2, 1),
    "224x224x3 7x7/2-64": Shape(8, 224, 3, 64, 7, 2, 3),
}


@dataclass(frozen=True)
class Work:
    """One kernel and its peers: callables that do the same, the work in flops or bytes, the error found."""

    ours: Callable[[], None]
    peers: dict[str, Callable[[], object]]
    amount: int
    error: float
    kernel: Kernel


def bound_call(
    kernel: Kernel, arrays: dict[str, np.ndarray], output: str, threads: int
) -> tuple[Callable[[], None], np.ndarray]:
    """A call of a kernel on memory fixed once, and the array that it writes."""
    program = kernel.loop_nest.program
    result = np.empty(kernel.shape, kernel.dtype)
    given = {**arrays, output: result}
    pointers = [given[t.name].ctypes.data if t.name in given else None for t in program.tensors if t.role != "table"]

    def call(_keep: object = given) -> None:  # the addresses are good as long as the arrays live
        kernel.executable.run(pointers, threads)

    return call, result


def layouts(*tensors: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """The tensors in PyTorch's two memory layouts."""
    return {
        "contiguous": [t.contiguous() for t in tensors],
        "channels last": [t.contiguous(memory_format=torch.channels_last) for t in tensors],
    }


def convolution(shape: Shape, which: str, threads: int) -> Work:
    """One pass of a convolution, verified."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((shape.batch, shape.size, shape.size, shape.inputs), dtype=np.float32)
    w = rng.standard_normal((shape.kernel, shape.kernel, shape.inputs, shape.outputs), dtype=np.float32)
    g = rng.standard_normal((shape.batch, shape.result, shape.result, shape.outputs), dtype=np.float32)
    equation = pellucid.Equation(CONVOLUTION, S=shape.stride, P=shape.padding)
    if which == "forward":
        name, arrays, output = equation, {"x": x, "w": w}, "z"
        kernel = name.compile(**arrays)
    elif which == "dx":
        name, arrays, output = equation.gradient("x"), {"g": g, "w": w}, "dx"
        kernel = name.compile(x=x, **arrays)
    else:
        name, arrays, output = equation.gradient("w"), {"x": x, "g": g}, "dw"
        kernel = name.compile(w=w, **arrays)
    call, result = bound_call(kernel, arrays, output, threads)
    call()
    tx, tg = (torch.from_numpy(a).permute(0, 3, 1, 2) for a in (x, g))
    tw = torch.from_numpy(w).permute(3, 2, 0, 1)
    peers = {name: peer_call(which, tensors, shape) for name, tensors in layouts(tx, tw, tg).items()}
    exact = peer_call(which, [t.double() for t in (tx, tw, tg)], shape)()
    exact = exact.permute(2, 3, 1, 0) if which == "dw" else exact.permute(0, 2, 3, 1)
    difference = np.abs(result - exact.numpy()).max() / np.abs(exact.numpy()).max()
    if not difference < 1e-4:
        raise SystemExit(f"{which} of {shape} is wrong: relative difference {difference:.2g}")
    return Work(call, peers, shape.flops, float(difference), kernel)


DENSE = {"128x1024-512": (128, 1024, 512), "64x2048-10": (64, 2048, 10), "32x400-120": (32, 400, 120)}


def dense(shape: tuple[int, int, int], which: str, threads: int) -> Work:
    """One pass of a dense layer, verified; PyTorch's weights lie as its own layer keeps them."""
    batch, inputs, outputs = shape
    rng = np.random.default_rng(0)
    x, w, g = (rng.standard_normal(s, dtype=np.float32) for s in ((batch, inputs), (inputs, outputs), (batch, outputs)))
    equation = pellucid.Equation("z[n,o] = sum(q) x[n,q] * w[q,o]")
    tx, tg = torch.from_numpy(x), torch.from_numpy(g)
    tw = torch.from_numpy(np.ascontiguousarray(w.T))
    if which == "forward":
        name, arrays, output, peer, exact = equation, {"x": x, "w": w}, "z", lambda: tx @ tw.T, x.astype(float) @ w
    elif which == "dx":
        name, arrays, output = equation.gradient("x"), {"g": g, "w": w}, "dx"
        peer, exact = lambda: tg @ tw, g.astype(float) @ w.T
    else:
        name, arrays, output = equation.gradient("w"), {"x": x, "g": g}, "dw"
        peer, exact = lambda: tg.T @ tx, x.T.astype(float) @ g
    kernel = name.compile(**arrays)
    call, result = bound_call(kernel, arrays, output, threads)
    call()
    difference = np.abs(result - exact).max() / np.abs(exact).max()
    if not difference < 1e-4:
        raise SystemExit(f"{which} of dense {shape} is wrong: relative difference {difference:.2g}")
    return Work(call, {"PyTorch": peer}, 2 * batch * inputs * outputs, float(difference), kernel)


def peer_call(which: str, tensors: list[torch.Tensor], shape: Shape) -> Callable[[], torch.Tensor]:
    """PyTorch's kernel for one pass."""
    x, w, g = tensors
    if which == "forward":
        return lambda: torch.nn.functional.conv2d(x, w, stride=shape.stride, padding=shape.padding)
    mask = [which == "dx", which == "dw", False]
    pair, one = [shape.stride] * 2, [1, 1]

    def call() -> torch.Tensor:
        found = torch.ops.aten.convolution_backward(
            g, x, w, None, pair, [shape.padding] * 2, one, False, [0, 0], 1, mask
        )
        return found[0] if which == "dx" else found[1]

    return call


def measure(work: Work, rounds: int, threads: int) -> dict[str, float]:
    """Median seconds of every contender, taking turns; `best`, our fastest round; `fraction`, the median over the
    rounds of our rate to the peak of one round: a loop of multiply-adds that runs as long as the kernel did."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    ways: dict[str, Callable[[], object]] = {"ours": work.ours, **work.peers}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    fractions = list[float]()
    for way in ways.values():
        way()
    once = min(_timed(way, clock) for way in ways.values())
    repeat = max(1, int(0.004 / max(once, 1e-6)))
    for _ in range(rounds):
        for name, way in ways.items():
            start = clock()
            for _ in range(repeat):
                way()
            seconds[name].append((clock() - start) / repeat)
        ours = seconds["ours"][-1]
        fractions.append(work.amount / ours / (threads * measure_peak("float32", repeat * ours)))
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    return {**medians, "fraction": statistics.median(fractions), "best": min(seconds["ours"])}


def _timed(way: Callable[[], object], clock: Callable[[], float]) -> float:
    start = clock()
    way()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="parts of the names of shapes; all without one")
    parser.add_argument("--pass", dest="passes", default="forward,dx,dw")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", help="also write the results there")
    parser.add_argument("--plan", action="store_true", help="print each kernel's plan")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows, ratios = [], []
    columns = (
        f"{'shape':21s} {'pass':8s}",
        f"{'ms':>8s} {'GF/s':>6s} {'of peak':>8s} {'best':>6s} {'PyTorch ms':>11s}",
    )
    print(*columns, f"{'ratio':>6s} {'error':>8s}")
    works = {**{name: (convolution, shape) for name, shape in SHAPES.items()}}
    works |= {f"dense {name}": (dense, shape) for name, shape in DENSE.items()}
    for name, (make, shape) in works.items():
        if options.names and not any(part in name for part in options.names):
            continue
        for which in options.passes.split(","):
            if which == "dx" and make is convolution and shape.inputs <= 3:
                continue  # the pictures themselves need no gradient
            work = make(shape, which, options.threads)
            found = measure(work, options.rounds, options.threads)
            best = min(value for key, value in found.items() if key not in ("ours", "fraction", "best"))
            rate, ratio = work.amount / found["ours"], best / found["ours"]
            ratios.append(ratio)
            print(
                f"{name:21s} {which:8s} {found['ours'] * 1e3:8.3f} {rate / 1e9:6.1f} {found['fraction']:8.1%} "
                f"{work.amount / found['best'] / 1e9:6.1f} "
                f"{best * 1e3:11.3f} {ratio:6.2f} {work.error:8.1e}",
                flush=True,
            )
            if options.plan:
                print("\n".join(str(plan) for plan in work.kernel.loop_nest.plans))
            rows.append(
                {
                    "name": name, "pass": which, "threads": options.threads, "peer": "torch", "ratio": ratio,
                    "fraction_of_peak": found["fraction"], "error": work.error,
                }
            )  # fmt: skip
    if ratios:
        print(
            f"geometric mean of {len(ratios)} ratios {prod(ratios) ** (1 / len(ratios)):.2f}, least {min(ratios):.2f}"
        )
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
