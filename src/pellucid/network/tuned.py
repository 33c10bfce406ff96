"""Decisions found by measurement, kept on disk beside compiled objects and used wherever their equation is compiled.

The file is one JSON object: `format` says what it is, `equations` has for each key what was chosen, `check` is their
checksum. A key is made of an
equation (formula, constants, extents, dtypes and shapes), of what the network decides about it, of the target and of
the compiler's source: another compiler, or another processor, begins anew.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pellucid.emit.cache import ObjectCache, cache_folder, entry_key
from pellucid.network.graph import Equation, Graph

if TYPE_CHECKING:
    from pellucid.schedule.plan import Options

__all__ = ["FILE", "Choice", "Tuned", "forget_tuned", "keep_tuned", "load_tuned", "merged"]

FILE = "tuned.json"
_FORMAT = "pellucid-tuned 1"

# Fields of `Options` and their values, as JSON has them.
Choice: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Tuned:
    """Choices by key, for one target (`target`) and one compiler (`source`, the digest of its source)."""

    target: str
    source: str
    choices: Mapping[str, Choice] = field(default_factory=dict[str, Choice])

    @property
    def digest(self) -> str:
        """A text that is equal for equal choices alone; "" where there are none."""
        return _check(self.choices) if self.choices else ""

    def key(self, node: Equation, graph: Graph, decided: Options | None) -> str:
        """The name under which the choices for an equation are kept; `decided` is what the network decides about it."""
        bound = {**node.bindings, node.formula.output.tensor: node.output}
        arrays = [(local, graph.values[name].dtype, graph.values[name].shape) for local, name in bound.items()]
        given = [sorted(part.items()) for part in (node.constants, node.extents)]
        parts = repr(node.formula), repr(given), repr(sorted(arrays)), repr(decided)
        return entry_key("tuned", self.target, self.source, *parts)

    def options(self, node: Equation, graph: Graph, decided: Options | None) -> Options | None:
        """What the network decided, with the choices that are kept for the equation."""
        found = self.choices.get(self.key(node, graph, decided)) if self.choices else None
        return decided if found is None else merged(decided, found)


def merged(decided: Options | None, choice: Choice) -> Options:
    """What the network decided, with what was measured."""
    from pellucid.schedule.plan import Options

    return replace(decided or Options(), **{name: _frozen(value) for name, value in choice.items()})


def load_tuned(target: str, source: str) -> Tuned:
    """The choices on disk. A file that is not of this kind is ignored, with a warning that says why."""
    content = ObjectCache(cache_folder()).read(FILE)
    if content is None:
        return Tuned(target, source)
    try:
        return Tuned(target, source, _parsed(content))
    except ValueError as error:
        warnings.warn(f"{cache_folder() / FILE} is ignored: {error}", stacklevel=2)
        return Tuned(target, source)


def keep_tuned(choices: Mapping[str, Choice]) -> bool:
    """Adds choices to those on disk, in the place of what is there for their keys; an empty choice leaves nothing.
    Whether the file could be written."""
    every = {key: choice for key, choice in {**load_tuned("", "").choices, **choices}.items() if choice}
    content = {"format": _FORMAT, "check": _check(every), "equations": every}
    return ObjectCache(cache_folder()).write(FILE, json.dumps(content, indent=1).encode())


def forget_tuned() -> int:
    """Removes the file; the number of equations that were in it."""
    count = len(load_tuned("", "").choices)
    ObjectCache(cache_folder()).remove(FILE)
    return count


def _parsed(content: bytes) -> dict[str, Choice]:
    """The choices of a file; ValueError where it is no such file."""
    try:
        found: Any = json.loads(content)
    except ValueError as error:
        raise ValueError("it is not JSON") from error
    if not isinstance(found, dict) or cast("dict[str, Any]", found).get("format") != _FORMAT:
        raise ValueError(f"its format is not {_FORMAT!r}")
    choices: dict[str, Choice] = found.get("equations", {})
    if found.get("check") != _check(choices):
        raise ValueError("its checksum does not fit what it holds")
    return choices


def _check(choices: Mapping[str, Choice]) -> str:
    return entry_key("tuned", json.dumps(choices, sort_keys=True))


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value
