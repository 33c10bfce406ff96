"""Which parameters a model keeps as they are: those that a pattern matches."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

from pellucid.errors import ArgumentError
from pellucid.nn.layer import Parameter

__all__ = ["BODY", "frozen_names"]

# Stands for every parameter but those of the last layer that has any.
BODY = "body"


def frozen_names(parameters: Mapping[str, Parameter], patterns: tuple[str, ...]) -> frozenset[str]:
    """The names of the parameters that match a pattern, as in a shell: "2.0.weight", "*.bias", or the layer or block
    that they are in, "2"; "body" is all but the last layer that has parameters.

    Raises ArgumentError where a pattern matches none, or where no trained parameter is left.
    """
    frozen: set[str] = set()
    for pattern in patterns:
        found = {name for name in parameters if _matches(name, pattern, parameters)}
        if not found:
            near = get_close_matches(pattern, [*parameters, *(_layer(name) for name in parameters), BODY], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(parameters)}"
            raise ArgumentError(f"`freeze` has {pattern!r}, which matches no parameter{hint}")
        frozen |= found
    if not any(parameter.trained for name, parameter in parameters.items() if name not in frozen):
        raise ArgumentError(f"`freeze` (={', '.join(patterns)}) leaves no parameter to train")
    return frozenset(frozen)


def _matches(name: str, pattern: str, parameters: Mapping[str, Parameter]) -> bool:
    if pattern == BODY:
        return _layer(name) != _layer(list(parameters)[-1])
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[:count]), pattern) for count in range(1, len(parts) + 1))


def _layer(name: str) -> str:
    return name.rpartition(".")[0]
