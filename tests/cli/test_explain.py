"""`pellucid explain`: the printed example of the sources, layers, typed equations, stages, and what it refuses."""

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pellucid.cli.group import command_line

WORKED_EXAMPLE = """\
dK[1,1] = V[1,1]*G[1,1] + V[1,2]*G[1,2] + V[2,1]*G[2,1] + V[2,2]*G[2,2]
dK[1,2] = V[1,2]*G[1,1] + V[1,3]*G[1,2] + V[2,2]*G[2,1] + V[2,3]*G[2,2]
dV[1,1] = K[1,1]*G[1,1]
dV[1,2] = K[1,2]*G[1,1] + K[1,1]*G[1,2]
dV[1,3] = K[1,2]*G[1,2]
dV[2,1] = K[2,1]*G[1,1] + K[1,1]*G[2,1]
dV[2,2] = K[2,2]*G[1,1] + K[2,1]*G[1,2] + K[1,2]*G[2,1] + K[1,1]*G[2,2]
dV[2,3] = K[2,2]*G[1,2] + K[1,2]*G[2,2]
dV[3,1] = K[2,1]*G[2,1]
dV[3,2] = K[2,2]*G[2,1] + K[2,1]*G[2,2]
dV[3,3] = K[2,2]*G[2,2]
"""


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, ["explain", *arguments])


def shown(*arguments: str) -> str:
    result = explain(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_worked_example_of_the_sources_line_by_line():
    text = shown("conv2d", "--input", "3x3", "--kernel", "2x2", "--wrt", "w", "--wrt", "x", "--base", "1")
    lines = text.replace("x[", "V[").replace("w[", "K[").replace("g[", "G[").splitlines()
    assert [line for line in WORKED_EXAMPLE.splitlines() if line not in lines] == []
    assert sum(line.startswith(("dK[1", "dK[2", "dV[1", "dV[2", "dV[3")) for line in lines) == 4 + 9


def test_one_cell_with_values_and_their_sum():
    assert shown("conv2d", "--input", "3x3", "--kernel", "2x2", "--wrt", "x[1,1]") == (
        "z[i,j] = sum(s,t) x[i+s,j+t] * w[s,t]\n"
        "\n"
        "dx[y,x] = sum(i,j,s,t : i+s == y, j+t == x) g[i,j] * w[s,t]\n"
        "\n"
        "dx[1,1] = w[1,1]*g[0,0] + w[1,0]*g[0,1] + w[0,1]*g[1,0] + w[0,0]*g[1,1]\n"
        "        = 4*1 + 3*2 + 2*3 + 1*4\n"
        "        = 20\n"
    )


def test_stride_and_padding_enter_the_equation():
    text = shown("conv2d", "--input", "5x5", "--kernel", "3x3", "--stride", "2", "--padding", "1", "--of", "z[0,0]")
    assert text == (
        "z[i,j] = sum(s,t) x[i*S+s-P,j*S+t-P] * w[s,t]\n"
        "  S = 2\n"
        "  P = 1\n"
        "\n"
        "z[0,0] = x[0,0]*w[1,1] + x[0,1]*w[1,2] + x[1,0]*w[2,1] + x[1,1]*w[2,2]\n"
        "       = 1*5 + 2*6 + 6*8 + 7*9\n"
        "       = 128\n"
    )


@pytest.mark.parametrize(
    ("arguments", "rows", "columns"),
    [
        (("--padding", "valid"), 3, 4),
        (("--padding", "same"), 4, 5),
        (("--padding", "full"), 5, 6),
        (("--padding", "1x0"), 5, 4),
        (("--padding", "same", "--stride", "2x1"), 2, 5),
        (("--dilation", "3x1"), 1, 4),
    ],
)
def test_output_extents(arguments: tuple[str, ...], rows: int, columns: int):
    text = shown("conv2d", "--input", "4x5", "--kernel", "2x2", *arguments, "--of", "z")
    cells = [line for line in text.splitlines() if line.startswith("z[") and line[2].isdigit()]
    assert len(cells) == rows * columns
    assert cells[-1].startswith(f"z[{rows - 1},{columns - 1}] = ")


def test_pools():
    text = shown("max_pool2d", "--input", "4x4", "--of", "z[0,1]")
    assert text.endswith(
        "z[0,1] = max(x[0,2], x[0,3], x[1,2], x[1,3])\n       = max(3, 4, 7, 8)\n       = 8, from x[1,3]\n"
    )
    assert "= 3.5\n" in shown("avg_pool2d", "--input", "4x4", "--of", "z[0,0]")  # the mean of 1, 2, 5, 6
    assert shown("max_pool1d", "--input", "6", "--kernel", "3", "--stride", "1", "--of", "z").count("] = max(x") == 4


def test_a_typed_equation():
    text = shown(
        "z[n] = sum(k) a[n,k] * b[k] * h", "--shape", "a=2x3", "--shape", "b=3", "--set", "h=0.5", "--wrt", "b[0]"
    )
    assert text.splitlines()[:2] == ["z[n] = sum(k) a[n,k] * b[k] * h", "  h = 0.5"]
    assert text.endswith("= 4.5\n")  # (1*1 + 2*4) / 2


def test_an_equation_that_has_a_g_of_its_own():
    text = shown("z[n] = g[n] * b", "--shape", "g=2", "--set", "b=3", "--wrt", "g[1]")
    assert "dg[1] = 3*g_z[1]\n      = 3*2\n      = 6\n" in text


def test_without_a_question_every_gradient_is_shown():
    text = shown("conv1d")
    assert "z[i] = sum(s) x[i+s] * w[s]\n" in text
    assert "dx[x] = sum(" in text
    assert "dw[s] = sum(i) g[i] * x[i+s]\n" in text


def test_latex():
    text = shown("conv1d", "--latex", "--wrt", "w[0]")
    assert "z_{i} = \\sum_{s}" in text
    assert "\\mathrm{d}w_{s} = \\sum_{i}" in text


def test_stages_show_all_that_the_compiler_does():
    text = shown("conv2d", "--input", "9x9", "--kernel", "3x3", "--stride", "2", "--wrt", "x[1,1]", "--stages")
    stages = [line for line in text.splitlines() if line in ("solved", "tile and why", "loop nest", "code")]
    assert stages == ["solved", "tile and why", "loop nest", "code"]
    solved = text.partition("\nsolved\n")[2].partition("\n\n")[0].splitlines()
    assert len(solved) == 4  # one piece for every residue of the stride on two axes
    assert int(text.splitlines()[-1].split()[0]) > 0
    assert text.splitlines()[-1].endswith(" bytes")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("conv2",), "unknown layer 'conv2'; did you mean 'conv2d'?"),
        (("conv2d", "--input", "3x0"), "`--input` (=3x0) must be extents of at least 1, such as 5 or 3x3"),
        (("conv2d", "--input", "3x3x3"), "`--input` (=3x3x3) must have 2 extents, or one for all"),
        (
            ("conv2d", "--padding", "some"),
            "`--padding` (=some) must be a number such as 1 or 1x0, or one of valid, same, full",
        ),
        (("conv2d", "--wrt", "x[1"), "`--wrt` (=x[1) must be an array with indices, such as x[1,1], or its name alone"),
        (("conv2d", "--wrt", "y[1,1]"), "`wrt` (='y') must be one of the equation's inputs: x, w"),
        (("conv2d", "--wrt", "x[9,9]"), "`index[0]` (=9) of dx must be from 0 to 2"),
        (("conv2d", "--of", "y[0,0]"), "`--of` (=y) must be the output z"),
        (("z[n] = a[n]",), "the equation needs `a`: --shape a=... for an array, --set a=... for a number"),
        (("z[n] = a[n]", "--shape", "b=3"), "`--shape` (=b) is no input of the equation; it has a"),
        (("z[n] = a[n]", "--shape", "3"), "`--shape` (=3) must be NAME=VALUE"),
        (("z[n] = a[n*S]", "--shape", "a=3", "--set", "S=two"), "`--set` (=two) must be a number"),
    ],
)  # fmt: skip
def test_what_is_refused(arguments: tuple[str, ...], message: str):
    result = explain(*arguments)
    assert result.exit_code == 2
    assert result.stderr == f"error: {message}\n"


def test_an_error_in_an_equation_shows_its_place():
    result = explain("z[n] = sum(k a[n,k]")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: expected `)` after the axes of sum, not `a`\n  z[n] = sum(k a[n,k]\n               ^\n"
    )


def test_values_agree_with_numpy():
    x, w = np.arange(1, 26.0).reshape(5, 5), np.arange(1, 10.0).reshape(3, 3)
    expected = (x[1:4, 2:5] * w).sum()
    text = shown("conv2d", "--input", "5x5", "--kernel", "3x3", "--of", "z[1,2]")
    assert text.splitlines()[-1] == f"       = {expected:.6g}"
