"""The gradients of a system, equation by equation, as one would write them on paper.

The equations are walked from the last to the first. `g` is the gradient that arrives at the result, `dtotal` the one
that arrives at the intermediate `total`; each is complete before the equation that makes `total` is reached. Constants
stay symbolic. (Networks are differentiated in the same way by `network/reverse.py`, with the shapes of given arrays.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pellucid.language.backward import Backward
from pellucid.language.circles import parts_of
from pellucid.language.extents import inputs, scalars
from pellucid.language.gradient import derive
from pellucid.language.parts import inputs_of
from pellucid.language.recurrence import Recurrence
from pellucid.language.syntax import Expr, Formula, Number, Reduce
from pellucid.language.system import System

__all__ = ["Contribution", "contributions"]

UPSTREAM = "g"


@dataclass(frozen=True)
class Contribution:
    """What one equation adds to the gradient of something that it reads; `first` where nothing was added before."""

    formula: Formula
    wrt: str
    first: bool


def contributions(system: System, held: Collection[str] = ()) -> Iterator[Contribution]:
    """The gradient equations of a system in order of evaluation, towards all free inputs but those `held` fixed."""
    moving = _moving(system, held)
    arrived = {system.output}
    for formula in reversed(parts_of(system.equations)):
        if isinstance(formula, Recurrence):
            for contribution in _through_time(formula, system, moving):
                yield contribution
                arrived.add(contribution.wrt)
            continue
        output = formula.output.tensor
        if output not in arrived:
            continue
        upstream = UPSTREAM if output == system.output else f"d{output}"
        for name in _read(formula, system):
            if name not in moving:
                continue
            derived = derive(formula, name, upstream, tuple(system.constants)).formula
            if not _vanishes(derived.body):
                yield Contribution(derived, name, name not in arrived)
                arrived.add(name)


def _through_time(recurrence: Recurrence, system: System, moving: set[str]) -> Iterator[Contribution]:
    """The gradient of a recurrence that makes the result: another one, and the gradients of what it reads."""
    derived = Backward(recurrence, {system.output: UPSTREAM}, tuple(system.constants))
    towards = [(name, derived.towards(name)) for name in recurrence.inputs if name in moving]
    for formula in derived.recurrence.formulas:
        yield Contribution(formula, formula.output.tensor, True)
    for name, formula in towards:
        if formula is not None:
            yield Contribution(formula, name, True)


def _read(formula: Formula, system: System) -> tuple[str, ...]:
    return (*inputs(formula), *scalars(formula, tuple(system.constants)))


def _moving(system: System, held: Collection[str]) -> set[str]:
    """Everything that depends on a free input that is not held."""
    parts = parts_of(system.equations)
    found = {name for name in inputs_of(parts, system.constants) if name not in held}
    for part in parts:
        formulas = part.formulas if isinstance(part, Recurrence) else (part,)
        if any(found & set(_read(formula, system)) for formula in formulas):
            found.update(formula.output.tensor for formula in formulas)
    return found


def _vanishes(body: Expr) -> bool:
    while isinstance(body, Reduce) and body.op == "sum":
        body = body.body
    return isinstance(body, Number) and body.value == 0
