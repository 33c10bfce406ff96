"""Bytes -> `OnnxGraph`: the file is hostile until shown otherwise.

In the order in which a file passes through them:

    wire.py        the bytes are protobuf, and parsing them takes no more memory than is allowed
    source.py      a path, bytes or a message -> the parsed message, and what is known of its origin
    imports.py     versions of the file and of its operator sets
    tensors.py     tensors -> arrays; external.py the files beside the model that hold some of them
    attributes.py  attributes -> values; written.py nodes as they are written; ports.py inputs and outputs
    functions.py   local functions, read; inlining.py: their nodes written where they are called
    order.py       every value is made once, before it is read, and leads to an output
    read.py        all of this for one file

`limits.py` has the numbers, `origin.py` what all of them share: the name of the file, memory taken so far, errors.
"""

from pellucid.exchange.onnx.reading.limits import Limits
from pellucid.exchange.onnx.reading.read import read

__all__ = ["Limits", "read"]
