"""`pellucid run`."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from pellucid.cli.group import debug_option
from pellucid.errors import ArgumentError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pellucid.exchange.onnx import OnnxModel

__all__ = ["command"]


@click.command(
    "run",
    epilog="""\b
Examples:
  pellucid run net.onnx
  pellucid run net.onnx --input x.npy
  pellucid run net.onnx --input image=x.npy --input mask=m.npy --output y.npz""",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--input", "inputs", multiple=True, metavar="[NAME=]FILE", help="An array for each input, as .npy.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the outputs: .npy, or .npz.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads.  [default: one a core]")
@click.option("--json", "as_json", is_flag=True, help="The outputs' shapes and ranges as JSON.")
@debug_option
def command(*, model: Path, inputs: tuple[str, ...], output: Path | None, threads: int | None, as_json: bool) -> None:
    """Run the ONNX file MODEL on arrays, and say what came out; without arrays, what the file takes and gives.

    Inputs have the shapes and types that the file declares. A file that needs what is not supported is refused, with
    all that it needs.
    """
    from pellucid.emit.workers import available_cores
    from pellucid.exchange.onnx import load

    network = load(model, threads=threads or available_cores())
    if not inputs:
        _say_ports(network, as_json=as_json)
        return
    named = _arrays(network, inputs)
    began = perf_counter()
    found = network.run(network.by_name((), named))
    seconds = perf_counter() - began
    names = [port.name for port in network.outputs]
    results = dict(zip(names, found, strict=True))
    if output is not None:
        _write(output, results)
    if as_json:
        click.echo(json.dumps({"seconds": seconds, "outputs": {name: _facts(y) for name, y in results.items()}}))
        return
    for name, array in results.items():
        click.echo(f"{name}\t{_described(array)}")
    click.echo(f"{seconds:.3f} s, the making of the program included", err=True)


def _say_ports(network: OnnxModel, *, as_json: bool) -> None:
    ports = {"inputs": network.inputs, "outputs": network.outputs}
    if as_json:
        told = {
            kind: [{"name": port.name, "dtype": str(port.dtype), "shape": port.shape} for port in entries]
            for kind, entries in ports.items()
        }
        click.echo(json.dumps({"opset": network.graph.opset, "nodes": len(network.graph.nodes), **told}))
        return
    click.echo(f"opset {network.graph.opset}, {len(network.graph.nodes)} nodes")
    for kind, entries in ports.items():
        for port in entries:
            click.echo(f"{kind.removesuffix('s')}\t{port.name}\t{port.dtype} {port.form}")


def _arrays(network: OnnxModel, inputs: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    names = [port.name for port in network.inputs]
    arrays: dict[str, NDArray[Any]] = {}
    for number, text in enumerate(inputs):
        name, found, path = text.rpartition("=")
        if not found:
            if number >= len(names):
                raise ArgumentError(f"{len(inputs)} inputs were given; the network takes {', '.join(names) or 'none'}")
            name = names[number]
        if name in arrays:
            raise ArgumentError(f"input {name!r} was given twice")
        arrays[name] = _read(Path(path))
    return arrays


def _read(path: Path) -> NDArray[Any]:
    import numpy as np

    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as .npy: {error}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: must be one array (.npy), not several")
    return array


def _write(path: Path, results: dict[str, NDArray[Any]]) -> None:
    """The one output as .npy, or all as .npz by name; whole or not at all."""
    import io

    import numpy as np

    from pellucid.exchange.atomic import replace_file

    stream = io.BytesIO()
    if path.suffix == ".npz":
        np.savez(stream, **results)  # pyright: ignore[reportArgumentType]
    elif path.suffix != ".npy":
        raise ArgumentError(f"`output` (={str(path)!r}) must end with .npy or .npz")
    elif len(results) > 1:
        raise ArgumentError(f"the network has {len(results)} outputs: `output` (={str(path)!r}) must end with .npz")
    else:
        np.save(stream, next(iter(results.values())))
    replace_file(path, stream.getvalue())


def _described(array: NDArray[Any]) -> str:
    """Type, shape, range, and where a vector or row has its maximum."""
    facts = _facts(array)
    told = f"{facts['dtype']} {tuple(facts['shape'])}"
    if "least" in facts:
        told += f"\tfrom {facts['least']:.6g} to {facts['most']:.6g}, mean {facts['mean']:.6g}"
    if "largest_at" in facts:
        told += f"\tlargest at {', '.join(map(str, facts['largest_at']))}"
    return told


def _facts(array: NDArray[np.generic]) -> dict[str, Any]:
    import numpy as np

    facts: dict[str, Any] = {"dtype": str(array.dtype), "shape": list(array.shape)}
    if array.size and array.dtype.kind in "fiu":
        wide = array.astype(np.float64)
        facts |= {"least": float(wide.min()), "most": float(wide.max()), "mean": float(wide.mean())}
        if array.ndim in (1, 2) and array.shape[-1] > 1:
            facts["largest_at"] = np.atleast_1d(wide.argmax(-1)).tolist()[:16]
    return facts
