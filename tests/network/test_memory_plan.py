"""The memory of whole programs, judged by walking their nests in order; nothing here is taken from the planner.

Memory is a list of spans, each with the temporary that wrote it last. All threads run a nest together and meet only at
its end, so whatever a nest touches must lie apart, and what it reads must have been written in an earlier nest by the
same temporary, or in this one before. Scratch is a thread's own, who runs the statements of a nest in order: what it
reads must have been written by the same buffer, and by no other since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from itertools import pairwise, product

import pytest

from network.steps import NETWORKS, assembled_step
from pellucid.schedule.nest import For, Operand, Program, Store, Tile

SIZES = {"float32": 4, "float64": 8, "int64": 8}


def operands(value: object) -> Iterator[Operand]:
    """Every operand below a value, by walking all fields of all dataclasses."""
    if isinstance(value, Operand):
        yield value
    if is_dataclass(value):
        for field in fields(value):
            yield from operands(getattr(value, field.name))
    elif isinstance(value, tuple):
        for entry in value:
            yield from operands(entry)


def touches(statement: object) -> Iterator[tuple[str, bool]]:
    """The tensors that a statement loads from (False) and stores to (True), in the order of running."""
    if isinstance(statement, tuple):
        for entry in statement:
            yield from touches(entry)
    elif isinstance(statement, Tile):
        yield from touches(statement.body)
        for store in statement.stores:
            yield from stored(store)
    elif hasattr(statement, "body"):
        yield from touches(statement.body)
    else:
        yield from ((operand.tensor, False) for operand in operands(statement))


def stored(store: Store) -> Iterator[tuple[str, bool]]:
    for value in (store.value, store.operand.lookups):
        yield from ((operand.tensor, False) for operand in operands(value))
    yield store.operand.tensor, True


def walked(program: Program) -> list[list[tuple[str, bool]]]:
    """For each nest what it touches, in the order of the first time."""
    return [list(dict.fromkeys(touches(nest.body))) for nest in program.nests]


def faults(program: Program, nests: Sequence[Sequence[tuple[str, bool]]], offsets: Mapping[str, int]) -> list[str]:
    """What is wrong with these places of a program's temporaries, and with the use of its scratch."""
    tensors = {tensor.name: tensor for tensor in program.tensors}
    span = {name: (start, start + tensors[name].size * SIZES[tensors[name].dtype]) for name, start in offsets.items()}
    memory: list[tuple[int, int, str]] = []
    found = []
    for number, nest in enumerate(nests):
        written, seen = set(), set()
        for name, writes in nest:
            role = tensors[name].role
            if role == "scratch":
                if not writes and name not in written:
                    found.append(f"nest {number} reads scratch {name} before it is written")
            elif role == "temporary":
                seen.add(name)
                if not writes and name not in written and (*span[name], name) not in memory:
                    found.append(f"nest {number} reads {name}, which is not, or no more, in memory")
            if writes:
                written.add(name)
        for name in written & span.keys():
            start, end = span[name]
            memory = [entry for entry in memory if entry[1] <= start or end <= entry[0]] + [(start, end, name)]
        ordered = sorted((*span[name], name) for name in seen)
        for (_, end, name), (start, _, other) in pairwise(ordered):
            if start < end:
                found.append(f"nest {number} uses {name} and {other}, which share memory")
    return found


def repeated(statement: object) -> Iterator[tuple[str, bool]]:
    """As `touches`, with every loop run twice; of loops that hold nothing but each other the innermost."""
    if isinstance(statement, tuple):
        for entry in statement:
            yield from repeated(entry)
    elif isinstance(statement, For):
        around = len(statement.body) == 1 and isinstance(statement.body[0], For)
        for _ in range(1 if around else 2):
            yield from repeated(statement.body)
    else:
        yield from touches(statement)


def scratch_faults(program: Program, offsets: Mapping[str, int]) -> list[str]:
    """What a thread reads of its scratch that another buffer has written over."""
    tensors = {tensor.name: tensor for tensor in program.tensors}
    span = {name: (start, start + tensors[name].size * SIZES[tensors[name].dtype]) for name, start in offsets.items()}
    found: dict[str, None] = {}
    for number, nest in enumerate(program.nests):
        memory: list[tuple[int, int, str]] = []
        for name, writes in repeated(nest.body):
            if name not in span:
                continue
            start, end = span[name]
            if writes:
                memory = [entry for entry in memory if entry[1] <= start or end <= entry[0]] + [(start, end, name)]
            elif (start, end, name) not in memory:
                found[f"nest {number} reads scratch {name}, which is not, or no more, in memory"] = None
    return list(found)


@pytest.fixture(scope="module")
def assembled():
    return {(name, batch): assembled_step(name, batch) for name in NETWORKS for batch in (8, 7)}


@pytest.fixture(scope="module")
def steps(assembled):
    return {key: (step.program, walked(step.program), step.arena) for key, step in assembled.items()}


@pytest.mark.parametrize("batch", [8, 7])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_read_finds_what_was_written(steps, name, batch):
    program, nests, arena = steps[name, batch]
    temporaries = [tensor for tensor in program.tensors if tensor.role == "temporary"]
    assert arena.offsets.keys() == {tensor.name for tensor in temporaries}
    assert faults(program, nests, arena.offsets) == []
    assert all(offset % 64 == 0 for offset in arena.offsets.values())
    ends = [arena.offsets[tensor.name] + tensor.size * SIZES[tensor.dtype] for tensor in temporaries]
    assert max(ends) <= arena.size
    # The plan is worth something: memory is used again.
    assert arena.size < sum(tensor.size * SIZES[tensor.dtype] for tensor in temporaries)


def test_the_checker_sees_every_pair_moved_onto_each_other(steps):
    """Any two temporaries of one nest put in one place: a fault, whichever they are."""
    program, nests, arena = steps["lenet5", 8]
    for nest in nests:
        names = sorted({name for name, _ in nest} & arena.offsets.keys())
        for first, second in pairwise(names):
            assert faults(program, nests, {**arena.offsets, second: arena.offsets[first]}) != []


def test_the_checker_sees_what_is_overwritten_while_it_waits(steps):
    """A temporary put where another is that lives on, though no nest uses both."""
    program, nests, arena = steps["lenet5", 8]
    offsets = arena.offsets
    uses = {name: [] for name in offsets}
    for number, nest in enumerate(nests):
        for name in {name for name, _ in nest} & offsets.keys():
            uses[name].append(number)
    waiting = [
        (waits, other)
        for waits, own in uses.items()
        for other, others in uses.items()
        if not set(own) & set(others) and own[0] < others[0] and others[-1] < own[-1]
    ]
    assert len(waiting) > 5
    for waits, other in waiting:
        assert faults(program, nests, {**offsets, other: offsets[waits]}) != []


def test_the_checker_sees_nests_in_another_order(steps):
    program, nests, arena = steps["lenet5", 7]
    seen = 0
    for number in range(len(nests) - 1):
        swapped = [*nests[:number], nests[number + 1], nests[number], *nests[number + 2 :]]
        seen += faults(program, swapped, arena.offsets) != []
    assert seen > len(nests) // 2


def test_scratch_is_used_and_judged(steps):
    program, nests, _ = steps["six convolutions", 8]
    scratch = {tensor.name for tensor in program.tensors if tensor.role == "scratch"}
    assert scratch
    within = [{name for name, _ in nest} & scratch for nest in nests]
    for name in scratch:
        assert sum(name in names for names in within) == 1  # nobody's in another nest


@pytest.mark.parametrize("batch", [8, 7])
@pytest.mark.parametrize("name", NETWORKS)
def test_scratch_is_read_as_it_was_written(assembled, name, batch):
    program, arena = assembled[name, batch].program, assembled[name, batch].scratch
    scratch = {tensor.name: tensor for tensor in program.tensors if tensor.role == "scratch"}
    assert arena.offsets.keys() == scratch.keys()
    assert scratch_faults(program, arena.offsets) == []
    assert all(offset % 64 == 0 for offset in arena.offsets.values())
    sizes = {name: tensor.size * SIZES[tensor.dtype] for name, tensor in scratch.items()}
    assert max(arena.offsets[name] + size for name, size in sizes.items()) <= arena.size


@pytest.mark.parametrize("batch", [8, 7])
def test_scratch_is_used_again_inside_a_round(assembled, batch):
    """All of it is less than what one nest alone touches."""
    step = assembled["six convolutions", batch]
    sizes = {entry.name: entry.size * SIZES[entry.dtype] for entry in step.program.tensors if entry.role == "scratch"}
    touched = [{name for name, _ in touches(nest.body)} & sizes.keys() for nest in step.program.nests]
    assert step.scratch.size < max(sum(sizes[name] for name in names) for names in touched)


@pytest.mark.parametrize(("name", "least"), [(name, 5 if name == "lenet5" else 6) for name in NETWORKS])
def test_the_checker_sees_scratch_that_is_needed_at_once(assembled, name, least):
    """What a loop makes put where something lies that it reads, whichever it is."""
    program, arena = assembled[name, 8].program, assembled[name, 8].scratch
    seen = 0
    for nest in program.nests:
        (loop,) = nest.body if len(nest.body) == 1 else (None,)
        for statement in (entry for entry in getattr(loop, "body", ()) if isinstance(entry, For)):
            names = dict.fromkeys(touches(statement))
            read = {name for name, writes in names if not writes} & arena.offsets.keys()
            made = {name for name, writes in names if writes} & arena.offsets.keys() - read
            for first, second in product(sorted(read), sorted(made)):
                offsets = {**arena.offsets, second: arena.offsets[first]}
                assert scratch_faults(program, offsets) != [], (first, second)
                seen += 1
    assert seen >= least
