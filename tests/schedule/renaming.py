"""Loop nests under other names: what is decided must not depend on how axes and tensors are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pellucid.language.affine import Affine

__all__ = ["renamed"]


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """A nest, plan or part of one with axes and tensors called by other names; `c.slab` follows `c`."""
    if isinstance(value, str):
        stem, dot, rest = value.partition(".")
        return names.get(value) or names.get(stem, stem) + dot + rest
    if isinstance(value, Affine):
        return Affine.of(value.const, {renamed(name, names): factor for name, factor in value.terms})
    if isinstance(value, tuple):
        return tuple(renamed(item, names) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{entry.name: renamed(getattr(value, entry.name), names) for entry in fields(value)})
    return value
