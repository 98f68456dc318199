"""The port of a worker or dispatcher for those who watch it: `/metrics`, `/readyz`, `/healthz`. GET alone, and no
secrets: who reaches the port may read it.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socket import AF_INET, AF_INET6
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from worker.errors import SetupError
from worker.settings import Settings

log = logging.getLogger(__name__)

_TIMEOUT_S = 10.0  # who connects and says nothing holds a thread no longer than that


class Readiness:
    """Says why a process is not ready, None where it is. Whoever knows better than before gives another `look`."""

    def __init__(self, reason: str) -> None:
        """Not ready at first, for this reason."""
        self._look: Callable[[], str | None] = lambda: reason

    def follow(self, look: Callable[[], str | None]) -> None:
        """From now on `look` is asked, each time somebody wants to know."""
        self._look = look

    def refuse(self, reason: str) -> None:
        """From now on it is not ready, for this reason."""
        self._look = lambda: reason

    def __call__(self) -> str | None:
        return self._look()


def new_registry() -> CollectorRegistry:
    """A registry with what the system knows of this process: memory, CPU time, open files."""
    # Else there is a second series beside each counter, which says only when this process began.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


@contextmanager
def open_port(settings: Settings, registry: CollectorRegistry, readiness: Readiness) -> Iterator[bool]:
    """Answers on GLOBETAG_METRICS_PORT while the context lasts. False, and no port: that is not set.

    Raises `SetupError` where the port cannot be had, as when another worker of this machine has it.
    """
    if settings.metrics_port is None:
        yield False
        return
    where = (settings.metrics_host, settings.metrics_port)
    try:
        server = _Server(where, registry, readiness)
    except OSError as error:
        raise SetupError(
            f"port {settings.metrics_port} of {settings.metrics_host} cannot be opened"
            f" ({error.strerror or error}): give each process on a machine a GLOBETAG_METRICS_PORT of its own"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield True
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingMixIn, TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, where: tuple[str, int], registry: CollectorRegistry, readiness: Readiness) -> None:
        self.address_family = AF_INET6 if ":" in where[0] else AF_INET
        self.registry = registry
        self.readiness = readiness
        super().__init__(where, _Handler)

    def handle_error(self, _request: Any, _address: Any) -> None:
        """A caller that goes away is nothing that an operator must know."""
        log.debug("a request on the metrics port broke off", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = _TIMEOUT_S
    server_version = "globetag"
    sys_version = ""
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, media_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, encode(self.server.registry), media_type)
        elif path == "/healthz":
            self._answer(200, b"alive\n")
        elif path == "/readyz":
            reason = self.server.readiness()
            self._answer(503 if reason else 200, f"{reason or 'ready'}\n".encode())
        else:
            self._answer(404, b"there are /metrics, /readyz and /healthz\n")

    def _answer(self, status: int, body: bytes, media_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Probes come every few seconds: no log of them."""
