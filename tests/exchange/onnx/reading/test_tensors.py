"""Tensors of every type, as raw bytes and in the fields of their type, against onnx's own arrays."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

from exchange.onnx.reading.models import model
from pellucid.errors import ArgumentError
from pellucid.exchange.onnx.graph import Array
from pellucid.exchange.onnx.reading import read

NUMBERS = [number for number in TensorProto.DataType.values() if number not in (0, TensorProto.STRING)]


def read_back(tensor: TensorProto) -> Array:
    tensor.name = "t"
    return read(model([helper.make_node("Own", ["x", "t"], ["y"])], (tensor,))).initialisers["t"]


def values(number: int, shape: tuple[int, ...]) -> Array:
    """Numbers that every type has; negative where the type has those."""
    dtype = helper.tensor_dtype_to_np_dtype(number)
    small = np.arange(int(np.prod(shape))).reshape(shape) % 2
    if dtype.kind in "ic" or ("float" in dtype.name and "e8m0" not in dtype.name):
        small = small - 1
    return (small + (dtype == ml_dtypes.float8_e8m0fnu)).astype(np.float32).astype(dtype)


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (3, 0), (2, 1, 7)], ids=str)
@pytest.mark.parametrize("number", NUMBERS, ids=TensorProto.DataType.Name)
def test_raw_data(number: int, shape: tuple[int, ...]):
    expected = values(number, shape)
    found = read_back(numpy_helper.from_array(expected))
    assert found.dtype == expected.dtype
    assert found.shape == shape
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("number", NUMBERS, ids=TensorProto.DataType.Name)
def test_data_in_the_field_of_the_type(number: int):
    expected = values(number, (7,))
    tensor = helper.make_tensor("t", number, [7], expected)
    assert not tensor.HasField("raw_data")
    found = read_back(tensor)
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


def test_bits_of_packed_types_by_hand():
    tensor = TensorProto(data_type=TensorProto.INT4, dims=[3], raw_data=bytes([0x8F, 0x07]))
    assert read_back(tensor).astype(int).tolist() == [-1, -8, 7]
    tensor = TensorProto(data_type=TensorProto.BFLOAT16, dims=[2], int32_data=[0x3F80, 0xC000])
    assert read_back(tensor).astype(float).tolist() == [1.0, -2.0]
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[1], raw_data=b"\x00\x00\x80\x3f")
    assert read_back(tensor).tolist() == [1.0]
    tensor = TensorProto(data_type=TensorProto.COMPLEX64, dims=[1], float_data=[1.0, 2.0])
    assert read_back(tensor).tolist() == [1 + 2j]


def test_weights_that_are_not_numbers_are_kept():
    found = read_back(numpy_helper.from_array(np.array([np.nan, np.inf, -np.inf], np.float32)))
    np.testing.assert_array_equal(found, np.array([np.nan, np.inf, -np.inf], np.float32))


def test_strings():
    strings = [b"a", "größe".encode(), b"", b"\0"]
    tensor = TensorProto(data_type=TensorProto.STRING, dims=[2, 2], string_data=strings)
    found = read_back(tensor)
    assert found.dtype == object
    assert found.tolist() == [["a", "größe"], ["", "\0"]]


def test_tensors_without_elements():
    assert read_back(TensorProto(data_type=TensorProto.FLOAT, dims=[0, 3])).shape == (0, 3)
    assert read_back(TensorProto(data_type=TensorProto.STRING, dims=[0])).shape == (0,)
    assert read_back(TensorProto(data_type=TensorProto.FLOAT, dims=[0], raw_data=b"")).shape == (0,)


def test_sparse_initialisers():
    """By places in all elements, and by an index for each axis; the second is not in the first one's order of names."""
    one = SparseTensorProto(
        values=numpy_helper.from_array(np.array([5, 7], np.int32), "t"),
        indices=numpy_helper.from_array(np.array([1, 5], np.int64)),
        dims=[2, 3],
    )
    two = SparseTensorProto(
        values=numpy_helper.from_array(np.array([5, 7], np.float64), "s"),
        indices=numpy_helper.from_array(np.array([[0, 1], [1, 0]], np.int64)),
        dims=[2, 3],
    )
    none = SparseTensorProto(
        values=numpy_helper.from_array(np.zeros(0, np.float32), "r"),
        indices=numpy_helper.from_array(np.zeros((0, 2), np.int64)),
        dims=[2, 0],
    )
    made = model([helper.make_node("Own", ["x", "t", "s", "r"], ["y"])])
    made.graph.sparse_initializer.extend([one, two, none])
    found = read(made).initialisers
    assert found["t"].tolist() == [[0, 5, 0], [0, 0, 7]]
    assert found["s"].tolist() == [[0, 5, 0], [7, 0, 0]]
    assert found["r"].shape == (2, 0)
    assert not found["t"].flags.writeable


def test_sparse_strings_are_not_supported():
    sparse = SparseTensorProto(
        values=helper.make_tensor("t", TensorProto.STRING, [1], [b"a"]),
        indices=numpy_helper.from_array(np.array([1], np.int64)),
        dims=[2],
    )
    made = model([helper.make_node("Own", ["x"], ["y"])])
    made.graph.sparse_initializer.append(sparse)
    message = "the model: initialiser 't': sparse tensors of strings are not supported"
    with pytest.raises(ArgumentError, match=message):
        read(made)
