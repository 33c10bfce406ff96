"""Where one number comes from: the terms of an equation at one cell, with their values and their sum.

    dx[0,2,2,0] = w[1,1,0,0]*g[0,1,1,0] + w[1,0,0,0]*g[0,1,2,0]
                = 4*1 + 3*2
                = 10

Products are expanded into terms; terms whose conditions fail, or that read outside an array, are left out, as they
are 0. What is neither sum nor product stands as one factor, written out (`exp(x[0,3])`). The candidates of a
max, min, argmax or argmin are listed with the winner. Around a function, the argument is explained first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import index as index_of

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.extents import interval
from pellucid.language.points import points
from pellucid.language.products import Factor, Term, expand, is_plain, written_out
from pellucid.language.render import to_text
from pellucid.language.syntax import (
    Access,
    Binary,
    Call,
    Compare,
    Condition,
    Expr,
    Formula,
    Logic,
    Name,
    Node,
    Number,
    Reduce,
    children,
    map_children,
    walk,
)
from pellucid.language.values import IDENTITY, MAX_TERMS, Array, Cells, Environment, ValueUnknownError

__all__ = ["Explanation", "Factor", "Term", "explain"]

PRINTED_TERMS = 40


@dataclass(frozen=True)
class Explanation:
    """One number of an equation's result.

    `kind` is "sum", the name of a reduction, or the name of the outermost function. `terms` are the terms of the sum,
    the candidates of the reduction, or those of the function's argument. `total` is the number itself: for a sum,
    that of the terms' values in order; None where an array it needs is known by its shape alone. `winner` is the
    place of a reduction's winner in `terms`. `tensor[index]` is the cell, counted from 0; `base` is where printed
    indices begin. `str()` prints the terms, their values and the total, at most 40 terms.
    """

    tensor: str
    index: tuple[int, ...]
    kind: str
    terms: tuple[Term, ...]
    total: float | None
    winner: int | None
    base: int
    lines: tuple[str, ...]

    def __str__(self) -> str:
        head = Factor(self.tensor, self.index, None).text(self.base)
        first, *others = self.lines
        return "\n".join((f"{head} = {first}", *(f"{' ' * len(head)} = {line}" for line in others)))


def explain(
    formula: Formula,
    index: tuple[int, ...] | int,
    constants: Mapping[str, int | float],
    extents: Mapping[str, int],
    arrays: Mapping[str, Array | float | None],
    base: int = 0,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    upstream: str | None = None,
) -> Explanation:
    """The explanation of the formula's value at one cell of its output.

    `index` is the cell, counted from `base` (0 or 1), as all printed indices are. `extents` has every axis, as from
    `infer_extents`. `arrays` has the inputs, anything with a shape that takes tuples of integers, and the scalars; a
    tensor whose values are not known is None there, or absent, with its shape in `shapes`: its factors have no values.
    Factors of the tensor `upstream`, the gradient that arrives, are written last, as texts on the subject do.

    ArgumentError for an index of the wrong length or outside the output, a name without array, shape or value, a
    condition that depends on unknown values, and more than 100,000 terms.
    """
    if base not in (0, 1):
        raise ArgumentError(f"`base` (={base}) must be 0 or 1")
    cells = Cells(constants, extents, arrays, shapes or {})
    cell = _checked_index(formula, _as_tuple(index), cells, base)
    try:
        story = _story(_with_last(formula.body, upstream), cells, _output_point(formula, cell, cells, base), base)
    except ValueUnknownError as unknown:
        message = f"explaining this needs the values of `{unknown}`: a condition or an index depends on them"
        raise ArgumentError(message) from None
    lines = [story.symbolic, *story.steps]
    lines = [line for place, line in enumerate(lines) if place == 0 or line != lines[place - 1]]
    lines[-1] += story.note
    return Explanation(
        formula.output.tensor, cell, story.kind, story.terms, story.total, story.winner, base, tuple(lines)
    )


def _with_last(body: Expr, tensor: str | None) -> Expr:
    """The expression with a factor of `tensor` at the end of its product.  before: g[i]*x[i]  after: x[i]*g[i]"""
    if tensor is None:
        return body

    def visit(node: Node) -> Node:
        if isinstance(node, Binary) and node.op == "*":
            left, right = visit(node.left), visit(node.right)
            if isinstance(left, Binary) and left.op == "*" and _reads(left.right, tensor):
                return Binary("*", Binary("*", left.left, right), left.right)  # type: ignore[arg-type]
            return Binary("*", right, left) if _reads(left, tensor) else Binary("*", left, right)  # type: ignore[arg-type]
        return map_children(node, visit)

    return visit(body)  # type: ignore[return-value]


def _reads(node: Node, tensor: str) -> bool:
    return (isinstance(node, Access) and node.tensor == tensor) or (isinstance(node, Name) and node.name == tensor)


def _as_tuple(index: tuple[int, ...] | int) -> tuple[int, ...]:
    """The index as a tuple of ints; NumPy's integers are taken, other numbers are not."""
    try:
        return tuple(index_of(number) for number in (index if isinstance(index, Iterable) else (index,)))
    except TypeError:
        raise ArgumentError(f"`index` (={index!r}) must be integers") from None


def _checked_index(formula: Formula, index: tuple[int, ...], cells: Cells, base: int) -> tuple[int, ...]:
    """The index, counted from 0."""
    output = formula.output
    if len(index) != len(output.indices):
        numbers, wanted = _count(len(index), "number", "numbers"), _count(len(output.indices), "index", "indices")
        raise ArgumentError(f"`index` (={index}) has {numbers}; {output.tensor} has {wanted}")
    for place, (value, axis) in enumerate(zip(index, output.indices, strict=True)):
        span = interval(axis, cells.constants, cells.extents)
        if span is None:
            raise ShapeError(
                f"index {place} of {output.tensor} has no known end; give the extents of its axes", axis.span
            )
        low, high = span[0] + base, span[1] + base
        if not low <= value <= high:
            raise ArgumentError(f"`index[{place}]` (={value}) of {output.tensor} must be from {low} to {high}")
    return tuple(value - base for value in index)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _output_point(formula: Formula, cell: tuple[int, ...], cells: Cells, base: int) -> dict[str, int]:
    """The output's axes at a cell. An index that is more than a name (`2*y+1`) is solved for its axes."""
    indices = formula.output.indices
    point = {axis.name: value for axis, value in zip(indices, cell, strict=True) if isinstance(axis, Name)}
    others = [(axis, value) for axis, value in zip(indices, cell, strict=True) if not isinstance(axis, Name)]
    if not others:
        return point
    names = tuple(dict.fromkeys(name for axis, _ in others for name in _axis_names(axis, cells) if name not in point))
    conditions = tuple(Compare("==", axis, Number(value)) for axis, value in others)
    search = Reduce("sum", names, conditions, Number(1))
    solution = next(points(search, point, cells.constants, cells.extents, cells.holds), None)
    if solution is None:
        printed = Factor(formula.output.tensor, cell, None).text(base)
        raise ArgumentError(f"the equation writes {to_text(formula.output)} alone, and so not {printed}")
    return solution


def _axis_names(index: Expr, cells: Cells) -> Iterator[str]:
    return (node.name for node in walk(index) if isinstance(node, Name) and node.name not in cells.constants)


@dataclass(frozen=True)
class _Story:
    """An explanation without the cell.

    `symbolic` is the value written out; `steps` are the same with values in place of cells, down to the total, and
    none where a value is not known; `note` is said behind the last one.
    """

    kind: str
    terms: tuple[Term, ...]
    total: float | None
    winner: int | None
    symbolic: str
    steps: tuple[str, ...]
    note: str = ""


def _story(body: Expr, cells: Cells, point: Environment, base: int) -> _Story:
    if isinstance(body, Reduce) and body.op != "sum":
        return _candidates(body, cells, point, base)
    if isinstance(body, Call) and not is_plain(body, cells, point):
        return _function(body, cells, point, base)
    return _sum(body, cells, point, base)


def _sum(body: Expr, cells: Cells, point: Environment, base: int) -> _Story:
    terms: list[Term] = []
    for term in expand(body, cells, point, 0.0, base):
        terms.append(term)
        if len(terms) > MAX_TERMS:
            raise ArgumentError(f"an explanation has at most {MAX_TERMS} terms; this sum has more")
    shown, count = terms[:PRINTED_TERMS], len(terms)
    symbolic = _joined([term.text(base) for term in shown], count)
    values = [term.value for term in terms if term.value is not None]
    if len(values) < len(terms):
        return _Story("sum", tuple(terms), None, None, symbolic, ())
    total = sum(values)
    steps = _joined([term.numbers() for term in shown], count), f"{total:.6g}"
    return _Story("sum", tuple(terms), total, None, symbolic, steps)


def _joined(texts: list[str], count: int) -> str:
    """The texts of the first of `count` terms as a sum."""
    if not texts:
        return "0"
    first, *others = texts
    rest = count - len(texts)
    more = f" + ... {rest} more term{'s' if rest > 1 else ''}" if rest > 0 else ""
    return first + "".join(f" - {text[1:]}" if text.startswith("-") else f" + {text}" for text in others) + more


def _candidates(body: Reduce, cells: Cells, point: Environment, base: int) -> _Story:
    """max, min, argmax, argmin: every candidate inside its arrays, and which of them won."""
    outside = IDENTITY[body.op]
    terms: list[Term] = []
    values: list[float] = []
    positions: list[int] = []
    unknown = False
    for inner in cells.assignments(body, point):
        term = _candidate(body.body, cells, inner, outside, base)
        value = term.value
        if value == outside and _reads_outside(body.body, cells, inner):
            continue
        unknown = unknown or value is None
        terms.append(term)
        values.append(math.nan if value is None else value)
        positions.append(cells.position(body.axes, inner))
    symbolic = _listed(body.op, [term.text(base) for term in terms])
    if unknown:
        return _Story(body.op, tuple(terms), None, None, symbolic, ())
    winner = cells.winner(body.op, values)
    if body.op in ("max", "min"):
        total = outside if winner is None else values[winner]
    else:
        total = 0 if winner is None else positions[winner]
    note = "" if winner is None else f", from {terms[winner].text(base)}"
    steps = _listed(body.op, [f"{value:.6g}" for value in values]), f"{total:.6g}"
    return _Story(body.op, tuple(terms), total, winner, symbolic, steps, note)


def _candidate(body: Expr, cells: Cells, point: Environment, outside: float, base: int) -> Term:
    """A candidate as one term: a product as it is, anything else as a single factor."""
    terms = list(expand(body, cells, point, outside, base))
    if len(terms) == 1:
        return terms[0]
    if not terms:
        return Term(0, ())
    text = written_out(body, cells, point, base)
    known = all(term.value is not None for term in terms)
    return Term(1, (Factor(text, (), cells.value(body, point, outside) if known else None),))


def _reads_outside(node: Node, cells: Cells, point: Environment) -> bool:
    """Whether a cell that the value itself (not a reduction inside it) reads does not exist."""
    if isinstance(node, Access):
        return not cells.inside(node, cells.cell(node, point))
    return not isinstance(node, Reduce) and any(_reads_outside(child, cells, point) for child in children(node))


def _listed(operator: str, texts: list[str]) -> str:
    rest = len(texts) - PRINTED_TERMS
    shown = texts[:PRINTED_TERMS] + ([f"... {rest} more"] if rest > 0 else [])
    return f"{operator}({', '.join(shown)})"


def _function(body: Call, cells: Cells, point: Environment, base: int) -> _Story:
    """A function around a value: its first argument that reads something (of `where`, the chosen one) is explained."""
    texts = [written_out(argument, cells, point, base) for argument in body.arguments]
    place = _explained(body, cells, point)
    argument = body.arguments[place]
    assert not isinstance(argument, Compare | Logic)
    inner = _story(argument, cells, point, base)
    symbolic = _wrapped(body.function, texts, place, inner.symbolic)
    try:
        total = cells.value(body, point, 0.0)
        numbers = [_number_or_truth(argument, cells, point) for argument in body.arguments]
    except ValueUnknownError:
        return _Story(body.function, inner.terms, None, inner.winner, symbolic, ())
    steps = [_wrapped(body.function, numbers, place, step) for step in inner.steps]
    return _Story(body.function, inner.terms, total, inner.winner, symbolic, (*steps, f"{total:.6g}"))


def _explained(body: Call, cells: Cells, point: Environment) -> int:
    condition = body.arguments[0]
    if isinstance(condition, Compare | Logic):
        return 1 if cells.holds(condition, point) else 2
    reads = (
        place
        for place, argument in enumerate(body.arguments)
        if not isinstance(argument, Compare | Logic) and not is_plain(argument, cells, point)
    )
    return next(reads)


def _wrapped(function: str, arguments: list[str], place: int, argument: str) -> str:
    return f"{function}({', '.join((*arguments[:place], argument, *arguments[place + 1 :]))})"


def _number_or_truth(argument: Expr | Condition, cells: Cells, point: Environment) -> str:
    if isinstance(argument, Compare | Logic):
        return "true" if cells.holds(argument, point) else "false"
    return f"{cells.value(argument, point, 0.0):.6g}"
