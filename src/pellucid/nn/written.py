"""A layer as its equations, apart from the class that made them: what a saved model holds of it.

A layer is asked for its equations for batches of several sizes. What is the same for all is kept as it is; a whole
number that grows with the batch as `fixed + each*batch`. Anything else (a text that differs, another kind of growth)
cannot be written down, and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.render import to_text
from pellucid.language.system import System
from pellucid.nn.equations.notation import formula
from pellucid.nn.layer import Mask, Parameter, Place, Reshape, Running, Shape, Stage, Training
from pellucid.nn.symbolic import apply

__all__ = ["WRITTEN_BATCHES", "Form", "Growing", "WrittenLayer", "write_down", "write_stages"]

# Batches for which a layer is asked: the smallest that has statistics, and two more to tell growth from coincidence.
WRITTEN_BATCHES = (2, 3, 5)


@dataclass(frozen=True)
class Growing:
    """The whole number `fixed + each*batch`."""

    fixed: int
    each: int

    def at(self, batch: int) -> int:
        """Its value for a batch of that size."""
        return self.fixed + self.each * batch


Value: TypeAlias = int | float | Growing


@dataclass(frozen=True)
class Form:
    """Equations in order of evaluation, as texts; `shape` is that of the result, without the batch, where they say no
    more than that memory is seen with another shape."""

    equations: tuple[str, ...]
    output: str
    constants: Mapping[str, Value] = field(default_factory=dict[str, Value])
    extents: Mapping[str, Value] = field(default_factory=dict[str, Value])
    shape: Shape | None = None

    def at(self, batch: int) -> System | Reshape:
        """The equations for a batch of that size; EquationError where a text is none."""
        system = System(
            tuple(formula(text) for text in self.equations),
            self.output,
            {name: _at(value, batch) for name, value in self.constants.items()},
            {name: int(_at(value, batch)) for name, value in self.extents.items()},
        )
        return system if self.shape is None else Reshape((batch, *self.shape), system)


@dataclass(frozen=True)
class WrittenLayer:
    """A layer that is its equations, for inputs of `shapes` (without the batch).

    `kind` is what the layer was called, `attributes` how it was written. `running` gives for a parameter the equations
    that replace it in training; `mask` is the local name, shape (without the batch) and rate of a mask of dropout.
    `training` is None where training is no other than inference.
    """

    kind: str
    attributes: str
    shapes: tuple[Shape, ...]
    sources: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    inference: Form
    training: Form | None = None
    running: Mapping[str, Form] = field(default_factory=dict[str, Form])
    mask: tuple[str, Shape, float] | None = None
    states: Mapping[str, str] = field(default_factory=dict[str, str])

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        own = tuple(shape[1:] for shape in shapes)
        if own != self.shapes:
            given, wanted = (", ".join(str(shape) for shape in entry) for entry in (own, self.shapes))
            raise ShapeError(f"the saved layer takes inputs of shape {wanted} behind the batch, not {given}")
        batch = shapes[0][0]
        # Only where training is asked for: a batch may be too small for it.
        training = None if self.training is None else (lambda: self._in_training(batch))
        return Stage(self.inference.at(batch), self.parameters, self.sources, training, self.states)

    __call__ = apply

    def _in_training(self, batch: int) -> Training:
        assert self.training is not None
        running = [(name, form.at(batch)) for name, form in self.running.items()]
        mask = None if self.mask is None else Mask(self.mask[0], (batch, *self.mask[1]), self.mask[2])
        systems = tuple(Running(name, system) for name, system in running if isinstance(system, System))
        return Training(self.training.at(batch), systems, mask)


def write_down(place: Place, shapes: Sequence[Shape]) -> WrittenLayer:
    """The layer of a place whose inputs have these shapes, without the batch.

    Raises ArgumentError where its equations depend on the batch in a way that cannot be written down.
    """
    if isinstance(place.layer, WrittenLayer):
        return place.layer
    stages = [place.layer.stage(*((batch, *shape) for shape in shapes)) for batch in WRITTEN_BATCHES]
    return write_stages(place, repr(place.layer), shapes, stages)


def write_stages(place: Place, attributes: str, shapes: Sequence[Shape], stages: Sequence[Stage]) -> WrittenLayer:
    """The layer that has these stages for inputs of `shapes` in batches of `WRITTEN_BATCHES`; see `write_down`."""
    first = stages[0]
    if any(stage.parameters != first.parameters or stage.sources != first.sources for stage in stages):
        raise _refused(place, "its parameters")
    inference = _form(place, [stage.system for stage in stages])
    trained = [stage.in_training() for stage in stages]
    running = {
        entry.parameter: _form(place, [form.running[number].system for form in trained])
        for number, entry in enumerate(trained[0].running)
    }
    masks = [form.mask for form in trained]
    mask = None
    if masks[0] is not None:
        mask = (masks[0].local, masks[0].shape[1:], masks[0].rate)
        if any(one is None or (one.local, one.shape[1:], one.rate) != mask for one in masks):
            raise _refused(place, "its mask")
    return WrittenLayer(
        kind=place.kind,
        attributes=attributes,
        shapes=tuple(shapes),
        sources=first.sources,
        parameters=first.parameters,
        inference=inference,
        training=None if first.training is None else _form(place, [form.system for form in trained]),
        running=running,
        mask=mask,
        states=first.states,
    )


def _form(place: Place, systems: Sequence[System | Reshape]) -> Form:
    """What the systems for `WRITTEN_BATCHES` have in common."""
    shapes = {one.shape[1:] if isinstance(one, Reshape) else None for one in systems}
    plain = [one.system if isinstance(one, Reshape) else one for one in systems]
    texts = {tuple(to_text(equation) for equation in one.equations) for one in plain}
    if len(shapes) > 1 or len(texts) > 1 or len({one.output for one in plain}) > 1:
        raise _refused(place, "the text of its equations")
    (shape,), (equations,) = shapes, texts
    return Form(
        equations,
        plain[0].output,
        _values(place, [one.constants for one in plain]),
        _values(place, [one.extents for one in plain]),
        shape,
    )


_Number = TypeVar("_Number", int, float, "int | float")


def _values(place: Place, found: Sequence[Mapping[str, _Number]]) -> dict[str, Value]:
    if any(one.keys() != found[0].keys() for one in found):
        raise _refused(place, "the names of its constants")
    values: dict[str, Value] = {}
    for name, value in found[0].items():
        others = [one[name] for one in found]
        if all(other == value for other in others):
            values[name] = value
            continue
        each = others[1] - value
        growing = Growing(int(value - each * WRITTEN_BATCHES[0]), int(each))
        if any(growing.at(batch) != other for batch, other in zip(WRITTEN_BATCHES, others, strict=True)):
            raise _refused(place, f"its constant {name}")
        values[name] = growing
    return values


def _at(value: Value, batch: int) -> int | float:
    return value.at(batch) if isinstance(value, Growing) else value


def _refused(place: Place, what: str) -> ArgumentError:
    return ArgumentError(f"{place.title} cannot be saved as equations: {what} depends on the size of the batch")
