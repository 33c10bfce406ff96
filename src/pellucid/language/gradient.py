"""The gradient of a formula, derived by rule, as another formula.

For `z[o] = body` and an upstream gradient `g[o]`, every access `x[index]` in the body contributes

    dx[y] = sum(all axes around the access : index == y) g[o] * d(body) / d(access)

and the contributions are summed. An index that is a bare axis becomes the gradient's own axis, and needs no
condition. The derivative of a body towards one access (a `Partial`) follows from the rules

    a + b, a - b, -a     passes through                 a * b       the other factor
    a / b                1 / b;  -a / b**2              a ** n      n * a ** (n - 1);  a ** n * log(a)
    f(a, ...)            the text in `functions.py`     where       where(condition, derivative, 0)
    sum(s) a             the axes join those around     stop, [..], argmax, //, %, lookups     0
    max(s) a, min(s) a   the same, times [argmax(s) a == position(s)]: the first winner alone

`position(s, t)` is the row-major number of the axes over their extents, which a formula does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType

from pellucid.errors import ArgumentError
from pellucid.language.binding import AxisCopies, names_of, numbered, separate, tensors_of
from pellucid.language.extents import inputs, scalars
from pellucid.language.functions import FUNCTIONS
from pellucid.language.parse import parse_expression
from pellucid.language.simplify import ZERO, Product, simplify
from pellucid.language.syntax import (
    Access,
    Binary,
    Bracket,
    Call,
    Compare,
    Condition,
    Expr,
    Formula,
    Logic,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
    children,
    map_children,
    substitute,
    walk,
)

__all__ = ["Gradient", "derive", "gradient"]

# The new axes of a gradient whose dimension no bare axis indexes, by their number.
SPATIAL_AXES = {1: ("x",), 2: ("y", "x"), 3: ("z", "y", "x")}
LOOKUP_AXIS = "k"


@dataclass(frozen=True)
class Gradient:
    """A derived formula with what its text does not say.

    `upstream` is the name of the gradient that arrives; `copies` maps each axis that is a copy (`s1`) to the axis
    of the original formula whose extent it shares (`s`). The gradient's own axes have the extents of `wrt`.
    """

    formula: Formula
    wrt: str
    upstream: str
    copies: Mapping[str, str] = field(default_factory=lambda: MappingProxyType(dict[str, str]()))


@dataclass(frozen=True)
class Partial:
    """`value` = d(expression)/d(access), where the access to `wrt` stands under `axes` and `conditions`."""

    axes: tuple[str, ...]
    conditions: tuple[Condition, ...]
    indices: tuple[Expr, ...]
    value: Product

    def map(self, function: Callable[[Product], Product]) -> Partial:
        """The partial with another value."""
        return replace(self, value=function(self.value))

    def same_cell(self, other: Partial) -> bool:
        """Whether both speak of one access under the same reductions."""
        return (self.axes, self.conditions, self.indices) == (other.axes, other.conditions, other.indices)


def gradient(formula: Formula, wrt: str, upstream: str = "g", constants: Collection[str] = ()) -> Formula:
    """`derive(formula, wrt, upstream, constants).formula`: the gradient with respect to `wrt` alone."""
    return derive(formula, wrt, upstream, constants).formula


def derive(formula: Formula, wrt: str, upstream: str = "g", constants: Collection[str] = ()) -> Gradient:
    """The gradient of `sum(output * upstream)` with respect to the tensor or scalar `wrt`, an equation again.

    The output is `d` + `wrt`, with the shape of `wrt`; its inputs are `upstream`, with the shape of the formula's
    output (a scalar where that has no indices), and what the derivative reads. Where the formula uses the
    name `upstream` or `d` + `wrt` itself, the name gets a number. Every name in the output's indices that is not
    in `constants` counts as an axis. ArgumentError where `wrt` is no input, or is read in indices alone.
    """
    tensors = tensors_of((formula.body,))
    taken = names_of((*formula.output.indices, formula.body)) | tensors
    partials = _merge(_partials(formula.body, wrt))
    rank = _rank(formula, wrt, constants)
    outer = tuple(name for name in _names_in_order(formula.output.indices) if name not in constants)
    upstream = numbered(upstream, taken)
    output = numbered(f"d{wrt}", taken | {upstream})
    axes = _gradient_axes(outer, partials, rank, (taken - tensors) | {upstream})
    copies = AxisCopies(taken | {upstream, output} | frozenset(axes))
    arriving = Access(upstream, formula.output.indices) if formula.output.indices else Name(upstream)
    terms = [_contribution(arriving, (*outer, *partial.axes), partial, axes, copies) for partial in partials]
    target = Access(output, tuple(Name(axis) for axis in axes))
    return Gradient(Formula(target, _add(terms)), wrt, upstream, MappingProxyType(copies.origins))


def _names_in_order(indices: Iterable[Expr]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(node.name for index in indices for node in walk(index) if isinstance(node, Name)))


def _rank(formula: Formula, wrt: str, constants: Collection[str]) -> int:
    """The number of dimensions of `wrt`, which must be read as a value somewhere."""
    ranks, numbers = inputs(formula), scalars(formula, constants)
    if wrt not in ranks and wrt not in numbers:
        raise ArgumentError(
            f"`wrt` (={wrt}) must be an input of {formula.output.tensor}: {', '.join((*ranks, *numbers))}"
        )
    if wrt in ranks and not _is_value(formula.body, wrt):
        raise ArgumentError(f"`wrt` (={wrt}) is read as an index alone, which has no derivative")
    return ranks.get(wrt, 0)


def _is_value(node: Node, wrt: str) -> bool:
    if isinstance(node, Access):
        return node.tensor == wrt
    return any(_is_value(child, wrt) for child in children(node))


# Partial derivatives of an expression


def _partials(node: Node, wrt: str) -> list[Partial]:
    """One partial for each access to `wrt` whose derivative is not zero by rule, in source order."""
    match node:
        case Access(tensor, indices):
            return [Partial((), (), indices, Product())] if tensor == wrt else []
        case Name(name):
            return [Partial((), (), (), Product())] if name == wrt else []
        case Negative(operand):
            return [partial.map(lambda value: value.scaled(-1)) for partial in _partials(operand, wrt)]
        case Binary():
            return list(_binary_partials(node, wrt))
        case Call("where", (condition, first, second)) if isinstance(condition, Compare | Logic):
            return _where_partials(condition, _partials(first, wrt), _partials(second, wrt))
        case Call(function, arguments):
            return [
                partial.map(_derivative(function, arguments, number).times)
                for number, argument in enumerate(arguments)
                if not isinstance(argument, Compare | Logic) and _has_derivative(function, number)
                for partial in _partials(argument, wrt)
            ]
        case Reduce():
            return _reduce_partials(node, wrt)
        case _:
            return []


def _binary_partials(node: Binary, wrt: str) -> Iterator[Partial]:
    left, right = node.left, node.right
    of_left, of_right = _partials(left, wrt), _partials(right, wrt)
    match node.op:
        case "+":
            yield from (*of_left, *of_right)
        case "-":
            yield from of_left
            yield from (partial.map(lambda value: value.scaled(-1)) for partial in of_right)
        case "*":
            yield from (partial.map(lambda value: value.times(Product.of(right))) for partial in of_left)
            yield from (partial.map(Product.of(left).times) for partial in of_right)
        case "/":
            yield from (partial.map(lambda value: value.over(right)) for partial in of_left)
            slope = Product.of(left).over(simplify(Binary("**", right, Number(2)))).scaled(-1)
            yield from (partial.map(slope.times) for partial in of_right)
        case "**":
            reduced = simplify(Binary("**", left, simplify(Binary("-", right, Number(1)))))
            yield from (partial.map(Product.all((right, reduced)).times) for partial in of_left)
            growth = Product.all((node, Call("log", (left,))))
            yield from (partial.map(growth.times) for partial in of_right)
        case _:  # // and % are steps
            return


def _has_derivative(function: str, number: int) -> bool:
    """Whether the derivative of a function towards its argument `number` is other than zero everywhere."""
    return bool(FUNCTIONS[function].derivatives[min(number, len(FUNCTIONS[function].derivatives) - 1)])


@cache
def _derivative_text(function: str, number: int) -> Expr:
    return parse_expression(FUNCTIONS[function].derivatives[number])


def _derivative(function: str, arguments: tuple[Expr | Condition, ...], number: int) -> Product:
    values = {
        name: argument
        for name, argument in zip(FUNCTIONS[function].parameters, arguments, strict=True)
        if not isinstance(argument, Compare | Logic)
    }
    text = _without_spans(_derivative_text(function, number))
    return Product.of(simplify(substitute(text, values)))  # type: ignore[arg-type]


def _where_partials(condition: Condition, first: list[Partial], second: list[Partial]) -> list[Partial]:
    """Partials of both branches, those of one cell in one `where`.

    The derivative of the branch not taken is chosen away, not multiplied by 0: it may be infinite.
    """
    rest = list(second)
    result: list[Partial] = []
    for partial in first:
        twin = next((other for other in rest if partial.same_cell(other)), None)
        if twin is not None:
            rest.remove(twin)
        otherwise = twin.value.expression() if twin is not None else ZERO
        result.append(partial.map(lambda value, o=otherwise: _choice(condition, value.expression(), o)))
    result.extend(partial.map(lambda value: _choice(condition, ZERO, value.expression())) for partial in rest)
    return result


def _choice(condition: Condition, first: Expr, second: Expr) -> Product:
    if first == Number(1) and second == ZERO:
        return Product.of(Bracket(condition))
    if first == ZERO and second == Number(1):
        return Product.of(Bracket(Logic("not", (condition,))))
    return Product.of(simplify(Call("where", (condition, first, second))))


def _reduce_partials(node: Reduce, wrt: str) -> list[Partial]:
    if node.op.startswith("arg"):
        return []
    partials = _partials(node.body, wrt)
    if node.op != "sum":
        number: Expr = Name(node.axes[0]) if len(node.axes) == 1 else Call("position", tuple(map(Name, node.axes)))
        winner = Bracket(Compare("==", replace(node, op=f"arg{node.op}"), number))
        partials = [partial.map(Product.of(winner).times) for partial in partials]
    return [
        replace(partial, axes=node.axes + partial.axes, conditions=node.conditions + partial.conditions)
        for partial in partials
    ]


def _merge(partials: Iterable[Partial]) -> list[Partial]:
    """Partials of the same access under the same reductions, added up."""
    merged: list[Partial] = []
    for partial in partials:
        at = next((number for number, other in enumerate(merged) if other.same_cell(partial)), None)
        if at is None:
            merged.append(partial)
        else:
            total = Binary("+", merged[at].value.expression(), partial.value.expression())
            merged[at] = replace(partial, value=Product.of(simplify(total)))
    return merged


# Assembly


def _gradient_axes(
    outer: tuple[str, ...], partials: list[Partial], rank: int, taken: frozenset[str]
) -> tuple[str, ...]:
    """The names of the gradient's axes: bare axes of the accesses where there are any, new names elsewhere."""
    axes: list[str | None] = [None] * rank
    for partial in partials:
        for dimension, index in enumerate(partial.indices):
            bare = index.name if isinstance(index, Name) and index.name in outer + partial.axes else None
            if axes[dimension] is None and bare is not None and bare not in axes:
                axes[dimension] = bare
    lookups = {
        dimension
        for dimension in range(rank)
        if any(isinstance(node, Access) for partial in partials for node in walk(partial.indices[dimension]))
    }
    spatial = [dimension for dimension in range(rank) if axes[dimension] is None and dimension not in lookups]
    bases = iter(SPATIAL_AXES.get(len(spatial), tuple(f"y{number + 1}" for number in range(len(spatial)))))
    for dimension in range(rank):
        if axes[dimension] is None:
            base = LOOKUP_AXIS if dimension in lookups else next(bases)
            axes[dimension] = numbered(base, taken | {axis for axis in axes if axis is not None})
    return tuple(axis for axis in axes if axis is not None)


def _contribution(
    arriving: Expr, own: tuple[str, ...], partial: Partial, axes: tuple[str, ...], copies: AxisCopies
) -> Product:
    """`sum(axes left : index == y, conditions) g[o] * value` for one partial, its axes renamed clear of `axes`.

    `own` are the axes around the access, those of the output first.
    """
    adopted = _adopted(partial, axes, own)
    renamed = dict(adopted)
    for axis in own:
        if axis not in renamed:
            scope = set(axes) | set(renamed.values()) | set(own)
            renamed[axis] = copies.copy(axis, scope) if axis in axes else axis
    scope = frozenset(axes) | frozenset(renamed.values())

    def separated(node: Node) -> Node:
        return _without_spans(separate(node, renamed, scope, copies))

    equalities = [
        Compare("==", separated(index), Name(axis))  # type: ignore[arg-type]
        for index, axis in zip(partial.indices, axes, strict=True)
        if not (isinstance(index, Name) and adopted.get(index.name) == axis)
    ]
    conditions = [*equalities, *(separated(condition) for condition in partial.conditions)]
    left = [renamed[axis] for axis in own if axis not in adopted]
    under = [condition for condition in conditions if names_of((condition,)) & set(left)]
    brackets = [Bracket(condition) for condition in conditions if condition not in under]  # type: ignore[arg-type]
    value = separated(partial.value.expression())
    factors = Product.all((separated(arriving), *brackets, value))  # type: ignore[arg-type]
    if not left:
        return factors
    first = [axis for axis in left if axis in names_of(under)]
    ordered = (*first, *(axis for axis in left if axis not in first))
    sign = -1 if factors.negative else 1
    body = factors.scaled(sign).expression()
    return Product(sign, (Reduce("sum", ordered, tuple(under), body),))  # type: ignore[arg-type]


def _adopted(partial: Partial, axes: tuple[str, ...], own: tuple[str, ...]) -> dict[str, str]:
    """The axes of the partial that stand bare in its access, each with the gradient's axis that it becomes."""
    adopted: dict[str, str] = {}
    for index, axis in zip(partial.indices, axes, strict=True):
        if isinstance(index, Name) and index.name in own and index.name not in adopted:
            adopted[index.name] = axis
    return adopted


def _add(terms: list[Product]) -> Expr:
    if not terms:
        return ZERO
    result = terms[0].expression()
    for term in terms[1:]:
        if term.negative:
            result = Binary("-", result, term.scaled(-1).expression())
        else:
            result = Binary("+", result, term.expression())
    return simplify(result)


def _without_spans(node: Node) -> Node:
    """The tree without source positions: it no longer says what stands there."""
    return replace(map_children(node, _without_spans), span=None)
