"""Networks of a few nodes, computed by this package and by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper, shape_inference

from pellucid.exchange.onnx import OnnxModel, load

Array = NDArray[Any]


def network(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Array],
    *,
    initialisers: Mapping[str, Array] | None = None,
    outputs: Sequence[str] | None = None,
    opset: int = 17,
) -> ModelProto:
    """A model of these nodes, whose inputs have the types and shapes of these arrays; its outputs are `outputs`, or
    those of the last node."""
    names = nodes[-1].output if outputs is None else outputs
    graph = helper.make_graph(
        nodes,
        "nodes",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in inputs.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in names],
        [numpy_helper.from_array(array, name) for name, array in (initialisers or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))
    return shape_inference.infer_shapes(model, strict_mode=True)


def one(op: str, inputs: Sequence[Array | None], *, opset: int = 17, outputs: int = 1, **attributes: Any) -> ModelProto:
    """A network of one node: its inputs are `x0`, `x1` and so on, its outputs `y0` and so on; None is left out."""
    named = {f"x{number}": array for number, array in enumerate(inputs) if array is not None}
    names = [f"x{number}" if array is not None else "" for number, array in enumerate(inputs)]
    node = helper.make_node(op, names, [f"y{number}" for number in range(outputs)], op.lower(), **attributes)
    return network([node], named, opset=opset)


def by_runtime(model: ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """What ONNX Runtime gives."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {name: np.asarray(array) for name, array in inputs.items()}))


def by_pellucid(model: ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """What this package gives."""
    with load(model) as network:
        return list(outputs_of(network, inputs))


def outputs_of(network: OnnxModel, inputs: Mapping[str, Array]) -> tuple[Array, ...]:
    """All outputs as a tuple, one or several."""
    found = network.predict(**inputs)
    return found if isinstance(found, tuple) else (found,)


def assert_same(
    model: ModelProto, inputs: Mapping[str, Array], *, rtol: float = 1e-5, atol: float = 1e-6, exact: bool = False
) -> None:
    """This package and ONNX Runtime give the same, in the same types and shapes."""
    assert_equal(by_pellucid(model, inputs), by_runtime(model, inputs), rtol=rtol, atol=atol, exact=exact)


def assert_equal(
    found: Sequence[Array], expected: Sequence[Array], *, rtol: float, atol: float, exact: bool = False
) -> None:
    """As many arrays, of the same types and shapes, with the same numbers."""
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        if exact:
            np.testing.assert_array_equal(mine, theirs)
        else:
            np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=atol)


def assert_one(op: str, inputs: Sequence[Array | None], **options: Any) -> None:
    """The same of one node; `exact`, `rtol` and `atol` go to the comparison."""
    comparison = {name: options.pop(name) for name in ("rtol", "atol", "exact") if name in options}
    named = {f"x{number}": array for number, array in enumerate(inputs) if array is not None}
    assert_same(one(op, inputs, **options), named, **comparison)
