"""What a file says is what is read: ports, nodes in order, arrays, attributes, versions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from exchange.onnx.reading.models import (
    EXTERNAL_BYTES,
    REAL,
    branching,
    convolutional,
    external,
    image,
    model,
    one_node,
    opset,
    weights,
)
from exchange.onnx.reading.rebuilt import outputs_of, rebuilt
from pellucid.errors import ArgumentError, DataError, OutOfMemoryError
from pellucid.exchange.onnx.graph import OnnxGraph, Unread
from pellucid.exchange.onnx.reading import Limits, read

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def relu(source: str, target: str, name: str = "") -> onnx.NodeProto:
    return helper.make_node("Relu", [source], [target], name=name)


def test_a_network_is_read_as_it_stands():
    graph = read(convolutional())
    assert [(node.name, node.op, node.domain, node.version) for node in graph.nodes] == [
        ("conv", "Conv", "", 17),
        ("norm", "BatchNormalization", "", 17),
        ("relu", "Relu", "", 17),
        ("pool", "MaxPool", "", 17),
        ("flatten", "Flatten", "", 17),
        ("head", "Gemm", "", 17),
    ]
    assert graph.nodes[0].inputs == ("x", "w", "b")
    assert graph.nodes[0].outputs == ("c",)
    assert graph.nodes[0].attributes == {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1)}
    assert graph.nodes[5].attributes == {"transB": 1, "alpha": 1.0}
    assert [(port.name, port.dtype, port.shape) for port in graph.inputs] == [("x", np.float32, (1, 3, 8, 8))]
    assert [(port.name, port.dtype, port.shape) for port in graph.outputs] == [("y", np.float32, ("n", 5))]
    assert (graph.opset, graph.name, graph.metadata, graph.source) == (17, "net", {}, "the model")
    assert graph.initialisers.keys() == {"w", "b", "scale", "shift", "mean", "var", "head", "bias"}
    np.testing.assert_array_equal(graph.initialisers["w"], numpy_helper.to_array(weights("w", 4, 3, 3, 3)))


def test_path_bytes_and_message_give_the_same(tmp_path):
    made = convolutional()
    path = tmp_path / "net.onnx"
    onnx.save(made, path)
    expected = read(made)
    for source in (path, str(path), made.SerializeToString()):
        graph = read(source)
        assert graph.nodes == expected.nodes
        assert graph.inputs == expected.inputs
        for name, array in expected.initialisers.items():
            np.testing.assert_array_equal(graph.initialisers[name], array)
    assert read(path).source == str(path)


def test_a_message_is_not_changed():
    made = branching()
    before = made.SerializeToString(deterministic=True)
    read(made)
    assert made.SerializeToString(deterministic=True) == before


def test_arrays_are_read_only_and_contiguous():
    graph = read(branching().SerializeToString())
    arrays = [*graph.initialisers.values(), graph.nodes[9].attributes["value"]]
    for array in arrays:
        assert isinstance(array, np.ndarray)
        assert array.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.mark.parametrize("make", REAL.values(), ids=REAL)
def test_what_was_read_computes_the_same(make: Callable[[], onnx.ModelProto]):
    made = make()
    x = np.random.default_rng(5).standard_normal((1, 3, 8, 8)).astype(np.float32)
    for expected, found in zip(outputs_of(made, {"x": x}), outputs_of(rebuilt(read(made)), {"x": x}), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("path", sorted(LIGHT.glob("*.onnx")), ids=lambda path: path.stem)
def test_topologies_of_real_networks(path: Path):
    made = onnx.load(path)
    graph = read(path)
    assert [node.op for node in graph.nodes] == [node.op_type for node in made.graph.node]
    for tensor in made.graph.initializer:
        if tensor.name in graph.initialisers:
            np.testing.assert_array_equal(graph.initialisers[tensor.name], numpy_helper.to_array(tensor))
    assert {name for node in graph.nodes for name in node.inputs if name} <= {
        *graph.initialisers,
        *(port.name for port in graph.inputs),
        *(name for node in graph.nodes for name in node.outputs),
    }


def test_initialisers_that_are_inputs_are_no_inputs():
    made = convolutional()
    made.ir_version = 3
    made.graph.input.extend([image("w", (4, 3, 3, 3)), image("b", (4,))])
    graph = read(made)
    assert [port.name for port in graph.inputs] == ["x"]
    assert "w" in graph.initialisers


def test_nodes_are_put_in_order():
    made = model([relu("c", "y"), relu("b", "c"), relu("x", "a"), relu("a", "b")])
    assert [node.outputs for node in read(made).nodes] == [("a",), ("b",), ("c",), ("y",)]


def test_order_of_the_file_is_kept_where_it_is_one():
    nodes = [relu("x", "a"), relu("x", "b"), relu("b", "c"), relu("a", "d"), helper.make_node("Sum", ["c", "d"], ["y"])]
    assert [node.outputs[0] for node in read(model(nodes)).nodes] == ["a", "b", "c", "d", "y"]


def test_what_leads_to_no_output_is_left_out():
    nodes = [relu("x", "y"), relu("x", "a"), helper.make_node("Add", ["a", "w"], ["b"])]
    graph = read(model(nodes, (weights("w", 1), weights("v", 1))))
    assert [node.outputs for node in graph.nodes] == [("y",)]
    assert graph.initialisers == {}


def test_an_output_may_be_an_input_or_an_initialiser():
    made = model([relu("x", "y")], (weights("w", 1),))
    made.graph.output.extend([image("x"), image("w", (1,))])
    graph = read(made)
    assert [port.name for port in graph.outputs] == ["y", "x", "w"]
    assert list(graph.initialisers) == ["w"]


def test_names_of_nodes_are_made_unique():
    nodes = [relu("x", "a", "n"), relu("a", "b", "n"), relu("b", "c"), relu("c", "d", "Relu_2"), relu("d", "y", "n_1")]
    assert [node.name for node in read(model(nodes)).nodes] == ["n", "n_2", "Relu_2_1", "Relu_2", "n_1"]


def test_inputs_and_outputs_may_be_left_out():
    node = helper.make_node("Clip", ["x", "", "w"], ["y"])
    drop = helper.make_node("Dropout", ["y"], ["z", ""])
    graph = read(model([node, drop], (weights("w"),), output="z"))
    assert graph.nodes[0].inputs == ("x", "", "w")
    assert graph.nodes[1].outputs == ("z", "")


def test_the_two_names_of_the_domain_are_one():
    made = model([relu("x", "y")])
    made.graph.node[0].domain = "ai.onnx"
    made.opset_import.append(opset(17, "ai.onnx"))
    assert [(node.domain, node.version) for node in read(made).nodes] == [("", 17)]


def test_other_domains_are_read_with_their_versions():
    made = model([helper.make_node("Own", ["x"], ["y"], domain="com.own")], imports=(opset(3, "com.own"),))
    node = read(made).nodes[0]
    assert (node.op, node.domain, node.version) == ("Own", "com.own", 3)


def test_shapes_of_ports():
    made = one_node()
    for shape, expected in (((2, "n", None), (2, "n", None)), ((), ()), (None, None), ((-1, 0), (None, 0))):
        made.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.BFLOAT16, shape))
        port = read(made).inputs[0]
        assert port.shape == expected
        assert port.dtype.name == "bfloat16"


def test_metadata():
    assert read(branching()).metadata == {"classes": "cat,dog"}


def test_attributes_of_every_type():
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    tensor = numpy_helper.from_array(array)
    inner = helper.make_graph([], "inner", [], [])
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, [1])
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.array([5.0, 7.0], np.float32)),
        numpy_helper.from_array(np.array([[0, 1], [2, 0]], np.int64)),
        [3, 2],
    )
    given = {
        "f": 0.5,
        "i": -3,
        "s": "größe",
        "floats": [0.5, -1.0],
        "ints": [1, -(2**63)],
        "strings": ["a", ""],
        "t": tensor,
        "g": inner,
        "tp": kind,
        "sparse": sparse,
        "graphs": [inner, inner],
        "tensors": [tensor],
        "types": [kind],
        "sparses": [sparse],
    }
    made = one_node(**given)
    made.graph.node[0].attribute.append(AttributeProto(name="none", type=AttributeProto.INTS))
    made.graph.node[0].attribute.append(AttributeProto(name="zero", type=AttributeProto.INT))
    found = dict(read(made).nodes[0].attributes)
    np.testing.assert_array_equal(found.pop("t"), array)
    np.testing.assert_array_equal(found.pop("sparse"), np.array([[0, 5], [0, 0], [7, 0]], np.float32))
    assert found == {
        "f": 0.5,
        "i": -3,
        "s": "größe",
        "floats": (0.5, -1.0),
        "ints": (1, -(2**63)),
        "strings": ("a", ""),
        "g": Unread("a graph"),
        "tp": Unread("a type"),
        "graphs": Unread("a list of graphs"),
        "tensors": Unread("a list of tensors"),
        "types": Unread("a list of types"),
        "sparses": Unread("a list of sparse tensors"),
        "none": (),
        "zero": 0,
    }


def test_limits_hold_and_can_be_moved():
    content = branching().SerializeToString()
    graph = read(content)
    links = sum(len(node.inputs) + len(node.outputs) + len(node.attributes) for node in graph.nodes)
    most = {
        "file_bytes": len(content),
        "nodes": len(graph.nodes),
        "links": links,
        "attributes": 2,
        "name_length": len("GlobalAveragePool_5"),
    }
    assert read(content, limits=Limits(**most)).nodes == graph.nodes
    for name, value in most.items():
        with pytest.raises(DataError, match=rf"at most {value - 1:,}|more than {value - 1} attributes"):
            read(content, limits=Limits(**{name: value - 1}))


def test_memory_is_that_of_all_arrays_together():
    made = model([helper.make_node("Sum", ["x", "w", "v"], ["y"])], (weights("w", 1000), weights("v", 1000)))
    assert isinstance(read(made, limits=Limits(memory=8000)), OnnxGraph)
    message = (
        r"the model: initialiser 'v': FLOAT of shape \(1000,\) takes 4,000 bytes after 4,000 of others; "
        r"all arrays together may take 7,999"
    )
    with pytest.raises(DataError, match=message):
        read(made, limits=Limits(memory=7999))


@pytest.mark.parametrize("name", [entry.name for entry in dataclasses.fields(Limits)])
def test_limits_are_positive_integers(name: str):
    for value in (0, -1, 1.5, True, None):
        with pytest.raises(ArgumentError, match=f"`{name}` of the limits must be a positive integer, is {value!r}"):
            Limits(**{name: value})


def test_sources_of_other_types_are_refused():
    with pytest.raises(ArgumentError, match=r"`source` must be a path, bytes or a ModelProto, is list"):
        read([])  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="`source` must be a path: embedded null byte"):
        read("a\0b")


def test_missing_memory_is_an_error_of_the_package(monkeypatch):
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("pellucid.exchange.onnx.reading.source.check_wire", exhausted)
    with pytest.raises(OutOfMemoryError, match="the model: no memory to read it"):
        read(b"x")


def test_external_data(tmp_path):
    offset = 4096
    for location in ("weights.bin", "inner/weights.bin", "./inner/./weights.bin"):
        made = external(location, offset=offset, length=len(EXTERNAL_BYTES), checksum="any", basepath="/elsewhere")
        folder = tmp_path / location.replace("/", "_")
        (folder / "inner").mkdir(parents=True)
        (folder / location).write_bytes(bytes(offset) + EXTERNAL_BYTES + b"more")
        (folder / "net.onnx").write_bytes(made.SerializeToString())
        array = read(folder / "net.onnx").initialisers["w"]
        assert array.tobytes() == EXTERNAL_BYTES
        assert not array.flags.writeable


def test_external_data_as_onnx_writes_it(tmp_path, monkeypatch):
    made = convolutional()
    onnx.save(made, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    monkeypatch.chdir(tmp_path)
    for source in ("net.onnx", tmp_path / "net.onnx"):
        graph = read(source)
        for tensor in convolutional().graph.initializer:
            np.testing.assert_array_equal(graph.initialisers[tensor.name], numpy_helper.to_array(tensor))


def test_a_model_may_be_a_link_and_its_data_may_not(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "net").write_bytes(convolutional().SerializeToString())
    (tmp_path / "net.onnx").symlink_to(tmp_path / "store" / "net")
    assert len(read(tmp_path / "net.onnx").nodes) == 6


def test_data_without_a_folder_is_refused():
    for source in (external(), external().SerializeToString()):
        message = (
            "the model: initialiser 'w': has external data, and a model that is not read from a file has no folder"
        )
        with pytest.raises(DataError, match=message):
            read(source)
