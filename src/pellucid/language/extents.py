"""What an equation reads, and how far its axes run: inputs, scalars, axes, shapes, extents.

An extent is fixed by an array where the axis is an index as it stands (`x[..., c]`), or is given. One left open
by an index that moves over its array takes the field's rule: with index `S*i + rest`, `rest` in [low, high] and
N cells, the overhang `p = max(0, -low)` at the start is allowed at the end too:

    extent = (N - 1 + p - high) // S + 1            MATHS.md, section 2: floor((N + 2p - D*(H-1) - 1) / S) + 1
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from operator import index as index_of

from pellucid.errors import ArgumentError, EquationError, ShapeError, Span
from pellucid.language.affine import Affine
from pellucid.language.index import Linear, interval, linear
from pellucid.language.render import to_text
from pellucid.language.syntax import Access, Binary, Compare, Expr, Formula, Name, Node, Number, Reduce, children, walk

__all__ = [
    "affine",
    "axes",
    "determined",
    "infer_extents",
    "inputs",
    "interval",
    "known_extents",
    "output_shape",
    "scalars",
]

Constants = Mapping[str, int | float]
Shapes = Mapping[str, tuple[int, ...]]


def inputs(formula: Formula) -> dict[str, int]:
    """The tensors that the formula reads, with their numbers of dimensions, in order of appearance."""
    return {node.tensor: len(node.indices) for node in walk(formula.body) if isinstance(node, Access)}


def axes(formula: Formula, constants: Collection[str] = ()) -> tuple[str, ...]:
    """The axes in order: those of the output, then those of each reduction as it is written.

    In an output index that is more than a bare name (`2*y+1`, `u*K+k`) every name not in `constants` is an axis.
    """
    found: dict[str, None] = {}
    for index in formula.output.indices:
        found |= {node.name: None for node in walk(index) if isinstance(node, Name) and node.name not in constants}
    for node in walk(formula.body):
        if isinstance(node, Reduce):
            found |= dict.fromkeys(node.axes)
    return tuple(found)


def determined(reduce: Reduce, extents: Mapping[str, int]) -> int:
    """How many places the axes have that equations among the conditions determine: of each the one that stands alone
    on a side. Of the terms that the axes count, one in so many is there."""
    equations = [part for part in reduce.conditions if isinstance(part, Compare) and part.op == "=="]
    sides = ([part.left, part.right] for part in equations)
    alone = ([side.name for side in pair if isinstance(side, Name) and side.name in extents] for pair in sides)
    return prod(extents[axis] for axis in {names[0] for names in alone if names})


def scalars(formula: Formula, constants: Collection[str] = ()) -> tuple[str, ...]:
    """The names outside indices that are neither axes nor constants: inputs that are one number, in order."""
    found: dict[str, None] = {}

    def visit(node: Node, bound: frozenset[str]) -> None:
        if isinstance(node, Name) and node.name not in bound and node.name not in constants:
            found[node.name] = None
        elif isinstance(node, Access):
            return
        inner = bound | frozenset(node.axes) if isinstance(node, Reduce) else bound
        for child in children(node):
            visit(child, inner)

    visit(formula.body, _output_axes(formula, constants))
    return tuple(found)


def affine(expression: Expr, constants: Constants) -> Affine | None:
    """The index as `const + sum(coefficient * axis)`, every name that is no constant being an axis.

    None where it is not of that form: `//` and `%` that do not divide out, lookups, products of axes, floats.
    EquationError where it divides by zero.
    """
    form = linear(expression, constants)
    if form is None or not all(isinstance(atom, Name) for atom in form.terms):
        return None
    return Affine.of(form.const, {atom.name: value for atom, value in form.terms.items() if isinstance(atom, Name)})


def output_shape(formula: Formula, constants: Constants, extents: Mapping[str, int]) -> tuple[int, ...]:
    """The smallest shape that holds every cell the formula writes; ShapeError where an index has no known end."""
    shape: list[int] = []
    for index in formula.output.indices:
        span = interval(index, constants, extents)
        if span is None:
            message = (
                f"index `{to_text(index)}` of {formula.output.tensor} has no known end; give the extents of its axes"
            )
            raise ShapeError(message, index.span)
        if span[0] < 0:
            text = to_text(index, compact=True)
            message = f"index `{text}` of {formula.output.tensor} begins at {span[0]}, before the array"
            raise ShapeError(message, index.span)
        shape.append(span[1] + 1)
    return tuple(shape)


def infer_extents(formula: Formula, constants: Constants, shapes: Shapes, given: Mapping[str, int]) -> dict[str, int]:
    """The extent of every axis, in the order of `axes`.

    `shapes` are those of the inputs, as far as known, and of the output where it is known beforehand; `given` are
    extents from the user (those of other axes are ignored). EquationError for a name in an index that is neither
    axis nor integer constant, ArgumentError for a given extent below 1, ShapeError where shapes contradict each
    other, the ranks or `given`, are empty, leave no room for a kernel, or leave an extent open.
    """
    names = axes(formula, constants)
    _check_names(formula, names, constants)
    accesses = tuple(_accesses(formula, shapes))
    _check_scalar_shapes(formula, constants, shapes)
    known = _fixed_extents(names, accesses, given)
    _close_open_extents(names, accesses, constants, known)
    for name in names:
        if name not in known:
            message = (
                f"extent of index `{name}` is open: no array determines it; give it with extents={{'{name}': ...}}"
            )
            raise ShapeError(message, _first_span(formula, name))
    return {name: known[name] for name in names}


def known_extents(
    formula: Formula, constants: Constants, shapes: Shapes, given: Mapping[str, int], *, close: bool
) -> dict[str, int]:
    """The extents that the arrays of known shape tell, those by the field's rule among them where `close`; as
    `infer_extents` otherwise."""
    names = axes(formula, constants)
    _check_names(formula, names, constants)
    accesses = tuple(_accesses(formula, shapes))
    known = _fixed_extents(names, accesses, given)
    if close:
        _close_open_extents(names, accesses, constants, known)
    return known


@dataclass(frozen=True)
class _Use:
    """One index of one access to a tensor of known shape."""

    tensor: str
    shape: tuple[int, ...]
    dimension: int
    index: Expr

    @property
    def size(self) -> int:
        return self.shape[self.dimension]


def _output_axes(formula: Formula, constants: Collection[str]) -> frozenset[str]:
    nodes = (node for index in formula.output.indices for node in walk(index))
    return frozenset(node.name for node in nodes if isinstance(node, Name) and node.name not in constants)


def _accesses(formula: Formula, shapes: Shapes) -> Iterator[_Use]:
    """Every index into a tensor of known shape, the output first; ShapeError where the rank is wrong or it is empty."""
    nodes = (node for node in (formula.output, *walk(formula.body)) if isinstance(node, Access))
    for node in nodes:
        shape = shapes.get(node.tensor)
        if shape is None:
            continue
        if len(shape) != len(node.indices):
            message = f"{node.tensor} has {len(node.indices)} indices here, but its shape is {tuple(shape)}"
            raise ShapeError(message.replace(" 1 indices", " 1 index"), node.span)
        for dimension, index in enumerate(node.indices):
            if shape[dimension] < 1:
                raise ShapeError(f"{node.tensor} {tuple(shape)} is empty", index.span)
            yield _Use(node.tensor, tuple(shape), dimension, index)


def _check_scalar_shapes(formula: Formula, constants: Constants, shapes: Shapes) -> None:
    for name in scalars(formula, constants):
        if shapes.get(name):
            message = f"`{name}` stands without indices: it is one number, not an array of shape {tuple(shapes[name])}"
            raise ShapeError(message, _first_span(formula, name))


def _check_names(formula: Formula, names: tuple[str, ...], constants: Constants) -> None:
    """Names in indices are axes that are bound there, or integer constants."""

    def visit(node: Node, bound: frozenset[str], tensor: str) -> None:
        if isinstance(node, Name) and tensor and node.name not in bound:
            if node.name not in constants:
                message = (
                    f"`{node.name}` in an index of {tensor} is neither an axis nor a constant; give {node.name}=..."
                )
                raise EquationError(message, node.span)
            value = constants[node.name]
            if not isinstance(value, int):
                message = f"constant `{node.name}` (={value}) stands in an index of {tensor} and must be an integer"
                raise EquationError(message, node.span)
        inner = bound | frozenset(node.axes) if isinstance(node, Reduce) else bound
        for child in children(node):
            visit(child, inner, node.tensor if isinstance(node, Access) else tensor)

    for name in (*formula.free_axes, *names):
        if name in constants:
            message = f"`{name}` is an axis of the equation and cannot be a constant (={constants[name]}) too"
            raise EquationError(message, _first_span(formula, name))
    bound = _output_axes(formula, constants)
    visit(formula.output, bound, formula.output.tensor)
    visit(formula.body, bound, "")


def _first_span(formula: Formula, name: str) -> Span | None:
    nodes = (node for root in (formula.output, formula.body) for node in walk(root))
    return next((node.span for node in nodes if isinstance(node, Name) and node.name == name), None)


def _fixed_extents(names: tuple[str, ...], uses: tuple[_Use, ...], given: Mapping[str, int]) -> dict[str, int]:
    """Extents that are given or stand as bare indices; ShapeError where two of them differ."""
    known: dict[str, int] = {}
    sources: dict[str, str] = {}
    for name in names:
        if name in given:
            extent = _checked_extent(name, given[name])
            known[name], sources[name] = extent, f"{extent} given"
    for use in uses:
        if not isinstance(use.index, Name) or use.index.name not in names:
            continue
        name, source = use.index.name, f"{use.size} in {use.tensor} {use.shape}"
        if known.setdefault(name, use.size) != use.size:
            raise ShapeError(f"index `{name}` has two extents: {sources[name]} and {source}", use.index.span)
        sources.setdefault(name, source)
    return known


def _checked_extent(name: str, extent: int) -> int:
    """A given extent as an int (NumPy's integers are none)."""
    try:
        checked = index_of(extent)
    except TypeError:
        checked = 0
    if checked < 1 or extent is True:
        raise ArgumentError(f"`extents['{name}']` (={extent!r}) must be an integer of at least 1")
    return checked


def _close_open_extents(
    names: tuple[str, ...], uses: tuple[_Use, ...], constants: Constants, known: dict[str, int]
) -> None:
    """Add the extents that follow by the field's rule to `known`.

    In rounds, each from the extents known at its start, so that the order of writing does not matter.
    """
    moving = [use for use in uses if not isinstance(use.index, Name)]
    while open_names := [name for name in names if name not in known]:
        found: dict[str, int] = {}
        for use in moving:
            for name in open_names:
                extent = _room(name, use, constants, known)
                if extent is not None:
                    found[name] = min(extent, found.get(name, extent))
        if not found:
            return
        known.update(found)


def _room(name: str, use: _Use, constants: Constants, known: Mapping[str, int]) -> int | None:
    """The extent of `name` that this use leaves by the field's rule; None where it says nothing (yet)."""
    form, cells = _inside_floor(use.index, use.size, constants)
    stride = form.terms.get(Name(name), 0) if form is not None else 0
    if form is None or stride == 0:
        return None
    others = Linear(form.const, {atom: value for atom, value in form.terms.items() if atom != Name(name)})
    rest = others.interval(constants, known)
    if rest is None:
        return None
    low, high = rest
    if stride < 0:  # the same, seen from the other end of the array
        stride, low, high = -stride, cells - 1 - high, cells - 1 - low
    overhang = max(0, -low)
    room = cells - 1 + overhang - high
    if room < 0:
        text, wanted = to_text(use.index, compact=True), high + overhang + 1
        padded = f" and {overhang} of padding on each side" if overhang else ""
        where = f"dimension {use.dimension} of {use.tensor} {use.shape}"
        message = f"kernel larger than its padded input: `{text}` spans {wanted} cells, {where} has {cells}{padded}"
        raise ShapeError(message, use.index.span)
    return room // stride + 1


def _inside_floor(index: Expr, cells: int, constants: Constants) -> tuple[Linear | None, int]:
    """`(a // k)` over N cells -> `a` over N*k cells."""
    form = linear(index, constants)
    while form is not None and form.const == 0 and len(form.terms) == 1:
        (atom, coefficient), *_ = form.terms.items()
        if not (coefficient == 1 and isinstance(atom, Binary) and atom.op == "//" and isinstance(atom.right, Number)):
            break
        divisor = atom.right.value
        if not isinstance(divisor, int) or divisor < 1:
            break
        form, cells = linear(atom.left, constants), cells * divisor
    return form, cells
