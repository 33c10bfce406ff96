"""The benchmarks of whole networks: layouts, translations, verification of steps and predictions."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest

from pellucid import nn
from pellucid.bench import infer, networks, step, turns
from pellucid.bench.networks import NETWORKS, Named, batch_for, peer_array, plain, steps_of, work_of
from pellucid.bench.onnx_network import onnx_model, onnx_prediction
from pellucid.bench.torch_network import FORMATS, TorchNetwork
from pellucid.bench.turns import Turns
from pellucid.errors import ArgumentError, VerificationError


def residual() -> nn.Graph:
    x = nn.Input()
    h = nn.ReLU()(nn.BatchNorm2d()(nn.Conv2d(8, 3, stride=2, padding=1, bias=False)(x)))
    y = nn.ReLU()(nn.BatchNorm2d()(nn.Conv2d(8, 3, padding="same", bias=False)(h)) + h)
    return nn.Graph(x, nn.Linear(4)(nn.GlobalAvgPool()(y)))


def chain() -> nn.Sequential:
    layers = (nn.Conv2d(6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5), nn.ReLU())
    return nn.Sequential(*layers, nn.Linear(4))


SMALL = {"chain": Named(chain, (6, 8, 3), 4), "residual": Named(residual, (9, 8, 3), 4)}
RECURRENT = {
    "rnn": Named(lambda: nn.Sequential(nn.RNN(6, nonlinearity="relu", output="last"), nn.Linear(4)), (5, 3), 4),
    "lstm": Named(lambda: nn.Sequential(nn.LSTM(6, num_layers=2), nn.Flatten(), nn.Linear(4)), (5, 3), 4),
    "gru": Named(lambda: nn.Sequential(nn.GRU(6, output="last"), nn.Linear(4)), (5, 3), 4),
}
EVERY = {**SMALL, **RECURRENT}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch):
    cases = {name: step.Case(name, 4) for name in EVERY}
    monkeypatch.setattr(step, "NETWORKS", EVERY)
    monkeypatch.setattr(step, "CASES", cases)
    monkeypatch.setattr(infer, "CASES", cases)
    for room in (step, infer):
        monkeypatch.setattr(room, "TURN", 1e-6)
    monkeypatch.setattr(turns, "peak_limit", lambda _: lambda _: 1e9)


@pytest.mark.parametrize(
    ("name", "parameters", "multiply_adds"),
    [
        ("lenet5", 61_706, 416_520),  # 28x28x6x25 + 10x10x16x150 + 400x120 + 120x84 + 84x10
        ("resnet50", 25_557_032, 4_089_184_256),  # as published for the layout with strides in 3x3 convolutions
        ("rnn128", 21_386, 560_384),  # 28 steps of 28x128 + 128x128, and 128x10
        ("lstm128", 81_674, 2_237_696),  # four gates
        ("gru128", 61_962, 1_678_592),  # three gates, each with two biases
    ],
)
def test_size_and_work_of_the_ready_layouts(name: str, parameters: int, multiply_adds: int):
    named = NETWORKS[name]
    model = named.make().build(named.shape)
    trained = {key: value for key, value in model.parameters.items() if ".running_" not in key}
    assert sum(array.size for array in trained.values()) == parameters
    assert work_of(named, training=False) == 2 * multiply_adds


def test_work_of_a_step_leaves_out_the_gradient_of_the_images():
    first, second = 6 * 8 * 6 * 27, 3 * 4 * 6 * 5 + 5 * 4
    assert work_of(SMALL["chain"], training=True) == 2 * (3 * (first + second) - first)
    first, second = 5 * 3 * 18, 5 * 6 * 18 + 6 * 4
    assert work_of(RECURRENT["gru"], training=True) == 2 * (3 * (first + second) - first)


def test_layouts_of_the_other_networks():
    for name, convolutions, last in (("conv6", 6, 128), ("vgg16", 13, 512), ("resnet50", 53, 2048)):
        steps = steps_of(NETWORKS[name])
        channels = [entry.layer.channels for entry in steps if isinstance(entry.layer, nn.Conv2d)]
        assert (len(channels), channels[-1]) == (convolutions, last)
        assert steps[-1].shape == (NETWORKS[name].classes,)


def test_arrays_turn_to_channels_first():
    steps = steps_of(SMALL["chain"])
    kernel = np.arange(3 * 3 * 3 * 6).reshape(3, 3, 3, 6)
    assert peer_array(steps, "0.weight", kernel)[4, 2, 1, 0] == kernel[1, 0, 2, 4]
    dense = np.arange(3 * 4 * 6 * 5).reshape(3 * 4 * 6, 5)
    ours = (1 * 4 + 2) * 6 + 3  # row 1, column 2, channel 3 of maps of 3x4x6
    theirs = (3 * 3 + 1) * 4 + 2
    assert peer_array(steps, "4.weight", dense)[2, theirs] == dense[ours, 2]
    assert np.array_equal(peer_array(steps, "6.weight", dense), dense.T)
    assert np.array_equal(peer_array(steps, "0.bias", dense[0]), dense[0])


def test_away_from_kinks_only_the_shifts_of_norms_move():
    parameters = dict(step.built(SMALL["residual"], 1, "direct").parameters)
    moved = step.away_from_kinks(SMALL["residual"], parameters)
    changed = {name for name in parameters if not np.array_equal(moved[name], parameters[name])}
    assert changed == {"1.bias", "4.bias"}
    assert moved["1.bias"].tolist() == [4, -4] * 4


def test_gradients_read_off_a_step_are_those_of_the_model():
    model = step.built(SMALL["residual"], 1, "standard")
    x, t = batch_for(SMALL["residual"], 4)
    before = dict(model.parameters)
    loss, read = step.step_results(model, x, t)
    assert all(np.array_equal(model.parameters[name], before[name]) for name in before)
    meant_loss, meant = model.gradients(x, t)
    assert loss == pytest.approx(meant_loss, rel=1e-6)
    assert read.keys() == meant.keys()
    for name, gradient in meant.items():
        assert np.abs(read[name] - gradient).max() <= 1e-5 * np.abs(gradient).max() + 1e-9


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", EVERY)
def test_torch_network_computes_the_same_step(name: str, form: str):
    pytest.importorskip("torch")
    named = EVERY[name]
    model = named.make().build(named.shape, loss=nn.CrossEntropyLoss(), dtype="float64")
    x, t = batch_for(named, 4)
    loss, meant = model.gradients(x, t)
    network = TorchNetwork(named, dict(model.parameters), "float64", form)
    network.training(True)
    found_loss, found = network.loss_and_gradients(x, t)
    assert found_loss == pytest.approx(loss, rel=1e-12)
    steps = steps_of(named)
    for key, gradient in meant.items():
        assert np.allclose(found[key], peer_array(steps, key, gradient), rtol=1e-9, atol=1e-12), key


@pytest.mark.parametrize("name", EVERY)
def test_a_step_is_verified_and_has_a_row_for_every_accuracy(name: str):
    pytest.importorskip("torch")
    rows = list(step.measure([name], ["torch"], [1], 1))
    assert [row.which for row in rows] == ["step standard", "step fast"]
    assert all(row.ratio is not None and row.error is not None and row.error < 1e-4 for row in rows)


def test_a_wrong_step_is_not_timed(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torch")
    right = step.step_results

    def wrong(*arguments: object):
        loss, gradients = right(*arguments)
        return loss, {**gradients, "4.weight": gradients["4.weight"] * 1.06}

    monkeypatch.setattr(step, "step_results", wrong)
    monkeypatch.setattr(step, "worst_contest", None)
    message = (
        r"^a gradient of chain is wrong: 4\.weight differs by 0\.06 of its largest value; at most 0\.0005 is allowed$"
    )
    with pytest.raises(VerificationError, match=message):
        list(step.measure(["chain"], ["torch"], [1], 1))
    monkeypatch.setattr(step, "step_results", lambda *given: (right(*given)[0] * 1.001, right(*given)[1]))
    with pytest.raises(VerificationError, match=r"^the loss of chain is wrong: loss differs by 0\.001 of "):
        list(step.measure(["chain"], ["torch"], [1], 1))


def test_a_gradient_that_is_a_little_wrong_everywhere_is_refused():
    pytest.importorskip("torch")
    case = step.CASES["residual"]
    judge = step.judge_for(case, *batch_for(case.named, case.batch))
    model = step.built(case.named, 1, "standard")
    model.load_parameters(step.away_from_kinks(case.named, dict(model.parameters)))
    loss, gradients = step.step_results(model, judge.x, judge.t)
    assert step.verify("it", case.named, (loss, gradients), judge) < 1e-4
    right = gradients["3.weight"]
    wrong = right + 0.001 * np.sqrt(np.mean(right**2))
    assert np.abs(wrong - right).max() < step.TOLERANCE * np.abs(right).max()
    with pytest.raises(
        VerificationError, match=r"3\.weight differs by 0\.001 of its root mean square; at most 0\.0005"
    ):
        step.verify("it", case.named, (loss, {**gradients, "3.weight": wrong}), judge)


def test_a_shift_whose_gradient_cancels_is_measured_by_the_scale_beside_it():
    pytest.importorskip("torch")
    named = Named(residual, (9, 8, 3), 4)
    exact = {name: np.zeros(8) for name in ("1.bias", "4.bias")} | {f"{n}.weight": np.ones(8) for n in ("1", "4")}
    judge = step.Judge(np.zeros(0), np.zeros(0), 1.0, exact)
    assert step.verify("it", named, (1.0, {**exact, "4.bias": np.full(8, 1e-4)}), judge) == pytest.approx(1e-4)
    with pytest.raises(VerificationError, match=r"4\.bias differs by 0\.001 of its largest value"):
        step.verify("it", named, (1.0, {**exact, "4.bias": np.full(8, 1e-3)}), judge)


def test_images_for_which_rounding_would_decide():
    torch = pytest.importorskip("torch")
    layers = lambda: nn.Sequential(  # noqa: E731
        nn.Conv2d(1, 1, bias=False), nn.ReLU(), nn.MaxPool2d(2, stride=1), nn.Flatten(), nn.Linear(2)
    )
    named = Named(layers, (2, 3, 1), 2)
    parameters = {**named.make().build(named.shape).parameters, "0.weight": np.ones((1, 1, 1, 1), np.float32)}
    network = TorchNetwork(named, parameters, "float64")
    clear, near = [[5, 4, 3], [2, 1, 6]], 2.0**-20
    x = np.array(
        [
            clear,
            [[5, 4, 3], [2, -near, 6]],  # a kink
            [[-5, -4, -3], [-2, -1, -6]],  # nothing but zeros behind it
            [[5, 4, 5 + near], [1, 5, 1]],  # the largest of a window, and the next
        ],
        np.float32,
    )[..., None]
    assert network.undecided(x, 1e-5).tolist() == [1]
    assert network.undecided(x[2:], 1e-5).tolist() == [1]
    assert network.undecided(x, 1e-7).tolist() == [3]
    assert network.undecided(x[:3], 1e-7).tolist() == []
    assert torch.is_grad_enabled()


def test_the_judge_has_images_in_which_rounding_decides_nothing(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(step, "MARGIN", 0.01)
    monkeypatch.setattr(step, "NOISE", 0.05)
    case = step.CASES["chain"]
    x, t = batch_for(case.named, case.batch)
    judge = step.judge_for(case, x, t)
    changed = [not np.array_equal(a, b) for a, b in zip(judge.x, x, strict=True)]
    assert any(changed)
    assert not all(changed)
    assert np.abs(judge.x - x).max() < 1
    network = TorchNetwork(case.named, step.built(case.named, 1, "direct").parameters, "float64")
    assert network.undecided(x, 0.01).tolist()
    assert not network.undecided(judge.x, 0.01).tolist()


def test_only_the_best_format_of_the_peer_counts(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torch")
    found = iter([(1.0, 3.0), (1.2, 2.4)])

    def take_turns(*_: object, **__: object) -> Turns:
        ours, theirs = next(found)
        return Turns({"ours": ours, "peer": theirs}, best=ours, fraction=0.5)

    monkeypatch.setattr(turns, "take_turns", take_turns)
    (row,) = step.measure(["chain"], ["torch"], [1], 1, ["standard"])
    assert row.ratio == 2.4 / 1.2


@pytest.mark.parametrize("name", SMALL)
def test_onnx_runtime_predicts_the_same(name: str):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    named = SMALL[name]
    model = named.make().build(named.shape)
    parameters = infer.used_parameters(model.parameters)
    model.load_parameters(parameters)
    x, _ = batch_for(named, 3)
    found = onnx_prediction(onnx_model(named, parameters, 3), x, 1)()
    assert np.allclose(found, model.predict(x), rtol=1e-4, atol=1e-5)
    rows = list(infer.measure([name], ["onnxruntime"], [1], 1))
    assert [row.peer for row in rows] == ["onnxruntime"] * 2


def test_torch_predicts_the_same_and_a_wrong_prediction_is_not_timed(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torch")
    (row,) = infer.measure(["residual"], ["torch"], [1], 1, ["standard"])
    assert row.error is not None
    assert row.error < 1e-5
    monkeypatch.setattr(TorchNetwork, "images", lambda self, x: self._torch.from_numpy(x + 0.1).permute(0, 3, 1, 2))
    with pytest.raises(VerificationError, match=r"^residual is wrong: y differs by "):
        list(infer.measure(["residual"], ["torch"], [1], 1, ["standard"]))


def test_used_parameters_leave_weights_alone_and_norms_not():
    parameters = dict(step.built(SMALL["residual"], 1, "direct").parameters)
    used = infer.used_parameters(parameters)
    assert all(np.array_equal(used[name], array) == (array.ndim > 1) for name, array in parameters.items())
    assert all(used[name].min() > 0 for name in used if name.endswith("running_var"))


def test_a_layer_without_counterpart_is_named():
    named = Named(lambda: nn.Sequential(nn.Flatten(), nn.Sigmoid(), nn.Linear(4)), (4, 4, 1), 4)
    parameters = dict(named.make().build(named.shape).parameters)
    (sigmoid,) = (entry for entry in steps_of(named) if isinstance(entry.layer, nn.Sigmoid))
    with pytest.raises(ArgumentError) as caught:
        networks.windows_of(sigmoid)
    assert str(caught.value) == "layer 1 (Sigmoid) has no windows"
    if pytest.importorskip("torch"):
        with pytest.raises(ArgumentError, match=r"^layer 1 \(Sigmoid\) has no counterpart in PyTorch here$"):
            TorchNetwork(named, parameters).loss_and_gradients(*batch_for(named, 2))


@pytest.mark.parametrize("options", [{"bidirectional": True}, {"padding": 0.0}, {"truncate": 2}])
def test_recurrent_layers_without_counterpart(options: dict[str, object]):
    pytest.importorskip("torch")
    named = Named(lambda: nn.Sequential(nn.GRU(4, output="last", **options), nn.Linear(4)), (5, 3), 4)
    with pytest.raises(ArgumentError, match=r"^layer 0 \(GRU\) has no counterpart in PyTorch here$"):
        TorchNetwork(named, dict(named.make().build(named.shape).parameters))


def test_an_uneven_padding_is_refused_for_torch():
    pytest.importorskip("torch")
    uneven = Named(lambda: nn.Sequential(nn.Conv2d(2, 4, padding="same"), nn.Flatten(), nn.Linear(4)), (6, 6, 1), 4)
    with pytest.raises(ArgumentError, match=r"^layer 0 has another padding at its end: "):
        TorchNetwork(uneven, dict(uneven.make().build(uneven.shape).parameters))


def test_plain_networks_are_built_by_stages():
    named = replace(SMALL["chain"], make=lambda: plain(((1, 4), (2, 8)), 3), shape=(8, 8, 1))
    kinds = [type(entry.layer).__name__ for entry in steps_of(named)]
    convolution = ["Conv2d", "BatchNorm2d", "ReLU"]
    assert kinds == [*convolution, "MaxPool2d", *convolution * 2, "MaxPool2d", "Flatten", "Linear"]
    assert prod(steps_of(named)[-2].shape) == 2 * 2 * 8
