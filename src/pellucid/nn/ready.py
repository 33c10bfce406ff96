"""Networks that are ready to build."""

from __future__ import annotations

from pellucid.errors import ArgumentError
from pellucid.nn.activations import ReLU, Sigmoid
from pellucid.nn.convolutions import Conv2d
from pellucid.nn.dense import Flatten, Linear
from pellucid.nn.layer import Block
from pellucid.nn.network import Graph, Sequential
from pellucid.nn.norms import BatchNorm2d, Dropout
from pellucid.nn.poolings import GlobalAvgPool, MaxPool2d
from pellucid.nn.recurrent import GRU, LSTM, RNN
from pellucid.nn.symbolic import Input, Symbol

__all__ = ["lenet5", "resnet", "rnn", "s4", "vgg"]


def lenet5(classes: int = 10) -> Sequential:
    """LeNet-5 (LeCun et al., 1998) with ReLU and max pooling, for images of 28x28 or 32x32; gives logits."""
    return Sequential(
        Conv2d(6, 5, padding="same"),
        ReLU(),
        MaxPool2d(2),
        Conv2d(16, 5),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Linear(120),
        ReLU(),
        Linear(84),
        ReLU(),
        Linear(classes),
    )


def s4(classes: int = 10) -> Sequential:
    """The network of the fourth source (MATHS.md, section 9): two convolutions, a pool, three fully connected layers.

    It ends with a sigmoid for each class, so it is trained with `BCELoss`, which takes labels as one-hot rows.
    """
    return Sequential(
        Conv2d(8, 3, padding=1),
        ReLU(),
        Conv2d(16, 3, padding=1),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Linear(128),
        ReLU(),
        Linear(64),
        ReLU(),
        Linear(classes, weight="glorot_uniform"),
        Sigmoid(),
    )


def vgg(classes: int = 10, *, width: int = 32, dropout: float = 0.0) -> Sequential:
    """A small VGG (arXiv:1409.1556) for images of about 32x32: three stages of two 3x3 convolutions with batch norm,
    `width`, 2 `width` and 4 `width` channels, each with a pool behind; gives logits."""
    blocks: list[Block] = []
    for channels in (width, 2 * width, 4 * width):
        for _ in range(2):
            blocks += [Conv2d(channels, 3, padding=1, bias=False), BatchNorm2d(), ReLU()]
        blocks.append(MaxPool2d(2))
    blocks += [Flatten(), Linear(8 * width), ReLU(), Dropout(dropout), Linear(classes)]
    return Sequential(*blocks)


def resnet(classes: int = 10, *, depth: int = 18, width: int = 64) -> Graph:
    """A residual network (arXiv:1512.03385) for images of about 32x32; gives logits.

    `depth` is 10, 18 or 34: a 3x3 stem of `width` channels and four stages of basic blocks, `width` to 8 `width`
    channels, each later stage at half the size. Raises ArgumentError for another depth.
    """
    stages = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
    if depth not in stages:
        raise ArgumentError(f"`depth` (={depth}) must be one of {', '.join(str(known) for known in stages)}")
    x = Input()
    h = ReLU()(BatchNorm2d()(Conv2d(width, 3, padding=1, bias=False)(x)))
    channels = width
    for number, count in enumerate(stages[depth]):
        for block in range(count):
            wanted, stride = width * 2**number, 2 if number and not block else 1
            h = _basic_block(h, wanted, stride, projected=stride > 1 or wanted != channels)
            channels = wanted
    return Graph(x, Linear(classes)(GlobalAvgPool()(h)))


def rnn(classes: int = 10, *, features: int = 128, kind: str = "gru") -> Sequential:
    """A recurrent network that reads an image row by row, from the top to the bottom; gives logits.

    `kind` of its layer, of `features` units, is "rnn", "lstm" or "gru". Raises ArgumentError for another.
    """
    kinds = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
    if kind not in kinds:
        raise ArgumentError(f"`kind` (={kind!r}) must be one of {', '.join(kinds)}")
    return Sequential(Flatten(start_dim=2), kinds[kind](features, output="last"), Linear(classes))


def _basic_block(x: Symbol, channels: int, stride: int, *, projected: bool) -> Symbol:
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""
    h = ReLU()(BatchNorm2d()(Conv2d(channels, 3, stride=stride, padding=1, bias=False)(x)))
    h = BatchNorm2d()(Conv2d(channels, 3, padding=1, bias=False)(h))
    shortcut = BatchNorm2d()(Conv2d(channels, 1, stride=stride, bias=False)(x)) if projected else x
    return ReLU()(h + shortcut)
