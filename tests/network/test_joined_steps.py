"""Formulas of a loop joined: which, and that the values stay what they were."""

import numpy as np
import pytest

from pellucid.language.parse import parse_system
from pellucid.language.render import to_text
from pellucid.language.system import System
from pellucid.network.graph import Graph, Loop
from pellucid.network.run import compile_graph
from pellucid.network.steps import with_joined_steps

SIMPLE = """
a[n,t,k] = u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k]
h[n,t,k] = tanh(a[n,t,k])
"""
JOINED = "h[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t-1,j] * w[j,k])"


def graph_of(text: str) -> tuple[Graph, dict[str, str]]:
    graph = Graph("float64")
    for name, shape in (("u", (2, 4, 3)), ("w", (3, 3))):
        graph.input(name, shape)
    names = graph.system_values(System(parse_system(text), "h"), {"u": "u", "w": "w"})
    return graph, names


def formulas_of(graph: Graph) -> list[str]:
    (loop,) = (node for node in graph.nodes if isinstance(node, Loop))
    return [to_text(formula) for formula in loop.recurrence.formulas]


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        (SIMPLE, "h", [JOINED]),
        # Somebody reads it.
        (SIMPLE, "ah", ["a[n,t,k] = u[n,t,k] + sum(j) h[n,t-1,j] * w[j,k]", "h[n,t,k] = tanh(a[n,t,k])"]),
        # Two formulas read it.
        (
            SIMPLE.replace("tanh(a[n,t,k])", "a[n,t,k] + p[n,t-1,k]") + "p[n,t,k] = exp(a[n,t,k])",
            "h",
            [
                "a[n,t,k] = u[n,t,k] + sum(j) h[n,t-1,j] * w[j,k]",
                "h[n,t,k] = a[n,t,k] + p[n,t-1,k]",
                "p[n,t,k] = exp(a[n,t,k])",
            ],
        ),
        # It would stand under a sum, once for each term.
        (
            "p[n,t,k] = 2 * h[n,t-1,k]\nh[n,t,k] = u[n,t,k] + sum(j) p[n,t,j]*w[j,k]",
            "h",
            ["p[n,t,k] = 2 * h[n,t-1,k]", "h[n,t,k] = u[n,t,k] + sum(j) p[n,t,j] * w[j,k]"],
        ),
        # Elementwise ones go together.
        (
            "p[n,t,k] = 2 * h[n,t-1,k]\nq[n,t,k] = p[n,t,k] + u[n,t,k]\nh[n,t,k] = tanh(q[n,t,k])",
            "h",
            ["h[n,t,k] = tanh(2 * h[n,t-1,k] + u[n,t,k])"],
        ),
        # It is read one step later.
        (
            "p[n,t,k] = 2 * h[n,t-1,k]\nh[n,t,k] = u[n,t,k] + p[n,t-1,k]",
            "h",
            ["p[n,t,k] = 2 * h[n,t-1,k]", "h[n,t,k] = u[n,t,k] + p[n,t-1,k]"],
        ),
    ],
)
def test_what_is_joined(text: str, wanted: str, expected: list[str]):
    graph, names = graph_of(text)
    found = with_joined_steps(graph, {names[name] for name in wanted})
    assert formulas_of(found) == expected


@pytest.mark.parametrize("text", [SIMPLE, f"{SIMPLE}y[n,k] = sum(t) a[n,t,k]"])
def test_values_stay(text: str):
    graph, names = graph_of(text)
    arrays = {name: np.random.default_rng(0).normal(size=graph.values[name].shape) for name in "uw"}
    wanted = tuple(names[name] for name in "hy" if name in names)
    one, two = (compile_graph(graph, wanted, backend=backend)(arrays) for backend in ("reference", "compiled"))
    for name in wanted:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-13)


def test_what_nobody_reads_is_not_made():
    graph, names = graph_of(f"{SIMPLE}z[n,t,k] = h[n,t-1,k]*u[n,t,k]")
    found = with_joined_steps(graph, {names["h"]})
    assert formulas_of(found) == [JOINED]
