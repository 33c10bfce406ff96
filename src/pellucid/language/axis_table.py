"""The axes of a formula while it is being solved, with their extents and where they came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pellucid.language.affine import Affine
from pellucid.language.index_forms import write
from pellucid.language.syntax import Expr, Node
from pellucid.language.syntax import substitute as substitute_names

__all__ = ["AxisTable", "substitute"]


@dataclass
class AxisTable:
    """Extents, origins and cover of the axes of one formula.

    Nothing about an axis ever changes: what changes becomes a new axis, so that reductions beside each other may
    share one. A new axis has a name that no text can contain (`s'3`); its origin is the name in the text that it
    goes back to. The cover of an axis is an index form that leaves its dimension whenever the axis leaves its
    range: at first the axis itself, because a dimension that a bare axis indexes has the axis' extent.
    """

    extents: dict[str, int] = field(default_factory=dict[str, int])
    origins: dict[str, str] = field(default_factory=dict[str, str])
    cover: dict[str, Affine] = field(default_factory=dict[str, Affine])
    made: int = 0

    def add(self, origin: str, extent: int) -> str:
        """A new axis; it covers itself."""
        self.made += 1
        name = f"{origin}'{self.made}"
        self.extents[name], self.origins[name], self.cover[name] = extent, origin, Affine.name(name)
        return name

    def part(self, axis: str, factor: int, offset: int | Affine, extent: int) -> tuple[str, Affine]:
        """An axis v' with `axis = factor * v' + offset`, and that form; v' inherits the cover."""
        name = self.add(self.origins[axis], extent)
        form = Affine.name(name) * factor + offset
        if axis in self.cover:
            self.cover[name] = self.cover[axis].substitute({axis: form})
        return name, form

    def digit(self, origin: str, extent: int) -> str:
        """A new axis whose leaving its range shows in no index."""
        name = self.add(origin, extent)
        del self.cover[name]
        return name

    def copy(self) -> AxisTable:
        """A table that changes apart from this one."""
        return AxisTable(dict(self.extents), dict(self.origins), dict(self.cover), self.made)


def substitute(node: Node, forms: Mapping[str, Affine]) -> Node:
    """The node with axes replaced by affine forms."""
    expressions: dict[str, Expr] = {name: write(form) for name, form in forms.items()}
    return substitute_names(node, expressions)
