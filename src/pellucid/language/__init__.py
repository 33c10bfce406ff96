"""Equation text and syntax trees: parsing, extents, rendering, explanation, simplification, gradients."""

from pellucid.language.extents import affine, axes, infer_extents, inputs, output_shape, scalars
from pellucid.language.parse import parse, parse_expression, parse_system
from pellucid.language.render import to_text

__all__ = [
    "affine",
    "axes",
    "infer_extents",
    "inputs",
    "output_shape",
    "parse",
    "parse_expression",
    "parse_system",
    "scalars",
    "to_text",
]
