"""Pellucid: convolutional networks in which every layer is its equation.

    conv = pellucid.Equation("z[n,i,j,k] = sum(s,t,c) x[n,i*S+s-P,j*S+t-P,c] * w[s,t,c,k] + b[k]", S=2, P=1)
    z = conv(x=x, w=w, b=b)                 # compiled
    dx = conv.gradient("x")                 # another equation

Functions on arrays are in `pellucid.ops`, layers and networks in `pellucid.nn`, optimisers in `pellucid.optim`, ONNX
files in `pellucid.onnx`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pellucid import errors, nn, onnx, ops, optim, train
    from pellucid.equation import Equation
    from pellucid.ops import vjp

__version__ = "0.1.0"
__all__ = ["Equation", "__version__", "errors", "nn", "onnx", "ops", "optim", "train", "vjp"]

# Rooms load when they are first used: reading the version, or one equation, does not pay for the rest.
_HOMES = {"Equation": "pellucid.equation", "vjp": "pellucid.ops"}
_ROOMS = ("errors", "nn", "onnx", "ops", "optim", "train")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"pellucid.{name}")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pellucid' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
