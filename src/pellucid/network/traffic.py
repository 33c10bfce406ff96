"""What joining equations saves in memory traffic, and what it costs in arithmetic."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from math import prod

from pellucid.language.binding import names_of
from pellucid.language.extents import determined
from pellucid.language.syntax import (
    Access,
    Binary,
    Bracket,
    Call,
    Compare,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
    children,
    top_reductions,
    walk,
)
from pellucid.network.graph import Equation, Value
from pellucid.network.merge import accesses_of, reads_inside

__all__ = ["DEAR", "gain", "takes_epilogue"]

# Functions that cost more than a load; all else is as quick to do again.
DEAR = frozenset(("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "sigmoid", "softplus", "erf"))
# Operations that vectors of floats do in the time in which a byte comes from beyond the near caches and goes there:
# some 16 operations a cycle, some 8 bytes a cycle.
OPERATIONS_PER_BYTE = 2.0
# What a division and a function of `DEAR` (a polynomial and more) cost, in additions.
DIVISION, FUNCTION = 6.0, 20.0
# Terms of a sum that gets an epilogue. A cell saves about a cycle, a sum of this length takes a hundred or more; and
# long sums are cut for accuracy, so that the code of what ends them stands there twice (weight gradients: a fifth more
# code, no time saved).
LONGEST_SUM = 4096


def takes_epilogue(node: Equation) -> bool:
    """Whether the equation reduces to values, and over few enough terms for an epilogue (a winner's position is an
    integer and gets none)."""
    tops = list(top_reductions(node.formula.body))
    lengths = (prod(node.extents[axis] for axis in top.axes) / determined(top, node.extents) for top in tops)
    return bool(tops) and not any(top.op.startswith("arg") for top in tops) and max(lengths) <= LONGEST_SUM


def gain(values: Mapping[str, Value], node: Equation, consumers: Collection[Equation]) -> float:
    """Bytes of memory traffic saved if `node` is computed inside all `consumers`, less its arithmetic in bytes.

    Saved: the node's own pass (what it reads, what it writes) and every read of its output. Paid: its operands, read
    where the consumer does not read them already, and its operations, as often as the consumers evaluate them more
    than once. 0 or less too where a consumer cannot take it: a product, a read past the border, a look-up.
    """
    names = {node.output, *node.sources}
    size = {name: values[name].bytes for name in names}
    saved = float(sum(size.values()))
    evaluations = 0.0
    for consumer in consumers:
        reads = accesses_of(consumer, node.output)
        if reads is None or any(
            isinstance(read, Access) and not reads_inside(values, consumer, read) for read in reads
        ):
            return 0.0
        count = 0
        for read, rounds, in_product in _evaluations(consumer, set(reads)):
            if in_product and isinstance(read, Access):
                return 0.0
            evaluations += rounds
            count += 1
        new = sum(size[source] for source in node.sources if source not in consumer.sources)
        saved += count * (size[node.output] - new)
    again = max(0.0, evaluations - values[node.output].size)
    return saved - again * _operations(node, node.formula.body) / OPERATIONS_PER_BYTE


def _evaluations(node: Equation, reads: Collection[Access | Name]) -> Iterator[tuple[Access | Name, float, bool]]:
    """For every read (equal ones of one reduction once): how often it is made, and whether as a factor of a product."""
    seen = set[tuple[Node, Reduce | None]]()

    def visit(part: Node, scope: frozenset[str], inner: Reduce | None) -> Iterator[tuple[Access | Name, float, bool]]:
        if part in reads and (part, inner) not in seen:
            seen.add((part, inner))
            assert isinstance(part, Access | Name)
            rounds = prod(node.extents[axis] for axis in scope if axis in node.extents)
            solved = determined(inner, node.extents) if inner is not None else 1
            yield part, rounds / solved, inner is not None and _is_product(inner)
        if isinstance(part, Reduce):
            names = {below.name for below in walk(part) if isinstance(below, Name)}
            scope, inner = frozenset(scope & names) | frozenset(part.axes), part
        for child in children(part):
            yield from visit(child, scope, inner)

    yield from visit(node.formula.body, names_of(node.formula.output.indices), None)


def _is_product(reduce: Reduce) -> bool:
    """Whether what is summed is a product of arrays alone: such sums are bound by arithmetic."""

    def factors(part: Node) -> int:
        if isinstance(part, Access):
            return 1
        if isinstance(part, Binary) and part.op == "*":
            left, right = factors(part.left), factors(part.right)
            return left + right if left and right else 0
        return 0

    body = reduce.body.operand if isinstance(reduce.body, Negative) else reduce.body
    return reduce.op == "sum" and factors(body) > 1


def _operations(node: Equation, part: Node) -> float:
    """Operations for one cell, in additions; what is made of constants alone is computed once."""
    if not any(
        isinstance(below, Access) or (isinstance(below, Name) and below.name in node.bindings) for below in walk(part)
    ):
        return 0.0
    inside = sum(_operations(node, child) for child in children(part) if not isinstance(part, Access))
    match part:
        case Binary("/"):
            return inside + DIVISION
        case Binary("**"):
            return inside + (FUNCTION if not _small_power(part) else 1.0)
        case Call(function) if function in DEAR:
            return inside + FUNCTION
        case Binary() | Call() | Compare() | Bracket() | Negative():
            return inside + 1.0
        case _:
            return inside


def _small_power(part: Binary) -> bool:
    return isinstance(part.right, Number) and part.right.value in (1, 2, 3)
