"""Exceptions of the package, source spans, and the caret messages made from them.

Every error that a user can cause is one of these classes. A message names the argument, the rule and the
numbers; an error in an equation's text also carries a `Span` and draws a caret under it:

    ShapeError: index `c` has two extents: 3 in x (8, 32, 32, 3) and 4 in w (3, 3, 4, 16)
      z[n,i,j,k] = sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]
                                             ^
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ArgumentError",
    "CompileError",
    "DataError",
    "DtypeError",
    "EquationError",
    "MissingPackageError",
    "OutOfBoundsError",
    "OutOfMemoryError",
    "PellucidError",
    "ShapeError",
    "Span",
    "StorageError",
    "TrainingError",
    "VerificationError",
]


@dataclass(frozen=True)
class Span:
    """The half-open range `start:end` of characters of `source` that a node was written in."""

    source: str
    start: int
    end: int

    def caret(self) -> str:
        """The line of source that the span starts in, with carets under the span; two indented lines."""
        line_start = self.source.rfind("\n", 0, self.start) + 1
        line_end = self.source.find("\n", self.start)
        line_end = len(self.source) if line_end < 0 else line_end
        width = max(1, min(self.end, line_end) - self.start)
        return f"  {self.source[line_start:line_end]}\n  {' ' * (self.start - line_start)}{'^' * width}"


class PellucidError(Exception):
    """Base of every error this package raises for a reason outside itself."""

    def __init__(self, message: str, span: Span | None = None) -> None:
        self.span = span
        super().__init__(f"{message}\n{span.caret()}" if span is not None else message)


class EquationError(PellucidError, ValueError):
    """The text of an equation is not in the language, or says something that has no meaning."""


class ShapeError(PellucidError, ValueError):
    """Arrays do not fit an equation, a layer or each other."""


class DtypeError(PellucidError, TypeError):
    """An array has an element type that is not accepted there."""


class ArgumentError(PellucidError, ValueError):
    """An argument has a value outside its rule."""


class DataError(PellucidError, ValueError):
    """A file or data set is damaged, or is not what it claims to be."""


class CompileError(PellucidError, RuntimeError):
    """Code could not be generated or loaded for this processor."""


class MissingPackageError(PellucidError, ImportError):
    """What was asked for needs a package that is not installed; names it and how it is installed."""


class OutOfBoundsError(PellucidError, RuntimeError):
    """A loop nest could not be proved to stay inside its arrays, or left them in checked mode."""


class OutOfMemoryError(PellucidError, MemoryError):
    """Memory could not be allocated; names what for, and the bytes."""


class StorageError(PellucidError, OSError):
    """A file cannot be written: the disk is full, the folder read-only; what was there is as it was."""


class TrainingError(PellucidError, RuntimeError):
    """Training cannot go on: a loss or gradient that is not finite; names the step and the layer."""


class VerificationError(PellucidError, RuntimeError):
    """A benchmark's result differs from the peer's by more than rounding explains; nothing was timed."""
