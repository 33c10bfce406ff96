"""`pellucid bench`: what can be asked for, and what is said where it cannot be served."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pellucid.bench import kernels, ladder
from pellucid.bench.peers import load
from pellucid.bench.rows import Row
from pellucid.cli.group import command_line
from pellucid.errors import ArgumentError, VerificationError

COMMANDS = ("kernels", "step", "infer", "memory", "startup", "growth", "ladder", "profile")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, ("bench", *arguments))


def test_help_lists_the_commands_in_order():
    text = run("--help").stdout
    places = [text.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert "..." not in text.partition("Commands:")[2].partition("Examples")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: pellucid bench {name}") or "Usage: " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kernel",), "unknown command 'kernel'; did you mean 'kernels'?"),
        (("kernels", "dense 64x2048-20"), "unknown kernel 'dense 64x2048-20'; did you mean 'dense 64x2048-10'?"),
        (("step", "conv6x32"), "unknown step 'conv6x32'; did you mean 'conv6 x32'?"),
        (("infer", "lenet5x32"), "unknown network 'lenet5x32'; did you mean 'lenet5 x32'?"),
        (("memory", "max poll 2"), "unknown case 'max poll 2'; did you mean 'max pool 2'?"),
        (("startup", "resnet19"), "unknown network 'resnet19'; did you mean 'resnet18'?"),
        (("growth", "chanels"), "unknown quantity 'chanels'; did you mean 'channels'?"),
        (("ladder", "v2 vector s"), "unknown rung 'v2 vector s'; did you mean 'v2 vectors'?"),
        (("profile", "lenet"), "unknown network 'lenet'; did you mean 'lenet5'?"),
        (("kernels", "--peers", "torhc"), "unknown peer 'torhc'; did you mean 'torch'?"),
        (("step", "--peers", "jax"), "unknown peer 'jax'; known: torch"),
        (("kernels", "--pass", "dz"), "unknown pass 'dz'; did you mean 'dx'?"),
        (("step", "--accuracy", "fats"), "unknown accuracy 'fats'; did you mean 'fast'?"),
        (("kernels", "--threads", "1,0"), "'0' is no whole number of at least 1"),
        (("kernels", "--threads", ","), "it needs at least one"),
        (
            ("kernels", "--peers", "jax", "--threads", "1,2"),
            "`--threads` must be one number where JAX is a peer: it makes its threads once, at its start",
        ),
        (
            ("kernels", "--plan", "--accuracy", "fast"),
            "`--plan` shows the kernels of accuracy direct; networks show theirs in their summary",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_served_is_said(arguments: tuple[str, ...], message: str):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("arguments", "package", "line"),
    [
        (("kernels", "dense 32"), "torch", "pip install torch==2.13.0"),
        (("kernels", "dense 32", "--peers", "jax"), "jax", "pip install jax"),
        (("step", "lenet5 x32"), "torch", "pip install torch==2.13.0"),
        (("infer", "lenet5 x1"), "onnx", "pip install onnxruntime onnx"),
        (("memory", "conv6"), "torch", "pip install torch==2.13.0"),
        (("growth", "batch", "--peers", "torch"), "torch", "pip install torch==2.13.0"),
        (("growth", "batch", "--plot", "no.svg"), "matplotlib", "pip install matplotlib"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_missing_peer_is_a_line_with_pips(
    arguments: tuple[str, ...], package: str, line: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("os.sched_setaffinity", lambda *_: None, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: `{package}` cannot be imported (")
    assert result.stderr.endswith(f"): {line}\n")
    with pytest.raises(ArgumentError):
        load(package)


def test_results_are_printed_as_they_come_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def rows(names: object, *_: object):
        assert names == ["dense 128x1024-512", "dense 64x2048-10", "dense 32x400-120"]
        yield Row("dense", "dx", 1, "torch", 0.5, 1.0)
        raise VerificationError("dw is wrong")

    monkeypatch.setattr(kernels, "measure", rows)
    result = run("kernels", "dense")
    assert result.exit_code == 2
    assert result.stderr == "error: dw is wrong\n"
    assert "2.00" in result.stdout.splitlines()[1]

    monkeypatch.setattr(ladder, "measure", lambda *_: iter([Row("v1", "forward", 1, None, 0.5, None)]))
    assert run("ladder", "--json", str(tmp_path / "a.json")).exit_code == 0
    assert [entry["name"] for entry in json.loads((tmp_path / "a.json").read_text())] == ["v1"]


def test_the_plan_of_a_kernel():
    result = run("kernels", "dense 32x400", "--plan", "--pass", "forward")
    assert result.exit_code == 0
    assert result.stdout.startswith("dense 32x400-120 forward\nvector  o, ")
