"""Tensors that claim what they do not have, and external data that leads somewhere else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

from exchange.onnx.reading.case import Case, changed
from exchange.onnx.reading.models import EXTERNAL_BYTES, convolutional, external, model, one_node

BIG, MOST = 1 << 31, (1 << 63) - 1


def attacks() -> Iterator[Case]:
    yield from _claims()
    yield from _data()
    yield from _sparse()
    yield from _external_entries()
    yield from _external_files()


def tensor(**fields: object) -> Callable[[onnx.ModelProto], object]:
    """Changes fields of the first initialiser; a list replaces what is there, None clears it."""

    def change(model: onnx.ModelProto) -> None:
        _set(model.graph.initializer[0], fields)

    return change


def _set(message: TensorProto, fields: dict[str, object]) -> None:
    for name, value in fields.items():
        message.ClearField(name)  # type: ignore[arg-type]
        if isinstance(value, list):
            getattr(message, name).extend(value)
        elif value is not None:
            setattr(message, name, value)


def _claims() -> Iterator[Case]:
    for name, dims in {
        "a negative extent": [4, -3, 3, 3],
        "two negative extents": [-4, -3, 3, 3],
        "a gigantic extent": [MOST],
        "extents whose product is 0 modulo 2^64": [1 << 32, 1 << 32, 4, 27],
        "extents whose product is right modulo 2^64": [(1 << 62) + 27, 4],
        "gigantic extents beside a 0": [0, MOST, MOST],
        "an extent of 2^31": [BIG],
        "extents of the machine's memory": [1 << 20, 1 << 20],
        "an extent more": [4, 3, 3, 4],
        "an extent less": [4, 3, 3, 2],
        "no extents": [],
        "a hundred axes": [1] * 100,
        "100,000 axes": [1] * 100_000,
    }.items():
        yield changed(f"tensor of {name}", convolutional(), tensor(dims=dims))
        if len(dims) < 100:
            yield changed(f"empty tensor of {name}", convolutional(), tensor(dims=dims, raw_data=b"\0"))
    for number in (0, -1, 29, 999, (1 << 31) - 1):
        yield changed(f"tensor of type {number}", convolutional(), tensor(data_type=number))
    attribute = one_node("Constant", value=numpy_helper.from_array(np.zeros(3, np.float32)))
    _set(attribute.graph.node[0].attribute[0].t, {"dims": [1 << 40]})
    yield Case("a gigantic constant", attribute.SerializeToString())


def _data() -> Iterator[Case]:
    floats = [0.0] * 108
    yield changed("raw data cut short", convolutional(), tensor(raw_data=b"\0" * 431))
    yield changed("raw data too long", convolutional(), tensor(raw_data=b"\0" * 433))
    yield changed("no data", convolutional(), tensor(raw_data=None))
    yield changed("raw data and floats", convolutional(), tensor(float_data=floats))
    yield changed("a float too few", convolutional(), tensor(raw_data=None, float_data=floats[1:]))
    yield changed("a float too many", convolutional(), tensor(raw_data=None, float_data=[*floats, 0.0]))
    yield changed("floats in a field of doubles", convolutional(), tensor(raw_data=None, double_data=floats))
    yield changed("floats in two fields", convolutional(), tensor(raw_data=None, float_data=floats, int64_data=[1]))
    yield changed("a segment", convolutional(), lambda model: model.graph.initializer[0].segment.SetInParent())
    for kind, dims, fields in (
        ("INT4", [5], {"raw_data": b"\0\0"}),
        ("INT4", [5], {"int32_data": [0, 0]}),
        ("INT4", [5], {"int32_data": [0, 0, 256]}),
        ("UINT4", [4], {"int32_data": [-1, 0]}),
        ("FLOAT4E2M1", [3], {"raw_data": b"\0\0\0"}),
        ("INT8", [1], {"int32_data": [128]}),
        ("UINT8", [1], {"int32_data": [-1]}),
        ("UINT16", [1], {"int32_data": [65536]}),
        ("UINT32", [1], {"uint64_data": [1 << 32]}),
        ("BOOL", [2], {"raw_data": b"\x01\x02"}),
        ("BOOL", [1], {"int32_data": [2]}),
        ("FLOAT16", [1], {"int32_data": [65536]}),
        ("BFLOAT16", [1], {"int32_data": [-1]}),
        ("FLOAT8E4M3FN", [1], {"int32_data": [256]}),
        ("COMPLEX64", [2], {"float_data": [0.0, 0.0, 0.0]}),
        ("COMPLEX128", [2], {"double_data": [0.0, 0.0]}),
        ("STRING", [2], {"string_data": [b"one"]}),
        ("STRING", [1], {"string_data": [b"\xff"]}),
        ("STRING", [1], {"raw_data": b"text"}),
        ("STRING", [1 << 40], {"string_data": [b""]}),
    ):
        number = TensorProto.DataType.Value(kind)
        title = ", ".join(f"{name} {value!r}" for name, value in fields.items())
        yield changed(
            f"{kind} of {dims} with {title}",
            convolutional(),
            tensor(data_type=number, dims=dims, **{"raw_data": None, **fields}),
        )


def _sparse() -> Iterator[Case]:
    def case(name: str, indices: TensorProto, dims: list[int], values: int = 2) -> Case:
        made = model([helper.make_node("Add", ["x", "s"], ["y"])])
        sparse = SparseTensorProto(
            values=numpy_helper.from_array(np.ones(values, np.float32), "s"), indices=indices, dims=dims
        )
        made.graph.sparse_initializer.append(sparse)
        return Case(f"sparse tensor with {name}", made.SerializeToString())

    def places(*numbers: object) -> TensorProto:
        return numpy_helper.from_array(np.array(numbers, np.int64), "places")

    yield case("an index outside", places(0, 8), [8])
    yield case("a gigantic index", places(0, MOST), [8])
    yield case("a negative index", places(-1, 0), [8])
    yield case("an index outside of an axis", places([0, 1], [1, 4]), [4, 4])
    yield case("an index twice", places(3, 3), [8])
    yield case("indices that descend", places(3, 2), [8])
    yield case("an index too few", places(3), [8])
    yield case("indices of three axes", places([0, 0, 0], [1, 1, 1]), [4, 4])
    yield case("indices that are floats", numpy_helper.from_array(np.zeros(2, np.float32)), [8])
    yield case("no indices", TensorProto(), [8])
    yield case("a gigantic shape", places(0, 1), [1 << 31, 1 << 31])
    yield case("a shape of 1 GiB", places(0, 1), [1 << 28])
    yield case("a negative shape", places(0, 1), [-8])
    yield case("a shape without elements", places(0, 1), [0])


def _external_entries() -> Iterator[Case]:
    beside = {"weights.bin": EXTERNAL_BYTES, "inner/weights.bin": EXTERNAL_BYTES}
    for location in (
        "../weights.bin",
        "inner/../../weights.bin",
        "inner/../weights.bin",
        "/etc/passwd",
        "/dev/zero",
        "",
        ".",
        "..",
        "inner//weights.bin",
        "weights.bin/",
        "C:\\weights.bin",
        "inner\\weights.bin",
        "file:///etc/passwd",
        "http://127.0.0.1/weights.bin",
        "missing.bin",
        "weights.bin/inner",
        "inner",
        "weights.bin\0.txt",
        "w" * 300,
        "w/" * 1500 + "w",
        "~/weights.bin",
    ):
        title = repr(location[:40])
        yield Case(f"external data at {title}", external(location).SerializeToString(), files=beside)
    size = len(EXTERNAL_BYTES)
    for name, entries in {
        "a negative offset": {"offset": -1},
        "an offset at the end": {"offset": size},
        "an offset of 2^63": {"offset": 1 << 63},
        "an offset of many digits": {"offset": "9" * 2000},
        "an offset that is no number": {"offset": "0x10"},
        "an offset in other digits": {"offset": "\u0661"},
        "a negative length": {"length": -size},
        "a length too short": {"length": size - 1},
        "a length too long": {"length": size + 1},
        "a gigantic length": {"length": 1 << 62},
        "an offset that leaves too little": {"offset": 1, "length": size},
    }.items():
        yield Case(f"external data with {name}", external(**entries).SerializeToString(), files=beside)
    yield changed("external data with two locations", external(), _second_location, files=beside)
    yield changed("external data and raw data", external(), tensor(raw_data=EXTERNAL_BYTES), files=beside)
    yield changed("external data without its flag", external(), tensor(data_location=None), files=beside)
    yield changed("external data without a location", external(), tensor(external_data=None), files=beside)
    yield changed("external data of strings", external(), tensor(data_type=TensorProto.STRING), files=beside)
    yield changed("external data of a gigantic tensor", external(), tensor(dims=[1 << 50]), files=beside)
    yield Case("external data that is empty", external().SerializeToString(), files={"weights.bin": b""})


def _second_location(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="other.bin")


def _external_files() -> Iterator[Case]:
    for name, location, prepare in (
        ("a symbolic link to a file outside", "weights.bin", _link_outside),
        ("a symbolic link to a file inside", "weights.bin", _link_inside),
        ("a symbolic link to the password file", "weights.bin", lambda place: _link(place, "/etc/passwd")),
        ("a symbolic link to a device", "weights.bin", lambda place: _link(place, "/dev/zero")),
        ("a symbolic link to itself", "weights.bin", lambda place: _link(place, "weights.bin")),
        ("a folder that is a symbolic link", "inner/weights.bin", _linked_folder),
        ("a hard link", "weights.bin", _hard_link),
        ("a pipe", "weights.bin", lambda place: os.mkfifo(place / "weights.bin")),
        ("a folder", "weights.bin", lambda place: (place / "weights.bin").mkdir()),
        ("a hole of 64 GiB", "weights.bin", _hole),
        ("the model itself", "model.onnx", lambda place: None),
    ):
        made = external(location)
        if location == "model.onnx":
            made = external(location, offset=1 << 20)
        if "hole" in name:
            made.graph.initializer[0].dims[:] = [1 << 34]
        yield Case(f"external data in {name}", made.SerializeToString(), prepare=prepare)


def _link(place: Path, target: str) -> None:
    (place / "weights.bin").symlink_to(target)


def _link_outside(place: Path) -> None:
    outside = place.parent / f"{place.name}.outside"
    outside.write_bytes(EXTERNAL_BYTES)
    (place / "weights.bin").symlink_to(outside)


def _link_inside(place: Path) -> None:
    (place / "real.bin").write_bytes(EXTERNAL_BYTES)
    (place / "weights.bin").symlink_to("real.bin")


def _linked_folder(place: Path) -> None:
    (place / "real").mkdir()
    (place / "real" / "weights.bin").write_bytes(EXTERNAL_BYTES)
    (place / "inner").symlink_to("real")


def _hard_link(place: Path) -> None:
    outside = place.parent / f"{place.name}.outside"
    outside.write_bytes(EXTERNAL_BYTES)
    (place / "weights.bin").hardlink_to(outside)


def _hole(place: Path) -> None:
    with open(place / "weights.bin", "wb") as file:
        file.truncate(1 << 36)
