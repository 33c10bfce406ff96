"""The object cache: what is loaded, what is never loaded, and what happens where it cannot be used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest

from emit.planted import copy_program
from pellucid.emit import compile_program
from pellucid.emit.cache import ObjectCache, cache_folder, cache_use, clear_cache, entry_key
from pellucid.emit.compile import load_module

KEY = "0" * 64


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that is used from now on, and nothing in memory."""
    chosen = tmp_path / "cache"
    monkeypatch.setenv("PELLUCID_CACHE", str(chosen))
    load_module.cache_clear()
    return chosen


def compiled_copy_works() -> None:
    load_module.cache_clear()
    x, z = np.arange(78, dtype="float32").reshape(6, 13), np.zeros((6, 13), "float32")
    compile_program(copy_program()).call({"x": x, "z": z})
    np.testing.assert_array_equal(z, x)


def entry_of(folder: Path) -> Path:
    (entry,) = folder.glob("*.object")
    return entry


def test_an_object_is_kept_and_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled_copy_works()
    assert cache_use().entries == 1

    def refuse(*_: object) -> None:
        raise AssertionError("code was generated although the cache holds it")

    monkeypatch.setattr("pellucid.emit.compile._parsed", refuse)
    compiled_copy_works()


def test_the_folder_is_the_users_alone(folder: Path) -> None:
    compiled_copy_works()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:-20] + bytes(20),
        lambda content: b"pellucid-object 0" + content[17:],
        lambda content: content.replace(b"\n", b" ", 1),
        lambda _: b"",
    ],
    ids=["short", "overwritten", "other version", "no header", "empty"],
)
def test_a_damaged_entry_is_built_again(folder: Path, damage: object) -> None:
    compiled_copy_works()
    entry = entry_of(folder)
    content = entry.read_bytes()
    assert callable(damage)
    entry.write_bytes(damage(content))
    assert ObjectCache(folder).load(entry.stem) is None
    compiled_copy_works()
    assert entry.read_bytes() == content


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    compiled_copy_works()
    entry = entry_of(folder)
    elsewhere = tmp_path / "elsewhere"
    entry.rename(elsewhere)
    entry.symlink_to(elsewhere)
    assert ObjectCache(folder).load(entry.stem) is None


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722])
def test_a_folder_that_others_may_write_is_refused(folder: Path, mode: int) -> None:
    folder.mkdir()
    folder.chmod(mode)
    cache = ObjectCache(folder)
    assert cache.refusal() == f"{folder} can be written by other users"
    assert not cache.store(KEY, b"object")
    assert cache.load(KEY) is None
    compiled_copy_works()
    assert list(folder.iterdir()) == []


def test_another_users_folder_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ObjectCache(folder).store(KEY, b"object")
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert ObjectCache(folder).refusal() == f"{folder} belongs to another user"
    assert ObjectCache(folder).load(KEY) is None


def test_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PELLUCID_CACHE", str(tmp_path / "file" / "cache"))
    assert cache_use().refusal == f"{tmp_path}/file/cache cannot be made: Not a directory"
    compiled_copy_works()


def test_a_full_disk_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert not ObjectCache(folder).store(KEY, b"object")
    assert list(folder.iterdir()) == []
    compiled_copy_works()


def test_the_key_tells_parts_apart() -> None:
    keys = {entry_key(*parts) for parts in [("a", "b", "c"), ("ab", "", "c"), ("a", "bc", ""), ("a", "b", "d")]}
    assert len(keys) == 4


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PELLUCID_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert cache_folder() == Path("/shared/pellucid")
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache_folder() == Path("/home/someone/.cache/pellucid")
    monkeypatch.setenv("PELLUCID_CACHE", "/own")
    assert cache_folder() == Path("/own")


def test_clearing(folder: Path) -> None:
    compiled_copy_works()
    assert clear_cache() == 1
    assert cache_use().entries == 0
