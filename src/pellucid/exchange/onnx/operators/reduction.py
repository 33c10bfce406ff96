"""Reductions over axes: sums, means, extremes, norms, products; and sums from the first element on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Order, Tensor, Value, natural
from pellucid.exchange.onnx.writing import axis_names, cell
from pellucid.nn.equations.notation import system

__all__ = ["REDUCTIONS", "reduced_axes", "reduced_shape"]

# So many factors stand in one equation of a product, and so many terms in one of a running sum.
FACTORS = 8

# For the element `{x}`, the axes `{axes}`, and their cells `M` together.
_TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "ReduceL1": "sum({axes}) abs({x})",
        "ReduceL2": "sqrt(sum({axes}) {x}*{x})",
        "ReduceLogSum": "log(sum({axes}) {x})",
        "ReduceMax": "max({axes}) {x}",
        "ReduceMean": "(sum({axes}) {x}) / M",
        "ReduceMin": "min({axes}) {x}",
        "ReduceSum": "sum({axes}) {x}",
        "ReduceSumSquare": "sum({axes}) {x}*{x}",
    }
)
# What they are over no axis at all.
_OF_ONE: Mapping[str, str] = MappingProxyType(
    {
        "ReduceL1": "abs({x})",
        "ReduceL2": "abs({x})",
        "ReduceLogSum": "log({x})",
        "ReduceSumSquare": "{x}*{x}",
    }
)
REDUCTIONS = (*_TEXTS, "ReduceLogSumExp", "ReduceProd")
# The first opset in which the axes are an input.
_INPUT_SINCE = 18
_SUM_INPUT_SINCE = 13


def reduced_axes(node: Node, rank: int) -> tuple[int, ...]:
    """The axes that a reduction runs over, counted from 0, in ascending order."""
    since = _SUM_INPUT_SINCE if node.op == "ReduceSum" else _INPUT_SINCE
    if node.version < since:
        axes = node.integers("axes", ())
        return tuple(sorted(node.checked_axes(axes, rank))) if axes else natural(rank)
    axes = node.known_integers(1) if node.given(1) else ()
    if axes or node.truth("noop_with_empty_axes"):
        return tuple(sorted(node.checked_axes(axes, rank)))
    return natural(rank)


def reduced_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: bool) -> tuple[int, ...]:
    """What is left of a shape."""
    return tuple(1 if axis in axes else e for axis, e in enumerate(shape) if keepdims or axis not in axes)


@dataclass(frozen=True)
class _Reduction:
    """A tensor, the axes that a reduction runs over, and how its cells are written."""

    x: Tensor
    axes: tuple[int, ...]

    @property
    def kept(self) -> Order:
        """The axes that stay, as they stand in memory."""
        return tuple(axis for axis in self.x.order if axis not in self.axes)

    def written(self) -> tuple[list[str], str, str, str]:
        """Names of all axes, the input's cell, the result's indices, and the names that are reduced."""
        names = axis_names(self.x.rank, self.x.order)
        kept = cell("", [names[axis] for axis in self.kept])
        over = ",".join(names[axis] for axis in self.x.order if axis in self.axes)
        return names, cell("x", names, self.x.order), kept, over


@operator(*REDUCTIONS, static=(1,))
def reduction(node: Node) -> Value:
    """Over the axes of an attribute or, in later opsets, an input; over all where there are none."""
    x = node.tensor(0)
    axes = reduced_axes(node, x.rank)
    keepdims = node.truth("keepdims", True)
    if not axes:
        return node.elementwise(_OF_ONE[node.op], {"x": node.value(0)}) if node.op in _OF_ONE else node.value(0)
    made = _product(node, x, axes) if node.op == "ReduceProd" else _reduced(node, _Reduction(x, axes))
    if not keepdims:
        return made
    return node.view(made, reduced_shape(x.shape, axes, True), x.order, part="kept")


def _reduced(node: Node, over: _Reduction) -> Tensor:
    x = over.x
    _, element, kept, axes = over.written()
    if node.op == "ReduceLogSumExp":
        # The largest is taken out, so that nothing overflows; an infinite one leaves nothing to be taken out.
        step = system(
            f"largest{kept} = max({axes}) {element}",
            f"taken{kept} = where(abs(largest{kept}) < FAR, stop(largest{kept}), 0)",
            f"total{kept} = sum({axes}) exp({element} - taken{kept})",
            f"z{kept} = log(total{kept}) + taken{kept}",
            constants={"FAR": float("inf")},
        )
    else:
        text = _TEXTS[node.op].format(x=element, axes=axes)
        constants = {"M": prod(x.shape[axis] for axis in over.axes)} if node.op == "ReduceMean" else None
        step = system(f"z{kept} = {text}", constants=constants)
    return node.emit(step, {"x": x}, reduced_shape(x.shape, over.axes, False), _ranked(over.kept))


def _ranked(axes: Order) -> Order:
    """The order of axes that stay, counted anew."""
    numbers = {axis: number for number, axis in enumerate(sorted(axes))}
    return tuple(numbers[axis] for axis in axes)


def _product(node: Node, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Products of so many neighbours along one axis, again and again, until one is left; exact as factors are."""
    step = 0
    for axis in axes:
        while x.shape[axis] > 1:
            left = -(-x.shape[axis] // FACTORS)
            names = axis_names(x.rank, x.order)
            count = min(FACTORS, x.shape[axis])
            factors: list[str] = []
            for number in range(count):
                place = f"{names[axis]}*{FACTORS}+{number}"
                element = cell("x", [*names[:axis], place, *names[axis + 1 :]], x.order)
                ragged = left * FACTORS > x.shape[axis] and (left - 1) * FACTORS + number >= x.shape[axis]
                factors.append(f"where({place} < N, {element}, 1)" if ragged else element)
            shape = (*x.shape[:axis], left, *x.shape[axis + 1 :])
            constants = {"N": x.shape[axis]} if any("where" in factor for factor in factors) else None
            text = f"{cell('z', names, x.order)} = {'*'.join(factors)}"
            made = system(text, constants=constants, extents={names[axis]: left})
            x = node.emit(made, {"x": x}, shape, x.order, part=f"product{step}")
            step += 1
    return node.view(x, reduced_shape(x.shape, axes, False), _ranked(_Reduction(x, axes).kept), part="squeezed")


@operator("CumSum", static=(1,))
def cumulative_sum(node: Node) -> Value:
    """Each element with all before it along an axis; without it where `exclusive`, with all behind where `reverse`."""
    x = node.tensor(0)
    numbers = node.known_integers(1)
    if len(numbers) != 1:
        node.damaged(f"input 1 must be one axis, is {numbers}")
    axis = node.checked_axis(numbers[0], x.rank)
    names = axis_names(x.rank, x.order)
    away = "+" if node.truth("reverse") else "-"
    reach, first = 1, f" {away} 1" if node.truth("exclusive") else ""
    # Sums of so many cells, then of so many such sums; beyond the ends there are zeros.
    while True:
        terms = min(FACTORS, -(-x.shape[axis] // reach))
        element = cell("x", [*names[:axis], f"{names[axis]} {away} t*R{first}", *names[axis + 1 :]], x.order)
        step = system(
            f"{cell('z', names, x.order)} = sum(t) {element}",
            constants={"R": reach},
            extents={"t": terms, names[axis]: x.shape[axis]},
        )
        part = "" if reach * FACTORS >= x.shape[axis] else f"of{reach * FACTORS}"
        x = node.emit(step, {"x": x}, x.shape, x.order, part=part)
        reach, first = reach * FACTORS, ""
        if reach >= x.shape[axis]:
            return x
