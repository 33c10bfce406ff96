"""Short batches: the program of a larger one gives what equations for their own size give, literally evaluated.

The judge is a model whose programs serve their own size alone, evaluated by the reference in float64.
"""

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.errors import ShapeError, TrainingError
from pellucid.network import engine
from pellucid.network.short import ROWS
from pellucid.nn import programs
from pellucid.nn.kept import SETTLED
from pellucid.train import Dataset, Part, fit

CLASSES = 5


def network():
    return nn.Sequential(
        nn.Conv2d(4, 3, bias=False),
        nn.BatchNorm2d(),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.BatchNorm1d(momentum=0.3, affine=False),
        nn.Dropout(0.4),
        nn.Linear(CLASSES),
    )


def batch(rows, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(1, 2, (rows, 6, 6, 2)), random.integers(0, CLASSES, rows)


def made(net=network, shape=(6, 6, 2), **options):
    settings = {"loss": nn.CrossEntropyLoss(), "optimizer": optim.Adam(0.01), "dtype": "float64", "seed": 3, **options}
    return net().build(shape, **settings)


@pytest.fixture
def builds(monkeypatch):
    """A list that grows by an entry for every graph that is compiled, from the cache or not."""
    found, original = [], engine.compile_engine
    monkeypatch.setattr(engine, "compile_engine", lambda *given: found.append(1) or original(*given))
    return found


@pytest.fixture
def literal(monkeypatch):
    """Makes and runs models that compile for each size, evaluated literally."""

    def run(act, **options):
        with monkeypatch.context() as patch:
            patch.setattr(programs, "serving_fewer", lambda *_: None)
            return act(made(backend="reference", **options))

    return run


def close(found, expected, dtype="float64"):
    # Rounding: some hundred terms of size 1 are added in another order. Measured: 2e-15 and 1e-6.
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=tolerance, atol=tolerance * max(1, np.abs(array).max()))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_of_smaller_batches(builds, literal, dtype):
    model = made(dtype=dtype)
    x, t = batch(6)
    model.gradients(x, t)
    assert len(builds) == 1
    # One row has one value for each feature of BatchNorm1d: see test_batch_norm_of_one_row.
    for rows in (2, 3, 4, 5, 6):
        loss, gradients = model.gradients(x[:rows], t[:rows])
        expected, judged = literal(lambda other, rows=rows: other.gradients(x[:rows], t[:rows]))
        assert loss == pytest.approx(expected, rel=1e-12 if dtype == "float64" else 1e-5)
        close(gradients, judged, dtype)
    assert len(builds) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training(builds, literal, dtype):
    """Dropout, moments and running statistics included: the steps of two epochs with a last batch of 3 rows."""
    x, t = batch(11)
    steps = [slice(0, 4), slice(4, 8), slice(8, 11)] * 2

    def run(model):
        losses = [model.train_step(x[rows], t[rows]) for rows in steps]
        return losses, dict(model.parameters)

    # SGD: Adam's first steps turn a gradient of rounding errors into a step of full size.
    options = {"optimizer": optim.SGD(0.05, momentum=0.9), "regularizer": optim.L2(1e-3), "clip_norm": 3.0}
    losses, parameters = run(made(dtype=dtype, **options))
    assert len(builds) == 1
    expected, judged = literal(run, **options)
    np.testing.assert_allclose(losses, expected, rtol=1e-12 if dtype == "float64" else 1e-4)
    close(parameters, judged, dtype)


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(reduction="sum"),
        nn.CrossEntropyLoss([1.0, 2.0, 0.5, 3.0, 1.5], ignore_index=2, label_smoothing=0.1),
        nn.CrossEntropyLoss([1.0, 2.0, 0.5, 3.0, 1.5], ignore_index=-1, reduction="sum"),
        nn.NLLLoss([1.0, 2.0, 0.5, 3.0, 1.5]),
        nn.CategoricalCrossEntropyLoss(),
        nn.MSELoss(),
        nn.MSELoss(reduction="sum"),
        nn.SquaredErrorLoss(),
        nn.SquaredErrorLoss(reduction="mean"),
        nn.L1Loss(),
        nn.MSLELoss(),
        nn.MAPELoss(eps=0.5),
        nn.HuberLoss(0.5),
        nn.SmoothL1Loss(0.5),
        nn.HingeLoss(),
        nn.KLDivLoss(),
        nn.KLDivLoss(reduction="sum"),
        nn.BCELoss(),
        nn.BCEWithLogitsLoss(),
    ],
    ids=repr,
)
def test_every_loss(builds, literal, loss, rows):
    def net():
        return nn.Sequential(nn.Linear(CLASSES), nn.Sigmoid())

    random = np.random.default_rng(5)
    x = random.normal(size=(7, 3))
    labelled = isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss)
    t = np.array([1, 2, 0, 2, 4, 3, 1]) if labelled else random.uniform(0.1, 0.9, (7, CLASSES))
    options = {"net": net, "shape": (3,), "loss": loss}
    model = made(**options)
    model.gradients(x, t)
    model.evaluate(x, t)
    before = len(builds)
    found, gradients = model.gradients(x[:rows], t[:rows])
    assert len(builds) == before
    expected, judged = literal(lambda other: other.gradients(x[:rows], t[:rows]), **options)
    assert found == pytest.approx(expected, rel=1e-12)
    close(gradients, judged)
    assert model.evaluate(x[:rows], t[:rows])["loss"] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.BatchNorm1d(), (3,)),
        (nn.BatchNorm1d(affine=False, momentum=1.0), (4, 3)),
        (nn.BatchNorm2d(eps=0.1), (3, 2, 4)),
        (nn.BatchNorm3d(momentum=0.5), (2, 3, 2, 4)),
        (nn.LayerNorm(), (3, 2, 4)),
        (nn.LocalResponseNorm(3), (3, 2, 4)),
    ],
    ids=repr,
)
def test_every_norm(builds, literal, layer, shape):
    def net():
        return nn.Sequential(layer, nn.Flatten(), nn.Linear(2))

    random = np.random.default_rng(1)
    x, t = random.normal(3, 2, (5, *shape)), random.normal(size=(5, 2))
    options = {"net": net, "shape": shape, "loss": nn.MSELoss(), "optimizer": optim.SGD(0.1)}

    def run(model):
        model.train_step(x, t)
        model.train_step(x[:2], t[:2])
        return dict(model.parameters)

    found = run(made(**options))
    assert len(builds) == 1
    close(found, literal(run, **options))


def test_batch_norm_of_one_row():
    def net():
        return nn.Sequential(nn.BatchNorm1d(), nn.Linear(2))

    model = made(net=net, shape=(3,), loss=nn.MSELoss())
    x = np.random.default_rng(0).normal(size=(4, 3))
    model.train_step(x, x[:, :2])
    with pytest.raises(ShapeError) as raised:
        model.train_step(x[:1], x[:1, :2])
    message = "layer 0 (BatchNorm1d): `x` (1, 3) must have more than 1 value for each channel in training, has 1"
    assert str(raised.value) == message
    assert model.steps == 1


def test_fit_compiles_no_program_for_the_last_batch(builds):
    random = np.random.default_rng(0)
    images = random.random((11, 6, 6, 1), np.float32)
    part = Part(images, random.integers(0, 3, 11))
    data = Dataset(part, part, ("a", "b", "c"))
    net = nn.Sequential(nn.Conv2d(2, 3), nn.BatchNorm2d(), nn.Flatten(), nn.Linear(3))
    model = net.build((6, 6, 1), loss=nn.CrossEntropyLoss(), optimizer=optim.SGD(0.1))
    fit(model, data, epochs=2, batch_size=4)
    assert model.steps == 6
    # A step, a prediction of a block (that of one row is not needed), the loss of predictions.
    assert len(builds) == 3


def test_short_then_long_then_long_enough_in_a_row(builds):
    model = made()
    x, t = batch(6)
    model.gradients(x[:3], t[:3])
    model.gradients(x, t)
    assert len(builds) == 2
    for _ in range(SETTLED - 1):
        model.gradients(x[:4], t[:4])
    assert len(builds) == 2
    expected = model.gradients(x[:4], t[:4])[1]
    assert len(builds) == 3
    model.gradients(x[:4], t[:4])
    model.gradients(x[:5], t[:5])
    assert len(builds) == 3
    close(model.gradients(x[:4], t[:4])[1], expected)
    model._programs.clear()
    assert model._programs.values() == []
    close(model.gradients(x[:4], t[:4])[1], expected)
    assert len(builds) == 4


def test_an_interrupt_while_a_program_is_told_its_rows_has_them_told_again():
    class Interrupted(dict[str, np.ndarray]):
        def __getitem__(self, name):
            if name == ROWS:
                raise KeyboardInterrupt
            return super().__getitem__(name)

    model = made()
    x, t = batch(6)
    expected = model.gradients(x, t)[1]
    (program,) = model._programs.values()
    told, program._live = program._live, Interrupted(program._live)
    with pytest.raises(KeyboardInterrupt):
        model.gradients(x[:3], t[:3])
    program._live = told
    for name, gradient in model.gradients(x, t)[1].items():
        np.testing.assert_array_equal(gradient, expected[name])


def test_rows_that_are_not_there_are_copies_of_the_first(monkeypatch):
    model, seen = made(), {}
    x, t = batch(6)
    model.gradients(x, t)
    (program,) = model._programs.values()
    run = program.compiled.run
    monkeypatch.setattr(program.compiled, "run", lambda given: seen.update(given) or run(given))
    model.gradients(x[:4], t[:4])
    np.testing.assert_array_equal(seen["x"], np.concatenate([x[:4], x[:1], x[:1]]))
    np.testing.assert_array_equal(seen["t"], np.concatenate([t[:4], t[:1], t[:1]]))
    assert all(array.flags.c_contiguous for array in seen.values())


def test_same_bits_on_any_number_of_threads():
    x, t = batch(7)

    def trained(threads):
        model = made(dtype="float32", threads=threads)
        losses = [model.train_step(x[rows], t[rows]) for rows in (slice(0, 4), slice(4, 7), slice(0, 4), slice(2, 5))]
        return losses, model.parameters

    first, second = trained(1), trained(2)
    assert first[0] == second[0]
    for name, array in first[1].items():
        np.testing.assert_array_equal(array, second[1][name])


def test_what_is_not_finite_stays_the_callers(literal):
    """NaN in the first row, which stands for those that are not there, and in another; infinite but not NaN losses."""
    x, t = batch(5)
    for row in (0, 2):
        broken = x.copy()
        broken[row, 0, 0, 0] = np.nan
        model = made()
        model.train_step(x, t)
        before = dict(model.parameters)
        with pytest.raises(TrainingError) as raised:
            model.train_step(broken[:3], t[:3])
        message = "the loss is nan in step 2: the batch holds 1 of 216 values that are not finite; nothing was changed"
        assert str(raised.value) == message
        close(dict(model.parameters), before)

    def net():
        return nn.Sequential(nn.Linear(1))

    options = {"net": net, "shape": (1,), "loss": nn.MSELoss()}
    y = np.array([[1e200], [1.0], [2.0]])
    model = made(**options)
    model.gradients(np.ones((3, 1)), y)
    assert model.gradients(y[:2], -y[:2])[0] == np.inf == literal(lambda m: m.gradients(y[:2], -y[:2])[0], **options)


@pytest.mark.parametrize(
    "equation",
    [
        "z[n,k] = x[n,k] - (max(m) x[m,k])",
        "z[n,k] = x[n,k] - x[0,k]",
        "z[n,k] = x[n,k] + (x[n-1,k])",
    ],
)
def test_rows_mixed_otherwise_have_programs_of_their_own(builds, literal, equation):
    def net():
        return nn.Sequential(nn.EquationLayer(equation), nn.Linear(2))

    random = np.random.default_rng(1)
    x, t = random.normal(size=(5, 3)), random.normal(size=(5, 2))
    options = {"net": net, "shape": (3,), "loss": nn.MSELoss()}
    model = made(**options)
    model.gradients(x, t)
    loss, gradients = model.gradients(x[:2], t[:2])
    assert len(builds) == 2
    expected, judged = literal(lambda other: other.gradients(x[:2], t[:2]), **options)
    assert loss == pytest.approx(expected, rel=1e-12)
    close(gradients, judged)


def test_sums_over_the_batch_in_a_layer_of_ones_own(builds, literal):
    def net():
        return nn.Sequential(nn.EquationLayer("z[n,k] = exp(x[n,k]) / (sum(m) exp(x[m,k]))"), nn.Linear(2))

    random = np.random.default_rng(1)
    x, t = random.normal(size=(5, 3)), random.normal(size=(5, 2))
    options = {"net": net, "shape": (3,), "loss": nn.MSELoss()}
    model = made(**options)
    model.gradients(x, t)
    loss, gradients = model.gradients(x[1:4], t[1:4])
    assert len(builds) == 1
    expected, judged = literal(lambda other: other.gradients(x[1:4], t[1:4]), **options)
    assert loss == pytest.approx(expected, rel=1e-12)
    close(gradients, judged)
