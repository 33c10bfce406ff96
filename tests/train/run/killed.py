"""Kills trainings with SIGKILL at random moments and goes on with them, again and again; run by `test_resume.py`.

    python killed.py SOURCE RUNS KILLS

The training itself runs in forked children, so that a hundred of them take seconds; prints how many were killed where.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from small import results, resume, save_npz, train


def child(source: Path, runs: Path, name: str) -> None:
    """Trains, or goes on, in a process of its own; never returns."""
    status = 1
    try:
        if (runs / name / "config.toml").exists():
            resume(runs / name)
        else:
            train(source, runs, name)
        status = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    finally:
        os._exit(status)


def started(source: Path, runs: Path, name: str) -> int:
    pid = os.fork()
    if pid == 0:
        child(source, runs, name)
    return pid


def main(source: Path, runs: Path, kills: int) -> None:
    # Drawings would take most of the time, and are files like others.
    sys.modules["matplotlib"] = None  # pyright: ignore[reportArgumentType]
    save_npz(source)
    begin = time.perf_counter()
    train(source, runs, "whole")  # compiles; what is compiled is kept
    begin = time.perf_counter()
    train(source, runs, "again")
    length = time.perf_counter() - begin
    expected = results(runs / "whole")
    assert results(runs / "again") == expected, "two trainings differ"
    draw, killed, where = random.Random(0), 0, Counter[str]()
    number = 0
    while killed < kills:
        number += 1
        name = f"run{number}"
        while True:
            pid = started(source, runs, name)
            time.sleep(draw.uniform(0, 1.2 * length))
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            if os.WIFSIGNALED(status):
                killed += 1
                where[state(runs / name)] += 1
                if killed < kills:
                    continue
                status = os.waitpid(started(source, runs, name), 0)[1]
            assert status == 0, f"{name} ended with status {status}"
            break
        assert results(runs / name) == expected, f"{name} differs"
    print(f"{killed} kills in {number} runs, all with the bits of one uninterrupted: {dict(where)}")


def state(folder: Path) -> str:
    """What the killed process had left."""
    if not (folder / "config.toml").exists():
        return "nothing"
    if any(folder.glob("**/.*.tmp")):
        return "a file half written"
    return "a checkpoint" if (folder / "checkpoint.safetensors").exists() else "settings alone"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
