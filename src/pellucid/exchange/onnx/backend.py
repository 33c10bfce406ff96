"""The interface of onnx's conformance tests, and of whoever runs models through it.

import onnx.backend.test
from pellucid.exchange.onnx.backend import Backend
tests = onnx.backend.test.BackendTest(Backend, __name__)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, shape_inference, version_converter
from onnx.backend.base import Backend as OnnxBackend
from onnx.backend.base import BackendRep as OnnxBackendRep
from onnx.backend.base import namedtupledict

from pellucid.errors import ArgumentError
from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.model import OnnxModel
from pellucid.exchange.onnx.reading import read
from pellucid.exchange.onnx.reading.imports import FIRST_OPSET

__all__ = ["Backend", "BackendRep"]


class BackendRep(OnnxBackendRep):
    """A model that is ready to run."""

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self._outputs = namedtupledict("Outputs", [port.name for port in model.outputs])

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """The outputs, for inputs as a list in the model's order, as a mapping by name, or as the only array.

        Raises `BackendIsNotSupposedToImplementIt`, which test runners take for a skip, for what is not supported; it is
        caused by the ArgumentError that says what. Otherwise as `OnnxModel.predict`.
        """
        arrays: Sequence[Array] = ()
        named: Mapping[str, Array] = {}
        if isinstance(inputs, Mapping):
            named = inputs
        elif isinstance(inputs, np.ndarray):
            arrays = (inputs,)
        else:
            arrays = tuple(inputs)
        try:
            found = self.model.predict(*arrays, **named)
        except ArgumentError as error:
            raise _not_supported(error) from error
        return self._outputs(*(found if isinstance(found, tuple) else (found,)))


class Backend(OnnxBackend):
    """Runs models on the CPU."""

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether it is the CPU."""
        return device.split(":", maxsplit=1)[0] == "CPU"

    @classmethod
    def prepare(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> BackendRep:
        """A model to be run. Raises as `BackendRep.run` does for what is not supported, DataError for damage."""
        try:
            if not cls.supports_device(device):
                raise ArgumentError(f"`device` (={device!r}) must be 'CPU'")
            return BackendRep(OnnxModel(read(_readable(model))))
        except ArgumentError as error:
            raise _not_supported(error) from error

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """The outputs of one node, of the operator set `opset_version` or the newest; inputs in its own order."""
        arrays = [np.asarray(array) for array in inputs]
        names = [name for name in node.input if name]
        given = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in zip(names, arrays, strict=True)
        ]
        made = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
        if outputs_info is not None:
            made = [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)
                for name, (dtype, shape) in zip(filter(None, node.output), outputs_info, strict=True)
            ]
        version = int(kwargs.pop("opset_version", onnx.defs.onnx_opset_version()))
        graph = helper.make_graph([node], "node", given, made)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
        return cls.run_model(shape_inference.infer_shapes(model), arrays, device, **kwargs)


def _readable(model: ModelProto) -> ModelProto:
    """The model in an operator set that is read."""
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if not versions or not 0 < versions[0] < FIRST_OPSET:
        return model
    return version_converter.convert_version(model, FIRST_OPSET)


def _not_supported(error: ArgumentError) -> Exception:
    # Loaded when it is needed: the runner brings its own reference evaluator.
    from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

    return BackendIsNotSupposedToImplementIt(str(error))
