"""Hostile and damaged files, the same at every run: `cases()`."""

from __future__ import annotations

from functools import cache

from exchange.onnx.reading import attacks_bytes, attacks_operators, attacks_structure, attacks_tensors
from exchange.onnx.reading.case import Case


def cases(stage: str | None = None) -> list[Case]:
    """All cases, or those of a stage: "read" or "load"."""
    return [case for case in generated() if stage in (None, case.stage)]


@cache
def generated() -> list[Case]:
    """All cases; their names are unique."""
    families = (attacks_bytes, attacks_tensors, attacks_structure, attacks_operators)
    made = [case for family in families for case in family.attacks()]
    assert len({case.name for case in made}) == len(made)
    return made
