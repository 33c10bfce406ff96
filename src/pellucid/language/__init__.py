"""Equation text and syntax trees: parsing, extents, rendering, explanation, simplification, gradients."""

from pellucid.language.parse import parse, parse_expression, parse_system

__all__ = ["parse", "parse_expression", "parse_system"]
