"""Reads models in a process of limited memory, and runs those for which an input shape is given.

A line of JSON on the standard input is path and shape; for each a line of JSON is printed: what became of it, the
seconds of the processor, and those of the clock.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from pathlib import Path

import numpy as np

from pellucid.errors import PellucidError
from pellucid.exchange.onnx import load
from pellucid.exchange.onnx.reading import read

MEMORY = 512 << 20
HUNG = 20  # seconds after which the process ends itself


def judge(path: str, shape: list[int] | None) -> str:
    """Takes the file as far as it goes; what it was taken for."""
    if shape is None:
        read(path)
        return "read"
    with load(path) as model:
        model.predict(np.zeros(shape, np.float32))
    return "run"


def main() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for line in sys.stdin:
        path, shape = json.loads(line)
        signal.alarm(HUNG)
        clock, processor = time.perf_counter(), time.process_time()
        try:
            outcome, message = judge(path, shape), ""
        except PellucidError as error:
            outcome, message = type(error).__name__, str(error)
        except Exception as error:  # what must not happen; the test says of which file
            outcome, message = f"crash: {type(error).__name__}", str(error)
        spent = time.process_time() - processor, time.perf_counter() - clock
        signal.alarm(0)
        print(json.dumps({"path": path, "outcome": outcome, "message": message, "seconds": spent}), flush=True)


if __name__ == "__main__":
    main()
