"""What is not supported is named, all at once; what is a function of others is written out as these."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pellucid.errors import ArgumentError, DataError
from pellucid.exchange.onnx.model import OnnxModel
from pellucid.exchange.onnx.operators import HOST_OPERATORS, OPERATORS
from pellucid.exchange.onnx.reading import Limits, read
from pellucid.exchange.onnx.reading.standard import with_standard_functions
from pellucid.exchange.onnx.support import NEAREST, check_supported
from support.onnx_files import model_of, own_outputs

KNOWN = OPERATORS.keys() | HOST_OPERATORS.keys()


def _chain(*ops: tuple[str, str, str], opset: int = 13) -> Any:
    """Nodes (name, operator, domain), each of which reads what the one before makes."""
    nodes = [
        helper.make_node(op, [f"v{number}"], [f"v{number + 1}"], name=name, domain=domain)
        for number, (name, op, domain) in enumerate(ops)
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in ("v0", f"v{len(ops)}")]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:])
    domains = {domain for _, _, domain in ops} - {""}
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in sorted(domains))]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def test_one_operator() -> None:
    with pytest.raises(ArgumentError) as caught:
        check_supported(read(_chain(("nms", "NonMaxSuppression", ""), ("a", "Relu", ""), opset=11)))
    assert str(caught.value) == (
        "the model: 1 operator of the file is not supported:\n"
        "  NonMaxSuppression (opset 11; node 'nms'; nearest supported: TopK)"
    )


def test_all_are_named_at_once() -> None:
    graph = read(
        _chain(
            *((f"f{number}", "FusedConv", "com.microsoft") for number in range(5)),
            ("r", "Relu", ""),
            ("one", "GridSample", ""),
            ("two", "GridSample", ""),
            ("mine", "ScaledGemm", "com.example"),
            opset=16,
        )
    )
    with pytest.raises(ArgumentError) as caught:
        OnnxModel(graph)
    assert str(caught.value) == (
        "the model: 3 operators of the file are not supported:\n"
        "  com.microsoft.FusedConv (version 1; nodes 'f0', 'f1', 'f2' and 2 more; nearest supported: Conv)\n"
        "  GridSample (opset 16; nodes 'one', 'two'; nearest supported: Resize)\n"
        "  com.example.ScaledGemm (version 1; node 'mine'; nearest supported: Gemm)"
    )


def test_what_stands_as_nearest_is_no_operator_that_is_supported_itself() -> None:
    assert not NEAREST.keys() & KNOWN


def test_a_function_of_the_standard_is_written_out() -> None:
    inputs = {"size": np.array(8, np.int64)}
    model = model_of("HannWindow", inputs, {"periodic": 0}, opset=17, outputs=[("y", np.float32)])
    np.testing.assert_allclose(own_outputs(model, inputs)[0], np.hanning(8), atol=1e-6)
    graph = with_standard_functions(read(model), KNOWN, Limits())
    assert {node.op for node in graph.nodes} <= KNOWN
    assert all(node.name.startswith("it/") for node in graph.nodes)
    assert graph.outputs == read(model).outputs


def test_a_default_of_the_standard_stands_where_a_node_says_nothing() -> None:
    inputs = {"size": np.array(8, np.int64)}
    model = model_of("HannWindow", inputs, opset=17, outputs=[("y", np.float32)])
    np.testing.assert_allclose(own_outputs(model, inputs)[0], np.hanning(9)[:8], atol=1e-6)


def test_names_that_are_taken_are_not_taken_again() -> None:
    node = [helper.make_node("HannWindow", ["n"], [f"y{i}"], name=f"w{i}") for i in range(2)]
    clash = helper.make_node("Relu", ["y0"], ["w1/Constant_0"], name="w1/Constant_0")
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("w1/Constant_0", "y1")]
    size = helper.make_tensor_value_info("n", TensorProto.INT64, [])
    model = helper.make_model(
        helper.make_graph([*node, clash], "graph", [size], outputs),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    graph = with_standard_functions(read(model), KNOWN, Limits())
    names = [node.name for node in graph.nodes]
    assert len(set(names)) == len(names)
    made = [name for node in graph.nodes for name in node.outputs]
    assert len(set(made)) == len(made)
    first, second = own_outputs(model, {"n": np.array(6, np.int64)})
    np.testing.assert_allclose(first, second)


def test_a_body_that_needs_what_is_not_supported_stays_a_node() -> None:
    inputs = {"x": np.zeros(4, np.float32)}
    with pytest.raises(ArgumentError, match=r"DynamicQuantizeLinear \(opset 11; node 'it'; "):
        own_outputs(model_of("DynamicQuantizeLinear", inputs, opset=11, outputs=[("y", np.uint8)]), inputs)


def test_functions_written_out_stay_below_the_limits() -> None:
    model = _chain(*((f"w{number}", "HannWindow", "") for number in range(20)), opset=17)
    with pytest.raises(DataError) as caught:
        with_standard_functions(read(model), KNOWN, Limits(nodes=100))
    assert str(caught.value) == "the model: has more than 100 nodes, functions of the standard written out"


def test_an_attribute_that_the_function_does_not_have() -> None:
    model = model_of("HannWindow", {"n": np.array(4)}, {"nonsense": 1}, opset=17)
    with pytest.raises(DataError) as caught:
        OnnxModel(read(model))
    assert str(caught.value) == (
        "the model: node 'it' (HannWindow): gives the attribute 'nonsense', which function 'HannWindow' does not have"
    )


@pytest.mark.parametrize("whole", [0, 1])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 1, 3, 4, 2)])
def test_affine_grid(size: tuple[int, ...], whole: int) -> None:
    torch = pytest.importorskip("torch")
    axes = len(size) - 2
    theta = np.random.default_rng(0).normal(size=(2, axes, axes + 1)).astype(np.float32)
    inputs = {"theta": theta, "size": np.array(size, np.int64)}
    model = model_of("AffineGrid", inputs, {"align_corners": whole}, opset=20, known=("size",))
    expected = torch.nn.functional.affine_grid(torch.from_numpy(theta), list(size), align_corners=bool(whole))
    np.testing.assert_allclose(own_outputs(model, inputs)[0], expected.numpy(), rtol=1e-4, atol=1e-5)


def test_no_operator_here_is_unknown_to_the_standard() -> None:
    names = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == ""}
    assert names >= KNOWN
