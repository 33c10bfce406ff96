"""Equations drawn at random: convolutions with all attributes crossed, and equations of any shape."""

from __future__ import annotations

from math import prod

from hypothesis import strategies as st

from schedule.cases import Case, case


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    """A convolution, or one of its gradients, of at most 40,000 multiply-adds."""
    stride, padding = draw(st.sampled_from((1, 1, 2, 3))), draw(st.integers(0, 3))
    dilation, turned = draw(st.sampled_from((1, 1, 2))), draw(st.booleans())
    kernel = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    spans = [dilation * (size - 1) + 1 for size in kernel]
    sizes = [draw(st.integers(max(1, span - 2 * padding), max(9, span))) for span in spans]
    results = [(size + 2 * padding - span) // stride + 1 for size, span in zip(sizes, spans, strict=True)]
    images, k = draw(st.integers(1, 2)), draw(st.sampled_from((1, 3, 8, 9, 17, 40)))
    room = 40_000 // (images * k * prod(results) * prod(kernel))
    c = draw(st.sampled_from([n for n in (1, 2, 3, 5, 8, 9, 16, 33) if n <= max(1, room)]))
    rows, columns = "i*S+s*D-P", "j*S+t*D-P"
    s, t = (f"{kernel[0] - 1}-s", f"{kernel[1] - 1}-t") if turned else ("s", "t")
    if draw(st.booleans()):
        text = f"z[n,k,i,j] = sum(c,s,t) x[n,c,{rows},{columns}] * w[k,c,{s},{t}]"
        shapes = {"x": (images, c, *sizes), "w": (k, c, *kernel)}
    else:
        text = f"z[n,i,j,k] = sum(s,t,c) x[n,{rows},{columns},c] * w[{s},{t},c,k]"
        shapes = {"x": (images, *sizes, c), "w": (*kernel, c, k)}
    if draw(st.booleans()):
        text, shapes = f"{text} + b[k]", {**shapes, "b": (k,)}
    constants = {"S": stride, "P": padding, "D": dilation}
    drawn = case(text, shapes, constants, {"s": kernel[0], "t": kernel[1]})
    wrt = draw(st.sampled_from(("", "x", "w")))
    return drawn.gradient(wrt) if wrt else drawn


FREE, REDUCED = "ijk", "abc"


@st.composite
def equations(draw: st.DrawFn) -> Case:
    """One to three operands with any affine indices, some of which leave their arrays; a reduction or none."""
    operation = draw(st.sampled_from(("sum", "sum", "max", "argmin", "")))
    free = FREE[: draw(st.integers(1, 3))]
    reduced = REDUCED[: draw(st.integers(1, 3))] if operation else ""
    sizes = (1, 2, 3, 4, 5, 7, 8, 9, 16, 17)
    extents = {axis: draw(st.sampled_from(sizes)) for axis in free + reduced}
    while prod(extents.values()) > 2000:
        longest = max(extents, key=lambda axis: extents[axis])
        extents[longest] = extents[longest] // 2
    names = ("x", "w", "v")[: draw(st.integers(1, 3 if operation in ("sum", "") else 1))]
    # Every axis stands somewhere, or its extent could be anything.
    owners = {axis: draw(st.sampled_from(names)) for axis in extents}
    shapes = dict[str, tuple[int, ...]]()
    operands = []
    for name in names:
        own = [axis for axis, owner in owners.items() if owner == name]
        own += draw(st.lists(st.sampled_from([*extents]), min_size=0 if own else 1, max_size=2))
        indices = [draw(_index([axis], extents)) for axis in own]
        if len(own) > 1 and draw(st.booleans()):
            indices = [draw(_index(list(dict.fromkeys(own[:2])), extents)), *indices[2:]]
        operands.append(f"{name}[{','.join(text for text, _ in indices)}]")
        shapes[name] = tuple(size for _, size in indices)
    body = draw(st.sampled_from((" * ", " * ", " + "))).join(operands)
    if operation:
        body = f"{operation}({','.join(reduced)}) ({body})"
    if operation in ("sum", "max") and draw(st.booleans()):
        shapes["q"] = (extents[free[0]],)
        body = draw(st.sampled_from((f"{body} + q[{free[0]}]", f"max({body} - q[{free[0]}], 0)")))
    order = draw(st.permutations(free))
    return case(f"z[{','.join(order)}] = {body}", shapes, {}, extents)


@st.composite
def _index(draw: st.DrawFn, axes: list[str], extents: dict[str, int]) -> tuple[str, int]:
    """An index over the axes and the size of its dimension, which may be too small at either end."""
    if len(axes) == 1 and draw(st.integers(0, 2)):
        return axes[0], extents[axes[0]]
    terms = [(draw(st.sampled_from((1, 1, 2, 3, -1, -2))), axis) for axis in axes]
    low = sum(min(0, factor * (extents[axis] - 1)) for factor, axis in terms)
    high = sum(max(0, factor * (extents[axis] - 1)) for factor, axis in terms)
    # Never the bare axis: its extent would have to be the dimension's.
    shift = draw(st.sampled_from((1, -1, 2, -2)))
    size = max(1, high - low + 1 + draw(st.sampled_from((0, shift, 2))))
    return "+".join(f"({factor})*{axis}" for factor, axis in terms) + f"+({shift - low})", size
