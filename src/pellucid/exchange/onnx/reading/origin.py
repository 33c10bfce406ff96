"""What is being read: its name for messages, the folder of its external data, and the memory that it has taken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pellucid.errors import ArgumentError, DataError
from pellucid.exchange.onnx.reading.limits import Limits

__all__ = ["Origin", "amount", "plain", "shown"]

_SHOWN_CHARACTERS = 80


def shown(name: str) -> str:
    """A name in quotes for a message, cut where it is long."""
    return (
        repr(name) if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]!r}... ({len(name):,} characters)"
    )


@dataclass
class Origin:
    """A file while it is read. `folder` is None where the model did not come from a file."""

    name: str
    folder: Path | None
    limits: Limits
    taken: int = 0

    def damaged(self, message: str) -> DataError:
        """The file breaks a rule of the format, or a limit."""
        return DataError(f"{self.name}: {message}")

    def unsupported(self, message: str) -> ArgumentError:
        """The file is valid, and more than this package reads."""
        return ArgumentError(f"{self.name}: {message}")

    def take(self, size: int, what: str) -> None:
        """Count `size` bytes for `what`; DataError where they are more than the memory that is left."""
        if self.taken + size > self.limits.memory:
            raise self.damaged(
                f"{what} takes {amount(size)} bytes after {self.taken:,} of others; "
                f"all arrays together may take {self.limits.memory:,}"
            )
        self.taken += size

    def text(self, value: str | bytes, what: str) -> str:
        """A string of the file; protobuf hands out bytes where it is not UTF-8."""
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError:
                raise self.damaged(f"{what} is not UTF-8") from None
        return value

    def label(self, value: str | bytes, what: str) -> str:
        """A name of the file: text of limited length."""
        name = self.text(value, what)
        if len(name) > self.limits.name_length:
            raise self.damaged(f"{what} has {len(name):,} characters, at most {self.limits.name_length:,} are read")
        return name


def plain(name: str) -> str:
    """The name of an operator for a message: without quotes where it is a word."""
    return name if name.isidentifier() and len(name) <= _SHOWN_CHARACTERS else shown(name)


def amount(count: int) -> str:
    """A count for a message; the digits of a gigantic one say nothing."""
    return f"{count:,}" if count < 1 << 63 else "more than 2^63"
