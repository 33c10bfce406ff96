"""What ONNX itself says of a node: how many inputs and outputs it has, and of which types."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from onnx import TensorProto, defs, helper

from pellucid.errors import DataError
from pellucid.exchange.onnx.graph import OnnxNode

__all__ = ["check_form"]


def check_form(node: OnnxNode, dtypes: Sequence[np.dtype[Any] | None]) -> None:
    """Refuses with DataError a node with too few or too many inputs or outputs, or with inputs of types (None: left
    out) that its operator does not take, by the version of the operator set that the node belongs to."""
    schema = _schema(node.op, node.version)
    if schema is None:
        return
    for what, names, least, most in (
        ("inputs", node.inputs, schema.min_input, schema.max_input),
        ("outputs", node.outputs, schema.min_output, schema.max_output),
    ):
        if not least <= len(names) <= most:
            wanted = f"at least {least}" if len(names) < least else f"at most {most}"
            raise DataError(f"{node.title} has {len(names)} {what}; {wanted} are wanted")
    allowed = _types(node.op, node.version)
    bound: dict[str, str] = {}
    for number, dtype in enumerate(dtypes):
        formal = schema.inputs[min(number, len(schema.inputs) - 1)]
        if dtype is None:
            continue
        given, variable = _type_name(dtype), formal.type_str
        if given not in allowed.get(variable, frozenset({variable})):
            raise DataError(f"{node.title}: input {number} is {given}, which {node.op} {node.version} does not take")
        if formal.is_homogeneous and bound.setdefault(variable, given) != given:
            raise DataError(f"{node.title}: input {number} is {given}, another one {bound[variable]}")


@cache
def _schema(op: str, version: int) -> Any:
    return defs.get_schema(op, version) if defs.has(op, version) else None


@cache
def _types(op: str, version: int) -> dict[str, frozenset[str]]:
    """For each variable of the operator's types those that it may be."""
    constraints = _schema(op, version).type_constraints
    return {one.type_param_str: frozenset(one.allowed_type_strs) for one in constraints}


@cache
def _type_name(dtype: np.dtype[Any]) -> str:
    """`tensor(float)`."""
    number = TensorProto.STRING if dtype.kind == "O" else helper.np_dtype_to_tensor_dtype(dtype)
    return f"tensor({TensorProto.DataType.Name(number).lower()})"
