"""Which operators there are, and how one is found.

An operator is a function from `Node` to what the node gives: a value, or one for each output of the node. `static` are
inputs whose values (not only shapes) must be known when the program is made, `lookups` those that are indices.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.values import Value

if TYPE_CHECKING:
    from pellucid.exchange.onnx.node import Node

__all__ = ["HOST_OPERATORS", "OPERATORS", "HostFunction", "Operator", "on_host", "operator"]

Meaning: TypeAlias = "Callable[[Node], Value | Sequence[Value | None]]"
HostFunction: TypeAlias = "Callable[[Node, Sequence[Array | None]], Array | Sequence[Array]]"


@dataclass(frozen=True)
class Operator:
    """An operator in the program."""

    meaning: Meaning
    static: frozenset[int]
    lookups: frozenset[int]


_operators: dict[str, Operator] = {}
_host: dict[str, HostFunction] = {}
OPERATORS: Mapping[str, Operator] = MappingProxyType(_operators)
"""By name, those of ONNX's own domain."""
HOST_OPERATORS: Mapping[str, HostFunction] = MappingProxyType(_host)
"""Functions on NumPy arrays, for nodes that read nothing of the program."""


def operator(*names: str, static: Collection[int] = (), lookups: Collection[int] = ()) -> Callable[[Meaning], Meaning]:
    """Says that a function is what these operators mean."""

    def register(meaning: Meaning) -> Meaning:
        for name in names:
            assert name not in _operators, name
            _operators[name] = Operator(meaning, frozenset(static), frozenset(lookups))
        return meaning

    return register


def on_host(*names: str) -> Callable[[HostFunction], HostFunction]:
    """Says that a function computes these operators outside the program.

    It gets the arrays of the node's inputs, None for one left out, with their own types, and gives the outputs in the
    types that ONNX has for them.
    """

    def register(function: HostFunction) -> HostFunction:
        for name in names:
            assert name not in _host, name
            _host[name] = function
        return function

    return register
