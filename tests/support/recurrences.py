"""Recurrences for tests: some that are known, and any that hypothesis draws; each as text with the shapes it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from pellucid.language.circles import parts_of
from pellucid.language.parse import parse_system
from pellucid.language.parts import recurrence_extents
from pellucid.language.recurrence import Recurrence
from pellucid.language.system import System
from pellucid.network import Graph
from pellucid.schedule.lower import Lowered
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import Program, Tensor
from pellucid.schedule.plan import Options
from pellucid.schedule.recurrent import lower_recurrence, recurrence_options

__all__ = ["KNOWN", "Steps", "recurrences"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Steps:
    """A text with one recurrence and no other formula, and the shapes of what it reads. `lengths` are inputs of
    integers, with the number of values they may have."""

    text: str
    shapes: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, int] = field(default_factory=dict)
    extents: Mapping[str, int] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def recurrence(self) -> Recurrence:
        """What the text says."""
        (found,) = parts_of(parse_system(self.text))
        assert isinstance(found, Recurrence)
        return found

    @cached_property
    def solved(self) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
        """The extents of its axes and the shapes of what it makes."""
        return recurrence_extents(self.recurrence, self.constants, self.shapes, self.extents)

    def arrays(self, seed: int = 0, *, small: bool = False) -> dict[str, Array]:
        """Numbers for what it reads, `small` integers where every sum is to be exact."""
        random = np.random.default_rng(seed)

        def drawn(name: str, shape: tuple[int, ...]) -> Array:
            if name in self.lengths:
                return random.integers(0, self.lengths[name], shape)
            return random.integers(-1, 2, shape).astype(float) if small else random.normal(size=shape) / 2

        return {name: np.asarray(drawn(name, shape)) for name, shape in self.shapes.items()}

    def lowered(self, machine: Machine, options: Options | None = None, dtype: str = "float64") -> Lowered:
        """What the scheduler makes of it."""
        extents = self.solved[0]
        chosen = options or recurrence_options(self.recurrence, extents)
        tensors = {tensor.name: tensor for tensor in self._tensors(dtype)}
        return lower_recurrence(self.recurrence, self.constants, extents, tensors, machine, "steps", chosen)

    def program(self, machine: Machine, options: Options | None = None, dtype: str = "float64") -> Program:
        """The same as a program over what it reads and makes."""
        lowered = self.lowered(machine, options, dtype)
        return Program((*self._tensors(dtype), *lowered.tensors), lowered.nests)

    def _tensors(self, dtype: str) -> list[Tensor]:
        types = {name: "int64" if name in self.lengths else dtype for name in self.shapes}
        inputs = [Tensor(name, types[name], shape, "input") for name, shape in self.shapes.items()]
        return inputs + [Tensor(name, dtype, shape, "output") for name, shape in self.solved[1].items()]

    def graph(self, dtype: str = "float64", images: int | None = None) -> tuple[Graph, dict[str, str]]:
        """A graph of it, and its values by local name; `images` is the extent of the batch."""
        graph = Graph(dtype, images=images)
        for name, shape in self.shapes.items():
            integers = "int64" if name in self.lengths else None
            graph.input(name, shape, integers, of_images=images is not None and shape[:1] == (images,))
        formulas = parse_system(self.text)
        system = System(formulas, formulas[0].output.tensor, self.constants, self.extents)
        return graph, graph.system_values(system, {name: name for name in self.shapes})


LSTM = """
a[n,t,q,k] = u[n,t,q,k] + sum(j) h[n,t-1,j]*w[j,q,k]
c[n,t,k] = sigmoid(a[n,t,1,k])*c[n,t-1,k] + sigmoid(a[n,t,0,k])*tanh(a[n,t,2,k])
h[n,t,k] = sigmoid(a[n,t,3,k])*tanh(c[n,t,k])
"""
KNOWN = {
    "simple": Steps(
        "h[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k])", {"u": (4, 5, 9), "w": (9, 9)}
    ),
    "begun": Steps(
        "h[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k])\nh[n,-1,k] = s[n,k]",
        {"u": (3, 4, 5), "w": (5, 5), "s": (3, 5)},
    ),
    "LSTM": Steps(LSTM, {"u": (4, 3, 4, 5), "w": (5, 4, 5)}),
    "LSTM begun": Steps(
        f"{LSTM}h[n,-1,k] = s[n,k]\nc[n,-1,k] = 2*r[k]",
        {"u": (2, 3, 4, 3), "w": (3, 4, 3), "s": (2, 3), "r": (3,)},
    ),
    "downwards": Steps(
        "h[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t+1,j]*w[j,k])\nh[n,T,k] = s[k]",
        {"u": (3, 4, 5), "w": (5, 5), "s": (5,)}, {"T": 4},
    ),
    "masked": Steps(
        "f[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k])\n"
        "h[n,t,k] = where(t < length[n], f[n,t,k], h[n,t-1,k])",
        {"u": (4, 5, 3), "w": (3, 3), "length": (4,)}, lengths={"length": 6},
    ),
    "masked downwards": Steps(
        "f[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t+1,j]*w[j,k])\n"
        "h[n,t,k] = where(t < length[n], f[n,t,k], h[n,t+1,k])\nh[n,T,k] = s[n,k]",
        {"u": (4, 5, 3), "w": (3, 3), "length": (4,), "s": (4, 3)}, {"T": 5}, lengths={"length": 6},
    ),
    "truncated": Steps(
        "p[n,t,k] = where(t % R == 0 and t > 0, stop(h[n,t-1,k]), h[n,t-1,k])\n"
        "h[n,t,k] = tanh(u[n,t,k] + sum(j) p[n,t,j]*w[j,k])",
        {"u": (2, 7, 3), "w": (3, 3)}, {"R": 3},
    ),
    "convolution": Steps(
        "h[n,t,i,k] = tanh(u[n,t,i,k] + sum(s,j) h[n,t-1,i+s-1,j]*w[s,j,k])",
        {"u": (2, 4, 6, 3), "w": (3, 3, 3)},
    ),
    "diagonal": Steps("h[i,j] = sin(h[i-1,j-1]*v[j] + x[i,j])\nh[-1,j] = s[j]", {"x": (5, 6), "v": (6,), "s": (6,)}),
    "largest": Steps(
        "h[n,t,k] = u[n,t,k] + (max(j) h[n,t-1,j])*v[k]\nh[n,-1,k] = s[n,k]",
        {"u": (3, 4, 5), "v": (5,), "s": (3, 5)},
    ),
    "numbered": Steps(
        "h[n,t,0] = x[n,t] + h[n,t-1,1]\nh[n,t,1] = y[n,t]*h[n,t-1,0]", {"x": (3, 4), "y": (3, 4)}
    ),
    "no batch": Steps("h[t,k] = tanh(u[t,k] + sum(j) h[t-1,j]*w[j,k])", {"u": (6, 5), "w": (5, 5)}),
    "one number": Steps("h[t] = a*h[t-1] + x[t]", {"x": (7,), "a": ()}),
    "one step": Steps(
        "h[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k])\nh[n,-1,k] = s[n,k]",
        {"u": (3, 1, 5), "w": (5, 5), "s": (3, 5)},
    ),
    "sums that wait for nothing": Steps(
        "h[n,t,k] = (sum(c) x[n,t,c]*v[c,k]) + (sum(j : j <= k) h[n,t-1,j]*w[j,k]) + (max(c) b[c])*t",
        {"x": (4, 3, 2), "v": (2, 5), "w": (5, 5), "b": (2,)},
    ),
    "divided steps": Steps(
        "h[n,t,k] = tanh(x[n,t//2,k] + sum(j) h[n,t-1,j]*w[t%2,j,k])", {"x": (3, 4, 5), "w": (2, 5, 5)}, {}, {"t": 7}
    ),
    "softmax": Steps(
        "e[n,t,k] = exp(u[n,t,k] + h[n,t-1,k])\nh[n,t,k] = e[n,t,k] / (sum(j) e[n,t,j])", {"u": (3, 4, 5)}
    ),
    "batch that is summed": Steps("h[n,t] = x[n,t]*m[t-1] + h[n,t-1]\nm[t] = sum(n) h[n,t]", {"x": (3, 4)}),
    "extents of 1": Steps("h[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k])", {"u": (1, 2, 1), "w": (1, 1)}),
}  # fmt: skip


@st.composite
def recurrences(draw: st.DrawFn, *, exact: bool = False) -> Steps:
    """One to three state tensors that read each other, in either direction; `exact`: nothing but sums and products."""
    n = draw(st.sampled_from(("n,", "n,", "")))
    images, steps, features = draw(st.integers(1, 4)), draw(st.sampled_from((1, 2, 3, 5))), draw(st.integers(1, 4))
    before = draw(st.sampled_from(("t-1", "t+1")))
    names = ("h", "c", "e")[: draw(st.integers(1, 3))]
    batch, inexact = (images,) if n else (), () if exact else ("both",)
    shapes: dict[str, tuple[int, ...]] = {}
    lines, states = list[str](), {name for name in names if draw(st.booleans())}

    def fresh(shape: tuple[int, ...]) -> str:
        name = f"x{len(shapes)}"
        shapes[name] = shape
        return name

    def cells() -> str:
        return f"{fresh((*batch, steps, features))}[{n}t,k]"

    def term(made: list[str]) -> str:
        """A value over n, t, k that reads one of the tensors."""
        tensor = draw(st.sampled_from(names))
        at = draw(st.sampled_from((before, "t"))) if tensor in made else before
        kind = draw(st.sampled_from(("cell", "product", "window", "stop", "largest", "masked", *inexact)))
        read = f"{tensor}[{n}{at},{{}}]"
        if kind == "product":
            return f"sum(j) {read.format('j')}*{fresh((features, features))}[j,k]"
        if kind == "both":
            return f"{read.format('k')}*{draw(st.sampled_from(names))}[{n}{before},k]"
        if kind == "window":
            return f"sum(s) {read.format('k+s-1')}*{fresh((3,))}[s]"
        if kind == "stop":
            return f"stop({read.format('k')})*{cells()}"
        # Nothing is larger than what is not there.
        if kind == "largest" and (at == "t" or tensor in states):
            return f"{draw(st.sampled_from(('max', 'min')))}(j) {read.format('j')}"
        if kind == "masked" and n:
            shapes["length"] = batch
            return f"where(t < length[n], {read.format('k')}, {cells()})"
        factor = cells() if draw(st.booleans()) else f"{fresh((features,))}[k]"
        return f"{read.format('k')}*{factor}"

    for place, name in enumerate(names):
        # Every tensor reads the last one, and so itself: all of them are one recurrence.
        ring = f"{fresh((features,))}[k]*{names[-1]}[{n}{before},k]"
        others = [term(list(names[:place])) for _ in range(draw(st.integers(0, 2)))]
        if place:
            others.append(f"{names[place - 1]}[{n}t,k]")
        body = " + ".join([cells(), ring, *others])
        if exact:
            function = draw(st.sampled_from(("{}", "max({}, 0)")))
        else:
            # The sine of a maximum is no number where nothing is.
            smooth = "{}" if "max(" in body or "min(" in body else "sin({})"
            function = draw(st.sampled_from(("{}", "tanh({})", "sigmoid({})", smooth)))
        lines.append(f"{name}[{n}t,k] = {function.format(body)}")
    for name in sorted(states):
        place = "-1" if before == "t-1" else "T"
        lines.append(f"{name}[{n}{place},k] = {fresh((*batch, features))}[{n}k]")
    lengths = {"length": steps + 2} if "length" in shapes else {}
    return Steps("\n".join(lines), shapes, {"T": steps}, {}, lengths)
