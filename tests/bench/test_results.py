"""Tables, files of results, verification, and turns: what no peer is needed for."""

import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pellucid.bench import turns
from pellucid.bench.judge import largest_error
from pellucid.bench.rows import Row, heading, line, summary, timed, write_json
from pellucid.bench.turns import Turns, clock_for, take_turns, worst_contest
from pellucid.errors import VerificationError

TIMED = Row("conv 3x3", "forward", 2, "torch", 0.0015, 0.003, fraction_of_peak=0.871, rate=101.26, best=102, error=5e-7)
BARE = Row("step", "peak warm", 1, None, 177.72, None, unit="MB")


def test_a_line_stands_under_its_heading():
    assert heading(8) == (
        "name     pass           threads        ours    G/s   best of peak peer            theirs  ratio    error"
    )
    assert line(TIMED, 8) == (
        "conv 3x3 forward              2    1.500 ms  101.3  102.0   87.1% torch         3.000 ms   2.00  5.0e-07"
    )
    assert line(BARE, 8) == (
        "step     peak warm            1    177.7 MB      -      -       - -                    -      -        -"
    )


def test_summary_counts_what_has_a_peer():
    twice, eight = TIMED, Row("b", "forward", 1, "torch", 1.0, 8.0)
    assert summary([twice, BARE, eight]) == "geometric mean of 2 ratios 4.00, least 2.00"
    assert summary([BARE]) == ""


def test_json_is_a_list_of_objects(tmp_path: Path):
    write_json([TIMED, BARE], tmp_path / "out.json")
    first, second = json.loads((tmp_path / "out.json").read_text())
    wanted = ["name", "pass", "threads", "peer", "ratio", "fraction_of_peak", "error"]
    assert list(first)[:7] == wanted
    assert [first[key] for key in wanted] == ["conv 3x3", "forward", 2, "torch", 2.0, 0.871, 5e-7]
    assert [second[key] for key in wanted] == ["step", "peak warm", 1, None, None, None, None]
    assert (second["ours"], second["unit"]) == (177.72, "MB")


def test_errors_are_relative_to_the_largest_value_of_each_array():
    expected = {"a": np.array([1.0, -4.0]), "b": np.array([100.0])}
    assert largest_error("it", {"a": np.array([1.0, -3.0]), "b": np.array([101.0])}, expected, 0.5) == 0.25
    beside = {"a": np.array([10.0, 0.0])}
    assert largest_error("it", {"a": np.array([1.0, -3.0]), "b": np.array([100.0])}, expected, 0.5, beside) == 0.1


def test_an_array_that_is_a_little_wrong_everywhere_is_refused():
    right = np.array([100.0, *[1.0] * 9999])
    wrong = right + 0.01  # 1e-4 of the largest value, 0.01 of nearly all, 0.7 % of the root mean square
    assert largest_error("it", {"a": wrong}, {"a": right}, 0.01) == pytest.approx(1e-4)
    with pytest.raises(VerificationError) as caught:
        largest_error("it", {"a": wrong}, {"a": right}, 0.005)
    assert str(caught.value) == ("it is wrong: a differs by 0.0071 of its root mean square; at most 0.005 is allowed")


@pytest.mark.parametrize(
    ("wrong", "by"), [([1.0, -3.0], "0.25"), ([1.0, np.nan], "nan"), ([[1.0, -4.0]], "nan"), ([np.inf, -4.0], "inf")]
)
def test_a_wrong_result_is_refused(wrong: list[float], by: str):
    with pytest.raises(VerificationError) as caught:
        largest_error("dw of it", {"a": np.array(wrong)}, {"a": np.array([1.0, -4.0])}, 1e-4)
    assert str(caught.value) == (
        f"dw of it is wrong: a differs by {by} of its largest value; at most 0.0001 is allowed"
    )


class Clock:
    """A clock that contenders move."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, list[str]()

    def __call__(self) -> float:
        return self.now

    def contender(self, name: str, *seconds: float):
        left = list(seconds)

        def run() -> None:
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


def test_contenders_take_turns_and_the_median_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pellucid.bench.turns.PAUSE", 0)
    clock = Clock()
    ours = clock.contender("ours", 1.0, 1.0, 5.0, 2.0, 3.0)  # the first two runs are not counted
    turns = take_turns({"ours": ours, "peer": clock.contender("peer", 8.0)}, 12.0, lambda _: 6.0, rounds=3, clock=clock)
    assert clock.calls == ["ours", "peer"] * 5
    assert turns.seconds == {"ours": 3.0, "peer": 8.0}
    assert turns.best == 2.0
    assert turns.fraction == pytest.approx(12 / 3 / 6)


def test_short_work_is_repeated_within_a_turn_after_a_run_that_does_not_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pellucid.bench.turns.PAUSE", 0)
    clock = Clock()
    asked = list[float]()
    turns = take_turns(
        {"ours": clock.contender("ours", 0.25)}, 1.0, lambda s: asked.append(s) or 8.0, rounds=1, clock=clock, turn=1.0
    )
    assert len(clock.calls) == 2 + 1 + 4
    assert turns.seconds["ours"] == 0.25
    assert asked == [0.2]  # the limit is measured no longer than that


def test_before_stands_in_front_of_every_single_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pellucid.bench.turns.PAUSE", 0)
    clock = Clock()
    ways = {name: clock.contender(name, 0.001) for name in ("ours", "peer")}
    take_turns(ways, 1.0, lambda _: 1.0, rounds=2, clock=clock, before=lambda: clock.calls.append("-"))
    assert clock.calls[4:] == ["-", "ours", "-", "peer"] * 2


def test_rivals_exist_one_at_a_time_and_the_worst_contest_counts(monkeypatch: pytest.MonkeyPatch):
    made = list[weakref.ref[Any]]()
    seconds = iter([(1.0, 3.0), (1.2, 2.4), (1.0, 4.0)])

    def rival():
        assert not any(other() for other in made)
        found = Clock().contender("peer", 1.0)
        made.append(weakref.ref(found))
        return found

    def take(ways: Any, *_: object, **__: object) -> Turns:
        assert list(ways) == ["ours", "peer"]
        return Turns(dict(zip(ways, next(seconds), strict=True)), best=1.0, fraction=0.5)

    monkeypatch.setattr(turns, "take_turns", take)
    rivals = (rival() for _ in range(3))
    assert worst_contest(lambda: None, rivals, 1.0, 1, rounds=1, turn=1.0).seconds == {"ours": 1.2, "peer": 2.4}


def test_a_contest_without_a_rival(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(turns, "take_turns", lambda ways, *_, **__: Turns(dict.fromkeys(ways, 1.0), 1.0, 0.5))
    assert worst_contest(lambda: None, [None], 1.0, 1, rounds=1, turn=1.0).seconds == {"ours": 1.0}


def test_the_row_of_turns():
    turns = Turns({"ours": 0.5, "peer": 1.0}, best=0.25, fraction=0.75)
    expected = Row("it", "dx", 2, "torch", 0.5, 1.0, fraction_of_peak=0.75, rate=2.0, best=4.0, error=1e-6)
    assert timed("it", "dx", 2, turns, 1e9, peer="torch", theirs=1.0, error=1e-6) == expected


def test_one_thread_is_timed_by_its_own_time():
    assert clock_for(1) is not clock_for(2)
