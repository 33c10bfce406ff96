"""Trainings that are killed, stopped, or meet a disk that fails, and go on to the bits of one that was not."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pellucid.errors import ArgumentError, DataError, StorageError, TrainingError
from pellucid.exchange import atomic
from pellucid.train import Callback, fit, load_digits, resume
from pellucid.train.run.signals import Interruption
from train.run.small import results, save_npz, train

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_npz(tmp_path_factory.mktemp("data") / "digits.npz")


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing disturbed."""
    runs = tmp_path_factory.mktemp("runs")
    train(source, runs, "whole")
    return runs / "whole"


@pytest.mark.long
def test_a_hundred_kills(source: Path, tmp_path: Path):
    script = Path(__file__).parent / "killed.py"
    done = subprocess.run(
        [sys.executable, script, source, tmp_path, "100"], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("100 kills in ")


class At(Callback):
    """Does something behind a step."""

    def __init__(self, epoch: int, step: int, act: Callable[[], object]) -> None:
        self._when, self._act = (epoch, step), act
        self.messages: list[str] = []

    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        if (epoch, step) == self._when:
            self._act()

    def on_message(self, text: str) -> None:
        self.messages.append(text)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("step", "where"), [(4, "epoch 2, step 4"), (9, "the end of epoch 2")])
def test_a_signal_finishes_the_step_saves_and_ends(
    source: Path, whole: Path, tmp_path: Path, number: signal.Signals, step: int, where: str
):
    before = signal.getsignal(number)
    with pytest.raises(Interruption) as caught:
        train(source, tmp_path, "run", At(2, step, lambda: os.kill(os.getpid(), number)))
    assert str(caught.value) == (
        f"stopped by {number.name} after {where}; all is saved: go on with `pellucid resume {tmp_path / 'run'}`"
    )
    assert caught.value.signal_number == number
    assert signal.getsignal(number) is before
    watch = At(0, 0, lambda: None)
    resume(tmp_path / "run", callbacks=[watch])
    assert f"going on from {where}" in watch.messages
    assert results(tmp_path / "run") == results(whole)


def test_a_second_interrupt_does_not_wait(source: Path, tmp_path: Path):
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)

    with pytest.raises(KeyboardInterrupt) as caught:
        train(source, tmp_path, "run", At(1, 2, twice))
    assert not isinstance(caught.value, Interruption)


def test_threads_may_change_on_the_way(source: Path, whole: Path, tmp_path: Path):
    with pytest.raises(Interruption):
        train(source, tmp_path, "run", At(3, 1, lambda: os.kill(os.getpid(), signal.SIGTERM)), threads=3)
    resume(tmp_path / "run", threads=2)
    assert results(tmp_path / "run") == results(whole)


def test_another_version_or_processor_is_said(stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from pellucid.train import session

    shutil.copytree(stopped, tmp_path / "run")
    here = session.made_by()
    assert re.fullmatch(r"pellucid \d+\.\d+\.\d+ for [\w-]+", here)
    monkeypatch.setattr(session, "made_by", lambda: "pellucid 99 for another")
    watch = At(0, 0, lambda: None)
    resume(tmp_path / "run", callbacks=[watch])
    said = f"the bits will be others: the checkpoint was made by {here}, this is pellucid 99 for another"
    assert said in watch.messages


def test_a_finished_training_stays_as_it_is(whole: Path, tmp_path: Path):
    shutil.copytree(whole, tmp_path / "run")
    history = resume(tmp_path / "run")
    assert len(history.epochs) == 4
    assert results(tmp_path / "run") == results(whole)


def test_more_epochs_than_were_asked(source: Path, tmp_path: Path):
    train(source, tmp_path, "long", schedule="constant", epochs=6)
    train(source, tmp_path, "short", schedule="constant", epochs=2)
    history = resume(tmp_path / "short", epochs=6)
    assert len(history.epochs) == 6
    assert results(tmp_path / "short") == results(tmp_path / "long")
    assert "epochs = 6" in (tmp_path / "short" / "config.toml").read_text()


class Failing:
    """The calls of the system that files are written with, of which the k-th fails."""

    def __init__(self, fails_at: int, error: int = errno.ENOSPC) -> None:
        self._left, self._error, self.calls = fails_at, error, 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in ("open", "write", "fsync", "replace"):
            return real

        def call(*arguments: Any) -> Any:
            self.calls += 1
            if self.calls == self._left:
                if name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                raise OSError(self._error, os.strerror(self._error))
            return real(*arguments)

        return call


@pytest.mark.long
def test_a_write_error_at_every_place(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(
        sys.modules, "matplotlib", None
    )  # its drawings take most of the time, and are files like others
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    train(source, tmp_path, "whole", epochs=2, checkpoint_minutes=5.0)
    expected = results(tmp_path / "whole")
    # Checkpoints by the clock would make the calls another number each time.
    counted = Failing(0)
    monkeypatch.setattr(atomic, "os", counted)
    train(source, tmp_path, "counted", epochs=2, checkpoint_minutes=5.0)
    assert counted.calls > 60
    for number in range(1, counted.calls + 1):
        path = tmp_path / f"run{number}"
        monkeypatch.setattr(atomic, "os", Failing(number))
        with pytest.raises(StorageError) as caught:
            train(source, tmp_path, path.name, epochs=2, checkpoint_minutes=5.0)
        assert re.match(rf"{re.escape(str(path))}.*: cannot be written: No space left on device", str(caught.value))
        if (path / "best" / "config.json").exists():
            pattern = r"; (no checkpoint is kept yet|the checkpoint of .* is good): `pellucid resume .*` goes on$"
            assert re.search(pattern, str(caught.value))
        monkeypatch.setattr(atomic, "os", os)
        if (path / "config.toml").exists():
            resume(path)
        else:
            train(source, tmp_path, path.name, epochs=2, checkpoint_minutes=5.0)
        assert results(path) == expected, f"write {number}"
        shutil.rmtree(path)


def test_a_disk_that_is_full(source: Path, tmp_path: Path):
    """A limit of the system on the size of files, which every write meets, not one that a test made up."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))

    try:
        with pytest.raises(StorageError) as caught:
            train(source, tmp_path, "run", At(2, 1, fill), checkpoint_minutes=5.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"{tmp_path / 'run' / 'checkpoint.safetensors'}: cannot be written: File too")
    assert "; the checkpoint of the end of epoch 1 is good: " in str(caught.value)
    resume(tmp_path / "run")
    train(source, tmp_path, "whole", checkpoint_minutes=5.0)
    assert results(tmp_path / "run") == results(tmp_path / "whole")


@pytest.fixture(scope="module")
def stopped(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was stopped in its third epoch."""
    runs = tmp_path_factory.mktemp("stopped")
    with pytest.raises(Interruption):
        train(source, runs, "run", At(3, 2, lambda: os.kill(os.getpid(), signal.SIGTERM)), checkpoint_minutes=5.0)
    return runs / "run"


def damages(content: bytes) -> dict[str, bytes]:
    random = np.random.default_rng(0)
    found = {f"cut to {size}": content[:size] for size in (0, 1, 7, 8, 100, len(content) // 2, len(content) - 1)}
    for place in [*range(0, 40, 3), *random.integers(0, len(content), 12).tolist()]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        found[f"bit flipped in byte {place}"] = bytes(flipped)
    return {**found, "longer": content + b"\0", "zeros": bytes(len(content)), "noise": random.bytes(len(content))}


def test_a_damaged_checkpoint_leaves_the_one_before(stopped: Path, tmp_path: Path):
    from pellucid.train.run.checkpoint import load_checkpoint

    shutil.copytree(stopped, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.safetensors"
    for name, content in damages(path.read_bytes()).items():
        path.write_bytes(content)
        loaded = load_checkpoint(tmp_path / "run")
        assert loaded is not None
        assert loaded.warning is not None, name
        assert loaded.warning.startswith(f"{path}: is damaged: "), name
        assert loaded.warning.endswith("; going on from the one before, the end of epoch 2")


def test_after_damage_the_same_bits_come(stopped: Path, whole: Path, tmp_path: Path):
    shutil.copytree(stopped, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    watch = At(0, 0, lambda: None)
    resume(tmp_path / "run", callbacks=[watch])
    assert any("is damaged" in message for message in watch.messages)
    assert {**results(tmp_path / "run"), "table": b""} == {**results(whole), "table": b""}


def test_both_checkpoints_damaged(stopped: Path, tmp_path: Path):
    shutil.copytree(stopped, tmp_path / "run")
    for path in (tmp_path / "run").glob("checkpoint*"):
        path.write_bytes(b"x")
    with pytest.raises(
        DataError, match=r"checkpoint\.safetensors: is damaged: .*; .*previous\.safetensors: is damaged"
    ):
        resume(tmp_path / "run")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 3", "seed = 4", "{run}/config.toml: `seed` is 4, the checkpoint was made with 3: change it back, or "
         "train anew under another name"),
        ('model = "lenet5"', 'model = "vgg"', "{run}/config.toml: `model` is 'vgg', the checkpoint was made with "
         "'lenet5': change it back, or train anew under another name"),
        ("seed = 3", "sead = 3", "{run}/config.toml: there is no setting 'sead'; did you mean 'seed'?"),
        ("seed = 3", "seed = ", None),
    ],
)  # fmt: skip
def test_a_changed_config(stopped: Path, tmp_path: Path, old: str, new: str, message: str | None):
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    text = (run / "config.toml").read_text()
    assert old in text
    (run / "config.toml").write_text(text.replace(old, new))
    with pytest.raises(ArgumentError) as caught:
        resume(run)
    if message is not None:
        assert str(caught.value) == message.format(run=run)


def test_changed_architecture(stopped: Path, tmp_path: Path):
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    config = run / "last" / "config.json"
    config.write_text(config.read_text().replace('"k": ', '"k": 1', 1).replace('"PH": 2', '"PH": 1', 1))
    with pytest.raises(ArgumentError) as caught:
        resume(run)
    assert str(caught.value) == f"{config}: `layers` is not that of the checkpoint: the network was changed"


def test_no_run_folder(tmp_path: Path):
    with pytest.raises(ArgumentError) as caught:
        resume(tmp_path)
    assert str(caught.value) == f"{tmp_path}: is no run folder: it has no config.toml"


def test_a_name_that_is_taken(whole: Path, source: Path):
    with pytest.raises(ArgumentError) as caught:
        train(source, whole.parent, "whole")
    assert str(caught.value) == (
        f"{whole}: there is a run of that name; go on with it by `pellucid resume {whole}`, or choose another `name`"
    )


def test_two_at_once(stopped: Path, tmp_path: Path):
    from pellucid.train.run.folder import existing_run

    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    with existing_run(run), pytest.raises(ArgumentError) as caught:
        resume(run)
    assert str(caught.value) == f"{run}: another process is training in this folder"


def test_arrays_in_memory_are_given_again(tmp_path: Path, whole: Path):
    digits = load_digits()
    data = type(digits)(
        digits.train.take(np.arange(150)), digits.test.take(np.arange(50)), digits.class_names
    ).with_validation(0.2)
    options = {"epochs": 2, "batch_size": 16, "runs": tmp_path, "threads": 1}
    fit("lenet5", data, name="whole", **options)
    with pytest.raises(Interruption):
        fit("lenet5", data, name="run", callbacks=[At(2, 3, lambda: os.kill(os.getpid(), signal.SIGINT))], **options)
    with pytest.raises(ArgumentError) as caught:
        resume(tmp_path / "run")
    path = str(tmp_path / "run")
    assert str(caught.value) == f"{path}: was trained on arrays: `pellucid.train.resume({path!r}, data=...)`"
    other = type(data)(data.train.take(np.arange(100)), data.test, data.class_names, data.validation)
    with pytest.raises(DataError) as caught_other:
        resume(tmp_path / "run", data=other)
    assert str(caught_other.value) == f"{path}: the data is not what the checkpoint was trained on"
    resume(tmp_path / "run", data=data)
    assert results(tmp_path / "run") == results(tmp_path / "whole")


def test_a_loss_that_is_not_finite_names_the_last_good_checkpoint(source: Path, tmp_path: Path):
    with pytest.raises(TrainingError) as caught:
        train(source, tmp_path, "run", lr=1e18, optimizer="sgd", schedule="constant")
    assert re.search(r"in step \d+: .*layer", str(caught.value)), str(caught.value)
    assert str(caught.value).endswith(
        f"; the last good checkpoint is that of the beginning, {tmp_path / 'run' / 'last'} has the model of the last "
        "whole epoch; try a lower learning rate or `clip_norm`"
    )
