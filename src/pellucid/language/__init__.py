"""Equation text and syntax trees: parsing, extents, rendering, explanation, simplification, gradients."""

from pellucid.language.correlation import Correlation, recognise
from pellucid.language.explain import Explanation, explain
from pellucid.language.extents import affine, axes, infer_extents, inputs, output_shape, scalars
from pellucid.language.gradient import Gradient, derive, gradient
from pellucid.language.latex import to_latex
from pellucid.language.neighbours import find_neighbours, side_by_side
from pellucid.language.parse import parse, parse_expression, parse_system
from pellucid.language.render import to_text
from pellucid.language.simplify import simplify
from pellucid.language.solve import Solved, solve
from pellucid.language.tiles import choose_tiles
from pellucid.language.winograd import Rewritten, Tile, rewrite

__all__ = [
    "Correlation",
    "Explanation",
    "Gradient",
    "Rewritten",
    "Solved",
    "Tile",
    "affine",
    "axes",
    "choose_tiles",
    "derive",
    "explain",
    "find_neighbours",
    "gradient",
    "infer_extents",
    "inputs",
    "output_shape",
    "parse",
    "parse_expression",
    "parse_system",
    "recognise",
    "rewrite",
    "scalars",
    "side_by_side",
    "simplify",
    "solve",
    "to_latex",
    "to_text",
]
