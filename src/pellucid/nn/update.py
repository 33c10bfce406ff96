"""The end of a training step: clipping, the optimiser's equations, running statistics.

Every update is guarded: where the loss is not finite (or the gradients' norm, where it is computed) nothing is
changed, so that what went wrong can still be found.

    before   p1[i] = p[i] - lr*g[i]
    after    p1[i] = where(allowed > 0, p[i] - lr*g[i], p[i])
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pellucid.language.parse import parse, parse_system
from pellucid.language.syntax import Access, Call, Compare, Formula, Name, Number
from pellucid.language.system import System
from pellucid.network import Graph
from pellucid.optim import Optimizer

__all__ = [
    "COUNT",
    "COUNT_ROUND",
    "add_updates",
    "clipped",
    "finite",
    "moment_name",
    "scalar_name",
    "squared_norm",
    "squared_norms_by_step",
]

ALLOWED = parse("allowed = [abs(loss) <= largest]")
ALLOWED_BY_NORM = parse("allowed = [abs(loss) <= largest and squares <= largest]")
# How many steps changed the parameters is counted with them, so that no interrupt comes between; in float32 numbers are
# whole up to 2**24, so the count starts again after `COUNT_ROUND`.
COUNT, COUNT_ROUND = "step.count", 2**20
COUNTED = parse("next = where(allowed > 0, where(count < last, count + 1, 0), count)")
SQUARES = parse("squares = sum(i) g[i] ** 2")
SQUARES_BY_STEP = parse("squares[t] = sum(n,k) g[n,t,k] ** 2")
# The 1e-6 is that of torch.nn.utils.clip_grad_norm_.
CLIPPING = parse_system("norm = sqrt(squares)\nfactor = min(limit / (norm + 0.000001), 1)")
TAKEN = parse("p1[i] = new[i]")
CLIPPED = parse("clipped[i] = g[i] * factor")
LARGEST = {"float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}


def moment_name(parameter: str, moment: str) -> str:
    """The graph's input that holds a moment of a parameter: `0.weight:v`."""
    return f"{parameter}:{moment}"


def scalar_name(scalar: str) -> str:
    """The graph's input for one of the optimiser's scalars: `step.lr`."""
    return f"step.{scalar}"


def finite(graph: Graph, loss: str, squares: str | None) -> str:
    """Adds a scalar that is 1 where the loss, and the squared norm of the gradients where it is known, are finite."""
    formula = ALLOWED if squares is None else ALLOWED_BY_NORM
    bindings = {"loss": loss} if squares is None else {"loss": loss, "squares": squares}
    return graph.formula(formula, bindings, constants={"largest": LARGEST[graph.dtype]}, prefix="step")


def squared_norm(graph: Graph, gradient: str, parameter: str) -> str:
    """Adds the sum of squares of a flat gradient."""
    return graph.formula(SQUARES, {"g": gradient}, prefix=f"norm.{parameter}")


def squared_norms_by_step(graph: Graph, gradient: str, state: str) -> str:
    """Adds the sums of squares of a state's gradient, one for each step."""
    return graph.formula(SQUARES_BY_STEP, {"g": gradient}, prefix=f"norm.{state}")


def clipped(graph: Graph, gradients: Mapping[str, str], squares: str, limit: float) -> dict[str, str]:
    """Adds flat gradients scaled together so that their common norm, whose square is `squares`, is at most `limit`."""
    factor = graph.system(System(CLIPPING, "factor", {"limit": limit}), {"squares": squares}, prefix="clip")
    return {
        name: graph.formula(CLIPPED, {"g": gradient, "factor": factor}, prefix=f"d.{name}")
        for name, gradient in gradients.items()
    }


def add_updates(
    graph: Graph,
    optimizer: Optimizer,
    gradients: Mapping[str, str],
    running: Mapping[str, str],
    allowed: str,
) -> dict[str, str]:
    """Adds the new value of all that a step changes: state's input -> new value.

    That is every parameter, moment and running statistic, and `COUNT`. `running` gives the value that is to take the
    place of each running statistic.

    Adds an input for each moment (flat, as many elements as its parameter), each of the optimiser's scalars, and
    `COUNT`.
    """
    system = optimizer.system()
    scalars = {name: graph.input(scalar_name(name), ()) for name in optimizer.scalars(0, 1.0)}
    known: dict[str, dict[str, str]] = {}
    for name, gradient in gradients.items():
        size = (graph.values[name].size,)
        moments = {moment: graph.input(moment_name(name, moment), size) for moment in optimizer.moments}
        known[name] = {"p": graph.view(name, size), "g": gradient, "allowed": allowed, **moments, **scalars}
    # Equation by equation rather than parameter by parameter: what is next to each other then need not wait.
    for formula in system.equations:
        guarded, local = _guarded(formula), formula.output.tensor
        for name, bound in known.items():
            bound[local] = graph.formula(guarded, bound, constants=system.constants, prefix=f"update.{name}")
    updates: dict[str, str] = {}
    for name, bound in known.items():
        updates[name] = bound["p1"]
        updates |= {bound[moment]: bound[f"{moment}1"] for moment in optimizer.moments}
    for name, value in running.items():
        size = (graph.values[name].size,)
        bound = {"p": graph.view(name, size), "new": graph.view(value, size), "allowed": allowed}
        updates[name] = graph.formula(_guarded(TAKEN), bound, prefix=f"update.{name}")
    counted = {"count": graph.input(COUNT, ()), "allowed": allowed}
    updates[COUNT] = graph.formula(COUNTED, counted, constants={"last": COUNT_ROUND - 1}, prefix="step")
    return updates


def _guarded(formula: Formula) -> Formula:
    """The formula, giving the old value where `allowed` is 0; `v1` is the new value of `v`."""
    old = formula.output.tensor.removesuffix("1")
    condition = Compare(">", Name("allowed"), Number(0))
    return replace(formula, body=Call("where", (condition, formula.body, Access(old, formula.output.indices))))
