"""Posting to an address that an operator gave, over connections that go only where they may.

What an answer says beyond its status is not read: the receiver's words are nobody's instruction. Redirects are not
followed, as Standard Webhooks asks; where they lead nobody has agreed to.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpcore
import httpx

from worker.errors import JobError
from worker.intake.address import Resolve, system_addresses
from worker.intake.fetch_limits import FetchLimits
from worker.intake.pinned import PinnedBackend, deadline
from worker.intake.uri import shown
from worker.intake.web import user_agent

TIMEOUT_S = 20.0
_CONNECT_S = 5.0
_DRAINED_BYTES = 1 << 16  # a short answer is read, so that the connection can serve again; a longer one is cut off
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request. `status` is None where there was no answer, `problem` None where it was accepted."""

    status: int | None = None
    problem: str | None = None
    retry_after_s: float | None = None


class Poster:
    """Posts to webhooks. Thread-safe."""

    def __init__(
        self,
        *,
        allow_private: bool,
        timeout_s: float = TIMEOUT_S,
        resolve: Resolve = system_addresses,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """`allow_private`: addresses in private networks, any port, and plain http."""
        limits = FetchLimits(timeout_s=timeout_s, connect_timeout_s=_CONNECT_S, allow_private=allow_private)
        self._limits = limits
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context or httpx.create_ssl_context(),
            max_connections=None,  # the caller's threads are the bound
            max_keepalive_connections=16,
            keepalive_expiry=15.0,
            network_backend=PinnedBackend(limits, resolve),
        )
        self._user_agent = user_agent()

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Returns within the timeout whatever happens there; raises nothing that a receiver could cause."""
        if fault := url_fault(url, allow_private=self._limits.allow_private):
            return Answer(problem=f"The address {fault}.")
        target = httpx.URL(url)
        request = httpcore.Request(
            "POST",
            httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path),
            headers=[
                ("Host", target.netloc),
                ("User-Agent", self._user_agent),
                ("Content-Length", str(len(body))),
                ("Accept-Encoding", "identity"),
                *headers.items(),
            ],
            content=body,
            extensions={"timeout": {"connect": _CONNECT_S}},
        )
        try:
            with deadline(self._limits.timeout_s):
                response = self._pool.handle_request(request)
                try:
                    return self._read(response)
                finally:
                    response.close()
        except JobError as error:
            return Answer(problem=error.detail)
        except httpcore.TimeoutException:
            return Answer(problem=f"There was no answer within {self._limits.timeout_s:g} s.")
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            return Answer(problem=f"The connection failed ({' '.join(str(error).split())[:200]}).")

    def close(self) -> None:
        """Closes idle connections. No request may be running."""
        self._pool.close()

    def _read(self, response: httpcore.Response) -> Answer:
        status = response.status
        if 300 <= status < 400:
            return Answer(status, f"The receiver answered {status}: it redirects, and that is not followed.")
        if not 200 <= status < 300:
            return Answer(status, f"The receiver answered {status}.", _retry_after_s(response))
        drained = 0
        for chunk in response.iter_stream():
            drained += len(chunk)
            if drained > _DRAINED_BYTES:
                break
        return Answer(status)


def url_fault(url: str, *, allow_private: bool) -> str | None:
    """What is wrong with a webhook's address, as the end of "the address ..."; None where nothing is.

    Names are looked up when something is posted, not here.
    """
    try:
        parsed = httpx.URL(url)
        port = urlsplit(url).port
    except (httpx.InvalidURL, UnicodeError, ValueError):
        return "is not a valid one"
    faults = {
        "must begin with https://": parsed.scheme not in {"http", "https"},
        "must begin with https:// (plain http only with GLOBETAG_ALLOW_PRIVATE_ADDRESSES)": (
            parsed.scheme == "http" and not allow_private
        ),
        "carries a user name or password; the signature says who sends": bool(parsed.userinfo),
        "names no host": not _HOST.fullmatch(parsed.raw_host.decode("ascii")),
        "has a port that does not exist": port == 0,
    }
    return next((fault for fault, holds in faults.items() if holds), None)


def receiver(url: str) -> str:
    """Scheme and host of an address, for messages and logs: what follows is often the receiver's secret."""
    return "/".join(shown(url).split("/", 3)[:3])


def _retry_after_s(response: httpcore.Response) -> float | None:
    """Seconds that the receiver asks for (RFC 9110, 10.2.3); its other form, a date, is left alone."""
    for name, value in response.headers:
        if name.lower() == b"retry-after" and value.isdigit() and len(value) < 9:
            return float(value)
    return None
