"""Passes: the same results as nests one after the other, judged by the interpreter, and legal joins alone."""

import numpy as np
import pytest

from pellucid.emit import compile_program
from pellucid.emit.targets import target
from pellucid.language.extents import infer_extents, output_shape
from pellucid.language.parse import parse
from pellucid.schedule.bounds import prove
from pellucid.schedule.interpret import interpret
from pellucid.schedule.lower import lower
from pellucid.schedule.nest import For, Program, Tensor, statements
from pellucid.schedule.passes import form_passes
from pellucid.schedule.plan import Options

IMAGES, SIZE = 6, 4  # the interpreter takes its time: the smallest maps that have an inside and a border
MACHINE = target().machine

CHAIN = (
    "z[n,i,j,k] = sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[s,t,c,k]",
    "a[n,i,j,k] = max(z[n,i,j,k], 0)",
    "p[n,i,j,k] = max(s,t) a[n,2*i+s,2*j+t,k]",
    "m[k] = sum(n,i,j) z[n,i,j,k]",
    "dw[s,t,c,k] = sum(n,i,j) x[n,i+s-1,j+t-1,c] * a[n,i,j,k]",
)
SHAPES = {"x": (IMAGES, SIZE, SIZE, 3), "w": (3, 3, 3, 20)}
EXTENTS = {"i": SIZE, "j": SIZE}


def chain(formulas=CHAIN, parts=3, outputs=("p", "m", "dw"), group=1):
    """The lowered formulas, image by image, as nests over one table of tensors."""
    table = {name: Tensor(name, "float32", shape, "input") for name, shape in SHAPES.items()}
    nests = []
    for number, text in enumerate(formulas):
        formula = parse(text)
        name = formula.output.tensor
        own = {"p": {"s": 2, "t": 2, "i": SIZE // 2, "j": SIZE // 2}, "dw": {**EXTENTS, "s": 3, "t": 3}}
        extents = own.get(name, EXTENTS)
        shapes = {local: tensor.shape for local, tensor in table.items()}
        known = {axis: extent for axis, extent in extents.items() if axis in text}
        solved = infer_extents(formula, {}, shapes, known)
        table[name] = Tensor(
            name, "float32", output_shape(formula, {}, solved), "output" if name in outputs else "temporary"
        )
        options = Options(outer="n", parts=parts, group=group)
        lowered = lower(formula, {}, solved, table, MACHINE, f"e{number}", options)
        nests += lowered.nests
        table |= {tensor.name: tensor for tensor in lowered.tensors}
    return nests, table


def run(nests, table, arrays):
    program = Program(tuple(table.values()), tuple(nests))
    prove(program)
    flat = {name: array.copy().ravel() for name, array in arrays.items()}
    interpret(program, flat, threads=2)
    return program, {name: array.reshape(table[name].shape) for name, array in flat.items()}


def arrays_of(table):
    rng = np.random.default_rng(0)
    return {
        tensor.name: rng.integers(-3, 4, tensor.shape).astype(tensor.dtype)
        if tensor.role == "input"
        else np.full(tensor.shape, np.nan, tensor.dtype)
        for tensor in table.values()
        if tensor.role in ("input", "output")
    }


@pytest.mark.parametrize("group", [1, 2])
def test_a_chain_becomes_one_pass_and_two_sums(group):
    nests, table = chain(group=group)
    passes, scratch = form_passes(nests, table)
    with_rounds = [nest for nest in passes if nest.rounds]
    assert [nest.rounds for nest in with_rounds] == [("image.part", "image.in") if group == 1 else ("image",)]
    assert {tensor.name for tensor in scratch} == {"z", "a"}
    assert {tensor.size for tensor in scratch} == {group * SIZE * SIZE * 20}


@pytest.mark.parametrize("group", [1, 2, 3])
def test_a_pass_computes_what_its_nests_did(group):
    nests, table = chain(group=group, parts=2 if group == 3 else 3)
    _, before = run(nests, table, arrays_of(table))
    passes, scratch = form_passes(nests, table)
    table |= {tensor.name: tensor for tensor in scratch}
    program, after = run(passes, table, arrays_of(table))
    for name in ("p", "m", "dw"):
        np.testing.assert_array_equal(before[name], after[name])  # small integers: every order gives the same
    for threads in (1, 2, 4):
        compiled = arrays_of(table)
        compile_program(program).call(compiled, threads)
        for name in ("p", "m", "dw"):
            np.testing.assert_array_equal(before[name], compiled[name])


def test_the_outermost_loop_is_divided_among_threads_and_nothing_inside():
    passes, _ = form_passes(*chain())
    (joined,) = (nest for nest in passes if nest.rounds)
    loops = [statement for statement in statements(joined.body) if isinstance(statement, For) and statement.parallel]
    assert loops == [joined.body[0]]


@pytest.mark.parametrize(
    "reader",
    [
        "q[n,i,j,k] = z[n,i,j,k] * sum(m) z[m,i,j,k]",  # all images
        "q[n,i,j,k] = z[5-n,i,j,k]",  # another image
    ],
)
def test_what_reads_other_images_waits(reader):
    nests, table = chain((CHAIN[0], reader), outputs=("q",))
    passes, scratch = form_passes(nests, table)
    assert "z" not in {tensor.name for tensor in scratch}
    _, before = run(nests, table, arrays_of(table))
    _, after = run(passes, table | {tensor.name: tensor for tensor in scratch}, arrays_of(table))
    np.testing.assert_array_equal(before["q"], after["q"])


def by_image(texts, shapes, extents, temporary, group=1):
    """The formulas, image by image, as nests over one table."""
    table = {name: Tensor(name, "float32", shape, "input") for name, shape in shapes.items()}
    nests = []
    for number, text in enumerate(texts):
        formula = parse(text)
        name = formula.output.tensor
        role = "temporary" if name in temporary else "output"
        table[name] = Tensor(name, "float32", output_shape(formula, {}, extents), role)
        own = {axis: extent for axis, extent in extents.items() if axis in text}
        lowered = lower(formula, {}, own, table, MACHINE, f"e{number}", Options(outer="n", group=group))
        nests += lowered.nests
        table |= {tensor.name: tensor for tensor in lowered.tensors}
    return nests, table


@pytest.mark.parametrize("group", [1, 2, 3])
@pytest.mark.parametrize(
    ("texts", "scratch"),
    [
        # images behind the points, and last
        (("v[a,n,i,c] = x[n,i,c] * u[a,c]", "y[n,i,c] = sum(a) v[a,n,i,c] * u[a,c]"), {"v"}),
        (("v[a,n,i,c] = x[n,i,c] * u[a,c]", "y[a,n,i,c] = v[a,n,i,c] + v[a,n,i,c]*u[a,c]"), {"v"}),
        (("v[a,i,c,n] = x[n,i,c] * u[a,c]", "y[n,i] = sum(a,c) v[a,i,c,n]"), {"v"}),
        (("v[a,n,i,c] = x[n,i,c] * u[a,c]", "m[n,a,i] = sum(c) v[a,n,i,c]", "y[n,i] = sum(a) m[n,a,i]"), {"v", "m"}),
        (("t[a,n] = x[a,0,0] * x[n,1,1]", "y[n] = t[n,n]"), {"t"}),
        # another image, in such a place; or another place
        (("v[a,n,i,c] = x[n,i,c] * u[a,c]", "y[n,i,c] = sum(a) v[a,5-n,i,c] * u[a,c]"), set()),
        (("t[a,n] = x[a,0,0] * x[n,1,1]", "y[n] = sum(a) t[n,a]"), set()),
    ],
)
def test_images_may_stand_anywhere_but_always_at_the_same_place(texts, scratch, group):
    extents = {"n": IMAGES, "i": 4, "c": 5, "a": 6 if texts[0].startswith("t") else 3}
    shapes = {"x": (IMAGES, 4, 5), "u": (3, 5)}
    nests, table = by_image(texts, shapes, extents, {text[0] for text in texts} - {"y"}, group)
    passes, own = form_passes(nests, table)
    assert {tensor.name for tensor in own} == scratch
    assert (len(passes) == 1) == bool(scratch)
    assert all(tensor.size == table[tensor.name].size // (IMAGES // group) for tensor in own)
    _, before = run(nests, table, arrays_of(table))
    program, after = run(passes, table | {tensor.name: tensor for tensor in own}, arrays_of(table))
    compiled = arrays_of(table)
    compile_program(program).call(compiled, 2)
    np.testing.assert_array_equal(before["y"], after["y"])
    np.testing.assert_array_equal(before["y"], compiled["y"])


def test_what_is_looked_up_becomes_scratch_too():
    """The winners of an image are read as indices in the pass that finds them, and nowhere else."""
    table = {
        "x": Tensor("x", "float32", (IMAGES, 4, 5), "input"),
        "w": Tensor("w", "float32", (5,), "input"),
        "t": Tensor("t", "int64", (IMAGES, 4), "temporary"),
        "y": Tensor("y", "float32", (IMAGES, 4), "output"),
    }
    nests = []
    for number, text in enumerate(("t[n,i] = argmax(c) x[n,i,c]", "y[n,i] = w[t[n,i]]")):
        extents = {"n": IMAGES, "i": 4, "c": 5}
        nests += lower(parse(text), {}, extents, table, MACHINE, f"e{number}", Options(outer="n")).nests
    passes, (scratch,) = form_passes(nests, table)
    assert len(passes) == 1
    arrays = arrays_of(table)
    _, after = run(passes, table | {"t": scratch}, arrays)
    np.testing.assert_array_equal(after["y"], arrays["w"][arrays["x"].argmax(2)])


@pytest.mark.parametrize("op", ["sum", "max", "min"])
def test_only_sums_over_images_are_cut(op):
    """A part of two rounds adds the second to the first."""
    nests, table = chain((f"y[c] = {op}(n,i,j) x[n,i,j,c]",), outputs=("y",))
    assert any(nest.rounds for nest in nests) == (op == "sum")
    arrays = arrays_of(table)
    _, after = run(nests, table, arrays)
    np.testing.assert_array_equal(after["y"], getattr(arrays["x"], op)((0, 1, 2)))


@pytest.mark.parametrize("text", ["y[n,i] = sum(c) x[n,i,c] * v[u[n,i],c]", "y[i,c] = sum(n) x[n,i,c] * w[u[n,i]]"])
def test_sums_of_what_is_looked_up_run_image_by_image(text):
    formula, extents = parse(text), {"n": IMAGES, "i": 4, "c": 5}
    shapes = {"x": (IMAGES, 4, 5), "v": (3, 5), "w": (3,), "u": (IMAGES, 4)}
    table = {name: Tensor(name, "int64" if name == "u" else "float32", shapes[name], "input") for name in shapes}
    table["y"] = Tensor("y", "float32", output_shape(formula, {}, extents), "output")
    arrays = arrays_of(table) | {"u": np.random.default_rng(1).integers(0, 3, shapes["u"])}
    found = []
    for options in (None, Options(outer="n", parts=3)):
        lowered = lower(formula, {}, extents, table, MACHINE, "e", options)
        assert any(nest.rounds for nest in lowered.nests) == (options is not None)
        own = table | {tensor.name: tensor for tensor in lowered.tensors}
        program, after = run(lowered.nests, own, arrays)
        compiled = {name: array.copy() for name, array in arrays.items()}
        compile_program(program).call(compiled, 2)
        found += [after["y"], compiled["y"]]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])  # small integers: every order gives the same


def test_parts_that_do_not_divide_the_images_leave_the_sum_whole():
    nests, table = chain(parts=4)
    assert not any(name.endswith(".parts") for name in table)
    passes, scratch = form_passes(nests, table)
    _, before = run(nests, table, arrays_of(table))
    _, after = run(passes, table | {tensor.name: tensor for tensor in scratch}, arrays_of(table))
    for name in ("p", "m", "dw"):
        np.testing.assert_array_equal(before[name], after[name])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_scratch_do_not_meet_in_one_set_of_the_cache(dtype):
    """Rows of 4096 bytes, whatever the bytes of an element, get something behind them; the values stay the same."""
    size = np.dtype(dtype).itemsize
    row = 4096 // size
    table = {
        "x": Tensor("x", dtype, (IMAGES, 3, row), "input"),
        "z": Tensor("z", dtype, (IMAGES, 3, row), "temporary"),
        "a": Tensor("a", dtype, (IMAGES, 3, row), "output"),
    }
    nests = []
    for number, text in enumerate(("z[n,i,j] = x[n,i,j] * x[n,2-i,j]", "a[n,i,j] = z[n,2-i,j] + 1")):
        extents = {"n": IMAGES, "i": 3, "j": row}
        nests += lower(parse(text), {}, extents, table, MACHINE, f"e{number}", Options(outer="n")).nests
    passes, (scratch,) = form_passes(nests, table)
    assert scratch.shape == (3, row + 320 // size)
    _, before = run(nests, table, arrays_of(table))
    _, after = run(passes, table | {"z": scratch}, arrays_of(table))
    np.testing.assert_array_equal(before["a"], after["a"])


def test_rows_that_a_tile_touches_at_once_lie_apart():
    """Of a temporary between two passes: eight rows of 4096 bytes under one tile; what runs along rows stays."""
    extents = {"a": 8, "j": 1024}
    table = {
        "x": Tensor("x", "float32", (1024,), "input"),
        "z": Tensor("z", "float32", (8, 1024), "temporary"),
        "y": Tensor("y", "float32", (8, 1024), "temporary"),
        "u": Tensor("u", "float32", (1024,), "output"),
        "v": Tensor("v", "float32", (8, 1024), "output"),
    }
    texts = ("z[a,j] = x[j] + a", "y[a,j] = x[j] * 2", "u[j] = sum(a : a < 8) z[a,j] * z[7-a,j]", "v[a,j] = y[a,j] + 1")
    nests = []
    for number, text in enumerate(texts):
        options = Options(tile=(("a", 8),), block=16) if text.startswith("z") else None
        nests += lower(parse(text), {}, extents, table, MACHINE, f"e{number}", options).nests
    passes, apart = form_passes(nests, table)
    assert {tensor.name: (tensor.role, tensor.shape) for tensor in apart} == {"z": ("temporary", (8, 1024 + 80))}
    _, before = run(nests, table, arrays_of(table))
    _, after = run(passes, table | {tensor.name: tensor for tensor in apart}, arrays_of(table))
    for name in "uv":
        np.testing.assert_array_equal(before[name], after[name])
