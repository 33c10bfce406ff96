"""The syntax tree of the equation language.

Grammar (the concrete syntax is in `parse.py`; `...` separates repetitions):

    Formula   = output "=" expression
    output    = Access(tensor, indices)                 every index an integer expression in axes and constants
    Expr      = Number(value)
              | Name(name)                              an axis, an integer constant, or a scalar input
              | Access(tensor, indices)                 indices may contain accesses of integer arrays (gather)
              | Negative(operand)
              | Binary(op, left, right)                 + - * / // % **
              | Call(function, arguments)               see `functions.py`
              | Bracket(condition)                      Iverson bracket: 1 where the condition holds, else 0
              | Reduce(op, axes, conditions, body)      sum, max, min, argmax, argmin over the axes for which
                                                        all conditions hold
    Condition = Compare(op, left, right)                == != < <= > >=
              | Logic(op, operands)                     and, or, not

Meaning

- A `Name` that is an index of the output as it stands, or that a `Reduce` around it binds, is an axis; a name
  bound in `constants` is that integer; any other name in a value position is a scalar input, and in an index
  position an error.
- Reading outside an array gives the identity of the innermost reduction around the access: 0 for a sum,
  minus infinity for a max, plus infinity for a min; 0 where there is no reduction.
- `argmax` and `argmin` give the row-major number of the first winner over the reduced axes, in the order
  in which they are written.
- An output whose index is not a bare axis writes only those cells (the per-residue form of a gradient).

Nodes are frozen and compare by structure; `span` (where the node was written) takes no part in comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from operator import is_not
from types import MappingProxyType
from typing import TypeAlias

from pellucid.errors import Span

__all__ = [
    "Access",
    "Binary",
    "Bracket",
    "Call",
    "Compare",
    "Condition",
    "Expr",
    "Formula",
    "Logic",
    "Name",
    "Negative",
    "Node",
    "Number",
    "Reduce",
    "children",
    "map_children",
    "substitute",
    "top_reductions",
    "walk",
]

REDUCTIONS = ("sum", "max", "min", "argmax", "argmin")


@dataclass(frozen=True)
class Number:
    """A literal. Integers stay integers, so that index arithmetic is exact."""

    value: int | float
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Name:
    """An axis, an integer constant bound at use, or a scalar input."""

    name: str
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Access:
    """`tensor[indices]`."""

    tensor: str
    indices: tuple[Expr, ...]
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Negative:
    """`-operand`."""

    operand: Expr
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Binary:
    """`left op right` for op in `+ - * / // % **`; `//` and `%` round towards minus infinity."""

    op: str
    left: Expr
    right: Expr
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Call:
    """An elementwise function of `functions.py`; `where(condition, a, b)` takes a condition first."""

    function: str
    arguments: tuple[Expr | Condition, ...]
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Compare:
    """`left op right` for op in `== != < <= > >=`."""

    op: str
    left: Expr
    right: Expr
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Logic:
    """`and`, `or` of two or more conditions, `not` of one."""

    op: str
    operands: tuple[Condition, ...]
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Bracket:
    """The Iverson bracket `[condition]`."""

    condition: Condition
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Reduce:
    """`op(axes : conditions) body`."""

    op: str
    axes: tuple[str, ...]
    conditions: tuple[Condition, ...]
    body: Expr
    span: Span | None = field(default=None, compare=False, repr=False)


Expr: TypeAlias = Number | Name | Access | Negative | Binary | Call | Bracket | Reduce
Condition: TypeAlias = Compare | Logic
Node: TypeAlias = Expr | Condition


@dataclass(frozen=True)
class Formula:
    """One equation: `output = body`."""

    output: Access
    body: Expr
    span: Span | None = field(default=None, compare=False, repr=False)

    @property
    def free_axes(self) -> tuple[str, ...]:
        """The bare axes of the output, in order."""
        return tuple(index.name for index in self.output.indices if isinstance(index, Name))


# The fields of each class of nodes that hold sub-nodes: one, or a tuple of them.
_PARTS: Mapping[type[Node], tuple[str, ...]] = MappingProxyType(
    {
        Number: (),
        Name: (),
        Access: ("indices",),
        Negative: ("operand",),
        Binary: ("left", "right"),
        Call: ("arguments",),
        Bracket: ("condition",),
        Reduce: ("conditions", "body"),
        Compare: ("left", "right"),
        Logic: ("operands",),
    }
)


def children(node: Node) -> Iterator[Node]:
    """The direct sub-nodes of a node, in source order."""
    return iter(_children(node))


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, parents first."""
    waiting = [node]
    while waiting:
        found = waiting.pop()
        yield found
        if _PARTS[type(found)]:
            waiting += reversed(_children(found))


def top_reductions(node: Node) -> Iterator[Reduce]:
    """The reductions at or below a node that stand inside no other, in source order."""
    if isinstance(node, Reduce):
        yield node
    else:
        for child in children(node):
            yield from top_reductions(child)


def _children(node: Node) -> list[Node]:
    found: list[Node] = []
    for name in _PARTS[type(node)]:
        value = getattr(node, name)
        if isinstance(value, tuple):
            found += value
        else:
            found.append(value)
    return found


def map_children(node: Node, function: Callable[[Node], Node]) -> Node:
    """The node with `function` applied to each direct sub-node; the node itself where nothing changed."""
    changes: dict[str, object] = {}
    for name in _PARTS[type(node)]:
        value = getattr(node, name)
        if isinstance(value, tuple):
            new = tuple(map(function, value))
            if any(map(is_not, new, value)):
                changes[name] = new
        else:
            new_value = function(value)
            if new_value is not value:
                changes[name] = new_value
    return replace(node, **changes) if changes else node  # type: ignore[arg-type]


def substitute(node: Node, bindings: dict[str, Expr]) -> Node:
    """The node with every free `Name` in `bindings` replaced; names bound by a `Reduce` inside shadow them."""
    if isinstance(node, Name):
        return bindings.get(node.name, node)
    if isinstance(node, Reduce):
        bindings = {name: value for name, value in bindings.items() if name not in node.axes}
    return map_children(node, lambda child: substitute(child, bindings))
