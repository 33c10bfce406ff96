"""The body of a register tile: its reduction axes cut where guards change, fused into runs, unrolled, fenced."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod

from pellucid.language.affine import Affine
from pellucid.schedule.nest import (
    IDENTITY,
    Apply,
    Bound,
    Constant,
    For,
    Group,
    Guard,
    Load,
    Operand,
    Position,
    Statement,
    Update,
    Value,
    operands,
)
from pellucid.schedule.rewrite import bind_guard, bind_value, map_operands, names_of

__all__ = ["Reduction"]

# A reduction is unrolled whole up to this many steps, and this many multiply-adds of the tile.
UNROLLED_STEPS, UNROLLED_WORK = 16, 128


@dataclass(frozen=True)
class _State:
    """What is still to be reduced: the value and the guards not yet expressed by loops, and the points they concern."""

    active: tuple[int, ...]
    value: Value
    position: Affine | None
    pending: tuple[Guard, ...]

    def bind(self, name: str, index: Affine | int) -> _State:
        bindings = {name: index}
        return replace(
            self,
            value=bind_value(self.value, bindings),
            position=None if self.position is None else self.position.substitute(bindings),
            pending=tuple(bind_guard(guard, bindings) for guard in self.pending),
        )

    def resolve(self, guards: list[Guard]) -> _State:
        """Without guards that the loops around now ensure."""
        done = set(guards)
        if not done:
            return self
        value = map_operands(
            self.value, lambda operand: replace(operand, guards=tuple(g for g in operand.guards if g not in done))
        )
        return replace(self, value=value, pending=tuple(g for g in self.pending if g not in done))


class Reduction:
    """Builds the body of one tile.

    `axes` in order with their (start, end); `points[p]` the value of every point name; `ranges` the inclusive
    interval of every loop variable outside; `lane` the lane name where it is a plain one, `across` the reduced
    vector axis.
    """

    def __init__(
        self,
        points: list[dict[str, int]],
        lane: str,
        groups: tuple[Group, ...],
        reduction: str,
        across: bool,
        chains: int,
        unroll: int,
        free_registers: int,
    ) -> None:
        self.points, self.lane, self.groups = points, lane, groups
        self.reduction, self.across = reduction, across
        self.chains, self.unroll, self.free_registers = chains, unroll, free_registers

    def body(
        self,
        value: Value,
        position: Affine | None,
        guards: tuple[Guard, ...],
        axes: list[tuple[str, int, int]],
        ranges: dict[str, tuple[int, int]],
    ) -> tuple[Statement, ...]:
        """The statements that accumulate `value` over `axes`."""
        state = _State(tuple(range(len(self.points))), value, position, guards)
        return tuple(self._fenced(self._reduce(state, axes, ranges)))

    # ------------------------------------------------------------ one axis
    def _reduce(
        self, state: _State, axes: list[tuple[str, int, int]], ranges: dict[str, tuple[int, int]]
    ) -> list[Statement]:
        if not axes:
            state, once = self._loose_guards(state, ranges)
            if not state.active:
                return []
            update = Update(state.active, state.value, state.position)
            return [update] if once is None else [replace(once, body=(update,))]
        (axis, start, end), later = axes[0], {name for name, _, _ in axes[1:]}
        mine = [guard for guard in state.pending if not later & set(guard.index.names)]
        limits = dict.fromkeys(state.active, (start, end))
        lows, highs = list[tuple[Affine, int]](), list[tuple[Affine, int]]()
        resolved = list[Guard]()
        for guard in mine:
            found = self._limits(guard, axis, state.active, limits, ranges, (start, end))
            if found is None:
                continue
            static, dynamic = found
            limits.update(static)
            if dynamic is not None:
                lows += dynamic[0]
                highs += dynamic[1]
            resolved.append(guard)
        state = state.resolve(resolved)
        cuts = sorted({start, end} | {min(max(x, start), end) for limit in limits.values() for x in limit})
        result = list[Statement]()
        for low, high in pairwise(cuts):
            active = tuple(p for p in state.active if limits[p][0] <= low and high <= limits[p][1])
            if active:
                part = replace(state, active=active)
                result += self._segment(part, axes, low, high, (lows, highs), ranges)
        return result

    def _limits(
        self,
        guard: Guard,
        axis: str,
        active: tuple[int, ...],
        limits: dict[int, tuple[int, int]],
        ranges: dict[str, tuple[int, int]],
        whole: tuple[int, int],
    ) -> tuple[dict[int, tuple[int, int]], tuple[list[tuple[Affine, int]], list[tuple[Affine, int]]] | None] | None:
        """How a guard limits `axis`: a static interval for each point, or bounds by outer loops; None: not at all."""
        if self.lane in guard.index.names and not self.across:
            return None
        step = guard.index.coefficient(axis)
        rest = guard.index - Affine.name(axis) * step
        static: dict[int, tuple[int, int]] = {}
        open_points = list[Affine]()
        for p in active:
            form = rest.substitute(self.points[p])
            if self._holds(form, step, guard, ranges, whole):
                continue
            if not form.terms:
                low, high = limits[p]
                first, last = _static_limits(form.const, step, guard, whole)
                static[p] = (max(low, first), min(high, last))
            else:
                open_points.append(form)
        if not open_points:
            return static, None
        if len(open_points) < len(active) or len(set(open_points)) > 1 or step == 0:
            return None
        return static, _dynamic_limits(open_points[0], step, guard)

    def _holds(
        self, form: Affine, step: int, guard: Guard, ranges: dict[str, tuple[int, int]], whole: tuple[int, int]
    ) -> bool:
        low = high = form.const
        for name, coefficient in form.terms:
            if name not in ranges:
                return False
            a, b = (coefficient * bound for bound in ranges[name])
            low, high = low + min(a, b), high + max(a, b)
        a, b = step * whole[0], step * (whole[1] - 1)
        return low + min(a, b) >= guard.low and high + max(a, b) < guard.high

    def _loose_guards(self, state: _State, ranges: dict[str, tuple[int, int]]) -> tuple[_State, For | None]:
        """Guards in which no reduction is left: points that they exclude go; a condition on loops runs once or not."""
        resolved, lows, highs = list[Guard](), [(Affine(0), 1)], [(Affine(1), 1)]
        active = state.active
        for guard in state.pending:
            if self.lane in guard.index.names:
                continue
            forms = {p: guard.index.substitute(self.points[p]) for p in active}
            loose = {p: form for p, form in forms.items() if not self._holds(form, 0, guard, ranges, (0, 1))}
            if all(not form.terms for form in loose.values()):
                active = tuple(p for p in active if p not in loose or guard.low <= loose[p].const < guard.high)
                resolved.append(guard)
            elif len(loose) == len(active) and len(set(loose.values())) == 1:
                form = next(iter(loose.values()))
                lows.append((form * -1 + guard.low, 1))
                highs.append((form * -1 + guard.high, 1))
                resolved.append(guard)
        state = replace(state.resolve(resolved), active=active)
        once = For("guard.once", Bound(tuple(lows)), Bound(tuple(highs)), 1, ()) if len(lows) > 1 else None
        return state, once

    # ------------------------------------------------------------ one segment of an axis
    def _segment(
        self,
        state: _State,
        axes: list[tuple[str, int, int]],
        low: int,
        high: int,
        dynamic: tuple[list[tuple[Affine, int]], list[tuple[Affine, int]]],
        ranges: dict[str, tuple[int, int]],
    ) -> list[Statement]:
        axis, rest = axes[0][0], axes[1:]
        inside = {**ranges, axis: (low, high - 1)}
        if dynamic[0] or dynamic[1]:
            bounds = Bound(((Affine(low), 1), *dynamic[0])), Bound(((Affine(high), 1), *dynamic[1]))
            body = self._reduce(state, rest, inside)
            return [For(axis, *bounds, 1, tuple(body))] if body else []
        if self.across and axis == self.lane:
            return self._across(state, low, high)
        fused = self._fused(state, axis, rest)
        if fused is not None:
            extent = rest[0][2]
            return self._reduce(fused, [(rest[0][0], low * extent, high * extent), *rest[1:]], ranges)
        steps = (high - low) * prod(end - start for _, start, end in rest)
        work = steps * len(state.active) * len(self.groups)
        if high - low == 1 or (not self.across and steps <= UNROLLED_STEPS and work <= UNROLLED_WORK):
            numbers = range(low, high)
            return [s for n in numbers for s in self._numbered(self._reduce(state.bind(axis, n), rest, ranges), n)]
        if rest:
            body = self._reduce(state, rest, inside)
            return [For(axis, Bound.of(low), Bound.of(high), 1, tuple(body))] if body else []
        return self._run(state, axis, low, high, inside)

    def _run(
        self, state: _State, axis: str, low: int, high: int, ranges: dict[str, tuple[int, int]]
    ) -> list[Statement]:
        """The innermost axis: a loop over several steps at once, the rest in straight line."""
        length, unroll = high - low, self.unroll
        if self.chains == 1:
            unroll = next((u for u in range(unroll, 0, -1) if length % u == 0 and 2 * u > unroll), unroll)
        whole = length // unroll * unroll

        def steps(base: Affine, count: int) -> list[Statement]:
            return [
                s for n in range(count) for s in self._numbered(self._reduce(state.bind(axis, base + n), [], ranges), n)
            ]

        result = list[Statement]()
        if whole:
            body = tuple(steps(Affine.name(axis), unroll))
            result.append(For(axis, Bound.of(low), Bound.of(low + whole), unroll, body))
        return result + steps(Affine(low + whole), length - whole)

    def _numbered(self, body: list[Statement], number: int) -> list[Statement]:
        """Straight-line updates dealt out to the partial accumulators in turn."""
        if self.chains == 1:
            return body
        return [replace(s, chain=number % self.chains) if isinstance(s, Update) else s for s in body]

    def _across(self, state: _State, low: int, high: int) -> list[Statement]:
        """The reduced vector axis: whole blocks of lanes in a loop, then one whose absent lanes are the identity."""
        axis, block = self.lane, self.groups[-1].offset + self.groups[-1].width
        lane, whole = Affine.name(axis), (high - low) // block
        result = list[Statement]()
        name = f"{axis}.block"
        if whole:
            unroll = max(1, min(self.chains, whole))
            while whole % unroll:
                unroll -= 1
            updates = tuple(
                Update(
                    state.active,
                    bind_value(state.value, {axis: (Affine.name(name) + n) * block + lane + low}),
                    chain=n % self.chains,
                )
                for n in range(unroll)
            )
            result.append(For(name, Bound.of(0), Bound.of(whole), unroll, updates))
        if (high - low) % block:
            index = lane + (low + whole * block)
            guard = Guard(index, 0, high)
            value = map_operands(
                bind_value(state.value, {axis: index}),
                lambda o: replace(o, guards=(*o.guards, guard)) if axis in names_of(o) else o,
            )
            present = Apply("lt", (Position(index), Constant(high)))
            result.append(Update(state.active, Apply("where", (present, value, Constant(IDENTITY[self.reduction])))))
        return result

    def _fused(self, state: _State, axis: str, rest: list[tuple[str, int, int]]) -> _State | None:
        """Two axes that every operand walks without a gap, as one.   before: for t: for c: x[.., j + t, c]
        after: for c in 0 .. T*C: x[.., C*j + c], the two dimensions seen as one."""
        if not rest or state.position is not None or rest[0][1] != 0 or (self.across and rest[0][0] == self.lane):
            return None
        inner, _, extent = rest[0]
        if any({axis, inner} & set(guard.index.names) for guard in state.pending):
            return None
        merged: dict[Operand, Operand] = {}
        for operand in operands(state.value):
            new = _merge_dimensions(operand, axis, inner, extent)
            if new is None:
                return None
            merged[operand] = new
        if _uses_position(state.value, {axis, inner}):
            return None
        return replace(state, value=map_operands(state.value, lambda operand: merged[operand]))

    # ------------------------------------------------------------ fences
    def _fenced(self, body: list[Statement]) -> list[Statement]:
        """Straight-line updates share loaded values; a fence stands where those since the last one would not fit the
        registers that the accumulators leave."""
        result, seen = list[Statement](), set[tuple[str, Affine]]()
        for statement in body:
            if isinstance(statement, For):
                result.append(replace(statement, body=tuple(self._fenced(list(statement.body)))))
                seen = set()
                continue
            assert isinstance(statement, Update)
            new = self._cells(statement)
            fence = bool(seen) and len(seen | new) > self.free_registers
            seen = new if fence else seen | new
            result.append(replace(statement, fence=fence))
        return result

    def _cells(self, update: Update) -> set[tuple[str, Affine]]:
        cells = set[tuple[str, Affine]]()
        for operand in operands(update.value):
            address = operand.address
            lane = address.coefficient(self.lane)
            for p in update.active:
                form = address.substitute(self.points[p])
                for group in self.groups if lane else self.groups[:1]:
                    cells.add((operand.tensor, form + group.offset * lane))
        return cells


def _static_limits(const: int, step: int, guard: Guard, whole: tuple[int, int]) -> tuple[int, int]:
    """The values of an axis for which `guard.low <= const + step*axis < guard.high`, as a half-open interval."""
    if step == 0:
        return whole if guard.low <= const < guard.high else (whole[0], whole[0])
    if step > 0:
        return -((const - guard.low) // step), -((const - guard.high) // step)
    return -((guard.high - 1 - const) // -step), (const - guard.low) // -step + 1


def _dynamic_limits(form: Affine, step: int, guard: Guard) -> tuple[list[tuple[Affine, int]], list[tuple[Affine, int]]]:
    """The same for a form of loop variables: terms of a low and of a high bound."""
    if step > 0:
        return [(form * -1 + guard.low, step)], [(form * -1 + guard.high, step)]
    return [(form - guard.high + 1, -step)], [(form - guard.low + 1, -step)]


def _merge_dimensions(operand: Operand, outer: str, inner: str, extent: int) -> Operand | None:
    """The operand with the dimensions of `outer` and `inner` seen as one; None where that is not legal."""
    if operand.lookups or any({outer, inner} & set(guard.index.names) for guard in operand.guards):
        return None
    with_outer = [d for d, index in enumerate(operand.index) if index.coefficient(outer)]
    with_inner = [d for d, index in enumerate(operand.index) if index.coefficient(inner)]
    if not with_outer and not with_inner:
        return operand
    if len(with_outer) != 1 or len(with_inner) != 1:
        return None
    d = with_outer[0]
    index, shape = operand.index, operand.shape
    if with_inner[0] != d + 1 or index[d + 1] != Affine.name(inner) or shape[d + 1] != extent:
        return None
    if index[d].coefficient(outer) != 1:
        return None
    joined = index[d].substitute({outer: 0}) * extent + Affine.name(inner)
    return replace(
        operand,
        shape=(*shape[:d], shape[d] * extent, *shape[d + 2 :]),
        index=(*index[:d], joined, *index[d + 2 :]),
    )


def _uses_position(value: Value, names: set[str]) -> bool:
    if isinstance(value, Position):
        return bool(names & set(value.index.names))
    if isinstance(value, Apply):
        return any(_uses_position(argument, names) for argument in value.arguments)
    return isinstance(value, Load) and any(names & names_of(lookup.operand) for lookup in value.operand.lookups)
