"""What operators mean for arrays outside the program: integers, booleans, shapes and constants, with NumPy.

Each function gets a node and the arrays of its inputs, and gives the result in the type that ONNX has for it. Before
anything large is made its size is compared with the limits.
"""

from pellucid.exchange.onnx.host import arithmetic, creation, moving, reductions, selection, types

__all__: list[str] = []

_FAMILIES = (arithmetic, creation, moving, reductions, selection, types)
