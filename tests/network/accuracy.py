"""The rounding errors of compiled 3x3 convolutions beside those of plain float32 kernels, as a table.

    PYTHONPATH=src:tests python tests/network/accuracy.py [CHAIN ...]

Forward pass, dx and dw of a convolution with as many channels in as out, on small maps; one with a stride or a
dilation in Winograd's form whether it is worth it or not. Errors are
against float64: the largest relative to the largest result, the root mean square relative to that of the result, in
units of 1e-7. `plain` sums in float32 one term after the other; PyTorch's kernels, where it is installed, stand beside.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import cache
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from pellucid.language import tiles
from pellucid.language.parse import parse
from pellucid.network import Graph, compile_graph, differentiate, engine, fast

CONV = parse("z[n,i,j,k] = sum(s,t,c) x[n,S*i+D*s-D,S*j+D*t-D,c] * w[s,t,c,k]")
LOSS = parse("l = sum(n,i,j,k) z[n,i,j,k] * g[n,i,j,k]")
ONE = parse("one = 1")


class Shape(NamedTuple):
    """A 3x3 convolution whose padding is its dilation: channels, rows = columns of the result, images."""

    channels: int
    size: int
    images: int
    stride: int = 1
    dilation: int = 1

    def __str__(self):
        steps = {"stride": self.stride, "dilation": self.dilation}
        return " ".join([f"{self.channels} channels", *(f"{name} {n}" for name, n in steps.items() if n > 1)])


SHAPES = tuple(Shape(*sizes) for sizes in ((32, 12, 8), (64, 10, 8), (128, 10, 8), (256, 8, 4), (512, 6, 4)))
STRIDED = tuple(Shape(*sizes, stride=2) for sizes in ((32, 12, 8), (64, 12, 8), (128, 8, 8), (256, 8, 4)))
DILATED = tuple(Shape(*sizes, dilation=2) for sizes in ((32, 12, 8), (64, 12, 8), (128, 12, 4)))
FORMS, WORTHWHILE, ALWAYS = tiles.FORMS, fast.WORTHWHILE, float("inf")
PASSES = ("forward", "dx", "dw")


@cache
def arrays(shape, data):
    """x (after a ReLU, or positive), w and the upstream gradient."""
    channels, size, images, stride, _ = shape
    rng = np.random.default_rng(channels)
    x = np.maximum(rng.standard_normal((images, stride * size, stride * size, channels)), 0)
    w = rng.standard_normal((3, 3, channels, channels)) / np.sqrt(4.5 * channels)
    g = rng.standard_normal((images, size, size, channels))
    if data == "positive":
        x, w, g = x + 0.1, np.abs(w), np.abs(g)
    return {"x": x.astype("float32"), "w": w.astype("float32"), "g": g.astype("float32")}


def graph_of(shape, accuracy, dtype="float32"):
    """The graph of z, dx and dw, and the names of the three."""
    channels, size, images, stride, dilation = shape
    graph = Graph(dtype, images=images, accuracy=accuracy)
    bound = {
        "x": graph.input("x", (images, stride * size, stride * size, channels), of_images=True),
        "w": graph.input("w", (3, 3, channels, channels)),
        "g": graph.input("g", (images, size, size, channels), of_images=True),
    }
    bound["z"] = graph.formula(
        CONV,
        bound,
        constants={"S": stride, "D": dilation},
        extents={"i": size, "j": size},
        output_extents=(images, size, size, channels),
    )
    loss = graph.formula(LOSS, bound)
    found = differentiate(graph, loss, graph.formula(ONE, {}), ["x", "w"])
    return graph, [bound["z"], found["x"], found["w"]]


def products(windows, w):
    """`sum(s,t,c)` as one matrix product each, in float64."""
    return np.einsum("nijstc,stck->nijk", windows, w, optimize=True)


@cache
def exact(shape, data):
    """z, dx and dw in float64."""
    given = {name: array.astype("float64") for name, array in arrays(shape, data).items()}
    windows = both_windows(shape, given)
    turned = given["w"][::-1, ::-1].transpose(0, 1, 3, 2)
    dw = np.einsum("nijstc,nijk->stck", windows["x"], given["g"], optimize=True)
    return [products(windows["x"], given["w"]), products(windows["g"], turned), dw]


def both_windows(shape, given):
    """What the forward pass and dw read of x, and what dx reads of g: with a stride, zeros stand between the latter."""
    stride, dilation = shape.stride, shape.dilation
    spread = np.zeros_like(given["x"])
    spread[:, ::stride, ::stride] = given["g"]
    return {"x": windows_of(given["x"], dilation)[:, ::stride, ::stride], "g": windows_of(spread, dilation)}


def windows_of(x, dilation):
    """`[n, i, j, s, t, c]` of x padded by the dilation."""
    sides, reach = (dilation, dilation), 2 * dilation + 1
    padded = np.pad(x, ((0, 0), sides, sides, (0, 0)))
    whole = np.lib.stride_tricks.sliding_window_view(padded, (reach, reach), (1, 2))
    return whole[..., ::dilation, ::dilation].transpose(0, 1, 2, 4, 5, 3)


@cache
def pytorch(shape, data):
    """z, dx and dw of PyTorch's float32 kernels; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    given = {name: torch.from_numpy(array) for name, array in arrays(shape, data).items()}
    x, g = (given[name].permute(0, 3, 1, 2) for name in ("x", "g"))
    w = given["w"].permute(3, 2, 0, 1)
    x.requires_grad_()
    w.requires_grad_()
    z = torch.nn.functional.conv2d(x, w, None, shape.stride, shape.dilation, shape.dilation)
    dx, dw = torch.autograd.grad(z, (x, w), g)
    back = ((z, (0, 2, 3, 1)), (dx, (0, 2, 3, 1)), (dw, (2, 3, 1, 0)))
    return [array.detach().permute(order).numpy() for array, order in back]


@cache
def plain(shape, data):
    """z, dx and dw of a plain float32 kernel: every sum one term after the other."""
    given = arrays(shape, data)
    turned = np.ascontiguousarray(given["w"][::-1, ::-1].transpose(0, 1, 3, 2))
    channels = shape.channels
    columns = {name: rows.reshape(-1, 9 * channels) for name, rows in both_windows(shape, given).items()}
    forward, dx = (
        chain(columns[name], w.reshape(9 * channels, channels)).reshape(given[like].shape)
        for name, w, like in (("x", given["w"], "g"), ("g", turned, "x"))
    )
    # Of dw some channels are enough to know the errors of all.
    dw = chain(np.ascontiguousarray(columns["x"].T), given["g"].reshape(-1, channels)[:, :32])
    return [forward, dx, dw.reshape(3, 3, channels, -1)]


def chain(a, b):
    """`a @ b` in float32, one product after the other."""
    total = np.zeros((len(a), b.shape[1]), "float32")
    for place in range(a.shape[1]):
        total += a[:, place, None] * b[place]
    return total


def compiled(shape, data, accuracy):
    """z, dx and dw of the compiled graph."""
    graph, names = graph_of(shape, accuracy)
    found = compile_graph(graph, names)(arrays(shape, data))
    return [found[name] for name in names]


def errors(found, shape, data):
    """(largest, root mean square) for each pass, in units of 1e-7."""
    result = {}
    for name, own, whole in zip(PASSES, found, exact(shape, data), strict=True):
        true = whole[..., : own.shape[-1]]
        off = np.abs(own - true)
        result[name] = 1e7 * np.array([off.max() / np.abs(true).max(), np.sqrt((off**2).mean() / (true**2).mean())])
    return result


def with_chains(length):
    """The forms of every mode with chains of one length."""
    return {
        mode: {name: tuple(replace(form, chain=length) for form in forms) for name, forms in passes.items()}
        for mode, passes in FORMS.items()
    }


def table(chains):
    """Prints the figures."""
    modes = ["plain", "pytorch", "direct", *((mode, length) for length in chains for mode in ("standard", "fast"))]
    for data in ("Gaussian", "positive"):
        for shape in (*SHAPES, *STRIDED, *DILATED):
            fast.WORTHWHILE = ALWAYS if shape in (*STRIDED, *DILATED) else WORTHWHILE
            print(f"\n{data}, {shape}, {shape.images} maps of {shape.size}x{shape.size}: max / rms in 1e-7")
            for mode in modes:
                if mode in ("plain", "pytorch"):
                    found = plain(shape, data) if mode == "plain" else pytorch(shape, data)
                else:
                    name, chain = mode if isinstance(mode, tuple) else (mode, 0)
                    tiles.FORMS = with_chains(chain) if chain else FORMS
                    engine._LOADED.clear()  # the chain is part of the source, not of the key
                    with TemporaryDirectory() as folder:
                        os.environ["PELLUCID_CACHE"] = folder
                        found = compiled(shape, data, name)
                if found is None:
                    continue
                label = mode if isinstance(mode, str) else f"{mode[0]}, chain {mode[1] or 'as chosen'}"
                cells = (
                    f"{name} {most:5.1f} / {mean:4.1f}" for name, (most, mean) in errors(found, shape, data).items()
                )
                print(f"{label:20} {'   '.join(cells)}", flush=True)


if __name__ == "__main__":
    table([int(word) for word in sys.argv[1:]] or [0])
