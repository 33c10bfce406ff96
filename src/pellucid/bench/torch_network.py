"""A network of ours as PyTorch's: the same layers and weights, run eagerly in either memory format."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pellucid import nn
from pellucid.bench.networks import Named, Step, peer_array, steps_of, windows_of
from pellucid.bench.peers import load
from pellucid.errors import ArgumentError
from pellucid.nn.symbolic import Add

__all__ = ["FORMATS", "TorchNetwork", "forms_of"]

FORMATS = ("contiguous", "channels last")


def forms_of(named: Named) -> tuple[str, ...]:
    """The memory formats in which a network may run: those of images, and the one of sequences."""
    return FORMATS if len(named.shape) == 3 else FORMATS[:1]


class TorchNetwork:
    """`parameters` are those of our model by name; `dtype` is "float32" or "float64", `form` one of `FORMATS`."""

    def __init__(
        self, named: Named, parameters: Mapping[str, NDArray[Any]], dtype: str = "float32", form: str = FORMATS[0]
    ) -> None:
        self._torch = load("torch")
        self._form = {"contiguous": self._torch.contiguous_format, "channels last": self._torch.channels_last}[form]
        self._steps = steps_of(named)
        self._dtype = getattr(self._torch, dtype)
        self._modules = [self._module(step) for step in self._steps]
        last_reader = {source: number for number, step in enumerate(self._steps) for source in step.inputs}
        self._done = [[s for s, last in last_reader.items() if last == number] for number in range(len(self._steps))]
        for step, module in zip(self._steps, self._modules, strict=True):
            if module is not None:
                module.to(dtype=self._dtype, memory_format=self._form)
                self._fill(step, module, parameters)

    def images(self, x: NDArray[Any]) -> Any:
        """Our images (batch, height, width, channels) as a tensor of this network's format; sequences (batch, steps,
        features) as they are."""
        tensor = self._torch.from_numpy(x).to(dtype=self._dtype)
        return tensor.permute(0, 3, 1, 2).contiguous(memory_format=self._form) if x.ndim == 4 else tensor

    def tensors(self) -> dict[str, Any]:
        """The trained parameters by our names."""
        return {
            f"{step.name}.{_own_name(step, name)}": tensor
            for step, module in zip(self._steps, self._modules, strict=True)
            if module is not None
            for name, tensor in module.named_parameters()
            if tensor.requires_grad
        }

    def training(self, mode: bool) -> None:
        """Whether batch norm takes the batch's statistics."""
        for module in self._modules:
            if module is not None:
                module.train(mode)

    def __call__(self, x: Any) -> Any:
        """The logits."""
        return deque(self._values(x), maxlen=1).pop()

    def undecided(self, x: NDArray[Any], margin: float) -> NDArray[Any]:
        """The numbers of the images for which a ReLU or a pool decides by less than `margin`: those of the first such
        layer. A pool of zeros does not count: the ReLU before it has decided."""
        with self._torch.no_grad():
            for number, value in enumerate(self._values(self.images(x))):
                for reader in self._steps:
                    if number in reader.inputs:
                        near = (self._lead(reader, value) < margin).flatten(1).any(1)
                        if near.any():
                            return np.flatnonzero(near.numpy())
        return np.array([], np.int64)

    def loss_and_gradients(self, x: NDArray[Any], t: NDArray[Any]) -> tuple[float, dict[str, NDArray[Any]]]:
        """Cross-entropy of a batch, and its gradients by our names in PyTorch's layout."""
        loss = self.loss(self.images(x), self._torch.from_numpy(t))
        loss.backward()
        return loss.item(), {name: tensor.grad.numpy() for name, tensor in self.tensors().items()}

    def loss(self, x: Any, t: Any) -> Any:
        """Cross-entropy, to be differentiated."""
        return self._torch.nn.functional.cross_entropy(self(x), t)

    def _values(self, x: Any) -> Iterator[Any]:
        """What the layers give, in order of running; values that no later layer reads are dropped."""
        values: dict[int, Any] = {-1: x}
        for number, (step, module) in enumerate(zip(self._steps, self._modules, strict=True)):
            values[number] = self._run(step, module, [values[source] for source in step.inputs])
            for source in self._done[number]:
                del values[source]
            yield values[number]

    def _lead(self, step: Step, x: Any) -> Any:
        """By how much a layer decides: how far values lie from a ReLU's kink, the largest of a window from the next."""
        if isinstance(step.layer, nn.ReLU):
            return x.abs()
        if isinstance(step.layer, nn.MaxPool2d):
            (rows, columns), strides, (above, left) = _window_arguments(step)
            padded = self._torch.nn.functional.pad(x, (left, left, above, above), value=-np.inf)
            windows = padded.unfold(2, rows, strides[0]).unfold(3, columns, strides[1]).flatten(-2)
            first, second = windows.topk(2).values.unbind(-1)
            return (first - second).where(first != 0, np.inf)
        return self._torch.full((len(x), 1), np.inf)

    def _module(self, step: Step) -> Any:
        """PyTorch's layer with parameters; None for one that has none."""
        torch, layer = self._torch.nn, step.layer
        if isinstance(layer, nn.Conv2d):
            kernel, stride, padding = _window_arguments(step)
            return torch.Conv2d(
                step.input_shape[-1], layer.channels, kernel, stride, padding, layer.dilation, layer.groups, layer.bias
            )
        if isinstance(layer, nn.BatchNorm2d):
            return torch.BatchNorm2d(step.shape[-1], layer.eps, layer.momentum)
        if isinstance(layer, nn.Linear):
            return torch.Linear(step.input_shape[-1], layer.features, layer.bias)
        if isinstance(layer, nn.RNN | nn.LSTM | nn.GRU):
            if layer.bidirectional or layer.padding is not None or layer.truncate is not None:
                raise _without_counterpart(step)
            options = {"nonlinearity": layer.nonlinearity} if isinstance(layer, nn.RNN) else {}
            make = getattr(torch, type(layer).__name__)
            return make(
                step.input_shape[-1], layer.features, layer.num_layers, bias=layer.bias, batch_first=True, **options
            )
        return None

    def _run(self, step: Step, module: Any, inputs: list[Any]) -> Any:
        layer, (x, *others) = step.layer, inputs
        if isinstance(layer, nn.RNN | nn.LSTM | nn.GRU):
            states, _ = module(x)
            return states[:, -1] if layer.output == "last" else states
        if module is not None:
            return module(x)
        if isinstance(layer, nn.ReLU):
            return self._torch.relu_(x)  # what it reads is kept by no other layer of these networks
        if isinstance(layer, nn.MaxPool2d):
            return self._torch.nn.functional.max_pool2d(x, *_window_arguments(step))
        if isinstance(layer, nn.Flatten):
            return x.flatten(1)
        if isinstance(layer, nn.GlobalAvgPool):
            return x.mean((2, 3))
        if isinstance(layer, Add):
            return x + others[0]
        raise _without_counterpart(step)

    def _fill(self, step: Step, module: Any, parameters: Mapping[str, NDArray[Any]]) -> None:
        for name, tensor in module.state_dict(keep_vars=True).items():
            full = f"{step.name}.{_own_name(step, name)}"
            if full in parameters:
                value = self._torch.from_numpy(np.array(peer_array(self._steps, full, parameters[full])))
                with self._torch.no_grad():
                    tensor.copy_(value)
            elif name.startswith("bias_hh"):
                tensor.requires_grad_(False).zero_()


def _own_name(step: Step, name: str) -> str:
    """Our name of a layer's parameter. A recurrent layer of PyTorch has a second bias for the product with the state;
    ours but the GRU, where it does not stand beside the first, have none, and it is held at 0."""
    single = isinstance(step.layer, nn.RNN | nn.LSTM)
    return name.replace("bias_ih", "bias") if single else name


def _without_counterpart(step: Step) -> ArgumentError:
    return ArgumentError(f"layer {step.name} ({type(step.layer).__name__}) has no counterpart in PyTorch here")


def _window_arguments(step: Step) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Kernel, stride and padding for each axis; ArgumentError where the two sides of an axis differ."""
    windows = windows_of(step)
    if any(window.before != window.after for window in windows):
        raise ArgumentError(f"layer {step.name} has another padding at its end: PyTorch's layer has one for both sides")
    kernel, stride, padding = zip(*((window.kernel, window.stride, window.before) for window in windows), strict=True)
    return kernel, stride, padding
