"""Bytes for an address, or the reason why not. The first stage of the pipeline.

An address is a `file://` URI or an absolute path, an http or https URL, or `s3://bucket/key`. What it names is
not trusted, and neither is who named it: see `FetchLimits` for what may be reached, `web` for how strangers'
URLs are kept out of private networks. Nothing is retried here; the queue does that for `Transient` errors.
"""

import ssl
import threading
from typing import TYPE_CHECKING, Self

from schema.reasons import Reason
from worker.errors import JobError
from worker.intake.address import Resolve, system_addresses
from worker.intake.fetch_limits import FetchLimits
from worker.intake.local import file_tag, read_file
from worker.intake.s3 import S3Fetcher
from worker.intake.uri import local_path, scheme_of, shown

if TYPE_CHECKING:
    from worker.intake.web import WebFetcher

__all__ = ["FetchLimits", "Fetcher", "source_tag"]


class Fetcher:
    """Fetches whole files. Thread-safe: one for a process, shared by its threads."""

    def __init__(
        self,
        limits: FetchLimits | None = None,
        *,
        resolve: Resolve = system_addresses,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """`resolve` turns a host name into addresses. `ssl_context` None trusts certifi's authorities, or
        those that SSL_CERT_FILE or SSL_CERT_DIR name."""
        self._limits = limits or FetchLimits()
        self._resolve = resolve
        self._ssl_context = ssl_context
        self._lock = threading.Lock()
        self._web: WebFetcher | None = None
        self._s3 = S3Fetcher(self._limits)

    def fetch(self, uri: str) -> bytes:
        """The bytes at `uri`, complete; they may be none at all.

        Raises JobError with not_found, forbidden, refused_address, too_large, not_an_image (a folder or
        device) or unreachable (an answer that no retry will change), and Transient with unreachable or
        timeout. The details name no credentials and no query strings.
        """
        scheme = scheme_of(uri)
        if scheme in {"http", "https"}:
            return self._web_fetcher().get(uri)
        if scheme == "s3":
            return self._s3.get(uri)
        if scheme in {"", "file"}:
            path = local_path(uri)
            if path is None:
                raise JobError(
                    Reason.REFUSED_ADDRESS,
                    f"{shown(uri)} is not an absolute path on this machine.",
                )
            return read_file(path, max_bytes=self._limits.max_bytes, roots=self._limits.file_roots)
        raise JobError(Reason.REFUSED_ADDRESS, f"{shown(uri)}: the scheme {scheme[:20]!r} is not supported.")

    def close(self) -> None:
        """Closes all connections. No fetch may be running."""
        with self._lock:
            if self._web is not None:
                self._web.close()
                self._web = None
        self._s3.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _web_fetcher(self) -> "WebFetcher":
        # Made when first needed: an archive on a disk should not pay for the import of a web client.
        with self._lock:
            if self._web is None:
                from worker.intake.web import WebFetcher

                self._web = WebFetcher(self._limits, self._resolve, self._ssl_context)
            return self._web


def source_tag(uri: str) -> str | None:
    """A cheap sign of a source's state, without reading it: "size:mtime_ns" of a local file.

    None for web and S3 addresses, where asking costs a request (a listing gives S3's ETag for nothing, see
    `worker.intake.sources`), and for a file that cannot be looked at. Equal tags suggest equal bytes; only
    the content hash proves them.
    """
    path = local_path(uri) if scheme_of(uri) in {"", "file"} else None
    return None if path is None else file_tag(path)
