"""The plan: every decision about one contraction, with its reason; printable."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pellucid.schedule.contraction import Contraction
from pellucid.schedule.nest import Operand

__all__ = ["Ahead", "Level", "Options", "Panel", "Plan", "near_equal"]


@dataclass(frozen=True)
class Level:
    """One loop level: `axis` in steps of `size`.

    kind: `slab` (a reduction cut for the caches), `loop` (an output axis), `vector` (blocks of lanes), `tile`
    (points in registers), `chain` (a reduction cut for accuracy, innermost).
    """

    axis: str
    kind: str
    size: int


@dataclass(frozen=True)
class Panel:
    """A copy of an operand's tensor with the dimension of `axis` blocked and innermost.

    `depth` levels stand outside the copy; the dimensions whose axes those levels fix are not copied.
    before: w[s, t, c, k]      after: w.panel[k // 16, s, t, c, k % 16]
    """

    operand: Operand
    axis: str
    depth: int


@dataclass(frozen=True)
class Ahead:
    """An operand that is prefetched: half a line ahead, or what is read some `rounds` of `axis` from now; where a panel
    is blocked by that axis, from its next block."""

    operand: Operand
    axis: str | None = None
    rounds: int = 1

    def __str__(self) -> str:
        count = "a round" if self.rounds == 1 else f"{self.rounds} rounds"
        return f"{self.operand.tensor}{f', {count} of {self.axis} ahead' if self.axis else ''}"


@dataclass(frozen=True)
class Options:
    """Decisions taken from outside: by a test, by a measured search, or by a network.

    `outer` is an axis to walk outermost, `group` values a round: the images of a batch. A reduction over it is cut into
    `parts` equal parts, each a result of its own, and a sum over the parts. Where an equation does not have the axis,
    or cannot be walked so, it is scheduled as ever. `chain` is the most terms of a sum that are added up one after the
    other before the result is added to the others; 0 leaves that to the estimate of rounding.

    `steps` is an axis to walk next, in order: the steps of a recurrence. The arrays `made` change in them and are not
    copied in another order. Arrays that `seldom` change get panels outside all loops: then what copies them can run
    when they do.

    An equation may become several contractions: `number` says which of them the choices from `vector` to `unroll` are
    made for, None all of them.
    """

    vector: str | None = None
    tile: tuple[tuple[str, int], ...] | None = None
    block: int | None = None
    panels: bool | None = None
    slabs: tuple[tuple[str, int], ...] | None = None
    order: tuple[str, ...] | None = None
    unroll: int | None = None
    outer: str | None = None
    group: int = 1
    parts: int = 1
    chain: int = 0
    seldom: frozenset[str] = frozenset()
    steps: str | None = None
    made: frozenset[str] = frozenset()
    number: int | None = None

    def of(self, number: int) -> Options:
        """The options for contraction `number`: without the choices that were made for another one."""
        if self.number is None or self.number == number:
            return self
        return replace(self, vector=None, tile=None, block=None, panels=None, slabs=None, order=None, unroll=None)


@dataclass(frozen=True)
class Plan:
    """What was decided. `tile` and `block` are the largest sizes: an axis is cut into pieces as equal as possible."""

    contraction: Contraction
    lanes: int
    vector: str | None
    across: bool
    tile: tuple[tuple[str, int], ...]
    block: int
    levels: tuple[Level, ...]
    reductions: tuple[str, ...]
    panels: tuple[Panel, ...] = ()
    prefetched: tuple[Ahead, ...] = ()
    chains: int = 1
    unroll: int = 1
    cycles: float = 0.0
    outer: int = 0  # how many levels at the start were asked for by `Options.outer`
    reasons: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        levels = ", ".join(f"{level.axis} by {level.size} ({level.kind})" for level in self.levels)
        lines = [
            f"vector  {self.vector or 'none'}{' (reduced across)' if self.across else ''}, {self.lanes} lanes",
            f"tile    {' x '.join(f'{size} {axis}' for axis, size in self.tile) or '1 point'} x {self.block} lanes",
            f"levels  {levels}",
            f"reduce  {', '.join(self.reductions) or 'nothing'}; {self.chains} chain(s)",
            *(
                f"panel   {panel.operand.tensor} by {panel.axis}, inside {panel.depth} level(s)"
                for panel in self.panels
            ),
            *(f"prefetch {ahead}" for ahead in self.prefetched),
            *(f"because {reason}" for reason in self.reasons),
        ]
        return "\n".join(lines)


def near_equal(extent: int, size: int) -> list[tuple[int, int, int]]:
    """`extent` cut into the fewest pieces of at most `size`, as equal as possible: (start, size, count), larger first.

    28 by 6 is 3 pieces of 6 and 2 of 5, rather than 4 of 6 and one of 4: a small last piece hides no latency.
    """
    count = -(-extent // size)
    small, large_count = divmod(extent, count)
    pieces = [(0, small + 1, large_count), (large_count * (small + 1), small, count - large_count)]
    return [piece for piece in pieces if piece[2]]
