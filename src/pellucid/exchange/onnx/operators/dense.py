"""Products of matrices: Gemm, MatMul with broadcast batches, Einsum."""

from __future__ import annotations

from re import findall, fullmatch

from pellucid.errors import ShapeError
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Tensor, natural
from pellucid.exchange.onnx.writing import access, axis_names, broadcast_shape, cell
from pellucid.nn.equations.dense import linear
from pellucid.nn.equations.notation import system
from pellucid.nn.layer import Shape

__all__: list[str] = []

_NAMES = {"w": "weight", "b": "bias"}
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@operator("Gemm")
def gemm(node: Node) -> Tensor:
    """`alpha * A B + beta * C`; `nn`'s linear layer where nothing is scaled and C is one number for each column."""
    x, w = (_matrix(node, number) for number in (0, 1))
    if node.truth("transA"):
        x = x.renamed((1, 0))
    if not node.truth("transB"):
        rows, columns = w.shape
    else:
        columns, rows = w.shape
    if x.shape[1] != rows:
        raise ShapeError(f"its matrices {x.shape} and {(rows, columns)} must agree in the middle")
    order = (1, 0) if node.truth("transB") else (0, 1)
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    shape = (x.shape[0], columns)
    b = node.optional(2) if beta else None
    if b is not None and broadcast_shape([shape, b.shape]) != shape:
        raise ShapeError(f"input 2 {b.shape} must broadcast to the result {shape}")
    if b is not None and b.shape == (1, columns):
        b = node.view(b, (columns,), part="bias")
    sources = {"x": x, "w": node.arranged(w, order) if w.host is not None else w} | ({} if b is None else {"b": b})
    w = sources["w"]
    if alpha == beta == 1 and (b is None or b.shape == (columns,)) and x.order == (0, 1) and w.order == order:
        return node.emit(linear(x.memory, w.memory, None if b is None else b.memory), sources, shape, weights=_NAMES)
    constants = {"A": alpha} if alpha != 1 else {}
    text = f"z[n,o] = {'A*' if constants else ''}(sum(q) {cell('x', 'nq', x.order)}*"
    text += f"{cell('w', 'oq' if node.truth('transB') else 'qo', w.order)})"
    if b is not None:
        scale = "" if beta == 1 else "B*"
        constants |= {"B": beta} if scale else {}
        text += f" + {scale}{access('b', b, shape, ['n', 'o'])}"
    return node.emit(system(text, constants=constants), sources, shape, weights=_NAMES)


@operator("MatMul")
def matmul(node: Node) -> Tensor:
    """As NumPy's `matmul`; with a known matrix on the right it is a linear layer without bias."""
    x, w = node.tensor(0), node.tensor(1)
    if not x.rank or not w.rank:
        node.damaged(f"inputs {x.shape} and {w.shape} must have at least 1 dimension")
    inner = w.shape[-2] if w.rank > 1 else w.shape[0]
    if x.shape[-1] != inner:
        raise ShapeError(
            f"inputs {x.shape} and {w.shape} must agree in the axis that is summed: {x.shape[-1]}, {inner}"
        )
    if w.rank == 2 and w.host is not None:
        x = node.arranged(x, natural(x.rank))
        return node.emit(linear(x.memory, w.memory), {"x": x, "w": w}, (*x.shape[:-1], w.shape[1]), weights=_NAMES)
    batch = broadcast_shape([x.shape[:-2], w.shape[:-2]])
    row = x.shape[-2:-1]
    column = w.shape[-1:] if w.rank > 1 else ()
    shape = (*batch, *row, *column)
    names = axis_names(len(shape))
    outer, m, o = names[: len(batch)], names[len(batch) :][: len(row)], names[len(batch) + len(row) :]
    read = cell("x", [*_batch(x.shape[:-2], batch, outer), *m, "q"], x.order)
    other = cell("w", [*_batch(w.shape[:-2], batch, outer), "q", *o], w.order)
    step = system(f"{cell('z', names)} = sum(q) {read}*{other}")
    return node.emit(step, {"x": x, "w": w}, shape)


@operator("Einsum")
def einsum(node: Node) -> Tensor:
    """Index notation as it stands; every index of the inputs that the result lacks is summed over."""
    tensors = [node.tensor(number) for number in range(len(node.spec.inputs))]
    terms, result = _terms(node, node.text("equation").replace(" ", ""), [x.shape for x in tensors])
    extents: dict[str, int] = {}
    for term, x in zip(terms, tensors, strict=True):
        for index, extent in zip(term, x.shape, strict=True):
            if extents.setdefault(index, extent) == 1:
                extents[index] = extent
            elif extent not in (1, extents[index]):
                raise ShapeError(f"index `{index}` has two extents: {extents[index]} and {extent}")
    names = {index: f"e{number}" for number, index in enumerate(sorted(extents))}
    reads = [
        cell(f"x{number}", [names[i] if e == extents[i] else "0" for i, e in zip(term, x.shape, strict=True)], x.order)
        for number, (term, x) in enumerate(zip(terms, tensors, strict=True))
    ]
    summed = ",".join(names[index] for index in sorted(extents) if index not in result)
    text = f"{cell('z', [names[index] for index in result])} = {f'sum({summed}) ' if summed else ''}{'*'.join(reads)}"
    step = system(text, extents={names[index]: extent for index, extent in extents.items()})
    sources = {f"x{number}": x for number, x in enumerate(tensors)}
    return node.emit(step, sources, tuple(extents[index] for index in result))


def _matrix(node: Node, number: int) -> Tensor:
    found = node.tensor(number)
    if found.rank != 2:
        node.damaged(f"input {number} {found.shape} must have 2 dimensions")
    return found


def _batch(own: Shape, batch: Shape, names: list[str]) -> list[str]:
    """The indices of an operand's batch axes, broadcast to `batch`."""
    behind = len(batch) - len(own)
    return ["0" if extent == 1 != batch[behind + axis] else names[behind + axis] for axis, extent in enumerate(own)]


def _terms(node: Node, equation: str, shapes: list[Shape]) -> tuple[list[list[str]], list[str]]:
    """The indices of each input and of the result; those that `...` stands for are numbers, counted from the end."""
    form = r"(?:[A-Za-z]*(?:\.\.\.)?[A-Za-z]*)"
    left, arrow, right = equation.partition("->")
    if not fullmatch(f"{form}(?:,{form})*", left) or not fullmatch(form, right):
        node.damaged(f"attribute `equation` (={equation!r}) is no Einstein sum")
    texts = left.split(",")
    if len(texts) != len(shapes):
        node.damaged(f"attribute `equation` (={equation!r}) must have {len(shapes)} terms, has {len(texts)}")
    terms: list[list[str]] = []
    for text, shape in zip(texts, shapes, strict=True):
        letters = len(text.replace("...", ""))
        hidden = len(shape) - letters
        if hidden < 0 or (hidden and "..." not in text):
            node.damaged(f"attribute `equation` (={equation!r}) has {letters} indices for an input {shape}")
        terms.append(_indices(text, hidden))
    widest = max((sum(index.isdigit() for index in term) for term in terms), default=0)
    if arrow:
        result = _indices(right, widest)
    else:
        once = [index for index in sorted(set(left) & set(_LETTERS)) if left.count(index) == 1]
        result = [*_indices("...", widest), *once]
    known = {index for term in terms for index in term}
    if len(set(result)) != len(result) or not known.issuperset(result):
        node.damaged(f"attribute `equation` (={equation!r}) must name indices of the inputs once in its result")
    return terms, result


def _indices(text: str, hidden: int) -> list[str]:
    found: list[str] = []
    for part in findall(r"\.\.\.|[A-Za-z]", text):
        found += [str(number) for number in reversed(range(hidden))] if part == "..." else [part]
    return found
