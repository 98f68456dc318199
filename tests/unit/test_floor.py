"""Many share the floor or one has it alone; who waits for it alone is not kept waiting by those who come later."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import wait_for
from worker.queue.floor import Floor


def _enters(pool, way):
    """Whether somebody is inside, and the events that let them leave and tell that they did."""
    inside, leave = threading.Event(), threading.Event()

    def work():
        with way():
            inside.set()
            assert leave.wait(30)

    return inside, leave, pool.submit(work)


def test_many_are_together():
    floor = Floor()
    barrier = threading.Barrier(6)

    def work(_):
        with floor.together():
            barrier.wait(10)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))


def test_one_who_wants_it_alone_waits_for_the_others_and_goes_before_those_who_come_later():
    floor = Floor()
    with ThreadPoolExecutor(3) as pool:
        early, early_leaves, _ = _enters(pool, floor.together)
        assert early.wait(10)
        alone, alone_leaves, _ = _enters(pool, floor.alone)
        wait_for(lambda: floor.waiting_alone == 1, "somebody who waits to be alone")
        late, late_leaves, last = _enters(pool, floor.together)
        assert not late.wait(0.05) and not alone.is_set()
        early_leaves.set()
        assert alone.wait(10)
        assert not late.wait(0.05)
        alone_leaves.set()
        assert late.wait(10)
        late_leaves.set()
        last.result(10)


def test_it_is_free_again_after_an_error():
    floor = Floor()
    for way in (floor.alone, floor.together):
        with pytest.raises(ValueError, match="in work"), way():
            raise ValueError("in work")
    with floor.alone():
        pass


def test_no_two_are_alone_at_once_and_nobody_is_together_with_them():
    floor = Floor()
    lock = threading.Lock()
    inside = []
    worst = []

    def work(number):
        with floor.alone() if number % 5 == 0 else floor.together():
            with lock:
                inside.append(number)
                if any(n % 5 == 0 for n in inside):
                    worst.append(len(inside))
            with lock:
                inside.remove(number)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(500)))
    assert set(worst) == {1}
