"""The points of a reduction: its axes' values for which its conditions hold, found without trying them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from pellucid.errors import ArgumentError
from pellucid.language.affine import Affine
from pellucid.language.extents import affine
from pellucid.language.syntax import Compare, Condition, Logic, Name, Reduce, walk

__all__ = ["points"]

MAX_VISITS = 1_000_000


def points(
    node: Reduce,
    environment: Mapping[str, int],
    constants: Mapping[str, int | float],
    extents: Mapping[str, int],
    holds: Callable[[Condition, Mapping[str, int]], bool],
) -> Iterator[dict[str, int]]:
    """`environment` with the reduction's axes bound, in every way that fulfils its conditions; in no certain order.

    A linear equality with one open axis gives that axis, instead of a loop over it; `holds` judges the other
    conditions. ArgumentError where more than MAX_VISITS values of axes must be tried.
    """
    yield from _Search(node, environment, constants, extents, holds).points()


class _Search:
    def __init__(
        self,
        node: Reduce,
        environment: Mapping[str, int],
        constants: Mapping[str, int | float],
        extents: Mapping[str, int],
        holds: Callable[[Condition, Mapping[str, int]], bool],
    ) -> None:
        self._node = node
        self._extents = extents
        self._holds = holds
        self._values = dict(environment)
        self._visits = 0
        self._equalities: list[Affine] = []
        self._conditions: list[tuple[frozenset[str], Condition]] = []
        for condition in _conjuncts(node.conditions):
            difference = _difference(condition, constants)
            if difference is not None:
                self._equalities.append(difference)
            else:
                names = frozenset(part.name for part in walk(condition) if isinstance(part, Name))
                self._conditions.append((names & frozenset(node.axes), condition))

    def points(self) -> Iterator[dict[str, int]]:
        if all(self._equal(frozenset(), equality) for equality in self._equalities) and all(
            names or self._holds(condition, self._values) for names, condition in self._conditions
        ):
            yield from self._descend(self._node.axes)

    def _descend(self, open_axes: tuple[str, ...]) -> Iterator[dict[str, int]]:
        if not open_axes:
            yield dict(self._values)
            return
        axis, candidates = self._next(open_axes)
        remaining = tuple(name for name in open_axes if name != axis)
        for value in candidates:
            self._visits += 1
            if self._visits > MAX_VISITS:
                raise ArgumentError(f"this {self._node.op} has more than {MAX_VISITS} index combinations to try")
            self._values[axis] = value
            if self._allowed(axis, remaining):
                yield from self._descend(remaining)
        self._values.pop(axis, None)

    def _next(self, open_axes: tuple[str, ...]) -> tuple[str, range]:
        """The axis to bind next, with its candidates: a solved one, else the shortest that helps to solve another."""
        involved: list[str] = []
        for equality in self._equalities:
            unbound = [name for name in equality.names if name in open_axes]
            if len(unbound) == 1:
                return unbound[0], self._solved(equality, unbound[0])
            involved += unbound
        axis = min(involved, key=lambda name: self._extents[name]) if involved else open_axes[0]
        return axis, range(self._extents[axis])

    def _solved(self, equality: Affine, axis: str) -> range:
        bound = {name: value for name, value in self._values.items() if name != axis}
        rest = equality.substitute(bound).const
        value, remainder = divmod(-rest, equality.coefficient(axis))
        exists = remainder == 0 and 0 <= value < self._extents[axis]
        return range(value, value + 1) if exists else range(0)

    def _allowed(self, axis: str, remaining: tuple[str, ...]) -> bool:
        """Whether every condition that `axis` completes holds."""
        still_open = frozenset(remaining)
        return all(
            self._equal(still_open, equality) for equality in self._equalities if axis in equality.names
        ) and all(
            self._holds(condition, self._values)
            for names, condition in self._conditions
            if axis in names and not names & still_open
        )

    def _equal(self, open_axes: frozenset[str], equality: Affine) -> bool:
        """Whether an equality without open axes holds; True for one that is not complete yet."""
        if any(name in open_axes or name not in self._values for name in equality.names):
            return True
        return equality.value(self._values) == 0


def _conjuncts(conditions: tuple[Condition, ...]) -> Iterator[Condition]:
    for condition in conditions:
        if isinstance(condition, Logic) and condition.op == "and":
            yield from _conjuncts(condition.operands)
        else:
            yield condition


def _difference(condition: Condition, constants: Mapping[str, int | float]) -> Affine | None:
    """`a == b` -> the form a - b, where both sides are affine."""
    if not isinstance(condition, Compare) or condition.op != "==":
        return None
    left, right = affine(condition.left, constants), affine(condition.right, constants)
    return None if left is None or right is None else left - right
