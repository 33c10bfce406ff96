"""The rewriting steps that remove equality conditions, `//` and `%` from a formula with known extents.

Each step is *before -> after*; `S*e + rest == 0` is the difference of both sides of a condition.

    eliminate   sum(e, v : S*e + rest == 0) f(e)     -> sum(v : 0 <= h < E) f(h),  h = -rest / S
                where S divides rest; where it does not divide the coefficient D of another reduced axis v,
                v = m*v' + rho with m = S / gcd(S, D), one term for each rho that S allows
    residues    sum(v) f(v)                          -> sum(v') f(m*v') + sum(v') f(m*v' + 1) + ...
    ranges      sum(v) f((v + 1) % V)                -> sum(v') f(v' + 1) + sum(v') f(0)
    pair        sum(v) f(v // k, v % k)              -> sum(v', r) f(v', r),  v = k*v' + r
    match       sum(u, c : C*u + c == C*p + q) f     -> f(u = p, c = q),  digits of a mixed radix being unique

A step that must change an axis bound further out is `Wanted`, and done where the axis is bound: by a reduction
here, by the output in `solve.py` (one formula for each residue; `digits`: the output axis itself becomes C*u + c).

A range condition `0 <= h < E` is left out where it always holds, and where the body is a product with a factor that
is read outside its array when it fails: that product is 0 then. Reading outside gives 0 in a sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from math import gcd, prod

from pellucid.language.affine import Affine
from pellucid.language.axis_table import AxisTable, substitute
from pellucid.language.binding import names_of
from pellucid.language.index_forms import read, write
from pellucid.language.simplify import FALSE, ZERO, Product
from pellucid.language.syntax import (
    Access,
    Binary,
    Bracket,
    Call,
    Compare,
    Condition,
    Expr,
    Logic,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
    children,
    map_children,
)

__all__ = ["OUTPUT", "Wanted", "rewrite"]

OUTPUT = "output"

# An axis is cut into at most so many residues: each is a formula, or a term, of its own. What a condition leaves
# unsolved multiplies zeros; a division costs no more than a table of its values, and is worth few formulas.
MOST_RESIDUES = 64
MOST_RESIDUES_OF_A_DIVISION = 4

# Functions that give a finite value for every finite argument, so that a factor of 0 beside them gives 0.
FINITE_FUNCTIONS = frozenset(
    ("sin", "cos", "tanh", "sigmoid", "softplus", "erf", "abs", "sign", "floor", "max", "min", "where", "stop")
)


@dataclass(frozen=True)
class Wanted:
    """What has to be done to an axis where it is bound.

    `modulus` > 0: replace it by `modulus * v' + rho`, a copy for each rho; with `pair`, by `modulus * v' + r`
    with a second axis r. `at` > 0: cut its range there. `digits` (coefficient, extent, origin), largest first:
    replace it by their sum.
    """

    axis: str
    modulus: int = 0
    pair: bool = False
    at: int = 0
    digits: tuple[tuple[int, int, str], ...] = ()


@dataclass(frozen=True)
class Scope:
    """The axes bound around a node: what binds each, and the reduction next to the node (`sum` where none is).

    `solving`: the node is part of an index or of an equality condition, where divisions are removed.
    """

    binders: Mapping[str, str]
    nearest: str = "sum"
    solving: bool = False

    def inside(self, node: Reduce) -> Scope:
        """The scope of a reduction's conditions and body."""
        return Scope({**self.binders, **dict.fromkeys(node.axes, node.op)}, node.op)

    def divisible(self, axis: str) -> bool:
        """Whether the axis can be cut into residues: the cells or terms are put together again by what binds it."""
        return self.binders.get(axis) in (OUTPUT, "sum", "max", "min")


def rewrite(node: Node, scope: Scope, table: AxisTable) -> Node | Wanted | None:
    """One step at or below the node: the new node, or what is wanted of an outer axis, or None where all is done."""
    match node:
        case Reduce():
            inner = scope.inside(node)
            result = _conditions(node, scope, inner, table) or _below(node, inner, table)
            if isinstance(result, Wanted) and result.axis in node.axes:
                return _cut(node, result, table)
            return result
        case Binary("//" | "%", left, Number(int(divisor))) if divisor > 0 and scope.solving:
            return _quotient(node, left, divisor, scope, table) or _below(node, scope, table)
        case Access():
            return _below(node, replace(scope, solving=True), table)
        case _:
            return _below(node, scope, table)


def _below(node: Node, scope: Scope, table: AxisTable) -> Node | Wanted | None:
    equalities = [] if not isinstance(node, Reduce) or node.op.startswith("arg") else node.conditions
    for child in children(node):
        equality = isinstance(child, Compare) and child.op == "==" and child in equalities
        result = rewrite(child, replace(scope, solving=True) if equality else scope, table)
        if isinstance(result, Wanted):
            return result
        if result is not None:
            new = result
            return map_children(node, lambda other, old=child, new=new: new if other is old else other)
    return None


# `//` and `%`


def _quotient(node: Binary, left: Expr, divisor: int, scope: Scope, table: AxisTable) -> Wanted | None:
    form = read(left, table.extents)
    if form is None or read(node, table.extents) is not None:
        return None
    cut = [(axis, value) for axis, value in form.terms if value % divisor]
    if len(cut) == 1 and cut[0][1] == 1 and form.const % divisor == 0:
        axis = cut[0][0]
        binder = scope.binders.get(axis, "")
        if table.extents[axis] % divisor == 0 or binder in ("sum", "max", "min"):
            return Wanted(axis, divisor, pair=True)
        if binder == OUTPUT and table.extents[axis] > divisor:
            # What is left over after the whole pairs is cut off.
            return Wanted(axis, at=table.extents[axis] // divisor * divisor)
    low, high = form.span(table.extents)
    if len(form.terms) == 1 and high // divisor - low // divisor == 1 and scope.divisible(cut[0][0]):
        # One axis that passes one multiple of the divisor, as in (i + 1) % N: its range is cut where it does.
        axis, value = form.terms[0]
        multiple = high // divisor * divisor
        below = -((form.const - multiple) // value) if value > 0 else (form.const - multiple) // -value + 1
        return Wanted(axis, at=below)
    for axis, value in cut:
        modulus = divisor // gcd(divisor, value)
        if modulus <= MOST_RESIDUES_OF_A_DIVISION and scope.divisible(axis):
            return Wanted(axis, modulus)
    return None


# Cutting an axis where a reduction binds it


def _cut(node: Reduce, wanted: Wanted, table: AxisTable) -> Node:
    if wanted.at:
        return _ranges(node, wanted, table)
    return _pair(node, wanted, table) if wanted.pair else _residues(node, wanted, table)


def _ranges(node: Reduce, wanted: Wanted, table: AxisTable) -> Expr:
    terms: list[Expr] = []
    for start, end in ((0, wanted.at), (wanted.at, table.extents[wanted.axis])):
        part = table.digit(table.origins[wanted.axis], end - start)
        axes = tuple(part if axis == wanted.axis else axis for axis in node.axes)
        terms.append(_with(node, axes, node.conditions, {wanted.axis: Affine.name(part) + start}))
    return _together(node, terms)


def _residues(node: Reduce, wanted: Wanted, table: AxisTable) -> Expr:
    extent, modulus = table.extents[wanted.axis], wanted.modulus
    terms: list[Expr] = []
    for rho in range(min(modulus, extent)):
        part, form = table.part(wanted.axis, modulus, rho, -((rho - extent) // modulus))
        axes = tuple(part if axis == wanted.axis else axis for axis in node.axes)
        terms.append(_with(node, axes, node.conditions, {wanted.axis: form}))
    return _together(node, terms)


def _pair(node: Reduce, wanted: Wanted, table: AxisTable) -> Expr:
    extent, modulus = table.extents[wanted.axis], wanted.modulus
    remainder = table.digit(table.origins[wanted.axis], modulus)
    part, form = table.part(wanted.axis, modulus, Affine.name(remainder), -(-extent // modulus))
    at = node.axes.index(wanted.axis)
    axes = (*node.axes[:at], part, remainder, *node.axes[at + 1 :])
    conditions = node.conditions
    if extent % modulus and not _covered(node, wanted.axis, table):
        conditions = (*conditions, Compare("<", Name(wanted.axis), Number(extent)))
    return _with(node, axes, conditions, {wanted.axis: form})


def _with(node: Reduce, axes: tuple[str, ...], conditions: Sequence[Condition], forms: Mapping[str, Affine]) -> Reduce:
    substituted = tuple(substitute(condition, forms) for condition in conditions)
    return Reduce(node.op, axes, substituted, substitute(node.body, forms))  # type: ignore[arg-type]


def _together(node: Reduce, terms: Sequence[Expr]) -> Expr:
    """The terms of a reduction that was cut, put together by its own operation."""
    if not terms:
        return _empty(node)
    result = terms[0]
    for term in terms[1:]:
        result = Binary("+", result, term) if node.op == "sum" else Call(node.op, (result, term))
    return result


def _empty(node: Reduce) -> Expr:
    """A reduction of nothing: 0, or a maximum over no values, which the language can say in one way only."""
    return ZERO if node.op == "sum" else replace(node, conditions=(FALSE,))


# Conditions


def _conditions(node: Reduce, scope: Scope, inner: Scope, table: AxisTable) -> Node | Wanted | None:
    if node.op.startswith("arg") or FALSE in node.conditions:
        return None
    flat = tuple(part for condition in node.conditions for part in _parts(condition))
    if len(flat) > len(node.conditions):
        return replace(node, conditions=flat)
    for number, condition in enumerate(flat):
        if not isinstance(condition, Compare):
            continue
        left, right = read(condition.left, table.extents), read(condition.right, table.extents)
        if left is None or right is None:
            continue
        rest = replace(node, conditions=flat[:number] + flat[number + 1 :])
        known = _always(condition.op, *(left - right).span(table.extents))
        if known is not None:
            return rest if known else _empty(node)
        if condition.op == "==":
            result = _equality(rest, left - right, scope, inner, table)
            if result is not None:
                return result
    return None


def _parts(condition: Condition) -> Iterator[Condition]:
    if isinstance(condition, Logic) and condition.op == "and":
        for operand in condition.operands:
            yield from _parts(operand)
    else:
        yield condition


def _always(op: str, low: int, high: int) -> bool | None:
    """What `difference op 0` is for every difference from low to high; None where it varies."""
    match op:
        case "<" | "<=":
            bound = 0 if op == "<=" else -1
            return True if high <= bound else False if low > bound else None
        case ">" | ">=":
            return _always("<=" if op == ">=" else "<", -high, -low)
        case "==":
            return True if low == high == 0 else False if low > 0 or high < 0 else None
        case _:
            opposite = _always("==", low, high)
            return None if opposite is None else not opposite


def _equality(node: Reduce, difference: Affine, scope: Scope, inner: Scope, table: AxisTable) -> Node | Wanted | None:
    """`difference == 0` removed; it stands no longer among the conditions of `node`."""
    own = [axis for axis in node.axes if difference.coefficient(axis)]
    if not own:
        return None
    result = _match(node, difference, own, scope, table) or _output_digits(difference, own, inner, table)
    if result is not None:
        return result
    for axis in _elimination_order(difference, own, table):
        result = _eliminate(node, difference, axis, scope, inner, table)
        if result is not None:
            return result
    return None


def _elimination_order(difference: Affine, own: Sequence[str], table: AxisTable) -> list[str]:
    """The first axis first, unless another leaves less than half of its iterations; the others by what they leave.

    In a gradient the first axes are those of the output, whose elimination turns the sum over positions of
    the arriving gradient into one over the kernel. With one output position it is the kernel that must go.
    """

    def left(axis: str) -> int:
        size = difference.coefficient(axis)
        return prod(-(-table.extents[v] // _modulus(size, difference.coefficient(v))) for v in own if v != axis)

    order = sorted(own, key=left)
    if 2 * left(order[0]) >= left(own[0]):
        order.remove(own[0])
        order.insert(0, own[0])
    return order


def _modulus(size: int, coefficient: int) -> int:
    return abs(size) // gcd(size, coefficient)


def _eliminate(
    node: Reduce, difference: Affine, axis: str, scope: Scope, inner: Scope, table: AxisTable
) -> Node | Wanted | None:
    size = difference.coefficient(axis)
    moduli = {name: _modulus(size, value) for name, value in difference.terms if name != axis}
    cut = {name: modulus for name, modulus in moduli.items() if modulus > 1}
    if any(modulus > MOST_RESIDUES or not inner.divisible(name) for name, modulus in cut.items()):
        return None
    for name, modulus in cut.items():
        if name not in node.axes:
            return Wanted(name, modulus)
    if prod(cut.values()) > MOST_RESIDUES:
        return None
    terms: list[Expr] = []
    for rhos in product(*(range(min(modulus, table.extents[name])) for name, modulus in cut.items())):
        offsets = dict(zip(cut, rhos, strict=True))
        if (difference.const + sum(difference.coefficient(name) * rho for name, rho in offsets.items())) % size == 0:
            term = _eliminated(node, difference, axis, cut, offsets, scope, table)
            if term is not None:
                terms.append(term)
    return _together(node, terms)


def _eliminated(
    node: Reduce,
    difference: Affine,
    axis: str,
    moduli: Mapping[str, int],
    offsets: Mapping[str, int],
    scope: Scope,
    table: AxisTable,
) -> Expr | None:
    """The term with `v = moduli[v] * v' + offsets[v]` and `axis` eliminated; None where nothing is in range."""
    forms: dict[str, Affine] = {}
    parts: dict[str, str] = {}
    for name, rho in offsets.items():
        extent = -((rho - table.extents[name]) // moduli[name])
        parts[name], forms[name] = table.part(name, moduli[name], rho, extent)
    size, extent = difference.coefficient(axis), table.extents[axis]
    rest = (difference - Affine.name(axis) * size).substitute(forms)
    value = Affine.of(-rest.const // size, ((name, -coefficient // size) for name, coefficient in rest.terms))
    low, high = value.span(table.extents)
    if high < 0 or low >= extent:
        return None
    conditions = list(node.conditions)
    if not _covered(node, axis, table):
        conditions += [Compare("<=", ZERO, write(value))] if low < 0 else []
        conditions += [Compare("<", write(value), Number(extent))] if high >= extent else []
    forms[axis] = value
    axes = tuple(parts.get(name, name) for name in node.axes if name != axis)
    return _reduced(node, axes, conditions, forms, scope, table)


def _reduced(
    node: Reduce,
    axes: tuple[str, ...],
    conditions: Sequence[Condition],
    forms: Mapping[str, Affine],
    scope: Scope,
    table: AxisTable,
) -> Expr:
    """The reduction over what is left; without any axis its body.

    An axis of one value stays where conditions need the reduction, or what an access gives outside its array does.
    """
    if not axes:
        if node.op == scope.nearest == "sum" and not conditions:
            return substitute(node.body, forms)  # type: ignore[return-value]
        axes = (table.digit(table.origins[node.axes[0]], 1),)
    return _with(node, axes, conditions, forms)


# Mixed radix


def _match(node: Reduce, difference: Affine, own: Sequence[str], scope: Scope, table: AxisTable) -> Node | None:
    """Each own axis set to the outer axis of the same coefficient, where both sides are one mixed radix."""
    outer = {-value: name for name, value in difference.terms if name not in own}
    digits = sorted((difference.coefficient(axis), axis) for axis in own)
    sizes = [size for size, _ in digits]
    if difference.const or len(set(sizes)) < len(sizes) or set(outer) != set(sizes):
        return None
    if len(outer) + len(own) != len(difference.terms) or not (sizes[0] > 0 or sizes[-1] < 0):
        return None
    extents = table.extents
    if any(extents[outer[size]] > extents[axis] for size, axis in digits):
        return None
    ordered = sorted((abs(size), extents[axis]) for size, axis in digits)
    if any(size * extent > following for (size, extent), (following, _) in pairwise(ordered)):
        return None
    forms = {axis: Affine.name(outer[size]) for size, axis in digits}
    return _reduced(node, tuple(axis for axis in node.axes if axis not in forms), node.conditions, forms, scope, table)


def _output_digits(difference: Affine, own: Sequence[str], inner: Scope, table: AxisTable) -> Wanted | None:
    """An output axis q with `q == C*u + c`, extent(c) == C: wanted as these two digits."""
    outer = [(name, value) for name, value in difference.terms if name not in own]
    if len(own) < 2 or len(outer) != 1 or difference.const:
        return None
    (output, sign), *_ = outer
    if inner.binders.get(output) != OUTPUT or abs(sign) != 1:
        return None
    digits = sorted((-sign * difference.coefficient(axis), table.extents[axis], axis) for axis in own)
    expected = 1
    for size, extent, _ in digits:
        if size != expected or extent == 1:
            return None
        expected *= extent
    top_size, top_extent, top = digits[-1]
    blocks = min(top_extent, table.extents[output] // top_size)
    if blocks == 0:
        return None
    digits[-1] = (top_size, blocks, top)
    return Wanted(output, digits=tuple((size, extent, table.origins[axis]) for size, extent, axis in digits[::-1]))


# What reading outside an array does


def _covered(node: Reduce, axis: str, table: AxisTable) -> bool:
    """Whether the body is the reduction's identity wherever the axis is out of its range."""
    form = table.cover.get(axis)
    if form is None:
        return False
    if node.op != "sum":
        return _reads(node.body, form, table)
    factors = Product.of(node.body)
    return (
        any(_reads(factor, form, table) for factor in factors.numerators)
        and all(_is_finite(factor, axis) for factor in (*factors.numerators, Bracket(FALSE)))
        and all(isinstance(divisor, Number) or axis not in names_of((divisor,)) for divisor in factors.denominators)
    )


def _reads(node: Node, form: Affine, table: AxisTable) -> bool:
    return isinstance(node, Access) and any(read(index, table.extents) == form for index in node.indices)


def _is_finite(node: Node, axis: str) -> bool:
    """Whether the value is finite for finite arrays also where `axis` is out of range."""
    match node:
        case Number() | Name() | Access() | Bracket():
            return True
        case _ if axis not in names_of((node,)):
            return True
        case Negative(operand):
            return _is_finite(operand, axis)
        case Binary("+" | "-" | "*", left, right):
            return _is_finite(left, axis) and _is_finite(right, axis)
        case Binary("/", left, Number(value)):
            return value != 0 and _is_finite(left, axis)
        case Binary("**", left, Number(int(value))):
            return value >= 0 and _is_finite(left, axis)
        case Call(function, arguments) if function in FINITE_FUNCTIONS:
            return all(isinstance(argument, Compare | Logic) or _is_finite(argument, axis) for argument in arguments)
        case Reduce(op, _, _, body):
            return op.startswith("arg") or (op == "sum" and _is_finite(body, axis))
        case _:
            return False
