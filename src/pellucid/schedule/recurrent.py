"""A recurrence -> one nest: rounds of a batch outside, steps inside, the formulas of a step inside these.

    before   h[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k])
    after    for n (parallel): h[n,0] = tanh(u[n,0] + ..);  for t: h[n,t+1] = tanh(u[n,t+1] + sum(j) h[n,t,j]*w[j])

The first step and the later ones are ordinary formulas (`Recurrence.first`, `later`), each lowered as any other but for
the loops that are asked for outside it. Threads share the rounds, and none waits for another between two steps; where
no axis of the batch is there one thread walks all steps. Weights are copied in the order of reading before the loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pellucid.language.recurrence import Recurrence
from pellucid.language.waiting import without_waiting
from pellucid.schedule.lower import Lowered, lower
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import Bound, For, Nest, Statement, Tensor
from pellucid.schedule.parallel import for_one_thread, in_one_thread
from pellucid.schedule.parts import ROUND, STEP
from pellucid.schedule.plan import Options, Plan
from pellucid.schedule.touched import loaded, stored

__all__ = ["lower_recurrence", "recurrence_options"]

# Rounds that there should be for threads to share, and values of the axis in a round, at most: each weight that is read
# serves so many products then. 16 were no faster with 128 features, and take twice the scratch.
LEAST_ROUNDS, LARGEST_GROUP = 4, 8


def recurrence_options(recurrence: Recurrence, extents: Mapping[str, int]) -> Options:
    """How to lower a recurrence: groups of the first axis along which cells depend on none but their own."""
    axis = next(iter(recurrence.apart()), None)
    if axis is None:
        return Options()
    most = max(1, min(LARGEST_GROUP, extents[axis] // LEAST_ROUNDS))
    group = max(size for size in range(1, most + 1) if extents[axis] % size == 0)
    return Options(outer=axis, group=group)


def lower_recurrence(
    recurrence: Recurrence,
    constants: Mapping[str, int | float],
    extents: Mapping[str, int],
    tensors: Mapping[str, Tensor],
    machine: Machine,
    name: str,
    options: Options,
) -> Lowered:
    """Loop nests for a recurrence; arguments as for `lower`, `extents` those of all its formulas together.

    `options.outer` is an axis along which no formula reads another cell than its own, or None; `group` values of it are
    a round.
    """
    before, recurrence = without_waiting(recurrence)
    axis, count = recurrence.axis, extents[recurrence.axis]
    dtype = tensors[recurrence.formulas[-1].output.tensor].dtype
    new = {
        formula.output.tensor: Tensor(
            f"{name}.{formula.output.tensor}", dtype, tuple(extents[axis] for axis in formula.free_axes), "temporary"
        )
        for formula in before
    }
    tensors = {**tensors, **new}
    made = frozenset(tensors[tensor].name for tensor in recurrence.tensors)
    given = frozenset(tensor.name for tensor in tensors.values()) - made
    rounds = extents[options.outer] // options.group if options.outer is not None else 1
    work = _Work(rounds, set(made), list(new.values()))
    for formula in before:
        work.add(lower(formula, constants, extents, tensors, machine, new[formula.output.tensor].name), 1)
    first = replace(options, seldom=given, made=made, parts=1)
    at_once = {other: size for other, size in extents.items() if other != axis}
    for number, formula in enumerate(recurrence.first(count)):
        work.first += work.add(lower(formula, constants, at_once, tensors, machine, f"{name}.first{number}", first), 1)
    if count > 1:
        later, sizes = replace(first, steps=axis), {**extents, axis: count - 1}
        for number, formula in enumerate(recurrence.later(count)):
            found = lower(formula, constants, sizes, tensors, machine, f"{name}.later{number}", later)
            work.later += work.add(found, count - 1)
    body = [*work.begin, *work.first, *_loop(STEP, count - 1, work.later)]
    if rounds > 1:
        loop = For(ROUND, Bound.of(0), Bound.of(rounds), 1, tuple(body), parallel=True)
        nest = Nest(name, (loop,), (ROUND,), options.group)
    else:
        nest = Nest(name, (in_one_thread(tuple(body)),))
    return Lowered((*work.ahead, nest), tuple(work.tensors), tuple(work.plans))


class _Work:
    """What is lowered so far: nests before the loop, and the statements of a round, of which `begin` depend on no step.

    `made` are the tensors that are written inside the loop.
    """

    def __init__(self, rounds: int, made: set[str], tensors: list[Tensor]) -> None:
        self.rounds, self.made, self.tensors = rounds, made, tensors
        self.ahead, self.plans = list[Nest](), list[Plan]()
        self.begin, self.first, self.later = list[Statement](), list[Statement](), list[Statement]()

    def add(self, found: Lowered, steps: int) -> list[Statement]:
        """The statements of a step in a formula's nests, which walk so many; others are put where they belong."""
        self.tensors += found.tensors
        self.plans += found.plans
        result = list[Statement]()
        for nest in found.nests:
            if not nest.rounds and self.made.isdisjoint(loaded(nest.body) | stored(nest.body)):
                self.ahead.append(nest)
                continue
            self.made |= stored(nest.body)
            assert (ROUND in nest.rounds) == (self.rounds > 1), f"{nest.name} walks {nest.rounds}"
            inside = _inside(nest)
            if steps > 1 and STEP not in nest.rounds:
                self.begin += inside
            else:
                result += inside
        return result


def _inside(nest: Nest) -> tuple[Statement, ...]:
    """The statements inside the outermost loops, none of them for threads to share."""
    body = nest.body
    for _ in nest.rounds:
        (loop,) = body
        assert isinstance(loop, For)
        body = loop.body
    return for_one_thread(body)


def _loop(name: str, rounds: int, body: list[Statement]) -> list[Statement]:
    return [For(name, Bound.of(0), Bound.of(rounds), 1, tuple(body))] if rounds > 1 else body
