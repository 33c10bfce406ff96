"""Damages ONNX models at random, for a bounded time, and keeps every file that is not refused as it should be.

    PYTHONPATH=src:tests python tools/fuzz_onnx.py --seconds 600 --seed 1 --findings found/

Each attempt is made of the seed and its number alone, so a finding can be made again: `--first N --attempts 1`. A file
must be read, or refused with an error of `pellucid.errors`, in a process of limited memory, in limited time; what is
read must keep the promises of `OnnxGraph`. With `--stage load` it is also loaded and run (where `pellucid.onnx` has
that). The exit status is 1 where there are findings: NUMBER.onnx with NUMBER.txt that says what went wrong.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message
from onnx import ModelProto

from exchange.onnx.reading.hostile import cases
from exchange.onnx.reading.models import REAL
from pellucid.errors import PellucidError
from pellucid.exchange.onnx.graph import OnnxGraph
from pellucid.exchange.onnx.reading import read

MEMORY = {"read": 512 << 20, "load": 2 << 30}
SECONDS = {"read": 2.0, "load": 20.0}  # of the processor; a process that says nothing for five times as long is ended
MOST_ELEMENTS = 1 << 18  # of an input that a model is run with
NUMBERS = (0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 1 << 16, (1 << 31) - 1, 1 << 31, -(1 << 31), 1 << 32, 1 << 62)
NUMBERS += ((1 << 63) - 1, -(1 << 63), 9999)


def models() -> list[bytes]:
    """What is damaged: real models, and those whose form is good."""
    return [make().SerializeToString() for make in REAL.values()] + [case.model for case in cases("load")]


def attempt(content: list[bytes], seed: int, number: int) -> bytes:
    """The damaged file of that number."""
    random = np.random.default_rng((seed, number))
    chosen = content[random.integers(len(REAL) if random.random() < 0.5 else len(content))]
    if random.random() < 0.3:
        return damaged_bytes(chosen, content, random)
    model = ModelProto.FromString(chosen)
    for _ in range(random.integers(1, 5)):
        change_message(model, random)
    changed = model.SerializePartialToString()
    return damaged_bytes(changed, content, random) if random.random() < 0.1 else changed


def damaged_bytes(chosen: bytes, others: list[bytes], random: np.random.Generator) -> bytes:
    """Flips, cuts, copies, numbers and pieces of other models."""
    damaged = bytearray(chosen)
    for _ in range(random.integers(1, 6)):
        place, end = sorted(int(value) for value in random.integers(0, len(damaged) + 1, 2))
        end = min(end, place + 64)
        kind = random.integers(6)
        if kind == 0 and place < len(damaged):
            damaged[place] ^= 1 << int(random.integers(8))
        elif kind == 1:
            del damaged[place:end]
        elif kind == 2:
            damaged[place:place] = damaged[place:end] * int(random.integers(1, 20))
        elif kind == 3:
            damaged[place:end] = random.bytes(end - place)
        elif kind == 4:
            damaged[place : place + 1] = (b"\xff" * int(random.integers(1, 12))) + b"\x01"
        else:
            other = others[random.integers(len(others))]
            start = int(random.integers(len(other)))
            damaged[place:end] = other[start : start + 64]
    return bytes(damaged)


def change_message(model: ModelProto, random: np.random.Generator) -> None:
    """One change of one field anywhere in the model; it stays protobuf."""
    messages: list[Message] = [model]
    for message in messages:  # grows while it is walked: no recursion
        for field, value in message.ListFields():
            if field.message_type is not None:
                messages.extend(value if field.is_repeated else [value])
    message: Any = messages[random.integers(len(messages))]
    fields = list(message.DESCRIPTOR.fields)
    present = [field for field, _ in message.ListFields()]
    field = (
        present[random.integers(len(present))]
        if present and random.random() < 0.8
        else fields[random.integers(len(fields))]
    )
    if not field.is_repeated:
        if random.random() < 0.15:
            message.ClearField(field.name)
        elif field.message_type is None:
            setattr(message, field.name, scalar(field, messages, random))
        else:
            same = [other for other in messages if other.DESCRIPTOR is field.message_type]
            if same:
                copied = type(same[0])()
                copied.CopyFrom(same[random.integers(len(same))])
                getattr(message, field.name).CopyFrom(copied)
        return
    values = getattr(message, field.name)
    kind = random.integers(5)
    if kind == 0 and len(values):
        del values[int(random.integers(len(values)))]
    elif field.message_type is not None:
        same = [other for other in messages if other.DESCRIPTOR is field.message_type]
        if kind == 1 and len(values) > 1:
            kept = list(values)
            random.shuffle(kept)  # type: ignore[arg-type]
            copies = [type(value).FromString(value.SerializePartialToString()) for value in kept]
            message.ClearField(field.name)
            values.extend(copies)
        elif same:
            copied = type(same[0])()
            copied.CopyFrom(same[random.integers(len(same))])
            values.append(copied)
    elif kind == 1 and len(values):
        values.extend(list(values) * int(random.integers(1, 4)))
    elif kind == 2 or not len(values):
        values.append(scalar(field, messages, random))
    else:
        values[int(random.integers(len(values)))] = scalar(field, messages, random)


def scalar(field: Any, messages: list[Message], random: np.random.Generator) -> Any:
    """A value for a field: often one that stands elsewhere in the model."""
    if field.enum_type is not None:
        numbers = [value.number for value in field.enum_type.values]
        return numbers[random.integers(len(numbers))]
    if field.type in (field.TYPE_STRING, field.TYPE_BYTES):
        texts = [
            entry
            for message in messages
            for other, value in message.ListFields()
            if other.type == field.type and other.message_type is None
            for entry in (value if other.is_repeated else [value])
        ]
        texts += [
            b"" if field.type == field.TYPE_BYTES else "",
            (b"n" if field.type == field.TYPE_BYTES else "n") * 5000,
        ]
        return texts[random.integers(len(texts))]
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return float(random.choice([0.0, -1.0, 1e38, np.nan, np.inf, 0.5]))
    number = NUMBERS[random.integers(len(NUMBERS))]
    if field.type in (field.TYPE_INT32, field.TYPE_UINT32):
        return max(-(1 << 31), min(number, (1 << 31) - 1))
    return abs(number) if field.type == field.TYPE_UINT64 else number


def check_promises(graph: OnnxGraph) -> None:
    """What everyone who takes a graph relies on."""
    known = {port.name for port in graph.inputs} | graph.initialisers.keys()
    assert len(known) == len(graph.inputs) + len(graph.initialisers), "names of inputs and initialisers"
    names: set[str] = set()
    for node in graph.nodes:
        assert node.name not in names, f"two nodes {node.name!r}"
        names.add(node.name)
        assert all(name in known for name in node.inputs if name), f"{node.title} reads what is not there yet"
        outputs = [name for name in node.outputs if name]
        assert not known.intersection(outputs), f"{node.title} makes what is there"
        assert len(set(outputs)) == len(outputs) > 0, f"{node.title} makes nothing, or a value twice"
        known.update(outputs)
    extents = [extent for port in (*graph.inputs, *graph.outputs) for extent in port.shape or ()]
    assert all(extent >= 0 for extent in extents if isinstance(extent, int)), "a negative extent"
    assert graph.outputs, "no outputs"
    assert all(port.name in known for port in graph.outputs), "an output that nothing makes"
    arrays = [*graph.initialisers.values(), *(value for node in graph.nodes for value in node.attributes.values())]
    for array in arrays:
        if isinstance(array, np.ndarray):
            assert array.flags.c_contiguous, "an array that is not contiguous"
            assert not array.flags.writeable, "an array that can be written"
            assert array.dtype.isnative, "an array of foreign bytes"


def loader() -> Callable[[bytes, OnnxGraph, Path], None]:
    """Loads a model that was read, and runs it where it has one input of floats."""
    load: Any = importlib.import_module("pellucid.onnx").load

    def run(content: bytes, graph: OnnxGraph, folder: Path) -> None:
        path = folder / "model.onnx"
        path.write_bytes(content)
        model = load(path)
        if len(graph.inputs) != 1 or graph.inputs[0].shape is None or graph.inputs[0].dtype != np.float32:
            return
        shape = [extent if isinstance(extent, int) else 2 for extent in graph.inputs[0].shape]
        elements = 1
        for extent in shape:
            elements *= extent
        if max([elements, *shape]) <= MOST_ELEMENTS:
            model.predict(np.ones(shape, np.float32))

    return run


def work(stage: str, seed: int) -> None:
    """The child: for each number on the standard input a line of JSON with what became of the attempt."""
    faulthandler.enable()
    content = models()
    run = loader() if stage == "load" else None
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY[stage]
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            made = attempt(content, seed, int(line))
            started = time.process_time()
            outcome, fault = "read", ""
            try:
                graph = read(made)
                check_promises(graph)
                if run is not None:
                    run(made, graph, Path(folder))
                    outcome = "loaded"
            except PellucidError as error:
                outcome = type(error).__name__
                fault = "" if len(str(error)) < 3000 else f"a message of {len(str(error)):,} characters"
            except Exception:  # the finding that this is for
                fault = traceback.format_exc()
            spent = time.process_time() - started
            if not fault and spent > SECONDS[stage]:
                fault = f"took {spent:.1f} s"
            print(json.dumps({"outcome": outcome, "fault": fault}), flush=True)


class Child:
    """A process that works through attempts; one that crashes or hangs is a finding, and is followed by another."""

    def __init__(self, stage: str, seed: int) -> None:
        self._patience = 5 * SECONDS[stage]
        self._command = [sys.executable, __file__, "--child", "--stage", stage, "--seed", str(seed)]
        self._process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tried(self, number: int) -> tuple[str, str]:
        """What became of an attempt, and what was wrong with that, or nothing."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            # The first answer of a process waits for its imports.
            told = process.stdout.readline() if selector.select(self._patience + 30) else ""
        if told:
            entry = json.loads(told)
            return entry["outcome"], entry["fault"]
        process.kill()
        status = process.wait()
        self._process = self._started()
        return "crash", f"the process ended with {status}" if status != -9 else "no answer, or no memory"

    def end(self) -> None:
        """No more attempts."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def main() -> int:
    """Attempts until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first attempt")
    parser.add_argument("--attempts", type=int, default=1 << 62)
    parser.add_argument("--stage", choices=sorted(SECONDS), default="read")
    parser.add_argument("--findings", type=Path, default=Path("findings"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        work(given.stage, given.seed)
        return 0
    if given.stage == "load":
        loader()  # tells where it is missing, once
    content, outcomes, found = models(), Counter[str](), 0
    until, number = time.monotonic() + given.seconds, given.first
    child = Child(given.stage, given.seed)
    while time.monotonic() < until and number < given.first + given.attempts:
        outcome, fault = child.tried(number)
        outcomes[outcome] += 1
        if fault:
            found += 1
            given.findings.mkdir(parents=True, exist_ok=True)
            (given.findings / f"{number}.onnx").write_bytes(attempt(content, given.seed, number))
            (given.findings / f"{number}.txt").write_text(f"seed {given.seed}\n{fault}\n", encoding="utf-8")
            print(f"attempt {number}: {fault.strip().splitlines()[-1]}", flush=True)
        number += 1
    child.end()
    told = ", ".join(f"{name} {count:,}" for name, count in outcomes.most_common())
    print(f"{number - given.first:,} attempts with seed {given.seed}: {told}; {found:,} findings")
    return 1 if found else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
