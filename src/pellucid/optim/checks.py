"""The rules that numbers given to optimisers, schedules and penalties keep."""

from __future__ import annotations

from math import isfinite

from pellucid.errors import ArgumentError

__all__ = ["fraction", "non_negative", "positive", "whole"]


def positive(name: str, value: float) -> None:
    """Raises ArgumentError unless `value` is a finite number above 0."""
    if not _is_number(value) or not isfinite(value) or value <= 0:
        raise ArgumentError(f"`{name}` (={value}) must be a finite number above 0")


def non_negative(name: str, value: float) -> None:
    """Raises ArgumentError unless `value` is a finite number, 0 or above."""
    if not _is_number(value) or not isfinite(value) or value < 0:
        raise ArgumentError(f"`{name}` (={value}) must be a finite number, 0 or above")


def fraction(name: str, value: float) -> None:
    """Raises ArgumentError unless 0 <= `value` < 1."""
    if not _is_number(value) or not 0 <= value < 1:
        raise ArgumentError(f"`{name}` (={value}) must be at least 0 and below 1")


def whole(name: str, value: int, least: int) -> None:
    """Raises ArgumentError unless `value` is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"`{name}` (={value}) must be a whole number of at least {least}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
