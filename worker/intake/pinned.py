"""Connections that go only where they may, and end when they must: the two guards below every web fetch.

Where: a name is resolved once per connection, every address it has is checked, and the connection goes to an
address that was checked. Nothing is resolved again between check and use, so DNS rebinding has no moment to
act; the certificate is still verified against the name. A kept-alive connection serves only the same name and
port, that is, the address checked when it was opened.

When: httpcore takes a timeout for each read, which a server that drips a byte at a time never runs into. The
streams made here see every read, write and handshake, and cut each to the time left of the whole fetch.
"""

import contextlib
import ssl
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import httpcore

from schema.reasons import Reason
from worker.errors import JobError
from worker.intake.address import Address, Resolve, objection
from worker.intake.fetch_limits import FetchLimits, hosts_include

_PUBLIC_PORTS = {80, 443, *range(8000, 9000)}
"""Ports open to strangers' URLs: web servers live there, databases and mail do not."""

_deadline: ContextVar[float] = ContextVar("deadline")  # monotonic clock; a context belongs to one thread


@contextlib.contextmanager
def deadline(timeout_s: float) -> Iterator[None]:
    """Within the block, no operation of this thread on a pinned connection outlasts `timeout_s` from here."""
    token = _deadline.set(time.monotonic() + timeout_s)
    try:
        yield
    finally:
        _deadline.reset(token)


class PinnedBackend(httpcore.NetworkBackend):
    """Makes TCP connections, each to an address that was checked in the same breath.

    `connect_tcp` raises JobError(refused_address) besides httpcore's errors, and must run within `deadline`.
    """

    def __init__(self, limits: FetchLimits, resolve: Resolve) -> None:
        self._limits = limits
        self._resolve = resolve
        self._system = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._checked_addresses(host, port):
            try:
                stream = self._system.connect_tcp(str(address), port, _cut(timeout), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error  # the next address may answer; the last one's failure is reported
            else:
                return _DeadlineStream(stream)
        raise failure

    def _checked_addresses(self, host: str, port: int) -> list[Address]:
        trusted = self._limits.allow_private or hosts_include(self._limits.private_hosts, host)
        if not trusted and port not in _PUBLIC_PORTS:
            raise JobError(Reason.REFUSED_ADDRESS, f"{host}: port {port} is not a usual port of web servers.")
        addresses = list(self._resolve(host, port))
        for address in addresses:
            # One bad address among good ones is how rebinding looks, so it spoils the name.
            if kind := objection(address, allow_private=trusted):
                raise JobError(Reason.REFUSED_ADDRESS, f"{host} leads to {address}, which is {kind}.")
        return addresses


class _DeadlineStream(httpcore.NetworkStream):
    """A stream none of whose operations outlasts the running fetch's deadline."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _cut(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _cut(timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, _cut(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        self._stream.close()


def _cut(timeout_s: float | None) -> float:
    """`timeout_s`, or what is left until the deadline if that is less. Raises ReadTimeout when none is left."""
    left_s = _deadline.get() - time.monotonic()
    if left_s <= 0:
        raise httpcore.ReadTimeout("deadline")
    return left_s if timeout_s is None else min(timeout_s, left_s)
