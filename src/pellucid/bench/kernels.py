"""Single convolutions and dense layers, forward and backward, against PyTorch and JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.bench import jax_kernels, torch_kernels
from pellucid.bench.equations import graph_call
from pellucid.bench.judge import largest_error
from pellucid.bench.peers import set_threads
from pellucid.bench.rows import Row, timed
from pellucid.bench.turns import clock_for, peak_limit, take_turns
from pellucid.emit import target
from pellucid.emit.allocation import aligned, empty
from pellucid.equation import Equation, Kernel
from pellucid.network import Graph
from pellucid.network.fast import with_fewer_multiplications

__all__ = [
    "CASES",
    "PASSES",
    "PEERS",
    "Convolution",
    "Dense",
    "bound_call",
    "graph_of",
    "measure",
    "plans",
    "random_arrays",
]

Array: TypeAlias = NDArray[Any]
PASSES = ("forward", "dx", "dw")
# The largest difference from float64 that sums of float32 of these lengths leave, with a wide margin.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Convolution:
    """A convolution: batch, rows = columns, input channels, output channels, kernel, stride, padding, dilation."""

    batch: int
    size: int
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def result(self) -> int:
        """Rows and columns of the output."""
        return (self.size + 2 * self.padding - self.dilation * (self.kernel - 1) - 1) // self.stride + 1

    @property
    def operations(self) -> int:
        """Nominal: a multiply and an add for every tap, those in the padding too."""
        return 2 * self.batch * self.result**2 * self.outputs * self.kernel**2 * self.inputs

    @property
    def equation(self) -> Equation:
        """Channels last."""
        text = "z[n,i,j,k] = sum(s,t,c) x[n, i*S+D*s-P, j*S+D*t-P, c] * w[s,t,c,k]"
        return Equation(text, S=self.stride, P=self.padding, D=self.dilation)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of the input, the weights and the output's gradient."""
        return {
            "x": (self.batch, self.size, self.size, self.inputs),
            "w": (self.kernel, self.kernel, self.inputs, self.outputs),
            "g": (self.batch, self.result, self.result, self.outputs),
        }

    def passes(self, wanted: Sequence[str]) -> list[str]:
        """Pictures themselves need no gradient."""
        return [which for which in wanted if which != "dx" or self.inputs > 3]


@dataclass(frozen=True)
class Dense:
    """A dense layer: batch, features in, features out."""

    batch: int
    inputs: int
    outputs: int

    @property
    def operations(self) -> int:
        """A multiply and an add for every weight and image."""
        return 2 * self.batch * self.inputs * self.outputs

    @property
    def equation(self) -> Equation:
        """Weights as [in, out]."""
        return Equation("z[n,o] = sum(q) x[n,q] * w[q,o]")

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Of the input, the weights and the output's gradient."""
        return {"x": (self.batch, self.inputs), "w": (self.inputs, self.outputs), "g": (self.batch, self.outputs)}

    def passes(self, wanted: Sequence[str]) -> list[str]:
        """All of them."""
        return list(wanted)


Case: TypeAlias = Convolution | Dense

CASES: Mapping[str, Case] = MappingProxyType(
    {
        "28x28x1 5x5-8": Convolution(64, 28, 1, 8, 5),
        "28x28x1 5x5-20": Convolution(64, 28, 1, 20, 5),
        "12x12x20 5x5-50": Convolution(64, 12, 20, 50, 5),
        "32x32x3 3x3-32": Convolution(64, 32, 3, 32, 3, 1, 1),
        "32x32x32 3x3-64": Convolution(64, 32, 32, 64, 3, 1, 1),
        "16x16x128 3x3-128": Convolution(64, 16, 128, 128, 3, 1, 1),
        "8x8x256 3x3-256": Convolution(64, 8, 256, 256, 3, 1, 1),
        "56x56x64 3x3-64": Convolution(8, 56, 64, 64, 3, 1, 1),
        "28x28x128 3x3-128": Convolution(8, 28, 128, 128, 3, 1, 1),
        "14x14x256 3x3-256": Convolution(8, 14, 256, 256, 3, 1, 1),
        "7x7x512 3x3-512": Convolution(8, 7, 512, 512, 3, 1, 1),
        "56x56x64 1x1-256": Convolution(8, 56, 64, 256, 1),
        "14x14x1024 1x1-256": Convolution(8, 14, 1024, 256, 1),
        "56x56x128 3x3/2-128": Convolution(8, 56, 128, 128, 3, 2, 1),
        "28x28x128 3x3*2-128": Convolution(8, 28, 128, 128, 3, 1, 2, 2),
        "224x224x3 7x7/2-64": Convolution(8, 224, 3, 64, 7, 2, 3),
        "dense 128x1024-512": Dense(128, 1024, 512),
        "dense 64x2048-10": Dense(64, 2048, 10),
        "dense 32x400-120": Dense(32, 400, 120),
    }
)
PEERS = MappingProxyType({"torch": torch_kernels.contenders, "jax": jax_kernels.contenders})


def bound_call(
    kernel: Kernel, arrays: Mapping[str, Array], output: str, threads: int
) -> tuple[Callable[[], None], Array]:
    """A call of a kernel on memory fixed once, and the array that it writes."""
    result = empty(kernel.shape, kernel.dtype)
    given = {**arrays, output: result}
    tensors = [tensor for tensor in kernel.loop_nest.program.tensors if tensor.role != "table"]
    pointers = [given[tensor.name].ctypes.data if tensor.name in given else None for tensor in tensors]

    def call(_keep: object = given) -> None:  # the addresses are good as long as the arrays live
        kernel.executable.run(pointers, threads)

    return call, result


def random_arrays(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Gaussian numbers in float32, the same in every run, in arrays that begin at a cache line as those of a step."""
    rng = np.random.default_rng(0)
    arrays = {name: aligned(shape, np.float32) for name, shape in shapes.items()}
    for array in arrays.values():
        rng.standard_normal(out=array, dtype=np.float32)
    return arrays


def compiled(case: Case, which: str, arrays: Mapping[str, Array]) -> tuple[Kernel, dict[str, Array], str]:
    """The kernel of a pass, the arrays that it reads, and the name of what it writes."""
    equation, unread = _equation(case, which), _unread(which)
    given = {name: array for name, array in arrays.items() if name != unread}
    shaped = {} if which == "forward" else {unread: arrays[unread]}
    return equation.compile(None, **shaped, **given), given, equation.formula.output.tensor


def graph_of(case: Case, which: str) -> tuple[Graph, str]:
    """A graph of the one equation of a pass, and the name of its value."""
    equation, unread = _equation(case, which), _unread(which)
    graph = Graph(images=case.batch)
    shapes = {name: shape for name, shape in case.shapes.items() if name != unread}
    bound = {name: graph.input(name, shape, of_images=name in "xg") for name, shape in shapes.items()}
    extents = case.shapes[unread]
    return graph, graph.formula(equation.formula, bound, constants=equation.constants, output_extents=extents)


def _equation(case: Case, which: str) -> Equation:
    return case.equation if which == "forward" else case.equation.gradient(which[1:])


def _unread(which: str) -> str:
    """The one of x, w and g that a pass does not read: its result has that one's shape."""
    return "g" if which == "forward" else which[1:]


def _ours(
    case: Case, which: str, accuracy: str, arrays: Mapping[str, Array], threads: int
) -> tuple[Callable[[], None], Array]:
    """A call on memory fixed once, and the array that it writes. For "direct" it is the equation's kernel, else what a
    network of that accuracy has in its place; transforms of weights are then part of every call, as in a step."""
    if accuracy == "direct":
        kernel, given, output = compiled(case, which, arrays)
        return bound_call(kernel, given, output, threads)
    graph, output = graph_of(case, which)
    graph = with_fewer_multiplications(graph, accuracy, target().machine)
    result = empty(case.shapes[_unread(which)], np.float32)
    return graph_call(graph, [output], {**arrays, output: result}, threads), result


def measure(
    names: Sequence[str],
    peers: Sequence[str],
    threads: Sequence[int],
    rounds: int,
    passes: Sequence[str] = PASSES,
    accuracies: Sequence[str] = ("direct",),
) -> Iterator[Row]:
    """A row for every kernel, pass, number of threads, accuracy and peer, verified in float64 before it is timed."""
    for count in threads:
        set_threads(peers, count)
        clock = clock_for(1 if "jax" not in peers and count == 1 else 2)  # JAX works in threads of its own
        for name in names:
            for which in CASES[name].passes(passes):
                for accuracy in accuracies:
                    yield from _contest(name, which, accuracy, peers, count, rounds, clock)


def plans(names: Sequence[str], passes: Sequence[str] = PASSES) -> Iterator[str]:
    """How each pass of the kernels is scheduled, and why."""
    for name in names:
        for which in CASES[name].passes(passes):
            kernel, _, _ = compiled(CASES[name], which, random_arrays(CASES[name].shapes))
            yield f"{name} {which}\n" + "\n".join(str(plan) for plan in kernel.loop_nest.plans)


def _contest(
    name: str, which: str, accuracy: str, peers: Sequence[str], threads: int, rounds: int, clock: Callable[[], float]
) -> Iterator[Row]:
    case = CASES[name]
    arrays = random_arrays(case.shapes)
    call, result = _ours(case, which, accuracy, arrays, threads)
    output = _equation(case, which).formula.output.tensor
    shown = which if accuracy == "direct" else f"{which} {accuracy}"
    ways: dict[str, Callable[[], object]] = {"ours": call}
    errors = dict[str, float]()
    for peer in peers:
        found = PEERS[peer](case, which, arrays)
        call()
        errors[peer] = largest_error(f"{which} of {name}", {output: result}, {output: found.exact()}, TOLERANCE)
        ways |= {f"{peer} {form}": way for form, way in found.ways.items()}
    turns = take_turns(ways, case.operations, peak_limit(threads), rounds=rounds, clock=clock)
    for peer in peers or [None]:
        found = [seconds for form, seconds in turns.seconds.items() if peer and form.startswith(f"{peer} ")]
        theirs, error = min(found, default=None), errors[peer] if peer else None
        yield timed(name, shown, threads, turns, case.operations, peer=peer, theirs=theirs, error=error)
