"""The page as Markdown: for each operation its equations, then the gradient of each input, as text and LaTeX."""

from __future__ import annotations

from itertools import product

from pellucid.cli.mathematics.catalogue import Entry, catalogue
from pellucid.cli.mathematics.reverse import Contribution, contributions
from pellucid.cli.mathematics.sources import SOURCES
from pellucid.language.explain import explain
from pellucid.language.extents import output_shape
from pellucid.language.gradient import derive
from pellucid.language.latex import to_latex
from pellucid.language.parse import parse
from pellucid.language.render import to_text

__all__ = ["mathematics_page"]

HEAD = """\
# The mathematics

<!-- Made by `pellucid docs mathematics`: do not edit. The words stand in src/pellucid/cli/mathematics/. -->

Every equation of the package, and the gradient of each of its inputs. Nothing here is typed in: the equations are the
objects that layers and functions are compiled from, the gradients are derived from them by rule
([how](language.md#gradients)), and this page is printed by `pellucid docs mathematics`.

| symbol | meaning | | symbol | meaning |
|---|---|---|---|---|
| `n` | image in the batch | | `x` | a layer's input |
| `i, j, l` | output position | | `w`, `b` | kernel (weights), bias |
| `y, x` as indices | input row, column | | `z` | the result |
| `s, t, r` | position in the kernel or window | | `g` | the gradient that arrives: `g = dL/dz` |
| `c`, `k` | input channel, output channel | | `dx` | the gradient towards `x`: `dL/dx` |
| `u` | group of channels | | `S P D F` | stride, padding, dilation, kernel extent; `H W` behind them name the axis |

Indices start at 0. Reading outside an array gives 0 in a sum and minus infinity in a maximum. Images are
`[n, y, x, c]`, kernels `[s, t, c, k]`. A condition in brackets is 1 where it holds and 0 elsewhere; a condition behind
the colon of a sum selects its terms. Where an operation takes several equations, so does its gradient, from the last
equation to the first: `dtotal` is the gradient that arrives at `total`, and `+=` adds to what is there already.
"""

EXAMPLE_HEAD = """\
## The worked example

A 3x3 input `V`, a 2x2 kernel `K`, stride 1; `G` is the gradient that arrives. Indices are counted from 1, as S2 and S3
print it. The terms are those that `explain(..., base=1)` finds:
"""

SOURCES_HEAD = """\
## What the sources print

The mathematics was taken from five documents, S0 to S4. Where they err or leave a choice:

| source | printed | here |
|---|---|---|"""


def mathematics_page() -> str:
    """The whole page, with a newline at its end."""
    parts = [HEAD]
    for section in catalogue():
        parts.append(f"## {section.title}\n\n{section.text}\n")
        parts.extend(_entry(entry) for entry in section.entries)
    parts.append(f"{EXAMPLE_HEAD}\n{_block('text', _worked_example())}")
    rows = "\n".join(f"| {row.source} | {row.printed} | {row.here} |" for row in SOURCES)
    parts.append(f"{SOURCES_HEAD}\n{rows}\n")
    return "\n".join(parts)


def _entry(entry: Entry) -> str:
    gradients = tuple(contributions(entry.system, entry.held)) if entry.differentiated else ()
    texts = [to_text(formula) for formula in entry.system.equations]
    rows = [f"{to_latex(formula.output)} &= {to_latex(formula.body)}" for formula in entry.system.equations]
    if gradients:
        texts += ["", *(_text(gradient) for gradient in gradients)]
        rows += [_latex(gradient) for gradient in gradients]
    aligned = [r"\begin{aligned}", *(rf"{row} \\" for row in rows[:-1]), rows[-1], r"\end{aligned}"]
    head = f"### {entry.title}\n"
    note = f"\n{entry.note}\n" if entry.note else ""
    return f"{head}{note}\n{_block('text', texts)}\n{_block('math', aligned)}"


def _text(gradient: Contribution) -> str:
    equals = "=" if gradient.first else "+="
    return f"{to_text(gradient.formula.output)} {equals} {to_text(gradient.formula.body)}"


def _latex(gradient: Contribution) -> str:
    equals = "=" if gradient.first else r"\mathrel{+}="
    return f"{to_latex(gradient.formula.output)} &{equals} {to_latex(gradient.formula.body)}"


def _block(kind: str, lines: list[str]) -> str:
    return "\n".join((f"```{kind}", *lines, "```", ""))


def _worked_example() -> list[str]:
    """Every cell of both gradients, by name."""
    formula = parse("Z[i,j] = sum(s,t) V[i+s,j+t] * K[s,t]")
    shapes = {"V": (3, 3), "K": (2, 2), "G": (2, 2)}
    extents = {"i": 2, "j": 2, "s": 2, "t": 2, "y": 3, "x": 3}
    lines: list[str] = []
    for wrt in ("K", "V"):
        gradient = derive(formula, wrt, "G").formula
        lines += [to_text(gradient), ""]
        indices = product(*(range(1, extent + 1) for extent in output_shape(gradient, {}, extents)))
        lines += [str(explain(gradient, index, {}, extents, {}, 1, shapes)) for index in indices]
        lines.append("")
    return lines[:-1]
