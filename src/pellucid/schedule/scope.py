"""The loops around a statement, and how far an affine form reaches inside them.

Three ways to find a reach, each tried where the one before does not settle the question:

1. the box: every loop variable between the smallest and the largest value that it ever has;
2. elimination: the bounds of all loops as inequalities (`inequalities.py`), so that `i + s - 1` under
   `s in max(0, 1 - i) .. min(3, 29 - i)` is seen to stay inside, and a loop that runs narrows those around it;
3. enumeration of the loops that matter, where they are few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pellucid.language.affine import Affine
from pellucid.schedule.inequalities import largest, related, smallest
from pellucid.schedule.nest import Bound, For

__all__ = ["Reach", "Scope", "box_reach", "rounds", "span"]

Reach: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Scope:
    """What is known inside a list of loops.

    `values` gives every loop variable as an affine form of proof names: a loop that steps by more than 1 is counted,
    `variable = low + step * count`. `inequalities` hold for the proof names; `box` has the reach of each of them.
    """

    loops: tuple[For, ...] = ()
    values: Mapping[str, Affine] = field(default_factory=dict[str, Affine])
    inequalities: tuple[Affine, ...] = ()
    box: Mapping[str, Reach] = field(default_factory=dict[str, Reach])
    reaches: dict[tuple[Affine, tuple[Affine, ...]], tuple[float, float]] = field(
        default_factory=dict[tuple[Affine, tuple[Affine, ...]], tuple[float, float]], compare=False, repr=False
    )

    def enter(self, loop: For) -> Scope | None:
        """The scope inside one more loop; None where the loop never runs."""
        assert loop.variable not in self.values, f"loop variable {loop.variable} is bound twice"
        low = [(form.substitute(self.values), divisor) for form, divisor in _folded(loop.low, max)]
        high = [(form.substitute(self.values), divisor) for form, divisor in _folded(loop.high, min)]
        count = Affine.name(loop.variable)
        # Without a single low bound to count from, that the loop steps is left out of the proof: it only gets wider.
        counted = loop.step > 1 and len(low) == 1 and low[0][1] == 1
        value = low[0][0] + count * loop.step if counted else count
        new = [count] if counted else [value * divisor - form for form, divisor in low]
        new += [form - 1 - value * divisor for form, divisor in high]
        reach = _name_reach(loop.variable, new, self.box)
        if reach[0] > reach[1]:
            return None
        return Scope(
            (*self.loops, loop),
            {**self.values, loop.variable: value},
            (*self.inequalities, *new),
            {**self.box, loop.variable: reach},
        )

    def reach(self, form: Affine, more: tuple[Affine, ...] = ()) -> tuple[float, float]:
        """The smallest and largest value of a form of proof names by elimination, where `more` hold too.

        Exact or wider; infinite where nothing bounds it, empty (low above high) where nothing runs.
        """
        known = self.reaches.get((form, more))
        if known is None:
            rows = (*self.inequalities, *more)
            known = self.reaches[form, more] = smallest(form, rows), largest(form, rows)
        return known

    def runs(self) -> bool:
        """Whether all loops together ever run."""
        return next(_combinations(list(self.loops), {}), None) is not None

    def points(self, variables: set[str]) -> Iterator[dict[str, int]]:
        """Every combination of values of the loop variables that matter to `variables`, each loop as it would run.

        Loops that have no connection to `variables` are left out, so those that never run are not noticed.
        """
        names = set(variables)
        for row in related([name for variable in variables for name in self.values[variable].names], self.inequalities):
            names.update(row.names)
        yield from _combinations([loop for loop in self.loops if loop.variable in names], {})


def box_reach(form: Affine, box: Mapping[str, Reach]) -> Reach:
    """The smallest and largest value of a form over a box."""
    low = high = form.const
    for name, coefficient in form.terms:
        below, above = box[name]
        low += coefficient * (below if coefficient > 0 else above)
        high += coefficient * (above if coefficient > 0 else below)
    return low, high


def span(loop: For) -> Reach:
    """The range of a loop's variable, as far as it is known beforehand: of a bound that depends on other loops its
    constant part; an empty one where there is none."""
    low, high = (
        [form.const for form, divisor in bound.terms if not form.terms and divisor == 1]
        for bound in (loop.low, loop.high)
    )
    return (max(low), min(high)) if low and high else (0, 0)


def rounds(loop: For) -> int:
    """How often a loop runs, as far as that is known beforehand."""
    low, high = span(loop)
    return max(0, -((low - high) // loop.step))


def _folded(bound: Bound, choose: Callable[[Iterable[int]], int]) -> tuple[tuple[Affine, int], ...]:
    """The terms of a bound, one number where all are numbers."""
    if any(form.terms for form, _ in bound.terms):
        return bound.terms
    return ((Affine(choose(-(-form.const // divisor) for form, divisor in bound.terms)), 1),)


def _name_reach(name: str, inequalities: list[Affine], box: Mapping[str, Reach]) -> Reach:
    """The reach of a name from inequalities in it and in names of the box; each bounds it from one side."""
    lows: list[int] = []
    highs: list[int] = []
    for row in inequalities:
        coefficient = row.coefficient(name)
        _, rest = box_reach(row - Affine.name(name) * coefficient, box)
        if coefficient > 0:
            lows.append(-(rest // coefficient))
        else:
            highs.append(rest // -coefficient)
    return max(lows), min(highs)


def _combinations(loops: list[For], names: dict[str, int]) -> Iterator[dict[str, int]]:
    if not loops:
        yield names
        return
    loop, *rest = loops
    low = max(-(-form.value(names) // divisor) for form, divisor in loop.low.terms)
    high = min(-(-form.value(names) // divisor) for form, divisor in loop.high.terms)
    for value in range(low, high, loop.step):
        yield from _combinations(rest, {**names, loop.variable: value})
