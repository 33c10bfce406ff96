"""The contraction: one reduction of a pointwise value, every index affine."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.language.affine import Affine
from pellucid.schedule.nest import Guard, Operand, Value, operands

__all__ = ["Axes", "Contraction"]

Axes = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Contraction:
    """`output = result`, where `Accumulated` in `result` is the reduction of `value` over `reduced`.

    A term is left out where one of `guards` fails; the operands concerned carry the same guards, so that a guard
    that no loop bound expresses can still be tested at the load. Without a reduction `value` is None.
    """

    output: Operand
    free: Axes
    reduced: Axes
    reduction: str | None
    value: Value | None
    position: Affine | None
    result: Value
    guards: tuple[Guard, ...] = ()

    @property
    def extents(self) -> dict[str, int]:
        """Extent of every axis."""
        return dict(self.free + self.reduced)

    @property
    def loads(self) -> tuple[Operand, ...]:
        """The distinct operands of the accumulated value, in order."""
        return tuple(dict.fromkeys(operands(self.value))) if self.value is not None else ()

    @property
    def late_loads(self) -> tuple[Operand, ...]:
        """The distinct operands read when the result is stored."""
        return tuple(dict.fromkeys(operands(self.result)))
