"""Peak resident memory of a training step, ours and PyTorch's, each in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pellucid.bench.alone import Request, run_alone
from pellucid.bench.peers import load
from pellucid.bench.rows import Row

__all__ = ["CASES", "measure"]

CASES: Mapping[str, tuple[str, int]] = MappingProxyType(
    {"step of conv6 x128": ("conv6", 128), "step of resnet18 x64": ("resnet18", 64)}
)
ROUNDS = 3


def measure(names: Sequence[str], peers: Sequence[str], threads: Sequence[int]) -> Iterator[Row]:
    """Two rows for every case: with the step compiled in the same process (`cold`), and with its code in the cache."""
    if peers:
        load("torch")
    for name in names:
        network, batch = CASES[name]
        for count in threads:
            theirs = run_alone(Request("torch", network, batch, count, ROUNDS)).bytes if peers else None
            with tempfile.TemporaryDirectory() as folder:
                for which in ("peak cold", "peak warm"):
                    ours = run_alone(Request("ours", network, batch, count, ROUNDS), Path(folder) / "cache").bytes
                    peer = "torch" if peers else None
                    yield Row(name, which, count, peer, ours / 1e6, theirs and theirs / 1e6, unit="MB")
