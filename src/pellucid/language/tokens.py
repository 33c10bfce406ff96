"""Equation text to tokens: names, numbers, symbols; spaces, line ends and `#` comments between them are dropped."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pellucid.errors import EquationError, Span

__all__ = ["Token", "tokenise"]

# Longer symbols first, so that `<=` is not read as `<` and `=`.
SYMBOLS = ("**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "<", ">", "=", "(", ")", "[", "]", ",", ":")

NUMBER = re.compile(r"(\d+\.\d+|\d+\.?|\.\d+)([eE][+-]?\d+)?", re.ASCII)

HINTS = {
    "^": "; a power is written `**`",
    "|": "; an absolute value is written `abs(...)`, an alternative `or`",
    "&": "; conditions are joined by `and`",
    "!": "; a negation is written `not`",
    "~": "; a negation is written `not`",
    ";": "; equations stand on lines of their own",
    "{": "; equations use ( ) and [ ] only",
    "}": "; equations use ( ) and [ ] only",
}


@dataclass(frozen=True)
class Token:
    """`kind` is name, number, symbol or end; `text` is what was written, at `span`."""

    kind: str
    text: str
    span: Span


def tokenise(source: str, start: int = 0, end: int | None = None) -> tuple[Token, ...]:
    """The tokens of `source[start:end]`, the last of kind `end`; EquationError at a character outside the language."""
    end = len(source) if end is None else end
    tokens: list[Token] = []
    position = start
    while position < end:
        character = source[position]
        if character.isspace():
            position += 1
        elif character == "#":
            line_end = source.find("\n", position, end)
            position = end if line_end < 0 else line_end
        else:
            token = _token_at(source, position, end)
            tokens.append(token)
            position = token.span.end
    # The end is where an error about something missing points: just behind the last token.
    after = tokens[-1].span.end if tokens else start
    return (*tokens, Token("end", "", Span(source, after, after)))


def _token_at(source: str, start: int, end: int) -> Token:
    """The token that begins at `start`, which is neither space nor comment."""
    if source[start].isidentifier():
        stop = start + 1
        while stop < end and source[start : stop + 1].isidentifier():
            stop += 1
        return Token("name", source[start:stop], Span(source, start, stop))
    if match := NUMBER.match(source, start, end):
        _refuse_letter_after(match.end(), source, start, end)
        return Token("number", match.group(), Span(source, start, match.end()))
    for symbol in SYMBOLS:
        if source.startswith(symbol, start, end):
            return Token("symbol", symbol, Span(source, start, start + len(symbol)))
    character = source[start]
    message = f"character `{character}` is not in the language{HINTS.get(character, '')}"
    raise EquationError(message, Span(source, start, start + 1))


def _refuse_letter_after(stop: int, source: str, start: int, end: int) -> None:
    """`2x` is a mistake, not a product: before this check it would read as two tokens side by side."""
    if stop < end and source[stop].isidentifier():
        number = source[start:stop]
        raise EquationError(
            f"`{number}` is followed by `{source[stop]}`; a product is written with `*`", Span(source, stop, stop + 1)
        )
