"""The arena planner, judged byte by byte by a checker that shares nothing with it."""

from hypothesis import given
from hypothesis import strategies as st

from pellucid.network.memory import Arena, Lifetime, plan_arena
from pellucid.schedule.machine import CACHE_LINE


def overlaps(lifetimes: list[Lifetime], arena: Arena) -> list[tuple[str, str, int]]:
    """Every pair of buffers that own one byte in one nest, by painting each nest's memory."""
    found = []
    for nest in range(max((entry.last for entry in lifetimes), default=-1) + 1):
        owner: dict[int, str] = {}
        for entry in lifetimes:
            if entry.first <= nest <= entry.last:
                for byte in range(arena.offsets[entry.name], arena.offsets[entry.name] + entry.size):
                    if byte in owner:
                        found.append((owner[byte], entry.name, nest))
                    owner[byte] = entry.name
    return found


@st.composite
def plans(draw):
    spans = draw(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 12), st.integers(0, 6)), max_size=12))
    return [Lifetime(f"b{number}", size, first, first + length) for number, (size, first, length) in enumerate(spans)]


@given(plans())
def test_no_byte_has_two_owners(lifetimes):
    arena = plan_arena(lifetimes)
    assert overlaps(lifetimes, arena) == []
    assert set(arena.offsets) == {entry.name for entry in lifetimes}
    assert all(offset % CACHE_LINE == 0 for offset in arena.offsets.values())
    assert all(arena.offsets[entry.name] + entry.size <= arena.size for entry in lifetimes)


def test_the_checker_sees_an_overlap():
    both = [Lifetime("a", 100, 0, 1), Lifetime("b", 10, 1, 2)]
    assert overlaps(both, Arena({"a": 0, "b": 64}, 128)) != []


def test_a_chain_needs_two_buffers():
    chain = [Lifetime(f"layer{number}", 1024, number, number + 1) for number in range(10)]
    assert plan_arena(chain).size == 2 * 1024


def test_memory_of_the_dead_is_used_again():
    arena = plan_arena([Lifetime("a", 640, 0, 1), Lifetime("b", 64, 2, 3), Lifetime("c", 320, 2, 3)])
    assert arena.size == 640


def test_nothing_to_plan():
    assert plan_arena([]) == Arena({}, 0)
