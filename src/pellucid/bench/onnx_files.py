"""Networks of ONNX files, run as they are, beside ONNX Runtime."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence

from pellucid.bench.judge import largest_error
from pellucid.bench.onnx_network import onnx_session
from pellucid.bench.rows import Row, timed
from pellucid.bench.topologies import TOPOLOGIES, drawn_topology, input_of
from pellucid.bench.turns import worst_contest
from pellucid.exchange.onnx import load

__all__ = ["CASES", "measure"]

CASES = TOPOLOGIES
# How far a result may be from the peer's; see `infer.py`. These are up to 120 layers deep.
TOLERANCE = 1e-4
# A turn of each contender lasts so long at least, in seconds.
TURN = 0.1


def measure(
    names: Sequence[str], peers: Sequence[str], threads: Sequence[int], rounds: int, accuracies: Sequence[str]
) -> Iterator[Row]:
    """A row for every topology, number of threads and accuracy, for one picture; all outputs are verified before."""
    for name in names:
        file = drawn_topology(name)
        for count in threads:
            for accuracy in accuracies:
                for peer in peers or (None,):
                    yield _contest(name, file, peer, count, accuracy, rounds)
                    gc.collect()


def _contest(name: str, file: bytes, peer: str | None, threads: int, accuracy: str, rounds: int) -> Row:
    port, x = input_of(file)
    model = load(file, threads=threads, accuracy=accuracy)
    outputs = [output.name for output in model.outputs]
    errors = list[float]()

    def rival() -> Callable[[], object]:
        session = onnx_session(file, threads)
        ours = dict(zip(outputs, model.run({port: x}), strict=True))
        theirs = dict(zip(outputs, session.run(outputs, {port: x}), strict=True))
        errors.append(max(largest_error(name, {y: ours[y]}, {y: theirs[y]}, TOLERANCE) for y in outputs))
        return lambda: session.run(None, {port: x})

    work = 2 * model.multiply_adds()
    rivals = (None,) if peer is None else (rival() for _ in range(1))
    turns = worst_contest(lambda: model.run({port: x}), rivals, work, threads, rounds=rounds, turn=TURN)
    error, theirs = max(errors, default=None), turns.seconds.get("peer")
    return timed(name, f"onnx {accuracy}", threads, turns, work, peer=peer, theirs=theirs, error=error)
