"""Numbers as people read them."""

from __future__ import annotations

import math

__all__ = ["duration", "percent"]


def percent(share: float | None) -> str:
    """A share of 0..1 in per cent, a dash for None."""
    return "-" if share is None else f"{100 * share:.1f}%"


def duration(seconds: float) -> str:
    """A time in the two units that matter: `0.42 s`, `12.3 s`, `3 min 20 s`, `2 h 05 min`, `4 d 03 h`."""
    if not math.isfinite(seconds):
        return "-"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02} h"
