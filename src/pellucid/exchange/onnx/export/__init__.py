"""Models as ONNX files.

In the order in which a model passes through them:

    network.py       layers in order: where axes stand in the file, what is turned between them
    standard/        operators that may say what a layer says, found by its equations
    proof.py         whether reading them back gives the layer's equations
    functions.py     any equations as a function of the file: expressions.py, accesses.py, products.py, arithmetic.py
                     write terms.py as nodes
    pictures.py      bytes to inputs, outputs to probabilities
    model.py         all of this as one file
"""

from pellucid.exchange.onnx.export.model import DEFAULT_OPSET, LEAST_OPSET, export

__all__ = ["DEFAULT_OPSET", "LEAST_OPSET", "export"]
