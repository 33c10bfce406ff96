"""Formula -> contractions: one reduction of a pointwise value each, every index affine, ready to be scheduled.

    Contraction:  output[affine] = result(reduction(reduced axes : guards) value)

Steps, each a function here:

1. `stage`: a reduction inside a reduction, a second reduction beside the first, or one that does not depend on
   all output axes becomes an equation of its own with a temporary as its output.
       before:  p[n,k] = exp(z[n,k]) / sum(j) exp(z[n,j])
       after:   p.1[n] = sum(j) exp(z[n,j]);   p[n,k] = exp(z[n,k]) / p.1[n]
2. `pellucid.language.solve`: conditions of gradients are solved; pieces write disjoint cells.
3. `contraction`: expressions become values; an access that can leave its array gets guards, and where its absence
   makes the whole term vanish, the guards become guards of the term, which is then skipped rather than multiplied.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from math import prod

from pellucid.errors import EquationError
from pellucid.language.affine import Affine
from pellucid.language.binding import by_place
from pellucid.language.solve import solve
from pellucid.language.syntax import (
    Access,
    Bracket,
    Expr,
    Formula,
    Logic,
    Name,
    Node,
    Reduce,
    map_children,
    top_reductions,
    walk,
)
from pellucid.schedule.axes import bind_contraction
from pellucid.schedule.contraction import Contraction
from pellucid.schedule.nest import IDENTITY, Accumulated, Apply, Constant, Load, Operand, Tensor, Value, operands
from pellucid.schedule.rewrite import map_operands
from pellucid.schedule.values import Lowering

__all__ = ["normalise", "stage", "vanishes"]

# Every integer up to these is a number of the type. A temporary for winners' positions has half the bytes of integers
# then, and is compared in vectors of as many lanes as the values have.
EXACT_INTEGERS = {"float32": 1 << 24, "float64": 1 << 53}
# More than half of 8 lanes: what is shorter is not worth having innermost. With 6 channels the winners of a pool are
# found twice as fast so as in vectors along a row, whose lanes lie apart.
SHORTEST_INNERMOST = 5


def normalise(
    formula: Formula,
    constants: Mapping[str, int | float],
    extents: Mapping[str, int],
    tensors: Mapping[str, Tensor],
    name: str,
) -> tuple[list[Contraction], list[Tensor]]:
    """The contractions that compute a formula, in order, and the temporaries and tables they need.

    `tensors` maps every tensor and scalar name of the formula, and its output, to a tensor of the program.
    """
    known, new, contractions = dict(tensors), list[Tensor](), list[Contraction]()
    dtype = _floating_type(tensors)

    def declare(staged: Formula, sizes: Mapping[str, int]) -> None:
        if staged.output.tensor not in known:
            shape = tuple(sizes[axis] for axis in staged.free_axes)
            integral = _largest_position(staged, sizes) > EXACT_INTEGERS[dtype]
            known[staged.output.tensor] = Tensor(
                staged.output.tensor, "int64" if integral else dtype, shape, "temporary"
            )
            new.append(known[staged.output.tensor])

    for staged in stage(formula, extents, name):
        declare(staged, extents)
        for number, piece in enumerate(solve(staged, constants, extents)):
            # A solved piece may be a sum of several reductions, one for each residue that reaches its cells.
            for part in stage(piece.formula, piece.extents, f"{staged.output.tensor}.{number}"):
                first = first_allowed(part, piece.extents, f"{part.output.tensor}.{number}.first")
                for each in filter(None, (first, part)):
                    declare(each, piece.extents)
                    lowering = Lowering(constants, piece.extents, known, f"{name}.{len(new)}")
                    contractions.append(contraction(each, lowering, first.output if first and each is part else None))
                    new += lowering.tables
    return contractions, new


def _largest_position(formula: Formula, extents: Mapping[str, int]) -> int:
    """The largest number that a formula of a winner's position gives; 0 for other formulas."""
    body = formula.body
    if isinstance(body, Reduce) and body.op.startswith("arg"):
        return prod(extents[axis] for axis in body.axes) - 1
    return 0


def _floating_type(tensors: Mapping[str, Tensor]) -> str:
    return next((tensor.dtype for tensor in tensors.values() if tensor.dtype.startswith("float")), "float32")


# ---------------------------------------------------------------- stages
def stage(formula: Formula, extents: Mapping[str, int], name: str) -> Iterator[Formula]:
    """The formula as equations with at most one reduction each, in order of evaluation; the formula itself last."""
    found = dict[Hashable, Access]()
    outer = _axes_of_output(formula)

    def hoist(reduce: Reduce, scope: tuple[str, ...]) -> tuple[list[Formula], Access]:
        axes = _as_read(reduce, tuple(axis for axis in scope if axis in _free_names(reduce)), extents)
        key = _key(reduce, extents)
        if key in found:
            return [], found[key]
        inner, body = split(reduce.body, (*axes, *reduce.axes))
        target = Access(f"{name}.{len(found) + 1}", tuple(Name(axis) for axis in axes))
        found[key] = target
        return [*inner, Formula(target, replace(reduce, body=body))], target

    def split(node: Node, scope: tuple[str, ...]) -> tuple[list[Formula], Expr]:
        if isinstance(node, Reduce):
            formulas, access = hoist(node, scope)
            return formulas, access
        before = list[Formula]()

        def visit(child: Node) -> Node:
            formulas, new = split(child, scope)
            before.extend(formulas)
            return new

        result = map_children(node, visit)
        return before, result  # type: ignore[return-value]

    tops = sorted(top_reductions(formula.body), key=lambda node: -prod(extents[axis] for axis in node.axes))
    wide = {axis for axis in outer if extents.get(axis, 1) > 1}
    kept = next((node for node in tops if wide <= _free_names(node)), None)
    before = list[Formula]()

    def replace_tops(node: Node) -> Node:
        if isinstance(node, Reduce) and kept is not None and _key(node, extents) == _key(kept, extents):
            # Where it is written more than once the accumulator is used more than once.
            formulas, body = split(kept.body, (*outer, *kept.axes))
            before.extend(formulas)
            return replace(kept, body=body)
        if isinstance(node, Reduce):
            formulas, access = hoist(node, outer)
            before.extend(formulas)
            return access
        return map_children(node, replace_tops)

    body = replace_tops(formula.body)
    yield from before
    yield replace(formula, body=body)  # type: ignore[arg-type]


def _as_read(reduce: Reduce, axes: tuple[str, ...], extents: Mapping[str, int]) -> tuple[str, ...]:
    """The axes in the order of what the reduction reads most dimensions of, so that a temporary lies in memory as its
    source does: the winners of a pool's `x[n,2*i+s,2*j+t,c]` by n, i, j, c whatever is made of them. As they were
    where that would put an axis innermost that fills no vector."""
    reads = [part for part in walk(reduce.body) if isinstance(part, Access)]
    widest = max(reads, key=lambda access: len(access.indices), default=None)
    names = [node.name for node in walk(widest) if isinstance(node, Name)] if widest is not None else []
    ordered = tuple(sorted(axes, key=lambda axis: names.index(axis) if axis in names else -1))
    return ordered if ordered and extents[ordered[-1]] >= SHORTEST_INNERMOST else axes


def _axes_of_output(formula: Formula) -> tuple[str, ...]:
    names = (node.name for index in formula.output.indices for node in walk(index) if isinstance(node, Name))
    return tuple(dict.fromkeys(names))


def _free_names(reduce: Reduce) -> set[str]:
    bound = {axis for node in walk(reduce) if isinstance(node, Reduce) for axis in node.axes}
    return {node.name for node in walk(reduce) if isinstance(node, Name)} - bound


def _key(reduce: Reduce, extents: Mapping[str, int]) -> Hashable:
    """What equal reductions have in common: the form without the names of bound axes, and these axes' extents."""
    bound = (axis for node in walk(reduce) if isinstance(node, Reduce) for axis in node.axes)
    return by_place(reduce), tuple(extents[axis] for axis in bound)


# ---------------------------------------------------------------- one contraction
def first_allowed(formula: Formula, extents: Mapping[str, int], name: str) -> Formula | None:
    """Where a staged formula seeks a winner under conditions: the number of the first candidate that they allow. It
    wins where all candidates are the identity of the reduction, over which none of them is better.

        before:  p[i,c] = argmax(s : s >= i) x[s,c]        after:   p.first[i] = argmax(s) [s >= i], and the same
    """
    reduce = next(top_reductions(formula.body), None)
    if reduce is None or not reduce.op.startswith("arg") or not reduce.conditions:
        return None
    allowed = Reduce("argmax", reduce.axes, (), Bracket(Logic("and", reduce.conditions)))
    axes = (axis for axis in _axes_of_output(formula) if axis in extents and axis in _free_names(allowed))
    return Formula(Access(name, tuple(Name(axis) for axis in axes)), allowed)


def contraction(formula: Formula, lowering: Lowering, first: Access | None = None) -> Contraction:
    """The contraction of a staged and solved formula, whose body holds at most one reduction; `first` as made by
    `first_allowed`."""
    axes = tuple(axis for axis in _axes_of_output(formula) if axis in lowering.extents)
    free = tuple((axis, lowering.extents[axis]) for axis in axes)
    reduce = next(top_reductions(formula.body), None)
    target = lowering.operand(formula.output, 0.0)
    if reduce is None:
        result = lowering.value(formula.body, 0.0)
        return _without_unit_axes(Contraction(replace(target, guards=()), free, (), None, None, None, result))
    kind = reduce.op.removeprefix("arg")
    value = lowering.value(reduce.body, IDENTITY[kind])
    reduced = tuple((axis, lowering.extents[axis]) for axis in reduce.axes)
    guards, rest = lowering.conditions(reduce.conditions)
    for condition in rest:
        value = Apply("where", (condition, value, lowering.constant(IDENTITY[kind])))
    value = map_operands(value, lambda operand: replace(operand, guards=(*operand.guards, *guards)))
    skipping = dict.fromkeys(guards)
    for operand in operands(value):
        if operand.guards and vanishes(value, operand, kind):
            skipping.update(dict.fromkeys(operand.guards))
    result = lowering.value(formula.body, 0.0, accumulated=reduce)
    position = None
    if reduce.op.startswith("arg"):
        position = Affine()
        for axis, extent in reduced:
            position = position * extent + Affine.name(axis)
    if first is not None:
        all_alike = Apply("eq", (Accumulated(), Constant(IDENTITY[kind])))
        chosen = Apply("where", (all_alike, Load(lowering.operand(first, 0.0)), Accumulated("position")))
        result = _with_position(result, chosen)
    return _without_unit_axes(
        Contraction(replace(target, guards=()), free, reduced, reduce.op, value, position, result, tuple(skipping))
    )


def _with_position(result: Value, chosen: Value) -> Value:
    """The result with another value in the place of the winner's number."""
    if isinstance(result, Apply):
        return Apply(result.function, tuple(_with_position(argument, chosen) for argument in result.arguments))
    return chosen if result == Accumulated("position") else result


def vanishes(value: Value, absent: Operand, kind: str) -> bool:
    """Whether the value is the identity of the reduction wherever the operand's guards fail."""
    if isinstance(value, Load):
        return value.operand == absent
    if not isinstance(value, Apply):
        return False
    inside = [vanishes(argument, absent, kind) for argument in value.arguments]
    if value.function == "where":
        return inside[1] and (inside[2] or value.arguments[2] == Constant(IDENTITY[kind]))
    if kind == "sum":
        if value.function == "div":
            return inside[0]
        return any(inside) if value.function == "mul" else all(inside) and value.function in ("add", "sub", "neg")
    return any(inside) and value.function == "add"


def _without_unit_axes(nest: Contraction) -> Contraction:
    """Axes of extent 1 replaced by 0, except that a reduction keeps one axis to run over."""
    units = {axis: 0 for axis, extent in nest.free + nest.reduced if extent == 1}
    bound = bind_contraction(nest, units)
    bound = replace(
        bound,
        free=tuple(axis for axis in nest.free if axis[1] != 1),
        reduced=tuple(axis for axis in nest.reduced if axis[1] != 1),
    )
    if not bound.reduced and any(extent < 1 for _, extent in nest.free):
        raise EquationError("an equation with an axis of extent 0 cannot be scheduled")
    return bound
