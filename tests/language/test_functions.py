"""The table of functions: values and derivatives against PyTorch, and behaviour at the edges."""

from __future__ import annotations

import math

import pytest

from pellucid.language import parse_expression
from pellucid.language.functions import FUNCTIONS
from pellucid.language.scalar_functions import FUNCTIONS as SCALAR_FUNCTIONS
from pellucid.language.scalar_functions import arithmetic, finite_or_limit
from pellucid.language.syntax import Name, walk
from pellucid.language.values import Cells

POINTS = [-30.0, -2.5, -0.75, -1e-3, 1e-3, 0.5, 1.0, 3.25, 30.0]
POSITIVE = {"log", "sqrt"}
ABOVE_MINUS_ONE = {"log1p"}
ELEMENTWISE = [name for name in FUNCTIONS if name not in ("where", "position", "stop")]


def value(text, **names):
    return Cells({}, {}, names).value(parse_expression(text), {}, 0.0)


def in_domain(name, point):
    return not (name in POSITIVE and point <= 0) and not (name in ABOVE_MINUS_ONE and point <= -1)


def torch_function(name):
    torch = pytest.importorskip("torch")
    others = {"max": torch.maximum, "min": torch.minimum, "softplus": lambda a: torch.logaddexp(a, torch.zeros_like(a))}
    return torch, others.get(name) or getattr(torch, name)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_values_and_derivatives_are_those_of_torch(name):
    torch, function = torch_function(name)
    parameters = FUNCTIONS[name].parameters
    for point in (point for point in POINTS if in_domain(name, point)):
        arguments = dict(zip(parameters, (point, 0.25), strict=False))
        tensors = [torch.tensor(argument, dtype=torch.float64, requires_grad=True) for argument in arguments.values()]
        result = function(*tensors)
        assert SCALAR_FUNCTIONS[name](*arguments.values()) == pytest.approx(result.item(), rel=1e-14, abs=1e-300)
        result.backward()
        for derivative, tensor in zip(FUNCTIONS[name].derivatives, tensors, strict=True):
            found = value(derivative, **arguments) if derivative else 0.0
            # Absolute where a derivative is a difference from 1, as that of tanh far out.
            assert found == pytest.approx(tensor.grad.item(), rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_expressions_in_the_parameters(name):
    function = FUNCTIONS[name]
    assert len(function.derivatives) == len(function.parameters)
    for derivative in function.derivatives:
        if derivative and name != "where":
            names = {node.name for node in walk(parse_expression(derivative)) if isinstance(node, Name)}
            assert names <= set(function.parameters)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "erf", "sin", "abs"])
@pytest.mark.parametrize("point", [-1e4, 1e4])
def test_far_out_nothing_overflows(name, point):
    assert math.isfinite(SCALAR_FUNCTIONS[name](point))
    assert math.isfinite(value(FUNCTIONS[name].derivatives[0], a=point))


def test_ties_and_kinks():
    assert [value(text, a=0.0, b=0.0) for text in FUNCTIONS["max"].derivatives] == [0, 1]
    assert [value(text, a=0.0, b=0.0) for text in FUNCTIONS["min"].derivatives] == [0, 1]
    assert value(FUNCTIONS["abs"].derivatives[0], a=0.0) == 0


@pytest.mark.parametrize(
    ("operator", "a", "b", "expected"),
    [
        ("/", 1.0, 0.0, math.inf),
        ("/", -1.0, 0.0, -math.inf),
        ("/", 1.0, -0.0, -math.inf),
        ("**", 10.0, 400.0, math.inf),
        ("**", -10.0, 401.0, -math.inf),
        ("**", -2.0, 3.0, -8.0),
        ("**", 2, 10, 1024),
        ("**", 0.0, -1.0, math.inf),
        ("//", -7, 2, -4),
        ("%", -7, 2, 1),
    ],
)
def test_arithmetic_at_the_edges(operator, a, b, expected):
    assert arithmetic(operator, a, b) == expected


@pytest.mark.parametrize(("operator", "a", "b"), [("/", 0.0, 0.0), ("%", 1.0, 0.0), ("**", -2.0, 0.5)])
def test_arithmetic_without_a_result(operator, a, b):
    assert math.isnan(arithmetic(operator, a, b))


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [("exp", 1e4, math.inf), ("log", 0.0, -math.inf), ("log1p", -1.0, -math.inf), ("floor", -math.inf, -math.inf)],
)
def test_functions_at_the_edges(name, argument, expected):
    assert finite_or_limit(SCALAR_FUNCTIONS[name], argument) == expected


@pytest.mark.parametrize(("name", "argument"), [("log", -1.0), ("sqrt", -1.0), ("sin", math.inf)])
def test_functions_outside_their_domain(name, argument):
    assert math.isnan(finite_or_limit(SCALAR_FUNCTIONS[name], argument))


@pytest.mark.parametrize("name", ["max", "min"])
def test_nan_goes_through_max_and_min(name):
    assert math.isnan(SCALAR_FUNCTIONS[name](math.nan, 1.0))
    assert math.isnan(SCALAR_FUNCTIONS[name](1.0, math.nan))
