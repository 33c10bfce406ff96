"""Contenders timed in turns, and what the processor can do at most, measured in the same rounds."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pellucid.emit.peak import measure_copy_bandwidth, measure_peak

__all__ = ["Turns", "bandwidth_limit", "clock_for", "peak_limit", "take_turns", "worst_contest"]

# A contender's turn lasts so long at least: shorter work is repeated within it, after one run that does not count.
TURN = 0.004
# On several threads a turn begins when the workers of the one before have gone to sleep. Those of PyTorch look for work
# for more than 10 ms after a step: six convolutions of ours took 25 ms right behind it, 23 ms after 10 ms, and after 20
# ms or more the 18 ms that they take alone.
PAUSE = 0.03
# The limit is measured for as long as the work took, but no longer.
LONGEST_LIMIT = 0.2


@dataclass(frozen=True)
class Turns:
    """Median seconds of each contender; of the first one also its `best` round and the `fraction` of the limit that it
    reached: the median over the rounds of its rate to the limit's of one round."""

    seconds: Mapping[str, float]
    best: float
    fraction: float


def clock_for(threads: int) -> Callable[[], float]:
    """The thread's own time for one thread, so that other processes do not count; else the clock."""
    return time.thread_time if threads == 1 else time.perf_counter


def take_turns(
    contenders: Mapping[str, Callable[[], object]],
    amount: float,
    limit: Callable[[float], float],
    *,
    rounds: int,
    clock: Callable[[], float],
    turn: float = TURN,
    before: Callable[[], object] | None = None,
) -> Turns:
    """Runs the contenders one after the other in every round; `clock` is one of `clock_for`. With `before`, which is
    called in front of each, a turn is a single run.

    `amount` is the work of the first one in units of `limit`, which gives the most units a second that are possible,
    measured over about the seconds that it is given.
    """
    runs: dict[str, list[float]] = {name: [] for name in contenders}
    fractions = list[float]()
    first = next(iter(contenders))
    for contender in contenders.values():
        contender()
    once = min(_timed(contender, 1, clock) for contender in contenders.values())
    repeat = 1 if before is not None else max(1, int(turn / max(once, 1e-6)))
    for _ in range(rounds):
        for name, contender in contenders.items():
            if clock is not time.thread_time:
                time.sleep(PAUSE)
            if before is not None:
                before()
            elif repeat > 1:
                contender()
            runs[name].append(_timed(contender, repeat, clock))
        own = runs[first][-1]
        fractions.append(amount / own / limit(min(repeat * own, LONGEST_LIMIT)))
    medians = {name: statistics.median(seconds) for name, seconds in runs.items()}
    return Turns(medians, min(runs[first]), statistics.median(fractions))


def worst_contest(
    ours: Callable[[], object],
    rivals: Iterable[Callable[[], object] | None],
    amount: float,
    threads: int,
    *,
    rounds: int,
    turn: float,
) -> Turns:
    """A contest of "ours" with each of the rivals, as "peer", of which one exists at a time: the one that is worst for
    us counts. None is no rival."""
    contests = list[Turns]()
    for rival in rivals:
        ways = {"ours": ours} if rival is None else {"ours": ours, "peer": rival}
        contests.append(
            take_turns(ways, amount, peak_limit(threads), rounds=rounds, clock=clock_for(threads), turn=turn)
        )
        del rival, ways
        gc.collect()
    return min(contests, key=lambda turns: turns.seconds.get("peer", 0.0) / turns.seconds["ours"])


def peak_limit(threads: int) -> Callable[[float], float]:
    """Multiply-adds on registers, two operations each, on so many threads at once."""
    return lambda seconds: _together(threads, lambda: measure_peak("float32", seconds))


def bandwidth_limit(threads: int) -> Callable[[float], float]:
    """Bytes read and written by copies of 64 MiB, on so many threads at once."""
    return lambda _: _together(threads, measure_copy_bandwidth)


def _together(threads: int, measure: Callable[[], float]) -> float:
    if threads == 1:
        return measure()
    with ThreadPoolExecutor(threads) as pool:
        return sum(future.result() for future in [pool.submit(measure) for _ in range(threads)])


def _timed(contender: Callable[[], object], repeat: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeat):
        contender()
    return (clock() - start) / repeat
