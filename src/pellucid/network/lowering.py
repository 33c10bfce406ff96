"""Equations to nests, each kind once: a deep network repeats few equations many times.

An equation is lowered under its own local tensor names; where the same formula occurs again on tensors of the same
shapes, the nests that are there already get the other tensors' names.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from types import MappingProxyType

from pellucid.network.graph import Equation
from pellucid.schedule.lower import Lowered, Part, lower
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import Tensor
from pellucid.schedule.plan import Options
from pellucid.schedule.rewrite import renamed

__all__ = ["Lowerer"]

# What stands in front of the names of everything new; no local name of a formula can hold it.
_PREFIX = "@"


class Lowerer:
    """Lowers equations for one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._known: dict[Hashable, Lowered] = {}

    def lower(
        self,
        node: Equation,
        tensors: Mapping[str, Tensor],
        name: str,
        options: Options | None = None,
        parts: Mapping[str, Part] = MappingProxyType({}),
    ) -> Lowered:
        """As `schedule.lower`: `tensors` by local name, the output's among them; `name` for what is new."""
        own_names: dict[str, str] = {}
        for local, tensor in tensors.items():
            own_names.setdefault(tensor.name, local)
        # Whose memory a tensor is in does not change how it is read or written.
        written = own_names[tensors[node.formula.output.tensor].name]
        own: dict[str, Tensor] = {}
        for local, tensor in tensors.items():
            name_here = own_names[tensor.name]
            role = tensor.role if tensor.role == "table" else "output" if name_here == written else "input"
            own[local] = replace(tensor, name=name_here, role=role)
        # What parts lie in goes by the name of the first of them, unless it is read or written as a whole, too.
        lies = dict[str, Part]()
        for real, part in parts.items():
            whole = own_names.setdefault(part.whole.name, own_names[real])
            lies[own_names[real]] = replace(part, whole=replace(part.whole, name=whole, role="input"))
        key = (
            node.formula,
            tuple(sorted(node.constants.items())),
            tuple(sorted(node.extents.items())),
            tuple(sorted(own.items())),
            tuple(sorted(lies.items())),
            options,
        )
        if key not in self._known:
            self._known[key] = self._lower(node, own, options, lies)
        found = self._known[key]
        names = {local: real for real, local in own_names.items() if real not in parts}
        names |= {tensor.name: name + tensor.name.removeprefix(_PREFIX) for tensor in found.tensors}
        nests = tuple(
            replace(
                nest,
                name=name + nest.name.removeprefix(_PREFIX),
                body=tuple(renamed(entry, names) for entry in nest.body),
            )
            for nest in found.nests
        )
        return Lowered(nests, tuple(replace(tensor, name=names[tensor.name]) for tensor in found.tensors), found.plans)

    def _lower(
        self, node: Equation, own: Mapping[str, Tensor], options: Options | None, parts: Mapping[str, Part]
    ) -> Lowered:
        return lower(node.formula, node.constants, node.extents, own, self._machine, _PREFIX, options, parts)
