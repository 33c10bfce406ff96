"""RNN, LSTM and GRU: one node for each layer of the network, with the gates in ONNX's order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pellucid.exchange.onnx.export.nodes import Array, Attributes, Nodes
from pellucid.exchange.onnx.export.standard.proposal import Described, Parameters, Proposal, texts_of
from pellucid.exchange.onnx.values import natural
from pellucid.nn.equations.recurrent import OUTPUTS, Recurrent, recurrent

__all__ = ["propose"]

_OPERATORS = {"tanh": "RNN", "relu": "RNN", "lstm": "LSTM", "gru": "GRU"}
# The gates as ONNX has them: input, output, forget, cell; update, reset, new.
_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}


def propose(layer: Described) -> Proposal | None:
    """Nodes for a recurrent network without missing steps that begins with a state of zeros."""
    if layer.rank != 3 or len(layer.orders) != 1 or not any(text.startswith("u0") for text in layer.texts):
        return None
    network = next((entry for entry in _candidates(layer) if _is(layer, entry)), None)
    if network is None:
        return None

    def write(nodes: Nodes, sources: Sequence[str], parameters: Parameters) -> str:
        return _write(nodes, sources[0], network, parameters)

    return Proposal((natural(3),), natural(2 if network.output == "last" else 3), write)


def _candidates(layer: Described) -> Iterator[Recurrent]:
    """Every network that has the parameters of this one."""
    names = [entry.local for entry in layer.layer.parameters]
    chains = [name[1:] for name in names if name.startswith("w")]
    w = layer.parameter(f"w{chains[0]}") if chains else None
    if w is None or len(w) not in (2, 3):
        return
    kinds = ("tanh", "relu") if len(w) == 2 else {4: ("lstm",), 3: ("gru",)}.get(w[1], ())
    both = any(chain.endswith("r") for chain in chains) and not all(chain.endswith("r") for chain in chains)
    backwards = not both and chains[0].endswith("r")
    layers = len({chain.rstrip("r") for chain in chains})
    bias = any(name.startswith("b") for name in names)
    for kind in kinds:
        for output in OUTPUTS:
            yield Recurrent(kind, w[-1], layers, bias, both, output, reverse=backwards)


def _is(layer: Described, network: Recurrent) -> bool:
    shapes = {entry.local: entry.shape for entry in layer.layer.parameters}
    if network.shapes(layer.shape[-1]) != shapes:
        return False
    # What is not there to be seen in inference: where gradients stop.
    texts = texts_of(recurrent(network, (2, *layer.shape), shapes))
    return layer.texts == texts


def _write(nodes: Nodes, x: str, network: Recurrent, parameters: Parameters) -> str:
    x = nodes.transpose(x, (1, 0, 2))
    states: list[str] = []
    cells: list[str] = []
    for number in range(network.num_layers):
        chains = network.layer(number)
        every, *ends = nodes.add_all(
            _OPERATORS[network.kind],
            (x, *_weights(nodes, network, chains, parameters)),
            _attributes(network, chains),
            outputs=3 if network.kind == "lstm" else 2,
        )
        states.append(ends[0])
        cells += ends[1:]
        # (steps, directions, batch, features) -> (steps, batch, directions * features)
        x = nodes.transpose(every, (0, 2, 1, 3))
        x = nodes.reshape(x, (0, 0, len(chains) * network.features))
    if network.output == "sequence":
        return nodes.transpose(x, (1, 0, 2))
    if network.output == "last":
        last = nodes.transpose(states[-1], (1, 0, 2))
        return nodes.reshape(last, (0, len(network.layer(0)) * network.features))
    ends = [*states, *cells]
    whole = nodes.add("Concat", *ends, axis=0) if len(ends) > 1 else ends[0]
    return nodes.transpose(whole, (1, 0, 2))


def _attributes(network: Recurrent, chains: Sequence[str]) -> Attributes:
    direction = "bidirectional" if len(chains) == 2 else "reverse" if chains[0].endswith("r") else "forward"
    found: dict[str, Any] = {"hidden_size": network.features, "direction": direction}
    if network.kind == "gru":
        found["linear_before_reset"] = 1
    if network.kind in ("tanh", "relu"):
        found["activations"] = [network.kind.title()] * len(chains)
    return found


def _weights(nodes: Nodes, network: Recurrent, chains: Sequence[str], parameters: Parameters) -> list[str]:
    """W (directions, gates * features, inputs), R, and B with the biases of input and state one behind the other."""
    first = chains[0]
    names = [
        parameters.write(
            nodes, f"{local}{first}", np.stack([_rows(network, parameters[f"{local}{c}"]) for c in chains])
        )
        for local in "vw"
    ]
    if network.bias:
        biases = [_bias(network, parameters, chain) for chain in chains]
        names.append(parameters.write(nodes, f"b{first}", np.stack(biases)))
    return names


def _rows(network: Recurrent, array: Array) -> Array:
    """(features, gates, units) -> (gates * units, features), the gates in ONNX's order."""
    array = array.reshape(len(array), -1, network.features)
    gates = _GATES.get(network.kind, (0,))
    return array[:, list(gates)].reshape(len(array), -1).T


def _bias(network: Recurrent, parameters: Parameters, chain: str) -> Array:
    gates = list(_GATES.get(network.kind, (0,)))
    own = parameters[f"b{chain}"].reshape(-1, network.features)[gates].reshape(-1)
    other = np.zeros_like(own)
    if network.kind == "gru":
        other = parameters[f"d{chain}"].reshape(-1, network.features)[gates].reshape(-1)
    return np.concatenate([own, other])
