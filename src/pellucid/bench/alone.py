"""Training steps in a process of their own: seconds of a step, and how far resident memory rises.

`python -m pellucid.bench.alone REQUEST FORM` runs in the fresh process; REQUEST and what it prints are JSON, FORM is
the memory format of PyTorch's tensors.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pellucid.bench.torch_network import FORMATS
from pellucid.errors import ArgumentError

__all__ = ["Alone", "Request", "run_alone"]


@dataclass(frozen=True)
class Request:
    """`who` ("ours" or "torch") makes steps of a network. Not those of `networks.py` by name, where `channels` and
    `size` are given, but six convolutions that begin with so many channels, for images of so many rows and columns."""

    who: str
    network: str
    batch: int
    threads: int = 1
    rounds: int = 5
    channels: int = 0
    size: int = 0


@dataclass(frozen=True)
class Alone:
    """Median seconds of a step, and the bytes between the peak of resident memory and what it was before the model."""

    seconds: float
    bytes: int


def run_alone(request: Request, cache: Path | None = None) -> Alone:
    """What a fresh process measures; compiled code is kept in `cache`, else where it always is. Of PyTorch one process
    for each memory format, and of each figure the smaller one.

    ArgumentError with the process's last line where it fails.
    """
    found = [_run(request, form, cache) for form in (FORMATS if request.who == "torch" else FORMATS[:1])]
    return Alone(min(alone.seconds for alone in found), min(alone.bytes for alone in found))


def _run(request: Request, form: str, cache: Path | None) -> Alone:
    environment = dict(os.environ) if cache is None else {**os.environ, "PELLUCID_CACHE": str(cache)}
    command = [sys.executable, "-m", "pellucid.bench.alone", json.dumps(asdict(request)), form]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise ArgumentError(f"{request.who} with {request.network}, batch {request.batch}, failed: {last}")
    return Alone(**json.loads(finished.stdout))


def resident() -> tuple[int, int]:
    """Bytes of memory that this process has, and the most that it had.

    On Linux the peak is VmHWM: `ru_maxrss` begins with that of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        fields = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())
        return int(fields["VmRSS"].split()[0]) << 10, int(fields["VmHWM"].split()[0]) << 10
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1 << 10)
    return peak, peak


def _measure(request: Request, form: str) -> Alone:
    # Everything that a step needs is loaded before the baseline is taken.
    from pellucid.bench.networks import NETWORKS, Named, batch_for, plain
    from pellucid.bench.peers import set_threads
    from pellucid.bench.step import built, torch_step
    from pellucid.bench.torch_network import TorchNetwork
    from pellucid.bench.turns import clock_for

    named = NETWORKS.get(request.network) or Named(
        lambda: plain(tuple((2, request.channels << stage) for stage in range(3)), 10), (request.size, request.size, 3)
    )
    x, t = batch_for(named, request.batch)
    step: Callable[[], Any]
    if request.who == "ours":
        baseline, _ = resident()
        model = built(named, request.threads, "standard")
        step = lambda: model.train_step(x, t)  # noqa: E731
    else:
        set_threads(["torch"], request.threads)
        parameters = dict(built(named, 1, "direct").parameters)
        baseline, _ = resident()
        step = torch_step(TorchNetwork(named, parameters, form=form), x, t)
    clock, seconds = clock_for(request.threads), list[float]()
    step()
    for _ in range(request.rounds):
        start = clock()
        step()
        seconds.append(clock() - start)
    return Alone(statistics.median(seconds), resident()[1] - baseline)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(_measure(Request(**json.loads(sys.argv[1])), sys.argv[2]))))
