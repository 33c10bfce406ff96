"""Pictures read from files: the same bytes for every number of threads and size of the cache; broken ones named."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from pellucid.errors import ArgumentError, DataError
from pellucid.train.data import files
from pellucid.train.data.decode import PictureForm, decode
from pellucid.train.data.files import FilePixels, available_memory
from train.data.made import encoded, photograph, write

FORM = PictureForm(10, 12, 3)


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    found = [str(tmp_path / f"{number}.png") for number in range(30)]
    for seed, path in enumerate(found):
        write(path, encoded(photograph(seed, 20, 20)))
    return found


@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("cache_bytes", [0, 360 * 11, None])
def test_what_is_read_depends_on_neither_threads_nor_cache(paths: list[str], threads: int, cache_bytes: int | None):
    expected = np.stack([decode(Path(path).read_bytes(), FORM, path) for path in paths])
    pixels = FilePixels(paths, FORM, threads, cache_bytes)
    assert pixels.shape == (30, 10, 12, 3)
    random = np.random.default_rng(0)
    for count in (1, 4, 30, 0, 30):
        numbers = random.integers(0, 30, count)
        read = pixels.read(numbers)
        np.testing.assert_array_equal(read, expected[numbers])
        read[:] = 0  # it is the caller's own
    pixels.read(np.arange(30))
    assert pixels.bytes_to_come == 0  # all that is ever kept is kept
    assert pixels.kept == {0: 0, 360 * 11: 11, None: 30}[cache_bytes]


def test_small_sets_are_decoded_once_and_others_stream(paths: list[str], monkeypatch: pytest.MonkeyPatch):
    decoded = list[str]()

    def counting(content: bytes, form: PictureForm, name: str) -> np.ndarray:
        decoded.append(name)
        return decode(content, form, name)

    monkeypatch.setattr(files, "decode", counting)
    pixels = FilePixels(paths, FORM, 2, 360 * 20)
    for _ in range(3):
        pixels.read(np.arange(30)[::-1])
    assert sorted(decoded) == sorted(paths[:20] + 3 * paths[20:])


def test_a_file_that_breaks_later_is_named(paths: list[str]):
    pixels = FilePixels(paths, FORM, 3, 0)
    write(paths[8], b"no picture")
    Path(paths[9]).unlink()
    with pytest.raises(DataError) as caught:
        pixels.read(np.array([3, 9, 8, 5]))
    assert str(caught.value) == f"{paths[9]}: cannot be read: No such file or directory"
    with pytest.raises(DataError) as caught:
        pixels.read(np.array([8, 9]))
    assert str(caught.value) == (
        f"{paths[8]}: is no picture of a format that is read (PNG, JPEG, WEBP, BMP, GIF, TIFF)"
    )
    np.testing.assert_array_equal(pixels.read(np.array([1])).shape, (1, 10, 12, 3))


def test_several_threads_read_at_once_and_none_stays(paths: list[str]):
    expected = FilePixels(paths, FORM, 1, 0).read(np.arange(30))
    pixels = FilePixels(paths, FORM, 2, 360 * 15)
    wrong = list[int]()

    def read(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(10):
            numbers = random.integers(0, 30, 8)
            if not np.array_equal(pixels.read(numbers), expected[numbers]):
                wrong.append(seed)

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert not wrong
    assert not [thread for thread in threading.enumerate() if "pellucid" in thread.name]


def test_a_fork_reads_and_the_interpreter_ends(paths: list[str]):
    script = """
import os, sys, numpy as np
from pellucid.train.data.decode import PictureForm
from pellucid.train.data.files import FilePixels
pixels = FilePixels(sys.argv[1:], PictureForm(10, 12, 3), 2, 0)
first = pixels.read(np.arange(30))
child = os.fork()
same = np.array_equal(pixels.read(np.arange(30)), first)
if child == 0:
    os._exit(0 if same else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 and same
"""
    subprocess.run([sys.executable, "-c", script, *paths], check=True, timeout=60, env={**os.environ})


def test_arguments(paths: list[str]):
    with pytest.raises(ArgumentError) as caught:
        FilePixels(paths, FORM, 0)
    assert str(caught.value) == "`threads` (=0) must be at least 1"
    with pytest.raises(ArgumentError) as caught:
        FilePixels(paths, FORM, 1, -1)
    assert str(caught.value) == "`cache_bytes` (=-1) must be at least 0"


def test_the_cache_takes_a_quarter_of_what_is_free(paths: list[str], monkeypatch: pytest.MonkeyPatch):
    assert 1 << 20 < available_memory() < 1 << 50
    monkeypatch.setattr(files, "available_memory", lambda: 4 * 360 * 7)
    pixels = FilePixels(paths, FORM, 1)
    pixels.read(np.arange(30))
    assert pixels.kept == 7
