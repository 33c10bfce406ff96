"""Which operators of a file are not supported: all are named at once, before anything is made."""

from __future__ import annotations

from difflib import SequenceMatcher
from re import findall

from pellucid.errors import ArgumentError
from pellucid.exchange.onnx.graph import OnnxGraph, OnnxNode
from pellucid.exchange.onnx.operators import HOST_OPERATORS, OPERATORS
from pellucid.exchange.onnx.reading.limits import Limits
from pellucid.exchange.onnx.reading.standard import with_standard_functions

__all__ = ["check_supported", "supported"]

# So many nodes of an operator are named; the others are counted.
NAMED = 3
# What does the most of the same, where a name does not tell.
NEAREST = {
    "Col2Im": "ConvTranspose",
    "DFT": "MatMul",
    "GridSample": "Resize",
    "If": "Where",
    "Loop": "RNN",
    "MaxRoiPool": "MaxPool",
    "NonMaxSuppression": "TopK",
    "Optional": "Identity",
    "QuantizeLinear": "Cast",
    "DequantizeLinear": "Cast",
    "RoiAlign": "Resize",
    "STFT": "MatMul",
    "Scan": "RNN",
    "SequenceAt": "Gather",
    "SequenceConstruct": "Concat",
    "ConcatFromSequence": "Concat",
    "SplitToSequence": "Split",
    "Attention": "Softmax",
}


def supported(graph: OnnxGraph, limits: Limits) -> OnnxGraph:
    """The graph with operators that the standard defines by others written out; ArgumentError as `check_supported`."""
    graph = with_standard_functions(graph, OPERATORS.keys() | HOST_OPERATORS.keys(), limits)
    check_supported(graph)
    return graph


def check_supported(graph: OnnxGraph) -> None:
    """Raises ArgumentError with a line for each operator that is not supported: its version, nodes, and the supported
    operator that is nearest to it."""
    missing: dict[tuple[str, str, int], list[OnnxNode]] = {}
    for node in graph.nodes:
        if node.domain or (node.op not in OPERATORS and node.op not in HOST_OPERATORS):
            missing.setdefault((node.domain, node.op, node.version), []).append(node)
    if not missing:
        return
    count = "1 operator of the file is" if len(missing) == 1 else f"{len(missing)} operators of the file are"
    lines = [_line(*key, nodes) for key, nodes in missing.items()]
    raise ArgumentError("\n  ".join([f"{graph.source}: {count} not supported:", *lines]))


def _line(domain: str, op: str, version: int, nodes: list[OnnxNode]) -> str:
    """`NonMaxSuppression (opset 11; node 'nms'; nearest supported: TopK)`."""
    title, told = (f"{domain}.{op}", f"version {version}") if domain else (op, f"opset {version}")
    names = ", ".join(repr(node.name) for node in nodes[:NAMED])
    if len(nodes) > NAMED:
        names += f" and {len(nodes) - NAMED:,} more"
    return f"{title} ({told}; node{'s' if len(nodes) > 1 else ''} {names}; nearest supported: {_nearest(op)})"


def _nearest(op: str) -> str:
    """The operator that is known to do nearly the same, or whose name has the most in common."""
    supported = sorted(OPERATORS.keys() | HOST_OPERATORS.keys())
    if NEAREST.get(op) in supported:
        return NEAREST[op]
    words = set(_words(op))

    def likeness(name: str) -> tuple[int, float]:
        return len(words & set(_words(name))), SequenceMatcher(None, op.lower(), name.lower()).ratio()

    return max(supported, key=likeness)


def _words(name: str) -> list[str]:
    """`FusedConv` is `fused`, `conv`."""
    return [word.lower() for word in findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]+|[a-z]+|\d+", name)]
