"""Syntax tree to equation text, with no parenthesis too many: `parse(to_text(formula)) == formula`.

Operators in values are spaced (`a * b + c`), in indices and conditions they are not (`x[i*S+s-P]`, `i*S == y`).
A negative `Number`, which the parser never makes, is written like the `Negative` of its absolute value.
"""

from __future__ import annotations

from itertools import pairwise

from pellucid.language.syntax import (
    Access,
    Binary,
    Bracket,
    Call,
    Compare,
    Condition,
    Formula,
    Logic,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
)

__all__ = ["chain", "to_text"]

# Binding strengths, as in parse.py. A reduction is a prefix operator: what matters is what follows it.
ANY, OR, AND, NOT, COMPARISON, SUM, PRODUCT, UNARY, POWER, ATOM = range(10)
STRENGTH = {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "//": PRODUCT, "%": PRODUCT, "**": POWER}


def to_text(node: Formula | Node, compact: bool = False) -> str:
    """The equation, value or condition as text of the language; `compact` as in an index, without spaces."""
    if isinstance(node, Formula):
        return f"{_text(node.output, ATOM, True, False)} = {_text(node.body, ANY, False, False)}"
    return _text(node, ANY, compact, False)


def chain(condition: Logic) -> tuple[Compare, ...]:
    """The links of `a < b < c`: comparisons joined by `and`, each beginning where the last one ended; else empty."""
    links = tuple(operand for operand in condition.operands if isinstance(operand, Compare))
    linked = all(left.right == right.left for left, right in pairwise(links))
    return links if condition.op == "and" and len(links) == len(condition.operands) > 1 and linked else ()


def _text(node: Node, least: int, tight: bool, followed: bool) -> str:
    """The node where strength `least` is needed, `tight` without spaces, perhaps `followed` by `*` or the like.

    A reduction would take what follows it into its body, and so needs parentheses there.
    """
    if isinstance(node, Reduce):
        return f"({_reduce(node, tight)})" if followed else _reduce(node, tight)
    strength = _strength(node)
    if strength < least:
        return f"({_open(node, tight, False)})"
    return _open(node, tight, followed)


def _strength(node: Node) -> int:
    if isinstance(node, Binary):
        return STRENGTH[node.op]
    if isinstance(node, Negative) or (isinstance(node, Number) and node.value < 0):
        return UNARY
    if isinstance(node, Compare):
        return COMPARISON
    if isinstance(node, Logic):
        return COMPARISON if chain(node) else {"or": OR, "and": AND, "not": NOT}[node.op]
    return ATOM


def _open(node: Node, tight: bool, followed: bool) -> str:
    """The node without parentheses around it."""
    if isinstance(node, Number):
        return repr(node.value)
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Access):
        indices = ",".join(_text(index, ANY, True, False) for index in node.indices)
        return f"{node.tensor}[{indices}]" if node.indices else node.tensor
    if isinstance(node, Negative):
        return "-" + _text(node.operand, UNARY, tight, followed)
    if isinstance(node, Binary):
        return _binary(node, tight, followed)
    if isinstance(node, Call):
        return f"{node.function}({', '.join(_text(argument, ANY, tight, False) for argument in node.arguments)})"
    if isinstance(node, Bracket):
        return f"[{_text(node.condition, ANY, True, False)}]"
    if isinstance(node, Reduce):
        return _reduce(node, tight)
    return _condition(node)


def _binary(node: Binary, tight: bool, followed: bool) -> str:
    strength = STRENGTH[node.op]
    if node.op == "**":
        # From right to left; on the right a minus sign needs no parentheses.
        left, right = _text(node.left, ATOM, tight, True), _text(node.right, UNARY, tight, followed)
        return f"{left}**{right}"
    left = _text(node.left, strength, tight, strength == PRODUCT)
    right = _text(node.right, strength + 1, tight, followed)
    return f"{left}{node.op}{right}" if tight else f"{left} {node.op} {right}"


def _condition(node: Condition) -> str:
    if isinstance(node, Compare):
        return f"{_text(node.left, SUM, True, False)} {node.op} {_text(node.right, SUM, True, False)}"
    if node.op == "not":
        return "not " + _text(node.operands[0], NOT, True, False)
    if links := chain(node):
        steps = (f" {link.op} {_text(link.right, SUM, True, False)}" for link in links)
        return _text(links[0].left, SUM, True, False) + "".join(steps)
    least = (AND if node.op == "and" else OR) + 1
    return f" {node.op} ".join(_text(operand, least, True, False) for operand in node.operands)


def _reduce(node: Reduce, tight: bool) -> str:
    conditions = ", ".join(_text(condition, ANY, True, False) for condition in node.conditions)
    body = _text(node.body, PRODUCT, tight, False)
    if node.op in ("max", "min") and not conditions and body.startswith("-"):
        # `max(i) -x[i]` would read as the function max, of one argument, minus x[i].
        body = f"({body})"
    return f"{node.op}({','.join(node.axes)}{' : ' if conditions else ''}{conditions}) {body}"
