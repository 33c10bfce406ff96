"""`pellucid info`."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pellucid.cli.group import debug_option

if TYPE_CHECKING:
    from pellucid.emit.cache import CacheUse

__all__ = ["command"]


@click.command(
    "info",
    epilog="""\b
Examples:
  pellucid info
  PELLUCID_TARGET=x86-64-v3 pellucid info
  pellucid info --clear-cache""",
)
@click.option("--measure/--no-measure", default=True, help="Measure peak and bandwidth; takes a second or two.")
@click.option("--clear-cache", is_flag=True, help="Remove the compiled code kept on disk.")
@debug_option
def command(*, measure: bool, clear_cache: bool) -> None:
    """Show the processor, the target that code is generated for, what is measured of it, and the cache.

    The peak is that of multiply-adds on one thread, counted as two operations each. PELLUCID_TARGET chooses another
    target, PELLUCID_CACHE another cache folder.
    """
    from pellucid import __version__
    from pellucid.emit import cache, target
    from pellucid.emit.workers import available_cores

    if clear_cache:
        click.echo(f"removed {cache.clear_cache()} entries from {cache.cache_folder()}")
        return
    chosen = target()
    machine = chosen.machine
    rows = [
        ("version", f"pellucid {__version__}, Python {platform.python_version()}"),
        ("libraries", f"NumPy {metadata.version('numpy')}, llvmlite {metadata.version('llvmlite')}"),
        ("processor", f"{_processor_name()}, {available_cores()} cores for this process"),
        ("target", f"{chosen.name} ({chosen.cpu})" if chosen.cpu != chosen.name else chosen.name),
        ("vectors", f"{machine.registers} registers of {machine.vector_bytes} bytes: {machine.lanes(4)} float32"),
        ("caches", f"L1 {machine.l1 // 1024} KiB, L2 {machine.l2 // 1024} KiB"),
        ("object cache", _cache_line(cache.cache_use())),
    ]
    if measure:
        rows += _measurements()
    for name, value in rows:
        click.echo(f"{name:<14}{value}")


def _measurements() -> list[tuple[str, str]]:
    from pellucid.emit.peak import measure_copy_bandwidth, measure_peak

    peaks = ", ".join(f"{measure_peak(dtype) / 1e9:.1f} GFLOP/s {dtype}" for dtype in ("float32", "float64"))
    return [
        ("peak", f"{peaks}, one thread"),
        ("copy", f"{measure_copy_bandwidth() / 1e9:.1f} GB/s read and written, one thread"),
    ]


def _processor_name() -> str:
    """As the system calls it; on Linux /proc knows more than the platform module."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _cache_line(use: CacheUse) -> str:
    if use.refusal:
        return f"not used: {use.refusal}"
    return f"{use.folder}, {use.entries} entries, {use.bytes / 1e6:.1f} MB"
