"""Real models damaged as hypothesis finds it: each is read, or refused with an error of the package.

By itself a few hundred, always the same. With the variable FUZZ_EXAMPLES, as the nightly script has it, so many, others
at every `--hypothesis-seed`.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from exchange.onnx.reading.models import REAL
from pellucid.errors import PellucidError
from pellucid.exchange.onnx.graph import OnnxGraph
from pellucid.exchange.onnx.reading import Limits, read

FILES = tuple(make().SerializeToString() for make in REAL.values())
LIMITS = Limits(memory=256 << 20)
EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
bounded = settings(
    max_examples=int(EXAMPLES or 300),
    derandomize=EXAMPLES is None,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

NUMBERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from((0, -1, 1, 2**31, 2**40, 9999)))


def judge(content: bytes) -> None:
    """Reads a file, or sees it refused; whatever else is raised is a finding."""
    try:
        graph, message = read(content, limits=LIMITS), ""
    except PellucidError as error:
        graph, message = None, str(error)
    assert len(message) < 2000
    if graph is not None:
        check(graph)


def check(graph: OnnxGraph) -> None:
    """Every name that a node reads was made before it."""
    made = {*graph.initialisers, *(port.name for port in graph.inputs)}
    for node in graph.nodes:
        assert {name for name in node.inputs if name} <= made
        made |= set(node.outputs)


@bounded
@given(
    file=st.sampled_from(FILES),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=6), st.integers(0, 6)), max_size=6),
    end=st.floats(0, 1),
)
def test_bytes_replaced_put_in_and_cut_off(file: bytes, edits: list[tuple[float, bytes, int]], end: float) -> None:
    content = bytearray(file if end > 0.7 else file[: int(len(file) * end / 0.7)])
    for place, new, replaced in edits:
        at = int(place * len(content))
        content[at : at + replaced] = new
    judge(bytes(content))


@bounded
@given(data=st.data())
def test_fields_set_to_other_values(data: st.DataObject) -> None:
    """The message stays protobuf: numbers, texts and entries of its fields are changed."""
    model = ModelProto.FromString(data.draw(st.sampled_from(FILES)))
    for _ in range(data.draw(st.integers(1, 4))):
        message = model
        while True:
            fields = message.ListFields()
            if not fields:
                break
            field, value = data.draw(st.sampled_from(fields))
            entries = value if field.is_repeated else [value]
            if field.message_type is None:
                _change(message, field, data)
                break
            inner = data.draw(st.sampled_from(range(len(entries))))
            if field.is_repeated and data.draw(st.integers(0, 5)) == 0:
                value.add().CopyFrom(entries[inner])
                break
            message = entries[inner]
    judge(model.SerializeToString())


def _change(message, field, data: st.DataObject) -> None:
    """Another value of the field's kind, where it takes it."""
    kinds = {1: st.floats(), 2: st.floats(width=32), 9: st.text(max_size=8), 12: st.binary(max_size=12)}
    new = data.draw(kinds.get(field.type, NUMBERS))
    try:
        if field.is_repeated:
            values = getattr(message, field.name)
            if data.draw(st.booleans()):
                values.append(new)
            else:
                values[data.draw(st.integers(0, len(values) - 1))] = new
        else:
            setattr(message, field.name, new)
    except (ValueError, TypeError):
        # A number that the field is too narrow for.
        message.ClearField(field.name)
