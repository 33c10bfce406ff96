"""From a recipe to a model that can be trained."""

from __future__ import annotations

from math import ceil

from pellucid import nn, optim
from pellucid.train.data.dataset import Dataset
from pellucid.train.recipe import Recipe

__all__ = ["build_model"]

_SHORTEST_CYCLE = 10  # steps; a run that is shorter goes down a plain cosine


def build_model(recipe: Recipe, data: Dataset, *, seed: int = 0, threads: int = 1) -> nn.Model:
    """The recipe's network for the shape and classes of `data`, with its optimiser and a schedule of its length.

    Raises:
        ArgumentError: a rate, momentum or weight decay of the recipe is outside its rule.
        ShapeError: the images are too small for the network.
    """
    steps = recipe.epochs * ceil(len(data.train) / recipe.batch_size)
    return make_network(recipe.model, len(data.class_names)).build(
        data.image_shape,
        loss=make_loss(recipe.model),
        optimizer=make_optimizer(recipe, make_schedule(recipe, steps)),
        seed=seed,
        threads=threads,
    )


def make_network(model: str, classes: int) -> nn.Sequential | nn.Graph:
    """A ready network by its name in the recipes; the residual one is narrow, to train on two cores in a minute."""
    match model:
        case "lenet5":
            return nn.lenet5(classes)
        case "s4":
            return nn.s4(classes)
        case "vgg":
            return nn.vgg(classes)
        case "rnn":
            return nn.rnn(classes)
        case _:
            return nn.resnet(classes, depth=10, width=16)


def make_loss(model: str) -> nn.Loss:
    """The loss of a ready network: S4 ends with a sigmoid for each class, the others give logits."""
    return nn.BCELoss() if model == "s4" else nn.CrossEntropyLoss()


def make_schedule(recipe: Recipe, steps: int) -> optim.Schedule:
    """The course of the learning rate over `steps` steps: a step schedule divides by ten at each third."""
    rate = recipe.learning_rate
    if recipe.schedule == "constant":
        return optim.Constant(rate)
    if recipe.schedule == "step":
        return optim.Step(rate, every=ceil(steps / 3))
    if recipe.schedule == "onecycle" and steps >= _SHORTEST_CYCLE:
        return optim.OneCycle(rate, steps)
    return optim.Cosine(rate, steps)


def make_optimizer(recipe: Recipe, schedule: optim.Schedule) -> optim.Optimizer:
    """The recipe's optimiser at the rate of `schedule`."""
    decay = recipe.weight_decay
    match recipe.optimizer:
        case "sgd":
            return optim.SGD(schedule, momentum=recipe.momentum, weight_decay=decay)
        case "adam":
            return optim.Adam(schedule, weight_decay=decay)
        case "adamw":
            return optim.AdamW(schedule, weight_decay=decay)
        case "rmsprop":
            return optim.RMSprop(schedule, weight_decay=decay)
        case _:
            return optim.Adagrad(schedule, weight_decay=decay)
