"""Circuits: when they open, half-open and close; how many calls a host may have. The clock is the test's own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import breaker
from worker.breaker import Breakers, Limits, Refused


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


class Away(Exception):
    def __init__(self, pause_s=None):
        super().__init__("away")
        self.pause_s = pause_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(clock):
    def make(**limits):
        limits = {"failures": 3, "open_s": 10.0, "longest_s": 60.0} | limits
        return Breakers(
            Limits(**limits),
            is_failure=lambda error: isinstance(error, Away),
            pause_of=lambda error: error.pause_s,
            clock=clock,
        )

    return make


def _fail(breakers, key="a", error=Away):
    with pytest.raises(Exception) as raised, breakers.call(key):
        raise error() if isinstance(error, type) else error
    return raised.type


def _succeed(breakers, key="a"):
    with breakers.call(key):
        pass


def _refused_for(breakers, key="a"):
    with pytest.raises(Refused) as refused, breakers.call(key):
        pytest.fail("the call was made")
    return refused.value.retry_in_s


def test_failures_in_a_row_open_it_and_only_its_own(make):
    breakers = make()
    for _ in range(3):
        assert breakers.state("a") == "closed"
        assert _fail(breakers) is Away
    assert breakers.state("a") == "open"
    assert _refused_for(breakers) == 10.0
    _succeed(breakers, "b")


def test_an_answer_in_between_and_answers_that_are_no_are_no_failures(make):
    breakers = make()
    for _ in range(5):
        _fail(breakers)
        _fail(breakers)
        _succeed(breakers)
        _fail(breakers)
        _fail(breakers)
        assert _fail(breakers, error=KeyError) is KeyError
    assert breakers.state("a") == "closed"


def test_one_call_tries_and_closes_it(make, clock):
    breakers = make()
    for _ in range(3):
        _fail(breakers)
    clock.now_s += 10
    assert breakers.state("a") == "half-open"
    with breakers.call("a"):
        assert _refused_for(breakers) > 0, "another one while the first tries"
    assert breakers.state("a") == "closed"
    _fail(breakers)
    assert breakers.state("a") == "closed", "it is counted from nothing again"


def test_a_trial_that_fails_opens_it_for_twice_as_long_up_to_the_longest(make, clock):
    breakers = make()
    for _ in range(3):
        _fail(breakers)
    waits_s = []
    for _ in range(5):
        waits_s.append(_refused_for(breakers))
        clock.now_s += waits_s[-1]
        _fail(breakers)
    assert waits_s == [10, 20, 40, 60, 60]
    clock.now_s += 60
    _succeed(breakers)
    for _ in range(3):
        _fail(breakers)
    assert _refused_for(breakers) == 10, "and from the shortest again once it has answered"


def test_a_host_that_asks_for_a_pause_gets_it_at_once(make):
    breakers = make()
    _fail(breakers, error=Away(pause_s=42.0))
    assert _refused_for(breakers) == 42.0
    _fail(breakers, "b", error=Away(pause_s=1e9))
    assert _refused_for(breakers, "b") == 60.0


def test_an_answer_to_a_call_from_before_does_not_close_it(make, clock):
    breakers = make()
    with breakers.call("a"):
        for _ in range(3):
            _fail(breakers)
    assert breakers.state("a") == "open"


def test_an_interrupted_call_leaves_nothing_behind(make):
    breakers = make(most_calls=1)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt), breakers.call("a"):
            raise KeyboardInterrupt
    _succeed(breakers)


def test_one_call_too_many_is_turned_away_where_one_of_them_is_slow(make, clock):
    breakers = make(most_calls=2, slow_s=5.0)
    with breakers.call("a"), breakers.call("a"):
        clock.now_s += 5
        assert _refused_for(breakers) == 5.0
        _succeed(breakers, "b")
    _succeed(breakers)


def test_one_call_too_many_waits_where_they_are_quick():
    breakers = Breakers(Limits(most_calls=3, slow_s=60.0), is_failure=lambda _: False)
    lock = threading.Lock()
    running = most = done = 0

    def work(_):
        nonlocal running, most, done
        with breakers.call("a"):
            with lock:
                running += 1
                most = max(most, running)
            with lock:
                running -= 1
                done += 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(500), timeout=60))
    assert (done, running) == (500, 0)
    assert most <= 3


def test_of_many_threads_one_tries(make, clock):
    breakers = make()
    for _ in range(3):
        _fail(breakers)
    clock.now_s += 10
    barrier = threading.Barrier(8)
    refusals = []

    def work(_):
        barrier.wait(10)
        try:
            with breakers.call("a"):
                barrier.wait(10)  # until all others were turned away
                return 1
        except Refused as refused:
            refusals.append(refused)
            barrier.wait(10)
            return 0

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8), timeout=60)) == 1
    assert len(refusals) == 7


def test_it_does_not_remember_every_host_there_ever_was(make, monkeypatch):
    monkeypatch.setattr(breaker, "MOST_KEYS", 50)
    breakers = make()
    for _ in range(3):
        _fail(breakers, "away")
    for number in range(500):
        _succeed(breakers, f"host {number}")
    assert len(breakers._circuits) == 50
    assert breakers.state("away") == "open", "what is open is remembered before what is not"


@given(st.lists(st.tuples(st.sampled_from(["ok", "away", "no", "later"]), st.floats(0, 100)), max_size=60))
def test_whatever_happens_it_lets_a_call_through_in_the_end(events):
    clock = Clock()
    limits = Limits(failures=2, open_s=10.0, longest_s=60.0)
    breakers = Breakers(limits, is_failure=lambda e: isinstance(e, Away), clock=clock)
    for what, pause_s in events:
        clock.now_s += pause_s if what == "later" else 0
        try:
            with breakers.call("a"):
                if what == "away":
                    raise Away
                if what == "no":
                    raise KeyError
        except (Away, KeyError):
            pass
        except Refused as refused:
            assert 0 < refused.retry_in_s <= 60
    clock.now_s += 60
    _succeed(breakers)
    assert breakers.state("a") == "closed"
