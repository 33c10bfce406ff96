"""Training steps of whole networks against PyTorch: plain SGD on cross-entropy."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid import nn, optim
from pellucid.bench.judge import largest_error
from pellucid.bench.networks import NETWORKS, Named, batch_for, peer_array, steps_of, work_of
from pellucid.bench.peers import load, set_threads
from pellucid.bench.rows import Row, timed
from pellucid.bench.torch_network import TorchNetwork, forms_of
from pellucid.bench.turns import worst_contest

__all__ = [
    "ACCURACIES", "CASES", "Judge", "away_from_kinks", "built", "judge_for", "measure", "step_results", "torch_step",
    "verify",
]  # fmt: skip

Array: TypeAlias = NDArray[Any]
ACCURACIES = ("standard", "fast")
RATE = 0.01
# Steps with this rate, a power of two, are so long that a gradient can be read off them without loss.
READABLE_RATE = 65536.0
TURN = 0.1
# A gradient's difference from PyTorch's in float64: the largest, relative to the largest value of its array, and the
# root mean square, relative to that of its values. A weight's gradient is up to 1000 times smaller than the sum of its
# terms' sizes, so that a rounding of each (6e-8) shows as 6e-5. Ours is 1e-4 at most, PyTorch's in float32 3.1e-4.
TOLERANCE, LOSS_TOLERANCE = 5e-4, 1e-5
# Where networks are verified, rounding must not decide, neither on which side of a ReLU's kink a value lies nor which
# value of a pool's window is the largest: each such decision moves gradients by up to 1e-2, PyTorch's in float32, too.
# Four deviations off nearly nothing lies at the kink, so batch norm shifts every other channel by so much up, and the
# others down: with shifts of 0 there are so many decisions that single gradients are off by a tenth.
SHIFT = 4.0
# What is left is rare enough to be avoided: images for which a layer decides by less than the margin, ten times the
# rounding of what it reads, get a little noise until none does.
MARGIN, NOISE = 1e-5, 1e-3


@dataclass(frozen=True)
class Judge:
    """The loss and the gradients that PyTorch finds in float64 for a batch, in its layout."""

    x: Array
    t: Array
    loss: float
    gradients: Mapping[str, Array]


@dataclass(frozen=True)
class Case:
    """A network of `networks.py` and a batch."""

    network: str
    batch: int

    @property
    def named(self) -> Named:
        """The network."""
        return NETWORKS[self.network]


CASES: Mapping[str, Case] = MappingProxyType(
    {
        f"{network} x{batch}": Case(network, batch)
        for network, batch in (
            ("lenet5", 32), ("lenet5", 128), ("conv6", 32), ("conv6", 128), ("resnet18", 64), ("vgg16", 64),
            ("resnet50", 8), ("rnn128", 32), ("rnn128", 128), ("lstm128", 32), ("lstm128", 128), ("gru128", 32),
            ("gru128", 128),
        )
    }
)  # fmt: skip


def built(named: Named, threads: int, accuracy: str) -> nn.Model:
    """Our model, with the initial weights of seed 0."""
    return named.make().build(
        named.shape,
        loss=nn.CrossEntropyLoss(),
        optimizer=optim.SGD(RATE),
        threads=threads,
        accuracy=accuracy,
    )


def torch_step(network: TorchNetwork, x: Array, t: Array) -> Callable[[], float]:
    """A step of PyTorch's SGD."""
    torch = load("torch")
    images, labels = network.images(x), torch.from_numpy(t)
    optimizer = torch.optim.SGD(network.tensors().values(), RATE)
    network.training(True)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = network.loss(images, labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def step_results(model: nn.Model, x: Array, t: Array) -> tuple[float, dict[str, Array]]:
    """The loss and the gradients of a training step as it is timed, read off what it did to the parameters; they are
    put back."""
    before = dict(model.parameters)
    loss = model.train_step(x, t, learning_rate=READABLE_RATE)
    after = dict(model.parameters)
    model.load_parameters(before)
    trained = [name for name in before if ".running_" not in name]
    return loss, {name: (before[name].astype(np.float64) - after[name]) / READABLE_RATE for name in trained}


def verify(what: str, named: Named, found: tuple[float, dict[str, Array]], judge: Judge) -> float:
    """The largest error of a step's gradients.

    VerificationError where a gradient or the loss is further off than the tolerances allow.
    """
    steps, (loss, gradients), exact = steps_of(named), found, judge.gradients
    largest_error(f"the loss of {what}", {"loss": np.array(loss)}, {"loss": np.array(judge.loss)}, LOSS_TOLERANCE)
    own = {name: peer_array(steps, name, gradient) for name, gradient in gradients.items()}
    # A norm's shift in front of a 1x1 convolution and another norm has no gradient but rounding: its terms, those of
    # the scale's gradient but for a factor of about 1, cancel.
    norms = [entry.name for entry in steps if isinstance(entry.layer, nn.BatchNorm2d)]
    scales = {f"{name}.bias": exact[f"{name}.weight"] for name in norms}
    return largest_error(f"a gradient of {what}", own, exact, TOLERANCE, scales)


def measure(
    names: Sequence[str],
    peers: Sequence[str],
    threads: Sequence[int],
    rounds: int,
    accuracies: Sequence[str] = ACCURACIES,
) -> Iterator[Row]:
    """A row for every case, number of threads and accuracy, verified before it is timed, if there is a peer.

    Only one of our models and one of the peer's exist at a time: more would take its caches and memory.
    """
    for name in names:
        case = CASES[name]
        x, t = batch_for(case.named, case.batch)
        judge = judge_for(case, x, t) if peers else None
        for count in threads:
            set_threads(peers, count)
            for accuracy in accuracies:
                yield _contest(name, case, x, t, judge, count, accuracy, rounds)
                gc.collect()


def away_from_kinks(named: Named, parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters with the shifts of batch norm at `SHIFT`, up and down in turn."""
    norms = {step.name for step in steps_of(named) if isinstance(step.layer, nn.BatchNorm2d)}
    shifted = dict(parameters)
    for name, array in parameters.items():
        layer, _, parameter = name.rpartition(".")
        if layer in norms and parameter == "bias":
            shifted[name] = np.where(np.arange(len(array)) % 2, -SHIFT, SHIFT).astype(array.dtype)
    return shifted


def judge_for(case: Case, x: Array, t: Array) -> Judge:
    """The judge of a batch like this one, in which rounding decides nothing."""
    set_threads(["torch"], os.cpu_count() or 1)
    parameters = away_from_kinks(case.named, built(case.named, 1, "direct").parameters)
    network = TorchNetwork(case.named, parameters, "float64")
    network.training(True)
    random, x = np.random.default_rng(1), x.copy()
    while len(near := network.undecided(x, MARGIN)):
        x[near] += NOISE * random.standard_normal((len(near), *x.shape[1:]), dtype=np.float32)
    return Judge(x, t, *network.loss_and_gradients(x, t))


def _contest(
    name: str, case: Case, x: Array, t: Array, judge: Judge | None, threads: int, accuracy: str, rounds: int
) -> Row:
    model = built(case.named, threads, accuracy)
    parameters = dict(model.parameters)
    error: float | None = None
    if judge is not None:
        model.load_parameters(away_from_kinks(case.named, parameters))
        error = verify(name, case.named, step_results(model, judge.x, judge.t), judge)

    def rival(form: str) -> Callable[[], object]:
        model.load_parameters(parameters)
        return torch_step(TorchNetwork(case.named, parameters, form=form), x, t)

    work = case.batch * work_of(case.named, training=True)
    rivals = (None,) if judge is None else (rival(form) for form in forms_of(case.named))
    turns = worst_contest(lambda: model.train_step(x, t), rivals, work, threads, rounds=rounds, turn=TURN)
    peer, theirs = "torch" if judge else None, turns.seconds.get("peer")
    return timed(name, f"step {accuracy}", threads, turns, work, peer=peer, theirs=theirs, error=error)
