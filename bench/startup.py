"""Seconds from nothing to the first training step, with an empty object cache (cold) and a filled one (warm).

    python bench/startup.py [--rounds 5]

Every run is a process of its own: it imports the package, builds a network, and makes one step on random data. Two
spans are timed, by the clock and in processor time: from the start of `build` to the end of the first `train_step`, and
the same with the import of `pellucid` and the rooms, NumPy's excluded. The table shows medians; the last column is a
second step, which the first one contains too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

# A network, and so few images that the step itself takes little.
NETWORKS = {"lenet5": ("nn.lenet5()", (32, 28, 28, 1)), "resnet 18": ("nn.resnet()", (2, 32, 32, 3))}

RUN = """
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


def measure(network: str, shape: tuple[int, ...], cache: Path) -> list[float]:
    """Seconds of one process: step wall, step CPU, with imports wall, CPU, the bare import, a second step."""
    code = RUN.format(network=network, shape=shape)
    environment = {**os.environ, "PELLUCID_CACHE": str(cache)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def main() -> None:
    """Measures and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{'':16}{'step':>8}{'CPU':>8}{'+import':>9}{'CPU':>8}{'import':>9}{'again':>8}")
    for title, (network, shape) in NETWORKS.items():
        cold: list[list[float]] = []
        warm: list[list[float]] = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                for runs in (cold, warm):
                    runs.append(measure(network, shape, Path(folder) / "cache"))
        for kind, runs in (("cold", cold), ("warm", warm)):
            wall, cpu, all_wall, all_cpu, face, again = (
                statistics.median(column) for column in zip(*runs, strict=True)
            )
            print(f"{title:11}{kind:5}{wall:8.3f}{cpu:8.3f}{all_wall:9.3f}{all_cpu:8.3f}{face:9.4f}{again:8.4f}")


if __name__ == "__main__":
    main()
