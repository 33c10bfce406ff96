"""Files in good form whose attributes, constants or shapes only one who knows the operators can refuse."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from exchange.onnx.reading.case import Case
from exchange.onnx.reading.models import image, model, weights

BIG, MOST = 1 << 31, (1 << 63) - 1


def attacks() -> Iterator[Case]:
    yield from _windows()
    yield from _targets()
    yield from _sizes()
    yield from _others()


def _case(name: str, op: str, *constants: object, **attributes: object) -> Case:
    """op(x, constants...) -> y; a constant is an array, or the extents of weights."""
    initialisers = [
        numpy_helper.from_array(constant, f"c{number}")
        if isinstance(constant, np.ndarray)
        else weights(f"c{number}", *constant)  # type: ignore[misc]
        for number, constant in enumerate(constants)
    ]
    node = helper.make_node(op, ["x", *(tensor.name for tensor in initialisers)], ["y"], name="the_node", **attributes)
    return Case(f"{op}: {name}", model([node], tuple(initialisers)).SerializeToString(), stage="load")


def _ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def _windows() -> Iterator[Case]:
    window = (4, 3, 3, 3)
    for name, attributes in {
        "group 0": {"group": 0},
        "a negative group": {"group": -1},
        "a group that does not divide": {"group": 2},
        "a gigantic group": {"group": MOST},
        "negative pads": {"pads": [-1, -1, -1, -1]},
        "very negative pads": {"pads": [-MOST] * 4},
        "gigantic pads": {"pads": [BIG] * 4},
        "pads that overflow": {"pads": [MOST] * 4},
        "pads of the memory": {"pads": [100_000] * 4},
        "two pads": {"pads": [1, 1]},
        "five pads": {"pads": [1] * 5},
        "dilation 0": {"dilations": [0, 0]},
        "a negative dilation": {"dilations": [-1, 1]},
        "a gigantic dilation": {"dilations": [BIG, BIG]},
        "a dilation that overflows": {"dilations": [MOST, MOST]},
        "stride 0": {"strides": [0, 1]},
        "a negative stride": {"strides": [-2, 1]},
        "three strides": {"strides": [1, 1, 1]},
        "a kernel shape beside the weights": {"kernel_shape": [5, 5]},
        "a kernel shape of three axes": {"kernel_shape": [3, 3, 3]},
        "kernel shape 0": {"kernel_shape": [0, 0]},
        "a gigantic kernel shape": {"kernel_shape": [MOST, MOST]},
        "an unknown auto_pad": {"auto_pad": "SAME_SIDEWAYS"},
        "auto_pad that is a number": {"auto_pad": 3},
        "auto_pad beside pads": {"auto_pad": "SAME_UPPER", "pads": [1, 1, 1, 1]},
        "strides that are floats": {"strides": [1.0, 1.0]},
        "group that is a float": {"group": 1.5},
    }.items():
        yield _case(name, "Conv", window, **attributes)
    yield _case("weights of two axes", "Conv", (4, 3))
    yield _case("weights of other channels", "Conv", (4, 5, 3, 3))
    yield _case("weights without elements", "Conv", (0, 3, 3, 3))
    yield _case("a window larger than the image", "Conv", (4, 3, 9, 9))
    yield _case("bias of another length", "Conv", window, (7,))
    yield _case("weights that are integers", "Conv", np.ones(window, np.int32))
    yield _case("too many inputs", "Conv", window, (4,), (4,))
    yield _case("gigantic output padding", "ConvTranspose", (3, 4, 3, 3), output_padding=[BIG, BIG], strides=[BIG, BIG])
    yield _case("a gigantic stride", "ConvTranspose", (3, 4, 3, 3), strides=[1 << 20, 1 << 20])
    yield _case("a gigantic output shape", "ConvTranspose", (3, 4, 3, 3), output_shape=[BIG, BIG])
    yield _case("a negative output shape", "ConvTranspose", (3, 4, 3, 3), output_shape=[-1, -1])
    for op in ("MaxPool", "AveragePool", "LpPool"):
        yield _case("no kernel shape", op)
        yield _case("kernel shape 0", op, kernel_shape=[0, 0])
        yield _case("a negative kernel shape", op, kernel_shape=[-2, -2])
        yield _case("a gigantic kernel shape", op, kernel_shape=[BIG, BIG])
        yield _case("stride 0", op, kernel_shape=[2, 2], strides=[0, 0])
        yield _case("gigantic pads", op, kernel_shape=[2, 2], pads=[BIG] * 4)
    yield _case("storage_order 7", "MaxPool", kernel_shape=[2, 2], storage_order=7)
    yield _case("p 0", "LpPool", kernel_shape=[2, 2], p=0)


def _targets() -> Iterator[Case]:
    for name, target in {
        "a gigantic target": _ints(BIG, BIG),
        "a target that overflows": _ints(MOST, MOST),
        "a target of another size": _ints(7, 11),
        "a negative target": _ints(-2, 3),
        "two open extents": _ints(-1, -1),
        "an open extent that does not divide": _ints(-1, 7),
        "a copied extent beyond the axes": _ints(192, 1, 1, 1, 0),
        "a target of two axes": np.array([[1, 192]], np.int64),
        "a target of floats": np.array([1.0, 192.0], np.float32),
        "a target of a hundred axes": np.ones(100, np.int64),
    }.items():
        yield _case(name, "Reshape", target)
    yield _case("a gigantic target", "Expand", _ints(BIG, 3, 8, 8))
    yield _case("a target that overflows", "Expand", _ints(MOST, MOST, 1, 1, 1, 1))
    yield _case("a negative target", "Expand", _ints(-1, 3, 8, 8))
    yield _case("a target that does not fit", "Expand", _ints(1, 2, 8, 8))
    yield _case("gigantic repeats", "Tile", _ints(BIG, BIG, 1, 1))
    yield _case("repeats that overflow", "Tile", _ints(MOST, MOST, MOST, MOST))
    yield _case("negative repeats", "Tile", _ints(-1, 1, 1, 1))
    yield _case("repeats of two axes", "Tile", _ints(2, 2))
    for name, pads in {
        "gigantic pads": _ints(0, 0, BIG, BIG, 0, 0, BIG, BIG),
        "pads that overflow": _ints(*[MOST] * 8),
        "pads that leave nothing": _ints(0, 0, -9, 0, 0, 0, 0, 0),
        "three pads": _ints(1, 1, 1),
    }.items():
        yield _case(name, "Pad", pads)
    yield _case("an unknown mode", "Pad", _ints(*[1] * 8), mode="sideways")
    yield _case("reflections beyond the image", "Pad", _ints(0, 0, 50, 0, 0, 0, 0, 0), mode="reflect")
    nothing = np.zeros(0, np.float32)
    for name, scales in {
        "gigantic scales": [1, 1, 1e9, 1e9],
        "scale 0": [1, 1, 0, 0],
        "negative scales": [1, 1, -2, 2],
        "a scale that is not a number": [1, 1, np.nan, 1],
        "an infinite scale": [1, 1, np.inf, 1],
        "two scales": [2, 2],
    }.items():
        yield _case(name, "Resize", nothing, np.array(scales, np.float32))
    yield _case("gigantic sizes", "Resize", nothing, nothing, _ints(1, 3, BIG, BIG))
    yield _case("negative sizes", "Resize", nothing, nothing, _ints(1, 3, -8, 8))
    yield _case("an unknown mode", "Resize", nothing, np.ones(4, np.float32), mode="sideways")
    for name, shape in {
        "a gigantic shape": _ints(BIG, BIG),
        "a shape that overflows": _ints(MOST, MOST, MOST),
        "a negative shape": _ints(-4),
        "a shape of the memory": _ints(1 << 20, 1 << 20),
    }.items():
        nodes = [helper.make_node("ConstantOfShape", ["s"], ["c"]), helper.make_node("Add", ["x", "c"], ["y"])]
        made = model(nodes, (numpy_helper.from_array(shape, "s"),))
        yield Case(f"ConstantOfShape: {name}", made.SerializeToString(), stage="load")
    nodes = [helper.make_node("Range", ["a", "b", "c"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    ends = tuple(
        numpy_helper.from_array(np.array(value, np.float32), name)
        for name, value in zip("abc", (0, 1e12, 1), strict=True)
    )
    yield Case("Range: a gigantic end", model(nodes, ends).SerializeToString(), stage="load")
    nodes = [helper.make_node("Concat", [f"v{n}"] * 8, [f"v{n + 1}"], axis=0) for n in range(12)]
    nodes = [helper.make_node("Relu", ["x"], ["v0"]), *nodes, helper.make_node("Relu", ["v12"], ["y"])]
    yield Case("Concat: a chain that grows eightfold", model(nodes).SerializeToString(), stage="load")
    one = numpy_helper.from_array(np.ones(1, np.float32), "v0")
    nodes = [helper.make_node("Concat", [f"v{n}"] * 8, [f"v{n + 1}"], axis=0) for n in range(12)]
    made = model([*nodes, helper.make_node("Add", ["x", "v12"], ["y"])], (one,))
    yield Case("Concat: a chain of constants that grows eightfold", made.SerializeToString(), stage="load")


def _sizes() -> Iterator[Case]:
    for name, shape in {
        "a gigantic extent": (1, 3, MOST, 8),
        "gigantic extents": (BIG, 3, BIG, BIG),
        "extents of the memory": (1 << 20, 3, 1 << 10, 1 << 10),
    }.items():
        made = model([helper.make_node("Relu", ["x"], ["y"])])
        made.graph.input[0].CopyFrom(image("x", shape))
        yield Case(f"input: {name}", made.SerializeToString(), stage="load")


def _others() -> Iterator[Case]:
    for op, attributes in (
        ("Softmax", {"axis": 4}),
        ("Softmax", {"axis": -MOST}),
        ("Flatten", {"axis": 9}),
        ("Transpose", {"perm": [0, 1, 2, 2]}),
        ("Transpose", {"perm": [0, 1, 2, MOST]}),
        ("Transpose", {"perm": [0, 1]}),
        ("DepthToSpace", {"blocksize": 0}),
        ("DepthToSpace", {"blocksize": 2}),
        ("SpaceToDepth", {"blocksize": 3}),
        ("SpaceToDepth", {"blocksize": MOST}),
        ("LRN", {"size": 0}),
        ("LRN", {"size": -3}),
        ("Cast", {"to": 999}),
        ("Concat", {"axis": 7}),
        ("Concat", {}),
        ("ArgMax", {"axis": 5}),
        ("Sideways", {}),
        ("Conv", {}),
    ):
        title = ", ".join(f"{key} {value}" for key, value in attributes.items()) or "alone"
        yield _case(title, op, **attributes)
    yield _case("an index outside", "Gather", _ints(3), axis=1)
    yield _case("a gigantic index", "Gather", _ints(MOST), axis=1)
    yield _case("an axis outside", "Gather", _ints(0), axis=4)
    yield _case("an axis twice", "Squeeze", _ints(0, 0))
    yield _case("an axis that is not 1", "Squeeze", _ints(1))
    yield _case("an axis outside", "Unsqueeze", _ints(90))
    yield _case("axes of other length", "Slice", _ints(0, 0), _ints(1, 1), _ints(0))
    yield _case("step 0", "Slice", _ints(0), _ints(1), _ints(0), _ints(0))
    yield _case("parts of another sum", "Split", _ints(1, 5), axis=1)
    yield _case("negative parts", "Split", _ints(-1, 4), axis=1)
    yield _case("a gigantic k", "TopK", _ints(BIG), axis=1)
    yield _case("scale of another length", "BatchNormalization", (5,), (3,), (3,), (3,))
    yield _case("an epsilon that is not a number", "BatchNormalization", (3,), (3,), (3,), (3,), epsilon=float("nan"))
    yield _case("no groups", "GroupNormalization", (3,), (3,), num_groups=0)
    yield _case("factors that do not fit", "MatMul", (5, 7))
    yield _case("factors of four axes", "Gemm", (8, 8))
    yield _case("shapes that do not broadcast", "Add", (5,))
    branch = helper.make_graph([helper.make_node("Relu", ["x"], ["b"])], "branch", [], [image("b")])
    condition = numpy_helper.from_array(np.array(True), "c")
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    yield Case("If: graphs as attributes", model([node], (condition,)).SerializeToString(), stage="load")
    made = onnx.ModelProto.FromString(
        model([helper.make_node("Relu", ["x"], ["y"], domain="other")]).SerializeToString()
    )
    made.opset_import.add(domain="other", version=1)
    yield Case("Relu: of another domain", made.SerializeToString(), stage="load")
    words = helper.make_tensor("c", TensorProto.STRING, [1], [b"text"])
    made = model([helper.make_node("Add", ["x", "c"], ["y"])], (words,))
    yield Case("Add: a text", made.SerializeToString(), stage="load")
