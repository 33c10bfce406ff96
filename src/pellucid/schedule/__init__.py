"""Equation + extents + machine -> loop nests: axis roles, tiling, splitting at borders, bounds proof, interpreter."""
