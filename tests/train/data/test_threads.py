"""Work in threads: the order of the items, the first exception, nothing left behind."""

import threading
import time

import pytest

from pellucid.train.data.threads import in_threads


@pytest.mark.parametrize("threads", [1, 2, 5, 64])
@pytest.mark.parametrize("count", [0, 1, 2, 9, 100, 10_000])
def test_results_come_in_the_order_of_the_items(threads: int, count: int):
    assert list(in_threads(lambda item: item * item, range(count), threads)) == [item * item for item in range(count)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_first_exception_in_order_is_raised(threads: int):
    def work(item: int) -> int:
        if item in (30, 61):
            time.sleep(0.01 if item == 30 else 0)
            raise ValueError(item)
        return item

    got = list[int]()
    with pytest.raises(ValueError, match=r"^30$"):
        got.extend(in_threads(work, range(100), threads))
    assert got == list(range(len(got)))
    assert len(got) <= 30
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pellucid-files")]


def test_several_threads_work_and_those_who_stop_listening_leave_none():
    met = threading.Barrier(3, timeout=20)
    assert list(in_threads(lambda item: met.wait() * 0 + item, range(3), 3)) == [0, 1, 2]
    results = in_threads(lambda item: item, range(1000), 3)
    next(results)
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pellucid-files")]
