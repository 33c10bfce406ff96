"""Layers: the parameters that they ask for and what they compute, against PyTorch; networks made of them."""

import numpy as np
import pytest

from pellucid import nn, optim
from pellucid.errors import ArgumentError, EquationError, PellucidError, ShapeError


def build(*layers, shape, dtype="float64", **options):
    return nn.Sequential(*layers).build(shape, dtype=dtype, backend="reference", **options)


def images(*shape):
    return np.random.default_rng(3).normal(size=shape)


def first(array):
    """Channels first."""
    return np.moveaxis(array, -1, 1)


def last(array):
    """Channels last."""
    return np.moveaxis(array, 1, -1)


def scatter(model):
    """Random values for every parameter, so that no default hides a mistake."""
    random = np.random.default_rng(9)
    model.load_parameters({name: random.uniform(0.3, 1.3, array.shape) for name, array in model.parameters.items()})
    return {name.rpartition(".")[2]: array for name, array in model.parameters.items()}


@pytest.mark.parametrize(("rank", "extents"), [(1, (7,)), (2, (7, 6)), (3, (5, 4, 6))])
@pytest.mark.parametrize("transposed", [False, True])
def test_convolutions(torch, rank, extents, transposed):
    kind = f"{'ConvTranspose' if transposed else 'Conv'}{rank}d"
    layer = getattr(nn, kind)(6, 3, stride=2, padding=1, groups=2)
    model = build(layer, shape=(*extents, 4))
    get = scatter(model)
    assert get["weight"].shape == ((3,) * rank + ((3, 4) if transposed else (2, 6)))
    assert get["bias"].shape == (6,)
    x = images(2, *extents, 4)
    window = tuple(range(rank))
    # PyTorch keeps kernels (out, in / groups, window...), transposed ones (in, out / groups, window...).
    weight = torch.tensor(get["weight"].transpose(rank + 1, rank, *window))
    function = getattr(torch.nn.functional, f"conv_transpose{rank}d" if transposed else f"conv{rank}d")
    expected = function(torch.tensor(first(x)), weight, torch.tensor(get["bias"]), stride=2, padding=1, groups=2)
    np.testing.assert_allclose(model.predict(x), last(expected.numpy()), rtol=1e-12, atol=1e-12)


def test_flip_turns_the_kernel():
    plain, turned = (build(nn.Conv2d(2, 3, flip=flip), shape=(5, 5, 1)) for flip in (False, True))
    weight = plain.parameters["0.weight"]
    turned.load_parameters({"0.weight": weight[::-1, ::-1], "0.bias": np.zeros(2)})
    x = images(1, 5, 5, 1)
    np.testing.assert_allclose(turned.predict(x), plain.predict(x), rtol=1e-13)


def test_norms(torch):
    f = torch.nn.functional
    x = images(3, 4, 5, 6)
    model = build(nn.LayerNorm(), shape=x.shape[1:])
    get = scatter(model)
    assert get["weight"].shape == (4, 5, 6)
    expected = f.layer_norm(torch.tensor(x), (4, 5, 6), torch.tensor(get["weight"]), torch.tensor(get["bias"]))
    np.testing.assert_allclose(model.predict(x), expected.numpy(), rtol=1e-12)
    model = build(nn.LayerNorm(6), shape=x.shape[1:])
    assert model.parameters["0.weight"].shape == (6,)
    model = build(nn.LocalResponseNorm(3, alpha=0.1), shape=x.shape[1:])
    expected = f.local_response_norm(torch.tensor(first(x)), 3, alpha=0.1)
    np.testing.assert_allclose(model.predict(x), last(expected.numpy()), rtol=1e-12)
    for layer, shape in (
        (nn.BatchNorm1d(), (5, 3)),
        (nn.BatchNorm1d(), (5, 4, 3)),
        (nn.BatchNorm3d(), (2, 2, 3, 4, 3)),
    ):
        x = images(*shape)
        model = build(layer, shape=x.shape[1:])
        get = {name: torch.tensor(array) for name, array in scatter(model).items()}
        statistics, scale = (get["running_mean"], get["running_var"]), (get["weight"], get["bias"])
        expected = f.batch_norm(torch.tensor(first(x)), *statistics, *scale)
        np.testing.assert_allclose(model.predict(x), last(expected.numpy()), rtol=1e-12)


def test_prelu_has_a_slope_for_each_channel_or_one(torch):
    x = images(2, 3, 4)
    for shared, shape in ((False, (4,)), (True, (1,))):
        model = build(nn.PReLU(shared=shared), shape=(3, 4))
        np.testing.assert_array_equal(model.parameters["0.weight"], np.full(shape, 0.25))
        slope = scatter(model)["weight"]
        expected = torch.nn.functional.prelu(torch.tensor(first(x)), torch.tensor(slope))
        np.testing.assert_allclose(model.predict(x), last(expected.numpy()), rtol=1e-14)


@pytest.mark.parametrize(
    ("layer", "name", "options"),
    [
        (nn.Identity(), "Identity", {}),
        (nn.ReLU(), "ReLU", {}),
        (nn.ReLU6(), "ReLU6", {}),
        (nn.Sigmoid(), "Sigmoid", {}),
        (nn.LogSigmoid(), "LogSigmoid", {}),
        (nn.Tanh(), "Tanh", {}),
        (nn.SELU(), "SELU", {}),
        (nn.Softsign(), "Softsign", {}),
        (nn.SiLU(), "SiLU", {}),
        (nn.Hardsigmoid(), "Hardsigmoid", {}),
        (nn.Hardswish(), "Hardswish", {}),
        (nn.Mish(), "Mish", {}),
        (nn.LeakyReLU(0.2), "LeakyReLU", {"negative_slope": 0.2}),
        (nn.ELU(0.7), "ELU", {"alpha": 0.7}),
        (nn.Softplus(2.0), "Softplus", {"beta": 2.0}),
        (nn.GELU(), "GELU", {}),
        (nn.GELU("tanh"), "GELU", {"approximate": "tanh"}),
        (nn.Hardtanh(-0.5, 0.7), "Hardtanh", {"min_val": -0.5, "max_val": 0.7}),
        (nn.Softmax(), "Softmax", {"dim": -1}),
        (nn.LogSoftmax(), "LogSoftmax", {"dim": -1}),
    ],
)
def test_activations(torch, layer, name, options):
    x = 4 * images(3, 5)
    expected = getattr(torch.nn, name)(**options)(torch.tensor(x))
    np.testing.assert_allclose(build(layer, shape=(5,)).predict(x), expected.numpy(), rtol=1e-12, atol=1e-15)


def test_maxout():
    x = images(2, 6)
    np.testing.assert_array_equal(build(nn.Maxout(3), shape=(6,)).predict(x), x.reshape(2, 2, 3).max(-1))


@pytest.mark.parametrize(
    ("layer", "theirs", "shape"),
    [
        (nn.MaxPool1d(3, 2, 1), ("MaxPool1d", (3, 2, 1)), (7, 2)),
        (nn.MaxPool2d(3, stride=2, padding=1), ("MaxPool2d", (3, 2, 1)), (7, 6, 2)),
        (nn.MaxPool3d(2), ("MaxPool3d", (2,)), (4, 4, 4, 2)),
        (nn.AvgPool1d(2), ("AvgPool1d", (2,)), (6, 2)),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), ("AvgPool2d", (3, 2, 1, False, False)), (7, 6, 2)),
        (nn.AvgPool3d(2), ("AvgPool3d", (2,)), (4, 4, 4, 2)),
        (nn.AdaptiveAvgPool1d(3), ("AdaptiveAvgPool1d", (3,)), (7, 2)),
        (nn.AdaptiveAvgPool2d((3, 2)), ("AdaptiveAvgPool2d", ((3, 2),)), (7, 6, 2)),
        (nn.AdaptiveMaxPool2d(3), ("AdaptiveMaxPool2d", (3,)), (7, 6, 2)),
    ],
)
def test_pools(torch, layer, theirs, shape):
    x = images(2, *shape)
    name, arguments = theirs
    expected = getattr(torch.nn, name)(*arguments)(torch.tensor(first(x)))
    np.testing.assert_allclose(build(layer, shape=shape).predict(x), last(expected.numpy()), rtol=1e-13)


def test_global_pools_and_norm_pool():
    x = images(2, 3, 4, 5)
    np.testing.assert_allclose(build(nn.GlobalAvgPool(), shape=x.shape[1:]).predict(x), x.mean((1, 2)), rtol=1e-13)
    np.testing.assert_array_equal(build(nn.GlobalMaxPool(), shape=x.shape[1:]).predict(x), x.max((1, 2)))
    pooled = build(nn.LPPool2d(2, (3, 4)), shape=x.shape[1:]).predict(x)
    np.testing.assert_allclose(pooled[:, 0, 0], np.sqrt((x**2).sum((1, 2))), rtol=1e-13)


def test_flatten_is_row_major():
    x = images(2, 3, 4, 5)
    np.testing.assert_array_equal(build(nn.Flatten(), shape=x.shape[1:]).predict(x), x.reshape(2, 60))


# Dropout


def test_dropout():
    net = nn.Sequential(nn.Dropout(0.25), nn.Linear(1, bias=False, weight="ones"))
    options = {"loss": nn.MSELoss(reduction="sum"), "optimizer": optim.SGD(1e-9), "backend": "reference"}
    model = net.build((4000,), seed=3, dtype="float64", **options)
    x, t = np.ones((2, 4000)), np.zeros((2, 1))
    np.testing.assert_array_equal(model.predict(x), [[4000.0], [4000.0]])
    _, gradients = model.gradients(x, t)
    # d loss / d w = 2 * sum over rows of prediction * dropped x: the mask is seen in it.
    seen = gradients["1.weight"][:, 0]
    assert len(np.unique(np.round(seen, 6))) == 4  # dropped in both rows, in one of them, in none
    share = (seen == 0).mean()
    assert 0.25**2 - 0.02 < share < 0.25**2 + 0.02
    again = net.build((4000,), seed=3, threads=2, dtype="float64", **options)
    np.testing.assert_array_equal(again.gradients(x, t)[1]["1.weight"], gradients["1.weight"])
    other = net.build((4000,), seed=4, dtype="float64", **options)
    assert not np.array_equal(other.gradients(x, t)[1]["1.weight"], gradients["1.weight"])
    model.train_step(x, t)
    assert not np.array_equal(model.gradients(x, t)[1]["1.weight"], gradients["1.weight"])


def test_dropout_of_nothing_is_nothing():
    x = images(2, 5)
    model = build(nn.Dropout(0.0), nn.Linear(2), shape=(5,), loss=nn.MSELoss())
    t = np.zeros((2, 2))
    assert model.gradients(x, t)[0] == pytest.approx((model.predict(x) ** 2).mean(), rel=1e-14)


# Branches


def test_graph_with_branches():
    x = nn.Input((3, 4))
    left = nn.Linear(5)(x)
    right = nn.Tanh()(nn.Linear(5)(x))
    model = nn.Graph(x, nn.Concat()(left + right, left, x)).build(dtype="float64", backend="reference")
    given = images(2, 3, 4)
    get = model.parameters
    assert list(get) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    a = given @ get["0.weight"] + get["0.bias"]
    b = np.tanh(given @ get["1.weight"] + get["1.bias"])
    np.testing.assert_allclose(model.predict(given), np.concatenate([a + b, a, given], -1), rtol=1e-12)


def test_networks_inside_networks():
    x = nn.Input()
    block = nn.Graph(x, nn.ReLU()(nn.Linear(4)(x)) + x)
    net = nn.Sequential(nn.Linear(4), nn.Sequential(block, nn.Tanh()), nn.Linear(2))
    model = net.build((3,), dtype="float64", backend="reference")
    names = ["0.weight", "0.bias", "1.0.0.weight", "1.0.0.bias", "2.weight", "2.bias"]
    assert list(model.parameters) == names
    get, given = model.parameters, images(2, 3)
    h = given @ get["0.weight"] + get["0.bias"]
    h = np.tanh(np.maximum(h @ get["1.0.0.weight"] + get["1.0.0.bias"], 0) + h)
    np.testing.assert_allclose(model.predict(given), h @ get["2.weight"] + get["2.bias"], rtol=1e-12)
    y = nn.Input()
    applied = nn.Graph(y, net(y)).build((3,), backend="reference")
    assert list(applied.parameters) == [f"0.{name}" for name in names]


# The user's equation


def test_equation_layer_is_the_convolution():
    text = "z[n,i,j,k] = sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]"
    extents = {"s": 3, "t": 3, "k": 5}
    mine = build(nn.EquationLayer(text, extents, {"w": "he_normal"}), shape=(7, 6, 2), loss=nn.MSELoss())
    built_in = build(nn.Conv2d(5, 3, bias=False, weight="he_normal"), shape=(7, 6, 2), loss=nn.MSELoss())
    assert mine.parameters["0.w"].shape == (3, 3, 2, 5)
    built_in.load_parameters({"0.weight": mine.parameters["0.w"]})
    x, t = images(2, 7, 6, 2), images(2, 5, 4, 5)
    np.testing.assert_allclose(mine.predict(x), built_in.predict(x), rtol=1e-13)
    np.testing.assert_allclose(
        mine.gradients(x, t)[1]["0.w"], built_in.gradients(x, t)[1]["0.weight"], rtol=1e-12, atol=1e-15
    )


def test_equation_layer_of_several_equations():
    text = "total[n] = sum(k) x[n,k] ** 2\nz[n,k] = scale[k] * x[n,k] / sqrt(total[n] + eps) + shift"
    layer = nn.EquationLayer(text, parameters={"scale": "ones", "shift": "zeros"}, constants={"eps": 1e-3})
    model = build(layer, shape=(4,))
    assert {name: array.shape for name, array in model.parameters.items()} == {"0.scale": (4,), "0.shift": ()}
    model.load_parameters({"0.scale": np.arange(4.0), "0.shift": np.array(2.0)})
    x = images(3, 4)
    expected = np.arange(4.0) * x / np.sqrt((x**2).sum(-1, keepdims=True) + 1e-3) + 2
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-13)


def test_equation_layer_across_the_batch():
    """An equation may mix the rows of a batch: then no row is added, and none is predicted apart."""
    model = build(nn.EquationLayer("z[n,k] = x[n,k] - (sum(m) x[m,k])"), shape=(2,))
    x = images(5, 2)
    np.testing.assert_allclose(model.predict(x), x - x.sum(0), rtol=1e-13)


def test_equation_layer_fans():
    """He's variance for `s*t*c` products; Glorot's for their mean with `s*t*k`."""
    text = "z[n,i,j,k] = sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]"
    layer = nn.EquationLayer(text, {"s": 3, "t": 3, "k": 64}, {"w": "glorot_normal"})
    (parameter,) = layer.stage((2, 8, 8, 16)).parameters
    assert (parameter.fan_in, parameter.fan_out) == (3 * 3 * 16, 3 * 3 * 64)


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (
            lambda: nn.EquationLayer("z[n] = x[n]", {"k": 3}),
            ArgumentError,
            "`extents` gives 'k', which is no index of 'z[n] = x[n]'",
        ),
        (
            lambda: nn.EquationLayer("z[n] = x[n]", parameters={"w": "zeros"}),
            ArgumentError,
            "`parameters` gives 'w', which 'z[n] = x[n]' does not read",
        ),
        (
            lambda: nn.EquationLayer("z[n] = x[n] * w[n]", parameters={"w": "he_norml"}),
            ArgumentError,
            "no initialiser is called 'he_norml'; did you mean 'he_normal'?",
        ),
        (
            lambda: build(nn.EquationLayer("z[n,k] = x[n,k] * a"), shape=(2,)),
            ArgumentError,
            "layer 0 (EquationLayer): `a` is neither an index, a constant nor a parameter; "
            "give it in `constants` or `parameters`",
        ),
        (
            lambda: build(nn.EquationLayer("z[n,k] = x[n,k] * y[n,k]"), shape=(2,)),
            ArgumentError,
            "layer 0 (EquationLayer): the equation reads x, y; 1 inputs are given",
        ),
    ],
)
def test_equation_layer_errors(make, kind, message):
    with pytest.raises(kind) as raised:
        make()
    assert str(raised.value) == message


def test_equation_layer_needs_an_equation():
    with pytest.raises(EquationError):
        nn.EquationLayer("z[n] = x[n")


# Errors of building


def one_layer_graph(features):
    x = nn.Input((features,))
    return nn.Graph(x, nn.ReLU()(x))


@pytest.mark.parametrize(
    ("act", "kind", "message"),
    [
        (nn.Sequential, ArgumentError, "Sequential needs at least 1 layer"),
        (lambda: nn.Sequential(nn.ReLU), ArgumentError, "layer 0 is the class ReLU; write ReLU(...)"),
        (
            lambda: nn.Sequential(nn.ReLU(), np.tanh),
            ArgumentError,
            "layer 1 (ufunc) is no layer: it has no `stage`",
        ),
        (
            lambda: nn.ReLU()(np.zeros(3)),
            ArgumentError,
            "a layer is applied to symbols (see `Input`), not to ndarray; "
            "a built model takes arrays: net.build(...).predict(x)",
        ),
        (lambda: nn.Input((3, 0)), ShapeError, "`shape` (=(3, 0)) must be a tuple of whole numbers of at least 1"),
        (
            lambda: nn.Graph(nn.Input((3,)), nn.ReLU()(nn.Input((3,)))).build(),
            ArgumentError,
            "`output` depends on an Input of shape (3,) that is not the Graph's `input`",
        ),
        (
            lambda: build(nn.Conv2d(4, 3, groups=2), shape=(5, 5, 3)),
            ArgumentError,
            "layer 0 (Conv2d): `in_channels` (=3) must be divisible by `groups` (=2)",
        ),
        (
            lambda: build(nn.Linear(0), shape=(3,)),
            ArgumentError,
            "layer 0 (Linear): `features` (=0) must be at least 1",
        ),
        (
            lambda: build(nn.ReLU(), nn.BatchNorm2d(), shape=(3,)),
            ShapeError,
            "layer 1 (BatchNorm2d): BatchNorm2d takes 4 axes; its input has shape (2, 3)",
        ),
        (
            lambda: build(nn.MaxPool2d(2), shape=(4, 4)),
            ShapeError,
            "layer 0 (MaxPool2d): MaxPool2d takes (batch, 2 spatial, channels), 4 axes; its input has shape (2, 4, 4)",
        ),
        (lambda: nn.Dropout(1.0), ArgumentError, "`p` (=1.0) must be at least 0 and below 1"),
        (
            lambda: build(nn.ReLU(), shape=(0,)),
            ShapeError,
            "`input_shape` (=(0,)) must be a tuple of whole numbers of at least 1",
        ),
        (
            lambda: build(nn.ReLU(), shape=(3,), threads=0),
            ArgumentError,
            "`threads` (=0) must be a whole number of at least 1",
        ),
        (
            lambda: build(nn.ReLU(), shape=(3,), seed=-1),
            ArgumentError,
            "`seed` (=-1) must be a whole number of at least 0",
        ),
        (
            lambda: build(nn.ReLU(), shape=(3,), loss=nn.MSELoss(reduction="none")),
            ArgumentError,
            "`loss` has reduction='none': a network is trained on one number, 'mean' or 'sum'",
        ),
        (
            lambda: build(nn.ReLU(), shape=(3,), optimizer=optim.SGD(0.1)),
            ArgumentError,
            "`optimizer` and `regularizer` need a `loss`",
        ),
        (
            lambda: one_layer_graph(3).build((4,)),
            ShapeError,
            "`input_shape` (=(4,)) is not the shape of the graph's Input, (3,)",
        ),
        (lambda: nn.resnet(depth=19), ArgumentError, "`depth` (=19) must be one of 10, 18, 34"),
    ],
)
def test_errors(act, kind, message):
    with pytest.raises(kind) as raised:
        act()
    assert str(raised.value) == message


def test_kernel_larger_than_the_image():
    with pytest.raises(PellucidError, match=r"^layer 1 \(Conv2d\): "):
        build(nn.ReLU(), nn.Conv2d(4, 9), shape=(5, 5, 3))
