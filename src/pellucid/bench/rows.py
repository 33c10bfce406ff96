"""Results: the lines of a table, and the objects of `--json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pellucid.bench.turns import Turns

__all__ = ["Row", "heading", "line", "summary", "timed", "write_json"]


@dataclass(frozen=True)
class Row:
    """A contest: `ours` and the peer's figure in `unit` ("s", or "MB"), both the smaller the better.

    `ratio` is the peer's over ours. `fraction_of_peak` is of the multiply-adds or the bandwidth measured in the same
    run; `rate` is what ours reached, in 1e9 operations or bytes a second, `best` that of its fastest round. `error`
    is the largest difference from the peer over the largest value. None is what was not measured.
    """

    name: str
    which: str
    threads: int
    peer: str | None
    ours: float
    theirs: float | None
    unit: str = "s"
    fraction_of_peak: float | None = None
    rate: float | None = None
    best: float | None = None
    error: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times ours goes into the peer's."""
        return None if self.theirs is None else self.theirs / self.ours


def timed(
    name: str,
    which: str,
    threads: int,
    turns: Turns,
    work: float,
    *,
    peer: str | None = None,
    theirs: float | None = None,
    error: float | None = None,
) -> Row:
    """The row of a contest in turns; `work` is what ours did in each run, in operations or bytes."""
    ours = turns.seconds["ours"]
    return Row(
        name, which, threads, peer, ours, theirs,
        fraction_of_peak=turns.fraction, rate=work / ours / 1e9, best=work / turns.best / 1e9, error=error,
    )  # fmt: skip


def heading(width: int) -> str:
    """The titles of `line`'s columns."""
    return (
        f"{'name':{width}s} {'pass':14s} {'threads':>7s} {'ours':>11s} {'G/s':>6s} {'best':>6s} {'of peak':>7s} "
        f"{'peer':11s}{'theirs':>11s} {'ratio':>6s} {'error':>8s}"
    )


def line(row: Row, width: int) -> str:
    """A row of the table: seconds as ms, a dash for what was not measured."""
    scale, unit = (1e3, "ms") if row.unit == "s" else (1.0, row.unit)
    ours = f"{row.ours * scale:.3f} {unit}" if row.unit == "s" else f"{row.ours:.1f} {unit}"
    theirs = "-" if row.theirs is None else f"{row.theirs * scale:.{3 if row.unit == 's' else 1}f} {unit}"
    rates = (
        f"{_or_dash(row.rate, '.1f'):>6s} {_or_dash(row.best, '.1f'):>6s} {_or_dash(row.fraction_of_peak, '.1%'):>7s}"
    )
    cells = (
        f"{row.name:{width}s} {row.which:14s} {row.threads:7d} {ours:>11s} {rates} {row.peer or '-':11s}{theirs:>11s}"
    )
    return f"{cells} {_or_dash(row.ratio, '.2f'):>6s} {_or_dash(row.error, '.1e'):>8s}"


def summary(rows: Sequence[Row]) -> str:
    """The geometric mean of the ratios, and the least; empty where there is none."""
    ratios = [row.ratio for row in rows if row.ratio is not None]
    if not ratios:
        return ""
    mean = prod(ratios) ** (1 / len(ratios))
    return f"geometric mean of {len(ratios)} ratios {mean:.2f}, least {min(ratios):.2f}"


def write_json(rows: Iterable[Row], path: Path) -> None:
    """A list of objects: name, pass, threads, peer, ratio, fraction_of_peak, error, and what they were made of."""
    found = list[dict[str, object]]()
    for row in rows:
        values = asdict(row)
        first = {"name": row.name, "pass": values.pop("which"), "threads": row.threads, "peer": row.peer}
        first |= {"ratio": row.ratio, "fraction_of_peak": row.fraction_of_peak, "error": row.error}
        found.append({**first, **{key: value for key, value in values.items() if key not in first}})
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
