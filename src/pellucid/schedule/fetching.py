"""What a loop reads in its next round is fetched into the second cache while it multiplies in this one.

    before   for n: V = transform(x[n]);  for b, k: M[b, k] = V[b] * U[b, k];  z[n] = inverse(M)
    after    for n: V = transform(x[n]);  for b, k: fetch a part of x[n + 1]; M[b, k] = V[b] * U[b, k];  z[n] = ...

Products leave half of a processor's loads unused, and what follows them waits for memory: a processor foresees what is
read in order, but not across the end of a page, of a map's rows or of a block of weights. So the lines that a round
reads first, and those of sums that it adds to, are shared out to the register tiles of the round before: a few at a
time, or one in each step of a tile's innermost loop. Of nested loops the innermost that moves an array does it, if
there is time enough in its rounds: what it fetches is not driven out again before it is read.

No result depends on it, and what is fetched need not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from math import prod

from pellucid.language.affine import Affine
from pellucid.schedule.machine import CACHE_LINE, Machine
from pellucid.schedule.nest import (
    ELEMENT_BYTES,
    Fetch,
    For,
    Guard,
    Nest,
    Operand,
    Statement,
    Tensor,
    Tile,
    Update,
    operands,
    statements,
)
from pellucid.schedule.prefetching import multiplies, with_prefetches
from pellucid.schedule.scope import Reach, box_reach, rounds, span

__all__ = ["with_fetches"]

# Cycles that a round multiplies, at least: twice what a line is on its way from memory.
LEAST_CYCLES = 1000
# Lines at a time: so few are worth no loop of their own, and so many at most, as a processor has on their way.
FEW_LINES, MOST_LINES = 4, 20
# How often a line is fetched in all, at most: what outer loops come back to is near, but for the first time. A sum that
# slabs or images add to is far each time: each of these goes through all of it.
MOST_TIMES = 2
# Steps of a loop that what a round reads reaches over, at most: a kernel of 7 rows does over 7. A loop over the rows of
# a kernel itself moves a whole map by one row: little of that is new.
WINDOW = 8


@dataclass(frozen=True)
class _Read:
    """A far operand, the loops around the tile that reads it, and the values that every name inside them takes. Of a
    sum that is added to, the names of the loops whose later rounds do so."""

    operand: Operand
    loops: tuple[For, ...]
    spans: Mapping[str, Reach]
    added_in: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Site:
    """Products in a tile, in the last of the `loops` around them, `outside` of which are around the tile; `work` are
    the multiply-adds of vectors of one round of all."""

    tile: Tile
    loops: tuple[For, ...]
    outside: int
    work: int

    def total(self, depth: int) -> int:
        """The work in one round of its loop at `depth - 1`."""
        return self.work * prod(map(rounds, self.loops[depth:]))

    def place(self, depth: int) -> Statement:
        """What a fetch stands before, or is the beginning of, that is run in every round of the first `depth` loops."""
        return self.tile if depth == self.outside else self.loops[depth - 1]


@dataclass(frozen=True)
class _Row:
    """Rows of `size` elements through which a loop moves in steps: `top` numbers the first that only the next round
    reads. Of each row cells are read from the `first` to the `last`."""

    top: Affine
    step: int
    size: int
    first: int
    last: int


@dataclass
class _Found:
    """What stands in a body: what it reads, where there is time to fetch, and the tensors that are fetched."""

    reads: list[_Read] = field(default_factory=list[_Read])
    sites: list[_Site] = field(default_factory=list[_Site])
    fetched: set[str] = field(default_factory=set[str])

    def add(self, other: _Found) -> None:
        self.reads += other.reads
        self.sites += other.sites
        self.fetched |= other.fetched


@dataclass(frozen=True)
class _Block:
    """What the next round of a loop reads first: so many lines of an array, from element `start` on."""

    tensor: Tensor
    start: Affine
    lines: int


def with_fetches(nests: Iterable[Nest], tensors: Iterable[Tensor], machine: Machine) -> tuple[Nest, ...]:
    """The nests with `Fetch`es where they pay, of arrays that the second cache does not hold beside others, and with
    prefetches of windows."""
    shared = (tensor for tensor in tensors if tensor.role in ("input", "output", "temporary"))
    far = {tensor.name: tensor for tensor in shared if tensor.bytes > machine.l2 // 2}
    if not far:
        return tuple(nests)
    return tuple(with_prefetches(_Fetcher(far, machine).nest(nest), far) for nest in nests)


class _Fetcher:
    """Finds what the loops of one nest fetch: `found`, by the identity of the tile before which it stands, or of the
    loop whose rounds begin with it."""

    def __init__(self, far: Mapping[str, Tensor], machine: Machine) -> None:
        self.far, self.machine = far, machine
        self._lanes = min(machine.lanes(ELEMENT_BYTES[tensor.dtype]) for tensor in far.values())
        self.found: dict[int, list[Fetch]] = {}

    def nest(self, nest: Nest) -> Nest:
        """The nest with all that is fetched in it."""
        self._walk(nest.body, ())
        return replace(nest, body=self._placed(nest.body)) if self.found else nest

    def _placed(self, body: Sequence[Statement]) -> tuple[Statement, ...]:
        result = list[Statement]()
        for statement in body:
            own = self.found.get(id(statement), ())
            match statement:
                case For():
                    result.append(replace(statement, body=(*own, *self._placed(statement.body))))
                case Tile():
                    result += (*own, replace(statement, body=self._placed(statement.body)))
                case _:
                    result.append(statement)
        return tuple(result)

    # ------------------------------------------------------------ from the inside out
    def _walk(self, body: Sequence[Statement], loops: tuple[For, ...]) -> _Found:
        """What a body reads and fetches, and its sites."""
        found = _Found()
        for statement in body:
            if isinstance(statement, For):
                inner = self._walk(statement.body, (*loops, statement))
                if inner.sites:
                    self._fetch((*loops, statement), inner)
                found.add(inner)
            elif isinstance(statement, Tile):
                sites = self._sites(statement, statement.body, loops, len(loops)) if multiplies(statement) else ()
                found.add(_Found(self._reads(statement, loops), list(sites)))
        return found

    def _reads(self, tile: Tile, loops: tuple[For, ...]) -> list[_Read]:
        inner = [statement for statement in statements(tile.body) if isinstance(statement, For)]
        values = [store.value for store in tile.stores]
        values += [statement.value for statement in statements(tile.body) if isinstance(statement, Update)]
        found = dict.fromkeys(operands(*values), frozenset[str]())
        # What adds always, or never, is a piece of a sum that straight-line code makes.
        adding = ((store.operand, store.add.names) for store in tile.stores if store.add is not None)
        found |= {operand: frozenset(names) for operand, names in adding if names}
        spans = {name: (0, count - 1) for name, count in tile.points}
        spans[tile.lane] = tile.groups[0].offset, tile.groups[-1].offset + tile.groups[-1].valid - 1
        for loop in (*loops, *inner):
            low, high = span(loop)
            if low < high:
                spans[loop.variable] = low, high - 1
        return [
            _Read(operand, loops, spans, added_in)
            for operand, added_in in found.items()
            if operand.tensor in self.far and not operand.lookups and operand.prefetch is None
        ]

    def _sites(self, tile: Tile, body: Sequence[Statement], loops: tuple[For, ...], outside: int) -> Iterator[_Site]:
        """The innermost loops of a tile, or what has none inside."""
        inner = [statement for statement in body if isinstance(statement, For)]
        if inner and len(inner) == len(body):
            for loop in inner:
                yield from self._sites(tile, loop.body, (*loops, loop), outside)
        elif work := sum(self._work(statement, tile) for statement in body):
            yield _Site(tile, loops, outside, work)

    def _work(self, statement: Statement, tile: Tile) -> int:
        """The multiply-adds of vectors in a statement of a tile."""
        match statement:
            case For():
                return rounds(statement) * sum(self._work(inner, tile) for inner in statement.body)
            case Update():
                return len(statement.active) * sum(-(-group.width // self._lanes) for group in tile.groups)
            case _:
                return 0

    # ------------------------------------------------------------ one loop
    def _fetch(self, loops: tuple[For, ...], inside: _Found) -> None:
        """Has the innermost of some loops fetch what it can of what is read in it and not fetched yet."""
        depth = len(loops)
        work = sum(site.total(depth) for site in inside.sites)
        # Pieces of one sum go through a part of what others of their round read as well.
        in_sum = loops[-1].variable.endswith(".chain")
        if in_sum or rounds(loops[-1]) < 2 or work < LEAST_CYCLES * self.machine.fma_rate:
            return
        # Rounds of these add to a sum when it is far again; pieces of one, inside of them, come back to it at once.
        around = {loop.variable for loop in loops}
        room = 5 * self.machine.l2 // 8  # two blocks of a quarter each, and what lies between their rows
        for name in dict.fromkeys(read.operand.tensor for read in inside.reads):
            own = [read for read in inside.reads if read.operand.tensor == name]
            blocks = [] if name in inside.fetched else _next_blocks(self.far[name], own, depth)
            lines = sum(block.lines for block in blocks)
            size = lines * CACHE_LINE
            if any(read.added_in for read in own):
                near = not all(read.added_in <= around for read in own)
            else:
                near = size * prod(map(rounds, loops)) > MOST_TIMES * self.far[name].bytes
            if not blocks or near or size > room:
                continue
            most = MOST_LINES // len(blocks)
            shares = [share for block in blocks for share in _shares(block, loops, inside.sites, most)]
            if any(fetch.lines > most for _, fetch in shares):
                continue
            room -= size
            inside.fetched.add(name)
            for statement, fetch in shares:
                self.found.setdefault(id(statement), []).append(fetch)


def _shares(
    block: _Block, loops: tuple[For, ...], sites: Sequence[_Site], most: int
) -> Iterator[tuple[Statement, Fetch]]:
    """Parts of a block for the sites in a loop, each as large as its part of the work, with where it is fetched."""
    depth, done = len(loops), 0
    cells = CACHE_LINE // ELEMENT_BYTES[block.tensor.dtype]
    work = sum(site.total(depth) for site in sites)
    for site in sites:
        own = -(-block.lines * site.total(depth) // work)
        inside = site.loops[depth:]
        # A few lines at a time: where loops outside have that, there; never in more rounds than there are lines.
        counted = len(list(takewhile(lambda loop: loop.step == 1, inside)))
        times = [prod(map(rounds, inside[:number])) for number in range(counted + 1)]
        times = [count for count in times if count <= own]
        deep = next((n for n, count in enumerate(times) if own <= FEW_LINES * count), len(times) - 1)
        lines = at_once = -(-own // times[deep])
        number, first, guards = Affine(), Affine(done * cells), ()
        for loop in inside[:deep]:
            number = number * rounds(loop) + Affine.name(loop.variable) - span(loop)[0]
        statement = site.place(depth + deep)
        if lines > FEW_LINES and deep < len(inside):
            # One in each of the first rounds of the loop inside.
            loop = inside[deep]
            if lines <= rounds(loop) and cells % loop.step == 0:
                statement, at_once, low = site.place(depth + deep + 1), 1, span(loop)[0]
                guards = (Guard(Affine.name(loop.variable), low, low + lines * loop.step),)
                first = first + (Affine.name(loop.variable) - low) * (cells // loop.step)
        start = block.start + number * (lines * cells) + first
        yield statement, Fetch(Operand(block.tensor.name, (block.tensor.size,), (start,), guards), at_once)
        done += lines * times[deep]
        if done >= block.lines:
            break


def _next_blocks(tensor: Tensor, reads: Sequence[_Read], depth: int) -> list[_Block]:
    """What the next round of the loop at `depth - 1` reads that this one has not: rows of the array, or pieces of them;
    nothing where the loop does not move through rows in order."""
    rows = [row for read in reads if (row := _row(read, depth)) is not None]
    kinds = {(row.top - row.top.const, row.step, row.size) for row in rows}
    if len(rows) < len(reads) or len(kinds) != 1:
        return []
    ((form, step, size),) = kinds
    top = form + max(row.top.const for row in rows)
    first, last = min(row.first for row in rows), max(row.last for row in rows)
    element = ELEMENT_BYTES[tensor.dtype]
    if 4 * (last - first + 1) > 3 * size:  # whole rows lie one behind the other
        return [_Block(tensor, top * size, -(-step * size * element // CACHE_LINE))]
    lines = -(-(last - first + 1) * element // CACHE_LINE)
    return [_Block(tensor, (top + number) * size + first, lines) for number in range(step)]


def _row(read: _Read, depth: int) -> _Row | None:
    """How an operand goes through rows in the loop at `depth - 1`: it moves one dimension, at whose cells the later
    dimensions begin; the earlier ones stand still."""
    loop, outer = read.loops[depth - 1], {entry.variable for entry in read.loops[:depth]}
    index, shape = read.operand.index, read.operand.shape
    moved = [d for d, form in enumerate(index) if form.coefficient(loop.variable)]
    step = index[moved[0]].coefficient(loop.variable) * loop.step if len(moved) == 1 else 0
    if step <= 0:
        return None
    top, first, last = Affine(), 0, 0
    for d, (form, extent) in enumerate(zip(index, shape, strict=True)):
        fixed = Affine.of(0, {name: factor for name, factor in form.terms if name in outer})
        inside = form - fixed
        if any(name not in read.spans for name in inside.names):
            return None
        low, high = box_reach(inside, read.spans)
        if d <= moved[0]:
            if high - low >= (WINDOW * step if d == moved[0] else 1):
                return None
            top = top * extent + fixed + high
        else:
            if fixed.terms:
                return None
            low, high = max(low, 0), min(high, extent - 1)
            first, last = first * extent + low, last * extent + high
    return _Row(top + 1, step, prod(shape[moved[0] + 1 :]), first, last)
