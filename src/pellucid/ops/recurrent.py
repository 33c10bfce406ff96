"""Recurrent networks on arrays (MATHS.md, section 8): one layer in one direction; float32 or float64.

`x` is (batch, steps, inputs), and the result the states at all steps, (batch, steps, features), or with output="last"
those behind the last step, (batch, features). With "state" it is what a call that goes on begins with: (batch, 1,
features), of an LSTM state and cell, (batch, 2, features). Weights are (inputs, [gates,] features) and (features,
[gates,] features), biases ([gates,] features), in the order of the gates that each function says; states (batch,
features), or as "state" gives them, 0 where they are not given. `lengths` are integers (batch,), from 1 to steps: steps
of a sequence behind its length leave the state as it is, and their outputs are 0. `reverse` walks from the last step to
the first. With `truncate` gradients pass no boundary between so many steps (truncated backpropagation through time).

All raise ShapeError for arrays that do not fit, ArgumentError for a length outside its rule or a state that is not
finite.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pellucid.errors import ArgumentError
from pellucid.nn.equations.notation import check_rank, check_shape
from pellucid.nn.equations.recurrent import GATES, Recurrent, check_nonlinearity, recurrent
from pellucid.ops.operation import Applied, Array, check_values, floats, integers, operation, shape_of

__all__ = ["gru", "lstm", "rnn"]

# What the equations call the arrays, before the number of the layer.
_LOCAL = {"weight_ih": "v", "weight_hh": "w", "bias": "b", "bias_ih": "b", "bias_hh": "d"}


@operation
def rnn(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    state: Array | None = None,
    lengths: Array | None = None,
    nonlinearity: str = "tanh",
    reverse: bool = False,
    truncate: int | None = None,
    output: str = "sequence",
) -> Applied:
    """`h[t] = f(x[t] weight_ih + h[t-1] weight_hh + bias)`, with `nonlinearity` "tanh" or "relu"."""
    check_nonlinearity(nonlinearity)
    weights, biases = {"weight_ih": weight_ih, "weight_hh": weight_hh}, {"bias": bias}
    return _applied(nonlinearity, x, weights, biases, {"state": state}, lengths, reverse, truncate, output)


@operation
def lstm(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    state: Array | None = None,
    cell: Array | None = None,
    lengths: Array | None = None,
    reverse: bool = False,
    truncate: int | None = None,
    output: str = "sequence",
) -> Applied:
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), its gates in the order input, forget, cell, output."""
    weights, biases = {"weight_ih": weight_ih, "weight_hh": weight_hh}, {"bias": bias}
    return _applied("lstm", x, weights, biases, {"state": state, "cell": cell}, lengths, reverse, truncate, output)


@operation
def gru(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
    state: Array | None = None,
    lengths: Array | None = None,
    reverse: bool = False,
    truncate: int | None = None,
    output: str = "sequence",
) -> Applied:
    """The gated recurrent unit (Cho et al., 2014), its gates in the order reset, update, new; the reset gate stands
    behind the product, as in PyTorch, so that the state has a bias of its own. Biases are given both or neither."""
    weights, biases = {"weight_ih": weight_ih, "weight_hh": weight_hh}, {"bias_ih": bias_ih, "bias_hh": bias_hh}
    if (bias_ih is None) != (bias_hh is None):
        raise ArgumentError("`bias_ih` and `bias_hh` must be given both or neither")
    return _applied("gru", x, weights, biases, {"state": state}, lengths, reverse, truncate, output)


def _applied(
    kind: str,
    x: Array,
    weights: Mapping[str, Array],
    biases: Mapping[str, Array | None],
    states: Mapping[str, Array | None],
    lengths: Array | None,
    reverse: bool,
    truncate: int | None,
    output: str,
) -> Applied:
    """`weights`, `biases` and `states` by the names and in the order of the function's arguments."""
    floats(x=x, **weights, **biases, **states)
    check_rank("x", x.shape, ("batch", "steps", "inputs"))
    check_rank("weight_hh", weights["weight_hh"].shape, ("features", *(["gates"] if GATES[kind] else []), "features"))
    network = Recurrent(
        kind,
        weights["weight_hh"].shape[-1],
        bias=any(array is not None for array in biases.values()),
        output=output,
        lengths=lengths is not None,
        truncate=truncate,
        reverse=reverse,
    )
    shapes = network.shapes(x.shape[2])
    local = {name: _LOCAL[name] + network.chains[0] for name in (*weights, *biases)}
    for name, array in (*weights.items(), *biases.items()):
        check_shape(name, shape_of(array), shapes.get(local[name], ()))
    for name, array in states.items():
        if array is None or array.ndim < 3:
            check_shape(name, shape_of(array), (x.shape[0], network.features))
        if array is not None:
            check_values(name, array, np.isfinite(array), "finite")
    if lengths is not None:
        integers("length", "lengths", lengths, 1, x.shape[1])
        check_shape("lengths", lengths.shape, x.shape[:1])
    begin = {name: shape_of(array) for name, array in states.items()}
    system = recurrent(network, x.shape, shapes, shape_of(lengths), **begin)
    parameters = {local[name]: array for name, array in (*weights.items(), *biases.items())}
    return Applied(system, {"x": x, **parameters, **states, "length": lengths})
