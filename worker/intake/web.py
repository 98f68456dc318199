"""Fetching from web servers that a stranger named, without being sent where the stranger should not reach.

Here a URL's form is checked, the answer judged and the body limited; redirects are followed by hand, each
checked as the first address was. `pinned` decides where connections may go.

httpcore, the engine inside httpx, is used directly: its network backend is where a connection is made, and
without httpx's client there are no cookies, no proxies or netrc from the environment, no hidden redirects.
"""

import contextlib
import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO

import httpcore
import httpx

from schema.reasons import Reason
from worker.errors import Cause, JobError, Transient
from worker.intake.address import Resolve
from worker.intake.fetch_limits import FetchLimits, hosts_include, in_units
from worker.intake.pinned import PinnedBackend, deadline
from worker.intake.uri import shown

_REDIRECTS = {301, 302, 303, 307, 308}
_WHOLE = {200, 203, 204}  # 206 would be a part of a photograph
_GONE = {404, 410}
_NOT_PERMITTED = {401, 402, 403, 407, 451}
_MAY_PASS = {408, 425, 429}
_BUSY = {429, 503}

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")  # a name or IPv4, or IPv6 without a zone


def user_agent() -> str:
    """ "globetag/<version>", so that a server's operator can tell who came."""
    try:
        return f"globetag/{version('globetag')}"
    except PackageNotFoundError:  # run from a checkout that was not installed
        return "globetag"


class WebFetcher:
    """Gets http and https URLs. Thread-safe; one connection pool for all threads."""

    def __init__(self, limits: FetchLimits, resolve: Resolve, ssl_context: ssl.SSLContext | None = None) -> None:
        self._limits = limits
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context or httpx.create_ssl_context(),
            max_connections=None,  # the caller's threads are the bound
            max_keepalive_connections=32,
            keepalive_expiry=15.0,
            network_backend=PinnedBackend(limits, resolve),
        )
        self._user_agent = user_agent()

    def get(self, uri: str) -> bytes:
        """The whole body at `uri`.

        Only a body whose length agrees with what the server announced counts as whole; where a server
        announces none, the end of the connection has to be taken for the end of the file. Raises JobError
        (not_found, forbidden, refused_address, too_large, unreachable for an answer that no retry will
        change) and Transient (unreachable, timeout).
        """
        try:
            with deadline(self._limits.timeout_s):
                url = self._parse(uri, shown(uri))
                for _ in range(self._limits.max_redirects + 1):
                    answer = self._get_once(url)
                    if isinstance(answer, bytes):
                        return answer
                    url = answer
        except httpcore.TimeoutException as error:
            raise Transient(
                Reason.TIMEOUT,
                f"{shown(uri)} did not arrive in time (limits: {self._limits.connect_timeout_s:g} s to connect,"
                f" {self._limits.timeout_s:g} s in all).",
            ) from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise _broken(uri, error) from error
        raise JobError(Reason.UNREACHABLE, f"{shown(uri)} redirects more than {self._limits.max_redirects} times.")

    def close(self) -> None:
        """Closes idle connections. No fetch may be running."""
        self._pool.close()

    def _get_once(self, url: httpx.URL) -> bytes | httpx.URL:
        """The body, or where the server redirects to."""
        request = httpcore.Request(
            "GET",
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers={
                "Host": url.netloc,
                "User-Agent": self._user_agent,
                "Accept": "image/*, */*;q=0.5",
                "Accept-Encoding": "identity",
            },
            extensions={"timeout": {"connect": self._limits.connect_timeout_s}},
        )
        response = self._pool.handle_request(request)
        try:
            headers = {name.lower(): value for name, value in reversed(response.headers)}
            if response.status in _REDIRECTS and b"location" in headers:
                return self._redirected(url, headers[b"location"])
            if response.status not in _WHOLE:
                raise _refusal(url, response.status, seconds_of(headers.get(b"retry-after", b"")))
            return self._body(url, response, headers)
        finally:
            response.close()

    def _body(self, url: httpx.URL, response: httpcore.Response, headers: dict[bytes, bytes]) -> bytes:
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in {b"", b"identity"}:
            # Photographs are compressed already; what comes compressed again unasked may be a bomb.
            raise JobError(
                Reason.UNREACHABLE,
                f"{shown(str(url))}: the server sent the encoding {encoding.decode('latin-1')!r} unasked.",
            )
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._limits.max_bytes:
            raise self._too_large(url, f"announces {in_units(int(announced))}")
        body = BytesIO()  # its getvalue shares the buffer, where joining a list would need twice the memory
        for chunk in response.iter_stream():
            if body.tell() + len(chunk) > self._limits.max_bytes:
                raise self._too_large(url, "sent more than allowed")
            body.write(chunk)
        return body.getvalue()

    def _too_large(self, url: httpx.URL, what: str) -> JobError:
        limit = in_units(self._limits.max_bytes)
        return JobError(Reason.TOO_LARGE, f"{shown(str(url))}: the server {what}; the limit is {limit}.")

    def _redirected(self, url: httpx.URL, location: bytes) -> httpx.URL:
        try:
            target = str(url.join(location.decode()))
        except (httpx.InvalidURL, UnicodeError) as error:
            raise JobError(
                Reason.UNREACHABLE, f"{shown(str(url))} redirects to something that is no address."
            ) from error
        onward = self._parse(target, f"{shown(str(url))} redirects to {shown(target)}, which")
        if url.scheme == "https" and onward.scheme == "http":
            raise JobError(Reason.REFUSED_ADDRESS, f"{shown(str(url))} redirects from https to unprotected http.")
        return onward

    def _parse(self, uri: str, subject: str) -> httpx.URL:
        """The URL, when its form and host are allowed. `subject` begins the sentence that refuses it."""

        def refused(why: str) -> JobError:
            return JobError(Reason.REFUSED_ADDRESS, f"{subject} {why}.")

        try:
            url = httpx.URL(uri)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise refused("is not a valid address") from error
        if url.scheme not in {"http", "https"}:
            raise refused("does not lead to a web server")
        if url.userinfo:
            raise refused("carries a user name or password, which addresses may not")
        host = url.raw_host.decode("ascii")
        if not _HOST.fullmatch(host):
            raise refused("names no host")
        if url.port is not None and not 0 < url.port < 1 << 16:
            raise refused("has a port that does not exist")
        allowed = self._limits.allow_hosts
        if allowed is not None and not hosts_include(allowed, host):
            raise refused("is on a host that is not among the allowed ones")
        return url


def seconds_of(retry_after: bytes, *, now: datetime | None = None) -> float | None:
    """What `Retry-After` asks for: seconds, or an HTTP date (RFC 9110, 10.2.3). None where it is neither."""
    text = retry_after.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:  # "-0000", which names no zone and means UTC
        at = at.replace(tzinfo=UTC)
    return max((at - (now or datetime.now(UTC))).total_seconds(), 0.0)


def _refusal(url: httpx.URL, status: int, retry_after_s: float | None) -> JobError:
    """The failure that a status other than success stands for."""
    words = str(status)
    with contextlib.suppress(ValueError):  # servers invent codes; they have no phrase
        words = f"{status} ({HTTPStatus(status).phrase})"
    detail = f"{shown(str(url))}: the server answered {words}."
    if status in _GONE:
        return JobError(Reason.NOT_FOUND, detail)
    if status in _NOT_PERMITTED:
        return JobError(Reason.FORBIDDEN, detail)
    if status in _BUSY:
        return Transient(Reason.UNREACHABLE, detail, cause=Cause.BUSY, retry_after_s=retry_after_s)
    if status in _MAY_PASS or status >= 500:
        return Transient(Reason.UNREACHABLE, detail)
    return JobError(Reason.UNREACHABLE, detail)


def _broken(uri: str, error: Exception) -> JobError:
    """The failure that a broken connection stands for."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return JobError(
                Reason.UNREACHABLE,
                f"{shown(uri)}: the server's certificate is not valid ({cause.verify_message}).",
            )
    return Transient(Reason.UNREACHABLE, f"{shown(uri)}: the connection failed ({error}).")


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
