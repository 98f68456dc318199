"""Many share the floor, few do, or one has it alone; suspects are not kept waiting by others who come later."""

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


def _come_through(floor, count):
    for _ in range(count):
        with floor.among_suspects():
            pass


@pytest.mark.parametrize("came_through", [0, 1, 4])
def test_as_many_suspects_more_are_in_at_once_as_have_come_through(came_through):
    floor = Floor()
    _come_through(floor, came_through)
    with ThreadPoolExecutor(8) as pool:
        entered = [_enters(pool, floor.among_suspects) for _ in range(came_through + 2)]
        wait_for(lambda: sum(inside.is_set() for inside, _, _ in entered) == came_through + 1, "as many as may")
        wait_for(lambda: floor.waiting_few == 1, "one that waits")
        assert sum(inside.is_set() for inside, _, _ in entered) == came_through + 1
        for _, leave, _ in entered:
            leave.set()
        for _, _, done in entered:
            done.result(10)


def test_after_a_new_beginning_the_first_is_alone_again():
    floor = Floor()
    _come_through(floor, 7)
    floor.begin_anew()
    with ThreadPoolExecutor(2) as pool:
        (first, first_leaves, _), (second, second_leaves, _) = (
            _enters(pool, floor.among_suspects) for _ in range(2)
        )
        wait_for(
            lambda: (first.is_set() or second.is_set()) and floor.waiting_few == 1, "one inside and one that waits"
        )
        assert first.is_set() != second.is_set()
        first_leaves.set()
        second_leaves.set()


def test_suspects_wait_for_others_to_leave_and_keep_them_out_and_one_alone_waits_for_the_few():
    floor = Floor()
    with ThreadPoolExecutor(4) as pool:
        early, early_leaves, _ = _enters(pool, floor.together)
        assert early.wait(10)
        few, few_leaves, _ = _enters(pool, floor.among_suspects)
        wait_for(lambda: floor.waiting_few == 1, "a suspect that waits")
        alone, alone_leaves, _ = _enters(pool, floor.alone)
        wait_for(lambda: floor.waiting_alone == 1, "somebody who waits to be alone")
        late, late_leaves, last = _enters(pool, floor.together)
        early_leaves.set()
        assert few.wait(10)
        assert floor.waiting_alone == 1 and not late.is_set()
        few_leaves.set()
        assert alone.wait(10)
        assert not late.is_set()
        alone_leaves.set()
        assert late.wait(10)
        late_leaves.set()
        last.result(10)


def test_it_is_free_again_after_an_error():
    floor = Floor()
    for way in (floor.alone, floor.among_suspects, floor.together):
        with pytest.raises(ValueError, match="in work"), way():
            raise ValueError("in work")
    with floor.alone():
        pass


def test_nobody_is_alone_with_others_and_no_suspect_with_those_who_are_none():
    floor = Floor()
    ways = [floor.alone, floor.among_suspects, floor.together]
    lock = threading.Lock()
    inside = []
    seen = set()

    def work(number):
        kind = 0 if number % 7 == 0 else 1 if number % 3 == 0 else 2
        with ways[kind]():
            with lock:
                inside.append(kind)
                seen.add(tuple(sorted(inside)))
            with lock:
                inside.remove(kind)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(700)))
    assert all(len(set(kinds)) == 1 and (kinds[0] != 0 or len(kinds) == 1) for kinds in seen), seen
