"""What a model promises: its contract with arrays, parameters in and out, predictions, summaries, diagnosis."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.errors import ArgumentError, DtypeError, PellucidError, ShapeError, TrainingError
from pellucid.nn.model import _blocks


def classifier(**options):
    net = nn.Sequential(nn.Conv2d(3, 3), nn.BatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.Linear(10))
    settings = {
        "loss": nn.CrossEntropyLoss(),
        "optimizer": optim.SGD(0.1, momentum=0.9),
        "backend": "reference",
        "dtype": "float64",
        **options,
    }
    return net.build((5, 4, 2), **settings)


def batch(rows=4):
    random = np.random.default_rng(2)
    return random.normal(size=(rows, 5, 4, 2)), random.integers(0, 10, rows)


# Parameters


def test_names_and_copies():
    model = classifier()
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "4.weight", "4.bias"]
    assert list(model.parameters) == names
    before = model.parameters["0.weight"]
    before[...] = 7
    assert not np.array_equal(model.parameters["0.weight"], before)
    kept = dict(model.parameters)
    model.train_step(*batch())
    assert not np.array_equal(model.parameters["4.bias"], kept["4.bias"])
    assert repr(model.parameters).startswith("<8 parameters: 0.weight (3, 3, 2, 3), 0.bias (3,), ")


@pytest.mark.parametrize(
    "given",
    [
        lambda x, t: (np.repeat(x, 2, 0)[::2], np.repeat(t, 2)[::2]),
        lambda x, t: (np.asfortranarray(x), t.astype(np.int32)),
        lambda x, t: (x.astype(x.dtype.newbyteorder()), t.astype(np.uint8)),
        lambda x, t: (x.tolist(), t.tolist()) if x.dtype == np.float64 else (x.astype(np.float64), t.astype(">i8")),
    ],
    ids=["every other row", "another order", "other bytes", "other types"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_as_they_come(given, dtype):
    model = classifier(backend="compiled", dtype=dtype)
    x, t = batch()
    x = x.astype(dtype)
    loss, gradients = model.gradients(x, t)
    found, others = model.gradients(*given(x, t))
    assert found == loss
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(others[name], gradient)


def test_round_trip():
    model, other = classifier(seed=1), classifier(seed=2)
    x, t = batch()
    model.train_step(x, t)
    other.load_parameters(dict(model.parameters))
    np.testing.assert_array_equal(other.predict(x), model.predict(x))
    assert other.gradients(x, t)[0] == model.gradients(x, t)[0]


def test_same_seed_same_parameters():
    one, two, other = classifier(seed=5), classifier(seed=5), classifier(seed=6)
    for name, array in one.parameters.items():
        np.testing.assert_array_equal(array, two.parameters[name])
    assert not np.array_equal(one.parameters["0.weight"], other.parameters["0.weight"])
    assert not np.array_equal(one.parameters["0.weight"].ravel()[:30], one.parameters["4.weight"].ravel()[:30])


@pytest.mark.parametrize(
    ("name", "low", "high", "variance"),
    [
        ("he_uniform", -np.sqrt(6 / 500), np.sqrt(6 / 500), 2 / 500),
        ("he_normal", -np.inf, np.inf, 2 / 500),
        ("glorot_uniform", -np.sqrt(6 / 700), np.sqrt(6 / 700), 2 / 700),
        ("glorot_normal", -np.inf, np.inf, 2 / 700),
        ("lecun_uniform", -np.sqrt(3 / 500), np.sqrt(3 / 500), 1 / 500),
        ("lecun_normal", -np.inf, np.inf, 1 / 500),
        (nn.Uniform(0.0, 0.6), 0.0, 0.6, 0.03),
        (nn.Normal(0.5), -np.inf, np.inf, 0.25),
    ],
)
def test_initialisers(name, low, high, variance):
    weight = nn.Sequential(nn.Linear(200, weight=name)).build((500,), backend="reference").parameters["0.weight"]
    assert weight.min() >= low
    assert weight.max() <= high
    # 100,000 draws: the variance of a sample is within 2% of the distribution's by far.
    assert abs(weight.var() / variance - 1) < 0.02


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"0.weigth": np.zeros(3)}, ArgumentError, "the model has no parameter '0.weigth'; did you mean '0.weight'?"),
        ({"0.bias": np.zeros(4)}, ShapeError, "parameter 0.bias has shape (3,), the given array (4,)"),
        ({"0.bias": np.zeros(3, int)}, DtypeError, "parameter 0.bias is of floats, the given array of int64"),
        (
            {"0.bias": np.array([1, np.nan, np.inf])},
            ArgumentError,
            "parameter 0.bias: 2 given values are not finite",
        ),
    ],
)
def test_bad_parameters_change_nothing(change, kind, message):
    model = classifier()
    before = dict(model.parameters)
    with pytest.raises(kind) as raised:
        model.load_parameters({"4.bias": np.ones(10), **change})
    assert str(raised.value) == message
    for name, array in before.items():
        np.testing.assert_array_equal(model.parameters[name], array)


def test_missing_parameters():
    model = classifier()
    given = {name: array for name, array in model.parameters.items() if name not in ("0.bias", "4.weight")}
    with pytest.raises(ArgumentError) as raised:
        model.load_parameters(given)
    assert str(raised.value) == "`parameters` lacks 0.bias, 4.weight; strict=False keeps what is not given"
    model.load_parameters({"0.bias": np.ones(3)}, strict=False)
    np.testing.assert_array_equal(model.parameters["0.bias"], np.ones(3))


# Arrays


@pytest.mark.parametrize(
    ("x", "t", "kind", "message"),
    [
        (np.zeros((2, 5, 4)), [0, 1], ShapeError, "`x` has shape (2, 5, 4); the model takes (batch, 5, 4, 2)"),
        (np.zeros((2, 5, 4, 3)), [0, 1], ShapeError, "`x` has shape (2, 5, 4, 3); the model takes (batch, 5, 4, 2)"),
        (
            np.zeros((2, 5, 4, 2), np.uint8),
            [0, 1],
            DtypeError,
            "`x` has dtype uint8; the model takes floats; scale images to floats first: x.astype('float32') / 255",
        ),
        (np.zeros((2, 5, 4, 2), int), [0, 1], DtypeError, "`x` has dtype int64; the model takes floats"),
        (
            np.zeros((0, 5, 4, 2)),
            np.zeros(0, int),
            ArgumentError,
            "`x` (0, 5, 4, 2) is an empty batch; at least 1 row is needed",
        ),
        (np.zeros((2, 5, 4, 2)), [0, 1, 2], ShapeError, "`x` has 2 rows and `t` has 3"),
        (
            np.zeros((4, 5, 4, 2)),
            [0, 1, 9, 12],
            ArgumentError,
            "label 12 at position 3 is outside 0 .. 9",
        ),
        (np.zeros((2, 5, 4, 2)), [0, -1], ArgumentError, "label -1 at position 1 is outside 0 .. 9"),
        (
            np.zeros((2, 5, 4, 2)),
            [[0], [1]],
            ShapeError,
            "`t` has shape (2, 1); labels for this prediction have shape (2,)",
        ),
        (
            np.zeros((2, 5, 4, 2)),
            np.zeros((2, 9)),
            ShapeError,
            "`t` has shape (2, 9); the prediction has shape (2, 10)",
        ),
        (
            np.zeros((2, 5, 4, 2)),
            np.zeros((2, 10), bool),
            DtypeError,
            "`t` has dtype bool; this loss takes floats of shape (2, 10), or labels (integers)",
        ),
    ],
)
def test_refused(x, t, kind, message):
    model = classifier()
    for act in (model.train_step, model.gradients, model.evaluate):
        with pytest.raises(kind) as raised:
            act(x, np.asarray(t))
        assert str(raised.value) == message
    assert model.steps == 0


def test_floats_of_any_size_and_labels_of_any_integer_type():
    model = classifier(dtype="float32")
    x, t = batch()
    loss = model.gradients(x.astype("float32"), t)[0]
    assert model.gradients(x.astype("float32").astype("float64"), t.astype("uint8"))[0] == loss
    assert model.gradients(np.asfortranarray(x.astype("float32")), t.astype("int16"))[0] == loss
    half = x.astype("float16")
    assert model.gradients(half, t)[0] == model.gradients(half.astype("float32"), t)[0]
    assert model.predict(x).dtype == np.float32
    assert isinstance(loss, float)


def test_models_without_loss_or_optimizer():
    x, t = batch()
    bare = classifier(loss=None, optimizer=None)
    assert bare.predict(x).shape == (4, 10)
    with pytest.raises(ArgumentError, match=r"^this model has no loss: it was built without a `loss`$"):
        bare.gradients(x, t)
    fixed = classifier(optimizer=None)
    assert fixed.gradients(x, t)[0] > 0
    with pytest.raises(ArgumentError) as raised:
        fixed.train_step(x, t)
    assert str(raised.value) == "this model cannot be trained: it was built without an `optimizer`"
    with pytest.raises(ArgumentError) as raised:
        classifier().train_step(x, t, learning_rate=float("nan"))
    assert str(raised.value) == "`learning_rate` (=nan) must be a finite number above 0"


# Predictions


@pytest.mark.parametrize("rows", [1, 2, 10, 11, 31, 32, 33, 43, 64, 100])
def test_any_number_of_rows(rows):
    model = nn.Sequential(nn.Linear(3), nn.Tanh()).build((2,), dtype="float64", backend="reference")
    x = np.random.default_rng(0).normal(size=(rows, 2))
    get = model.parameters
    np.testing.assert_allclose(model.predict(x), np.tanh(x @ get["0.weight"] + get["0.bias"]), rtol=1e-13)


@pytest.mark.parametrize(("features", "rows"), [(2, 32), (2**18, 32), (2**18 + 1, 16), (2**22, 2), (2**23 + 2, 1)])
def test_rows_at_once_follow_the_largest_activation(features, rows):
    """2**25 bytes of float32 are 2**23 numbers."""
    model = nn.Sequential(nn.Linear(2), nn.EquationLayer("z[n,k] = x[n,0]", {"k": features})).build((1,))
    assert model._rows_at_once == rows


def test_rows_that_are_taken_one_by_one():
    model = nn.Sequential(nn.EquationLayer("z[n,k] = x[n,0] + k", {"k": 2**23})).build((1,))
    found = model.predict(np.array([[1.0], [2.0], [3.0]]))
    assert found.shape == (3, 2**23)
    np.testing.assert_array_equal(found[:, [0, 7]], [[1, 8], [2, 9], [3, 10]])


@pytest.mark.parametrize(
    ("rows", "block", "expected"),
    [
        (1, 32, [(1, 1)]),
        (1, 2, [(1, 1)]),
        (10, 32, [(1, 1)] * 10),
        (11, 32, [(11, 32)]),
        (64, 32, [(32, 32)] * 2),
        (66, 32, [(32, 32)] * 2 + [(1, 1)] * 2),
        (95, 32, [(32, 32)] * 2 + [(31, 32)]),
        (5, 2, [(2, 2)] * 2 + [(1, 2)]),
        (3, 1, [(1, 1)] * 3),
    ],
)
def test_blocks_and_what_is_left_over(rows, block, expected):
    found = list(_blocks(rows, block))
    assert [(part.stop - part.start, size) for part, size in found] == expected
    assert [number for part, _ in found for number in range(part.start, part.stop)] == list(range(rows))


def test_two_programs_predict_any_number_of_rows():
    """Within a block the bits of a row do not depend on its place, or on what else is there."""
    net = nn.Sequential(nn.Conv2d(4, 3), nn.BatchNorm2d(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(10))
    model = net.build((9, 9, 2))
    x = np.random.default_rng(0).normal(size=(75, 9, 9, 2)).astype("float32")
    whole = np.concatenate([model.predict(x[:64]), model.predict(x[64:])])
    alone = np.concatenate([model.predict(row[None]) for row in x])
    for rows in (1, 2, 9, 20, 31, 33, 40, 75):
        found = model.predict(x[:rows])
        single = 0 if rows % 32 > 10 else rows % 32
        np.testing.assert_array_equal(found[: rows - single], whole[: rows - single])
        np.testing.assert_array_equal(found[rows - single :], alone[rows - single : rows])
    np.testing.assert_array_equal(model.predict(x[::-1][:32]), whole[::-1][:32])
    np.testing.assert_allclose(alone, whole, rtol=1e-5, atol=1e-6)
    assert sorted(model._programs.made["inference"]) == [1, 32]


def test_one_row_after_batch_norm():
    model = classifier()
    x, _ = batch()
    np.testing.assert_allclose(model.predict(x[:1]), model.predict(x)[:1], rtol=1e-12)
    alone = nn.Sequential(nn.BatchNorm1d()).build((3,), loss=nn.MSELoss(), backend="reference")
    with pytest.raises(ShapeError) as raised:
        alone.gradients(np.zeros((1, 3)), np.zeros((1, 3)))
    message = "layer 0 (BatchNorm1d): `x` (1, 3) must have more than 1 value for each channel in training, has 1"
    assert str(raised.value) == message


def test_last_batch_is_smaller():
    model = classifier()
    x, t = batch(5)
    twin = classifier()
    for rows in (slice(0, 3), slice(3, 5), slice(0, 3)):
        assert model.train_step(x[rows], t[rows]) == twin.train_step(x[rows], t[rows])
    assert model.steps == 3
    assert model.train_step(x[:3], t[:3]) < classifier().train_step(x[:3], t[:3])


def test_evaluate():
    model = nn.Sequential(nn.Identity()).build((3,), loss=nn.CrossEntropyLoss(ignore_index=-1), backend="reference")
    x = np.array([[5.0, 0, 0], [0, 5, 0], [0, 0, 5], [5, 0, 0]])
    measures = model.evaluate(x, np.array([0, 1, 0, -1]))
    likely = -np.log(np.exp(5) / (np.exp(5) + 2))
    assert measures["accuracy"] == pytest.approx(2 / 3)
    assert measures["loss"] == pytest.approx((2 * likely + likely + 5) / 3, rel=1e-6)
    numbers = nn.Sequential(nn.Identity()).build((3,), loss=nn.MSELoss(), backend="reference")
    assert numbers.evaluate(x, x + 2) == {"loss": 4.0}


# Losses and their targets


@pytest.mark.parametrize(
    ("loss", "name", "options"),
    [
        (nn.CrossEntropyLoss([1.0, 2.0, 0.5], label_smoothing=0.1), "CrossEntropyLoss", {"label_smoothing": 0.1}),
        (nn.NLLLoss([1.0, 2.0, 0.5]), "NLLLoss", {}),
    ],
)
def test_class_losses(torch, loss, name, options):
    x, t = np.random.default_rng(0).normal(size=(5, 3)), np.array([0, 2, 1, 1, 2])
    model = nn.Sequential(nn.Identity()).build((3,), loss=loss, dtype="float64", backend="reference")
    theirs = getattr(torch.nn, name)(weight=torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64), **options)
    assert model.evaluate(x, t)["loss"] == pytest.approx(theirs(torch.tensor(x), torch.tensor(t)).item(), rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "name", "options"),
    [
        (nn.MSELoss(), "MSELoss", {}),
        (nn.MSELoss(reduction="sum"), "MSELoss", {"reduction": "sum"}),
        (nn.L1Loss(), "L1Loss", {}),
        (nn.HuberLoss(0.5), "HuberLoss", {"delta": 0.5}),
        (nn.SmoothL1Loss(0.5), "SmoothL1Loss", {"beta": 0.5}),
        (nn.BCELoss(), "BCELoss", {}),
        (nn.BCEWithLogitsLoss(), "BCEWithLogitsLoss", {}),
        (nn.KLDivLoss(reduction="sum"), "KLDivLoss", {"reduction": "sum"}),
    ],
)
def test_elementwise_losses(torch, loss, name, options):
    random = np.random.default_rng(0)
    x, t = random.uniform(0.1, 0.9, (4, 3)), random.uniform(0.1, 0.9, (4, 3))
    model = nn.Sequential(nn.Identity()).build((3,), loss=loss, dtype="float64", backend="reference")
    expected = getattr(torch.nn, name)(**options)(torch.tensor(x), torch.tensor(t)).item()
    assert model.evaluate(x, t)["loss"] == pytest.approx(expected, rel=1e-12)


def test_losses_of_the_sources():
    y, t = np.array([[0.5, 2.0], [1.0, -0.5]]), np.array([[1.0, 4.0], [0.0, 0.5]])

    def of(loss):
        model = nn.Sequential(nn.Identity()).build((2,), loss=loss, dtype="float64", backend="reference")
        return model.evaluate(y, t)["loss"]

    assert of(nn.SquaredErrorLoss()) == pytest.approx((0.25 + 4 + 1 + 1) / 2)
    assert of(nn.MAPELoss(eps=0.5)) == pytest.approx((0.5 + 0.5 + 2 + 2) / 4)
    assert of(nn.MSLELoss()) == pytest.approx(np.mean((np.log1p(y) - np.log1p(t)) ** 2))
    assert of(nn.HingeLoss()) == pytest.approx(np.mean(np.maximum(1 - t * y, 0)))
    with pytest.raises(ArgumentError, match=r"^`t` holds -1; MSLELoss takes targets above -1$"):
        nn.MSLELoss().take(np.array([[-1.0]]), (1, 1), "float64")


def test_labels_become_one_hot_rows():
    x, labels = np.array([[0.2, 0.7, 0.4], [0.9, 0.1, 0.2]]), np.array([1, 2], np.uint8)
    rows = np.array([[0.0, 1, 0], [0, 0, 1]])
    for loss in (nn.BCELoss(), nn.MSELoss(), nn.BCEWithLogitsLoss(), nn.CategoricalCrossEntropyLoss()):
        model = nn.Sequential(nn.Identity()).build((3,), loss=loss, dtype="float64", backend="reference")
        assert model.evaluate(x, labels) == model.evaluate(x, rows)
        assert model.evaluate(x, labels)["accuracy"] == 0.5
    np.testing.assert_array_equal(nn.HingeLoss().take(labels, (2, 3), "float32"), 2 * rows - 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.CrossEntropyLoss([1.0, -1.0]), "`class_weights[1]` (=-1.0) must be a finite number, 0 or above"),
        (
            lambda: nn.NLLLoss().take(np.zeros((2, 3)), (2, 3), "float32"),
            "`t` has dtype float64; NLLLoss takes labels (integers)",
        ),
    ],
)
def test_loss_errors(make, message):
    with pytest.raises(PellucidError) as raised:
        make()
    assert str(raised.value) == message


# Losses that are not finite


@pytest.mark.parametrize("backend", ["reference", "compiled"])
def test_an_infinite_loss_names_step_and_layer_and_changes_nothing(backend):
    net = nn.Sequential(nn.Linear(3), nn.EquationLayer("z[n,k] = exp(x[n,k])"), nn.Linear(2))
    model = net.build((2,), loss=nn.MSELoss(), optimizer=optim.Adam(0.1), dtype="float64", backend=backend)
    x, t = np.ones((2, 2)), np.zeros((2, 2))
    model.train_step(x, t)
    before = dict(model.parameters)
    x[1, 0] = 1e4 * np.sign(before["0.weight"][0, 0])
    with pytest.raises(TrainingError) as raised:
        model.train_step(x, t)
    message = str(raised.value)
    assert message.startswith("the loss is ")
    assert " in step 2: the output of layer 1 (EquationLayer) is the first with values that are not finite, " in message
    assert message.endswith("; nothing was changed")
    assert model.steps == 1
    for name, array in before.items():
        np.testing.assert_array_equal(model.parameters[name], array)
    assert np.isfinite(model.train_step(np.ones((2, 2)), t))


def test_a_batch_that_is_not_finite():
    model = classifier()
    x, t = batch()
    x[2, 1, 0, 1] = np.nan
    with pytest.raises(TrainingError) as raised:
        model.train_step(x, t)
    message = "the loss is nan in step 1: the batch holds 1 of 160 values that are not finite; nothing was changed"
    assert str(raised.value) == message


def test_a_loss_that_overflows_alone():
    model = nn.Sequential(nn.Linear(1)).build((1,), loss=nn.MSELoss(), optimizer=optim.SGD(0.1), backend="reference")
    with pytest.raises(TrainingError) as raised:
        model.train_step(np.ones((1, 1)), np.full((1, 1), 1e30))
    message = "the loss is inf in step 1: every layer's output is finite, the loss of them is not; nothing was changed"
    assert str(raised.value) == message


def root_model(**options):
    """Its loss is finite where the root's argument is 0; its gradient is not: infinity times 0."""
    net = nn.Sequential(nn.Linear(2, weight="zeros"), nn.EquationLayer("z[n,k] = sqrt(max(x[n,k], 0))"), nn.Linear(1))
    return net.build((2,), loss=nn.MSELoss(), optimizer=optim.SGD(0.1), backend="reference", **options)


def test_a_gradient_that_is_not_finite_stops_where_norms_are_computed():
    x, t = np.ones((2, 2)), np.ones((2, 1))
    for options, asked in (({"clip_norm": 1.0}, False), ({}, True)):
        model = root_model(**options)
        before = dict(model.parameters)
        with pytest.raises(TrainingError) as raised:
            model.train_step(x, t, gradient_norms=asked)
        assert str(raised.value) == (
            "the gradient is not finite in step 1: that of 0.weight of layer 0 (Linear) is the first with values "
            "that are not finite, 4 of 4 values; nothing was changed"
        )
        for name, array in before.items():
            np.testing.assert_array_equal(model.parameters[name], array)


def test_a_gradient_that_is_not_finite_is_named_a_step_later():
    model = root_model()
    x, t = np.ones((2, 2)), np.ones((2, 1))
    model.train_step(x, t)
    with pytest.raises(TrainingError) as raised:
        model.train_step(x, t)
    assert str(raised.value) == (
        "the loss is nan in step 2: the parameter 0.weight of layer 0 (Linear) holds 4 of 4 values that are not finite "
        "(a gradient of the step before was not finite); nothing was changed"
    )


def test_two_threads_take_turns():
    model = classifier(dtype="float32", backend="compiled")
    x, t = batch()
    model.train_step(x, t)
    with ThreadPoolExecutor(2) as pool:
        losses = list(pool.map(lambda _: model.train_step(x, t), range(20)))
    twin = classifier(dtype="float32", backend="compiled")
    assert sorted(losses) == sorted(twin.train_step(x, t) for _ in range(21))[:20]
    assert model.steps == 21


# The summary


def test_summary():
    net = nn.Sequential(nn.Conv2d(4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5))
    lines = net.build((7, 6, 3), backend="reference").summary().splitlines()
    assert lines[:6] == [
        "layer           reads  output     parameters  multiply-adds",
        "0      Conv2d   input  4 x 3 x 4         112          1,296",
        "1      ReLU     0      4 x 3 x 4           0              0",
        "2      Flatten  1      48                  0              0",
        "3      Linear   2      5                 245            240",
        "total                                    357          1,536",
    ]
    text = "\n".join(lines)
    assert "z[n,i,j,k] = sum(s,t,c) x[n,i*SH+s*DH-PH,j*SW+t*DW-PW,c] * w[s,t,c,k] + b[k]" in text
    assert "SH = 2" in text


def test_summary_counts_a_transposed_convolution():
    """Every input meets every tap once: 5*4 inputs, 3*3 taps, 2*6 channels."""
    model = nn.Sequential(nn.ConvTranspose2d(6, 3, stride=2)).build((5, 4, 2), backend="reference")
    assert model.summary().splitlines()[1].split()[-1] == "2,160"


def test_summary_shows_kernels():
    model = nn.Sequential(nn.Linear(16), nn.ReLU()).build((8,))
    assert len(model.summary(kernels=True)) > len(model.summary()) + 50


# The program of predictions


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # Rounding of some hundred terms, in float32 also of weights that are scaled before they are used.
    [("float64", 1e-11), ("float32", 2e-4)],
)
def test_predictions_follow_the_parameters(dtype, tolerance):
    """Weights that are folded and transformed once are made anew when a step or a load has changed parameters."""
    options = {"loss": nn.CrossEntropyLoss(), "optimizer": optim.SGD(0.05)}
    net = nn.Sequential(
        nn.Conv2d(8, 3, padding=1, bias=False),
        nn.BatchNorm2d(momentum=0.5),
        nn.ReLU(),
        nn.Conv2d(16, 3, padding=1),
        nn.BatchNorm2d(affine=False),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(6),
        nn.BatchNorm1d(),
    )
    model = net.build((16, 16, 8), dtype=dtype, **options)
    literal = net.build((16, 16, 8), dtype="float64", backend="reference", **options)
    random = np.random.default_rng(0)
    x, t = random.normal(size=(11, 16, 16, 8)), random.integers(0, 6, 11)
    x = x.astype("float32").astype("float64")

    def agree():
        literal.load_parameters({name: array.astype("float64") for name, array in model.parameters.items()})
        expected = literal.predict(x[:3])
        for rows in (1, 3, 11):
            np.testing.assert_allclose(model.predict(x[:rows])[:3], expected[:rows], rtol=tolerance, atol=tolerance)

    agree()
    before = model.predict(x)
    model.train_step(x, t)
    agree()
    assert not np.allclose(model.predict(x), before, rtol=1e-2)
    model.load_parameters({"1.running_var": np.full(8, 3.0), "4.running_mean": random.normal(size=16)}, strict=False)
    agree()
    model.load_parameters({"8.bias": np.ones(6)}, strict=False)
    agree()
