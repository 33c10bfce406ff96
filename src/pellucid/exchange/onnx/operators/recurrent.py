"""RNN, LSTM and GRU: the recurrences of `nn`, with the gates of a file turned to the order that they have there.

In the program a sequence is (batch, steps, features), gates are a tensor's middle axis, and the states of both
directions stand one behind the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Host, Tensor, Value
from pellucid.nn.equations.notation import system
from pellucid.nn.equations.recurrent import FUNCTIONS, Recurrent, recurrent
from pellucid.nn.layer import Shape

__all__: list[str] = []

# For each gate of `nn`, its number in a file: LSTM i, o, f, c; GRU z, r, h.
GATES = {"RNN": (0,), "LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2)}
# Peepholes of a file are those of the gates i, o, f.
PEEPHOLES = (0, 2, 1)
USUAL = {"RNN": ("Tanh",), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh")}
# The text of a function, and what `alpha` and `beta` are where a file does not say it; None: it must.
ACTIVATIONS: dict[str, tuple[str, dict[str, float | None]]] = {
    "Sigmoid": ("sigmoid({})", {}),
    "Tanh": ("tanh({})", {}),
    "Relu": ("max({}, 0)", {}),
    "Affine": ("(ALPHA*({}) + BETA)", {"alpha": None, "beta": None}),
    "LeakyRelu": ("where({0} < 0, ALPHA*({0}), {0})", {"alpha": 0.01}),
    "ThresholdedRelu": ("where({0} > ALPHA, {0}, 0)", {"alpha": 1.0}),
    "ScaledTanh": ("ALPHA*tanh(BETA*({}))", {"alpha": None, "beta": None}),
    "HardSigmoid": ("max(min(ALPHA*({}) + BETA, 1), 0)", {"alpha": 0.2, "beta": 0.5}),
    "Elu": ("where({0} < 0, ALPHA*expm1(min({0}, 0)), {0})", {"alpha": 1.0}),
    "Softsign": ("({0}) / (1 + abs({0}))", {}),
    "Softplus": ("softplus({})", {}),
}
_NAMES = {name.lower(): name for name in ACTIVATIONS}


@dataclass(frozen=True)
class _Sizes:
    directions: int
    batch: int
    steps: int
    inputs: int
    features: int


@operator("RNN", "LSTM", "GRU")
def recurrence(node: Node) -> Sequence[Value | None]:
    """The states of all steps, those behind the last step, and an LSTM's cells behind the last step."""
    batch_first = node.version >= 14 and node.truth("layout")
    order = (0, 1, 2) if batch_first else (1, 0, 2)
    x = node.tensor(0, order)
    sizes = _sizes(node, x)
    lengths = _lengths(node, sizes)
    sources: dict[str, Tensor] = {"x": x}
    network = _network(node, sizes, lengths is not None)
    sources |= _parameters(node, network, sizes)
    if lengths is not None:
        sources["length"] = lengths
    for number, name in ((5, "state"), (6, "cell"))[: 2 if node.op == "LSTM" else 1]:
        given = node.optional(number, order)
        if given is not None:
            _check(node, number, given.shape, (sizes.directions, sizes.batch, sizes.features), batch_first)
            known = _known(node, number)
            # Zeros are what a recurrence begins with where nothing is given, for a batch of any size.
            if known is None or known.any():
                sources[name] = given
    if node.op == "LSTM" and ("state" in sources) != ("cell" in sources):
        missing = "cell" if "state" in sources else "state"
        zero = Host(np.zeros((sizes.batch, sizes.directions, sizes.features), x.dtype))
        sources[missing] = node.as_tensor(zero)
    step = recurrent(
        network,
        x.memory,
        {name: source.memory for name, source in sources.items()},
        None if lengths is None else lengths.memory,
        *(sources[name].memory if name in sources else None for name in ("state", "cell")),
    )
    weights = {name: _called(name) for name in sources if name[0] in "vwbdl" and name != "length"}
    wide = sizes.directions * sizes.features
    if network.output in ("sequence", "last"):
        shape: Shape = (sizes.batch, sizes.steps, wide) if network.output == "sequence" else (sizes.batch, wide)
    else:
        rows = (sizes.batch, network.states, sizes.features)
        shape = (sizes.batch, sizes.steps, *rows[1:]) if network.at_every_step else rows
    made = node.emit(step, sources, shape, weights=weights)
    return _outputs(node, network, sizes, made, lengths, batch_first)


def _check(node: Node, number: int, found: Shape, wanted: Shape, batch_first: bool) -> None:
    """An input whose first axes are (directions, batch), or with the layout 1 the other way round."""
    wanted = (wanted[1], wanted[0], *wanted[2:]) if batch_first else wanted
    if found != wanted:
        node.damaged(f"input {number} must have shape {wanted}, has {found}")


def _sizes(node: Node, x: Tensor) -> _Sizes:
    direction = node.text("direction", "forward", choices=("forward", "reverse", "bidirectional"))
    directions = 2 if direction == "bidirectional" else 1
    batch, steps, inputs = x.memory
    gates = len(GATES[node.op])
    w, r = node.value(1).shape, node.value(2).shape
    if len(r) != 3 or not r[2]:
        node.damaged(f"input 2 must have 3 axes, has shape {r}")
    features = node.integer("hidden_size", r[2], least=1)
    for number, found, wanted in (
        (1, w, (directions, gates * features, inputs)),
        (2, r, (directions, gates * features, features)),
    ):
        if found != wanted:
            node.damaged(f"input {number} must have shape {wanted}, has {found}")
    return _Sizes(directions, batch, steps, inputs, features)


def _lengths(node: Node, sizes: _Sizes) -> Tensor | None:
    """How many steps each sequence has, where not all have all."""
    if not node.given(4):
        return None
    value = node.value(4)
    if value.shape != (sizes.batch,):
        node.damaged(f"input 4 must have shape {(sizes.batch,)}, has {value.shape}")
    if isinstance(value, Host) and not value.varies:
        wrong = next((int(one) for one in value.array.tolist() if not 0 <= one <= sizes.steps), None)
        if wrong is not None:
            node.damaged(f"input 4 has the length {wrong}; lengths are from 0 to {sizes.steps}")
        if (value.array == sizes.steps).all():
            return None
    return node.lookup(4)


def _network(node: Node, sizes: _Sizes, masked: bool) -> Recurrent:
    functions = _functions(node, sizes.directions)
    kind = {"RNN": "tanh", "LSTM": "lstm", "GRU": "gru"}[node.op]
    if node.op == "RNN" and set(functions) == {FUNCTIONS["relu"]}:
        kind = "relu"
    clip = node.number("clip") if node.has("clip") else None
    if clip is not None and clip < 0:
        node.damaged(f"attribute `clip` (={clip:g}) must be at least 0")
    return Recurrent(
        kind,
        sizes.features,
        bidirectional=sizes.directions == 2,
        bias=node.given(3),
        output=_kept(node),
        lengths=masked,
        reverse=node.text("direction", "forward") == "reverse",
        functions=() if set(functions) == {FUNCTIONS[kind]} else functions,
        clip=clip or None,
        coupled=node.op == "LSTM" and node.truth("input_forget"),
        peepholes=node.op == "LSTM" and node.given(7),
        at_every_step=node.op == "LSTM" and node.wants(2) and node.wants(0),
        reset_before=node.op == "GRU" and not node.truth("linear_before_reset"),
    )


def _kept(node: Node) -> str:
    """What of the recurrence is kept so that all outputs that are read follow from it."""
    if node.op == "LSTM" and node.wants(2):
        return "state"
    return "last" if node.wants(1) and not node.wants(0) else "sequence"


def _functions(node: Node, directions: int) -> tuple[tuple[str, ...], ...]:
    """The texts of the functions, for each direction."""
    count = len(USUAL[node.op])
    names = node.spec.attributes.get("activations", USUAL[node.op] * directions)
    if not isinstance(names, tuple) or len(names) != count * directions:
        node.damaged(f"attribute `activations` (={names!r}) must be {count * directions} names")
    given = {key: list(node.numbers(f"activation_{key}", ())) for key in ("alpha", "beta")}
    texts: list[str] = []
    for name in names:
        known = _NAMES.get(str(name).lower())
        if known is None:
            node.damaged(f"attribute `activations` has {name!r}; it must be one of {', '.join(ACTIVATIONS)}")
        text, parameters = ACTIVATIONS[known]
        for key, default in parameters.items():
            value = given[key].pop(0) if given[key] else default
            if value is None:
                node.damaged(f"attribute `activation_{key}` has no number for {known}")
            text = text.replace(key.upper(), f"({value!r})")
        texts.append(text)
    return tuple(tuple(texts[start : start + count]) for start in range(0, len(texts), count))


def _called(name: str) -> str:
    """The name of a parameter, as `nn` has it: `weight_ih_l0_reverse`."""
    kinds = {"v": "weight_ih", "w": "weight_hh", "b": "bias", "d": "bias_hh", "l": "weight_peephole"}
    return f"{kinds[name[0]]}_l0{'_reverse' if name.endswith('r') else ''}"


def _parameters(node: Node, network: Recurrent, sizes: _Sizes) -> dict[str, Tensor]:
    """Weights and biases of each direction, their gates in the order of `nn`."""
    blocks = GATES[node.op]
    rows = np.asarray([[gate * sizes.features + k for k in range(sizes.features)] for gate in blocks])
    if node.given(3) and node.value(3).shape != (sizes.directions, 2 * rows.size):
        node.damaged(f"input 3 must have shape {(sizes.directions, 2 * rows.size)}, has {node.value(3).shape}")
    if network.peepholes and node.value(7).shape != (sizes.directions, 3 * sizes.features):
        node.damaged(f"input 7 must have shape {(sizes.directions, 3 * sizes.features)}, has {node.value(7).shape}")
    seen = np.asarray([[gate * sizes.features + k for k in range(sizes.features)] for gate in PEEPHOLES])
    found: dict[str, Tensor] = {}
    for direction, chain in enumerate(network.chains):
        found[f"v{chain}"] = _weight(node, 1, direction, rows)
        found[f"w{chain}"] = _weight(node, 2, direction, rows)
        if network.bias:
            behind = rows + rows.size
            if node.op == "GRU" and not network.reset_before:
                found[f"b{chain}"] = _bias(node, 3, direction, [rows])
                found[f"d{chain}"] = _bias(node, 3, direction, [behind])
            else:
                found[f"b{chain}"] = _bias(node, 3, direction, [rows, behind])
        if network.peepholes:
            found[f"l{chain}"] = _bias(node, 7, direction, [seen])
    return found


def _known(node: Node, number: int) -> Array | None:
    """The array that an input is, where it is known."""
    value = node.value(number)
    if isinstance(value, Tensor):
        return None if value.host is None else value.host.array
    return None if value.varies else value.array


def _weight(node: Node, number: int, direction: int, rows: Array) -> Tensor:
    """(directions, gates * features, inputs) -> (inputs, gates, features); without gates' axis where there is one."""
    array = _known(node, number)
    single = len(rows) == 1
    if array is not None:
        turned = array[direction][rows].transpose(2, 0, 1)
        return node.as_tensor(Host(np.ascontiguousarray(turned[:, 0] if single else turned)))
    x = node.tensor(number, (0, 1, 2))
    part = f"turned{number}.{direction}"
    table = node.table(f"{part}.rows", rows[0] if single else rows)
    text = f"v[c,k] = x[{direction},p[k],c]" if single else f"v[c,q,k] = x[{direction},p[q,k],c]"
    shape = (x.shape[2], *(rows.shape[1:] if single else rows.shape))
    return node.emit(system(text), {"x": x, "p": table}, shape, part=part)


def _bias(node: Node, number: int, direction: int, parts: Sequence[Array]) -> Tensor:
    """The sum of some rows of (directions, rows): (gates, features), or (features,) where there is one gate."""
    array = _known(node, number)
    single = len(parts[0]) == 1
    if array is not None:
        total: Array = np.sum([array[direction][rows] for rows in parts], axis=0, dtype=array.dtype)
        return node.as_tensor(Host(np.ascontiguousarray(total[0] if single else total)))
    x = node.tensor(number, (0, 1))
    part = f"turned{number}.{direction}.{int(parts[0].max())}"
    at = "k" if single else "q,k"
    sources = {"x": x}
    for place, rows in enumerate(parts):
        sources[f"p{place}"] = node.table(f"{part}.rows{place}", rows[0] if single else rows)
    terms = " + ".join(f"x[{direction},p{place}[{at}]]" for place in range(len(parts)))
    shape = parts[0].shape[1:] if single else parts[0].shape
    return node.emit(system(f"b[{at}] = {terms}"), sources, shape, part=part)


def _outputs(
    node: Node, network: Recurrent, sizes: _Sizes, made: Tensor, lengths: Tensor | None, batch_first: bool
) -> list[Value | None]:
    """The outputs that are read, of what was kept."""
    batch, steps, directions, features = sizes.batch, sizes.steps, sizes.directions, sizes.features

    def sequence(x: Tensor) -> Tensor:
        if batch_first:
            return node.view(x, (batch, steps, directions, features), part="Y")
        return node.view(x, (steps, directions, batch, features), (2, 0, 1, 3), part="Y")

    def behind(x: Tensor, part: str) -> Tensor:
        if batch_first:
            return node.view(x, (batch, directions, features), part=part)
        return node.view(x, (directions, batch, features), (1, 0, 2), part=part)

    def chosen(text: str, part: str, constants: dict[str, int], shape: Shape) -> Tensor:
        extents: dict[str, int] = dict(
            zip(("n", "t", "i", "k") if len(shape) == 4 else ("n", "i", "k"), shape, strict=True)
        )
        step = system(text, constants=constants, extents=extents)
        length = {"length": lengths} if lengths is not None and "length" in text else {}
        return node.emit(step, {"y": made, **length}, shape, part=part)

    results: list[Value | None] = [None] * (3 if node.op == "LSTM" else 2)
    ends = (batch, directions, features)
    if network.output == "last":
        results[1] = behind(made, "Y_h")
    elif network.output == "state" and not network.at_every_step:
        if node.wants(1):
            results[1] = behind(chosen("z[n,i,k] = y[n,i + 0,k]", "state", {}, ends), "Y_h")
        results[2] = behind(chosen("z[n,i,k] = y[n,i + O,k]", "cell", {"O": directions}, ends), "Y_c")
    else:
        whole = made
        if network.at_every_step:
            text = "z[n,t,i,k] = y[n,t,i + 0,k]"
            results[0] = sequence(chosen(text, "states", {}, (batch, steps, directions, features)))
        else:
            whole = made = node.view(made, (batch, steps, directions, features), part="directions")
            results[0] = sequence(whole)
        if node.wants(1):
            last = "length[n] - 1" if lengths is not None else "L"
            places = {chain: "0" if chain.endswith("r") else last for chain in network.chains}
            reads = [f"y[n,{place},{number},k]" for number, place in enumerate(places.values())]
            body = reads[0] if directions == 1 else f"where(i == 0, {reads[0]}, {reads[1]})"
            constants = {"L": steps - 1} if "L" in places.values() else {}
            results[1] = behind(chosen(f"z[n,i,k] = {body}", "state", constants, ends), "Y_h")
        if network.at_every_step:
            reads = [
                f"y[n,{'0' if chain.endswith('r') else 'L'},{number + directions},k]"
                for number, chain in enumerate(network.chains)
            ]
            body = reads[0] if directions == 1 else f"where(i == 0, {reads[0]}, {reads[1]})"
            constants = {"L": steps - 1} if "L" in body else {}
            results[2] = behind(chosen(f"z[n,i,k] = {body}", "cell", constants, ends), "Y_c")
    return results
