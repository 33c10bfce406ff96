"""Names of files as text that can be printed and kept: escaped without loss, and sorted as people count.

A file's name may hold newlines, and bytes that are no UTF-8. Its escaped form is one line of printable text: a
backslash is written `\\\\`, a newline `\\n` (so `\\r`, `\\t`), a byte NN that is no UTF-8 `\\xNN`, any other character
that cannot be printed `\\uNNNN` or `\\UNNNNNNNN`. Every name has one such form, and every form is of one name.
"""

from __future__ import annotations

import re
from os import PathLike, fspath

__all__ = ["escaped", "natural_key", "shown", "unescaped"]

_SHORT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LONG = {escape[1]: character for character, escape in _SHORT.items()}
_TOKEN = re.compile(r"\\([\\nrt])|\\x([89a-f][0-9a-f])|\\u([0-9a-f]{4})|\\U(00(?:0[0-9a-f]|10)[0-9a-f]{4})|([^\\])")
# Python holds a byte NN that is no UTF-8 as the character U+DCNN (PEP 383).
_BYTE = 0xDC00


def escaped(text: str) -> str:
    """The text as one line of printable characters; `unescaped` gives it back."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape(character) for character in text)


def unescaped(text: str) -> str:
    """The text whose escaped form this is.

    Raises:
        ValueError: it is no such form.
    """
    if "\\" not in text:
        return text
    tokens = list(_TOKEN.finditer(text))
    if sum(len(token[0]) for token in tokens) != len(text):
        raise ValueError(f"{text!r} has a backslash that begins no escape")
    return "".join(_character(token) for token in tokens)


def shown(path: str | PathLike[str]) -> str:
    """A path for a message: escaped only where it cannot be printed as it is."""
    text = fspath(path)
    return text if text.isprintable() else escaped(text)


def natural_key(text: str) -> tuple[list[tuple[int, str, str]], str]:
    """Sorts 2 before 10, and capitals beside small letters; different texts never have the same key."""
    pieces = re.split(r"([0-9]+)", text)
    return [_piece_key(piece) for piece in pieces if piece], text


def _piece_key(piece: str) -> tuple[int, str, str]:
    # Numbers of any length: first by their length without zeros, then by their digits; they come before letters.
    if piece[0] in "0123456789":
        digits = piece.lstrip("0")
        return -1, f"{len(digits):09d}", digits
    return 0, piece.casefold(), ""


def _escape(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable():
        return character
    code = ord(character)
    if _BYTE + 0x80 <= code <= _BYTE + 0xFF:
        return f"\\x{code - _BYTE:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _character(token: re.Match[str]) -> str:
    short, byte, code, long_code, plain = token.groups()
    if short:
        return _LONG[short]
    if byte:
        return chr(_BYTE + int(byte, 16))
    return plain or chr(int(code or long_code, 16))
