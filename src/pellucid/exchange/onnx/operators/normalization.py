"""Normalisation by statistics: of the batch, of each image, of groups of channels, of the last axes.

Statistics are taken in two passes, mean first, as `nn` takes them, and in the arithmetic of the program, whatever
`stash_type` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from pellucid.errors import ShapeError
from pellucid.exchange.onnx.node import Node
from pellucid.exchange.onnx.operators.registry import operator
from pellucid.exchange.onnx.values import Tensor, channels_last, natural
from pellucid.exchange.onnx.writing import access, axis_names, broadcast_shape, cell
from pellucid.nn.equations import normalization as equations
from pellucid.nn.equations.notation import system
from pellucid.nn.layer import Running, Shape, Training

__all__: list[str] = []

_AFFINE = {"w": "weight", "b": "bias"}
_BATCH = _AFFINE | {"mean": "running_mean", "variance": "running_var"}


@operator("BatchNormalization")
def batch_normalization(node: Node) -> tuple[Tensor | None, ...]:
    """Each channel by given statistics; by those of the batch where the file says that it trains.

    In a program that is trained it is what `nn.BatchNorm2d` is, whatever the file says.
    """
    if not node.truth("spatial", True):
        node.refuse("`spatial` (=0), statistics for each position, is not supported")
    shape = node.value(0).shape
    x = _channels_last(node)
    channels = (x.shape[1],)
    sources = {"x": x} | {local: _per_channel(node, place, *channels) for place, local in enumerate(_BATCH, 1)}
    eps, momentum = _epsilon(node), _momentum(node)
    in_file = node.truth("training_mode") if node.version >= 14 else any(node.wants(place) for place in range(1, 5))
    if in_file and not node.program.training:
        step = equations.batch_norm(x.memory, channels, channels, eps=eps)
        made = node.emit(step, {local: sources[local] for local in "xwb"}, x.shape, x.order, weights=_AFFINE)
    else:
        made = _by_running(node, sources, eps, momentum)
    if made.shape != shape:
        made = node.view(made, shape, part="flat")
    others = [
        _moved(node, place, x, sources["mean" if place % 2 else "variance"], momentum) if node.wants(place) else None
        for place in range(1, 5)
    ]
    return made, *others


@operator("InstanceNormalization")
def instance_normalization(node: Node) -> Tensor:
    """Each channel of each image to mean 0 and variance 1, times a scale, plus a bias."""
    x = _channels_last(node, least=3)
    w, b = (_per_channel(node, number, x.shape[1]) for number in (1, 2))
    names = axis_names(x.rank, x.order)
    cells, over = cell("x", names, x.order), ",".join(names[2:])
    step = system(
        f"mean[n,c] = (sum({over}) {cells}) / N",
        f"variance[n,c] = (sum({over}) ({cells} - stop(mean[n,c]))**2) / N",
        "scale[n,c] = w[c] / sqrt(variance[n,c] + E)",
        f"{cell('z', names, x.order)} = ({cells} - mean[n,c])*scale[n,c] + b[c]",
        constants={"N": prod(x.shape[2:]), "E": _epsilon(node)},
    )
    return node.emit(step, {"x": x, "w": w, "b": b}, x.shape, x.order, weights=_AFFINE)


@operator("GroupNormalization")
def group_normalization(node: Node) -> Tensor:
    """Each group of channels of each image to mean 0 and variance 1.

    Scale and bias belong to the groups before version 21, from there on to the channels.
    """
    x = _channels_last(node, least=3)
    groups = node.integer("num_groups", least=1)
    if x.shape[1] % groups:
        node.damaged(f"`num_groups` (={groups}) must divide the number of channels (={x.shape[1]})")
    node.integer("stash_type", 1)
    w, b = (_per_channel(node, number, groups if node.version < 21 else x.shape[1]) for number in (1, 2))
    names = axis_names(x.rank, x.order)
    own = "u" if node.version < 21 else "u*K+k"
    channel = [names[0], "u*K+k", *names[2:]]
    cells, over = cell("x", channel, x.order), ",".join(("k", *names[2:]))
    step = system(
        f"mean[n,u] = (sum({over}) {cells}) / N",
        f"variance[n,u] = (sum({over}) ({cells} - stop(mean[n,u]))**2) / N",
        "scale[n,u] = 1 / sqrt(variance[n,u] + E)",
        f"{cell('z', channel, x.order)} = ({cells} - mean[n,u])*scale[n,u]*w[{own}] + b[{own}]",
        constants={"N": prod(x.shape[1:]) // groups, "E": _epsilon(node), "K": x.shape[1] // groups},
        extents={"u": groups, "k": x.shape[1] // groups},
    )
    return node.emit(step, {"x": x, "w": w, "b": b}, x.shape, x.order, weights=_AFFINE)


@operator("LayerNormalization")
def layer_normalization(node: Node) -> tuple[Tensor, ...]:
    """The axes from `axis` on to mean 0 and variance 1; mean and inverse deviation are results too."""
    x, axis = _last_axes(node)
    eps = _epsilon(node)
    affine = {"w": node.tensor(1)} | ({"b": node.tensor(2)} if node.given(2) else {})
    over = x.shape[axis:]
    if all(tensor.shape == over and tensor.order == x.order[: len(over)] for tensor in affine.values()):
        shapes = [tensor.memory for tensor in affine.values()]
        step = equations.layer_norm(x.memory, *shapes, normalized_shape=over, eps=eps)
    else:
        names = axis_names(x.rank)
        cells = cell("z", names)
        rows, texts = _statistics(names, axis)
        scale, *shift = (_broadcast(node, local, tensor, x.shape, names) for local, tensor in affine.items())
        step = system(
            *texts,
            f"scale{rows} = 1 / sqrt(variance{rows} + E)",
            f"{cells} = ({cell('x', names)} - mean{rows})*scale{rows}*{' + '.join((scale, *shift))}",
            constants={"N": prod(over), "E": eps},
        )
    made = node.emit(step, {"x": x, **affine}, x.shape, weights=_AFFINE)
    return made, *(_statistic(node, x, axis, number, eps) for number in (1, 2) if node.wants(number))


@operator("RMSNormalization")
def rms_normalization(node: Node) -> Tensor:
    """The axes from `axis` on divided by the root of their mean square, times a scale."""
    x, axis = _last_axes(node)
    w = node.tensor(1)
    names = axis_names(x.rank)
    rows, cells, over = _rows(names, axis), cell("x", names), ",".join(names[axis:])
    step = system(
        f"square{rows} = (sum({over}) {cells}**2) / N",
        f"scale{rows} = 1 / sqrt(square{rows} + E)",
        f"{cell('z', names)} = {cells}*scale{rows}*{_broadcast(node, 'w', w, x.shape, names)}",
        constants={"N": prod(x.shape[axis:]), "E": _epsilon(node)},
    )
    return node.emit(step, {"x": x, "w": w}, x.shape, weights=_AFFINE)


@operator("LpNormalization")
def lp_normalization(node: Node) -> Tensor:
    """Divided by the sum of absolute values, or the root of the sum of squares, along an axis; 0 where that is 0."""
    x = node.tensor(0)
    axis = node.axis(x.rank, -1)
    power = node.integer("p", 2, least=1, most=2)
    names = axis_names(x.rank, x.order)
    cells = cell("x", names, x.order)
    row = cell("norm", [name for place, name in enumerate(names) if place != axis])
    norm = f"sum({names[axis]}) abs({cells})" if power == 1 else f"sqrt(sum({names[axis]}) {cells}**2)"
    step = system(f"{row} = {norm}", f"{cell('z', names, x.order)} = {cells} / where({row} > 0, {row}, 1)")
    return node.emit(step, {"x": x}, x.shape, x.order)


@operator("MeanVarianceNormalization")
def mean_variance_normalization(node: Node) -> Tensor:
    """Mean 0 and deviation 1 over `axes`; 1e-9 is added to the deviation."""
    x = node.tensor(0)
    axes = node.checked_axes(node.integers("axes", (0, 2, 3)), x.rank)
    if not axes:
        node.damaged("`axes` is empty")
    names = axis_names(x.rank, x.order)
    cells, over = cell("x", names, x.order), ",".join(names[axis] for axis in axes)
    row = ",".join(name for place, name in enumerate(names) if place not in axes)
    row = f"[{row}]" if row else ""
    step = system(
        f"mean{row} = (sum({over}) {cells}) / N",
        f"variance{row} = (sum({over}) ({cells} - stop(mean{row}))**2) / N",
        f"{cell('z', names, x.order)} = ({cells} - mean{row}) / (sqrt(variance{row}) + E)",
        constants={"N": prod(x.shape[axis] for axis in axes), "E": 1e-9},
    )
    return node.emit(step, {"x": x}, x.shape, x.order)


@operator("LRN")
def local_response_normalization(node: Node) -> Tensor:
    """`nn`'s, with the smaller half of an even window before the channel."""
    x = _channels_last(node, least=3)
    size = node.integer("size", least=1, most=2**31 - 1)
    step = equations.local_response_norm(
        x.memory,
        size=size,
        alpha=node.number("alpha", 1e-4),
        beta=node.number("beta", 0.75),
        k=node.number("bias", 1.0),
        before=(size - 1) // 2,
    )
    return node.emit(step, {"x": x}, x.shape, x.order)


def _by_running(node: Node, sources: Mapping[str, Tensor], eps: float, momentum: float) -> Tensor:
    """By the given statistics; in training as `nn` has it."""
    x = sources["x"]
    shape, channels = x.memory, (x.shape[1],)

    def training() -> Training:
        mean = equations.running_mean(shape, channels, momentum=momentum)
        variance = equations.running_variance(shape, channels, momentum=momentum)
        return Training(
            equations.batch_norm(shape, channels, channels, eps=eps),
            running=(Running("running_mean", mean), Running("running_var", variance)),
        )

    return node.emit(
        equations.batch_norm_inference(shape, channels, channels, channels, channels, eps=eps),
        sources,
        x.shape,
        x.order,
        weights=_BATCH,
        kept=("mean", "variance"),
        training=training if all(sources[local].host is not None for local in ("mean", "variance")) else None,
    )


def _moved(node: Node, number: int, x: Tensor, running: Tensor, momentum: float) -> Tensor:
    """Output 1 or 2: the running mean or variance, moved towards the batch's; 3 or 4: the batch's alone.

    The variance divides by the number of values, as ONNX has it.
    """
    names = axis_names(x.rank, x.order)
    cells, over = cell("x", names, x.order), ",".join(name for axis, name in enumerate(names) if axis != 1)
    local = "mean" if number % 2 else "variance"
    texts = [f"mean[c] = (sum({over}) {cells}) / N", f"variance[c] = (sum({over}) ({cells} - mean[c])**2) / N"]
    constants: dict[str, int | float] = {"N": x.size // x.shape[1]}
    if number > 2:
        step = system(*texts[: 2 - number % 2], constants=constants)
        return node.emit(step, {"x": x}, running.shape, part=f"batch {local}")
    texts = [*texts[:number], f"z[c] = (1 - M)*running[c] + M*{local}[c]"]
    step = system(*texts, constants=constants | {"M": momentum})
    return node.emit(step, {"x": x, "running": running}, running.shape, part=f"running {local}")


def _statistic(node: Node, x: Tensor, axis: int, number: int, eps: float) -> Tensor:
    """Output 1 or 2 of a LayerNormalization: the mean, or 1 by the deviation."""
    names = axis_names(x.rank)
    rows, texts = _statistics(names, axis)
    if number == 2:
        texts.append(f"scale{rows} = 1 / sqrt(variance{rows} + E)")
    constants: dict[str, int | float] = {"N": prod(x.shape[axis:])} | ({"E": eps} if number == 2 else {})
    made = node.emit(
        system(*texts[: 1 if number == 1 else 3], constants=constants),
        {"x": x},
        x.shape[:axis],
        part="mean" if number == 1 else "scale",
    )
    part = "mean of rows" if number == 1 else "scale of rows"
    return node.view(made, (*x.shape[:axis], *(1 for _ in x.shape[axis:])), part=part)


def _statistics(names: list[str], axis: int) -> tuple[str, list[str]]:
    rows, over, cells = _rows(names, axis), ",".join(names[axis:]), cell("x", names)
    return rows, [
        f"mean{rows} = (sum({over}) {cells}) / N",
        f"variance{rows} = (sum({over}) ({cells} - stop(mean{rows}))**2) / N",
    ]


def _rows(names: list[str], axis: int) -> str:
    return f"[{','.join(names[:axis])}]" if axis else ""


def _channels_last(node: Node, least: int = 1) -> Tensor:
    """Input 0 with its channels last; one with the batch alone has a single channel."""
    x = node.tensor(0)
    if x.rank < least:
        node.damaged(f"input 0 {x.shape} must have at least {least} dimensions")
    return node.view(x, (*x.shape, 1), part="channel") if x.rank == 1 else node.arranged(x, channels_last(x.rank))


def _per_channel(node: Node, number: int, count: int) -> Tensor:
    found = node.tensor(number)
    if found.shape != (count,):
        raise ShapeError(f"input {number} {found.shape} must have shape {(count,)}")
    return found


def _last_axes(node: Node) -> tuple[Tensor, int]:
    """Input 0 in ONNX's order of axes, and the first axis over which statistics are taken."""
    node.integer("stash_type", 1)
    x = node.tensor(0)
    return node.arranged(x, natural(x.rank)), node.axis(x.rank, -1)


def _broadcast(node: Node, local: str, x: Tensor, shape: Shape, names: list[str]) -> str:
    if broadcast_shape([shape, x.shape]) != shape:
        raise ShapeError(f"a scale or bias of shape {x.shape} must broadcast to input 0 {shape}")
    return access(local, x, shape, names)


def _momentum(node: Node) -> float:
    """The fraction by which the batch moves the running statistics; ONNX says how much of them stays."""
    stays = node.number("momentum", 0.9)
    if not 0 <= stays <= 1:
        node.damaged(f"attribute `momentum` (={stays}) must be from 0 to 1")
    return 1 - stays


def _epsilon(node: Node) -> float:
    value = node.number("epsilon", 1e-5)
    if value < 0:
        node.damaged(f"attribute `epsilon` (={value}) must be at least 0")
    return value
