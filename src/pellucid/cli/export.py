"""`pellucid export`."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli.group import debug_option
from pellucid.cli.training import say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pellucid.exchange import ModelFiles
    from pellucid.nn import Model

__all__ = ["command"]

_IMAGES = 32
_PEER = "onnxruntime"


@click.command(
    "export",
    epilog="""\b
Examples:
  pellucid export runs/photos-1 photos.onnx
  pellucid export runs/photos-1 photos.onnx --with-preprocessing
  pellucid export runs/photos-1/last last.onnx --opset 13""",
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--opset", type=int, metavar="N", help="Set of operators, 13 or later.  [default: 17]")
@click.option("--with-preprocessing", is_flag=True, help="Take pictures (uint8, any size), give probabilities.")
@click.option("--probabilities", is_flag=True, help="Give probabilities, whatever the network gives.")
@click.option("--json", "as_json", is_flag=True, help="What was written and measured as JSON.")
@click.option("--quiet", is_flag=True, help="Nothing on stderr but errors.")
@debug_option
def command(
    *,
    run: Path,
    output: Path,
    opset: int | None,
    with_preprocessing: bool,
    probabilities: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the best model of the run folder RUN as the ONNX file OUTPUT.

    Where onnxruntime is installed, it runs the file on 32 images that the run was validated with, and the largest
    difference from the model's own output is printed.
    """
    from pellucid.errors import ArgumentError
    from pellucid.exchange import read_model
    from pellucid.train.session import model_folder

    folder = model_folder(run)
    files = read_model(folder)
    if with_preprocessing and files.preprocessing is None:
        raise ArgumentError(f"{folder}: the model takes arrays of shape {files.blueprint.input_shape}, no pictures")
    with files.build() as model:
        model.export(
            output,
            opset=opset,
            class_names=files.class_names,
            preprocessing=files.preprocessing,
            include_preprocessing=with_preprocessing,
            probabilities=probabilities,
        )
        measured = _measured(run, output, files, model, with_preprocessing, probabilities or with_preprocessing)
    size = output.stat().st_size
    if as_json:
        click.echo(json.dumps({"file": str(output), "bytes": size, **measured}))
        return
    click.echo(f"{output}: {size:,} bytes")
    if "difference" in measured:
        click.echo(
            f"largest difference from {_PEER} {measured['peer']} on {measured['images']} images: "
            f"{measured['difference']:.1e}, of outputs up to {measured['largest']:.3g}"
        )
    elif not quiet:
        say(f"not compared: {measured['problem']}")


def _measured(
    run: Path, output: Path, files: ModelFiles, model: Model, pictures: bool, probabilities: bool
) -> dict[str, Any]:
    """What another runtime gives for images of the run, against what the model does; or why that is not known."""
    import numpy as np

    from pellucid.errors import PellucidError
    from pellucid.train.probabilities import probabilities_of
    from pellucid.train.session import own_part

    if find_spec(_PEER) is None:
        return {"problem": f"{_PEER} is not installed"}
    try:
        loaded, _ = own_part(run, files, "validation", threads=1)
        count = len(loaded.part)
        chosen = np.linspace(0, count - 1, min(count, _IMAGES)).astype(np.int64)
        plain = loaded.part.images.plain(chosen)
    except (PellucidError, OSError) as error:
        return {"problem": f"the run's own images are not there: {error}"}
    expected = model.predict(_normalised(files, plain))
    if probabilities:
        expected = probabilities_of(expected, model.loss).astype(expected.dtype)
    given = _as_pictures(plain) if pictures else np.moveaxis(_normalised(files, plain), -1, 1).astype(model.dtype)
    peer = import_module(_PEER)
    (found,) = peer.InferenceSession(str(output), providers=["CPUExecutionProvider"]).run(None, {"input": given})
    difference, largest = (float(np.abs(array).max()) for array in (found - expected, expected))
    return {"peer": peer.__version__, "images": len(given), "difference": difference, "largest": largest}


def _normalised(files: ModelFiles, images: NDArray[Any]) -> NDArray[Any]:
    from pellucid.train.data.images import Normalisation

    norm = files.preprocessing
    return images if norm is None else Normalisation(norm.mean, norm.deviation)(images)


def _as_pictures(images: NDArray[Any]) -> NDArray[Any]:
    """Numbers in 0..1 as bytes of red, green and blue."""
    import numpy as np

    pictures = np.rint(images * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pictures, (*pictures.shape[:3], 3)))
