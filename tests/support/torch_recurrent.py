"""Recurrent networks by PyTorch, from tensors in this project's layout: the judge of ours, gradients included."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any

__all__ = ["states", "turned"]


def states(
    torch: ModuleType,
    kind: str,
    x: Any,
    parameters: Mapping[str, Any],
    state: Any = None,
    cell: Any = None,
    *,
    lengths: Any = None,
    truncate: int | None = None,
) -> tuple[Any, Any]:
    """The last layer's states at all steps, and those behind the last step, of `torch.nn.RNN`, `LSTM` or `GRU`.

    `kind` is "tanh", "relu", "lstm" or "gru"; `parameters` are called as those of our layers. `state` and `cell` are
    (batch, layers * directions, features). With `truncate` chunks of so many steps run one after the other, the states
    between them detached.
    """
    own = _layout(torch, parameters)
    ways = 2 if any(name.endswith("_reverse") for name in own) else 1
    layers = sum(name.startswith("weight_hh") for name in own) // ways
    features = own["weight_hh_l0"].shape[1]
    options = {"nonlinearity": kind} if kind in ("tanh", "relu") else {}
    options |= {"num_layers": layers, "bidirectional": ways == 2, "bias": any(name.startswith("bias") for name in own)}
    make = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(kind, torch.nn.RNN)
    module = make(x.shape[2], features, batch_first=True, dtype=x.dtype, **options)
    none = torch.zeros(layers * ways, len(x), features, dtype=x.dtype)
    h, c = (none if given is None else given.transpose(0, 1) for given in (state, cell))
    steps = x.shape[1]
    found = []
    for start in range(0, steps, truncate or steps):
        part = x[:, start : start + (truncate or steps)]
        if lengths is not None:
            part = torch.nn.utils.rnn.pack_padded_sequence(part, lengths, batch_first=True, enforce_sorted=False)
        y, last = torch.func.functional_call(module, own, (part, (h, c) if kind == "lstm" else h))
        end, c_end = last if kind == "lstm" else (last, c)
        h, c = end.detach(), c_end.detach()
        if lengths is not None:
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=steps)
        found.append(y)
    return torch.cat(found, 1), torch.cat(tuple(end[-ways:]), 1)


def turned(torch: ModuleType, x: Any, lengths: Any = None) -> Any:
    """Every sequence from its last step to its first; what is behind its length stays."""
    steps = torch.arange(x.shape[1]).expand(x.shape[:2])
    count = torch.full((len(x), 1), x.shape[1]) if lengths is None else lengths[:, None]
    places = torch.where(steps < count, count - 1 - steps, steps)
    return torch.take_along_dim(x, places[:, :, None], 1)


def _layout(torch: ModuleType, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Our parameters as PyTorch's: [gates * features, inputs], and two biases in every kind."""
    own = dict[str, Any]()
    for name, tensor in parameters.items():
        if name.startswith("weight"):
            own[name] = tensor.reshape(len(tensor), -1).T
        elif name.startswith(("bias_ih", "bias_hh")):
            own[name] = tensor.reshape(-1)
        else:
            own[name.replace("bias_", "bias_ih_")] = tensor.reshape(-1)
            own[name.replace("bias_", "bias_hh_")] = torch.zeros(tensor.numel(), dtype=tensor.dtype)
    return own
