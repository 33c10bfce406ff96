"""`pellucid explain`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import click

from pellucid.cli.group import debug_option, unknown_name
from pellucid.cli.subjects import LAYERS, Cell, LayerOptions, Subject, layer_subject, parse_cell, text_subject
from pellucid.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pellucid.equation import Equation
    from pellucid.language.explain import Explanation

    Arrays = dict[str, NDArray[np.float32]]

__all__ = ["command"]

_MOST_CELLS = 1000


@click.command(
    "explain",
    epilog="""\b
Examples:
  pellucid explain conv2d --input 3x3 --kernel 2x2 --wrt x[1,1]
  pellucid explain conv2d --input 3x3 --kernel 2x2 --wrt x --base 1
  pellucid explain conv2d --input 5x5 --kernel 3x3 --stride 2 --padding 1 --wrt w[0,0] --stages
  pellucid explain max_pool2d --input 4x4 --kernel 2x2 --of z[0,1]
  pellucid explain "z[n] = sum(k) a[n,k] * b[k]" --shape a=2x3 --shape b=3 --wrt b[0] --latex""",
)
@click.argument("subject")
@click.option("--input", "input_shape", metavar="HxW", help="Extents of a layer's input x.  [default: 3 an axis]")
@click.option("--kernel", metavar="HxW", help="Extents of its kernel or window.  [default: 2 an axis]")
@click.option("--stride", metavar="N|HxW", help="Stride.  [default: 1; of a pool, its window]")
@click.option("--padding", metavar="N|HxW|NAME", help="Padding of each side, or valid, same, full.  [default: 0]")
@click.option("--dilation", metavar="N|HxW", help="Dilation.  [default: 1]")
@click.option("--shape", "shapes", multiple=True, metavar="NAME=AxB", help="Shape of an array of a typed equation.")
@click.option("--set", "settings", multiple=True, metavar="NAME=X", help="Constant of a typed equation.")
@click.option(
    "--wrt", multiple=True, metavar="x[1,1]", help="Explain the gradient of this cell; of all for a name alone."
)
@click.option("--of", "outputs", multiple=True, metavar="z[0,0]", help="Explain this cell of the output.")
@click.option("--base", type=click.Choice(["0", "1"]), default="0", show_default=True, help="Where indices begin.")
@click.option("--latex", is_flag=True, help="The equations as LaTeX.")
@click.option(
    "--stages", is_flag=True, help="What the compiler makes of it: solved form, tiles and why, loop nest, code."
)
@debug_option
def command(
    subject: str,
    *,
    input_shape: str | None,
    kernel: str | None,
    stride: str | None,
    padding: str | None,
    dilation: str | None,
    shapes: tuple[str, ...],
    settings: tuple[str, ...],
    wrt: tuple[str, ...],
    outputs: tuple[str, ...],
    base: str,
    latex: bool,
    stages: bool,
) -> None:
    """Show where numbers of a layer, of a gradient or of any equation come from, term by term.

    SUBJECT is a layer (conv1d, conv2d, conv3d, max_pool1d, max_pool2d, avg_pool1d, avg_pool2d; with one image and one
    channel) or an equation. The arrays hold 1, 2, 3, ... in row-major order; g is the gradient that arrives at the
    output. Without --wrt and --of, the equation and all of its gradients are shown.
    """
    layer = LayerOptions(input_shape, kernel, stride, padding, dilation)
    question = _question(_subject(subject, layer, shapes, settings), int(base), latex)
    of_cells = [parse_cell("--of", text) for text in outputs]
    wrt_cells = [parse_cell("--wrt", text) for text in wrt]
    question.show_equation()
    for cell in of_cells:
        question.show_cells("--of", cell)
    if stages and not wrt_cells:
        question.show_stages()
    every = () if of_cells or stages else question.equation.inputs
    for name in dict.fromkeys(cell.tensor for cell in wrt_cells) or every:
        gradient = question.gradient(name)
        click.echo()
        gradient.show_equation()
        for cell in wrt_cells:
            if cell.tensor == name:
                gradient.show_cells("--wrt", Cell(gradient.equation.formula.output.tensor, cell.index))
        if stages:
            gradient.show_stages()


@dataclass(frozen=True)
class _Question:
    """An equation with arrays to evaluate it on, and how to print it."""

    equation: Equation
    arrays: Arrays
    extents: Mapping[str, int]
    base: int
    latex: bool

    def gradient(self, wrt: str) -> _Question:
        """The same question about the gradient with respect to an input; what arrives at the output counts too."""
        upstream = "g" if "g" not in self.equation.inputs else f"g_{self.equation.formula.output.tensor}"
        gradient = self.equation.gradient(wrt, upstream)
        given = {**self.arrays, upstream: _counting(self._output_shape())}
        needed = {name: array for name, array in given.items() if name in gradient.inputs or name == wrt}
        return replace(self, equation=gradient, arrays=needed)

    def show_equation(self) -> None:
        """The equation and its constants."""
        click.echo(self.equation.latex() if self.latex else str(self.equation))
        for name, value in self.equation.constants.items():
            click.echo(f"  {name} = {value}")

    def show_cells(self, option: str, cell: Cell) -> None:
        """The explanation of one cell, or a line for each where no index was given."""
        output = self.equation.formula.output.tensor
        if cell.tensor != output:
            raise ArgumentError(f"`{option}` (={cell.tensor}) must be the output {output}")
        click.echo()
        if cell.index is not None:
            click.echo(str(self._explain(cell.index)))
            return
        indices = product(*(range(self.base, extent + self.base) for extent in self._output_shape()))
        for number, index in enumerate(indices):
            if number == _MOST_CELLS:
                click.echo(f"... the first {_MOST_CELLS} cells")
                return
            click.echo(str(self._explain(index)).partition("\n")[0])

    def show_stages(self) -> None:
        """What each stage of the compiler makes of the equation for these arrays."""
        pieces = self.equation.solved(self.extents, **self.arrays) if self.equation.is_single else ()
        nest = self.equation.loop_nest(self.extents, None, **self.arrays)
        kernel = self.equation.compile(self.extents, **self.arrays)
        if pieces:
            _show_stage("solved", "\n".join(str(piece) for piece in pieces))
        _show_stage("tile and why", "\n\n".join(str(plan) for plan in nest.plans))
        _show_stage("loop nest", str(nest))
        _show_stage("code", f"{kernel.executable.code_size} bytes")

    def _explain(self, index: tuple[int, ...]) -> Explanation:
        return self.equation.explain(index, self.base, self.extents, **self.arrays)

    def _output_shape(self) -> tuple[int, ...]:
        return self.equation.reference(self.extents, **self.arrays).shape


def _subject(name: str, options: LayerOptions, shapes: tuple[str, ...], settings: tuple[str, ...]) -> Subject:
    if "=" in name:
        return text_subject(name, shapes, settings)
    if name not in LAYERS:
        raise ArgumentError(unknown_name("layer", name, tuple(LAYERS)))
    return layer_subject(name, options)


def _question(subject: Subject, base: int, latex: bool) -> _Question:
    """The equation, with an array that counts for every input, in the inputs' order."""
    from pellucid.equation import Equation

    equation = Equation(subject.text, **subject.constants)
    for name in subject.shapes:
        if name not in equation.inputs:
            raise ArgumentError(f"`--shape` (={name}) is no input of the equation; it has {', '.join(equation.inputs)}")
    for name in equation.inputs:
        if name not in subject.shapes:
            raise ArgumentError(
                f"the equation needs `{name}`: --shape {name}=... for an array, --set {name}=... for a number"
            )
    arrays = {name: _counting(subject.shapes[name]) for name in equation.inputs}
    return _Question(equation, arrays, subject.extents, base, latex)


def _counting(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """1, 2, 3, ... in row-major order."""
    import numpy as np

    return np.arange(1, 1 + math.prod(shape), dtype=np.float32).reshape(shape)


def _show_stage(name: str, text: str) -> None:
    click.echo(f"\n{name}\n" + "\n".join(f"  {line}".rstrip() for line in text.splitlines()))
