"""Recurrent networks (MATHS.md, section 8): simple, LSTM (Hochreiter and Schmidhuber, 1997) and GRU (Cho et al., 2014).

Axes    n sequence; t step; c feature of the input; j, k feature of the state, before and after; q gate.
Names   of a layer's tensors end with its number, and with `r` where it walks from the last step to the first:
        u what the input brings; a what goes into the gates; h state; c cell of an LSTM; p the state as a step reads it;
        e the state that a step makes, where it may be missing; i, f, g, o and r, z, g the gates of an LSTM and a GRU;
        m what an LSTM's output gate lets pass; s what a GRU's reset gate lets pass before the product; l what an LSTM's
        gates see of the cell; y what a layer gives.

The products with the input wait for nothing, so they are equations of all steps at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pellucid.errors import ArgumentError, ShapeError
from pellucid.language.binding import names_of
from pellucid.language.system import System
from pellucid.nn.equations.notation import Shape, check_rank, check_shape, formula, system
from pellucid.nn.equations.window import integer

__all__ = ["GATES", "KINDS", "OUTPUTS", "Recurrent", "check_nonlinearity", "recurrent"]

# The gates of each kind, in the order in which its weights hold them; a simple network has one without a name.
GATES = {
    "tanh": (),
    "relu": (),
    "lstm": ("input", "forget", "cell", "output"),
    "gru": ("reset", "update", "new"),
}
KINDS = tuple(GATES)
# Of each kind: of the gates first, of what is new, of the cell of an LSTM where it goes out.
FUNCTIONS: Mapping[str, tuple[str, ...]] = {
    "tanh": ("tanh({})",),
    "relu": ("max({}, 0)",),
    "lstm": ("sigmoid({})", "tanh({})", "tanh({})"),
    "gru": ("sigmoid({})", "tanh({})"),
}
OUTPUTS = ("sequence", "last", "state")


def check_nonlinearity(nonlinearity: str) -> None:
    """Refuse what is no function of the simple network."""
    if nonlinearity not in ("tanh", "relu"):
        raise ArgumentError(f"`nonlinearity` (={nonlinearity!r}) must be 'tanh' or 'relu'")


@dataclass(frozen=True)
class Recurrent:
    """A recurrent network of `num_layers` layers, each in one direction or, where `bidirectional`, in both.

    `lengths`: an integer array `length` (n,) says how many steps of each sequence are there; `padding`: it follows from
    the rows of this value at the end of each sequence. Steps that are not there leave the state as it is, and their
    outputs are 0. `truncate`: gradients pass no boundary between so many steps. `reverse`: the one direction is from
    the last step to the first. The output is the states of the last layer at all steps, (n, t, directions * features),
    or with `output` "last" those behind the last step, (n, directions * features), or with "state" those of all layers
    and directions, and behind them the cells of an LSTM, (n, states, features): what a network begins with to go on.
    `at_every_step` gives these at every step, (n, t, states, features).

    Variants: `functions` of each chain in the place of `FUNCTIONS`, as texts with a place for the value; `clip`: what
    goes into a function is cut to -clip .. clip; `coupled`: an LSTM forgets as much as it lets in; `peepholes`: its
    gates see the cell; `reset_before`: the reset gate of a GRU stands before the product.
    """

    kind: str
    features: int
    num_layers: int = 1
    bias: bool = True
    bidirectional: bool = False
    output: str = "sequence"
    lengths: bool = False
    padding: float | None = None
    truncate: int | None = None
    reverse: bool = False
    functions: tuple[tuple[str, ...], ...] = ()
    clip: float | None = None
    coupled: bool = False
    peepholes: bool = False
    reset_before: bool = False
    at_every_step: bool = False

    def __post_init__(self) -> None:
        integer("features", self.features, 1)
        integer("num_layers", self.num_layers, 1)
        if self.truncate is not None:
            integer("truncate", self.truncate, 1)
        if self.kind not in KINDS:
            raise ArgumentError(f"`kind` (={self.kind!r}) must be one of {', '.join(KINDS)}")
        if self.output not in OUTPUTS:
            raise ArgumentError(f"`output` (={self.output!r}) must be one of {', '.join(OUTPUTS)}")
        if self.lengths and self.padding is not None:
            raise ArgumentError("`lengths` and `padding` both say how long sequences are; one of them may")

    @property
    def masked(self) -> bool:
        """Whether steps may be missing."""
        return self.lengths or self.padding is not None

    def function(self, chain: str, number: int, value: str) -> str:
        """A function of this chain, of a value that is cut before where there is a `clip`."""
        return self.uncut(chain, number, value if self.clip is None else f"min(max({value}, -Z), Z)")

    def uncut(self, chain: str, number: int, value: str) -> str:
        """The same of a value as it is."""
        texts = self.functions[self.chains.index(chain)] if self.functions else FUNCTIONS[self.kind]
        return texts[number].format(value)

    @property
    def chains(self) -> tuple[str, ...]:
        """The suffixes of all layers and directions, in order."""
        ways = ("", "r") if self.bidirectional else ("r",) if self.reverse else ("",)
        return tuple(f"{layer}{way}" for layer in range(self.num_layers) for way in ways)

    def layer(self, number: int) -> list[str]:
        """The suffixes of one layer."""
        return [chain for chain in self.chains if chain.rstrip("r") == str(number)]

    @property
    def states(self) -> int:
        """How many states of `features` there are behind a step."""
        return len(self.chains) * (2 if self.kind == "lstm" else 1)

    def shapes(self, inputs: int) -> dict[str, Shape]:
        """The shape of every parameter by its local name: `v` of the input, `w` of the state, `b` and `d` biases (`d`
        of the state, which a GRU alone has, where its reset gate stands behind the product), `l` of peepholes (input,
        forget, output)."""
        gates = (len(GATES[self.kind]),) if GATES[self.kind] else ()
        found: dict[str, Shape] = {}
        for chain in self.chains:
            read = inputs if chain.startswith("0") else self.features * (2 if self.bidirectional else 1)
            found[f"v{chain}"] = (read, *gates, self.features)
            found[f"w{chain}"] = (self.features, *gates, self.features)
            if self.bias:
                found[f"b{chain}"] = (*gates, self.features)
                if self.kind == "gru" and not self.reset_before:
                    found[f"d{chain}"] = (*gates, self.features)
            if self.peepholes:
                found[f"l{chain}"] = (3, self.features)
        return found


def recurrent(
    network: Recurrent,
    x: Shape,
    parameters: Mapping[str, Shape],
    length: Shape | None = None,
    state: Shape | None = None,
    cell: Shape | None = None,
) -> System:
    """The equations for `x` (n, t, features) and parameters of these shapes.

    ShapeError where they are not those of `Recurrent.shapes`, `length` is not (n,), or the states not (n, layers *
    directions, features), the middle one left out where it is 1. Without `cell`, the `state` of an LSTM may be all that
    the output "state" gives.
    """
    check_rank("x", x, ("batch", "steps", "features"))
    for name, shape in network.shapes(x[2]).items():
        check_shape(name, parameters.get(name), shape)
    check_shape("length", length, x[:1])
    begin = _states_given(network, x[0], state, cell)
    texts = list(_length(network))
    read = "x"
    for layer in range(network.num_layers):
        chains = network.layer(layer)
        for chain in chains:
            texts += [*_begin(network, chain, begin), *_chain(network, chain, read)]
        read = f"h{chains[0]}"
        if len(chains) == 2 and layer + 1 < network.num_layers:
            read = f"y{layer}"
            texts.append(_side_by_side(f"{read}[n,t,m]", *(f"h{chain}[n,t,{{}}]" for chain in chains)))
    texts += _output(network)
    every = {
        "T": x[1],
        "L": x[1] - 1,
        "K": network.features,
        "R": network.truncate,
        "V": network.padding,
        "Z": network.clip,
    }
    formulas = [formula(text) for text in texts]
    used = names_of(node for entry in formulas for node in (entry.output, entry.body))
    constants = {name: value for name, value in every.items() if name in used and value is not None}
    extents = {"m": 2 * network.features, "i": network.states}
    return system(*texts, constants=constants, extents={name: size for name, size in extents.items() if name in used})


def _states_given(network: Recurrent, batch: int, state: Shape | None, cell: Shape | None) -> dict[str, list[str]]:
    """What each chain's state `h` and cell `c` is before the first step, where that is given."""
    chains, found = len(network.chains), dict[str, list[str]]()
    if network.kind == "lstm" and cell is None and state == (batch, network.states, network.features):
        every = [f"state[n,{number},k]" for number in range(network.states)]
        return {"h": every[:chains], "c": every[chains:]}
    for tensor, name, shape in (("h", "state", state), ("c", "cell", cell)):
        is_flat = chains == 1 and shape is not None and len(shape) == 2
        wanted = (batch, network.features) if is_flat else (batch, chains, network.features)
        if network.kind == "lstm" and cell is None and shape not in (None, wanted):
            whole = (batch, network.states, network.features)
            raise ShapeError(f"`state` {shape} must have shape {wanted}, or with the cells {whole}")
        check_shape(name, shape, wanted)
        if shape is not None:
            found[tensor] = [f"{name}[n,k]" if is_flat else f"{name}[n,{number},k]" for number in range(chains)]
    return found


def _length(network: Recurrent) -> Iterator[str]:
    if network.padding is not None:
        yield "far[n,t] = max(c) abs(x[n,t,c] - V)"
        yield "length[n] = max(t) where(far[n,t] > 0, t + 1, 0)"


def _begin(network: Recurrent, chain: str, given: Mapping[str, list[str]]) -> Iterator[str]:
    """The states before the first step, as `_states_given` has them."""
    place = "T" if chain.endswith("r") else "-1"
    for tensor, values in given.items():
        yield f"{tensor}{chain}[n,{place},k] = {values[network.chains.index(chain)]}"


def _chain(network: Recurrent, chain: str, read: str) -> Iterator[str]:
    """The equations of one layer in one direction, which reads the tensor `read`."""
    q = "q," if GATES[network.kind] else ""
    before = "t+1" if chain.endswith("r") else "t-1"
    bias = f" + b{chain}[{q}k]" if network.bias else ""
    yield f"u{chain}[n,t,{q}k] = sum(c) {read}[n,t,c]*v{chain}[c,{q}k]{bias}"
    state, cell = f"h{chain}[n,{before},{{}}]", f"c{chain}[n,{before},k]"
    begun = state
    if network.truncate is not None:
        since = "(L - t)" if chain.endswith("r") else "t"
        boundary = f"{since} % R == 0 and {since} > 0"
        yield f"p{chain}[n,t,k] = where({boundary}, stop({state.format('k')}), {state.format('k')})"
        begun, cell = f"p{chain}[n,t,{{}}]", f"where({boundary}, stop({cell}), {cell})"
    yield from _step(network, chain, begun, cell)
    if network.masked:
        yield f"h{chain}[n,t,k] = where(t < length[n], e{chain}[n,t,k], {state.format('k')})"


def _step(network: Recurrent, z: str, state: str, cell: str) -> Iterator[str]:
    """From the state before, `state` (with a place for its last index) and `cell`, to the new one."""
    new = f"e{z}[n,t,k]" if network.masked else f"h{z}[n,t,k]"
    if network.kind in ("tanh", "relu"):
        yield f"a{z}[n,t,k] = u{z}[n,t,k] + sum(j) {state.format('j')}*w{z}[j,k]"
        yield f"{new} = {network.function(z, 0, f'a{z}[n,t,k]')}"
    elif network.kind == "lstm":
        yield from _lstm_step(network, z, state, cell, new)
    else:
        yield from _gru_step(network, z, state, new)


def _lstm_step(network: Recurrent, z: str, state: str, cell: str, new: str) -> Iterator[str]:
    yield f"a{z}[n,t,q,k] = u{z}[n,t,q,k] + sum(j) {state.format('j')}*w{z}[j,q,k]"
    # Each gate is a tensor of its own, so that its gradient is told from its value.
    gates = dict[str, str]()
    seen = {"i": f" + l{z}[0,k]*{cell}", "f": f" + l{z}[1,k]*{cell}", "o": f" + l{z}[2,k]*c{z}[n,t,k]"}
    for number, gate in enumerate("ifgo"):
        value = f"a{z}[n,t,{number},k]" + (seen.get(gate, "") if network.peepholes else "")
        gates[gate] = f"{gate}{z}[n,t,k] = {network.function(z, int(gate == 'g'), value)}"
    if network.coupled:
        gates["f"] = f"f{z}[n,t,k] = 1 - i{z}[n,t,k]"
    changed = f"f{z}[n,t,k]*{cell} + i{z}[n,t,k]*g{z}[n,t,k]"
    cells = f"c{z}[n,t,k] = " + (f"where(t < length[n], {changed}, {cell})" if network.masked else changed)
    # The output gate that sees the cell waits for it.
    yield from (gates["i"], gates["f"], gates["g"])
    yield from (cells, gates["o"]) if network.peepholes else (gates["o"], cells)
    yield f"m{z}[n,t,k] = {network.uncut(z, 2, f'c{z}[n,t,k]')}"
    yield f"{new} = o{z}[n,t,k]*m{z}[n,t,k]"


def _gru_step(network: Recurrent, z: str, state: str, new: str) -> Iterator[str]:
    u, a = ([f"{name}{z}[n,t,{number},k]" for number in range(3)] for name in "ua")
    if network.reset_before:
        products = [f"(sum(j) {state.format('j')}*w{z}[j,{number},k])" for number in range(2)]
        yield f"r{z}[n,t,k] = {network.function(z, 0, f'{u[0]} + {products[0]}')}"
        yield f"z{z}[n,t,k] = {network.function(z, 0, f'{u[1]} + {products[1]}')}"
        yield f"s{z}[n,t,k] = r{z}[n,t,k]*{state.format('k')}"
        yield f"g{z}[n,t,k] = {network.function(z, 1, f'{u[2]} + (sum(j) s{z}[n,t,j]*w{z}[j,2,k])')}"
    else:
        yield f"a{z}[n,t,q,k] = sum(j) {state.format('j')}*w{z}[j,q,k]" + (f" + d{z}[q,k]" if network.bias else "")
        yield f"r{z}[n,t,k] = {network.function(z, 0, f'{u[0]} + {a[0]}')}"
        yield f"z{z}[n,t,k] = {network.function(z, 0, f'{u[1]} + {a[1]}')}"
        yield f"g{z}[n,t,k] = {network.function(z, 1, f'{u[2]} + r{z}[n,t,k]*{a[2]}')}"
    yield f"{new} = (1 - z{z}[n,t,k])*g{z}[n,t,k] + z{z}[n,t,k]*{state.format('k')}"


def _end(chain: str) -> str:
    """Where the last step is."""
    return "0" if chain.endswith("r") else "L"


def _output(network: Recurrent) -> Iterator[str]:
    """The states of the last layer, or all that there are, at every step or behind the last one."""
    if network.output == "state":
        tensors = "hc" if network.kind == "lstm" else "h"
        places = {chain: "t" if network.at_every_step else _end(chain) for chain in network.chains}
        ends = [f"{tensor}{chain}[n,{places[chain]},k]" for tensor in tensors for chain in network.chains]
        if network.at_every_step and network.masked:
            states = len(network.chains)
            ends[:states] = [f"where(t < length[n], {end}, 0)" for end in ends[:states]]
        chosen = ends.pop()
        for number, end in reversed(list(enumerate(ends))):
            chosen = f"where(i == {number}, {end}, {chosen})"
        yield f"y[n,{'t,' if network.at_every_step else ''}i,k] = {chosen}"
        return
    at, ends = "n,t," if network.output == "sequence" else "n,", list[str]()
    for chain in network.layer(network.num_layers - 1):
        ends.append(f"y{chain}[{at}{{}}]")
        if network.output == "last":
            yield f"{ends[-1].format('k')} = h{chain}[n,{_end(chain)},k]"
        elif network.masked:
            yield f"{ends[-1].format('k')} = where(t < length[n], h{chain}[n,t,k], 0)"
        else:
            ends[-1] = f"h{chain}[{at}{{}}]"
    if len(ends) == 2:
        yield _side_by_side(f"y[{at}m]", *ends)


def _side_by_side(output: str, one: str, other: str) -> str:
    """The values of two directions, each with a place for its last index, one behind the other."""
    return f"{output} = sum(j : j == m) {one.format('j')} + sum(e : e+K == m) {other.format('e')}"
