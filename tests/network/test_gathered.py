"""Gathers inside sums, in arrays whose other axes are walked as one or copied into panels."""

from typing import Any

import numpy as np
import pytest

from pellucid.network import Graph, compile_graph
from pellucid.nn.equations.notation import system


def _run(text: str, **arrays: Any) -> Any:
    graph = Graph("float64", accuracy="standard")
    bindings = {
        name: graph.input(name, array.shape, "int64" if array.dtype.kind == "i" else None)
        for name, array in arrays.items()
    }
    output = graph.system(system(text), bindings)
    return compile_graph(graph, (output,))(arrays)[output]


@pytest.mark.parametrize("rows", [3, 5, 9, 16])
def test_an_index_array_is_not_read_beyond_its_end(rows: int) -> None:
    rng = np.random.default_rng(rows)
    x, a, p = rng.normal(size=(4, 7)), rng.normal(size=(rows, 4)), rng.integers(0, 7, (rows, 4))
    found = _run("z[j,i] = sum(s) a[i,s]*x[j,p[i,s]]", x=x, a=a, p=p)
    np.testing.assert_allclose(found, np.einsum("is,jis->ji", a, x[:, p]), rtol=1e-12)


def test_axes_that_are_walked_as_one_stand_before_a_gathered_one() -> None:
    rng = np.random.default_rng(0)
    x, a, p = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(6, 2)), rng.integers(0, 5, (6, 2))
    found = _run("z[n,i,j,c] = sum(s) a[j,s]*x[n,i,p[j,s],c]", x=x, a=a, p=p)
    np.testing.assert_allclose(found, np.einsum("js,nijsc->nijc", a, x[:, :, p]), rtol=1e-12)
