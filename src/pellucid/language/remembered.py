"""Results of pure functions of a formula, kept with the formula: a network asks the same of few formulas many times."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from pellucid.language.syntax import Formula

__all__ = ["exactly", "remembered"]

P = ParamSpec("P")
T = TypeVar("T")


def remembered(function: Callable[Concatenate[Formula, P], T]) -> Callable[Concatenate[Formula, P], T]:
    """The function, computed once for each formula object and arguments, which must be hashable.

    The formula's identity counts, not its equality: `2` and `2.0` are equal numbers, but another index. What is
    raised is not kept. Results must not be changed by who gets them.
    """

    @wraps(function)
    def find(formula: Formula, *arguments: P.args, **options: P.kwargs) -> T:
        known: dict[Hashable, T] = formula.__dict__.setdefault("_remembered", {})
        key = (function, arguments, tuple(options.items()))
        if key not in known:
            known[key] = function(formula, *arguments, **options)
        return known[key]

    return find


def exactly(mapping: Mapping[str, object]) -> tuple[tuple[str, object, type], ...]:
    """A mapping as a key that tells 2, 2.0 and True apart."""
    return tuple((name, value, type(value)) for name, value in mapping.items())
