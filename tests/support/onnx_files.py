"""Models of one node, run here and by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, helper, numpy_helper

from pellucid.exchange.onnx.model import OnnxModel
from pellucid.exchange.onnx.reading import read
from support.onnx_nodes import assert_equal, by_runtime

__all__ = ["agrees", "model_of", "own_outputs"]

Array = np.ndarray[Any, Any]


def model_of(
    op: str,
    inputs: Mapping[str, Array | None],
    attributes: Mapping[str, Any] | None = None,
    *,
    opset: int,
    known: Collection[str] = (),
    outputs: Sequence[tuple[str, type]] = (("y", np.float32),),
    of_any_size: bool = False,
) -> ModelProto:
    """One node; an input that is None is left out, those in `known` are initialisers, an output called "" is not
    wanted; `of_any_size` leaves the extents of inputs open."""
    node = helper.make_node(
        op,
        [name if array is not None else "" for name, array in inputs.items()],
        [name for name, _ in outputs],
        name="it",
        **(attributes or {}),
    )
    given = {name: array for name, array in inputs.items() if array is not None}
    graph = helper.make_graph(
        [node],
        "graph",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim if of_any_size else array.shape
            )
            for name, array in given.items()
            if name not in known
        ],
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), None)
            for name, kind in outputs
            if name
        ],
        [numpy_helper.from_array(given[name], name) for name in known if name in given],
    )
    # The newest version of the format that the runtime of the tests reads.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def own_outputs(model: ModelProto, inputs: Mapping[str, Array | None]) -> tuple[Array, ...]:
    """What this package computes."""
    own = OnnxModel(read(model))
    return own.run({port.name: _given(inputs, port.name) for port in own.inputs})


def _given(inputs: Mapping[str, Array | None], name: str) -> Array:
    array = inputs[name]
    assert array is not None
    return array


def agrees(model: ModelProto, *several: Mapping[str, Array | None], rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """Compares all outputs with ONNX Runtime's: shapes, types and numbers; one network for all the inputs given."""
    own = OnnxModel(read(model))
    for inputs in several:
        given = {port.name: _given(inputs, port.name) for port in own.inputs}
        assert_equal(own.run(given), by_runtime(model, given), rtol=rtol, atol=atol)
