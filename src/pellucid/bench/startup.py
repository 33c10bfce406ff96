"""Seconds from nothing to the first training step, with an empty object cache (cold) and a filled one (warm).

Every run is a process of its own: it imports the package, builds a network, and makes one step on random data. Two
spans are timed, by the clock and in processor time: from the start of `build` to the end of the first `train_step`, and
the same with the import of `pellucid` and the rooms, NumPy's excluded. Python has compiled the modules before, as an
installation does: a run that is not counted does it first.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pellucid.bench.rows import Row

__all__ = ["CASES", "Startup", "heading", "line", "measure", "row"]

# A network, and so few images that the step itself takes little.
CASES: Mapping[str, tuple[str, tuple[int, ...]]] = MappingProxyType(
    {"lenet5": ("nn.lenet5()", (32, 28, 28, 1)), "resnet18": ("nn.resnet()", (2, 32, 32, 3))}
)

_RUN = """
import json, time
import numpy as np
def now(): return np.array([time.perf_counter(), time.process_time()])
start = now()
import pellucid
face = now()
from pellucid import nn, optim
random = np.random.default_rng(0)
x, t = random.normal(size={shape}).astype("float32"), random.integers(0, 10, {shape}[0])
imported = now()
model = {network}.build({shape}[1:], loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(0.1, momentum=0.9))
model.train_step(x, t)
first = now()
model.train_step(x, t)
print(json.dumps([*(first - imported), *(first - start), (face - start)[0], (now() - first)[0]]))
"""


@dataclass(frozen=True)
class Startup:
    """Medians in seconds: `build` and first step (by the clock, and in processor time), the same with the imports, the
    bare import of the package, and a second step, which the first one contains too."""

    name: str
    kind: str
    step: float
    step_processor: float
    whole: float
    whole_processor: float
    face: float
    again: float


def measure(names: Sequence[str], rounds: int) -> Iterator[Startup]:
    """Two lines for every network: cold and warm."""
    with tempfile.TemporaryDirectory() as modules:
        for name in names:
            runs: dict[str, list[list[float]]] = {"cold": [], "warm": []}
            for number in range(rounds + 1):
                with tempfile.TemporaryDirectory() as folder:
                    for found in runs.values():
                        times = _process(*CASES[name], Path(folder) / "cache", modules)
                        if number:
                            found.append(times)
            for kind, found in runs.items():
                yield Startup(name, kind, *(statistics.median(column) for column in zip(*found, strict=True)))


def heading() -> str:
    """The titles of `line`'s columns."""
    return f"{'':16}{'step':>8}{'CPU':>8}{'+import':>9}{'CPU':>8}{'import':>9}{'again':>8}"


def line(found: Startup) -> str:
    """The seconds as a line of the table."""
    return (
        f"{found.name:11}{found.kind:5}{found.step:8.3f}{found.step_processor:8.3f}{found.whole:9.3f}"
        f"{found.whole_processor:8.3f}{found.face:9.4f}{found.again:8.4f}"
    )


def row(found: Startup) -> Row:
    """What goes into a file of results: the span with the imports."""
    return Row(found.name, f"first {found.kind}", 1, None, found.whole, None)


def _process(network: str, shape: tuple[int, ...], cache: Path, modules: str) -> list[float]:
    code = _RUN.format(network=network, shape=shape)
    environment = {**os.environ, "PELLUCID_CACHE": str(cache), "PYTHONPYCACHEPREFIX": modules}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)
