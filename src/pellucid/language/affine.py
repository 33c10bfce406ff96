"""Affine integer forms `const + sum(coefficient * name)`: the arithmetic of every index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Affine"]


@dataclass(frozen=True)
class Affine:
    """`const + sum(coefficient * name)`; `terms` is sorted by name and holds no zero, so equal forms are equal."""

    const: int = 0
    terms: tuple[tuple[str, int], ...] = ()

    @staticmethod
    def of(const: int, terms: Mapping[str, int] | Iterable[tuple[str, int]] = ()) -> Affine:
        """The canonical form of `const` and a mapping of coefficients."""
        return Affine(const, tuple(sorted((name, value) for name, value in dict(terms).items() if value)))

    @staticmethod
    def name(name: str) -> Affine:
        """The form that is one name."""
        return Affine(0, ((name, 1),))

    @property
    def names(self) -> tuple[str, ...]:
        """The names with a coefficient that is not 0."""
        return tuple(name for name, _ in self.terms)

    def coefficient(self, name: str) -> int:
        """The coefficient of `name`, 0 where it does not occur."""
        return next((value for other, value in self.terms if other == name), 0)

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.const + other, self.terms) if other else self
        if not other.terms:
            return self + other.const
        if not self.terms:
            return other + self.const
        total = dict(self.terms)
        for name, value in other.terms:
            total[name] = total.get(name, 0) + value
        return Affine.of(self.const + other.const, total)

    def __sub__(self, other: Affine | int) -> Affine:
        return self + other * -1 if isinstance(other, Affine) else self + -other

    def __mul__(self, factor: int) -> Affine:
        if factor == 1:
            return self
        if factor == 0:
            return Affine()
        return Affine(self.const * factor, tuple((name, value * factor) for name, value in self.terms))

    def __neg__(self) -> Affine:
        return self * -1

    def substitute(self, bindings: Mapping[str, Affine | int]) -> Affine:
        """The form with each bound name replaced by its value."""
        if not any(name in bindings for name, _ in self.terms):
            return self
        const, total = self.const, dict[str, int]()
        for name, value in self.terms:
            bound = bindings.get(name)
            if isinstance(bound, int):
                const += bound * value
                continue
            parts = ((name, 1),) if bound is None else bound.terms
            const += 0 if bound is None else bound.const * value
            for other, coefficient in parts:
                total[other] = total.get(other, 0) + coefficient * value
        return Affine.of(const, total)

    def value(self, bindings: Mapping[str, int]) -> int:
        """The number that the form has where every name is bound."""
        return self.const + sum(value * bindings[name] for name, value in self.terms)

    def span(self, extents: Mapping[str, int]) -> tuple[int, int]:
        """The smallest and largest value over the box `0 <= name < extents[name]`, both inclusive."""
        low = high = self.const
        for name, value in self.terms:
            reach = value * (extents[name] - 1)
            low, high = low + min(reach, 0), high + max(reach, 0)
        return low, high

    def __str__(self) -> str:
        parts = [(name if abs(value) == 1 else f"{abs(value)}*{name}", value < 0) for name, value in self.terms]
        if self.const or not parts:
            parts.append((str(abs(self.const)), self.const < 0))
        text = "".join((" - " if negative else " + ") + part for part, negative in parts)
        return text[3:] if text.startswith(" + ") else "-" + text[3:]
