"""Between index expressions and affine forms, where the extents of the axes are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pellucid.language.affine import Affine
from pellucid.language.syntax import Binary, Expr, Name, Negative, Node, Number

__all__ = ["divide", "read", "write"]


def read(node: Node, extents: Mapping[str, int]) -> Affine | None:
    """The affine form of an expression over the axes of `extents`; None where it has none.

    `//` and `%` by a number are resolved where the extents decide them: `(2*i + r) // 2` is `i` for `r` below 2.
    """
    match node:
        case Number(int(value)):
            return Affine(value)
        case Name(name):
            return Affine.name(name) if name in extents else None
        case Negative(operand):
            form = read(operand, extents)
            return None if form is None else -form
        case Binary(op, left, right):
            first, second = read(left, extents), read(right, extents)
            return None if first is None or second is None else _combine(op, first, second, extents)
        case _:
            return None


def _combine(op: str, left: Affine, right: Affine, extents: Mapping[str, int]) -> Affine | None:
    match op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*" if not right.terms:
            return left * right.const
        case "*" if not left.terms:
            return right * left.const
        case "//" | "%" if not right.terms and right.const > 0:
            parts = divide(left, right.const, extents)
            return None if parts is None else parts[0 if op == "//" else 1]
        case _:
            return None


def divide(form: Affine, divisor: int, extents: Mapping[str, int]) -> tuple[Affine, Affine] | None:
    """Affine quotient and remainder of `form` by `divisor` > 0; None where they are not affine over the extents.

    `divisor * a + rest -> (a + q, rest - divisor * q)` where `rest // divisor` is the one number q.
    """
    multiples = {name: value // divisor for name, value in form.terms if value % divisor == 0}
    rest = Affine.of(form.const, ((name, value) for name, value in form.terms if name not in multiples))
    low, high = rest.span(extents)
    if low // divisor != high // divisor:
        return None
    return Affine.of(low // divisor, multiples), rest - divisor * (low // divisor)


def write(form: Affine, order: Sequence[str] = ()) -> Expr:
    """The expression of a form: what is added before what is taken away, names as in `order`, the number last."""
    rank = {name: number for number, name in enumerate(order)}
    terms = sorted(form.terms, key=lambda term: (term[1] < 0, rank.get(term[0], len(rank))))
    result: Expr | None = None
    if form.const > 0 and terms and terms[0][1] < 0:
        result = Number(form.const)
    for name, value in terms:
        size: Expr = Name(name) if abs(value) == 1 else Binary("*", Number(abs(value)), Name(name))
        if result is None:
            result = size if value > 0 else Negative(size)
        else:
            result = Binary("+" if value > 0 else "-", result, size)
    if result is None:
        return Number(form.const)
    if form.const == 0 or (form.const > 0 and terms[0][1] < 0):
        return result
    return Binary("+" if form.const > 0 else "-", result, Number(abs(form.const)))
