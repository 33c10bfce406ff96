"""A copy of rows with a planted fault: `shift` moves the cells that are read, `stores` those that are written.

As a script it runs that nest, unproved, on arrays between forbidden pages; with a fault it must not survive.
"""

from __future__ import annotations

import sys

from pellucid.emit import compile_program
from pellucid.language.affine import Affine
from pellucid.schedule.nest import Bound, For, Group, Load, Nest, Operand, Program, Store, Tensor, Tile

ROWS, COLUMNS = 6, 13


def copy_program(read_shift: int = 0, write_shift: int = 0) -> Program:
    """z[i, k] = x[i, k], of 6 rows of 13, whose cells are read and written so many columns too far."""
    x, z = Tensor("x", "float32", (ROWS, COLUMNS), "input"), Tensor("z", "float32", (ROWS, COLUMNS), "output")
    row, column = Affine.name("i"), Affine.name("k")
    load = Load(Operand("x", x.shape, (row, column + read_shift)))
    store = Store(Operand("z", z.shape, (row, column + write_shift)), load)
    tile = Tile((), "k", (Group(0, 8, 8), Group(8, 8, 5)), None, (), (store,))
    return Program((x, z), (Nest("copy", (For("i", Bound.of(0), Bound.of(ROWS), 1, (tile,)),)),))


def main(read_shift: int, write_shift: int, at_end: bool) -> None:
    """Run the copy between forbidden pages, and print that it survived."""
    from support.guard_pages import guarded

    x = guarded((ROWS, COLUMNS), "float32", at_end=at_end)
    z = guarded((ROWS, COLUMNS), "float32", at_end=at_end)
    executable = compile_program(copy_program(read_shift, write_shift), proved=True)
    executable.call({"x": x.array, "z": z.array})
    print("survived")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "end")
