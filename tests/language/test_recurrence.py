"""Recurrences: which texts are some, which are refused and in which words, extents, and what each step is."""

from __future__ import annotations

from itertools import permutations

import pytest

from pellucid.errors import EquationError, ShapeError
from pellucid.language.circles import parts_of
from pellucid.language.parse import parse_system
from pellucid.language.parts import inputs_of, recurrence_extents
from pellucid.language.recurrence import Recurrence
from pellucid.language.render import to_text
from pellucid.language.waiting import without_waiting

SIMPLE = "h[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t-1,j]*w[j,k])"
LSTM = """
a[n,t,q,k] = u[n,t,q,k] + sum(j) h[n,t-1,j]*w[j,q,k]
c[n,t,k] = sigmoid(a[n,t,1,k])*c[n,t-1,k] + sigmoid(a[n,t,0,k])*tanh(a[n,t,2,k])
h[n,t,k] = sigmoid(a[n,t,3,k])*tanh(c[n,t,k])
"""


def parts(text):
    return parts_of(parse_system(text))


def recurrence(text):
    (found,) = parts(text)
    assert isinstance(found, Recurrence)
    return found


def printed(formulas):
    return [to_text(formula) for formula in formulas]


FOUND = {
    "one formula": (SIMPLE, "t", 1, ("h",), ("n",)),
    "downwards": ("h[n,t,k] = tanh(u[n,t,k] + sum(j) h[n,t+1,j]*w[j,k])", "t", -1, ("h",), ("n",)),
    "LSTM": (LSTM, "t", 1, ("a", "c", "h"), ("n",)),
    "along the first axis": ("h[t,n] = h[t-1,n] + x[t,n]", "t", 1, ("h",), ("n",)),
    "along the axis that is moved": ("h[n,t] = h[n-1,t] + x[n,t]", "n", 1, ("h",), ("t",)),
    "diagonal": ("h[i,j] = h[i-1,j-1] + x[i,j]", "i", 1, ("h",), ()),
    "convolutional state": ("h[n,t,i,k] = sum(s,j) h[n,t-1,i+s-1,j]*w[s,j,k]", "t", 1, ("h",), ("n",)),
    "batch that is summed elsewhere": ("h[n,t] = x[n,t]*m[t-1]\nm[t] = sum(n) h[n,t]", "t", 1, ("h", "m"), ()),
    "cells told apart by numbers": ("h[n,t,0] = h[n,t-1,1]\nh[n,t,1] = h[n,t-1,0] + x[n,t]", "t", 1, ("h",), ("n",)),
    "an axis of another name": ("a[n,t] = b[n,t-1]\nb[m,t] = a[m,t] + x[m,t]", "t", 1, ("a", "b"), ()),
    "both one step before": ("a[t] = b[t-1] + x[t]\nb[t] = a[t-1]", "t", 1, ("a", "b"), ()),
}


@pytest.mark.parametrize(("text", "axis", "step", "tensors", "apart"), FOUND.values(), ids=FOUND)
def test_found(text, axis, step, tensors, apart):
    found = recurrence(text)
    assert (found.axis, found.step, tuple(found.tensors), found.apart()) == (axis, step, tensors, apart)


def test_what_it_reads():
    found = recurrence(f"{SIMPLE.replace('tanh', 'a*tanh')}\nh[n,-1,k] = b*s[n,k]")
    assert found.inputs == ("u", "w", "s")
    assert inputs_of((found,), {}) == ("u", "w", "s", "a", "b")
    assert inputs_of((found,), {"b": 2}) == ("u", "w", "s", "a")
    assert dict(found.tensors) == {"h": 1}
    assert printed(found.initial) == ["h[n,-1,k] = b * s[n,k]"]


def made(part):
    return tuple(part.tensors) if isinstance(part, Recurrence) else part.output.tensor


def test_any_order_of_writing():
    """A recurrence between ordinary formulas; within a step the order is that of writing."""
    lines = ("u[t,k] = sum(c) x[t,c]*v[c,k]", "h[t,k] = u[t,k] + h[t-1,k]", "h[-1,k] = s[k]", "y[t] = sum(k) h[t,k]")
    for order in permutations(lines):
        assert [made(part) for part in parts("\n".join(order))] == ["u", ("h",), "y"]


def test_a_single_number_is_made_before_it_is_read():
    assert [made(part) for part in parts("h[t] = h[t-1]*a + x[t]\nh[-1] = s\ns = a + 1\na = sum(t) x[t]")] == [
        "a",
        "s",
        ("h",),
    ]


def test_two_recurrences():
    assert [made(part) for part in parts("b[t] = b[t+1]*a[t]\na[t] = a[t-1] + x[t]")] == [("a",), ("b",)]


def test_formulas_that_wait_for_nothing_keep_their_order():
    text = "b[i] = x[i]\na[i] = b[i]\nc[i] = x[i]"
    assert parts(text) == parse_system(text)


# What is refused, with the part of the text that is marked

STEP_BEFORE = "waits for itself: a recurrence reads what it makes one step before, at"
REFUSED = {
    "read at t itself": ("h[t] = h[t] + x[t]", "`h` is the output and is also read", "h[t] "),
    "read at t too": ("h[t] = h[t+1] + h[t]", "`h` is the output and is also read", "h[t]"),
    "two steps before": ("h[t] = h[t-2] + x[t]", f"`h[t-2]` {STEP_BEFORE} `t-1`", "h[t-2]"),
    "both directions": ("h[t] = h[t-1] + h[t+1]", f"`h[t+1]` {STEP_BEFORE} `t-1`", "h[t+1]"),
    "two axes": ("h[i,j] = h[i-1,j] + h[i,j-1]", f"`h[i,j-1]` {STEP_BEFORE} `i-1`", "h[i,j-1]"),
    "one axis both ways": ("h[i,j] = h[i-1,j] + h[i+1,j]", f"`h[i+1,j]` {STEP_BEFORE} `i-1`", "h[i+1,j]"),
    "all steps": ("h[t] = x[t] + sum(s) h[s]", f"`h[s]` {STEP_BEFORE} `t-1`", "h[s]"),
    "a step that is looked up": ("h[t] = h[p[t]]", f"`h[p[t]]` {STEP_BEFORE} `t-1`", "h[p[t]]"),
    "downwards, two steps": ("h[t] = h[t+1]*a[t+1]\na[t] = h[t+2]", f"`h[t+2]` {STEP_BEFORE} `t+1`", "h[t+2]"),
    "a circle without a step": (
        "a[t] = b[t]\nb[t] = a[t]",
        "`b[t]` is made later in the same step; write it before this equation, or read `t-1`",
        "b[t]",
    ),
    "no axis": ("h = h[0] + 1", "`h` is read to make itself; a recurrence needs an axis to walk along", "h"),
    "no bare axis": (
        "h[2*t] = h[2*t-1]", "`h[2*t]` is read to make itself; a recurrence needs an axis to walk along", "h[2*t]"
    ),
    "another axis": (
        "h[t] = a[t-1]\na[i] = h[i]", "`a[i]` has no index `t`, along which the others wait for it", "a[i]"
    ),
    "another place": (
        "a[i,j] = b[i-1,j]\nb[j,i] = a[i,j]", "`b[i-1,j]` has `i` in another place than `b[j,i]`", "b[i-1,j]"
    ),
}  # fmt: skip

RUNNING = "h[n,t] = h[n,t-1] + x[n,t]\n"
STATES = {
    "with a reduction": (
        "h[n,-1] = sum(j) s[n,j]", "the state before the first step is a value without reductions", "sum(j) s[n,j]"
    ),
    "that is there already": (
        "h[n,-1] = s[n]\nh[n,-1] = r[n]", "`h` has two states before the first step", "h[n,-1]"
    ),
    "with fewer indices": ("h[-1] = s", "`h` has 1 index here and 2 elsewhere", "h[-1]"),
    "of one image": (
        "h[0,-1] = s", "the state before the first step has an axis in every other place, not `0`", "0"
    ),
    "along another axis": ("h[-1,t] = s[t]", "the state before the first step stands at -1, not at `t`", "t"),
    "that follows from the steps": (
        "h[n,-1] = y[n]\ny[n] = sum(t) h[n,t]",
        "`h[n,-1]` is a state before the first step and depends on the steps",
        "h[n,-1]",
    ),
    "with an axis of the steps": (
        "h[m,-1] = n*s[m]", "`n` is an axis of the recurrence, and none of the state before the first step", "n"
    ),
    "of what is no recurrence": (
        "z[i] = x[i,0]\nz[-1] = s", "`z` is no recurrence, and has no state before a first step", "z[-1]"
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message", "marked"),
    [*REFUSED.values(), *((RUNNING + text, message, marked) for text, message, marked in STATES.values())],
    ids=[*REFUSED, *(f"state {name}" for name in STATES)],
)
def test_refused(text, message, marked):
    with pytest.raises(EquationError) as error:
        parts(text)
    first, line, caret = str(error.value).split("\n")
    assert first == message
    assert line[caret.index("^") : len(caret)] == marked.strip()
    assert caret.endswith("^" * len(marked.strip()))


# Extents


def extents(text, shapes, constants=None, given=None):
    return recurrence_extents(recurrence(text), constants or {}, shapes, given or {})


def test_extents_from_what_is_read():
    found, shapes = extents(SIMPLE, {"u": (2, 5, 3), "w": (3, 3)})
    assert found == {"n": 2, "t": 5, "k": 3, "j": 3}
    assert shapes == {"h": (2, 5, 3)}


def test_extents_of_several_formulas():
    """The gates are as many as the weights have; none of them tells the batch but the input."""
    found, shapes = extents(LSTM, {"u": (2, 5, 4, 3), "w": (3, 4, 3)})
    assert found == {"n": 2, "t": 5, "q": 4, "k": 3, "j": 3}
    assert shapes == {"a": (2, 5, 4, 3), "c": (2, 5, 3), "h": (2, 5, 3)}


def test_extents_that_only_a_later_formula_tells():
    found, shapes = extents("a[n,t] = b[n,t-1]\nb[n,t] = a[n,t]*x[n,t]", {"x": (2, 5)})
    assert found == {"n": 2, "t": 5}
    assert shapes == {"a": (2, 5), "b": (2, 5)}


def test_extents_that_only_the_initial_state_tells():
    assert extents("h[n,t] = h[n,t-1]*x[t]\nh[n,-1] = s[n]", {"x": (5,), "s": (2,)}, given={"n": 2})[1] == {"h": (2, 5)}


def test_given_extents_and_numbered_cells():
    assert extents("h[t,0] = h[t-1,1]\nh[t,1] = a*h[t-1,0]", {"a": ()}, given={"t": 4})[1] == {"h": (4, 2)}


def test_a_window_over_the_state_keeps_its_size():
    found, _ = extents("h[t,i] = x[t,i] + sum(s) h[t-1,i+s-1]*w[s]", {"x": (4, 6), "w": (3,)})
    assert found == {"t": 4, "i": 6, "s": 3}


BAD_EXTENTS = {
    "state too long": (
        f"{SIMPLE}\nh[n,-1,k] = s[n,k]", {"u": (2, 5, 3), "w": (3, 3), "s": (2, 4)}, {},
        "index `k` has two extents: 3 in h (2, 3) and 4 in s (2, 4)",
    ),
    "weights that are not square": (
        SIMPLE, {"u": (2, 5, 3), "w": (4, 3)}, {}, "index `j` has two extents: 4 given and 3 in h (2, 5, 3)"
    ),
    "steps of two inputs": (
        "a[t] = b[t-1] + x[t]\nb[t] = a[t]*y[t]", {"x": (4,), "y": (5,)}, {},
        "index `t` has two extents: 4 given and 5 in y (5,)",
    ),
    "open": (
        "h[t,k] = h[t-1,k]*w[k]", {"w": (3,)}, {},
        "extent of index `t` is open: no array determines it; give it with extents={'t': ...}",
    ),
    "state at 0": (
        "h[t] = h[t-1] + x[t]\nh[0] = s", {"x": (4,), "s": ()}, {},
        "the state before the first step stands at -1, not at `0`",
    ),
    "state behind another extent": (
        "h[t] = h[t+1] + x[t]\nh[T] = s", {"x": (4,), "s": ()}, {"T": 5},
        "the state before the first step stands at 4, not at `T`",
    ),
    "state at the other end": (
        "h[t] = h[t+1] + x[t]\nh[-1] = s", {"x": (4,), "s": ()}, {},
        "the state before the first step stands at 4, not at `-1`",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "shapes", "constants", "message"), BAD_EXTENTS.values(), ids=BAD_EXTENTS)
def test_extents_that_contradict(text, shapes, constants, message):
    with pytest.raises((ShapeError, EquationError)) as error:
        extents(text, shapes, constants)
    first, _, caret = str(error.value).split("\n")
    assert first == message
    assert caret.strip("^ ") == ""


@pytest.mark.parametrize("end", ["T", "L+1", "4"])
def test_the_place_behind_the_last_step_is_computed(end):
    constants = {name: number for name, number in {"T": 4, "L": 3}.items() if name in end}
    assert extents(f"h[t] = h[t+1] + x[t]\nh[{end}] = s", {"x": (4,), "s": ()}, constants)[0] == {"t": 4}


# What is left for each step


def test_first_step_and_later_ones():
    found = recurrence(f"{SIMPLE}\nh[n,-1,k] = s[n,k]")
    assert printed(found.first(5)) == ["h[n,0,k] = tanh(u[n,0,k] + sum(j) s[n,j] * w[j,k])"]
    assert printed(found.later(5)) == ["h[n,t+1,k] = tanh(u[n,t+1,k] + sum(j) h[n,t+1-1,j] * w[j,k])"]


def test_downwards_the_first_step_is_the_last():
    found = recurrence(SIMPLE.replace("t-1", "t+1"))
    assert printed(found.first(5)) == ["h[n,4,k] = tanh(u[n,4,k])"]
    assert printed(found.later(5)) == ["h[n,3-t,k] = tanh(u[n,3-t,k] + sum(j) h[n,3-t+1,j] * w[j,k])"]


def test_sums_that_wait_for_nothing_stand_before():
    text = "h[n,t,k] = tanh((sum(c) x[n,t,c]*v[c,k]) + (sum(j) h[n,t-1,j]*w[j,k]) + max(c) b[c])"
    before, rest = without_waiting(recurrence(text))
    assert printed(before) == ["h.1[n,t,k] = sum(c) x[n,t,c] * v[c,k]", "h.2 = max(c) b[c]"]
    assert printed(rest.formulas) == ["h[n,t,k] = tanh(h.1[n,t,k] + sum(j) h[n,t-1,j] * w[j,k] + h.2)"]
    assert without_waiting(rest) == ((), rest)


def test_reads_at_a_divided_step_stand_before():
    text = "h[t,k] = x[t//2,k] + (sum(j) h[t-1,j]*w[t%2,j,k]) + (max(j) y[t//2,j]*h[t-1,j]) + h[t-1,k//2]"
    before, rest = without_waiting(recurrence(text))
    assert printed(before) == ["h.1[t,k] = x[t//2,k]", "h.2[t,k,j] = w[t%2,j,k]"]
    assert printed(rest.formulas) == [
        "h[t,k] = h.1[t,k] + sum(j) h[t-1,j] * h.2[t,k,j] + max(j) y[t//2,j] * h[t-1,j] + h[t-1,k//2]"
    ]
