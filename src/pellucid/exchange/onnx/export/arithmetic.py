"""Operators, functions and comparisons of the language as nodes; of what is known, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from pellucid.errors import ArgumentError
from pellucid.exchange.onnx.export.terms import Computed, Known, Scope, Term
from pellucid.reference.functions import COMPARISONS, FUNCTIONS, OPERATORS

__all__ = ["called", "choose", "combine", "compare", "logic", "negative"]

_ARITHMETIC = {"+": "Add", "-": "Sub", "*": "Mul", "/": "Div", "**": "Pow"}
_COMPARISONS = {"==": "Equal", "<": "Less", "<=": "LessOrEqual", ">": "Greater", ">=": "GreaterOrEqual"}
_FUNCTIONS = {
    "abs": "Abs",
    "cos": "Cos",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "log": "Log",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "sin": "Sin",
    "softplus": "Softplus",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}


def combine(scope: Scope, op: str, left: Term, right: Term, *, integers: bool = True) -> Term:
    """`left op right`; integers stay integers where `integers` says so, but not behind `/` and `**`."""
    whole = integers and left.kind == right.kind == "i" and op not in ("/",)
    if isinstance(left, Known) and isinstance(right, Known):
        return _folded(scope, OPERATORS[op], (left, right), whole)
    kind = "i" if whole and op != "**" else "f"
    if op in ("//", "%"):
        return _divided(scope, op, left, right, kind)
    return scope.applied(_ARITHMETIC[op], (left, right), kind)


def _divided(scope: Scope, op: str, left: Term, right: Term, kind: str) -> Term:
    """Rounded towards minus infinity; a Div of integers is not, but a Mod has the sign of the divisor."""
    if kind == "i":
        rest = scope.applied("Mod", (left, right), "i")
        return rest if op == "%" else scope.applied("Div", (scope.applied("Sub", (left, rest), "i"), right), "i")
    ratio = scope.applied("Div", (left, right), "f")
    whole = Computed(scope.nodes.add("Floor", ratio.name), ratio.axes, "f")
    if op == "//":
        return whole
    return scope.applied("Sub", (left, scope.applied("Mul", (whole, right), "f")), "f")


def negative(scope: Scope, term: Term) -> Term:
    """`-term`."""
    if isinstance(term, Known):
        return Known(-(term.array.astype(np.int64) if term.kind == "b" else term.array), term.axes)
    found = scope.computed(term, "f" if term.kind == "b" else term.kind)
    return Computed(scope.nodes.add("Neg", found.name), found.axes, found.kind)


def compare(scope: Scope, op: str, left: Term, right: Term) -> Term:
    """Where a comparison holds."""
    if isinstance(left, Known) and isinstance(right, Known):
        return _folded(scope, COMPARISONS[op], (left, right), left.kind == right.kind == "i")
    kind = "i" if left.kind == right.kind == "i" else "f"
    if op == "!=":
        equal = scope.applied("Equal", (left, right), kind, "b")
        return Computed(scope.nodes.add("Not", equal.name), equal.axes, "b")
    return scope.applied(_COMPARISONS[op], (left, right), kind, "b")


def logic(scope: Scope, op: str, terms: Sequence[Term]) -> Term:
    """`and`, `or` of conditions, `not` of one."""
    if all(isinstance(term, Known) for term in terms):
        functions: Mapping[str, Callable[..., np.ndarray]] = {
            "and": np.logical_and,
            "or": np.logical_or,
            "not": np.logical_not,
        }
        found = terms[0]
        if op == "not":
            return Known(np.logical_not(found.array), found.axes)  # type: ignore[union-attr]
        for term in terms[1:]:
            found = _folded(scope, functions[op], (found, term), True)
        return found
    if op == "not":
        (term,) = terms
        return Computed(scope.nodes.add("Not", scope.computed(term).name), term.axes, "b")
    found = terms[0]
    for term in terms[1:]:
        found = scope.applied(op.title(), (found, term), "b")
    return found


def choose(scope: Scope, condition: Term, chosen: Term, otherwise: Term) -> Term:
    """`chosen` where the condition holds, else `otherwise`."""
    if isinstance(condition, Known) and condition.array.all():
        return chosen
    if isinstance(condition, Known) and not condition.array.any():
        return otherwise
    kind = "i" if chosen.kind == otherwise.kind == "i" else "f"
    if isinstance(condition, Known) and isinstance(chosen, Known) and isinstance(otherwise, Known):
        return _folded(scope, np.where, (condition, chosen, otherwise), kind == "i")
    axes = scope.sorted({*condition.axes, *chosen.axes, *otherwise.axes})
    scope.check(axes)
    test = scope.computed(scope.aligned(condition, axes), "b")
    parts = [scope.computed(scope.aligned(term, axes), kind) for term in (chosen, otherwise)]
    return Computed(scope.nodes.add("Where", test.name, *(part.name for part in parts)), axes, kind)


def called(scope: Scope, function: str, terms: Sequence[Term]) -> Term:
    """A function of the language's table, cell by cell."""
    if function == "stop":
        return terms[0]
    if all(isinstance(term, Known) for term in terms):
        return _folded(scope, FUNCTIONS[function], terms, function in ("max", "min", "abs", "sign"))
    if function in ("max", "min"):
        kind = "i" if all(term.kind == "i" for term in terms) else "f"
        return scope.applied(function.title(), terms, kind)
    x = scope.computed(terms[0], "f")
    if function in _FUNCTIONS:
        return Computed(scope.nodes.add(_FUNCTIONS[function], x.name), x.axes, "f")
    if function not in _EXACT:
        raise ArgumentError(f"the function `{function}` cannot be written as standard operators")
    return Computed(_EXACT[function](scope, x.name), x.axes, "f")


def _expm1(scope: Scope, x: str) -> str:
    """`tanh(x/2) * (exp(x) + 1)`, which loses no digit near 0."""
    nodes = scope.nodes
    half = nodes.add("Tanh", nodes.add("Mul", x, nodes.number(0.5)))
    return nodes.add("Mul", half, nodes.add("Add", nodes.add("Exp", x), nodes.number(1)))


def _log1p(scope: Scope, x: str) -> str:
    """`log(u) * (x / (u - 1))` with u the sum 1 + x as it was rounded, which cancels the rounding (W. Kahan)."""
    nodes = scope.nodes
    one = nodes.number(1)
    u = nodes.add("Add", x, one)
    log = nodes.add("Log", u)
    small = nodes.add("Equal", u, one)
    # Where x is lost in the sum nothing is divided by 0; where it is large there is nothing to cancel.
    rest = nodes.add("Where", small, one, nodes.add("Sub", u, one))
    exact = nodes.add("Mul", log, nodes.add("Div", x, rest))
    near = nodes.add("Where", small, x, exact)
    return nodes.add("Where", nodes.add("Greater", x, one), log, near)


_EXACT: Mapping[str, Callable[[Scope, str], str]] = MappingProxyType({"expm1": _expm1, "log1p": _log1p})


def _folded(scope: Scope, function: Callable[..., np.ndarray], terms: Sequence[Term], whole: bool) -> Known:
    """The function of known arrays: of integers where `whole` says so, else of floats."""
    axes = scope.sorted({axis for term in terms for axis in term.axes})
    scope.check(axes)
    arrays: list[np.ndarray] = []
    for term in terms:
        same = scope.aligned(term, axes)
        assert isinstance(same, Known)
        arrays.append(same.array if whole or same.kind == "b" else same.array.astype(np.float64))
    with np.errstate(all="ignore"):
        return Known(np.asarray(function(*arrays)), axes)
