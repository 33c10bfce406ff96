"""The page of the mathematics: up to date, complete, and its chains of gradients right."""

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pellucid.cli.group import command_line
from pellucid.cli.mathematics import mathematics_page
from pellucid.cli.mathematics.catalogue import catalogue
from pellucid.cli.mathematics.reverse import contributions
from pellucid.language import infer_extents, to_text
from pellucid.language.circles import parts_of
from pellucid.language.parts import extents_of, inputs_of
from pellucid.language.syntax import Access, Number, walk
from pellucid.language.system import System
from pellucid.nn import equations
from pellucid.reference import evaluate, evaluate_parts

PAGE = Path(__file__).parent.parent.parent / "docs" / "mathematics.md"
ENTRIES = [entry for section in catalogue() for entry in section.entries]


def run(*arguments: str):
    return CliRunner().invoke(command_line, ["docs", *arguments])


def test_the_page_is_what_the_equations_say_now():
    fresh = PAGE.read_text(encoding="utf-8") == mathematics_page()
    assert fresh, "stale; renew it with: pellucid docs mathematics --output docs/mathematics.md"


def test_the_command_prints_and_writes_the_page(tmp_path: Path):
    assert run("mathematics").stdout == mathematics_page()
    result = run("mathematics", "--output", str(tmp_path / "page.md"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == mathematics_page()


def test_an_unknown_page_suggests_the_closest():
    result = run("mathematic")
    assert result.exit_code == 2
    assert result.stderr == "error: unknown page 'mathematic'; did you mean 'mathematics'?\n"


def test_every_equation_of_the_package_is_on_the_page_once():
    shown = [name for entry in ENTRIES for name in entry.functions]
    assert sorted(shown) == sorted(equations.__all__)


def test_constants_stay_symbolic():
    for entry in ENTRIES:
        for formula in entry.system.equations:
            indices = [index for node in walk(formula.body) if isinstance(node, Access) for index in node.indices]
            # A number that stands alone names a cell (the gates of an LSTM).
            moving = [index for index in (*indices, *formula.output.indices) if not isinstance(index, Number)]
            for node in (node for index in moving for node in walk(index)):
                assert not isinstance(node, Number) or node.value == 1, f"{entry.title}: {to_text(formula)}"


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.title for entry in ENTRIES])
def test_every_input_that_is_not_held_has_a_gradient(entry):
    if not entry.differentiated:
        return
    reached = {contribution.wrt for contribution in contributions(entry.system, entry.held)}
    assert set(inputs_of(entry.system.equations, entry.system.constants)) - set(entry.held) <= reached


def chain(system: System, held: tuple[str, ...], arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gradients as the page writes them, evaluated line by line by the reference."""
    values = dict(arrays)
    for formula in system.equations:
        shapes = {name: np.shape(value) for name, value in values.items()}
        extents = infer_extents(formula, system.constants, shapes, system.extents)
        values[formula.output.tensor] = evaluate(formula, system.constants, extents, values)
    shapes = {name: np.shape(value) for name, value in values.items()}
    for contribution in contributions(system, held):
        formula = contribution.formula
        target = formula.output.tensor
        known = {**{name: np.shape(value) for name, value in values.items()}, target: shapes[contribution.wrt]}
        extents = infer_extents(formula, system.constants, known, system.extents)
        found = evaluate(formula, system.constants, extents, values)
        values[target] = found if contribution.first else values[target] + found
    return values


def test_the_chains_of_softmax_and_batch_norm_give_the_gradients():
    random = np.random.default_rng(0)
    x, g = random.normal(size=(5, 4)), random.normal(size=(5, 4))
    values = chain(equations.softmax(x.shape), (), {"x": x, "g": g})
    s = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(values["dx"], s * (g - (g * s).sum(1, keepdims=True)), rtol=1e-12)

    x, g = random.normal(size=(2, 3, 3, 4)), random.normal(size=(2, 3, 3, 4))
    w, b = random.normal(size=4), random.normal(size=4)
    values = chain(equations.batch_norm(x.shape, w.shape, b.shape), (), {"x": x, "w": w, "b": b, "g": g})
    mean, deviation = x.mean((0, 1, 2)), np.sqrt(x.var((0, 1, 2)) + 1e-5)
    normal = (x - mean) / deviation
    # Ioffe and Szegedy's gradient, in the form that later papers print.
    expected = w / deviation * (g - g.mean((0, 1, 2)) - normal * (g * normal).mean((0, 1, 2)))
    np.testing.assert_allclose(values["dx"], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(values["dw"], (g * normal).sum((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(values["db"], g.sum((0, 1, 2)), rtol=1e-12)


@pytest.mark.parametrize("title", ["Simple recurrent network", "LSTM", "GRU"])
def test_the_lines_of_recurrent_networks_give_the_gradients(title: str):
    system = next(entry.system for entry in ENTRIES if entry.title == title)
    parts, lines = parts_of(system.equations), list(contributions(system))
    assert all(line.first for line in lines)
    whole = parts_of((*system.equations, *(line.formula for line in lines)))
    network = equations.Recurrent({"LSTM": "lstm", "GRU": "gru"}.get(title, "tanh"), 3)
    shapes = {"x": (2, 5, 4), "state": (2, 3), "cell": (2, 3), **network.shapes(4)}
    random = np.random.default_rng(0)
    arrays = {name: random.normal(0, 0.7, shapes[name]) for name in inputs_of(parts, system.constants)}
    g = random.normal(size=(2, 5, 3))

    shapes |= extents_of(parts, system.constants, shapes, {}).shapes
    targets = {line.formula.output.tensor: shapes[line.wrt] for line in lines if line.wrt in shapes}

    def computed(parts, **given):
        known = {name: np.shape(array) for name, array in given.items()} | targets
        return evaluate_parts(parts, system.constants, extents_of(parts, system.constants, known, {}), given)

    found = computed(whole, **arrays, g=g)
    for name, array in arrays.items():
        direction = random.normal(size=array.shape)
        ends = [
            np.sum(g * computed(parts, **{**arrays, name: array + step * direction})[system.output])
            for step in (1e-5, -1e-5)
        ]
        assert abs((ends[0] - ends[1]) / 2e-5 - np.sum(found[f"d{name}"] * direction)) < 1e-8, name


# As S2 and S3 print it, but for the order of factors and terms.
PRINTED = """\
dK11 = V11 G11 + V12 G12 + V21 G21 + V22 G22        dK12 = V12 G11 + V13 G12 + V22 G21 + V23 G22
dV11 = K11 G11                                       dV12 = K12 G11 + K11 G12
dV13 = K12 G12                                       dV21 = K21 G11 + K11 G21
dV22 = K22 G11 + K21 G12 + K12 G21 + K11 G22         dV23 = K22 G12 + K12 G22
dV31 = K21 G21      dV32 = K22 G21 + K21 G22         dV33 = K22 G22
"""


def terms(text: str) -> set[frozenset[str]]:
    """`K22 G11 + K21 G12` or `G[1,1]*K[2,2] + G[1,2]*K[2,1]` as a set of products."""
    plain = re.sub(r"\[(\d),(\d)\]", r"\1\2", text).replace("*", " ")
    return {frozenset(term.split()) for term in plain.split(" + ")}


def test_the_worked_example_is_that_of_the_sources():
    page = mathematics_page()
    shown = {
        f"{name}{row}{column}": terms(body)
        for name, row, column, body in re.findall(r"^(d[KV])\[(\d),(\d)\] = (.*)$", page, re.MULTILINE)
    }
    printed = re.findall(r"(d[KV]\d\d) = ((?:\w\d\d(?: \+ | )?)+)", PRINTED)
    assert len(printed) == 11
    assert len(shown) == 4 + 9
    for name, body in printed:
        assert shown[name] == terms(body.strip()), name
