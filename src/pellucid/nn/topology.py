"""The order of a network's layers: `Sequential` and `Graph` flattened into places, each with the places it reads."""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.errors import ArgumentError
from pellucid.nn.layer import Block, Network, Place
from pellucid.nn.symbolic import Symbol

__all__ = ["INPUT", "Topology", "flatten_chain", "flatten_symbols"]

# The number that stands for the network's input among the inputs of a place; for a second one there is -2, and so on.
INPUT = -1


@dataclass(frozen=True)
class Topology:
    """Places in an order in which they can run; `output` is the number of the one whose result is the network's."""

    places: tuple[Place, ...]
    output: int


def flatten_chain(blocks: tuple[Block, ...], places: list[Place], entry: tuple[int, ...], prefix: str) -> int:
    """Appends blocks one behind the other, named by their numbers; the number of the last place."""
    last = entry
    for number, block in enumerate(blocks):
        last = (_place(block, places, last, f"{prefix}{number}"),)
    return last[0]


def flatten_symbols(source: Symbol, output: Symbol, places: list[Place], entry: tuple[int, ...], prefix: str) -> int:
    """Appends what leads from the symbol `source` to `output`, numbered in an order in which it can run.

    Raises ArgumentError where `output` depends on another input.
    """
    if len(entry) != 1:
        raise ArgumentError(f"a Graph takes 1 input, not {len(entry)}")
    numbers: dict[int, int] = {id(source): entry[0]}
    count = 0
    for symbol in _in_order(output):
        if symbol is source:
            continue
        if symbol.layer is None:
            raise ArgumentError(f"`output` depends on an Input of shape {symbol.shape} that is not the Graph's `input`")
        inputs = tuple(numbers[id(before)] for before in symbol.inputs)
        numbers[id(symbol)] = _place(symbol.layer, places, inputs, f"{prefix}{count}")
        count += 1
    return numbers[id(output)]


def _place(block: Block, places: list[Place], inputs: tuple[int, ...], name: str) -> int:
    if isinstance(block, Network):
        return block.place_into(places, inputs, f"{name}.")
    places.append(Place(name, block, inputs))
    return len(places) - 1


def _in_order(output: Symbol) -> list[Symbol]:
    """Every symbol that `output` needs, each behind what it reads; without recursion, for networks of any depth."""
    ordered: list[Symbol] = []
    done: set[int] = set()
    waiting = [(output, False)]
    while waiting:
        symbol, ready = waiting.pop()
        if id(symbol) in done:
            continue
        if ready:
            done.add(id(symbol))
            ordered.append(symbol)
        else:
            waiting.append((symbol, True))
            waiting += [(before, False) for before in reversed(symbol.inputs)]
    return ordered
