"""ONNX files: read into equations, run, trained, and written."""

from pellucid.exchange.onnx.load import load
from pellucid.exchange.onnx.model import OnnxModel
from pellucid.exchange.onnx.reading import Limits

__all__ = ["Limits", "OnnxModel", "load"]
