"""Networks of ONNX files: read into equations, run, trained, and written.

    model = pellucid.onnx.load("net.onnx")
    y = model.predict(x)                                    # as the file declares it
    network = model.trainable(loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(0.01), head=5)
    network.export("tuned.onnx")

`Backend` is the interface of ONNX's own conformance tests.
"""

from pellucid.exchange.onnx import Limits, OnnxModel, load
from pellucid.exchange.onnx.backend import Backend

__all__ = ["Backend", "Limits", "OnnxModel", "load"]
