"""Recurrences in PyTorch, step by step: an oracle of other make, whose gradients autograd finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import torch

from pellucid.language.syntax import (
    Access,
    Binary,
    Call,
    Compare,
    Formula,
    Logic,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
)
from support.recurrences import Steps

__all__ = ["torch_steps"]

FUNCTIONS: Mapping[str, Any] = {
    **{name: getattr(torch, name) for name in ("tanh", "sigmoid", "sin", "exp", "where")},
    "max": torch.maximum, "stop": torch.Tensor.detach,
}  # fmt: skip
OPERATORS: Mapping[str, Any] = {
    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "//": torch.floor_divide, "%": torch.remainder,
    "<": torch.lt, "<=": torch.le, ">": torch.gt, "==": torch.eq, "and": torch.logical_and,
}  # fmt: skip


def torch_steps(case: Steps, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every tensor that the recurrence makes."""
    recurrence, (extents, shapes) = case.recurrence, case.solved
    known = dict(inputs)
    # The cells of each tensor; a state before the first step stands one cell outside.
    made = {name: dict[tuple[int, ...], torch.Tensor]() for name in recurrence.tensors}
    numbers = {name: torch.tensor(value) for name, value in case.constants.items()}
    count = extents[recurrence.axis]

    def points(axes: Sequence[str]) -> Iterator[dict[str, torch.Tensor]]:
        for point in product(*(range(extents[axis]) for axis in axes)):
            yield {axis: torch.tensor(number) for axis, number in zip(axes, point, strict=True)}

    def write(formula: Formula, scope: Mapping[str, torch.Tensor]) -> None:
        axes = [axis for axis in formula.free_axes if axis in extents and axis not in scope]
        for cell in points(axes):
            here = {**numbers, **scope, **cell}
            place = tuple(int(value(index, here)) for index in formula.output.indices)
            made[formula.output.tensor][place] = value(formula.body, here)

    def value(node: Node, scope: Mapping[str, torch.Tensor], outside: float = 0.0) -> torch.Tensor:
        match node:
            case Number(number):
                return torch.tensor(number)
            case Name(name):
                return scope[name] if name in scope else known[name]
            case Negative(operand):
                return -value(operand, scope, outside)
            case Access(tensor, indices):
                return read(tensor, tuple(int(value(index, scope)) for index in indices), outside)
            case Binary(operator, left, right) | Compare(operator, left, right) | Logic(operator, (left, right)):
                return OPERATORS[operator](value(left, scope, outside), value(right, scope, outside))
            case Call(function, arguments):
                return FUNCTIONS[function](*(value(argument, scope, outside) for argument in arguments))
            case Reduce(operation, axes, conditions, body):
                identity = {"sum": 0.0, "max": -torch.inf, "min": torch.inf}[operation]
                inside = [{**scope, **point} for point in points(axes)]
                there = [here for here in inside if all(value(condition, here) for condition in conditions)]
                return getattr(torch, operation)(torch.stack([value(body, here, identity) for here in there]))
        raise NotImplementedError(node)

    def read(tensor: str, place: tuple[int, ...], outside: float) -> torch.Tensor:
        if tensor in made:
            return made[tensor].get(place, torch.tensor(outside, dtype=torch.float64))
        sizes = zip(place, known[tensor].shape, strict=True)
        inside = all(0 <= index < size for index, size in sizes)
        return known[tensor][place] if inside else torch.tensor(outside, dtype=torch.float64)

    for formula in recurrence.initial:
        write(formula, {})
    for number in range(count):
        step = number if recurrence.step > 0 else count - 1 - number
        for formula in recurrence.formulas:
            write(formula, {recurrence.axis: torch.tensor(step)})

    def whole(tensor: str) -> torch.Tensor:
        shape = shapes[tensor]
        return torch.stack([made[tensor][cell] for cell in product(*map(range, shape))]).reshape(shape)

    return {name: whole(name) for name in recurrence.tensors}
