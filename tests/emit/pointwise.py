"""Programs of one elementwise equation, made by hand: what the tests of functions and values run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pellucid.emit import Target, compile_program
from pellucid.language.affine import Affine
from pellucid.schedule.nest import Apply, Bound, For, Group, Load, Nest, Operand, Program, Store, Tensor, Tile, Value

LANES = 8


def pointwise_program(
    value: Callable[..., Value], dtypes: Sequence[str], result: str, size: int, width: int = LANES
) -> Program:
    """z[i] = value(a0[i], a1[i], ...) for `size` elements, a multiple of `width`."""
    index = (Affine.of(0, {"block": width, "i": 1}),)
    tensors = [Tensor(f"a{number}", dtype, (size,), "input") for number, dtype in enumerate(dtypes)]
    output = Tensor("z", result, (size,), "output")
    loads = [Load(Operand(tensor.name, tensor.shape, index)) for tensor in tensors]
    store = Store(Operand("z", output.shape, index), value(*loads))
    tile = Tile((), "i", (Group(0, width, width),), None, (), (store,))
    loop = For("block", Bound.of(0), Bound.of(size // width), 1, (tile,), parallel=True)
    return Program((*tensors, output), (Nest("pointwise", (loop,)),))


def pointwise(
    value: Callable[..., Value],
    *arrays: NDArray[np.generic],
    result: str = "",
    target: Target | None = None,
    width: int = LANES,
) -> NDArray[np.generic]:
    """Run `value` over arrays of one shape, padded to whole vectors of `width` elements."""
    size = arrays[0].size
    padded = -(-size // width) * width
    given = {f"a{place}": np.resize(array, padded) for place, array in enumerate(arrays)}
    result = result or str(arrays[0].dtype)
    program = pointwise_program(value, [str(array.dtype) for array in arrays], result, padded, width)
    output = np.empty(padded, result)
    compile_program(program, target).call({**given, "z": output})
    return output[:size].reshape(arrays[0].shape)


def function(name: str) -> Callable[..., Value]:
    """The value that applies one function to its operands."""
    return lambda *loads: Apply(name, loads)
