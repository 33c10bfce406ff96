"""A layer that the user writes: its equation, and how its parameters start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.extents import axes, inputs, interval, scalars
from pellucid.language.parse import parse_system
from pellucid.language.parts import extents_of, formulas_of
from pellucid.language.recurrence import parts_of
from pellucid.language.render import to_text
from pellucid.language.syntax import Access, Formula, Name, Reduce, walk
from pellucid.language.system import System
from pellucid.nn.initialisers import Initialiser, initialiser
from pellucid.nn.layer import Parameter, Shape, Stage
from pellucid.nn.symbolic import apply

__all__ = ["EquationLayer"]


@dataclass(frozen=True)
class EquationLayer:
    """One equation, or several in order, a line each; the last one's output is the layer's.

        EquationLayer("z[n,i,j,k] = sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]",
                      extents={"s": 3, "t": 3, "k": 16}, parameters={"w": "he_normal"})

    Tensors that are neither parameters nor made by an equation are the layer's inputs, in order of appearance.
    `extents` gives the axes that no input determines, `constants` numbers (strides, slopes). A parameter's shape
    follows from its indices; it is called in the model as in the equation ("0.w"). For an initialiser, `fan_in` is
    the number of products summed over the parameter's own axes. Raises EquationError where the text is no equation.
    """

    equation: str
    extents: Mapping[str, int] = field(default_factory=dict[str, int])
    parameters: Mapping[str, str | Initialiser] = field(default_factory=dict[str, "str | Initialiser"])
    constants: Mapping[str, int | float] = field(default_factory=dict[str, "int | float"])

    def __post_init__(self) -> None:
        formulas = parse_system(self.equation)
        known = {axis for formula in formulas for axis in axes(formula, self.constants)}
        for name in self.extents:
            if name not in known:
                raise ArgumentError(f"`extents` gives {name!r}, which is no index of {self.equation!r}")
        read = {name for formula in formulas for name in (*inputs(formula), *scalars(formula, self.constants))}
        for name, choice in self.parameters.items():
            initialiser(choice)
            if name not in read:
                raise ArgumentError(f"`parameters` gives {name!r}, which {self.equation!r} does not read")

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        formulas = parse_system(self.equation)
        sources = self._sources(formulas)
        if len(sources) != len(shapes):
            raise ArgumentError(f"the equation reads {', '.join(sources)}; {len(shapes)} inputs are given")
        known = dict(zip(sources, shapes, strict=True))
        found: dict[str, Parameter] = {}
        for part in parts_of(formulas):
            extents = extents_of((part,), self.constants, known, self.extents)
            for formula in formulas_of((part,)):
                for name in (*inputs(formula), *scalars(formula, self.constants)):
                    if name in self.parameters and name not in found:
                        found[name] = self._parameter(name, formula, extents.last)
                        known[name] = found[name].shape
            known |= extents.shapes
        system = System(formulas, formulas[-1].output.tensor, dict(self.constants), dict(self.extents))
        return Stage(system, tuple(found.values()), sources)

    __call__ = apply

    def _sources(self, formulas: Sequence[Formula]) -> tuple[str, ...]:
        made = {formula.output.tensor for formula in formulas}
        read = dict.fromkeys(name for formula in formulas for name in inputs(formula))
        loose = [name for formula in formulas for name in scalars(formula, self.constants)]
        for name in loose:
            if name not in self.parameters and name not in made:
                message = f"`{name}` is neither an index, a constant nor a parameter; give it in `constants`"
                raise ArgumentError(f"{message} or `parameters`")
        return tuple(name for name in read if name not in made and name not in self.parameters)

    def _parameter(self, name: str, formula: Formula, extents: Mapping[str, int]) -> Parameter:
        accesses = [part for part in walk(formula.body) if isinstance(part, Access) and part.tensor == name]
        shape = self._shape(accesses[0], extents) if accesses else ()
        reduced = {axis for part in walk(formula.body) if isinstance(part, Reduce) for axis in part.axes}
        own = {index.name for access in accesses for index in access.indices if isinstance(index, Name)}
        # Axes that the inputs have too as bare indices (channels): what remains of the size goes out of each input.
        shared = {
            index.name
            for part in walk(formula.body)
            if isinstance(part, Access) and part.tensor not in self.parameters
            for index in part.indices
            if isinstance(index, Name)
        }
        fan_in = prod(extents[axis] for axis in own & reduced)
        fan_out = prod(shape) // prod(extents[axis] for axis in own & reduced & shared)
        choice = initialiser(self.parameters[name])
        return Parameter(name, name, shape, choice, max(1, fan_in), max(1, fan_out), decayed=len(shape) > 1)

    def _shape(self, access: Access, extents: Mapping[str, int]) -> Shape:
        shape: list[int] = []
        for index in access.indices:
            span = interval(index, self.constants, extents)
            if span is None or span[0] < 0:
                text = to_text(index)
                raise ShapeError(f"the shape of the parameter {access.tensor} does not follow from its index `{text}`")
            shape.append(span[1] + 1)
        return tuple(shape)
