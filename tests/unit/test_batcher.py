import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.batcher import EX_SOFTWARE, Batcher, BatcherClosed, Fatal, Slot, WrongBatchLength, take_batch

PATIENCE_S = 30.0
"""Longest wait for another thread in a test; reached only when the test fails."""


class Gatekeeper:
    """A `run_batch` that records its batches and holds the first one until `open` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Event()
        self.open = threading.Event()

    def __call__(self, items: list[int]) -> list[int]:
        self.batches.append(items)
        self.entered.set()
        assert self.open.wait(PATIENCE_S)
        return [item * 10 for item in items]


def test_one_item_gets_its_result():
    batcher = Batcher(lambda items: [item + 1 for item in items], max_size=4)
    assert batcher.submit(1) == 2
    batcher.close()


def test_results_keep_their_place_under_many_threads():
    batcher = Batcher(lambda items: [-item for item in items], max_size=7)
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(batcher.submit, range(2000)))
    batcher.close()
    assert results == [-item for item in range(2000)]
    assert batcher.stats.items == 2000
    assert batcher.stats.largest_batch <= 7


def test_next_batch_gathers_while_one_runs():
    run = Gatekeeper()
    batcher = Batcher(run, max_size=4)
    first = batcher.enqueue(0)
    assert run.entered.wait(PATIENCE_S)
    rest = [batcher.enqueue(item) for item in range(1, 7)]
    run.open.set()
    assert [future.result(PATIENCE_S) for future in [first, *rest]] == [0, 10, 20, 30, 40, 50, 60]
    batcher.close()
    assert run.batches == [[0], [1, 2, 3, 4], [5, 6]]
    assert (batcher.stats.batches, batcher.stats.largest_batch) == (3, 4)


def test_cost_limits_a_batch_and_a_giant_runs_alone():
    run = Gatekeeper()
    batcher = Batcher(run, max_size=10, max_cost=10, cost=float)
    futures = [batcher.enqueue(1)]
    assert run.entered.wait(PATIENCE_S)
    futures += [batcher.enqueue(item) for item in (6, 4, 1, 99, 2)]
    run.open.set()
    assert [future.result(PATIENCE_S) for future in futures] == [10, 60, 40, 10, 990, 20]
    batcher.close()
    assert run.batches == [[1], [6], [4, 2], [1], [99]]


def test_waits_for_company_until_all_expected_have_come():
    # The wait is far longer than the test's patience: only `expected` can end it in time.
    batcher = Batcher(lambda items: [len(items)] * len(items), max_size=8, max_wait_s=3600, expected=3)
    futures = [batcher.enqueue(item) for item in range(3)]
    assert [future.result(PATIENCE_S) for future in futures] == [3, 3, 3]
    batcher.close()


def test_a_full_cost_budget_ends_the_wait():
    batcher = Batcher(lambda items: [len(items)] * len(items), max_size=8, max_cost=5, cost=float, max_wait_s=3600)
    futures = [batcher.enqueue(item) for item in (2.0, 2.5)]
    assert [future.result(PATIENCE_S) for future in futures] == [2, 2]
    batcher.close()


def test_age_ends_the_wait():
    batcher = Batcher(lambda items: items, max_size=8, max_wait_s=0.01)
    assert batcher.enqueue(5).result(PATIENCE_S) == 5
    batcher.close()


def test_an_exception_in_an_items_place_is_its_own():
    batcher = Batcher(lambda items: [ValueError(item) if item == 2 else item * 10 for item in items], max_size=8)
    futures = [batcher.enqueue(item) for item in range(5)]
    assert [future.result(PATIENCE_S) for future in futures if future is not futures[2]] == [0, 10, 30, 40]
    with pytest.raises(ValueError, match="2"):
        futures[2].result(PATIENCE_S)
    batcher.close()


def _refuses_three(items: list[int]) -> list[int]:
    if 3 in items:
        raise ValueError("three")
    return items


def _one_batch_of(batcher: Batcher[int, int], entered: threading.Event, opened: threading.Event) -> list:
    """Futures of 1, 2, 3, 4, which are certain to share a batch: they come while 0 holds the owner."""
    batcher.enqueue(0)
    assert entered.wait(PATIENCE_S)
    futures = [batcher.enqueue(item) for item in (1, 2, 3, 4)]
    opened.set()
    return futures


@pytest.mark.parametrize("isolate", [True, False])
def test_a_batch_that_raises(isolate: bool):
    run = Gatekeeper()
    batcher = Batcher(lambda items: _refuses_three(run(items) and items), max_size=8, isolate_failures=isolate)
    futures = _one_batch_of(batcher, run.entered, run.open)
    failures = [future.exception(PATIENCE_S) for future in futures]
    batcher.close()
    if isolate:
        assert [type(failure) for failure in failures] == [type(None), type(None), ValueError, type(None)]
        assert run.batches == [[0], [1, 2, 3, 4], [1], [2], [3], [4]]
        assert batcher.stats.retried_items == 4
    else:
        assert [type(failure) for failure in failures] == [ValueError] * 4
        assert run.batches == [[0], [1, 2, 3, 4]]


@pytest.mark.parametrize("answer", [[], [1, 2, 3]])
def test_wrong_length_fails_loudly_and_the_batcher_goes_on(answer: list[int]):
    answers = deque([answer, [42]])
    batcher = Batcher(lambda _items: answers.popleft(), max_size=2)
    with pytest.raises(WrongBatchLength, match="1 items in"):
        batcher.submit(1)
    assert batcher.submit(1) == 42
    batcher.close()


def test_close_drains_and_then_refuses():
    run = Gatekeeper()
    batcher = Batcher(run, max_size=2, max_wait_s=3600)
    futures = [batcher.enqueue(item) for item in range(5)]
    closer = threading.Thread(target=batcher.close)
    closer.start()
    run.open.set()
    closer.join(PATIENCE_S)
    assert [future.result(0) for future in futures] == [0, 10, 20, 30, 40]
    with pytest.raises(BatcherClosed):
        batcher.submit(6)
    batcher.close()  # closing twice is harmless


def test_a_cancelled_item_is_left_out():
    run = Gatekeeper()
    batcher = Batcher(run, max_size=4)
    batcher.enqueue(0)
    assert run.entered.wait(PATIENCE_S)
    gone, kept = batcher.enqueue(1), batcher.enqueue(2)
    assert gone.cancel()
    run.open.set()
    assert kept.result(PATIENCE_S) == 20
    batcher.close()
    assert run.batches == [[0], [2]]
    with pytest.raises(CancelledError):
        gone.result(0)


@pytest.mark.parametrize("death", [Fatal("the GPU is gone"), SystemExit(1)])
def test_a_dead_owner_leaves_nobody_waiting(death: BaseException):
    run = Gatekeeper()
    seen: list[BaseException] = []

    def dies(items: list[int]) -> list[int]:
        run(items)
        raise death

    batcher = Batcher(dies, max_size=1, on_death=seen.append)
    futures = [batcher.enqueue(item) for item in range(3)]
    run.open.set()
    for future in futures:
        with pytest.raises(BatcherClosed, match="owner thread died"):
            future.result(PATIENCE_S)
    with pytest.raises(BatcherClosed):
        batcher.submit(4)
    batcher.close()
    assert seen == [death]


def test_a_dead_owner_ends_the_process_by_default():
    program = (
        "from worker.batcher import Batcher, Fatal\n"
        "def dies(items): raise Fatal('gone')\n"
        "Batcher(dies, max_size=1).submit(1)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == EX_SOFTWARE
    assert b"owner thread died" in ended.stderr


def test_a_failing_cost_is_the_callers_own():
    batcher = Batcher(lambda items: items, max_size=2, cost=lambda item: 1 / item)
    with pytest.raises(ZeroDivisionError):
        batcher.submit(0)
    assert batcher.submit(1) == 1
    batcher.close()


@given(
    costs=st.lists(st.integers(0, 20), max_size=40),
    max_size=st.integers(1, 8),
    max_cost=st.integers(1, 30),
)
def test_batches_are_full_and_within_limits_and_nothing_waits_behind_later_ones(
    costs: list[int], max_size: int, max_cost: int
):
    waiting: deque[Slot[int, int]] = deque(Slot(item, float(cost), since_s=0.0) for item, cost in enumerate(costs))
    order: list[int] = []
    while waiting:
        oldest = waiting[0]
        batch = take_batch(waiting, max_size, max_cost)
        assert batch[0] is oldest
        order += [slot.item for slot in batch]
        dearest = max(slot.cost for slot in batch)
        assert 1 <= len(batch) <= max_size
        assert len(batch) * dearest <= max_cost or len(batch) == 1
        if len(batch) < max_size:  # nothing more would have fitted
            assert all((len(batch) + 1) * max(dearest, slot.cost) > max_cost for slot in waiting)
        assert [slot.item for slot in waiting] == sorted(slot.item for slot in waiting)
    assert sorted(order) == list(range(len(costs)))
    assert take_batch(waiting, max_size, max_cost) == []


def test_where_more_wait_than_fit_those_of_like_length_go_together():
    waiting: deque[Slot[int, int]] = deque(
        Slot(item, cost, since_s=0.0) for item, cost in enumerate([300.0, 1200.0, 310.0, 1190.0, 290.0, 1210.0])
    )
    batches = [[slot.item for slot in take_batch(waiting, 3, 10_000.0)] for _ in range(2)]
    assert batches == [[0, 2, 4], [1, 3, 5]]


@given(count=st.integers(1, 20), max_size=st.integers(1, 8))
def test_equals_go_first_come_first_served(count: int, max_size: int):
    waiting: deque[Slot[int, int]] = deque(Slot(item, 0.0, since_s=0.0) for item in range(count))
    order = []
    while waiting:
        order += [slot.item for slot in take_batch(waiting, max_size, 1.0)]
    assert order == list(range(count))
