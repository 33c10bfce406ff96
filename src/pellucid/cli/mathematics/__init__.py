"""The page of all equations and derived gradients, made from the package's own objects."""

from pellucid.cli.mathematics.page import mathematics_page

__all__ = ["mathematics_page"]
