"""Networks of files that are trained: the layers, their gradients beside PyTorch's, heads, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pellucid import nn, optim
from pellucid.errors import ArgumentError, ShapeError
from pellucid.exchange import ModelFiles
from pellucid.exchange.json_values import parse_json
from pellucid.exchange.model_files import config_as_bytes
from pellucid.exchange.onnx import load
from pellucid.exchange.onnx.head import classes_of

torch = pytest.importorskip("torch")

CLASSES = 5


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        "w1": random.normal(0, 0.3, (6, 3, 3, 3)), "b1": random.normal(0, 0.1, 6),
        "scale": random.uniform(0.5, 1.5, 6), "shift": random.normal(0, 0.1, 6),
        "mean": random.normal(0, 0.1, 6), "variance": random.uniform(0.5, 1.5, 6),
        "w2": random.normal(0, 0.3, (6, 6, 3, 3)),
        "w3": random.normal(0, 0.3, (CLASSES, 96)), "b3": random.normal(0, 0.1, CLASSES),
    }  # fmt: skip


def small_network(batch: int | str = "batch", *, softmax: bool = True, reshape: bool = False) -> onnx.ModelProto:
    """Convolution, batch norm, a residual sum, pooling, and a dense layer; 8x8 pictures of three channels.

    With `reshape` the rows are made by a Reshape to the batch that the file was written for.
    """
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], name="/first/Conv", pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["c1", "scale", "shift", "mean", "variance"], ["n1"], name="norm", momentum=0.8),
        node("Relu", ["n1"], ["r1"]),
        node("Conv", ["r1", "w2"], ["c2"], name="second", pads=[1, 1, 1, 1]),
        node("Add", ["c2", "r1"], ["sum"]),
        node("MaxPool", ["sum"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Reshape", ["pooled", "rows"], ["flat"]) if reshape else node("Flatten", ["pooled"], ["flat"]),
        node("Gemm", ["flat", "w3", "b3"], ["logits"], name="head", transB=1),
    ]
    if softmax:
        nodes.append(node("Softmax", ["logits"], ["y"], axis=1))
    known = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in arrays().items()]
    if reshape:
        known.append(numpy_helper.from_array(np.array([batch, 96]), "rows"))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("y" if softmax else "logits", TensorProto.FLOAT, None)],
        known,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Channels first, with labels."""
    random = np.random.default_rng(1)
    return random.normal(size=(count, 3, 8, 8)).astype(np.float32), random.integers(0, CLASSES, count)


def torch_gradients(x: np.ndarray, t: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients of the same network, in float64."""
    functional = torch.nn.functional
    known = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in arrays().items()}
    a = functional.conv2d(torch.tensor(x, dtype=torch.float64), known["w1"], known["b1"], padding=1)
    a = functional.batch_norm(a, None, None, known["scale"], known["shift"], training=True, eps=1e-5).relu()
    a = functional.max_pool2d(functional.conv2d(a, known["w2"], padding=1) + a, 2)
    loss = functional.cross_entropy(functional.linear(a.flatten(1), known["w3"], known["b3"]), torch.tensor(t))
    loss.backward()
    return loss.item(), {name: value.grad.numpy() for name, value in known.items() if value.grad is not None}


NAMES = {
    "first.Conv.weight": ("w1", (2, 3, 1, 0)), "first.Conv.bias": ("b1", (0,)), "norm.weight": ("scale", (0,)),
    "norm.bias": ("shift", (0,)), "second.weight": ("w2", (2, 3, 1, 0)), "head.weight": ("w3", (1, 0)),
    "head.bias": ("b3", (0,)),
}  # fmt: skip


def trainable(model: onnx.ModelProto, **options) -> nn.Model:
    return load(model, threads=2).trainable(
        loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(lr=0.05, momentum=0.9), **options
    )


def test_a_network_to_be_trained_predicts_what_the_file_does_before_its_softmax():
    x, _ = pictures(3)
    expected = load(small_network(softmax=False)).predict(x)
    found = trainable(small_network()).predict(x.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_gradients_are_pytorchs():
    x, t = pictures(7)
    loss, found = trainable(small_network()).gradients(x.transpose(0, 2, 3, 1), t)
    expected_loss, expected = torch_gradients(x, t)
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert found.keys() == NAMES.keys()
    for name, (own, order) in NAMES.items():
        wanted = expected[own].transpose(order)
        np.testing.assert_allclose(
            found[name], wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max() + 1e-6, err_msg=name
        )


def test_running_statistics_move_by_the_momentum_of_the_file():
    x, t = pictures(4)
    model = trainable(small_network())
    convolved = torch.nn.functional.conv2d(
        torch.tensor(x), *(torch.tensor(arrays()[name].astype(np.float32)) for name in ("w1", "b1")), padding=1
    ).numpy()
    model.train_step(x.transpose(0, 2, 3, 1), t)
    expected = 0.8 * arrays()["mean"] + 0.2 * convolved.mean((0, 2, 3))
    np.testing.assert_allclose(model.parameters["norm.running_mean"], expected, rtol=1e-5, atol=1e-6)


def test_training_lowers_the_loss_and_a_frozen_body_stays():
    x, t = pictures(16)
    images = x.transpose(0, 2, 3, 1)
    model = trainable(small_network(), freeze=("body",))
    before = dict(model.parameters)
    losses = [model.train_step(images, t) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]
    moved = {name for name, array in model.parameters.items() if not np.array_equal(array, before[name])}
    assert moved == {"head.weight", "head.bias"}


def test_a_file_for_one_batch_trains_with_any():
    x, t = pictures(4)
    fixed = trainable(small_network(1, reshape=True))
    free = trainable(small_network())
    images = x.transpose(0, 2, 3, 1)
    assert fixed.gradients(images, t)[0] == free.gradients(images, t)[0]


def test_a_new_head_has_the_classes_wanted_and_leaves_the_rest():
    model = trainable(small_network(), head=3, seed=7)
    assert model.output_shape == (3,)
    assert model.parameters["head.weight"].shape == (96, 3)
    assert not model.parameters["head.bias"].any()
    assert 0.02 < model.parameters["head.weight"].std() < 0.3
    np.testing.assert_array_equal(model.parameters["second.weight"], arrays()["w2"].astype("f").transpose(2, 3, 1, 0))
    again = trainable(small_network(), head=3, seed=7).parameters["head.weight"]
    np.testing.assert_array_equal(model.parameters["head.weight"], again)
    other = trainable(small_network(), head=3, seed=8).parameters["head.weight"]
    assert not np.array_equal(other, again)


def test_a_head_that_is_a_convolution_is_exchanged():
    """As in SqueezeNet: a 1x1 convolution, then the mean of each channel."""
    random = np.random.default_rng(0)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], name="classes"),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["m"]),
            helper.make_node("Softmax", ["m"], ["y"]),
        ],
        "squeezed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(random.normal(size=(10, 4, 1, 1)).astype("f"), "w"),
            numpy_helper.from_array(np.zeros(10, "f"), "b"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)
    assert classes_of(load(model).graph) == 10
    net = trainable(model, head=2)
    assert net.output_shape == (2,)
    assert net.train_step(random.normal(size=(6, 6, 6, 4)).astype("f"), np.arange(6) % 2) > 0


def test_what_was_imported_is_saved_as_equations_and_read_again():
    x, _ = pictures(3)
    model = trainable(small_network())
    files = ModelFiles(model.blueprint, tuple("abcde"))
    config = parse_json(config_as_bytes(files.config()), "config.json")
    again = ModelFiles.from_config(config).build()
    again.load_parameters(model.parameters)
    images = x.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(again.predict(images), model.predict(images))


def test_a_file_is_written_again_for_another_opset(tmp_path):
    x, _ = pictures(3)
    model = load(small_network(1, reshape=True))
    model.export(tmp_path / "again.onnx", opset=21, class_names=tuple("abcde"))
    again = load(tmp_path / "again.onnx")
    assert again.graph.opset == 21
    assert again.graph.metadata["class_names"] == '["a", "b", "c", "d", "e"]'
    np.testing.assert_allclose(again.predict(x), load(small_network()).predict(x), rtol=1e-5, atol=1e-6)


def test_open_sizes_are_given():
    model = small_network()
    extents = model.graph.input[0].type.tensor_type.shape.dim
    for axis, name in ((2, "height"), (3, "width")):
        extents[axis].dim_param = name
    assert trainable(model, input_shape=(8, 8, 3)).input_shape == (8, 8, 3)
    with pytest.raises(ArgumentError, match=r"^input 'x' leaves height, width open in the file: give `input_shape`$"):
        trainable(model)
    with pytest.raises(
        ShapeError, match=re.escape("`input_shape` (=(8, 8, 1)) must be (height, width, 3), channels last")
    ):
        trainable(model, input_shape=(8, 8, 1))


def one_node(*nodes, inputs=("x",), outputs=("y",), known=None) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3, 4, 4]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in (known or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


KERNEL = np.arange(9, dtype=np.float32).reshape(3, 3, 1, 1)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (
            one_node(helper.make_node("Add", ["x", "z"], ["y"]), inputs=("x", "z")),
            {},
            "the model: a network to be trained has 1 input of floats; this one has x (float32), z (float32)",
        ),
        (
            one_node(helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["v"]), outputs=("y", "v")),
            {},
            "the model: it has the outputs y, v: say which one, `output`",
        ),
        (
            one_node(helper.make_node("Relu", ["x"], ["y"])),
            {"output": "z"},
            "`output` (='z') must be one of y",
        ),
        (
            one_node(helper.make_node("Relu", ["x"], ["y"])),
            {"head": 3},
            "the model: the head cannot be replaced: "
            "the network ends with its input, not with a layer that has weights",
        ),
        (
            one_node(helper.make_node("ReduceMean", ["x"], ["y"], axes=[0], keepdims=1)),
            {},
            "the model: its output has shape (1, 3, 4, 4) for a batch of 2: it has no row for each input",
        ),
        (
            one_node(
                helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("Conv", ["a", "w"], ["y"]),
                known={"w": KERNEL},
            ),
            {},
            "array 'w' of the file is a parameter of 2 layers; it cannot be trained",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(model, options, message):
    with pytest.raises(ArgumentError) as caught:
        load(model).trainable(loss=nn.MSELoss(), optimizer=optim.SGD(lr=0.1), **options)
    assert str(caught.value) == message
