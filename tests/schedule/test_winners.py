"""Winners among candidates that conditions allow: infinities, ties and NaN, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.emit import target
from pellucid.emit.targets import missing_features
from schedule.cases import MACHINES, Case, case, compiled, interpreted

CONDITIONAL = {
    "by the output": case("p[i] = argmax(s : s + i >= 4) x[i,s]", {"x": (5, 5)}),
    "by a number": case("p[i,c] = argmin(s : s >= 2) x[i,s,c]", {"x": (5, 5, 9)}),
    "of two axes": case("p[i] = argmin(s,t : i <= s + t, t >= 1) x[i,s,t]", {"x": (5, 3, 4)}),
    "not affine": case("p[i,c] = argmax(s : 2*s != i, s >= i//2) x[i,s,c]", {"x": (5, 5, 8)}),
    "none for some": case("p[i] = argmax(s : s > i + 3) x[i,s]", {"x": (5, 5)}),
    "outside the array": case("p[i,c] = argmax(s : s != 1) x[i+s-2,c]", {"x": (5, 8)}, {}, {"i": 5, "s": 4}),
    "in an expression": case("p[i,c] = 10*argmax(s : s >= i) x[s,c] + x[i,c]", {"x": (5, 8)}),
    "of data": case("p[i,c] = argmax(s : w[s] > 0) x[i,s,c]", {"x": (5, 6, 8), "w": (6,)}),
    "unconditional": case("p[i,c] = argmax(s) x[2*i+s-1,c]", {"x": (7, 9)}, {}, {"s": 3}),
}
FILLS = {
    "all -inf": (-np.inf,),
    "all inf": (np.inf,),
    "infinities": (-np.inf, np.inf),
    "ties": (-np.inf, np.inf, 1.0, 2.0),
    "NaN": (-np.inf, -np.inf, -np.inf, np.inf, np.nan),
}


def candidates(given: Case, fill: str) -> dict[str, np.ndarray]:
    arrays = given.arrays()
    values = np.array(FILLS[fill], given.dtype)
    return {**arrays, "x": np.random.default_rng(5).choice(values, given.shapes["x"])}


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("name", CONDITIONAL)
def test_the_first_winner_that_is_allowed(name: str, fill: str) -> None:
    given = CONDITIONAL[name]
    arrays = candidates(given, fill)
    wanted = given.expected(arrays)
    for machine in MACHINES:
        np.testing.assert_array_equal(interpreted(given.program(machine), arrays), wanted, machine.name)
    for chosen in map(target, ("x86-64-v2", "x86-64-v3", "native")):
        if not missing_features(chosen):
            program = given.program(chosen.machine)
            np.testing.assert_array_equal(compiled(program, arrays, chosen), wanted, chosen.name)


def test_what_has_no_conditions_seeks_no_first_candidate() -> None:
    """The usual case stays one nest."""
    assert len(CONDITIONAL["unconditional"].lowered(MACHINES[0]).nests) == 1
    assert len(CONDITIONAL["by a number"].lowered(MACHINES[0]).nests) == 2
