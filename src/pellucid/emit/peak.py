"""What this processor can do at most: multiply-adds of one thread, and copying in memory."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

import numpy as np

from pellucid.emit.compile import load_module
from pellucid.emit.entry import ENTRY
from pellucid.emit.ir import BYTES, Code, Register
from pellucid.emit.kinds import KINDS
from pellucid.emit.meeting import meeting
from pellucid.emit.multiply import multiply_add
from pellucid.emit.targets import Target, target
from pellucid.errors import DtypeError
from pellucid.schedule.nest import ELEMENT_BYTES

__all__ = ["measure_copy_bandwidth", "measure_peak"]

_ROUNDS = 200_000
_REPEATS = 15
_COPY_BYTES = 64 << 20


def measure_peak(dtype: str = "float32", seconds: float | None = None) -> float:
    """Floating-point operations a second of one thread; a multiply-add counts as two.

    The best of some runs of about a millisecond each; with `seconds` the mean over about so much of the thread's own
    time, which is what a kernel that runs as long beside it can be held against. `dtype` is float32 or float64, else
    DtypeError.
    """
    if dtype not in ("float32", "float64"):
        raise DtypeError(f"`dtype` (={dtype}) must be float32 or float64")
    chosen = target()
    lanes = chosen.machine.lanes(ELEMENT_BYTES[dtype])
    # Independent sums hide the latency; a register must stay free for the factor.
    sums = min(chosen.machine.registers - 2, 12)
    code = load_module(_independent_sums(KINDS[dtype], lanes, sums, chosen), chosen)
    result = np.zeros(lanes, dtype)
    pointers = (ctypes.c_void_p * 1)(result.ctypes.data)
    operations = 2.0 * lanes * sums * _ROUNDS

    def run() -> None:
        code.entry(ctypes.addressof(pointers), 0, 1, None, None)

    if seconds is None:
        return operations / _best(run)
    run()
    start, runs, spent = time.thread_time(), 0, 0.0
    while spent < seconds:
        run()
        runs, spent = runs + 1, time.thread_time() - start
    return operations * runs / spent


def measure_copy_bandwidth() -> float:
    """Bytes a second that one thread copies in memory, those read and those written both counted.

    Arrays of 64 MiB, larger than the caches; NumPy's copy.
    """
    source = np.ones(_COPY_BYTES // 8)
    copy = np.empty_like(source)
    seconds = _best(lambda: np.copyto(copy, source))
    return 2.0 * source.nbytes / seconds


def _best(call: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls: others on the machine only ever make a call slower."""
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def _independent_sums(kind: str, lanes: int, count: int, chosen: Target) -> str:
    """A module whose entry adds products to `count` registers in a loop, and stores their sum to args[0]."""
    code = Code(kind)
    out = code.instruction("ptr", 1, "load ptr, ptr %args")
    seed = code.splat(code.instruction(kind, 1, f"load {kind}, ptr {out.text}"), lanes)
    before, loop, after = code.block, code.new_block("loop"), code.new_block("after")
    code.branch(loop)
    code.enter(loop)
    phis = [Register(code.name(), kind, lanes) for _ in range(count)]
    counter = Register(code.name(), "i64")
    sums = [multiply_add(code, seed, phi, phi, chosen.machine.has_fma) for phi in phis]
    following = code.binary("add", counter, code.number(1, "i64"))
    for phi, total in zip((*phis, counter), (*sums, following), strict=True):
        start = code.number(0, phi.kind, phi.lanes)
        loop.phis.append(
            f"  {phi.text} = phi {phi.type} [ {start.text}, %{before.label} ], [ {total.text}, %{loop.label} ]"
        )
    code.branch_if(code.compare("icmp slt", following, code.number(_ROUNDS, "i64")), loop, after)
    code.enter(after)
    total = sums[0]
    for other in sums[1:]:
        total = code.binary("fadd", total, other)
    code.line(f"store {total.typed}, ptr {out.text}, align {BYTES[kind]}")
    code.block.end = "  ret void"
    body = "\n".join(block.text() for block in code.blocks)
    parameters = "ptr %args, i64 %thread, i64 %threads, ptr %record, ptr %errors"
    return "\n".join([*sorted(code.declarations), meeting(chosen), f"define void @{ENTRY}({parameters}) {{", body, "}"])
