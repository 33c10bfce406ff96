"""Names that somebody else chose (classes, paths, parameters), made fit to be shown."""

from __future__ import annotations

import unicodedata

from rich.cells import cell_len, set_cell_size

__all__ = ["fitted", "printable", "shortened"]

# They join and part letters within words of Persian and Indian scripts, and pictures of emoji.
_JOINERS = "\u200c\u200d"


def printable(name: str) -> str:
    """`name` in one line that any UTF-8 text, terminal or XML can have.

    Characters that are not to be seen (controls, changes of direction, lone surrogates, which stand for invalid bytes
    in a path) become Python's escapes, like `\\n` and `\\udc80`; every kind of space becomes a space.
    """
    return "".join(_shown(character) for character in name)


def shortened(name: str, width: int) -> str:
    """`printable(name)` in at most `width` columns (1 or more): of a longer one beginning and end, with `…` between."""
    name = printable(name)
    if cell_len(name) <= width:
        return name
    end = (width - 1) // 3
    tail = set_cell_size(name[::-1], end).rstrip()[::-1] if end else ""
    return set_cell_size(name, width - 1 - cell_len(tail)).rstrip() + "…" + tail


def fitted(name: str, width: int, *, right: bool = False) -> str:
    """`shortened(name, width)`, filled up with spaces, on its left side where `right`."""
    name = shortened(name, width)
    space = " " * (width - cell_len(name))
    return space + name if right else name + space


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    if unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode("ascii")
