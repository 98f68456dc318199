"""Waits before the next try: their bounds by cause, the server's own wish, and when a photograph is given up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.reasons import JobState, Reason
from worker.backoff import MOST_RETRY_AFTER_S, STEPS, Backoff
from worker.errors import Cause, PutOff, Transient
from worker.outcome import Job

UNIT = st.floats(min_value=0, max_value=1, exclude_max=True)


def _after(attempts, error, **policy):
    return Backoff(max_attempts=3, first_s=30.0, **policy).settle(Job("j", "u", attempts=attempts), error)


@given(st.sampled_from(Cause), st.integers(1, 2000), UNIT)
def test_a_wait_is_never_longer_than_its_ceiling_and_never_negative(cause, attempts, drawn):
    wait_s = Backoff(draw=lambda: drawn).wait_s(cause, attempts)
    assert 0 <= wait_s <= STEPS[cause].ceiling_s


@pytest.mark.parametrize(
    ("cause", "ceilings"),
    [
        (Cause.NETWORK, [30, 60, 120, 240, 480, 900, 900]),
        (Cause.BUSY, [30, 60, 120, 240, 480, 960, 1920, 3600]),
        (Cause.MODEL, [5, 10, 20, 40, 80, 160, 300, 300]),
    ],
)
def test_ceilings_double_until_they_are_reached(cause, ceilings):
    backoff = Backoff(draw=lambda: 1.0)
    assert [backoff.wait_s(cause, attempts) for attempts in range(1, len(ceilings) + 1)] == ceilings


def test_waits_are_spread_over_all_of_it():
    backoff = Backoff()
    waits_s = [backoff.wait_s(Cause.NETWORK, 1) for _ in range(400)]
    assert min(waits_s) < 5 < 25 < max(waits_s) <= 30
    assert len(set(waits_s)) > 390


@given(st.floats(0, 1e9), UNIT)
def test_a_server_is_not_asked_before_the_time_that_it_names_but_for_an_hour_at_most(asked_s, drawn):
    wait_s = Backoff(draw=lambda: drawn).wait_s(Cause.BUSY, 1, retry_after_s=asked_s)
    assert min(asked_s, MOST_RETRY_AFTER_S) <= wait_s <= MOST_RETRY_AFTER_S + 30


@pytest.mark.parametrize(("cause", "tries"), [(Cause.NETWORK, 3), (Cause.BUSY, 9), (Cause.MODEL, 9)])
def test_each_cause_has_its_number_of_tries(cause, tries):
    error = Transient(Reason.UNREACHABLE, "d", cause=cause)
    states = [_after(attempts, error).state for attempts in range(1, tries + 1)]
    assert states == [JobState.QUEUED] * (tries - 1) + [JobState.FAILED]


def test_what_was_put_off_was_not_tried_however_often_that_was():
    settled = _after(99, PutOff("host is away.", retry_in_s=20.0))
    assert (settled.state, settled.untried, settled.reason) == (JobState.QUEUED, True, Reason.UNREACHABLE)
    assert 20.0 <= settled.retry_in_s <= 25.0


def test_what_waits_longer_is_looked_at_less_often():
    """Eight hours cost each photograph a dozen rounds, not a thousand."""
    backoff = Backoff(draw=lambda: 0.0)
    waited_s = rounds = 0.0
    while (settled := backoff.settle(Job("j", "u", put_off_s=waited_s), PutOff("d.", retry_in_s=30.0))).untried:
        if settled.state is JobState.FAILED:
            break
        waited_s += settled.retry_in_s
        rounds += 1
    assert 8 * 3600 <= waited_s < 9 * 3600
    assert rounds < 50


def test_a_host_that_never_comes_back_fails_its_photographs_in_the_end():
    settled = _after(1, PutOff("host:80 has not answered lately.", retry_in_s=5.0), give_up_s=-1.0)
    assert (settled.state, settled.reason) == (JobState.FAILED, Reason.UNREACHABLE)
    assert settled.detail.startswith("host:80 has not answered lately. It has been waited for")
