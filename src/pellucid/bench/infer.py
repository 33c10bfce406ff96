"""Predictions of whole networks against ONNX Runtime, and against PyTorch."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pellucid.bench.judge import largest_error
from pellucid.bench.networks import Named, batch_for, work_of
from pellucid.bench.onnx_network import onnx_model, onnx_prediction
from pellucid.bench.peers import load, set_threads
from pellucid.bench.rows import Row, timed
from pellucid.bench.step import ACCURACIES, Case
from pellucid.bench.torch_network import FORMATS, TorchNetwork
from pellucid.bench.turns import worst_contest

__all__ = ["CASES", "TOLERANCE", "measure", "used_parameters"]

Array: TypeAlias = NDArray[Any]
TURN = 0.03
# The difference of predictions from the peer's, the largest relative to the largest and the root mean square relative
# to that of all. Any two of ours, the peers' (all in float32) and PyTorch's in float64 differ by 1.1e-6 at most.
TOLERANCE = 1e-5

CASES: Mapping[str, Case] = MappingProxyType(
    {
        f"{network} x{batch}": Case(network, batch)
        for network, batch in (("lenet5", 1), ("lenet5", 32), ("conv6", 1), ("conv6", 32), ("resnet50", 1))
    }
)


def used_parameters(parameters: Mapping[str, Array]) -> dict[str, Array]:
    """The parameters with norms as training leaves them, at random: fresh ones would scale by 1 and shift by 0."""
    random = np.random.default_rng(1)
    drawn: Mapping[str, Callable[[int], Array]] = {
        "running_mean": lambda count: random.normal(0, 0.1, count),
        "running_var": lambda count: random.uniform(0.5, 1.5, count),
        "weight": lambda count: random.uniform(0.5, 1.5, count),
        "bias": lambda count: random.normal(0, 0.1, count),
    }
    return {
        name: drawn[name.rpartition(".")[2]](len(array)).astype(array.dtype) if array.ndim == 1 else array
        for name, array in parameters.items()
    }


def measure(
    names: Sequence[str],
    peers: Sequence[str],
    threads: Sequence[int],
    rounds: int,
    accuracies: Sequence[str] = ACCURACIES,
) -> Iterator[Row]:
    """A row for every case, number of threads, accuracy and peer, verified before it is timed, if there is a peer.

    One of our models and one of a peer's exist at a time.
    """
    for name in names:
        for count in threads:
            set_threads(peers, count)
            for accuracy in accuracies:
                for peer in peers or (None,):
                    yield _contest(name, CASES[name], peer, count, accuracy, rounds)
                    gc.collect()


def _contest(name: str, case: Case, peer: str | None, threads: int, accuracy: str, rounds: int) -> Row:
    x, _ = batch_for(case.named, case.batch)
    model = case.named.make().build(case.named.shape, threads=threads, accuracy=accuracy)
    parameters = used_parameters(model.parameters)
    model.load_parameters(parameters)
    errors = list[float]()

    def rival(peer: str, form: str) -> Callable[[], object]:
        theirs = _MADE[peer](case.named, parameters, x, threads, form)
        errors.append(largest_error(name, {"y": model.predict(x)}, {"y": np.asarray(theirs())}, TOLERANCE))
        return theirs

    work = case.batch * work_of(case.named, training=False)
    rivals = (None,) if peer is None else (rival(peer, form) for form in _FORMS[peer])
    turns = worst_contest(lambda: model.predict(x), rivals, work, threads, rounds=rounds, turn=TURN)
    error, theirs = max(errors, default=None), turns.seconds.get("peer")
    return timed(name, f"infer {accuracy}", threads, turns, work, peer=peer, theirs=theirs, error=error)


def _onnxruntime(
    named: Named, parameters: Mapping[str, Array], x: Array, threads: int, form: str
) -> Callable[[], object]:
    del form
    return onnx_prediction(onnx_model(named, parameters, len(x)), x, threads)


def _torch(named: Named, parameters: Mapping[str, Array], x: Array, threads: int, form: str) -> Callable[[], object]:
    del threads  # set for the process
    torch = load("torch")
    network = TorchNetwork(named, parameters, form=form)
    network.training(False)
    images = network.images(x)

    def predict() -> Any:
        with torch.inference_mode():
            return network(images)

    return predict


_MADE = MappingProxyType({"onnxruntime": _onnxruntime, "torch": _torch})
_FORMS: Mapping[str, Sequence[str]] = MappingProxyType({"onnxruntime": ("",), "torch": FORMATS})
