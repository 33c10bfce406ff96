"""What a peer puts up against a kernel of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["Contenders"]


@dataclass(frozen=True)
class Contenders:
    """`exact` gives the result in float64, in the layout of ours; `ways` do the same work in float32, in forms of which
    the fastest counts."""

    exact: Callable[[], NDArray[Any]]
    ways: Mapping[str, Callable[[], object]]
