"""Equation text and syntax trees: parsing, extents, rendering, explanation, simplification, gradients."""

from pellucid.language.explain import Explanation, explain
from pellucid.language.extents import affine, axes, infer_extents, inputs, output_shape, scalars
from pellucid.language.latex import to_latex
from pellucid.language.parse import parse, parse_expression, parse_system
from pellucid.language.render import to_text

__all__ = [
    "Explanation",
    "affine",
    "axes",
    "explain",
    "infer_extents",
    "inputs",
    "output_shape",
    "parse",
    "parse_expression",
    "parse_system",
    "scalars",
    "to_latex",
    "to_text",
]
