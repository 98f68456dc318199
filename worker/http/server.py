"""Runs the interface: uvicorn in a thread of this process, so that whoever started it decides when it ends."""

import ipaddress
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from worker.database import Database
from worker.errors import SetupError
from worker.http.app import Api, create_app
from worker.http.jobs import Jobs
from worker.http.tokens import read_tokens
from worker.metrics_port import new_registry
from worker.queue.app import make_app
from worker.queue_figures import problems, queue_figures
from worker.settings import Settings

log = logging.getLogger(__name__)

_MOST_CONNECTIONS = 512
_DRAIN_S = 30


class Server:
    """An HTTP server that listens already, and answers once it is started."""

    def __init__(self, config: uvicorn.Config, listening: socket.socket) -> None:
        self._server = uvicorn.Server(config)
        self._socket = listening
        self.failure: BaseException | None = None
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    @property
    def port(self) -> int:
        """Where it listens: of interest where port 0 was asked for."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Requests are answered from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Takes no more requests, answers those that are in work (for half a minute at most), and ends."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        except BaseException as error:
            self.failure = error
            log.critical("the HTTP server ended", exc_info=error)
        finally:
            self.ended.set()


@contextmanager
def open_server(settings: Settings, database: Database, *, host: str, port: int) -> Iterator[Server]:
    """A server on `host` and `port`, not started yet; stopped at the end.

    Raises `SetupError` where it cannot listen there, or would listen to a network while no token is configured.
    """
    tokens = read_tokens(settings.http_tokens or "")
    if not tokens and not _is_loopback(host):
        raise SetupError(
            f"without GLOBETAG_HTTP_TOKENS only this machine is served, not {host}: make a token with"
            " `globetag serve --new-token NAME`, or leave --host away"
        )
    listening = _listen(host, port)
    registry = new_registry()
    app = make_app(settings, database.url)
    with queue_figures(settings, database, app, registry) as broker:
        api = Api(
            jobs=Jobs(database.engine, max_queued=settings.http_max_queued),
            tokens=tokens,
            registry=registry,
            problems=lambda: problems(database.engine, broker),
        )
        server = Server(_config(create_app(api)), listening)
        try:
            yield server
        finally:
            server.stop()


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_DRAIN_S,
    )


def _is_loopback(host: str) -> bool:
    """`localhost` is what the machine's resolver makes of it, so it is looked up."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ipaddress.ip_address(str(address[4][0]).partition("%")[0]).is_loopback for address in found)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(where)
            listening.listen(2048)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise SetupError(
            f"{host} port {port} cannot be listened on ({error.strerror or error}): choose others"
        ) from error
    listening.setblocking(False)
    return listening
