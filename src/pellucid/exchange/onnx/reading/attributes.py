"""Attributes of nodes -> values, by the type that they declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from onnx import AttributeProto

from pellucid.exchange.onnx.graph import AttributeValue, Unread
from pellucid.exchange.onnx.reading.origin import Origin, shown
from pellucid.exchange.onnx.reading.tensors import read_sparse, read_tensor

__all__ = ["Attribute", "Attributes", "Reference", "read_attributes"]

_BESIDE = {"name", "doc_string", "type", "ref_attr_name"}


@dataclass(frozen=True)
class Attribute:
    """A value with its declared type, a name of the format (INTS)."""

    kind: str
    value: AttributeValue


@dataclass(frozen=True)
class Reference:
    """Inside a function: the value of its own attribute `name`."""

    kind: str
    name: str


Attributes: TypeAlias = Mapping[str, Attribute | Reference]

_Reader: TypeAlias = Callable[[Any, str, Origin], AttributeValue]


def _text(value: bytes, where: str, origin: Origin) -> str:
    return origin.text(value, where)


def _texts(values: Iterable[bytes], where: str, origin: Origin) -> tuple[str, ...]:
    return tuple(origin.text(value, where) for value in values)


# By declared type: the field that holds the value, and how it is read. Graphs are not: no operator that has one is
# supported, and what a graph holds cannot matter to an error that says so.
_READERS: dict[str, tuple[str, _Reader]] = {
    "FLOAT": ("f", lambda value, where, origin: float(value)),
    "INT": ("i", lambda value, where, origin: int(value)),
    "STRING": ("s", _text),
    "TENSOR": ("t", read_tensor),
    "SPARSE_TENSOR": ("sparse_tensor", read_sparse),
    "GRAPH": ("g", lambda value, where, origin: Unread("a graph")),
    "TYPE_PROTO": ("tp", lambda value, where, origin: Unread("a type")),
    "FLOATS": ("floats", lambda value, where, origin: tuple(value)),
    "INTS": ("ints", lambda value, where, origin: tuple(value)),
    "STRINGS": ("strings", _texts),
    "TENSORS": ("tensors", lambda value, where, origin: Unread("a list of tensors")),
    "SPARSE_TENSORS": ("sparse_tensors", lambda value, where, origin: Unread("a list of sparse tensors")),
    "GRAPHS": ("graphs", lambda value, where, origin: Unread("a list of graphs")),
    "TYPE_PROTOS": ("type_protos", lambda value, where, origin: Unread("a list of types")),
}


def read_attributes(
    attributes: Iterable[AttributeProto], where: str, inside_function: bool, origin: Origin
) -> dict[str, Attribute | Reference]:
    """Attributes by name; references to a function's own attributes only inside one."""
    found: dict[str, Attribute | Reference] = {}
    for entry in attributes:
        name = origin.label(entry.name, f"{where}: the name of an attribute")
        if not name:
            raise origin.damaged(f"{where}: has an attribute without a name")
        if name in found:
            raise origin.damaged(f"{where}: has the attribute {shown(name)} twice")
        if len(found) == origin.limits.attributes:
            raise origin.damaged(f"{where}: has more than {origin.limits.attributes} attributes")
        found[name] = _read(entry, f"{where}, attribute {shown(name)}", inside_function, origin)
    return found


def _read(entry: AttributeProto, where: str, inside_function: bool, origin: Origin) -> Attribute | Reference:
    kind = AttributeProto.AttributeType.Name(entry.type) if entry.type else "UNDEFINED"
    if kind not in _READERS:
        raise origin.damaged(f"{where}: has no type")
    field, reader = _READERS[kind]
    filled = [descriptor.name for descriptor, _ in entry.ListFields() if descriptor.name not in _BESIDE]
    if entry.ref_attr_name:
        name = origin.label(entry.ref_attr_name, f"{where}: the attribute that it refers to")
        if not inside_function:
            raise origin.damaged(f"{where}: refers to the attribute {shown(name)} of a function, and is in none")
        if filled:
            raise origin.damaged(f"{where}: refers to the attribute {shown(name)} and has a value, too")
        return Reference(kind, name)
    if any(name != field for name in filled):
        wrong = next(name for name in filled if name != field)
        raise origin.damaged(f"{where}: is declared as {kind}, which stands in field `{field}`, and has `{wrong}`")
    if not filled and kind in ("TENSOR", "SPARSE_TENSOR", "GRAPH", "TYPE_PROTO"):
        raise origin.damaged(f"{where}: is declared as {kind} and has no value")
    return Attribute(kind, reader(getattr(entry, field), where, origin))
