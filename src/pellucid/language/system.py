"""Several equations that belong together: a formula that needs steps (softmax, batch norm, a loss)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pellucid.language.syntax import Formula

__all__ = ["System"]


@dataclass(frozen=True)
class System:
    """Formulas in order of evaluation; a later one may read what an earlier one gives.

    `constants` binds names to integers (strides, paddings) or floats (epsilons, slopes) when the system is made;
    `extents` gives axes that no array determines. `output` is the result; the other outputs are intermediates that
    a gradient may need. Names that remain free in value position are scalar inputs (0-d arrays).
    """

    equations: tuple[Formula, ...]
    output: str
    constants: Mapping[str, int | float] = field(default_factory=dict[str, "int | float"])
    extents: Mapping[str, int] = field(default_factory=dict[str, int])
