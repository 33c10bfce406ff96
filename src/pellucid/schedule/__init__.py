"""Equation + extents + machine -> loop nests: axis roles, tiling, splitting at borders, bounds proof, interpreter."""

from pellucid.schedule.lower import Lowered, lower
from pellucid.schedule.machine import Machine
from pellucid.schedule.nest import Nest, Program, Tensor

__all__ = ["Lowered", "Machine", "Nest", "Program", "Tensor", "lower"]
