"""What all drawings share: the look, and a matplotlib figure as SVG with the same bytes each time.

matplotlib is optional and takes a while to import: only functions import it, and never its `pyplot`, which keeps state.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PALETTE", "as_svg", "colour", "finite", "inlined", "logarithmic", "plain_axes", "plotting_missing"]

# Each colour by its name, in light and in dark surroundings. A drawing is made with the light ones, a background of its
# own included, so that it can be looked at anywhere; a page replaces them by its variables, see `inlined`. No two are
# the same in light.
PALETTE = {
    "paper": ("#ffffff", "#15181e"),
    "ink": ("#1c2330", "#e4e8ee"),
    "muted": ("#5c6675", "#9ba5b4"),
    "rule": ("#e2e6eb", "#2c333e"),
    "training": ("#b8610f", "#f0a860"),
    "validation": ("#2160b5", "#78acf5"),
    "balanced": ("#0b7d66", "#55c7a8"),
    "right": ("#2f6fba", "#4183cf"),
    "wrong": ("#c4452d", "#d9593f"),
    "on-strong": ("#fefefe", "#fefefe"),
}

_LARGEST = 1.5  # pixels of a unit of a drawing, whose words are 9 units high
_HINT = "pip install 'pellucid[plot]'"


def plotting_missing() -> str | None:
    """Why no drawings can be made, a message for the user; None where they can."""
    what = "curves.svg, gradients.svg and confusion_matrix.svg are not drawn"
    try:
        import matplotlib.figure as _  # noqa: F401
    except ModuleNotFoundError:
        return f"{what}: matplotlib is missing; {_HINT}"
    except ImportError as error:
        return f"{what}: matplotlib cannot be imported ({error}); {_HINT}"
    return None


def colour(name: str) -> str:
    """A colour of the palette as drawings have it."""
    return PALETTE[name][0]


def as_svg(width: float, height: float, draw: Callable[[Figure], None]) -> str:
    """What `draw` draws on a figure of that size (in inches of 96 pixels), as SVG; a function of what is drawn alone.

    Text stays text in a font of the reader's, so that names in any script can be read.

    Raises:
        ImportError: matplotlib is missing; `plotting_missing` tells before.
    """
    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.style.context(["default", _look()]), warnings.catch_warnings():
        # matplotlib's own font, by which it measures, has not every script.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(width, height), dpi=72, layout="constrained")
        draw(figure)
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": "pellucid"})
    return buffer.getvalue()


def _look() -> dict[str, Any]:
    return {
        "axes.edgecolor": colour("rule"),
        "axes.facecolor": colour("paper"),
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.axisbelow": True,
        "axes.labelcolor": colour("muted"),
        "axes.labelsize": 9,
        "axes.spines.left": False,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": colour("ink"),
        "axes.titlelocation": "left",
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "figure.facecolor": colour("paper"),
        "grid.color": colour("rule"),
        "grid.linewidth": 0.8,
        "legend.borderaxespad": 0.2,
        "legend.borderpad": 0,
        "legend.columnspacing": 1.2,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "legend.handlelength": 1.2,
        "legend.handletextpad": 0.5,
        "legend.labelcolor": colour("muted"),
        "lines.linewidth": 1.6,
        "lines.markersize": 3.5,
        "path.simplify_threshold": 0.4,
        "svg.fonttype": "none",
        "svg.hashsalt": "pellucid",  # without it names within the file are random
        "text.color": colour("ink"),
        "text.parse_math": False,  # a dollar in a name is a dollar
        "xtick.color": colour("rule"),
        "xtick.labelcolor": colour("muted"),
        "xtick.labelsize": 8.5,
        "ytick.color": colour("rule"),
        "ytick.labelcolor": colour("muted"),
        "ytick.labelsize": 8.5,
        "ytick.major.size": 0,
        "ytick.minor.size": 0,
    }


def plain_axes(axes: Axes, epochs: int) -> None:
    """Whole epochs from left to right, with room for a single one."""
    from matplotlib.ticker import MaxNLocator

    room = 0.5 if epochs == 1 else 0.02 * (epochs - 1)
    axes.set_xlim(1 - room, epochs + room)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")


def logarithmic(axes: Axes) -> None:
    """A logarithmic scale upwards, with plain figures; also between powers of ten where there are not two of them."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(Plain(minor_thresholds=(1.2, 0.5)))


def finite(values: Iterable[float | None]) -> list[float]:
    """NaN, which is not drawn, for what is absent or infinite."""
    return [math.nan if value is None or not math.isfinite(value) else value for value in values]


def inlined(svg: str, prefix: str, title: str) -> str:
    """A drawing as part of a page.

    Its names begin with `prefix`, which no other drawing of the page may have; its colours are the page's variables
    (`--ink` and so on); it takes the room that there is, but grows no larger than reads well; `title` is what it is
    called where it cannot be seen. `prefix` and `title` are not escaped.
    """
    drawing = svg[svg.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>\s*", "", drawing, count=1, flags=re.DOTALL)
    drawing = re.sub(r' (id="|xlink:href="#)', rf" \1{prefix}-", drawing)
    drawing = drawing.replace("url(#", f"url(#{prefix}-")
    for name, (light, _) in PALETTE.items():
        drawing = drawing.replace(light, f"var(--{name})")
    head, end, body = drawing.partition(">")
    box = re.search(r'viewBox="0 0 ([\d.]+) [\d.]+"', head)
    assert box is not None
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    size = f'style="max-width:{_LARGEST * float(box[1]):.0f}px"'
    return f'<svg {names} {box[0]} {size} role="img" aria-label="{title}"{end}{body}'
