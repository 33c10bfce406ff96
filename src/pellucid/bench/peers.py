"""Other packages that ours is held against. None is needed to run ours; each is loaded when it is asked for."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any

from pellucid.errors import ArgumentError

__all__ = ["INSTALL", "keep_freed_memory", "load", "set_threads"]

# How each is installed: what a message says where it is missing.
INSTALL: Mapping[str, str] = MappingProxyType(
    {
        "torch": "pip install torch==2.13.0",
        "onnxruntime": "pip install onnxruntime onnx",
        "onnx": "pip install onnxruntime onnx",
        "jax": "pip install jax",
        "matplotlib": "pip install matplotlib",
    }
)


def load(name: str) -> Any:
    """The package `name` of `INSTALL`, or a module in it; ArgumentError with pip's line where it is missing."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ArgumentError(f"`{package}` cannot be imported ({error}): {INSTALL[package]}") from error


def set_threads(peers: Sequence[str], threads: int) -> None:
    """Makes the peers that have one setting for the process use so many threads; loads them.

    JAX has none: it makes a thread for each core that the process may use when it starts, so the process is held to
    `threads` cores before that, for good.
    """
    if "jax" in peers:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        if len(cores) < threads:
            raise ArgumentError(f"`--threads` (={threads}) is more than the {len(cores)} cores that JAX can be held to")
        os.sched_setaffinity(0, cores[:threads])
        load("jax")
    if "torch" in peers:
        load("torch").set_num_threads(threads)


def keep_freed_memory() -> None:
    """Has the C library keep memory that is freed, where it can be told to (glibc), for the whole process and for good:
    a peer that allocates each of its results anew does not pay for fresh pages, which cost more than what it computes.
    """
    if platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold = -1, -3
        library = ctypes.CDLL(None)
        library.mallopt(trim_threshold, 2**31 - 1)
        library.mallopt(mmap_threshold, 2**30)
