"""Passes: nests that walk the same images become one nest that walks them once.

    before   for n (parallel): z[n] = conv(x[n])      | barrier |   for n (parallel): a[n] = relu(z[n])
    after    for n (parallel): z = conv(x[n]);  a[n] = relu(z)

Legal where whatever one member writes and another touches is touched at the round's own image, whichever dimensions of
it count the images. A tensor that is used in one pass alone becomes scratch of one image. Where a member sums over
images in parts, the pass walks the parts, and inside them their images:

    for p (parallel): for m: z = conv(x[B*p + m]);  dw.parts[p] += x[B*p + m] * z
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import accumulate
from math import prod
from operator import mul

from pellucid.language.affine import Affine
from pellucid.schedule.nest import (
    ELEMENT_BYTES,
    Bound,
    Fetch,
    For,
    Nest,
    Operand,
    Statement,
    Tensor,
    Tile,
    Update,
    statements,
)
from pellucid.schedule.rewrite import bind_statements, map_operands, map_stores
from pellucid.schedule.touched import loaded, stored, touched

__all__ = ["form_passes"]

# The variables of a pass: the round, or the part and the image in it.
ROUND, PART, IMAGE = "image", "image.part", "image.in"
# Slots that a nest may overtake: far enough for sums of parts between members, not so far that all weights are
# prepared, and kept, at the beginning.
REACH = 4
# Bytes between lines of memory that share a set of the first cache, and what rows get to lie apart.
WAY, PADDING = 4096, 320
# Rows of a temporary that a tile touches at once, so that they are worth being kept apart: what runs through images one
# after the other is a few parts in a hundred slower for a gap behind each.
TOGETHER = 4


@dataclass(frozen=True)
class _Member:
    """A nest that may share a pass: what one of its rounds does, and the variables and counts of its rounds."""

    nest: Nest
    names: tuple[str, ...]
    counts: tuple[int, ...]
    body: tuple[Statement, ...]

    @property
    def rounds(self) -> int:
        """How many rounds there are in all."""
        return prod(self.counts)

    @cached_property
    def operands(self) -> Mapping[str, Sequence[Operand]]:
        """Every operand that it loads or stores to, by tensor."""
        found: dict[str, list[Operand]] = {}
        for operand in touched(self.body):
            found.setdefault(operand.tensor, []).append(operand)
        return found

    @property
    def images(self) -> int:
        """How many images there are in all."""
        return self.rounds * self.nest.group

    @property
    def has_parts(self) -> bool:
        """Whether it walks parts of the batch, and images inside them."""
        return len(self.counts) == 2


@dataclass
class _Slot:
    """Nests between two barriers: members of one pass, or others that do not wait for each other."""

    members: list[_Member]
    others: list[Nest]
    reads: set[str]
    writes: set[str]


def form_passes(nests: Iterable[Nest], tensors: Mapping[str, Tensor]) -> tuple[list[Nest], list[Tensor]]:
    """The same work in as few passes as neighbouring nests allow, in an order that keeps every dependence, and the
    tensors that became scratch of one image or got other rows."""
    slots = list[_Slot]()
    for nest in nests:
        _place(slots, nest)
    result = list[Nest]()
    for slot in slots:
        result += slot.others
        if slot.members:
            result.append(_joined(slot.members))
    result, scratch = _with_scratch(result, tensors)
    kept = {name: tensor for name, tensor in tensors.items() if name not in {own.name for own in scratch}}
    result, apart = _with_rows_apart(result, kept)
    return result, scratch + apart


# ---------------------------------------------------------------- which nests share a pass
def _place(slots: list[_Slot], nest: Nest) -> None:
    """Into the latest slot that takes it, as long as it waits for none behind that one; else behind all of them.

    A slot of other nests takes what waits for none of them; a pass takes a member that may run with its rounds. What
    is no member is put before a pass rather than behind it, so that the next member still finds the pass.
    """
    member = _member(nest)
    reads, writes = loaded(nest.body), stored(nest.body)
    for place in range(len(slots) - 1, max(-1, len(slots) - 1 - REACH), -1):
        slot = slots[place]
        waits = bool(slot.writes & (reads | writes) or slot.reads & writes)
        if member is not None and slot.members and _may_join(slot, member, reads, writes):
            slot.members.append(member)
        elif member is None and not slot.members and not waits:
            slot.others.append(nest)
        elif not waits:
            continue
        else:
            break
        slot.reads |= reads
        slot.writes |= writes
        return
    own = _Slot([member] if member else [], [] if member else [nest], set(reads), set(writes))
    waits = bool(slots) and bool(slots[-1].writes & (reads | writes) or slots[-1].reads & writes)
    slots.insert(len(slots) if member or waits or not slots else len(slots) - 1, own)


def _member(nest: Nest) -> _Member | None:
    """A nest whose rounds are images; their loops count from 0 in single steps."""
    if not nest.rounds:
        return None
    counts, body = list[int](), nest.body
    for name in nest.rounds:
        loop = body[0]
        assert isinstance(loop, For)
        assert loop.variable == name
        assert loop.high.static is not None
        counts.append(loop.high.static)
        body = loop.body
    return _Member(nest, nest.rounds, tuple(counts), body)


def _may_join(slot: _Slot, member: _Member, reads: set[str], writes: set[str]) -> bool:
    """Whether a member may run round by round with those of a slot."""
    first = slot.members[0]
    if (first.images, first.nest.group) != (member.images, member.nest.group):
        return False
    parts = {entry.counts for entry in (*slot.members, member) if entry.has_parts}
    if len(parts) > 1:
        return False
    shared = (slot.writes & (reads | writes)) | (slot.reads & writes)
    if not shared:
        return True
    every = (*slot.members, member)
    return all(_before_images(every, name) is not None for name in shared)


def _before_images(members: Iterable[_Member], tensor: str) -> int | None:
    """How many cells the dimensions in front of a tensor's images count (1 where images come first), so that every
    operand of the members is a cell of its own round's images; None where there is no such place for all of them."""
    found: set[int] | None = None
    for member in members:
        for operand in member.operands.get(tensor, ()):
            places = _own_rounds(member, operand).keys()
            found = set(places) if found is None else found & places
    return min(found) if found else None


def _own_rounds(member: _Member, operand: Operand) -> Mapping[int, Operand]:
    """The operand as a cell of its round's images alone, by what dimensions in front of these count; none where it may
    be another round's.

    Neighbouring dimensions count the rounds, and their indices are the own round; or they count the images. The nest
    will be proved in bounds in the first round and in the last: what is added to the first image of a round is then
    0 .. group - 1, as long as it does not depend on the round.
    """
    if operand.lookups:
        return {}
    own, found = _own_round(member), dict[int, Operand]()
    for low, before in enumerate(accumulate((1, *operand.shape[:-1]), mul)):
        counts = list(accumulate(operand.shape[low:], mul))
        for group in sorted({1, member.nest.group}):
            if before in found or member.rounds * group not in counts:
                continue
            high = low + counts.index(member.rounds * group) + 1
            inside = _flat(operand.shape[low:high], operand.index[low:high]) - own * group
            if inside == Affine() or (group > 1 and set(inside.names).isdisjoint(member.names)):
                extent, place = ((group,), (inside,)) if group > 1 else ((), ())
                shape = (*operand.shape[:low], *extent, *operand.shape[high:])
                index = (*operand.index[:low], *place, *operand.index[high:])
                found[before] = replace(operand, shape=shape or (1,), index=index or (Affine(),))
    return found


def _own_round(member: _Member) -> Affine:
    total = Affine()
    for name, count in zip(member.names, member.counts, strict=True):
        total = total * count + Affine.name(name)
    return total


# ---------------------------------------------------------------- one nest of many
def _joined(members: list[_Member]) -> Nest:
    if len(members) == 1:
        return members[0].nest
    parted = next((entry for entry in members if entry.has_parts), None)
    body = list[Statement]()
    if parted is None:
        for entry in members:
            body += bind_statements(entry.body, {entry.names[0]: Affine.name(ROUND)})
        loop = For(ROUND, Bound.of(0), Bound.of(members[0].rounds), 1, tuple(body), parallel=True)
        return Nest(members[0].nest.name, (loop,), (ROUND,), members[0].nest.group)
    parts, rounds = parted.counts
    number = Affine.name(PART) * rounds + Affine.name(IMAGE)
    for entry in members:
        if entry.has_parts:
            body += bind_statements(entry.body, {entry.names[0]: Affine.name(PART), entry.names[1]: Affine.name(IMAGE)})
        else:
            body += bind_statements(entry.body, {entry.names[0]: number})
    inner = For(IMAGE, Bound.of(0), Bound.of(rounds), 1, tuple(body))
    loop = For(PART, Bound.of(0), Bound.of(parts), 1, (inner,), parallel=True)
    return Nest(members[0].nest.name, (loop,), (PART, IMAGE), members[0].nest.group)


# ---------------------------------------------------------------- scratch, and rows apart
def _with_scratch(nests: list[Nest], tensors: Mapping[str, Tensor]) -> tuple[list[Nest], list[Tensor]]:
    """Temporaries that live and die inside the rounds of one pass lose their images."""
    users: dict[str, list[int]] = {}
    for number, nest in enumerate(nests):
        for name in {operand.tensor for operand in touched(nest.body)}:
            users.setdefault(name, []).append(number)
    scratch = list[Tensor]()
    result = list(nests)
    for number, nest in enumerate(nests):
        member = _member(nest)
        if member is None:
            continue
        places = {
            name: before
            for name in sorted(stored(nest.body))
            if tensors[name].role == "temporary" and users[name] == [number]
            if tensors[name].size % member.rounds == 0
            if (before := _before_images((member,), name)) is not None
        }
        if places:
            own_round = partial(_own_round_of, member, places)
            shapes = {name: [own_round(operand).shape for operand in member.operands[name]] for name in places}
            sizes = {name: tensors[name].size // member.rounds for name in places}
            homes = {name: _home(shapes[name], tensors[name], sizes[name]) for name in places}
            result[number] = _moved(nest, homes, own_round)
            scratch += [replace(tensors[name], shape=home, role="scratch") for name, home in homes.items()]
    return result, scratch


def _with_rows_apart(nests: list[Nest], tensors: Mapping[str, Tensor]) -> tuple[list[Nest], list[Tensor]]:
    """Temporaries with something behind their rows, where a tile touches several that would meet in one set of the
    first cache."""
    operands: dict[str, list[Operand]] = {}
    for nest in nests:
        for operand in touched(nest.body):
            if operand.tensor in tensors and tensors[operand.tensor].role == "temporary":
                operands.setdefault(operand.tensor, []).append(operand)
    possible = dict[str, tuple[int, ...]]()
    for name, found in operands.items():
        home = _home([operand.shape for operand in found], tensors[name], tensors[name].size)
        if len(home) > 1 and not any(operand.lookups for operand in found):
            possible[name] = home
    together = {
        name
        for nest in nests
        for tile in statements(nest.body)
        if isinstance(tile, Tile)
        for name, count in _rows_together(tile, possible).items()
        if count >= TOGETHER
    }
    homes = {name: home for name, home in possible.items() if name in together}
    moved = [_moved(nest, homes, lambda operand: operand) for nest in nests] if homes else nests
    return moved, [replace(tensors[name], shape=home) for name, home in homes.items()]


def _rows_together(tile: Tile, homes: Mapping[str, tuple[int, ...]]) -> Mapping[str, int]:
    """How many rows of each tensor a tile touches at once."""
    rows: dict[str, set[Affine]] = {}
    for operand in touched((tile,)):
        if operand.tensor in homes:
            cut = _dimensions_of(homes[operand.tensor][0], operand)
            row = _flat(operand.shape[:cut], operand.index[:cut])
            moves = any(name in row.names for name, _ in tile.points)
            found = rows.setdefault(operand.tensor, set())
            for number in range(tile.point_count if moves else 1):
                found.add(row.substitute({name: Affine(value) for name, value in tile.point(number).items()}))
    return {name: len(found) for name, found in rows.items()}


def _own_round_of(member: _Member, places: Mapping[str, int], operand: Operand) -> Operand:
    """The operand as a cell of its round's images, which stand at these `places` of tensors."""
    return _own_rounds(member, operand)[places[operand.tensor]]


def _home(shapes: Iterable[tuple[int, ...]], tensor: Tensor, size: int) -> tuple[int, ...]:
    """The shape of so many elements that are read and written as `shapes`: (elements,), or (rows, elements of a row and
    some more) where rows would lie a multiple of `WAY` bytes apart: walked row by row they would all meet in one set of
    the first cache."""
    element = ELEMENT_BYTES[tensor.dtype]
    common = set.intersection(*(set(accumulate(shape, mul)) for shape in shapes))
    rows = [count for count in common if 1 < count < size and size // count * element % WAY == 0]
    return (max(rows), size // max(rows) + PADDING // element) if rows else (size,)


def _moved(nest: Nest, homes: Mapping[str, tuple[int, ...]], seen: Callable[[Operand], Operand]) -> Nest:
    """The nest with tensors in their homes; `seen` gives the cells of an operand as they are counted there."""

    def operand(old: Operand) -> Operand:
        home = homes.get(old.tensor)
        if home is None:
            lookups = tuple(replace(lookup, operand=operand(lookup.operand)) for lookup in old.lookups)
            return replace(old, lookups=lookups) if lookups else old
        own = seen(old)
        if len(home) == 1:
            return own
        cut = _dimensions_of(home[0], own)
        inside = _flat(own.shape[cut:], own.index[cut:])
        return replace(own, shape=(*own.shape[:cut], home[1]), index=(*own.index[:cut], inside))

    def visit(statement: Statement) -> Statement:
        match statement:
            case For():
                return replace(statement, body=tuple(visit(entry) for entry in statement.body))
            case Tile():
                stores = map_stores(statement.stores, operand)
                return replace(statement, body=tuple(visit(entry) for entry in statement.body), stores=stores)
            case Update():
                return replace(statement, value=map_operands(statement.value, operand))
            case Fetch():
                raise AssertionError("what is fetched is found in passes")

    return replace(nest, body=tuple(visit(statement) for statement in nest.body))


def _dimensions_of(rows: int, operand: Operand) -> int:
    """How many leading dimensions of an operand count its `rows`."""
    return list(accumulate(operand.shape, mul)).index(rows) + 1


def _flat(shape: tuple[int, ...], index: tuple[Affine, ...]) -> Affine:
    """Several indices as one."""
    total = Affine()
    for extent, form in zip(shape, index, strict=True):
        total = total * extent + form
    return total
