"""A graph that was read, as a model again: what ONNX Runtime computes of it tells whether reading kept its meaning."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pellucid.exchange.onnx.graph import OnnxGraph, Port


def rebuilt(graph: OnnxGraph) -> onnx.ModelProto:
    """Standard operators only; all of one version."""
    nodes = [
        helper.make_node(
            node.op,
            node.inputs,
            node.outputs,
            node.name,
            domain=node.domain,
            **{
                name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
                for name, value in node.attributes.items()
            },
        )
        for node in graph.nodes
    ]
    initialisers = [numpy_helper.from_array(array, name) for name, array in graph.initialisers.items()]
    made = helper.make_graph(nodes, "again", _ports(graph.inputs), _ports(graph.outputs), initialisers)
    (version,) = {node.version for node in graph.nodes if not node.domain}
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", version)], ir_version=10)


def _ports(ports: tuple[Port, ...]) -> list[onnx.ValueInfoProto]:
    return [
        helper.make_tensor_value_info(port.name, helper.np_dtype_to_tensor_dtype(port.dtype), port.shape)
        for port in ports
    ]


def outputs_of(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """What ONNX Runtime gives, without its optimisations, so that the order of sums is the same."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))
