"""What is fetched is what comes next: judged by walking nests statement by statement, cell by cell."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from pellucid.emit import compile_program, target
from pellucid.language.parse import parse
from pellucid.schedule.bounds import prove
from pellucid.schedule.fetching import MOST_LINES, with_fetches
from pellucid.schedule.lower import lower
from pellucid.schedule.nest import Fetch, For, Operand, Program, Tensor, Tile, Update, operands, statements
from pellucid.schedule.passes import form_passes
from pellucid.schedule.plan import Options
from pellucid.schedule.show import show
from schedule.cases import AVX2, AVX512, TOY, Case, compiled, interpreted, with_second_cache
from schedule.walk import by_round

MACHINE = with_second_cache(AVX2, 4096)
CONVOLUTION = Case(
    parse("z[n,i,j,k] = sum(s,t,c) x[n,i+s-1,j+t-1,c] * w[s,t,c,k]"),
    {"x": (2, 10, 8, 16), "w": (3, 3, 16, 16)},
    given={"i": 10, "j": 8},
)
STRIDED = Case(
    parse("z[n,i,j,k] = sum(s,t,c) x[n,2*i+s-1,2*j+t-1,c] * w[s,t,c,k]"),
    {"x": (2, 20, 16, 16), "w": (3, 3, 16, 16)},
    given={"i": 10, "j": 8},
)
WEIGHTS = Case(
    parse("dw[s,t,c,k] = sum(n,i,j) x[n,i+s-1,j+t-1,c] * g[n,i,j,k]"),
    {"x": (4, 24, 24, 8), "g": (4, 24, 24, 8), "dw": (3, 3, 8, 8)},
)
DENSE = Case(parse("z[n,k] = sum(c) x[n,c] * w[c,k]"), {"x": (96, 64), "w": (64, 32)})


def fetching(case: Case, machine, options: Options | None = None) -> Program:
    program = case.program(machine, options)
    return replace(program, nests=with_fetches(program.nests, program.tensors, machine))


def check(
    program: Program, tensor: str, watched: str, share: float = 1.0, more: float = 0.25, left_out: int = 0
) -> None:
    """A round fetches `share` of the lines that the next one reads and no round before did, and few `more`; of all
    rounds so many are `left_out`."""
    rounds = by_round(program, tensor, watched)
    before, expected, found, others = None, 0, 0, 0
    known: set[int] = set()
    for number, lines in rounds.items():
        new = set(lines["read"]) - known
        if before is not None and number[:-1] == before[:-1] and new:
            expected += len(new)
            fetched = set(rounds[before]["fetch"])
            found += len(new & fetched)
            others += len(fetched - new)
        known |= new
        before = number
    assert expected > 10
    assert found >= share * expected - left_out
    assert others <= more * expected


@pytest.mark.parametrize("machine", [TOY, AVX2], ids=lambda machine: machine.name)
@pytest.mark.parametrize(("case", "size"), [(CONVOLUTION, 4096), (STRIDED, 8192)], ids=["stride 1", "stride 2"])
def test_a_convolution_fetches_the_rows_that_the_next_round_reads_first(case, size, machine):
    # Where each of a kernel's rows fetches a third of 36 lines, the one that leaves an image at its top does not.
    left_out = 2 * 12 if (case, machine) == (STRIDED, AVX2) else 0
    check(fetching(case, with_second_cache(machine, size)), "x", "i", left_out=left_out)


def test_products_fetch_the_next_rows_of_a_matrix():
    check(fetching(DENSE, with_second_cache(TOY, 8192)), "x", "n.block")


def test_loops_in_a_tile_fetch_where_it_takes_long():
    """A weight gradient's tile goes through all positions of its images: of the next ones each fetches a part."""
    program = fetching(WEIGHTS, with_second_cache(AVX2, 65536), Options(slabs=(("n", 1),), chain=1000))
    tiles = [tile for nest in program.nests for tile in statements(nest.body) if isinstance(tile, Tile)]
    assert any(isinstance(inner, Fetch) for tile in tiles for inner in statements(tile.body))
    # Rows in which a kernel's row leaves the map are passed over; 288 lines for 216 rows are 2 for each.
    check(program, "x", "n.slab", share=0.95, more=0.5)


def test_many_lines_are_fetched_one_by_one():
    """96 lines for each tile: one in each of the first 96 of 128 rounds, of two steps each."""
    case = Case(parse("z[n,q] = sum(o) x[n,o] * w[q,o]"), {"x": (64, 512), "w": (480, 512)})
    program = fetching(case, replace(AVX512, l2=1 << 19))
    wanted = "fetch 1 line of w[3072*n.tile + 8*o + 1536*o.chain + 24576*q.block + 24576] if 0 <= o < 192"
    assert wanted in show(program)
    check(program, "w", "q.block")
    arrays = case.arrays()
    np.testing.assert_array_equal(compiled(program, arrays), case.expected(arrays))


def test_more_than_a_few_lines_are_spread_over_a_loop_in_steps():
    """8 lines for each tile: one in each of the first 8 of 16 steps, which take two terms each."""
    case = Case(parse("m[p,n,l] = sum(c) v[p,n,c] * u[p,c,l]"), {"v": (12, 16, 32), "u": (12, 32, 64)})
    program = fetching(case, with_second_cache(AVX512, 1 << 15), Options(tile=(("n", 4),), block=64))
    assert "fetch 1 line of v[8*c + 128*n.tile + 512*p + 512] if 0 <= c < 16" in show(program)
    check(program, "v", "p")
    arrays = case.arrays()
    np.testing.assert_array_equal(compiled(program, arrays), case.expected(arrays))


def test_the_rows_of_a_kernel_leave_fetching_to_the_images():
    """A round over `s` reads a whole image, and the next one all of it but a row."""
    options = Options(tile=(("t", 3),), block=8, slabs=(("n", 1),), chain=1000)
    check(fetching(WEIGHTS, with_second_cache(AVX2, 65536), options), "x", "n.slab", share=0.95)


def test_one_of_several_blocks_in_each_row_is_not_fetched():
    """Rounds over `p` read half of `u[p]`: what lies behind it is another round's of `o`."""
    case = Case(parse("m[p,n,o,l] = sum(c) v[p,n,c] * u[p,o,c,l]"), {"v": (16, 64, 32), "u": (16, 2, 32, 16)})
    program = fetching(case, with_second_cache(AVX2, 1 << 16), Options(order=("o", "p")))
    loops = [
        statement.variable
        for nest in program.nests
        for statement in statements(nest.body)
        if isinstance(statement, For)
    ]
    assert loops[:2] == ["o", "p"]
    assert "of v[" in show(program)
    assert "of u[" not in show(program)


FORWARD = parse("z[n,i,j,k] = sum(s,t,c) x[n,i+s-P,j+t-P,c] * w[s,t,c,k]")
TOWARDS_W = parse("dw[s,t,c,k] = sum(n,i,j) x[n,S*i+s-1,S*j+t-1,c] * g[n,i,j,k]")


@pytest.mark.parametrize(
    ("formula", "constants", "x", "others", "fetched"),
    [
        (FORWARD, {"P": 1}, (64, 32, 32, 32), {"w": (3, 3, 32, 64)}, {"x"}),
        # The weights come again for each image: they are near.
        (FORWARD, {"P": 1}, (64, 8, 8, 256), {"w": (3, 3, 256, 256)}, {"x"}),
        # A round is one tile: 768 cycles.
        (FORWARD, {"P": 0}, (8, 56, 56, 64), {"w": (1, 1, 64, 256)}, set()),
        # The second cache holds the next slab of both, beside the one at hand.
        (TOWARDS_W, {"S": 1}, (64, 8, 8, 256), {"g": (64, 8, 8, 256), "dw": (3, 3, 256, 256)}, {"x", "g", "dw"}),
        # The plan has x prefetched.
        (TOWARDS_W, {"S": 2}, (8, 56, 56, 128), {"g": (8, 28, 28, 128), "dw": (3, 3, 128, 128)}, {"g", "dw"}),
    ],
    ids=["rows", "weights", "short rounds", "slabs", "prefetched"],
)
def test_what_is_fetched_in_layers_of_real_sizes(formula, constants, x, others, fetched):
    size = x[1] + 2 * constants["P"] - others["w"][0] + 1 if "w" in others else 0
    given = {"i": size, "j": size} if size else {}
    program = fetching(Case(formula, {"x": x, **others}, constants, given), AVX512)
    found = [statement for nest in program.nests for statement in statements(nest.body) if isinstance(statement, Fetch)]
    assert {fetch.operand.tensor for fetch in found} == fetched


@pytest.mark.parametrize(("images", "fetched"), [(1, True), (4, False)])
def test_a_sum_that_slabs_add_to_is_fetched_though_each_comes_back_to_it(images, fetched):
    case = Case(WEIGHTS.formula, {"x": (4, 12, 12, 32), "g": (4, 12, 12, 32), "dw": (3, 3, 32, 32)})
    program = fetching(case, with_second_cache(AVX2, 1 << 16), Options(slabs=(("n", images),), chain=1000))
    wanted = "fetch 1 line of dw[192*c.tile + 16*i + 96*k.block + 3072*s + 1024*t + 192] if 0 <= i < 6"
    assert (wanted in show(program)) == fetched
    arrays = case.arrays()
    np.testing.assert_array_equal(compiled(program, arrays, threads=2), case.expected(arrays))


def test_what_the_second_cache_has_no_room_for():
    """Eight images of x are 512 KiB, and as many of g again."""
    case = Case(TOWARDS_W, {"x": (64, 8, 8, 256), "g": (64, 8, 8, 256), "dw": (3, 3, 256, 256)}, {"S": 1})
    text = show(fetching(case, AVX512, Options(slabs=(("n", 8),), chain=1000)))
    assert "of x[" in text
    assert "of g[" not in text


def test_pieces_of_a_sum_leave_fetching_to_the_loop_around_them():
    """Each of the three reads a row of the input, of which the next one's is near; each fetches a part of a new one, a
    line in each of the first 10 of 192 steps."""
    case = Case(FORWARD, {"x": (1, 56, 56, 64), "w": (3, 3, 64, 64)}, {"P": 1}, {"i": 56, "j": 56})
    place = "3584*i + 960*j.tile + 480*k.block + 160*s + 160*s.chain"
    wanted = f"fetch 1 line of x[16*c + {place} + 8128] if 0 <= c < 10"
    assert wanted in show(fetching(case, replace(AVX512, l2=1 << 19)))


def test_a_pass_fetches_the_next_image():
    """Products read what the pass made of an image; what it reads of the next one is fetched by them."""
    program = image_pass()
    (loop,) = (statement for nest in program.nests for statement in nest.body)
    assert isinstance(loop, For)
    sums = [tile for tile in statements(loop.body) if isinstance(tile, Tile) and tile.reduction == "sum"]
    assert sums
    assert "x" not in {operand.tensor for tile in sums for inner in statements(tile.body) for operand in read_in(inner)}
    check(program, "x", loop.variable)


def read_in(statement) -> list[Operand]:
    return list(operands(statement.value)) if isinstance(statement, Update) else []


def image_pass(images: int = 4) -> Program:
    """v = 2*x and m = v u, image by image, v in scratch."""
    machine = with_second_cache(AVX2, 8192)
    table = {
        "x": Tensor("x", "float32", (images, 24, 32), "input"),
        "u": Tensor("u", "float32", (32, 32), "input"),
        "v": Tensor("v", "float32", (images, 24, 32), "temporary"),
        "m": Tensor("m", "float32", (images, 24, 32), "output"),
    }
    formulas = {
        "v[n,i,c] = x[n,i,c]*2": {"n": images, "i": 24, "c": 32},
        "m[n,i,k] = sum(c) v[n,i,c]*u[c,k]": {"n": images, "i": 24, "k": 32, "c": 32},
    }
    nests = []
    for number, (text, extents) in enumerate(formulas.items()):
        lowered = lower(parse(text), {}, extents, table, machine, f"e{number}", Options(outer="n"))
        nests += lowered.nests
        table |= {tensor.name: tensor for tensor in lowered.tensors}
    nests, scratch = form_passes(nests, table)
    table |= {tensor.name: tensor for tensor in scratch}
    return Program(tuple(table.values()), with_fetches(nests, table.values(), machine))


@pytest.mark.parametrize("machine", [TOY, AVX2], ids=lambda machine: machine.name)
@pytest.mark.parametrize(("case", "size"), [(CONVOLUTION, 4096), (STRIDED, 8192)])
def test_results_are_the_same_bits(case, size, machine):
    machine, arrays = with_second_cache(machine, size), case.arrays()
    plain, program = case.program(machine), fetching(case, machine)
    assert "fetch" in show(program)
    assert prove(program) == prove(plain)
    expected = case.expected(arrays)
    np.testing.assert_array_equal(interpreted(program, arrays), expected)
    np.testing.assert_array_equal(compiled(program, arrays, threads=2), expected)


def test_lines_at_a_time():
    for case, size in product((CONVOLUTION, STRIDED, DENSE, WEIGHTS), (4096, 8192, 65536)):
        for nest in fetching(case, with_second_cache(AVX2, size)).nests:
            fetches = [statement for statement in statements(nest.body) if isinstance(statement, Fetch)]
            assert all(1 <= fetch.lines <= MOST_LINES for fetch in fetches)


@pytest.mark.parametrize(
    ("text", "shapes", "given"),
    [
        ("z[n,k] = max(x[n,k], 0)", {"x": (64, 6400)}, {}),
        ("z[n,i,j,c] = sum(s,t) x[n,i+s,j+t,c] * w[s,t,c]", {"x": (8, 64, 64, 64), "w": (3, 3, 64)}, {}),
        ("z[n,k] = max(i) x[n,i,k]", {"x": (8, 1000, 64)}, {}),
        ("z[n,k] = sum(i) x[n,i,k] * x[n,i,k]", {"x": (8, 1000, 64)}, {}),
    ],
    ids=["elementwise", "depthwise", "maximum", "squares"],
)
def test_what_memory_bounds_fetches_nothing(text, shapes, given):
    program = fetching(Case(parse(text), shapes, given=given), with_second_cache(AVX2, 1 << 17))
    assert "fetch" not in show(program)


def test_what_the_second_cache_holds_is_not_fetched():
    machine = with_second_cache(AVX2, 1 << 20)
    assert fetching(CONVOLUTION, machine) == CONVOLUTION.program(machine)


def test_what_is_looked_up_is_not_fetched():
    """The rows of x come in any order."""
    machine, shapes = with_second_cache(TOY, 8192), {"x": (96, 64), "r": (96,), "w": (64, 32)}
    case = Case(parse("z[n,k] = sum(c) x[r[n],c] * w[c,k]"), shapes, integers={"r": 96})
    assert "of x[" in show(fetching(DENSE, machine))
    assert "of x[" not in show(fetching(case, machine))


def test_as_text():
    """Each of the two tiles of a row has its part before it."""
    lines = [
        line.strip() for line in show(fetching(CONVOLUTION, MACHINE)).splitlines() if "fetch" in line or "tile" in line
    ]
    tile = "tile j < 4, k in 0 .. 7 | 8 .. 15: sum"
    assert lines == ["fetch 4 lines of x[128*i + 1280*n + 256]", tile, "fetch 4 lines of x[128*i + 1280*n + 320]", tile]


@pytest.mark.skipif(not target().is_x86, reason="the instruction's name is x86's")
def test_in_machine_code():
    counts = [
        compile_program(program).assembly().count("prefetcht1")
        for program in (CONVOLUTION.program(MACHINE), fetching(CONVOLUTION, MACHINE))
    ]
    assert counts == [0, 8]
