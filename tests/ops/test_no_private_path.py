"""The built-in convolution has no private path: an equation that a user types gives the same loop nests."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest

import pellucid
from pellucid.emit import target
from pellucid.network.graph import Graph
from pellucid.network.reverse import differentiate
from pellucid.nn import equations
from pellucid.schedule.lower import lower, lower_alone
from pellucid.schedule.nest import Tensor
from pellucid.schedule.show import show

SHAPES = {"x": (2, 8, 7, 16), "w": (3, 3, 16, 24), "b": (24,)}
TYPED = pellucid.Equation("z[n,i,j,k] = sum(s,t,c) x[n,i*S+s-P,j*S+t-P,c] * w[s,t,c,k] + b[k]", S=2, P=1)


def printed(program, name):
    """The loop nests without the prefix of what is new in them."""
    return "\n".join(show(nest) for nest in program.nests).replace(name, "nest")


def arrays(**shapes):
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def built_in_program(wrt=None):
    """The nests of `ops.conv2d`, or of its gradient towards one operand alone, and what they are called.

    As the scheduler gives them: a graph's program also joins neighbouring nests that are independent.
    """
    graph = Graph("float32")
    for name, shape in SHAPES.items():
        graph.input(name, shape)
    system = equations.conv2d(*SHAPES.values(), stride=2, padding=1)
    output = graph.system(system, {name: name for name in SHAPES})
    if wrt is not None:
        graph.input("g", graph.values[output].shape)
        forward, output = output, differentiate(graph, output, "g", [wrt])[wrt]
        graph = graph.replace_nodes(tuple(node for node in graph.nodes if node.output != forward))
    (node,) = graph.nodes
    local = {**node.bindings, node.formula.output.tensor: node.output}
    values = {name: graph.values[value] for name, value in local.items()}
    tensors = {
        name: Tensor(value.name, value.dtype, value.shape, "output" if value.name == output else "input")
        for name, value in values.items()
    }
    name = f"n0.{node.output}"
    run = partial(lower, node.formula, node.constants, node.extents, tensors, target().machine, name)
    return lower_alone(run, node.formula, tensors), output


def test_forward():
    program, output = built_in_program()
    typed = TYPED.loop_nest(**arrays(**SHAPES)).program
    mine = printed(program, f"n0.{output}")
    assert mine == printed(typed, "equation")
    assert re.search(r"acc.* \+= x\[.*\] \* ", mine)


@pytest.mark.parametrize("wrt", ["x", "w", "b"])
def test_gradients(wrt):
    program, output = built_in_program(wrt)
    given = arrays(g=(2, 4, 4, 24), **{name: shape for name, shape in SHAPES.items() if name != "b"})
    gradient = TYPED.gradient(wrt)
    extents = dict(zip(gradient.formula.free_axes, SHAPES[wrt], strict=True))
    typed = gradient.loop_nest(extents=extents, **{name: given[name] for name in gradient.inputs}).program
    assert printed(program, f"n0.{output}").replace(output, f"d{wrt}") == printed(typed, "equation")
