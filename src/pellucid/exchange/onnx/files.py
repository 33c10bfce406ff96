"""An ONNX file in the place of a saved model: what a training begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pellucid.errors import ArgumentError, DataError
from pellucid.exchange.json_values import parse_json
from pellucid.exchange.model_files import ModelFiles, Preprocessing
from pellucid.exchange.onnx.graph import OnnxGraph
from pellucid.exchange.onnx.head import classes_of, with_head
from pellucid.exchange.onnx.reading import Limits, read
from pellucid.exchange.onnx.support import supported
from pellucid.exchange.onnx.trainable import as_network, without_softmax
from pellucid.nn.blueprint import Blueprint
from pellucid.nn.layer import Shape

__all__ = ["OnnxFiles", "read_onnx"]


@dataclass(frozen=True)
class OnnxFiles(ModelFiles):
    """The network of an ONNX file as a model; `graph` is what was read, without a softmax at its end."""

    graph: OnnxGraph | None = None

    def with_classes(self, names: Sequence[str], *, anew: bool = False, seed: int = 0) -> ModelFiles:
        """See `ModelFiles`; a file that does not name its classes is for any that are as many."""
        if tuple(names) == self.class_names and not anew:
            return self
        assert self.graph is not None  # given by `read_onnx`
        if not anew and not self.class_names and classes_of(self.graph) == len(names):
            return replace(self, class_names=tuple(names))
        graph = with_head(self.graph, len(names), seed=seed)
        return _files(graph, self.blueprint.input_shape, tuple(names), self)


def read_onnx(path: Path, image_size: tuple[int, int] | None = None) -> OnnxFiles:
    """The network of an ONNX file of pictures; `image_size` is their height and width where the file leaves them open.

    Raises:
        DataError: the file is damaged, or no valid ONNX.
        ArgumentError: it needs what is not supported, or cannot be trained; see `OnnxModel.trainable`.
    """
    graph = without_softmax(supported(read(path), Limits()))
    files = _files(graph, _input_shape(graph, image_size), (), None)
    names, preprocessing = _class_names(graph), _preprocessing(graph)
    if preprocessing is not None and len(preprocessing.mean) != files.blueprint.input_shape[-1]:
        preprocessing = None
    return replace(files, class_names=names if len(names) == classes_of(graph) else (), preprocessing=preprocessing)


def _class_names(graph: OnnxGraph) -> tuple[str, ...]:
    """What the file calls its classes, where it says so as `export` does."""
    try:
        return parse_json(graph.metadata.get("class_names", "[]"), graph.source).texts()
    except DataError:
        return ()


def _preprocessing(graph: OnnxGraph) -> Preprocessing | None:
    """How pictures become its input, where it says so as `export` does."""
    try:
        return Preprocessing.from_data(parse_json(graph.metadata.get("preprocessing", "null"), graph.source))
    except DataError:
        return None


def _files(graph: OnnxGraph, shape: Shape | None, names: tuple[str, ...], before: OnnxFiles | None) -> OnnxFiles:
    network = as_network(graph, shape, flat=True)
    blueprint = Blueprint(network.topology, network.input_shape)
    if before is None:
        return OnnxFiles(blueprint, names, None, network.parameters, graph)
    return replace(before, blueprint=blueprint, class_names=names, parameters=network.parameters, graph=graph)


def _input_shape(graph: OnnxGraph, image_size: tuple[int, int] | None) -> Shape | None:
    """Height, width and channels; None where the file says them itself."""
    shape = graph.inputs[0].shape if graph.inputs else None
    if shape is None or len(shape) != 4:
        raise ArgumentError(f"{graph.source}: its input must be pictures (batch, channels, height, width), is {shape}")
    _, channels, *size = shape
    if not isinstance(channels, int):
        raise ArgumentError(f"{graph.source}: its input {shape} leaves the number of channels open")
    if all(isinstance(extent, int) for extent in size):
        return None
    if image_size is None:
        raise ArgumentError(f"{graph.source}: its input {shape} leaves the size of pictures open: give `image_size`")
    return (*image_size, channels)
