"""ONNX files: read into equations, run, trained, and written."""

from pellucid.errors import MissingPackageError

try:
    import onnx as _onnx  # pyright: ignore[reportUnusedImport]  # noqa: F401
except ImportError as error:
    raise MissingPackageError("ONNX files need the package onnx: pip install 'pellucid[onnx]'") from error

from pellucid.exchange.onnx.load import load
from pellucid.exchange.onnx.model import OnnxModel
from pellucid.exchange.onnx.reading import Limits

__all__ = ["Limits", "OnnxModel", "load"]
