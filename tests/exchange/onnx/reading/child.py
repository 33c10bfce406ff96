"""Reads the models whose paths are given on the standard input, one a line, in a process of limited memory; for each a
line of JSON: what became of it, the seconds of the processor, and those of the clock."""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from pathlib import Path

from pellucid.errors import PellucidError
from pellucid.exchange.onnx.reading import read

MEMORY = 512 << 20
HUNG = 20  # seconds after which the process ends itself


def main() -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for line in sys.stdin:
        path = line.rstrip("\n")
        signal.alarm(HUNG)
        clock, processor = time.perf_counter(), time.process_time()
        try:
            read(path)
            outcome, message = "read", ""
        except PellucidError as error:
            outcome, message = type(error).__name__, str(error)
        except Exception as error:  # what must not happen; the test says of which file
            outcome, message = f"crash: {type(error).__name__}", str(error)
        spent = time.process_time() - processor, time.perf_counter() - clock
        signal.alarm(0)
        print(json.dumps({"path": path, "outcome": outcome, "message": message, "seconds": spent}), flush=True)


if __name__ == "__main__":
    main()
