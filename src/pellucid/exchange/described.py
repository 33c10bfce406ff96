"""Losses, optimisers, schedules and penalties as data: the class's name and its attributes, which are numbers, texts
and others of these."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pellucid import nn, optim
from pellucid.errors import DataError, PellucidError
from pellucid.exchange.json_values import JsonValue

__all__ = ["as_data", "from_data"]

_KNOWN: dict[str, type] = {
    name: kind
    for module in (nn, optim)
    for name in module.__all__
    if isinstance(kind := getattr(module, name), type)
    and dataclasses.is_dataclass(kind)
    and (module is optim or name.endswith("Loss"))
}


def as_data(value: object) -> Any:
    """The value as JSON has it; None where it, or a part of it, is of a class that this package does not have."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence):
        return [as_data(entry) for entry in value]
    name = type(value).__name__
    if _KNOWN.get(name) is not type(value):
        return None
    fields = dataclasses.fields(value)  # pyright: ignore[reportArgumentType]
    entries = {field.name: getattr(value, field.name) for field in fields}
    data = {key: as_data(entry) for key, entry in entries.items()}
    lost = any(entry is not None and data[key] is None for key, entry in entries.items())
    return None if lost else {"kind": name, **data}


def from_data(entry: JsonValue) -> Any:
    """What `as_data` described; DataError where it is damaged."""
    if isinstance(entry.value, list):
        return tuple(from_data(item) for item in entry.items())
    if not isinstance(entry.value, dict):
        return entry.value
    name = entry["kind"].text()
    if name not in _KNOWN:
        raise DataError(f"{entry.place}: there is no loss, optimiser or schedule called {name!r}")
    attributes = {key: from_data(value) for key, value in entry.entries().items() if key != "kind"}
    try:
        return _KNOWN[name](**attributes)
    except (TypeError, PellucidError) as error:
        raise DataError(f"{entry.place}: {error}") from error
