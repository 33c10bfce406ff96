"""The numbers that a file must stay below."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields

from pellucid.errors import ArgumentError

__all__ = ["Limits"]


def half_of_memory() -> int:
    """Half of the machine's memory in bytes; 4 GiB where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return 1 << 32


@dataclass(frozen=True)
class Limits:
    """What a file may ask for; compared before memory is taken or time is spent. All are at least 1.

    `file_bytes`: size of the file; more than 2 GiB is no protobuf. Larger weights lie in external files.
    `memory`: bytes of all arrays together (initialisers, constants, external data), and of the parsed file.
    `fields`: entries of the file (a name, a number outside packed data, a nested message).
    `nodes`: nodes and calls of functions, after functions are written out.
    `links`: inputs, outputs and attributes of all nodes and calls, after functions are written out.
    `call_depth`: functions that call functions.
    `attributes`: of one node.
    `name_length`: characters of one name, `name_characters` of all names made when functions are written out.
    """

    file_bytes: int = (1 << 31) - 1
    memory: int = field(default_factory=half_of_memory)
    fields: int = 1_000_000
    nodes: int = 100_000
    links: int = 1_000_000
    call_depth: int = 64
    attributes: int = 256
    name_length: int = 2048
    name_characters: int = 1 << 26

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ArgumentError(f"`{entry.name}` of the limits must be a positive integer, is {value!r}")
