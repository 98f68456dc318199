"""The corpus of addresses against the real Fetcher: no connection may reach what must not be reached.

The Fetcher is a worker's own, with its default limits but for one private host that is let in (public.test): a
real web server on this machine that redirects wherever the corpus says. Its resolver asks a real name server.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from benchmarks.hostile.addresses import FORMS, PUBLIC_ANSWERS, REBINDING, REDIRECTS, SPELLINGS
from benchmarks.hostile.dns import NameServer, Resolver
from benchmarks.hostile.watch import Watch
from worker.errors import JobError
from worker.intake.fetch import Fetcher, FetchLimits

_TRUSTED = "public.test"
_PICTURE = b"a picture of the public server"
_FETCHES_OF_A_NAME = 3


class _Hops(BaseHTTPRequestHandler):
    """Redirects to the parameter `to`, else answers with a picture."""

    def do_GET(self) -> None:
        to = parse_qs(urlsplit(self.path).query).get("to")
        status, body = (302, b"") if to else (200, _PICTURE)
        self.send_response_only(status)
        if to:
            # As it is: `send_header` would refuse what a hostile server does not.
            self.wfile.flush()
            self._headers_buffer.append(b"Location: " + to[0].encode() + b"\r\n")  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


def measure() -> tuple[dict[str, int], list[str]]:
    """Returns the figures `urls`, `wrong_connections`, `url_crashes`, and a line for each fault.

    Raises `AssertionError` where the watch would not notice a connection, for then it proves nothing.
    """
    faults: list[str] = []
    names = {f"rebind-{n}.test": turns for n, turns in enumerate(REBINDING)}
    names |= {
        _TRUSTED: (("127.0.0.1",),),
        "open.test": ((PUBLIC_ANSWERS[0],),),
        "localhost": (("127.0.0.1", "::1"),),
    }
    names |= {"localhost.localdomain": (("127.0.0.1",),), "metadata.google.internal": (("169.254.169.254",),)}
    urls = crashes = 0
    with Watch() as watch, NameServer(names) as dns, _serving() as own_port:
        resolver = Resolver(dns.address)
        _require_that_it_would_be_noticed(watch, resolver)
        limits = FetchLimits(timeout_s=10, connect_timeout_s=2, private_hosts=frozenset({_TRUSTED}))
        with Fetcher(limits, resolve=resolver) as fetcher:
            for uri, expected in _corpus(watch.port, own_port):
                urls += 1
                before = watch.wrong_connections
                with watch.expecting(*expected):
                    fault = _fetch(fetcher, uri)
                crashes += fault is not None and fault.startswith("crash")
                if watch.wrong_connections > before:
                    fault = f"connected ({watch.forbidden[-1:]})"
                if fault:
                    faults.append(f"{uri!r}: {fault}")
        figures = {"urls": urls, "wrong_connections": watch.wrong_connections, "url_crashes": crashes}
    return figures, faults


def _corpus(port: int, own_port: int) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Each address, with where a connection may go on its way."""
    own = ("127.0.0.1", own_port)
    for host in SPELLINGS:
        yield f"http://{host}:{port}/a.jpg", []
    for host in SPELLINGS[::4]:
        yield f"https://{host}/a.jpg", []
    for form in FORMS:
        yield form.format(p=port), [(PUBLIC_ANSWERS[0], each) for each in (80, port)]
    for n in range(len(REBINDING)):
        for turn in range(_FETCHES_OF_A_NAME):
            scheme = "https" if turn == 1 else "http"
            yield f"{scheme}://rebind-{n}.test:{port}/{turn}", [(each, port) for each in PUBLIC_ANSWERS]
    for target in REDIRECTS:
        to = target.format(p=port, q=own_port)
        quoted = "".join(f"%{byte:02x}" for byte in to.encode())
        public = [(each, port) for each in PUBLIC_ANSWERS]
        yield f"http://{_TRUSTED}:{own_port}/hop?to={quoted}", [own, *public]


def _fetch(fetcher: Fetcher, uri: str) -> str | None:
    """What is wrong with what came of it. A refusal or a failure of the network is right."""
    try:
        data = fetcher.fetch(uri)
    except JobError as error:
        return None if error.detail else "refused without a word"
    except Exception as error:  # a defect: the corpus goes on, and the figures tell
        return f"crash: {type(error).__name__}: {error}"
    return None if data == _PICTURE else f"brought {data[:40]!r}"


def _require_that_it_would_be_noticed(watch: Watch, resolver: Resolver) -> None:
    with Fetcher(FetchLimits(allow_private=True, timeout_s=5), resolve=resolver) as open_fetcher:
        for host in ("127.0.0.1", "[::1]", "localhost", "rebind-3.test"):
            before = watch.accepted, watch.wrong_connections
            assert open_fetcher.fetch(f"http://{host}:{watch.port}/") == b"secret", host
            assert (watch.accepted, watch.wrong_connections) == (before[0] + 1, before[1] + 1), host
    watch.accepted = 0
    watch.forbidden.clear()


@contextmanager
def _serving() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hops)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
