"""Operations that move values, against PyTorch and NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid import ops
from pellucid.network.graph import Graph
from pellucid.network.run import compile_graph
from pellucid.nn import equations


@pytest.mark.parametrize("start", [0, 1, 2, -1, -2])
def test_flatten(judge, draw, start):
    judge.agree(ops.flatten, lambda x: x.flatten(start), [draw(2, 3, 4, 5)], start_dim=start, apart=0)


def test_flatten_of_one_axis(judge, draw):
    judge.agree(ops.flatten, lambda x: x.flatten(0), [draw(5)], start_dim=0, apart=0)


@pytest.mark.parametrize("factor", [1, 2, (3, 2)])
def test_upsample_nearest(judge, draw, factor):
    rows, columns = (factor, factor) if isinstance(factor, int) else factor

    def theirs(x):
        return x.repeat_interleave(rows, 1).repeat_interleave(columns, 2)

    judge.agree(ops.upsample_nearest, theirs, [draw(2, 3, 4, 2)], scale_factor=factor)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_pixel_shuffle(judge, draw, block):
    def theirs(x):
        return judge.torch.nn.functional.pixel_shuffle(x.movedim(-1, 1), block).movedim(1, -1)

    judge.agree(ops.pixel_shuffle, theirs, [draw(2, 3, 4, 2 * block**2)], upscale_factor=block, apart=0)


@pytest.mark.parametrize("block", [1, 2, 3])
def test_depth_to_space_and_back(judge, literally, draw, block):
    def theirs(x):
        blocks = x.reshape(2, 3, 4, block, block, 2)
        return blocks.permute(0, 1, 3, 2, 4, 5).reshape(2, 3 * block, 4 * block, 2)

    x = draw(2, 3, 4, 2 * block**2)
    judge.agree(ops.depth_to_space, theirs, [x], block=block, apart=0)
    wide = literally(ops.depth_to_space, x, block)
    np.testing.assert_array_equal(literally(ops.space_to_depth, wide, block), x)


def test_gradient_of_space_to_depth(judge, draw):
    def theirs(x):
        return x.reshape(2, 3, 2, 2, 2, 3).permute(0, 1, 3, 2, 4, 5).reshape(2, 3, 2, 12)

    judge.agree(ops.space_to_depth, theirs, [draw(2, 6, 4, 3)], block=2, apart=0)


@pytest.mark.parametrize("dim", [-1, 0, 1])
def test_concatenate(draw, dim):
    shapes = [[2, 3, 4], [2, 3, 4], [2, 3, 4]]
    for number, shape in enumerate(shapes):
        shape[dim] = number + 1
    arrays = {f"x{number}": draw(*shape) for number, shape in enumerate(shapes)}
    graph = Graph("float64")
    names = {name: graph.input(name, array.shape) for name, array in arrays.items()}
    system = equations.concatenate([array.shape for array in arrays.values()], dim=dim)
    output = graph.system(system, names)
    result = compile_graph(graph, [output], backend="reference")(arrays)[output]
    np.testing.assert_array_equal(result, np.concatenate(list(arrays.values()), dim))
