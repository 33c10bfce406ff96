"""Functions of a file run by others: ONNX Runtime, and the plain evaluation of the `onnx` package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import checker, helper
from onnx.reference import ReferenceEvaluator

from pellucid.exchange.onnx.export.functions import DOMAIN, as_function
from pellucid.language.circles import parts_of
from pellucid.language.parts import extents_of
from pellucid.language.system import System
from pellucid.nn.layer import Place, Stage
from pellucid.nn.written import WrittenLayer, write_down
from pellucid.reference import evaluate_parts

TYPES = {"float32": onnx.TensorProto.FLOAT, "float64": onnx.TensorProto.DOUBLE, "int64": onnx.TensorProto.INT64}


@dataclass(frozen=True)
class Fixed:
    """A layer of any equations, made for each batch by `make(batch)`."""

    make: object
    sources: tuple[str, ...]
    parameters: tuple = ()
    kind: str = field(default="Case")

    def stage(self, *shapes):
        return Stage(self.make(*shapes), self.parameters, self.sources)


def session(model: onnx.ModelProto) -> Any:
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def written(make, sources: Mapping[str, np.ndarray]) -> WrittenLayer:
    """The layer that `make`, from the shapes of its sources, gives the system of."""
    layer = Fixed(make, tuple(sources))
    return write_down(Place("0", layer, (-1,)), [array.shape[1:] for array in sources.values()])


def function_model(
    layer: WrittenLayer,
    sources: Mapping[str, np.ndarray],
    parameters: Mapping[str, np.ndarray],
    *,
    opset: int = 17,
    dtype: str = "float64",
) -> onnx.ModelProto:
    """A model that is one call of the layer's function."""
    function = as_function(
        "Case",
        layer.inference,
        {name: array.shape[1:] for name, array in sources.items()},
        {name: array.shape for name, array in parameters.items()},
        opset=opset,
        dtype=dtype,
        integers=[name for name, array in sources.items() if array.dtype.kind == "i"],
    )
    arrays = {**sources, **parameters}
    inputs = [
        helper.make_tensor_value_info(
            name,
            TYPES["int64" if array.dtype.kind == "i" else dtype],
            ["batch", *array.shape[1:]] if name in sources else array.shape,
        )
        for name, array in arrays.items()
    ]
    node = helper.make_node("Case", list(arrays), ["result"], domain=DOMAIN)
    sizes = [
        result_shape(layer, {n: (b, *a.shape[1:]) if n in sources else a.shape for n, a in arrays.items()}, b)
        for b in (2, 3)
    ]
    shape = [extent if extent == other else "batch" for extent, other in zip(*sizes, strict=True)]
    output = helper.make_tensor_value_info("result", TYPES[dtype], shape)
    graph = helper.make_graph([node], "case", inputs, [output])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=imports, functions=[function], ir_version=8)
    checker.check_model(model, full_check=True)
    return model


def result_shape(layer: WrittenLayer, shapes: Mapping[str, tuple[int, ...]], batch: int) -> tuple[int, ...]:
    made = layer.inference.at(batch)
    system: System = getattr(made, "system", made)
    parts = parts_of(system.equations)
    return extents_of(parts, system.constants, shapes, system.extents).shapes[system.output]


def literally(layer: WrittenLayer, arrays: Mapping[str, np.ndarray], batch: int) -> np.ndarray:
    """What the equations say, in float64."""
    made = layer.inference.at(batch)
    system: System = getattr(made, "system", made)
    parts = parts_of(system.equations)
    extents = extents_of(parts, system.constants, {n: a.shape for n, a in arrays.items()}, system.extents)
    return evaluate_parts(parts, system.constants, extents, arrays)[system.output]


def ran(model: onnx.ModelProto, arrays: Mapping[str, np.ndarray], dtype: str, *, plain: bool) -> np.ndarray:
    fed = {name: array if array.dtype.kind == "i" else array.astype(dtype) for name, array in arrays.items()}
    runner = ReferenceEvaluator(model) if plain else session(model)
    return runner.run(None, fed)[0]


def check_function(
    make,
    sources: Mapping[str, np.ndarray],
    parameters: Mapping[str, np.ndarray],
    *,
    opsets: Sequence[int] = (17,),
    plain_tolerance: float = 1e-11,
) -> None:
    """The function of a system gives what its equations say: with the batch that was given, and with another."""
    layer = written(make, sources)
    for opset in opsets:
        for dtype, plain in (("float64", True), ("float32", False)):
            model = function_model(layer, sources, parameters, opset=opset, dtype=dtype)
            for rows in (len(next(iter(sources.values()))), 1):
                arrays = {**{name: array[:rows] for name, array in sources.items()}, **parameters}
                wanted = literally(layer, arrays, rows)
                found = ran(model, arrays, dtype, plain=plain)
                assert found.shape == wanted.shape
                if plain:
                    np.testing.assert_allclose(found, wanted, rtol=plain_tolerance, atol=plain_tolerance)
                else:
                    np.testing.assert_allclose(found, wanted, rtol=3e-5, atol=3e-6)
