"""The printed loop nests of representative equations on fixed machines.

python tests/schedule/golden.py            prints them all (what two processes must agree on)
python tests/schedule/golden.py --update   writes tests/schedule/golden/*.txt anew; read the diff before committing
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from pellucid.schedule.machine import Machine
from pellucid.schedule.show import show
from schedule.cases import AVX2, AVX512, EQUATIONS, NEON, SSE2, TOY, Case, with_tiny_caches
from support.recurrences import KNOWN, Steps

__all__ = ["FOLDER", "NESTS", "text"]

FOLDER = Path(__file__).parent / "golden"

NESTS: dict[str, tuple[Case | Steps, Machine]] = {
    "convolution_avx512": (EQUATIONS["conv"], AVX512),
    "convolution_strided_dx_avx2": (EQUATIONS["conv stride 2"].gradient("x"), AVX2),
    "convolution_dw_neon": (EQUATIONS["conv"].gradient("w"), NEON),
    "convolution_nchw_tiny_avx2": (EQUATIONS["conv NCHW"], with_tiny_caches(AVX2)),
    "depthwise_sse2": (EQUATIONS["conv depthwise"], SSE2),
    "dense_avx2": (EQUATIONS["dense"], AVX2),
    "dense_toy": (EQUATIONS["products along columns"], TOY),
    "max_pool_winners_avx2": (EQUATIONS["max pool, winners"], AVX2),
    "mean_of_rows_avx2": (EQUATIONS["mean of rows"], AVX2),
    "staged_sse2": (EQUATIONS["staged"], SSE2),
    "gather_avx2": (EQUATIONS["gather"], AVX2),
    "transposed_sse2": (EQUATIONS["transposed"], SSE2),
    "recurrence_avx2": (KNOWN["begun"], AVX2),
}


def text(name: str) -> str:
    """The plans and the loop nest of one entry, with a newline at the end."""
    given, machine = NESTS[name]
    # Without the reasons: estimated cycles change with every constant, and decide nothing that is not printed.
    plans = "\n\n".join(str(replace(plan, reasons=())) for plan in given.lowered(machine).plans)
    return f"{plans}\n\n{show(given.program(machine))}\n"


def main() -> None:
    """Print all entries, or write their files."""
    if "--update" in sys.argv[1:]:
        FOLDER.mkdir(exist_ok=True)
        for name in NESTS:
            (FOLDER / f"{name}.txt").write_text(text(name), "utf-8")
        return
    for name in NESTS:
        print(text(name))


if __name__ == "__main__":
    main()
