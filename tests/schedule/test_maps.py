"""Maps by known matrices: the steps of Winograd's convolution, proved, interpreted and compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid.emit import target
from pellucid.language.correlation import Correlation, recognise
from pellucid.language.extents import output_shape
from pellucid.language.gradient import derive
from pellucid.language.parse import parse
from pellucid.language.solve import Solved, solve
from pellucid.language.tiles import choose_tiles
from pellucid.language.winograd import Tile, rewrite
from pellucid.reference import evaluate
from pellucid.schedule.bounds import prove
from pellucid.schedule.lower import lower
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import Program, Tensor
from pellucid.schedule.show import show
from schedule.cases import AVX2, SSE2, TOY, compiled, interpreted

Array = NDArray[Any]

CONV = "z[n,i,j,k] = max((sum(s,t,c) x[n,i+s-P,j+t-P,c] * w[s,t,c,k]) + b[k], 0)"
PLAIN = "z[n,i,j,k] = sum(s,t,c) x[n,i+s-P,j+t-P,c] * w[s,t,c,k]"


def convolution(size: tuple[int, int], padding: int, wrt: str = "", channels: int = 5) -> Solved:
    """A 3x3 convolution with bias and ReLU over maps of a size, or a gradient of one without them."""
    height, width = (n + 2 * padding - 2 for n in size)
    extents = {"n": 2, "i": height, "j": width, "k": 6, "s": 3, "t": 3, "c": channels}
    formula = parse(PLAIN if wrt else CONV)
    if wrt:
        derived = derive(formula, wrt)
        extents |= {copy: extents[origin] for copy, origin in derived.copies.items()}
        extents |= {"y": size[0], "x": size[1]}
        formula = derived.formula
    (solved,) = solve(formula, {"P": padding}, extents)
    return solved


class Steps:
    """The steps of a rewritten formula, with small integers for what it reads, in float64.

    Gradients are those of a padding of 1, with which the upstream gradient is as large as the map.
    """

    def __init__(self, solved: Solved, tiles: dict[str, Tile], size: tuple[int, int]) -> None:
        self.solved, self.rewritten = solved, rewrite(solved, tiles)
        extents = solved.extents
        rng = np.random.default_rng(1)
        channels = extents["c"]
        shapes = {"x": (2, *size, channels), "w": (3, 3, channels, 6), "b": (6,), "g": (2, *size, 6)}
        self.arrays: dict[str, Array] = {
            name: rng.integers(-3, 4, shape).astype(np.float64) for name, shape in shapes.items()
        }
        self.tables = {
            name: Tensor(name, "float64", (len(rows), len(rows[0])), "table", tuple(n for row in rows for n in row))
            for name, rows in self.rewritten.tables.items()
        }
        numbers = {name: np.array(rows, dtype=np.float64) for name, rows in self.rewritten.tables.items()}
        for step in self.rewritten.steps:
            known = self.arrays | numbers
            self.arrays[step.formula.output.tensor] = evaluate(step.formula, {}, step.extents, known)

    def programs(self, machine: Machine) -> Iterator[tuple[Program, list[str], dict[str, Array], Array]]:
        """Of every step: its program, the reasons of its plans, what it reads, and what it must give."""
        for step in self.rewritten.steps:
            formula, output = step.formula, step.formula.output.tensor
            read = {name: array for name, array in self.arrays.items() if name != output}
            tensors = {name: Tensor(name, "float64", array.shape, "input") for name, array in read.items()}
            tensors[output] = Tensor(output, "float64", output_shape(formula, {}, step.extents), "output")
            made = lower(formula, {}, step.extents, tensors | self.tables, machine, "nest")
            program = Program((*tensors.values(), *self.tables.values(), *made.tensors), made.nests)
            reasons = [plan.reasons[-1] for plan in made.plans]
            yield program, reasons, read, self.arrays[output]


def check(steps: Steps, machine: Machine, threads: int) -> None:
    """Three of the four steps are maps; all give what the reference gives, within the rounding of float64."""
    maps = 0
    for program, reasons, read, wanted in steps.programs(machine):
        maps += all(reason.startswith("a map by known matrices") for reason in reasons)
        assert prove(program) > 0
        got = interpreted(program, read, threads)
        assert np.abs(got - wanted).max() <= 1e-13 * np.abs(wanted).max()
    assert maps == 3
    expected = evaluate(steps.solved.formula, {}, steps.solved.extents, steps.arrays)
    output = steps.arrays[steps.solved.formula.output.tensor]
    assert np.abs(output - expected).max() <= 1e-12 * np.abs(expected).max()


def chosen(solved: Solved, mode: str) -> dict[str, Tile]:
    found = recognise(solved)
    assert isinstance(found, Correlation)
    return choose_tiles(solved, found, mode)


@pytest.mark.parametrize("wrt", ["", "x", "w"])
@pytest.mark.parametrize("size", [(6, 7), (4, 9)])
def test_every_pass(wrt: str, size: tuple[int, int]) -> None:
    solved = convolution(size, 1, wrt)
    check(Steps(solved, chosen(solved, "standard"), size), TOY, threads=2)


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_drawn_sizes(data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(3, 8), st.integers(3, 8)))
    padding = data.draw(st.integers(0, 2))
    solved = convolution(size, padding, channels=data.draw(st.sampled_from([2, 3, 9])))
    tiles = {
        axis: Tile(data.draw(st.integers(1, min(3, solved.extents[axis]))), 3)
        for axis in data.draw(st.sampled_from(["ij", "i", "j"]))
    }
    check(Steps(solved, tiles, size), data.draw(st.sampled_from([AVX2, SSE2, TOY])), data.draw(st.integers(1, 3)))


@pytest.mark.parametrize(("outputs", "taps"), [(2, 2), (3, 2)])
def test_outputs_and_taps_divided(outputs: int, taps: int) -> None:
    """A border in two loops at once, or of more steps than are written out: the loads are tested."""
    size = (7, 6)
    solved = convolution(size, 1)
    check(Steps(solved, {"i": Tile(outputs, taps)}, size), TOY, threads=2)


def test_a_wide_border() -> None:
    solved = convolution((3, 4), 2, channels=3)
    (wide,) = solve(parse(PLAIN), {"P": 9}, dict(solved.extents) | {"i": 19, "j": 20})
    check(Steps(wide, {"i": Tile(2, 3), "j": Tile(2, 3)}, (3, 4)), TOY, threads=1)


@pytest.mark.parametrize("chosen_target", ["native", "x86-64-v2"])
@pytest.mark.parametrize("wrt", ["", "w"])
def test_compiled(wrt: str, chosen_target: str) -> None:
    size = (7, 10)
    solved = convolution(size, 1, wrt, channels=17)
    steps = Steps(solved, chosen(solved, "fast"), size)
    found = target(chosen_target)
    for program, _, read, wanted in steps.programs(found.machine):
        got = compiled(program, read, found, threads=2)
        assert np.abs(got - wanted).max() <= 1e-13 * np.abs(wanted).max()


def test_what_a_map_looks_like() -> None:
    """Tables are not read, and cells that may not exist are tested."""
    (solved,) = solve(parse("z[i,k] = sum(s,c) x[i+s-1,c] * w[s,c,k]"), {}, {"i": 6, "k": 8, "s": 3, "c": 8})
    first, *_ = rewrite(solved, {"i": Tile(2, 3)}).steps
    table = Tensor("B0", "float32", (4, 4), "table", (-1, 0, 1, 0, 0, 1, 1, 0, 0, -1, 1, 0, 0, -1, 0, 1))
    tensors = {
        "x": Tensor("x", "float32", (6, 8), "input"),
        "V": Tensor("V", "float32", (4, 3, 8), "output"),
        "B0": table,
    }
    made = lower(first.formula, {}, first.extents, tensors, AVX2, "V")
    assert made.plans[0].reasons == ("a map by known matrices: 4 operations from 4 cells to 4",)
    assert (
        "\n".join(show(nest) for nest in made.nests)
        == """\
nest V
  for I in 0 .. 3 (parallel):
    tile c in 0 .. 7: each
      V[0, I, c] = x[2*I + 1, c] - (x[2*I - 1, c] if 0 <= 2*I - 1 < 6 else 0)
      V[1, I, c] = x[2*I, c] + x[2*I + 1, c]
      V[2, I, c] = x[2*I + 1, c] - x[2*I, c]
      V[3, I, c] = (x[2*I + 2, c] if 0 <= 2*I + 2 < 6 else 0) - x[2*I, c]"""
    )


@pytest.mark.parametrize(
    "text",
    [
        "z[a,k] = sum(p) T[a,p] * x[k,p]",  # no axis of vectors: x is not contiguous along k
        "z[a,k] = sum(p,q) T[a,p] * T[a,q] * x[p,q,k]",  # two matrices for one row
        "z[a,k] = sum(p) T[a,p] * x[a,k]",  # the row stands in the load
        "z[a,k] = sum(p) (T[a,p] + x[p,k])",  # no product
        "z[a,k] = max(p) T[a,p] * x[p,k]",  # no sum
        "z[a,k] = sum(p,n) T[a,p] * x[p,k] * y[n]",  # two loads
    ],
)
def test_what_is_no_map(text: str) -> None:
    formula = parse(text)
    sizes = {"a": 3, "p": 4, "q": 4, "k": 8, "n": 2}
    axes = text.split("x[")[1].split("]", maxsplit=1)[0].split(",")
    dimensions = {"x": tuple(sizes[axis] for axis in axes), "y": (2,)}
    tensors = {name: Tensor(name, "float32", shape, "input") for name, shape in dimensions.items()}
    tensors["T"] = Tensor("T", "float32", (3, 4), "table", tuple(range(12)))
    tensors["z"] = Tensor("z", "float32", (3, 8), "output")
    made = lower(formula, {}, sizes, tensors, AVX2, "z")
    assert not any("known matrices" in plan.reasons[-1] for plan in made.plans)
