"""Equations that nobody thought of: any that hypothesis draws, and their gradients, as functions of a file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from onnx import helper
from onnx.reference import ReferenceEvaluator

from exchange.onnx.export.running import TYPES
from pellucid.errors import ArgumentError
from pellucid.exchange.onnx.export.functions import DOMAIN, as_function
from pellucid.language.circles import parts_of
from pellucid.language.parse import parse_system
from pellucid.language.parts import extents_of
from pellucid.language.render import to_text
from pellucid.nn.written import Form
from pellucid.reference import evaluate_parts
from schedule.cases import Case
from schedule.drawn import convolutions, equations
from support.recurrences import KNOWN, Steps, recurrences

COUNT = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def found(form: Form, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], kind: str = "float64") -> np.ndarray:
    """What the function gives, evaluated plainly; a source of no meaning stands for the batch."""
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    whole = [name for name, array in arrays.items() if array.dtype.kind == "i"]
    shapes = {name: array.shape for name, array in arrays.items()}
    function = as_function("Drawn", form, {"images": ()}, shapes, opset=17, dtype="float64", integers=whole)
    fed = {"images": np.zeros(2)} | {n: a if n in whole else a.astype(np.float64) for n, a in arrays.items()}
    inputs = [helper.make_tensor_value_info(name, TYPES[array.dtype.name], array.shape) for name, array in fed.items()]
    node = helper.make_node("Drawn", list(fed), ["result"], domain=DOMAIN)
    output = helper.make_tensor_value_info("result", TYPES[kind], shape)
    graph = helper.make_graph([node], "drawn", inputs, [output])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=imports, functions=[function], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return ReferenceEvaluator(model).run(None, fed)[0]


def check(case: Case) -> None:
    arrays = case.arrays(3)
    wanted = case.expected(arrays)
    form = Form((to_text(case.formula),), case.formula.output.tensor, dict(case.constants), dict(case.extents))
    kind = "int64" if wanted.dtype.kind == "i" else "float64"
    result = found(form, arrays, wanted.shape, kind)
    # Small integers: every sum is exact.
    np.testing.assert_array_equal(result, wanted)


@COUNT
@given(equations())
def test_any_equation(case: Case):
    check(case)


@COUNT
@given(convolutions())
def test_any_convolution_and_its_gradients(case: Case):
    check(case)


def check_steps(steps: Steps) -> None:
    arrays = steps.arrays(1)
    formulas = parse_system(steps.text)
    parts = parts_of(formulas)
    extents = extents_of(parts, steps.constants, steps.shapes, steps.extents)
    made = evaluate_parts(parts, steps.constants, extents, arrays)
    for tensor in dict.fromkeys(formula.output.tensor for formula in formulas):
        form = Form(tuple(map(to_text, formulas)), tensor, dict(steps.constants), dict(steps.extents))
        result = found(form, arrays, made[tensor].shape)
        np.testing.assert_allclose(result, made[tensor], rtol=1e-10, atol=1e-12)


IN_PARTS = [name for name, steps in KNOWN.items() if len(steps.recurrence.tensors) < len(steps.recurrence.formulas)]


@pytest.mark.parametrize("name", [name for name in KNOWN if name not in IN_PARTS])
def test_known_recurrences(name: str):
    check_steps(KNOWN[name])


@pytest.mark.parametrize("name", IN_PARTS)
def test_recurrences_that_are_written_in_parts_are_refused(name: str):
    with pytest.raises(ArgumentError, match="written in several parts, cannot be written"):
        check_steps(KNOWN[name])


@settings(COUNT, max_examples=12)
@given(recurrences())
def test_any_recurrence(steps: Steps):
    check_steps(steps)
