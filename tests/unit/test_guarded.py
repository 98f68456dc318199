"""What answers for an address, and what Retry-After asks for."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import JobError
from worker.intake.guarded import GuardedFetch, host_breakers, host_of
from worker.intake.web import seconds_of


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("https://Photos.Example.org/a/b.jpg?x=y", "photos.example.org:443"),
        ("http://photos.example.org./a", "photos.example.org:80"),
        ("http://user:secret@photos.example.org:8080/a", "photos.example.org:8080"),
        ("http://[::1]:81/a", "::1:81"),
        ("https://bücher.example/a", "xn--bcher-kva.example:443"),
        ("s3://plates/1931/a.jpg", "s3://plates"),
        ("file:///archive/a.jpg", None),
        ("/archive/a.jpg", None),
        ("http://", None),
        ("http://a:b", None),
        ("ftp://example.org/a", None),
    ],
)
def test_what_answers_for_an_address(uri, host):
    assert host_of(uri) == host


@given(st.text(max_size=200))
def test_no_address_breaks_it(text):
    for uri in (text, "http://" + text, "s3://" + text):
        host_of(uri)


def test_an_address_that_is_none_is_left_to_the_fetch():
    def fetch(uri):
        raise JobError("refused_address", uri)

    with pytest.raises(JobError):
        GuardedFetch(fetch, host_breakers(8))("http://")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0),
        (b" 120 ", 120),
        (b"99999999999999999999", 999999999),
        (b"Sat, 21 Nov 2026 22:00:30 GMT", 30),
        (b"Sat, 21 Nov 2026 21:00:00 GMT", 0),
        (b"Sat, 21 Nov 2026 22:01:00 -0000", 60),
        (b"", None),
        (b"soon", None),
        (b"-5", None),
        (b"1.5", None),
        ("²".encode("latin-1"), None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert seconds_of(value, now=datetime(2026, 11, 21, 22, tzinfo=UTC)) == seconds


@given(st.binary(max_size=60))
def test_no_header_breaks_it(value):
    asked_s = seconds_of(value)
    assert asked_s is None or asked_s >= 0
