"""The nine topologies that onnx brings along: its own expected outputs, and ONNX Runtime's with drawn weights.

In the files every weight is 0.02, so all channels are equal, and many a wrong kernel would be right: those are checked
because the suite has them, the drawn ones because they can tell.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.runner import Runner

from pellucid.bench.topologies import TOPOLOGIES, drawn_topology, input_of
from pellucid.exchange.onnx import load
from pellucid.exchange.onnx.backend import Backend

runtime = pytest.importorskip("onnxruntime")

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_topology(name: str):
    with_drawn_weights(name)
    as_the_suite_has_it(name)


def with_drawn_weights(name: str) -> None:
    file = drawn_topology(name)
    port, x = input_of(file)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 2
    expected = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"]).run(None, {port: x})
    with load(file, threads=2) as model:
        found = model.run({port: x})
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert np.abs(other).max() > 0
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


def as_the_suite_has_it(name: str) -> None:
    model = onnx.load(FOLDER / f"light_{name}.onnx")
    known = {entry.name for entry in model.graph.initializer}
    port = next(entry for entry in model.graph.input if entry.name not in known)
    x = Runner.generate_dummy_data(port, seed=0, name=name, random=False)
    wanted = onnx.TensorProto.FromString((FOLDER / f"light_{name}_output_0.pb").read_bytes())
    (found,) = Backend.prepare(model).run([x])
    Runner.assert_similar_outputs([numpy_helper.to_array(wanted)], [found], rtol=1e-3, atol=1e-7)
