"""Recurrent layers (MATHS.md, section 8): they read (batch, steps, features), and the steps one after the other.

Parameters are called as in PyTorch, by layer and direction: `weight_ih_l0` (features of the input, [gates,] features),
`weight_hh_l0` (features, [gates,] features) and `bias_l0` ([gates,] features); a GRU's state has a bias of its own,
`bias_hh_l0`. `_reverse` stands behind those of the way back.
"""

from __future__ import annotations

from dataclasses import dataclass

from pellucid.errors import ArgumentError, ShapeError
from pellucid.nn.equations.recurrent import Recurrent, check_nonlinearity, recurrent
from pellucid.nn.initialisers import Constant, ForgetGate, Initialiser, initialiser
from pellucid.nn.layer import Parameter, Shape, Stage
from pellucid.nn.symbolic import apply

__all__ = ["GRU", "LSTM", "RNN"]


@dataclass(frozen=True)
class RNN:
    """The simple recurrent network: `h[t] = f(x[t] U + h[t-1] W + b)`, with `nonlinearity` "tanh" or "relu".

    Args:
        features: of the state.
        num_layers: each reads the states of the one before.
        bidirectional: a second network walks from the last step to the first; its states stand behind the others.
        output: "sequence" for the states of the last layer at all steps, (batch, steps, features), or "last" for those
            behind the last step, (batch, features); features doubled where it is bidirectional. "state" for those of
            all layers and directions behind the last step, (batch, layers * directions, features).
        padding: rows of this value at the end of a sequence are no steps: the state stays as it is, outputs are 0.
        truncate: gradients pass no boundary between so many steps (truncated backpropagation through time).
        weight, recurrent_weight: initialisers.

    Called on a second symbol, (batch, layers * directions, features), it begins with these states.
    """

    features: int
    num_layers: int = 1
    nonlinearity: str = "tanh"
    bias: bool = True
    bidirectional: bool = False
    output: str = "sequence"
    padding: float | None = None
    truncate: int | None = None
    weight: str | Initialiser = "glorot_uniform"
    recurrent_weight: str | Initialiser = "orthogonal"

    def __post_init__(self) -> None:
        check_nonlinearity(self.nonlinearity)
        _network(self, self.nonlinearity)

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return _stage(self, _network(self, self.nonlinearity), shapes, ("state",))

    __call__ = apply


@dataclass(frozen=True)
class LSTM:
    """Long short-term memory: a cell that gates write to, forget and read. Arguments as for `RNN`.

    Gates stand in the order input, forget, cell, output; the forget gate's bias begins with 1. The output "state" has
    the cells behind the states. Called on a second symbol of that shape, or on three with states and cells apart, it
    begins with them.
    """

    features: int
    num_layers: int = 1
    bias: bool = True
    bidirectional: bool = False
    output: str = "sequence"
    padding: float | None = None
    truncate: int | None = None
    weight: str | Initialiser = "glorot_uniform"
    recurrent_weight: str | Initialiser = "orthogonal"

    def __post_init__(self) -> None:
        _network(self, "lstm")

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return _stage(self, _network(self, "lstm"), shapes, ("state", "cell"))

    __call__ = apply


@dataclass(frozen=True)
class GRU:
    """The gated recurrent unit, with the reset gate behind the product (as in PyTorch). Arguments as for `RNN`.

    Gates stand in the order reset, update, new.
    """

    features: int
    num_layers: int = 1
    bias: bool = True
    bidirectional: bool = False
    output: str = "sequence"
    padding: float | None = None
    truncate: int | None = None
    weight: str | Initialiser = "glorot_uniform"
    recurrent_weight: str | Initialiser = "orthogonal"

    def __post_init__(self) -> None:
        _network(self, "gru")

    def stage(self, *shapes: Shape) -> Stage:
        """See `Layer`."""
        return _stage(self, _network(self, "gru"), shapes, ("state",))

    __call__ = apply


def _network(layer: RNN | LSTM | GRU, kind: str) -> Recurrent:
    initialiser(layer.weight)
    initialiser(layer.recurrent_weight)
    return Recurrent(
        kind,
        layer.features,
        layer.num_layers,
        layer.bias,
        layer.bidirectional,
        layer.output,
        padding=layer.padding,
        truncate=layer.truncate,
    )


def _stage(layer: RNN | LSTM | GRU, network: Recurrent, shapes: tuple[Shape, ...], states: tuple[str, ...]) -> Stage:
    name = type(layer).__name__
    if not 1 <= len(shapes) <= 1 + len(states):
        raise ArgumentError(f"{name} takes its input, and may take {' and '.join(states)}; {len(shapes)} are given")
    x = shapes[0]
    if len(x) != 3:
        hint = "; Flatten(start_dim=2) makes the axes behind the steps one" if len(x) > 3 else ""
        raise ShapeError(f"{name} takes (batch, steps, features); its input has shape {x}{hint}")
    given = dict(zip(states, shapes[1:], strict=False))
    parameters = tuple(_parameter(layer, network, local, shape) for local, shape in network.shapes(x[2]).items())
    system = recurrent(network, x, {entry.local: entry.shape for entry in parameters}, None, **given)
    watched = {f"state_{_suffix(chain)}": f"h{chain}" for chain in network.chains}
    return Stage(system, parameters, ("x", *given), states=watched)


def _suffix(chain: str) -> str:
    """What PyTorch puts behind the names of a layer in one direction."""
    return f"l{chain.rstrip('r')}{'_reverse' if chain.endswith('r') else ''}"


def _parameter(layer: RNN | LSTM | GRU, network: Recurrent, local: str, shape: Shape) -> Parameter:
    kind, of = local[0], _suffix(local[1:])
    if kind in "vw":
        name = f"weight_{'ih' if kind == 'v' else 'hh'}_{of}"
        initial = initialiser(layer.weight if kind == "v" else layer.recurrent_weight)
        return Parameter(name, local, shape, initial, shape[0], shape[-1], decayed=True)
    name = f"bias_{'hh_' if kind == 'd' else 'ih_' if network.kind == 'gru' else ''}{of}"
    return Parameter(name, local, shape, ForgetGate(1.0) if network.kind == "lstm" else Constant(0.0))
