"""Processors: what LLVM is told to generate for, and the `Machine` that the scheduler sees."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm

from pellucid.errors import CompileError
from pellucid.schedule.machine import Machine

__all__ = ["Target", "check_runnable", "host_target", "missing_features", "target", "target_machine"]

# Loop strength reduction rewrites the addresses that `loops.py` has already reduced, at five times the compile
# time. The option exists only process-wide; it is set once, when the backend is loaded.
llvm.set_option("pellucid", "-disable-lsr")

_LEVELS = {
    "x86-64-v2": (16, 16, False, ("sse4.2", "ssse3", "popcnt")),
    "x86-64-v3": (32, 16, True, ("avx2", "fma", "bmi2", "f16c", "movbe")),
    "x86-64-v4": (64, 32, True, ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")),
}

# LLVM ends the process when it is given a processor that it does not know; so it is given only these.
_PROCESSORS = {
    **dict.fromkeys(("nehalem", "westmere", "sandybridge", "ivybridge", "btver2"), "x86-64-v2"),
    **dict.fromkeys(("haswell", "broadwell", "skylake", "alderlake", "znver1", "znver2", "znver3"), "x86-64-v3"),
    **dict.fromkeys(
        ("skylake-avx512", "cascadelake", "icelake-server", "sapphirerapids", "znver4", "znver5"), "x86-64-v4"
    ),
}


@dataclass(frozen=True)
class Target:
    """A processor to generate code for.

    `name` is what the user may set (`x86-64-v3`, `znver3`, `aarch64`); `cpu` and `features` are LLVM's names;
    `required` are the features without which the code cannot run.
    """

    name: str
    triple: str
    cpu: str
    features: str
    machine: Machine
    required: tuple[str, ...] = ()

    @property
    def is_x86(self) -> bool:
        """Whether it is a processor of 64-bit x86."""
        return _is_x86(self.triple)

    @property
    def looks_up(self) -> bool:
        """Whether one instruction picks each lane from a register of 16 floats: VPERMPS of AVX-512."""
        return self.is_x86 and self.machine.vector_bytes == 64

    @property
    def convention(self) -> str:
        """LLVM's name of the calling convention that hands over most vectors in registers, both ways."""
        return "x86_regcallcc" if self.is_x86 else "ccc"


def target(name: str | None = None) -> Target:
    """The target called `name`; without a name that of the variable PELLUCID_TARGET, else this processor.

    Names: x86-64-v2, x86-64-v3, x86-64-v4, aarch64, native, or LLVM's name of a processor (`znver4`). Generating for a
    target that this processor is not is allowed; running such code is a CompileError.
    """
    name = name or os.environ.get("PELLUCID_TARGET") or None
    return host_target() if name is None else _named(name)


@cache
def host_target() -> Target:
    """The processor that this process runs on."""
    cpu = llvm.get_host_cpu_name()
    available = _host_features()
    triple = llvm.get_default_triple()
    features = llvm.get_host_cpu_features().flatten()
    if not _is_x86(triple):
        return Target(cpu, triple, cpu, features, _machine(cpu, 16, 32, True))
    level = next((level for level in ("x86-64-v4", "x86-64-v3") if set(_LEVELS[level][3]) <= available), "x86-64-v2")
    width, registers, has_fma, required = _LEVELS[level]
    return Target(cpu, triple, cpu, features, _machine(cpu, width, registers, has_fma), required)


@cache
def target_machine(chosen: Target, optimised: bool = True) -> llvm.TargetMachine:
    """LLVM's code generator for a target; without optimisation it is quick, whatever the size of the code."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()  # for the fences, which are empty assembly
    try:
        backend = llvm.Target.from_triple(chosen.triple)
    except RuntimeError as error:
        raise CompileError(f"target {chosen.name}: {error}") from error
    # Level 1 takes four fifths of the time of levels 2 and 3 and gives code as fast. The small model: objects are
    # complete in themselves, so every address in them is near.
    return backend.create_target_machine(
        cpu=chosen.cpu, features=chosen.features, opt=1 if optimised else 0, reloc="pic", codemodel="small", jit=True
    )


def missing_features(chosen: Target) -> tuple[str, ...]:
    """What this processor lacks to run code for the target; empty where it can."""
    host = host_target()
    if chosen.triple.split("-")[0] != host.triple.split("-")[0]:
        return (chosen.triple.split("-")[0],)
    return tuple(feature for feature in chosen.required if feature not in _host_features())


def check_runnable(chosen: Target) -> None:
    """CompileError where code for the target cannot run on this processor."""
    missing = missing_features(chosen)
    if missing:
        raise CompileError(f"code for {chosen.name} cannot run on this processor, which lacks {', '.join(missing)}")


@cache
def _named(name: str) -> Target:
    host = host_target()
    if name in ("native", "host", host.name):
        return host
    if name == "aarch64":
        return Target(name, "aarch64-unknown-linux-gnu", "generic", "+neon", _machine(name, 16, 32, True))
    triple = host.triple if _is_x86(host.triple) else "x86_64-unknown-linux-gnu"
    if name in _LEVELS:
        width, registers, has_fma, required = _LEVELS[name]
        return Target(name, triple, name, "", _machine(name, width, registers, has_fma), required)
    if name not in _PROCESSORS:
        known = ", ".join((*_LEVELS, *_PROCESSORS, "aarch64", "native"))
        close = difflib.get_close_matches(name, (*_LEVELS, *_PROCESSORS, "aarch64", "native"), 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise CompileError(f"target (={name}) must be one of {known}{hint}")
    width, registers, has_fma, required = _LEVELS[_PROCESSORS[name]]
    return Target(name, triple, name, "", _machine(name, width, registers, has_fma), required)


@cache
def _host_features() -> frozenset[str]:
    llvm.initialize_native_target()
    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


def _is_x86(triple: str) -> bool:
    return triple.startswith(("x86_64", "amd64"))


def _machine(name: str, vector_bytes: int, registers: int, has_fma: bool) -> Machine:
    # Zen 4 halves the rate of 512-bit arithmetic and loads; others of that width issue two. A Zen 5, the only one
    # measured of them, reads more of the second cache meanwhile: with 28 bytes a cycle in place of 20 its tiles are 64
    # lanes wide and most weight gradients 2 to 6 % faster. With 32 bytes tiles of 96 lanes wait for that cache.
    half_rate = vector_bytes == 64 and name == "znver4"
    rate = 1.0 if half_rate else 2.0
    l2_bandwidth = 28.0 if vector_bytes == 64 and not half_rate else Machine.l2_bandwidth
    level1, level2 = _cache_sizes()
    return Machine(
        name=name,
        vector_bytes=vector_bytes,
        registers=registers,
        fma_rate=rate,
        load_rate=rate,
        latency=4,
        l1=level1,
        l2=level2,
        l2_bandwidth=l2_bandwidth,
        has_fma=has_fma,
    )


@cache
def _cache_sizes() -> tuple[int, int]:
    """Bytes of the first (data) and second cache of one core; 32 KiB and 512 KiB where the system does not say."""
    sizes = {1: 32 << 10, 2: 512 << 10}
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            level, kind, size = ((folder / part).read_text().strip() for part in ("level", "type", "size"))
        except OSError:
            continue
        if kind in ("Data", "Unified") and int(level) in sizes and size.endswith("K"):
            sizes[int(level)] = int(size[:-1]) << 10
    return sizes[1], sizes[2]
