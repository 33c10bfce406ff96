"""Values of JSON as they are expected: each reader names the place and the rule where they are something else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pellucid.errors import DataError

__all__ = ["JsonValue", "parse_json"]


@dataclass(frozen=True)
class JsonValue:
    """A value and where it stands (`config.json: layers[3].kind`); methods raise DataError where it is not as asked."""

    value: Any
    place: str

    def __getitem__(self, key: str) -> JsonValue:
        """The entry of an object."""
        entries = self.entries()
        if key not in entries:
            raise DataError(f"{self.place} has no {key!r}")
        return entries[key]

    def get(self, key: str) -> JsonValue | None:
        """The entry of an object, None where it is absent or null."""
        found = self.entries().get(key)
        return None if found is None or found.value is None else found

    def entries(self) -> Mapping[str, JsonValue]:
        """All entries of an object."""
        if not isinstance(self.value, dict):
            raise self._wrong("an object")
        separator = ": " if self.place.endswith(".json") else "."
        return {str(key): JsonValue(entry, f"{self.place}{separator}{key}") for key, entry in self.value.items()}

    def items(self) -> tuple[JsonValue, ...]:
        """The entries of a list."""
        if not isinstance(self.value, list):
            raise self._wrong("a list")
        return tuple(JsonValue(entry, f"{self.place}[{number}]") for number, entry in enumerate(self.value))

    def text(self) -> str:
        """A text."""
        if not isinstance(self.value, str):
            raise self._wrong("a text")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(entry.text() for entry in self.items())

    def whole(self, least: int = 0) -> int:
        """A whole number of at least `least`."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < least:
            raise self._wrong(f"a whole number of at least {least}")
        return self.value

    def wholes(self, least: int = 0) -> tuple[int, ...]:
        """A list of whole numbers."""
        return tuple(entry.whole(least) for entry in self.items())

    def number(self) -> int | float:
        """A finite number."""
        if not isinstance(self.value, int | float) or isinstance(self.value, bool) or not isfinite(self.value):
            raise self._wrong("a finite number")
        return self.value

    def truth(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self._wrong("true or false")
        return self.value

    def _wrong(self, rule: str) -> DataError:
        shown = repr(self.value)
        return DataError(f"{self.place} must be {rule}, is {shown if len(shown) <= 60 else f'{shown[:57]}...'}")


def parse_json(text: str | bytes, place: str) -> JsonValue:
    """The document in `text`; DataError where it is none."""
    try:
        return JsonValue(json.loads(text), place)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: is no JSON: {error}") from error
