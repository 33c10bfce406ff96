"""Names and who binds them: which are taken, which are free, and renaming without capture."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from pellucid.language.syntax import Access, Formula, Name, Node, Reduce, map_children, substitute, walk

__all__ = ["AxisCopies", "Names", "by_place", "names_of", "numbered", "reads", "separate", "tensors_of"]


def names_of(nodes: Iterable[Node]) -> frozenset[str]:
    """Every name that is read or bound at or below the nodes, names of tensors excepted."""
    found: set[str] = set()
    for node in (below for top in nodes for below in walk(top)):
        if isinstance(node, Name):
            found.add(node.name)
        elif isinstance(node, Reduce):
            found.update(node.axes)
    return frozenset(found)


def tensors_of(nodes: Iterable[Node]) -> frozenset[str]:
    """The names of the tensors read at or below the nodes."""
    return frozenset(node.tensor for top in nodes for node in walk(top) if isinstance(node, Access))


def reads(node: Node, name: str) -> bool:
    """Whether a tensor or scalar stands anywhere in a value."""
    return any(
        (isinstance(part, Access) and part.tensor == name) or (isinstance(part, Name) and part.name == name)
        for part in walk(node)
    )


def by_place(node: Node, depth: int = 0) -> Node:
    """The node with the axes that it binds renamed by the order in which they are bound around each place: equal for
    nodes that say the same in the same words, whatever they call their own axes."""
    if isinstance(node, Reduce):
        names = {axis: f"%{depth + number}" for number, axis in enumerate(node.axes)}
        inside = map_children(node, lambda child: substitute(child, {axis: Name(new) for axis, new in names.items()}))
        node = replace(inside, axes=tuple(names.values()))  # type: ignore[arg-type]
        depth += len(names)
    return map_children(node, lambda child: by_place(child, depth))


def numbered(name: str, taken: Collection[str]) -> str:
    """`name` itself where it is free, else the first of `name1`, `name2` ... that is (`i1` is followed by `i2`)."""
    if name not in taken:
        return name
    stem = name.rstrip("0123456789") or name
    return next(candidate for number in count(1) if (candidate := f"{stem}{number}") not in taken)


@dataclass
class Names:
    """Names of a derivation, and new ones that nothing else has."""

    taken: set[str]

    @classmethod
    def of(cls, formula: Formula) -> Names:
        """Those of a formula: its axes, scalars and tensors."""
        nodes = (*formula.output.indices, formula.body)
        return cls({*names_of(nodes), *tensors_of(nodes), formula.output.tensor})

    def new(self, name: str) -> str:
        """`name` or, where it is taken, the name with a number."""
        found = numbered(name, self.taken)
        self.taken.add(found)
        return found


@dataclass
class AxisCopies:
    """The copies of axes made in one derivation: a copy has the extent of its origin.

    Copies that stand beside each other share a name; `taken` are the names that no copy may have.
    """

    taken: frozenset[str]
    origins: dict[str, str] = field(default_factory=dict[str, str])

    def copy(self, axis: str, scope: Collection[str]) -> str:
        """A name for a copy of `axis` that is not in `scope`."""
        origin = self.origins.get(axis, axis)
        others = {name for name, source in self.origins.items() if source != origin}
        name = numbered(axis, self.taken | others | set(scope) | {axis})
        self.origins[name] = origin
        return name


def separate(node: Node, renamed: Mapping[str, str], scope: frozenset[str], copies: AxisCopies) -> Node:
    """The node with free names replaced by `renamed`, and no reduction in it binding a name of `scope`.

    `scope` holds every axis bound around the node, under its new name, so that nothing is captured.
    """
    if isinstance(node, Name):
        return replace(node, name=renamed[node.name]) if node.name in renamed else node
    if isinstance(node, Reduce):
        inner = dict(renamed)
        axes: list[str] = []
        for axis in node.axes:
            name = copies.copy(axis, scope | set(axes)) if axis in scope else axis
            axes.append(name)
            if name != axis:
                inner[axis] = name
            else:
                inner.pop(axis, None)
        node = replace(node, axes=tuple(axes))
        renamed, scope = inner, scope | set(axes)
    return map_children(node, lambda child: separate(child, renamed, scope, copies))
