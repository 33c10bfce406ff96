"""Each statement of a nest becomes a function: loops, tiles, and which thread runs what."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import permutations

from pellucid.emit.access import Access, MemoryAccess
from pellucid.emit.checked import CheckedAccess
from pellucid.emit.ir import BYTES, Code, Register
from pellucid.emit.loops import Loops
from pellucid.emit.meeting import LOOPS, PAIR
from pellucid.emit.places import Places
from pellucid.emit.targets import Target
from pellucid.emit.tiles import Tiles
from pellucid.emit.values import Values
from pellucid.schedule.machine import CACHE_LINE
from pellucid.schedule.nest import Fetch, For, Program, Statement, Tile, Update, statements
from pellucid.schedule.rewrite import renamed
from pellucid.schedule.touched import loaded, read_of, stored, touched

__all__ = ["Emitter", "Function"]


@dataclass(frozen=True)
class Function:
    """The function of one statement: its type, parameters and body as text, where it is called NAME, and the tensors
    that its parameters stand for, in order. One that is `free` is a loop whose pieces threads take as they come, and
    gives how many of them this one did, of how many; any other does the part that belongs to a thread's number.

    The text names tensors by their place among the parameters, so that statements which differ only in the tensors
    they work on have one text, and share one function.
    """

    text: str
    tensors: tuple[str, ...]
    declarations: frozenset[str]
    free: bool
    shared: bool  # others wait for what it writes; a thread's own scratch is for itself

    @property
    def result(self) -> str:
        """The type of what it gives."""
        return PAIR if self.free else "void"


class Emitter:
    """Writes the functions of a program of the floating type `floating` (float or double).

    What a network repeats is written once: of statements that are equal but for the names of their tensors, the first.
    """

    def __init__(self, program: Program, floating: str, target: Target, checked: bool) -> None:
        self._program, self._floating, self._target, self._checked = program, floating, target, checked
        self._tensors = {tensor.name: tensor for tensor in program.tensors}
        self._numbers = {tensor.name: place for place, tensor in enumerate(program.tensors)}
        self._known: dict[Hashable, list[Function]] = {}

    def nest(self, number: int) -> list[Function]:
        """A function for every statement of nest `number`, in order."""
        body, functions = self._program.nests[number].body, list[Function]()
        bound = self._bound_to_threads(body)
        for place, statement in enumerate(body):
            free = isinstance(statement, For) and statement.parallel and place not in bound
            free = free and sum(function.free for function in functions) < LOOPS
            functions.append(self._function(statement, number, free))
        return functions

    def _bound_to_threads(self, body: Sequence[Statement]) -> set[int]:
        """The places of statements that rely on a thread's doing the same rounds of two of them."""
        reads, writes = [loaded((statement,)) for statement in body], [stored((statement,)) for statement in body]
        return {
            place
            for reader, writer in permutations(range(len(body)), 2)
            if reads[reader] & writes[writer] and self._relies(body[reader], body[writer])
            for place in (reader, writer)
        }

    def _relies(self, statement: Statement, writer: Statement) -> bool:
        """Whether a statement reads what another writes, but for scratch that every thread fills for itself."""
        own = not _has_parallel_loop(writer)
        return any(not (own and self._tensors[name].role == "scratch") for name in read_of(writer, statement))

    def _function(self, statement: Statement, number: int, free: bool) -> Function:
        names = tuple(dict.fromkeys(operand.tensor for operand in touched((statement,))))
        if self._checked:  # what is reported of an access holds the numbers of its nest and tensor
            return self._written(statement, names, number, free)
        like = renamed(statement, {name: str(place) for place, name in enumerate(names)})
        forms = tuple(replace(self._tensors[name], name="") for name in names)
        # Finding and keeping in one: the hash of a statement is that of all that stands in it.
        known = self._known.setdefault((like, forms, free), [])
        if not known:
            known.append(self._written(statement, names, number, free))
        return replace(known[0], tensors=names)

    def _written(self, statement: Statement, names: tuple[str, ...], number: int, free: bool) -> Function:
        code = Code(self._floating, self._target.convention, self._target.machine.vector_bytes)
        thread, threads = Register("%thread", "i64"), Register("%threads", "i64")
        loops = Loops(code, thread, threads)
        places = Places(code, loops, {name: self._tensors[name] for name in names})
        for place, name in enumerate(names):
            loops.bases[name] = Register(f"%t{place}", "ptr")
            loops.element_bytes[name] = BYTES[places.kinds[name]]
        access: Access = MemoryAccess(code, places)
        if self._checked:
            access = CheckedAccess(code, places, Register("%errors", "ptr"), number, self._numbers)
        writer = _NestWriter(code, places, Tiles(code, loops, access, Values(code, access, self._target)))
        pointers = ("errors", *(f"t{place}" for place in range(len(names))))
        parameters = ", ".join([thread.typed, threads.typed, *(f"ptr %{name}" for name in pointers)])
        if free:
            assert isinstance(statement, For)
            loop, phase = Register("%loop", "ptr"), Register("%phase", "i64")
            done, steps = writer.pieces(statement, [loop, phase])
            self._await_streams(code)
            half = code.instruction("", 1, f"insertvalue {PAIR} poison, {done.typed}, 0")
            both = code.instruction("", 1, f"insertvalue {PAIR} {half.text}, {steps.typed}, 1")
            code.block.end = f"  ret {PAIR} {both.text}"
            head = f'{PAIR} @"NAME"({loop.typed}, {phase.typed}, {parameters})'
        else:
            writer.statements((statement,), parallel=False)
            self._await_streams(code)
            code.block.end = "  ret void"
            head = f'void @"NAME"({parameters})'
        body = "\n".join(block.text() for block in code.blocks)
        shared = any(self._tensors[name].role != "scratch" for name in stored((statement,)))
        return Function(f"{head} #0 {{\n{body}\n}}", names, frozenset(code.declarations), free, shared)

    def _await_streams(self, code: Code) -> None:
        """On x86 stores past the caches keep no order: they are done before others hear of it."""
        if code.streams and self._target.is_x86:
            code.declare("void @llvm.x86.sse.sfence()")
            code.line("call void @llvm.x86.sse.sfence()")


class _NestWriter:
    def __init__(self, code: Code, places: Places, tiles: Tiles) -> None:
        self.code, self.places, self.tiles = code, places, tiles
        self.loops, self.tensors = places.loops, places.tensors

    def statements(self, body: Sequence[Statement], parallel: bool) -> None:
        """Statements in order. What no parallel loop divides is run by thread 0, or, in scratch, by every thread."""
        for statement in body:
            if parallel or _has_parallel_loop(statement) or not self._writes_shared(statement):
                self._statement(statement, parallel)
            elif isinstance(statement, For) and self._writes_scratch(statement):
                self._statement(statement, parallel)  # its statements are told apart one by one
            else:
                first = self.code.compare("icmp eq", self.loops.thread, self.code.number(0, "i64"))
                with self.code.when(first):
                    self._statement(statement, True)

    def pieces(self, loop: For, taken: Sequence[Register]) -> tuple[Register, Register]:
        """A loop whose steps threads take as they come; how many this one did of how many."""
        with self.loops.pieces(loop, taken) as piece:
            if _runs_once(loop):
                self._once(loop, None, parallel=True)
            else:
                self.loops.open(loop, (), piece)
                self._body(loop, None, parallel=True)
                self.loops.close(())
                self.places.loops_changed()
        return piece.done, piece.steps

    def _statement(self, statement: Statement, parallel: bool) -> None:
        if isinstance(statement, For):
            self._loop(statement, None, parallel)
        elif isinstance(statement, Tile):
            self.tiles.write(statement, lambda tile: self._tile_body(tile, tile.body))
        elif isinstance(statement, Fetch):
            self._fetch(statement)
        else:
            raise AssertionError("an Update stands outside a tile")

    def _tile_body(self, tile: Tile, body: Sequence[Statement]) -> None:
        for statement in body:
            if isinstance(statement, Update):
                self.tiles.update(tile, statement)
            elif isinstance(statement, For):
                self._loop(statement, tile, True)
            elif isinstance(statement, Fetch):
                self._fetch(statement)
            else:
                raise AssertionError("a tile stands inside a tile")

    def _fetch(self, fetch: Fetch) -> None:
        """Ask for the lines, where the guards hold."""
        code, operand = self.code, fetch.operand
        const, terms = self.loops.split(operand.address)
        pointer = self.loops.pointer(operand.tensor, terms)
        first = const * BYTES[self.places.kinds[operand.tensor]]
        with ExitStack() as stack:
            for guard in operand.guards:
                index = self.loops.integer(guard.index - guard.low)
                stack.enter_context(
                    code.when(code.compare("icmp ult", index, code.number(guard.high - guard.low, "i64")))
                )
            for line in range(fetch.lines):
                code.prefetch(code.further(pointer, first + line * CACHE_LINE), cache=2)

    def _loop(self, loop: For, tile: Tile | None, parallel: bool) -> None:
        """A loop; one that is known to run never or once becomes nothing or its body."""
        low, high = loop.low.static, loop.high.static
        if not loop.parallel and low is not None and high is not None:
            if low >= high:
                return
            if _runs_once(loop):
                self._once(loop, tile, parallel)
                return
        slots = [] if tile is None else self.tiles.updated_in(tile, loop)
        state = self.tiles.state
        inside = self.loops.open(loop, [state[slot] for slot in slots])
        state.update(zip(slots, inside, strict=True))
        self._body(loop, tile, parallel or loop.parallel)
        after = self.loops.close([state[slot] for slot in slots])
        state.update(zip(slots, after, strict=True))
        self.places.loops_changed()

    def _once(self, loop: For, tile: Tile | None, parallel: bool) -> None:
        """The body of a loop that runs once, whose variable is a number there."""
        assert loop.low.static is not None
        self.loops.fixed[loop.variable] = loop.low.static
        self._body(loop, tile, parallel)
        del self.loops.fixed[loop.variable]
        self.places.loops_changed()

    def _body(self, loop: For, tile: Tile | None, parallel: bool) -> None:
        self.places.loops_changed()
        if tile is None:
            self.statements(loop.body, parallel)
        else:
            self._tile_body(tile, loop.body)

    def _writes_shared(self, statement: Statement) -> bool:
        return any(self.tensors[name].role != "scratch" for name in stored((statement,)))

    def _writes_scratch(self, statement: Statement) -> bool:
        return any(self.tensors[name].role == "scratch" for name in stored((statement,)))


def _runs_once(loop: For) -> bool:
    low, high = loop.low.static, loop.high.static
    return low is not None and high is not None and low < high <= low + loop.step


def _has_parallel_loop(statement: Statement) -> bool:
    return any(isinstance(inner, For) and inner.parallel for inner in statements((statement,)))
