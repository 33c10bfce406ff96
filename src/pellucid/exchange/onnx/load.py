"""A file of ONNX as a model that runs."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from pellucid.exchange.onnx.model import OnnxModel
from pellucid.exchange.onnx.reading import Limits, read

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["load"]


def load(
    source: str | PathLike[str] | bytes | ModelProto,
    *,
    threads: int = 1,
    accuracy: str = "standard",
    backend: str = "compiled",
    limits: Limits | None = None,
) -> OnnxModel:
    """The network of an ONNX file (a path, its bytes, or a message that was parsed), opset 7 and later.

    Nothing is compiled before the first `predict`; nothing in the file is believed before it is checked.

    Args:
        source: the file.
        threads: that share each prediction; results do not depend on them.
        accuracy: see `nn.Sequential.build`.
        backend: "compiled", or "reference" for the literal evaluation in float64.
        limits: what a file may ask for: bytes, nodes, memory.

    Raises:
        DataError: the file is damaged, or no valid ONNX.
        ArgumentError: it needs what is not supported; all operators that are not are named at once.
        OutOfMemoryError: it asks for more memory than the limits allow.
    """
    chosen = Limits() if limits is None else limits
    return OnnxModel(read(source, limits=chosen), threads=threads, accuracy=accuracy, backend=backend, limits=chosen)
