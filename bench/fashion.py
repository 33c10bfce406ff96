"""A recipe of the documentation on Fashion-MNIST, here and in PyTorch: the same network from the same parameters, the
same batches in the same order, the same rates; an epoch of one, an epoch of the other.

    python bench/fashion.py FOLDER [--epochs 10] [--threads 2]

FOLDER has the four IDX files. Prints for each epoch the loss and seconds of both, at the end both test accuracies, the
ratio of times, and how much of ours was spent in steps. PyTorch (pip install torch==2.13.0) gets our batches, made
ahead of its step as of ours, in the memory format in which its step is faster.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from pellucid import nn
from pellucid.bench.networks import Named
from pellucid.bench.peers import load as load_peer
from pellucid.bench.torch_network import FORMATS, TorchNetwork
from pellucid.train.augmentation import parse_augmentation
from pellucid.train.batches import BatchPlan, epoch_batches
from pellucid.train.build import build_model, fill_settings, make_network
from pellucid.train.data.load import load
from pellucid.train.loop import evaluate_part, outputs_of
from pellucid.train.settings import Settings

SEED = 0


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="resnet", show_default=True)
@click.option("--augment", default="clothes", show_default=True)
@click.option("--epochs", default=10, show_default=True)
@click.option("--batch-size", default=128, show_default=True)
@click.option("--threads", default=2, show_default=True)
def main(folder: Path, model: str, augment: str, epochs: int, batch_size: int, threads: int) -> None:
    """Train both, in turns."""
    torch = load_peer("torch")
    torch.set_num_threads(threads)
    given = Settings(str(folder), model=model, augment=augment, epochs=epochs, batch_size=batch_size, threads=threads)
    data = load(folder).with_validation(0.1, SEED).normalised()
    settings = fill_settings(given, data)
    ours, _ = build_model(settings, data, None)
    ours.prepare(step_rows=batch_size)
    plan = BatchPlan(batch_size, SEED, parse_augmentation(augment))
    form = faster_form(torch, model, ours, data, batch_size)
    theirs = peer(model, ours, form)
    optimizer = torch.optim.AdamW(list(theirs.tensors().values()), lr=1.0, weight_decay=settings.weight_decay)
    seconds, waited = np.zeros(2), 0.0
    for epoch in range(1, epochs + 1):
        start = time.perf_counter()
        with epoch_batches(plan, data.train, epoch) as batches:
            own = np.mean([ours.train_step(images, labels) for images, labels in batches])
        middle = time.perf_counter()
        waited += batches.waited
        steps = (epoch - 1) * plan.batch_count(data.train)
        with epoch_batches(plan, data.train, epoch) as batches:
            other = np.mean(
                [
                    torch_step(torch, theirs, optimizer, images, labels, settings_rate(ours, steps + number))
                    for number, (images, labels) in enumerate(batches)
                ]
            )
        other_seconds = time.perf_counter() - middle
        seconds += middle - start, other_seconds
        click.echo(
            f"epoch {epoch}: ours {own:.4f} in {middle - start:.1f} s, PyTorch {other:.4f} in {other_seconds:.1f} s"
        )
    assert data.test is not None
    _, evaluation = evaluate_part(ours, data.test, outputs_of(ours, data.test))
    assert evaluation is not None
    click.echo(f"test accuracy: ours {evaluation.accuracy:.4f}, PyTorch {torch_accuracy(torch, theirs, data.test):.4f}")
    click.echo(
        f"seconds: ours {seconds[0]:.1f}, PyTorch {seconds[1]:.1f} ({form}), {seconds[1] / seconds[0]:.2f} times"
    )
    click.echo(f"ours in steps: {100 * (1 - waited / seconds[0]):.1f}%")


def settings_rate(model: nn.Model, step: int) -> float:
    """The learning rate of a step, by our schedule."""
    optimizer = model.optimizer
    assert optimizer is not None
    assert not isinstance(optimizer.lr, float)
    return optimizer.lr.rate(step)


def peer(model: str, ours: nn.Model, form: str) -> TorchNetwork:
    """PyTorch's network with our parameters."""
    named = Named(lambda: make_network(model, ours.output_shape[0]), ours.input_shape, ours.output_shape[0])
    return TorchNetwork(named, dict(ours.parameters), form=form)


def faster_form(torch: Any, model: str, ours: nn.Model, data: Any, batch_size: int) -> str:
    """The memory format in which PyTorch's step takes less time, of six steps each."""
    times: dict[str, float] = {}
    images, labels = data.train.images[:batch_size], data.train.labels[:batch_size]
    for form in FORMATS:
        network = peer(model, ours, form)
        optimizer = torch.optim.AdamW(list(network.tensors().values()), lr=1e-5)
        found: list[float] = []
        for _ in range(6):
            start = time.perf_counter()
            torch_step(torch, network, optimizer, images, labels, 1e-5)
            found.append(time.perf_counter() - start)
        times[form] = min(found)
    return min(times, key=lambda form: times[form])


def torch_step(torch: Any, network: TorchNetwork, optimizer: Any, images: Any, labels: Any, rate: float) -> float:
    """A training step of PyTorch; the loss before it."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss = network.loss(network.images(images), torch.from_numpy(labels))
    loss.backward()
    optimizer.step()
    return loss.item()


def torch_accuracy(torch: Any, network: TorchNetwork, part: Any) -> float:
    """Of PyTorch's network, with running statistics."""
    network.training(False)
    right = 0
    with torch.no_grad():
        for start in range(0, len(part), 256):
            outputs = network(network.images(part.images[start : start + 256])).numpy()
            right += int((outputs.argmax(1) == part.labels[start : start + 256]).sum())
    return right / len(part)


if __name__ == "__main__":
    main()
