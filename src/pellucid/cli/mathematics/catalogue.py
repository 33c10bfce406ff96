"""What the page shows, in which order: the equations of `nn/equations` and the updates of `optim`.

The shapes below only choose a form (with a bias, with channels in groups); no number of theirs is printed.
"""

from __future__ import annotations

from dataclasses import dataclass

from pellucid import optim
from pellucid.language.system import System
from pellucid.nn import equations

__all__ = ["Entry", "Section", "catalogue"]

LINE, IMAGE, VOLUME = (2, 9, 4), (2, 9, 9, 4), (2, 9, 9, 9, 4)
ROWS, CHANNELS, CLASSES = (2, 4), (4,), (2, 4)


@dataclass(frozen=True)
class Entry:
    """One operation: its equations, and the inputs `held` fixed (masks, labels), which get no gradient.

    `functions` are those of `nn/equations` that it stands for; none where it is from elsewhere.
    """

    functions: tuple[str, ...]
    title: str
    system: System
    note: str = ""
    held: tuple[str, ...] = ()
    differentiated: bool = True


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph and the operations below it."""

    title: str
    text: str
    entries: tuple[Entry, ...]


def catalogue() -> tuple[Section, ...]:
    """The sections in the order of MATHS.md."""
    return (_convolution(), _activation(), _pooling(), _dense(), _loss(), _normalisation(), _recurrent(), _learning())


def _convolution() -> Section:
    text = (
        "Deep learning's convolution is cross-correlation. `flip=True` turns the kernel by 180 degrees: convolution\n"
        "as mathematics has it. An extent of the output is `floor((N + p0 + p1 - D*(F-1) - 1) / S) + 1`, with `p0`\n"
        "and `p1` the padding of the two sides. The gradient towards `x` carries a constraint; the compiler solves it\n"
        "for each residue of the stride ([the journey](journey.md))."
    )
    grouped = "`C` and `K` are the numbers of input and output channels of one group."
    transposed = "The input gradient of a convolution, used forward; its own gradients are convolutions."
    return Section(
        "Convolution",
        text,
        (
            Entry(("conv2d",), "Convolution", equations.conv2d(IMAGE, (3, 3, 4, 6), (6,))),
            Entry((), "Convolution with the kernel turned", equations.conv2d(IMAGE, (3, 3, 4, 6), (6,), flip=True)),
            Entry((), "Groups", equations.conv2d(IMAGE, (3, 3, 2, 6), (6,), groups=2), grouped),
            Entry(("conv1d",), "One dimension", equations.conv1d(LINE, (3, 4, 6), (6,))),
            Entry(("conv3d",), "Three dimensions", equations.conv3d(VOLUME, (3, 3, 3, 4, 6), (6,))),
            Entry(
                ("conv_transpose2d",),
                "Transposed convolution",
                equations.conv_transpose2d(IMAGE, (3, 3, 6, 4), (6,)),
                transposed,
            ),
            Entry(
                ("conv_transpose1d",),
                "Transposed, one dimension",
                equations.conv_transpose1d(LINE, (3, 6, 4), (6,)),
            ),
            Entry(
                ("conv_transpose3d",),
                "Transposed, three dimensions",
                equations.conv_transpose3d(VOLUME, (3, 3, 3, 6, 4), (6,)),
            ),
        ),
    )


def _activation() -> Section:
    text = (
        "Elementwise, but for maxout and softmax. The brackets in a derivative say which side of a kink counts:\n"
        "ReLU's derivative at 0 is 0, and so is `sign(0)`. `stop` lets no gradient pass."
    )
    q = equations
    threshold = "The line clipped at `LO` and `HI`; derivative 1 strictly inside."
    return Section(
        "Activations",
        text,
        (
            Entry(("identity",), "Identity", q.identity(ROWS)),
            Entry(("sigmoid",), "Sigmoid", q.sigmoid(ROWS), "`sigmoid` is computed without overflow."),
            Entry(("logsigmoid",), "Logarithm of the sigmoid", q.logsigmoid(ROWS)),
            Entry(("tanh",), "Hyperbolic tangent", q.tanh(ROWS)),
            Entry(("relu",), "ReLU", q.relu(ROWS)),
            Entry(("relu6",), "ReLU6", q.relu6(ROWS)),
            Entry(("hardtanh",), "Linear threshold", q.hardtanh(ROWS), threshold),
            Entry(("leaky_relu",), "Leaky ReLU", q.leaky_relu(ROWS), "`A` is the negative slope."),
            Entry(("prelu",), "PReLU", q.prelu(ROWS, CHANNELS), "The slope `a` is learnt, one for each channel."),
            Entry(("elu",), "ELU", q.elu(ROWS), "`A` is alpha."),
            Entry(("selu",), "SELU", q.selu(ROWS), "`L` is the scale, `LA` the scale times alpha."),
            Entry(("softplus",), "Softplus", q.softplus(ROWS), "`B` is beta; `softplus` is computed without overflow."),
            Entry(("softsign",), "Softsign", q.softsign(ROWS)),
            Entry(("silu",), "SiLU, or swish", q.silu(ROWS)),
            Entry(("gelu",), "GELU", q.gelu(ROWS), "`R` is the root of 1/2."),
            Entry((), "GELU by tanh", q.gelu(ROWS, approximate="tanh"), "`Q` is the root of 2/pi."),
            Entry(("hardsigmoid",), "Hard sigmoid", q.hardsigmoid(ROWS)),
            Entry(("hardswish",), "Hard swish", q.hardswish(ROWS)),
            Entry(("mish",), "Mish", q.mish(ROWS)),
            Entry(("maxout",), "Maxout", q.maxout(ROWS, pieces=2), "`V` neighbouring channels become one."),
            Entry(("softmax",), "Softmax", q.softmax(ROWS)),
            Entry(("log_softmax",), "Logarithm of softmax", q.log_softmax(ROWS)),
        ),
    )


def _pooling() -> Section:
    text = (
        "In two dimensions; one and three have one index pair fewer or more. Of several equal maxima the first in\n"
        "row-major order takes the gradient. `position` is the number of a cell in its window, in that order. Windows\n"
        "may overlap: a cell that wins in several receives the sum."
    )
    power, adaptive = "`Q` is the power p and `R` its inverse.", "`M` outputs cover `N` inputs."
    counted = "`LO` and `HI` are the cells that count: those of the input, or with the padding."
    uneven = (2, 7, 7, 4)
    q = equations
    return Section(
        "Pooling",
        text,
        (
            Entry(("max_pool",), "Maximum", q.max_pool(IMAGE, kernel_size=3)),
            Entry(("avg_pool",), "Average", q.avg_pool(IMAGE, kernel_size=3), "`M` is the number of cells."),
            Entry(
                (),
                "Average of the cells that count",
                q.avg_pool(IMAGE, kernel_size=3, padding=1, count_include_pad=False),
                counted,
            ),
            Entry(("lp_pool",), "L2", q.lp_pool(IMAGE, norm_type=2, kernel_size=3), "The gradient is 0 where `z` is."),
            Entry((), "Lp", q.lp_pool(IMAGE, norm_type=3, kernel_size=3), power),
            Entry(("global_max_pool",), "Global maximum", q.global_max_pool(IMAGE)),
            Entry(("global_avg_pool",), "Global average", q.global_avg_pool(IMAGE)),
            Entry(("adaptive_max_pool",), "Adaptive maximum", q.adaptive_max_pool(uneven, output_size=3), adaptive),
            Entry(("adaptive_avg_pool",), "Adaptive average", q.adaptive_avg_pool(uneven, output_size=3), adaptive),
        ),
    )


def _dense() -> Section:
    text = "The fully connected layer, and equations that move values and compute nothing."
    blocks = "`R` is the side of a block, `C` the number of channels of a cell in it."
    q = equations
    return Section(
        "Fully connected layers and changes of shape",
        text,
        (
            Entry(("linear",), "Fully connected", q.linear(ROWS, (4, 3), (3,))),
            Entry(("add",), "Sum", q.add(IMAGE, IMAGE)),
            Entry(("flatten",), "Flatten", q.flatten(IMAGE), "`Nj` and `Nc` are the extents of `j` and `c`."),
            Entry(("concatenate",), "Concatenation", q.concatenate([ROWS, ROWS]), "`O1` is where `x1` begins."),
            Entry(
                ("upsample_nearest",),
                "Nearest upsampling",
                q.upsample_nearest(IMAGE, scale_factor=2),
                "`RH` and `RW` are the factors.",
            ),
            Entry(("depth_to_space",), "Depth to space", q.depth_to_space(IMAGE, block=2), blocks),
            Entry(("pixel_shuffle",), "Pixel shuffle", q.pixel_shuffle(IMAGE, upscale_factor=2), blocks),
            Entry(
                ("space_to_depth",),
                "Space to depth",
                q.space_to_depth((2, 8, 8, 4), block=2),
                blocks,
            ),
        ),
    )


def _loss() -> Section:
    text = (
        "`y` is the prediction, `t` the target, `N` the number of elements (of rows, over classes). `z` is the mean;\n"
        'the sum, and the loss of each element, are `reduction="sum"` and `"none"`.'
    )
    q = equations
    clamped = "The logarithm of a probability below `TINY`, the smallest normal float32, counts as `LOW`, -100."
    labels = "The target is a label for each row; the gradient is `softmax(y) - t` in the end."
    full = "With a weight `w` for each class, label smoothing `E`, `U` of it for each class, and an ignored label."
    return Section(
        "Losses",
        text,
        (
            Entry(("squared_error_loss",), "Squared error", q.squared_error_loss(ROWS, ROWS), "The sum, as S1 has it."),
            Entry(("mse_loss",), "Mean squared error", q.mse_loss(ROWS, ROWS)),
            Entry((), "L2", q.mse_loss(ROWS, ROWS, reduction="sum")),
            Entry(("l1_loss",), "Mean absolute error", q.l1_loss(ROWS, ROWS)),
            Entry((), "L1", q.l1_loss(ROWS, ROWS, reduction="sum")),
            Entry(("msle_loss",), "Mean squared logarithmic error", q.msle_loss(ROWS, ROWS)),
            Entry(("mape_loss",), "Mean absolute percentage error", q.mape_loss(ROWS, ROWS), "`E` is epsilon."),
            Entry(("huber_loss",), "Huber", q.huber_loss(ROWS, ROWS), "`D` is delta."),
            Entry(("smooth_l1_loss",), "Smooth L1", q.smooth_l1_loss(ROWS, ROWS), "`B` is beta."),
            Entry(("hinge_loss",), "Hinge", q.hinge_loss(ROWS, ROWS), "Targets are 1 and -1."),
            Entry(("kl_div",), "Kullback-Leibler divergence", q.kl_div(ROWS, ROWS), "`y` is a log-probability."),
            Entry(("binary_cross_entropy",), "Binary cross-entropy", q.binary_cross_entropy(ROWS, ROWS), clamped),
            Entry(
                ("binary_cross_entropy_with_logits",),
                "Binary cross-entropy of logits",
                q.binary_cross_entropy_with_logits(ROWS, ROWS),
                "The gradient is `sigmoid(y) - t`, without overflow.",
            ),
            Entry(
                ("categorical_cross_entropy",),
                "Categorical cross-entropy of probabilities",
                q.categorical_cross_entropy(CLASSES, CLASSES),
            ),
            Entry(
                ("cross_entropy",),
                "Cross-entropy of logits",
                q.cross_entropy(CLASSES, CLASSES[:1]),
                labels,
                held=("t",),
            ),
            Entry(
                (),
                "Cross-entropy with everything",
                q.cross_entropy(CLASSES, CLASSES[:1], CHANNELS, ignore_index=-1, label_smoothing=0.1),
                full,
                held=("t", "w"),
            ),
            Entry(
                ("nll_loss",),
                "Negative log-likelihood",
                q.nll_loss(CLASSES, CLASSES[:1]),
                "`y` is a log-probability.",
                held=("t",),
            ),
        ),
    )


def _normalisation() -> Section:
    text = (
        "Statistics take two passes, the mean first, so that no digits are lost where the mean is large. `E` is\n"
        "epsilon."
    )
    q = equations
    running = "`M` is the momentum; no gradient passes."
    lrn = "`A`, `B` and `K` are alpha over the number of channels, minus beta, and k."
    return Section(
        "Normalisation and dropout",
        text,
        (
            Entry(("batch_norm",), "Batch norm in training", q.batch_norm(IMAGE, CHANNELS, CHANNELS)),
            Entry(
                ("batch_norm_inference",),
                "Batch norm in inference",
                q.batch_norm_inference(IMAGE, CHANNELS, CHANNELS, CHANNELS, CHANNELS),
                held=("mean", "variance"),
            ),
            Entry(("running_mean",), "Running mean", q.running_mean(IMAGE, CHANNELS), running, differentiated=False),
            Entry(
                ("running_variance",),
                "Running variance",
                q.running_variance(IMAGE, CHANNELS),
                "The unbiased variance of the batch.",
                differentiated=False,
            ),
            Entry(("layer_norm",), "Layer norm", q.layer_norm(ROWS, CHANNELS, CHANNELS, normalized_shape=4)),
            Entry(("local_response_norm",), "Local response norm", q.local_response_norm(IMAGE, size=3), lrn),
            Entry(
                ("dropout",),
                "Dropout",
                q.dropout(ROWS, ROWS),
                "`m` is a mask of zeros and ones, `Q` is `1/(1-p)`.",
                held=("m",),
            ),
        ),
    )


def _recurrent() -> Section:
    text = (
        "States `h` are made step by step: `t` counts the steps, `j` and `k` the features before and after, `q` the\n"
        "gates; `u` is what the input brings at all steps at once. The gradient is a recurrence from the last step\n"
        "to the first ([backpropagation through time](recurrent.md#backpropagation-through-time)); reading behind the\n"
        "last step is 0."
    )

    def entry(kind: str, title: str, note: str = "", *functions: str) -> Entry:
        network = equations.Recurrent(kind, 3)
        states = {"state": (2, 3), **({"cell": (2, 3)} if kind == "lstm" else {})}
        system = equations.recurrent(network, (2, 5, 4), network.shapes(4), **states)
        return Entry(functions, title, system, note)

    return Section(
        "Recurrent networks",
        text,
        (
            entry("tanh", "Simple recurrent network", "", "Recurrent", "recurrent"),
            entry("lstm", "LSTM", "Gates 0 to 3: input, forget, cell, output."),
            entry("gru", "GRU", "Gates 0 to 2: reset, update, new; the reset gate stands behind the product."),
        ),
    )


def _learning() -> Section:
    text = (
        "The update of a parameter `p`, seen as a flat array, by its gradient `g`: `p1` is its new value, and so for\n"
        "the moments that are kept beside it. `lr`, `rate`, `spread` and `keep` are numbers that change from step to\n"
        "step. The updates are equations like all others and are compiled with the step."
    )

    def update(title: str, optimizer: optim.Optimizer, note: str = "") -> Entry:
        return Entry((), title, optimizer.system(), note, differentiated=False)

    unbiased = (
        "`rate = lr / (1 - beta1**step)` and `spread = 1 / sqrt(1 - beta2**step)` take the bias off the means; steps\n"
        "count from 1."
    )
    return Section(
        "Learning",
        text,
        (
            update("Gradient descent", optim.SGD(0.1)),
            update("Gradient descent with weight decay", optim.SGD(0.1, weight_decay=0.01)),
            update("Momentum", optim.SGD(0.1, momentum=0.9)),
            update("Nesterov's momentum", optim.SGD(0.1, momentum=0.9, nesterov=True)),
            update("Adam", optim.Adam(), unbiased),
            update("AdamW", optim.AdamW(), "`keep` is `1 - lr * decay`."),
            update("RMSprop", optim.RMSprop()),
            update("RMSprop, centred, with momentum", optim.RMSprop(centered=True, momentum=0.9)),
            update("Adagrad", optim.Adagrad()),
            Entry((), "L2 penalty", optim.L2(0.01).system(), "Added to the loss for every weight."),
            Entry((), "L1 penalty", optim.L1(0.01).system()),
        ),
    )
