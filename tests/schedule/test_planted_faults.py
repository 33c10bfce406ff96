"""Off-by-ones planted into nests that the scheduler made: proof and interpreter must both see every one that exists.

The interpreter decides which plants really leave an array; the proof must refuse exactly those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from pellucid.errors import OutOfBoundsError
from pellucid.language.affine import Affine
from pellucid.language.extents import infer_extents
from pellucid.language.parse import parse
from pellucid.schedule.bounds import prove
from pellucid.schedule.interpret import interpret
from pellucid.schedule.lower import lower
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import (
    Apply,
    Bound,
    For,
    Load,
    Operand,
    Program,
    Statement,
    Store,
    Tensor,
    Tile,
    Update,
    Value,
)

# Few registers, so that tiles are small and loops over tiles remain.
MACHINE = Machine("test", 8, 6, 1.0, 1.0, 3, 32 << 10, 256 << 10)
CONVOLUTION = "z[n,i,j,k] = sum(s,t,c) x[n, i*S+s-P, j*S+t-P, c] * w[s,t,c,k]"


@pytest.fixture(scope="module", params=[(1, 1), (2, 1)], ids=["stride 1", "stride 2"])
def convolution(request) -> Program:
    """3x3, padded, two images of 5x4x1 to 3 channels: borders on every side, and a lane that does not exist."""
    stride, padding = request.param
    formula = parse(CONVOLUTION)
    constants = {"S": stride, "P": padding}
    shapes = {"x": (2, 5, 4, 1), "w": (3, 3, 1, 3)}
    extents = infer_extents(formula, constants, shapes, {})
    tensors = {name: Tensor(name, "float32", shape, "input") for name, shape in shapes.items()}
    tensors["z"] = Tensor("z", "float32", tuple(extents[axis] for axis in formula.free_axes), "output")
    lowered = lower(formula, constants, extents, tensors, MACHINE, "conv")
    return Program((*tensors.values(), *lowered.tensors), lowered.nests)


def leaves(program: Program) -> bool:
    """Whether running the program leaves an array."""
    buffers = {tensor.name: [0.0] * tensor.size for tensor in program.tensors if tensor.role in ("input", "output")}
    try:
        interpret(program, buffers)
    except OutOfBoundsError:
        return True
    return False


def refuses(program: Program) -> bool:
    try:
        prove(program)
    except OutOfBoundsError:
        return True
    return False


def variants(program: Program, change: Callable[[Statement], Iterator[Statement]]) -> Iterator[Program]:
    """The program with one statement changed, for every change that `change` makes to every statement."""

    def inside(body: tuple[Statement, ...]) -> Iterator[tuple[Statement, ...]]:
        for number, statement in enumerate(body):
            before, after = body[:number], body[number + 1 :]
            for changed in change(statement):
                yield (*before, changed, *after)
            if isinstance(statement, For | Tile):
                for inner in inside(statement.body):
                    yield (*before, replace(statement, body=inner), *after)

    for number, nest in enumerate(program.nests):
        for body in inside(nest.body):
            yield replace(
                program, nests=(*program.nests[:number], replace(nest, body=body), *program.nests[number + 1 :])
            )


def wider_loops(statement: Statement) -> Iterator[Statement]:
    """A loop that starts one too early, or ends one too late."""
    if isinstance(statement, For):
        yield replace(statement, low=Bound(tuple((form - divisor, divisor) for form, divisor in statement.low.terms)))
        yield replace(statement, high=Bound(tuple((form + divisor, divisor) for form, divisor in statement.high.terms)))


def shifted(value: Value, dimension: int, by: int) -> Value:
    """The value with one dimension of its first load moved."""
    if isinstance(value, Apply):
        return replace(value, arguments=(shifted(value.arguments[0], dimension, by), *value.arguments[1:]))
    return Load(shifted_operand(value.operand, dimension, by)) if isinstance(value, Load) else value


def shifted_operand(operand: Operand, dimension: int, by: int) -> Operand:
    index = list(operand.index)
    dimension %= len(index)
    index[dimension] = index[dimension] + Affine(by)
    return replace(operand, index=tuple(index))


def moved_accesses(statement: Statement) -> Iterator[Statement]:
    """An access that is one off in one dimension; an update at a point whose neighbour should have been the last."""
    for dimension in range(4):
        for by in (-1, 1):
            if isinstance(statement, Update):
                yield replace(statement, value=shifted(statement.value, dimension, by))
            if isinstance(statement, Tile) and statement.stores:
                first: Store = statement.stores[0]
                moved = replace(first, operand=shifted_operand(first.operand, dimension, by))
                yield replace(statement, stores=(moved, *statement.stores[1:]))


def more_points(statement: Statement) -> Iterator[Statement]:
    """An update at a point beside its border, and a tile of one lane too many."""
    if isinstance(statement, Update) and statement.active and statement.active[0] > 0:
        yield replace(statement, active=(statement.active[0] - 1, *statement.active))
    if isinstance(statement, Tile):
        last = statement.groups[-1]
        yield replace(statement, groups=(*statement.groups[:-1], replace(last, valid=last.valid + 1)))


def test_the_nest_as_it_is(convolution):
    assert not leaves(convolution)
    assert not refuses(convolution)


@pytest.mark.parametrize("change", [wider_loops, moved_accesses, more_points])
def test_every_planted_fault_is_seen(convolution, change):
    planted = list(variants(convolution, change))
    verdicts = [(leaves(program), refuses(program)) for program in planted]
    assert [number for number, (really, refused) in enumerate(verdicts) if really != refused] == []
    # The plants are faults for the most part, or this would test nothing.
    assert sum(really for really, _ in verdicts) > len(verdicts) // 3
