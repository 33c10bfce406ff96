"""How strong the gradient of each layer is over the epochs, drawn on a logarithmic scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pellucid.train.report.drawing import as_svg, colour, finite, logarithmic, plain_axes
from pellucid.train.report.names import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pellucid.train.history import History

__all__ = ["SCALE", "gradients_svg", "layer_norms"]

_WIDTH, _HEIGHT = 7.2, 3.3  # inches
SCALE = ("#3d6fd6", "#9a5fc4", "#d4558a", "#d9772e")  # to be seen in light and in dark surroundings
_NAMED = 12  # so many layers have their names beside their lines


def layer_norms(history: History) -> dict[str, tuple[float | None, ...]]:
    """The L2 norm of each layer's gradient, all its parameters together, a number for each epoch or None.

    A layer is what stands before the last dot of a parameter's name. The order is that of the layers.
    """
    layers: dict[str, list[float | None]] = {}
    for place, result in enumerate(history.epochs):
        for name, norm in result.gradient_norms.items():
            layer = layers.setdefault(name.rpartition(".")[0] or name, [None] * len(history.epochs))
            layer[place] = math.hypot(layer[place] or 0.0, norm)
    return {name: tuple(norms) for name, norms in layers.items()}


def gradients_svg(history: History) -> str:
    """A line for each layer, from the first (blue) to the last (orange), as SVG. `history` must have gradient norms.

    Raises:
        ImportError: matplotlib is missing.
    """
    layers = layer_norms(history)
    return as_svg(_WIDTH, _HEIGHT, lambda figure: _draw(figure, layers, len(history.epochs)))


def _draw(figure: Figure, layers: Mapping[str, Sequence[float | None]], epochs: int) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    axes = figure.add_subplot()
    scale = LinearSegmentedColormap.from_list("layers", SCALE)
    paints = [scale(place / max(1, len(layers) - 1)) for place in range(len(layers))]
    for norms, paint in zip(layers.values(), paints, strict=True):
        # A gradient of 0 has no place on the scale.
        values = [value if value > 0 else math.nan for value in finite(norms)]
        axes.plot(range(1, epochs + 1), values, color=paint, marker="o" if epochs <= 30 else "")
    logarithmic(axes)
    axes.set_title("gradient norm of each layer, last step of each epoch")
    plain_axes(axes, epochs)
    _legend(axes, list(layers))


def _legend(axes: Axes, names: Sequence[str]) -> None:
    """Names of the layers in their order; of many the first, some between, and the last."""
    step = max(1, (len(names) - 1) / (_NAMED - 1))
    chosen = sorted({round(place * step) for place in range(_NAMED) if round(place * step) < len(names)})
    legend = axes.legend(
        [axes.lines[place] for place in chosen],
        ["layer"] * len(chosen),
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        title="layer" if len(chosen) == len(names) else f"layer (some of {len(names)})",
        title_fontsize=9,
        labelcolor=colour("muted"),
    )
    legend.get_title().set_color(colour("muted"))
    for label, place in zip(legend.get_texts(), chosen, strict=True):
        label.set_text(shortened(names[place], 24))  # not said before: matplotlib skips labels that begin with `_`
