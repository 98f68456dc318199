"""Fetching behind circuit breakers: a host that answers nobody costs its own photographs time, and no others.

Hosts of web addresses and S3 buckets have a circuit each. Local files have none: a disk is not called.
"""

import math
from collections.abc import Callable

import httpx

from worker.breaker import Breakers, Limits, Refused
from worker.errors import Cause, PutOff, Transient
from worker.intake.uri import scheme_of

HOST_SHARE = 0.75
"""Of a worker's threads, so many may be with one host at the same time; the rest stays for others."""

_SHOWN_CHARACTERS = 200


class GuardedFetch:
    """Calls `fetch`, but raises `PutOff` where the host is known to answer nobody. Thread-safe."""

    def __init__(self, fetch: Callable[[str], bytes], breakers: Breakers) -> None:
        self._fetch = fetch
        self._breakers = breakers

    def __call__(self, uri: str) -> bytes:
        """The bytes at `uri`. Raises `PutOff`, and what `fetch` raises."""
        host = host_of(uri)
        if host is None:
            return self._fetch(uri)
        try:
            with self._breakers.call(host):
                return self._fetch(uri)
        except Refused as refused:
            raise PutOff(f"{host[:_SHOWN_CHARACTERS]} {refused.why}.", retry_in_s=refused.retry_in_s) from None


def host_breakers(threads: int) -> Breakers:
    """Circuits for the hosts that a worker with so many threads fetches from."""
    most_calls = max(1, math.floor(threads * HOST_SHARE))
    return Breakers(Limits(most_calls=most_calls), is_failure=_answers_nobody, pause_of=_pause_of)


def host_of(uri: str) -> str | None:
    """What answers for an address: "photos.example.org:8443", "s3://bucket"; None for files, and for what is no
    address, which the fetch itself refuses."""
    scheme = scheme_of(uri)
    if scheme == "s3":
        return "s3://" + uri.partition("://")[2].partition("/")[0]
    if scheme not in {"http", "https"}:
        return None
    try:
        url = httpx.URL(uri)
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError):
        return None
    port = url.port or {"http": 80, "https": 443}[scheme]
    return f"{host.lower().rstrip('.')}:{port}" if host else None


def _answers_nobody(error: BaseException) -> bool:
    return isinstance(error, Transient)


def _pause_of(error: BaseException) -> float | None:
    is_busy = isinstance(error, Transient) and error.cause is Cause.BUSY
    return error.retry_after_s if is_busy and isinstance(error, Transient) else None
