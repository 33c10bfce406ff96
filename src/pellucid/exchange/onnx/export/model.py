"""`export`: a model as an ONNX file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import metadata
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import onnx
from onnx import checker, helper, numpy_helper

from pellucid.errors import ArgumentError
from pellucid.exchange.atomic import replace_file
from pellucid.exchange.model_files import Preprocessing
from pellucid.exchange.onnx.export.functions import DOMAIN
from pellucid.exchange.onnx.export.network import Value, input_order, write_network
from pellucid.exchange.onnx.export.nodes import Nodes
from pellucid.exchange.onnx.export.pictures import write_preprocessing, write_probabilities
from pellucid.exchange.onnx.export.proof import onnx_shape
from pellucid.exchange.onnx.values import channels_last
from pellucid.nn.layer import Shape
from pellucid.nn.model import Model

__all__ = ["DEFAULT_OPSET", "LEAST_OPSET", "export"]

# Since 13 Squeeze, Unsqueeze and ReduceSum take axes as an input; LayerNormalization came with 17, which ONNX Runtime
# reads since 2022.
LEAST_OPSET, DEFAULT_OPSET = 13, 17
# Local functions came with this version of the format.
_FUNCTIONS_IR = 8
# A message of protobuf has fewer bytes than 2 GiB; parameters of larger models stand in a file beside it.
_MOST_BYTES = 2**31 - 2**24
_TYPES = {"float32": onnx.TensorProto.FLOAT, "float64": onnx.TensorProto.DOUBLE}
_BATCH = "batch"


def export(
    model: Model,
    path: str | PathLike[str],
    *,
    opset: int = DEFAULT_OPSET,
    class_names: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    include_preprocessing: bool = False,
    probabilities: bool = False,
) -> None:
    """Writes the model, as it predicts, as an ONNX file: whole, or not at all; the same bytes for the same model.

    The input is `input`, (batch, channels, height, width) for images of shape (height, width, channels); sequences stay
    (batch, steps, features). Layers are standard operators where these say exactly what the layer's equations say, else
    functions of the domain "pellucid.equations", made of standard operators.

    Args:
        path: of the file.
        opset: the set of operators, from 13 to the newest that the installed `onnx` knows.
        class_names: kept as metadata, `class_names`, a JSON list.
        preprocessing: how pictures become inputs; kept as metadata, `preprocessing`, a JSON object.
        include_preprocessing: the input is pictures, red, green and blue, uint8 (batch, height, width, 3) of any
            height and width, and the output probabilities.
        probabilities: the output is what the model's loss makes of predictions: softmax, sigmoid, or the same.

    Raises:
        ArgumentError: `opset` is none of these, `include_preprocessing` has no `preprocessing`, or a layer cannot be
            written; it is named.
        StorageError: the file cannot be written; what stood there is as it was.
    """
    newest = onnx.defs.onnx_opset_version()
    if not isinstance(opset, int) or not LEAST_OPSET <= opset <= newest:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ArgumentError(f"`opset` (={opset}) must be from {LEAST_OPSET} to {newest}, the newest of onnx")
    if include_preprocessing and preprocessing is None:
        raise ArgumentError("`include_preprocessing` needs `preprocessing`, which says how pictures become inputs")
    pictures = preprocessing if include_preprocessing else None
    message = _message(model, opset, pictures, probabilities or include_preprocessing)
    facts: dict[str, Any] = {"class_names": list(class_names)} if class_names else {}
    if preprocessing is not None:
        facts["preprocessing"] = preprocessing.as_data()
    helper.set_model_props(message, {name: json.dumps(value, ensure_ascii=False) for name, value in facts.items()})
    _write(message, Path(fspath(path)))


def _message(model: Model, opset: int, pictures: Preprocessing | None, probabilities: bool) -> onnx.ModelProto:
    blueprint = model.blueprint
    nodes = Nodes(opset, blueprint.dtype)
    nodes.reserve("input", "output")
    order = channels_last(len(model.input_shape) + 1) if pictures else input_order(blueprint, opset)
    source = Value("input", model.input_shape, order)
    given = _port("input", _TYPES[blueprint.dtype], model.input_shape, order)
    if pictures is not None:
        source = write_preprocessing(nodes, pictures, model.input_shape)
        given = helper.make_tensor_value_info("input", onnx.TensorProto.UINT8, [_BATCH, "height", "width", 3])
    result, functions = write_network(blueprint, model.parameters, nodes, source)
    if probabilities:
        result = write_probabilities(nodes, result, model.loss)
    kind = onnx.TensorProto.INT64 if result.whole else _TYPES[blueprint.dtype]
    _rename(nodes, result.name)
    nodes.prune("output")
    graph = helper.make_graph(
        nodes.written,
        "pellucid",
        [given],
        [_port("output", kind, result.shape, result.order)],
        [numpy_helper.from_array(array, name) for name, array in nodes.initialisers.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    if functions:
        imports.append(helper.make_opsetid(DOMAIN, 1))
    return helper.make_model(
        graph,
        functions=functions,
        opset_imports=imports,
        ir_version=max(_FUNCTIONS_IR, helper.find_min_ir_version_for(imports, ignore_unknown=True)),
        producer_name="pellucid",
        producer_version=metadata.version("pellucid"),
    )


def _port(name: str, kind: int, shape: Shape, order: Sequence[int]) -> onnx.ValueInfoProto:
    extents = list(onnx_shape((0, *shape), order))
    return helper.make_tensor_value_info(name, kind, [_BATCH, *extents[1:]])


def _rename(nodes: Nodes, result: str) -> None:
    """Calls the graph's result `output`."""
    made = {name for node in nodes.written for name in node.output}
    if result not in made:
        nodes.written.append(helper.make_node("Identity", [result], ["output"], name="output"))
        return
    for node in nodes.written:
        for names in (node.input, node.output):
            for number, name in enumerate(names):
                if name == result:
                    names[number] = "output"


def _write(message: onnx.ModelProto, path: Path) -> None:
    if sum(len(tensor.raw_data) for tensor in message.graph.initializer) < _MOST_BYTES:
        checker.check_model(message, full_check=True)
        replace_file(path, message.SerializeToString(deterministic=True))
        return
    data, offset = bytearray(), 0
    for tensor in message.graph.initializer:
        if not tensor.HasField("raw_data"):
            continue
        content = tensor.raw_data
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entries = {"location": f"{path.name}.data", "offset": offset, "length": len(content)}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        data += content
        offset += len(content)
    replace_file(path.with_name(f"{path.name}.data"), bytes(data))
    replace_file(path, message.SerializeToString(deterministic=True))
