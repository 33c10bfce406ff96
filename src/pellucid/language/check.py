"""What the grammar cannot say: whether a syntax tree means something."""

from __future__ import annotations

from pellucid.errors import EquationError
from pellucid.language.circles import recurrence_of
from pellucid.language.syntax import (
    Access,
    Binary,
    Call,
    Expr,
    Formula,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
    children,
    walk,
)

__all__ = ["MAX_DEPTH", "check_expression", "check_formula"]

# Tree walks recurse; this many levels stay far inside Python's own limit.
MAX_DEPTH = 100


def check_formula(formula: Formula) -> None:
    """EquationError unless the output is written once a cell and read at most one step before (a recurrence), and the
    right side has a meaning."""
    output = formula.output
    seen: set[str] = set()
    for index in output.indices:
        if isinstance(index, Name):
            if index.name in seen:
                raise EquationError(f"index `{index.name}` stands twice in the output", index.span)
            seen.add(index.name)
        _check_index(index, output.tensor)
        for node in walk(index):
            if isinstance(node, Access):
                raise EquationError("the output's indices hold axes and constants only, no lookups", node.span)
    _check_depth(formula.body)
    axes = frozenset(node.name for index in output.indices for node in walk(index) if isinstance(node, Name))
    _check_output_not_read(formula.body, output.tensor, axes)
    check_expression(formula.body, axes)
    if any(isinstance(node, Access) and node.tensor == output.tensor for node in walk(formula.body)):
        recurrence_of((formula,))


def check_expression(expression: Expr, axes: frozenset[str] = frozenset()) -> None:
    """EquationError unless indices are integers and every name has one meaning; `axes` are bound outside."""
    _check_depth(expression)
    ranks: dict[str, Access] = {}
    for node in walk(expression):
        if isinstance(node, Access):
            _check_rank(node, ranks.setdefault(node.tensor, node))
            for index in node.indices:
                _check_index(index, node.tensor)
        elif isinstance(node, Call) and node.function == "position":
            for argument in node.arguments:
                if not isinstance(argument, Name):
                    raise EquationError("position takes the names of axes", argument.span)
    reductions = {axis: node.op for node in walk(expression) if isinstance(node, Reduce) for axis in node.axes}
    _check_names(expression, axes, reductions, ranks)


def _check_depth(expression: Expr) -> None:
    """Level by level, without recursion: a sum of many terms is a deep tree though nothing in it is nested."""
    level: list[Node] = [expression]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in children(node)]
        if not level:
            return
    raise EquationError(f"the equation is nested more than {MAX_DEPTH} levels deep", level[0].span)


def _check_output_not_read(node: Node, output: str, axes: frozenset[str]) -> None:
    if isinstance(node, Name) and node.name == output and output not in axes:
        raise EquationError(f"`{output}` is the output and is also read", node.span)
    if isinstance(node, Reduce):
        axes = axes | frozenset(node.axes)
    for child in children(node):
        _check_output_not_read(child, output, axes)


def _check_rank(access: Access, first: Access) -> None:
    if len(access.indices) != len(first.indices):
        message = f"{access.tensor} has {_count(len(first.indices))} before and {_count(len(access.indices))} here"
        raise EquationError(message, access.span)


def _count(indices: int) -> str:
    return f"{indices} index" if indices == 1 else f"{indices} indices"


def _check_index(index: Expr, tensor: str) -> None:
    """An index is made of names, integers, `+ - * // % **` and lookups."""
    for node in walk(index):
        if isinstance(node, Number) and not isinstance(node.value, int):
            raise EquationError(f"an index of {tensor} holds the number {node.value}; indices are integers", node.span)
        if isinstance(node, Binary) and node.op == "/":
            raise EquationError("`/` in an index gives no integer; write `//`", node.span)
        if not isinstance(node, Number | Name | Access | Negative | Binary):
            kind = "a reduction" if isinstance(node, Reduce) else "a function or a condition"
            raise EquationError(
                f"an index of {tensor} holds {kind}; it may hold axes, integers, + - * // % and lookups", node.span
            )


def _check_names(node: Node, axes: frozenset[str], reductions: dict[str, str], tensors: dict[str, Access]) -> None:
    """A name means one thing: the axis of a reduction stands inside it, a tensor's name has indices."""
    if isinstance(node, Name) and node.name not in axes:
        if node.name in reductions:
            message = f"`{node.name}` is an axis of a {reductions[node.name]} and stands outside of it"
            raise EquationError(
                f"{message}; a reduction takes the product that follows, parentheses take more", node.span
            )
        if node.name in tensors:
            raise EquationError(f"`{node.name}` stands with indices and without", node.span)
    if isinstance(node, Reduce):
        axes = axes | frozenset(node.axes)
    for child in children(node):
        _check_names(child, axes, reductions, tensors)
