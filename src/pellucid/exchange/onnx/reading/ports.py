"""Inputs and outputs of a graph, as the file declares them."""

from __future__ import annotations

from onnx import TensorShapeProto, ValueInfoProto

from pellucid.exchange.onnx.graph import Port
from pellucid.exchange.onnx.reading.origin import Origin, shown
from pellucid.exchange.onnx.reading.tensors import element_type, read_extents

__all__ = ["read_port"]

_TYPES = {
    "sequence_type": "a sequence",
    "map_type": "a map",
    "optional_type": "optional",
    "sparse_tensor_type": "a sparse tensor",
    "opaque_type": "opaque",
}


def read_port(port: ValueInfoProto, what: str, origin: Origin) -> Port:
    """Name, type and shape; `what` is "input" or "output".

    Raises ArgumentError where it is something else than a tensor, DataError where it is damaged.
    """
    name = origin.label(port.name, f"the name of an {what}")
    if not name:
        raise origin.damaged(f"an {what} of the graph has no name")
    where = f"{what} {shown(name)}"
    kind = port.type.WhichOneof("value")
    if kind is None:
        raise origin.damaged(f"{where}: has no type")
    if kind != "tensor_type":
        raise origin.unsupported(f"{where}: is {_TYPES.get(kind, kind)}; only tensors are supported")
    tensor = port.type.tensor_type
    dtype = element_type(tensor.elem_type, where, origin).dtype
    shape = _shape(tensor.shape, where, origin) if tensor.HasField("shape") else None
    return Port(name, dtype, shape)


def _shape(shape: TensorShapeProto, where: str, origin: Origin) -> tuple[int | str | None, ...]:
    axes: list[int | str | None] = []
    for axis in shape.dim:
        kind = axis.WhichOneof("value")
        if kind == "dim_value":
            # -1 is not in the format, and written by many for an open extent.
            axes.append(None if axis.dim_value == -1 else axis.dim_value)
        else:
            axes.append(origin.label(axis.dim_param, f"{where}: the name of an extent") or None)
    read_extents([axis if isinstance(axis, int) else 1 for axis in axes], where, origin)
    return tuple(axes)
