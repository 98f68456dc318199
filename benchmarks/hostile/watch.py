"""What must never be connected to: listeners that count, and a watch on every connection that this process begins.

A listener sees only what reaches this machine; a metadata service or a private network lies elsewhere. So the
interpreter's audit events are watched too: a connection to anywhere but the expected addresses is counted, and
refused before it leaves.
"""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

_FAMILIES = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))
_WEB_PORTS = (80, 443)


class Watch:
    """Listens on all addresses of this machine, on a port that strangers' URLs may name, and on 80 and 443 where
    that is permitted. Use as a context; one at a time."""

    def __init__(self) -> None:
        self.port = 0
        self.accepted = 0
        self.ports: list[int] = []
        self.forbidden: list[tuple[str, int]] = []
        self.expected: set[tuple[str, int]] = set()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.port = next(port for port in range(8101, 9000) if self._listen(port))
        self.ports = [self.port, *(port for port in _WEB_PORTS if self._listen(port))]
        _install(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        _install(None)
        for listener in self._sockets:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in self._threads:
            thread.join()

    @property
    def wrong_connections(self) -> int:
        """Connections that this process began unexpectedly, or that were accepted here, should those be more."""
        return max(len(self.forbidden), self.accepted)

    @contextmanager
    def expecting(self, *addresses: tuple[str, int]) -> Iterator[None]:
        """Connections to these are no fault while the block runs. What lies outside of this machine is refused
        all the same, so that no test leaves it."""
        self.expected = set(addresses)
        try:
            yield
        finally:
            self.expected = set()

    def _listen(self, port: int) -> bool:
        opened: list[socket.socket] = []
        for family, everywhere in _FAMILIES:
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                listener.bind((everywhere, port))
                listener.listen(64)
            except OSError:
                listener.close()
                for other in opened:
                    other.close()
                return False
            opened.append(listener)
        for listener in opened:
            thread = threading.Thread(target=self._count, args=(listener,), name=f"watch-{port}")
            thread.start()
            self._sockets.append(listener)
            self._threads.append(thread)
        return True

    def _count(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the watch is over
                return
            with self._lock:
                self.accepted += 1
            with connection:
                connection.settimeout(1.0)
                try:
                    connection.recv(1024)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
                except OSError:  # whoever connected has gone
                    continue

    def hear(self, address: Any) -> None:
        """Told of each connection that this process begins. Raises for what lies outside of this machine."""
        if not isinstance(address, tuple) or len(address) < 2:  # a socket of the file system: not the network
            return
        where = (str(address[0]), int(address[1]))
        if where not in self.expected:
            with self._lock:
                self.forbidden.append(where)
        if not _is_here(where[0]):
            raise ConnectionRefusedError(111, "refused by the watch")


def _is_here(host: str) -> bool:
    return host.startswith(("127.", "::ffff:127.")) or host == "::1"


_watch: Watch | None = None
_is_hooked = False


def _install(watch: Watch | None) -> None:
    """An audit hook cannot be taken back, so there is one for all watches."""
    global _watch, _is_hooked  # noqa: PLW0603
    _watch = watch
    if not _is_hooked:
        _is_hooked = True
        sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _watch is not None:
        _watch.hear(arguments[1])
