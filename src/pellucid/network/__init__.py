"""Graphs of equations: built, differentiated in reverse, planned in memory, and run as one program."""

from pellucid.network.graph import ACCURACIES, Concatenation, Equation, Graph, Loop, Value, View
from pellucid.network.reverse import add_values, differentiate, zeros
from pellucid.network.run import BACKENDS, CompiledGraph, compile_graph

__all__ = [
    "ACCURACIES",
    "BACKENDS",
    "CompiledGraph",
    "Concatenation",
    "Equation",
    "Graph",
    "Loop",
    "Value",
    "View",
    "add_values",
    "compile_graph",
    "differentiate",
    "zeros",
]
