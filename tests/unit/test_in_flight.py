"""The bytes of photographs in work: counted, bounded, first come first served."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import wait_for
from worker.intake.in_flight import LARGEST_PICTURE_BYTES, InFlight

ROOM = LARGEST_PICTURE_BYTES


def test_a_photograph_holds_its_file_and_picture_and_then_its_picture_alone():
    flight = InFlight(10 * ROOM)
    with flight.room_for(1000) as room:
        assert flight.held_bytes == ROOM + 1000
        room.keep_only(600)
        assert flight.held_bytes == 600
    assert (flight.held_bytes, flight.peak_bytes) == (0, ROOM + 1000)


def test_a_photograph_that_fails_gives_its_room_back():
    flight = InFlight(10 * ROOM)
    with pytest.raises(OSError, match="damaged"), flight.room_for(1000):
        raise OSError("damaged")
    assert flight.held_bytes == 0


def test_the_next_waits_until_there_is_room():
    flight = InFlight(2 * ROOM)
    entered = threading.Event()

    def next_one():
        with flight.room_for(0):
            entered.set()

    with ThreadPoolExecutor(1) as pool, flight.room_for(0) as first:
        with flight.room_for(0):
            waits = pool.submit(next_one)
            wait_for(lambda: flight._waiting, "the next to wait", 10)
            assert not entered.is_set()
            first.keep_only(1)  # a byte too many is still there
            assert not entered.wait(0.05)
        waits.result(10)
    assert flight.peak_bytes <= 2 * ROOM


def test_a_giant_is_worked_on_alone_and_not_starved_by_small_ones():
    flight = InFlight(2 * ROOM)
    order = []

    def one(name, file_bytes):
        with flight.room_for(file_bytes):
            order.append((name, flight.held_bytes))

    with ThreadPoolExecutor(2) as pool:
        with flight.room_for(0):
            giant = pool.submit(one, "giant", 50 * ROOM)
            wait_for(lambda: len(flight._waiting) == 1, "the giant to wait", 10)
            small = pool.submit(one, "small", 0)
            wait_for(lambda: len(flight._waiting) == 2, "the small one to wait behind it", 10)
        giant.result(10)
        small.result(10)
    assert order == [("giant", 51 * ROOM), ("small", ROOM)]


@given(st.lists(st.integers(0, 2 * ROOM), min_size=1, max_size=20))
def test_many_threads_never_hold_more_than_there_is(sizes):
    flight = InFlight(3 * ROOM)

    def one(size):
        with flight.room_for(size) as room:
            room.keep_only(size // 2)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, sizes))
    assert flight.held_bytes == 0
    assert flight.peak_bytes <= 3 * ROOM


def test_no_room_at_all_is_refused():
    with pytest.raises(ValueError, match="0 bytes"):
        InFlight(0)
