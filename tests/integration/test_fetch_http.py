"""Fetching from real web servers on this machine: what arrives, what is refused, and where connections go.

Long because every test shares the servers that it is about.
"""

import gzip
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address, ip_address
from typing import Any

import pytest
import trustme

from schema.reasons import Reason
from worker.errors import JobError, Transient
from worker.intake.address import Address
from worker.intake.fetch import Fetcher, FetchLimits

LOOPBACK = IPv4Address("127.0.0.1")
PICTURE = bytes(range(256)) * 4
LIMITS = FetchLimits(max_bytes=10_000, timeout_s=20, connect_timeout_s=5, max_redirects=3, allow_private=True)

Route = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers with what the test put under the path, or with a picture."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        self.server.routes.get(self.path.partition("?")[0], Handler.picture)(self)

    def picture(self) -> None:
        self.answer(200, PICTURE)

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """On 127.0.0.1, counting connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.routes: dict[str, Route] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        self.released = threading.Event()  # lets endless answers end with the test

    def get_request(self) -> Any:
        accepted = super().get_request()
        self.connections += 1
        return accepted

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients here hang up on purpose

    def url(self, path: str = "/a.jpg", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.server_port}{path}"


def serving(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    yield from serving(Server())


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    with Fetcher(LIMITS) as fetcher:
        yield fetcher


class NetworkLog:
    """What this process asked of the network, told by the interpreter's audit events."""

    def __init__(self) -> None:
        self.active = False
        self.connected: list[str] = []
        self.looked_up: list[str] = []
        self.refuse: set[str] = set()

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.active:
            return
        if event == "socket.connect":
            self.connected.append(args[1][0])
            if args[1][0] in self.refuse:
                raise ConnectionRefusedError(111, "refused by the test")
        elif event == "socket.getaddrinfo":
            self.looked_up.append(args[0])


_NETWORK = NetworkLog()
sys.addaudithook(_NETWORK)  # cannot be removed; it rests unless a test is active


@pytest.fixture
def network() -> Iterator[NetworkLog]:
    _NETWORK.__init__()  # type: ignore[misc]
    _NETWORK.active = True
    yield _NETWORK
    _NETWORK.active = False


class Names:
    """A name server for one test. Each name has a list of answers; the last one stays."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(rows) for name, rows in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[Address]:
        self.asked.append(host)
        rows = self._answers[host]
        return [ip_address(text) for text in (rows.pop(0) if len(rows) > 1 else rows[0])]


def failure(fetcher: Fetcher, uri: str) -> JobError:
    with pytest.raises(JobError) as caught:
        fetcher.fetch(uri)
    return caught.value


def is_final(error: JobError, reason: Reason) -> bool:
    return error.reason is reason and not isinstance(error, Transient)


def is_transient(error: JobError, reason: Reason) -> bool:
    return error.reason is reason and isinstance(error, Transient)


# What arrives


def test_a_picture_arrives_whole(server: Server, fetcher: Fetcher) -> None:
    assert fetcher.fetch(server.url("/a%20b%2Fc.jpg?key=a%2Bb")) == PICTURE
    path, headers = server.requests[0]
    assert path == "/a%20b%2Fc.jpg?key=a%2Bb"
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"
    assert headers["User-Agent"].startswith("globetag")
    assert headers["Accept-Encoding"] == "identity"


def test_threads_share_connections(server: Server, fetcher: Fetcher) -> None:
    with ThreadPoolExecutor(4) as pool:
        bodies = list(pool.map(fetcher.fetch, [server.url(f"/{n}") for n in range(40)]))
    assert bodies == [PICTURE] * 40
    assert {path for path, _ in server.requests} == {f"/{n}" for n in range(40)}
    assert server.connections <= 4


def test_chunked_and_unannounced_bodies_arrive(server: Server, fetcher: Fetcher) -> None:
    def chunked(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n")

    def unannounced(handler: Handler) -> None:
        handler.close_connection = True
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"abcdef")

    server.routes |= {"/chunked": chunked, "/unannounced": unannounced}
    assert fetcher.fetch(server.url("/chunked")) == b"abcdef"
    assert fetcher.fetch(server.url("/unannounced")) == b"abcdef"


def test_cookies_and_proxies_play_no_part(
    server: Server, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    server.routes["/cookie"] = lambda handler: handler.answer(200, b"x", Set_Cookie="id=1")
    fetcher.fetch(server.url("/cookie"))
    fetcher.fetch(server.url("/next"))
    assert all("Cookie" not in headers for _, headers in server.requests)
    assert len(server.requests) == 2


# What the server says instead


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, Reason.NOT_FOUND),
        (410, Reason.NOT_FOUND),
        (401, Reason.FORBIDDEN),
        (403, Reason.FORBIDDEN),
        (451, Reason.FORBIDDEN),
        (206, Reason.UNREACHABLE),
        (302, Reason.UNREACHABLE),  # without a Location
        (304, Reason.UNREACHABLE),
        (400, Reason.UNREACHABLE),
        (418, Reason.UNREACHABLE),
        (499, Reason.UNREACHABLE),  # a code without a name
    ],
)
def test_final_answers(server: Server, fetcher: Fetcher, status: int, reason: Reason) -> None:
    server.routes["/a.jpg"] = lambda handler: handler.answer(status)
    error = failure(fetcher, server.url("/a.jpg?signature=secret"))
    assert is_final(error, reason)
    assert str(status) in error.detail
    assert "secret" not in error.detail


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 599])
def test_answers_that_may_pass(server: Server, fetcher: Fetcher, status: int) -> None:
    server.routes["/a.jpg"] = lambda handler: handler.answer(status)
    assert is_transient(failure(fetcher, server.url()), Reason.UNREACHABLE)


def test_a_closed_port_may_pass(fetcher: Fetcher) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        assert is_transient(failure(fetcher, f"http://127.0.0.1:{port}/"), Reason.UNREACHABLE)


def test_a_name_without_address_may_pass(fetcher: Fetcher) -> None:
    assert is_transient(failure(fetcher, "http://no-such-name.invalid/"), Reason.UNREACHABLE)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\nonly this",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 9\r\n\r\n0123456789",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 40_000,
    ],
    ids=["nothing", "cut header", "cut body", "cut chunk", "two lengths", "not http", "giant header"],
)
def test_a_broken_answer_is_never_taken_for_a_picture(server: Server, fetcher: Fetcher, raw: bytes) -> None:
    def broken(handler: Handler) -> None:
        handler.close_connection = True
        handler.wfile.write(raw)

    server.routes["/a.jpg"] = broken
    assert is_transient(failure(fetcher, server.url()), Reason.UNREACHABLE)
    assert fetcher.fetch(server.url("/next")) == PICTURE


# What it costs


def test_an_announced_giant_is_refused_unread(server: Server, fetcher: Fetcher) -> None:
    def giant(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        handler.server.released.wait()  # the body never comes: whoever waited for it would time out

    server.routes["/a.jpg"] = giant
    error = failure(fetcher, server.url())
    assert is_final(error, Reason.TOO_LARGE)
    assert "1.0 TiB" in error.detail


def test_an_endless_body_is_cut(server: Server, fetcher: Fetcher) -> None:
    sent = 0

    def endless(handler: Handler) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while not handler.server.released.is_set():
            sent += handler.wfile.write(b"400\r\n" + PICTURE + b"\r\n")

    server.routes["/a.jpg"] = endless
    assert is_final(failure(fetcher, server.url()), Reason.TOO_LARGE)
    assert sent < 50_000_000  # what fits into the sockets' buffers


def test_exactly_the_limit_passes(server: Server, fetcher: Fetcher) -> None:
    server.routes["/full"] = lambda handler: handler.answer(200, b"x" * LIMITS.max_bytes)
    server.routes["/over"] = lambda handler: handler.answer(200, b"x" * (LIMITS.max_bytes + 1))
    assert len(fetcher.fetch(server.url("/full"))) == LIMITS.max_bytes
    assert is_final(failure(fetcher, server.url("/over")), Reason.TOO_LARGE)


def test_a_compressed_bomb_is_refused(server: Server, fetcher: Fetcher) -> None:
    bomb = gzip.compress(bytes(1 << 20))
    assert len(bomb) < LIMITS.max_bytes
    server.routes["/a.jpg"] = lambda handler: handler.answer(200, bomb, Content_Encoding="gzip")
    error = failure(fetcher, server.url())
    assert is_final(error, Reason.UNREACHABLE)
    assert "gzip" in error.detail


def drip(handler: Handler, text: bytes) -> None:
    """Sends `text` a byte at a time, each well within any timeout of a single read."""
    for byte in text:
        if handler.server.released.wait(0.02):
            return
        handler.wfile.write(bytes([byte]))


@pytest.mark.parametrize("where", ["header", "body", "continue"])
def test_a_dripping_server_meets_the_deadline(server: Server, where: str) -> None:
    def dripping(handler: Handler) -> None:
        if where == "continue":
            drip(handler, b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000)
        elif where == "header":
            drip(handler, b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000)
        else:
            handler.send_response(200)
            handler.send_header("Content-Length", "9000")
            handler.end_headers()
            drip(handler, bytes(9000))

    server.routes["/a.jpg"] = dripping
    with Fetcher(FetchLimits(timeout_s=0.4, allow_private=True)) as fetcher:
        start = time.monotonic()
        error = failure(fetcher, server.url())
        elapsed_s = time.monotonic() - start
    assert is_transient(error, Reason.TIMEOUT)
    assert elapsed_s < 5


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_silent_server_meets_the_deadline(scheme: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,  # the kernel accepts, nobody answers
        Fetcher(FetchLimits(timeout_s=0.3, allow_private=True)) as fetcher,
    ):
        start = time.monotonic()
        error = failure(fetcher, f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/")
        elapsed_s = time.monotonic() - start
    assert is_transient(error, Reason.TIMEOUT)
    assert elapsed_s < 4


def test_a_chain_of_slow_redirects_meets_one_deadline(server: Server) -> None:
    def slow(handler: Handler) -> None:
        handler.server.released.wait(0.15)
        handler.answer(302, Location="/a.jpg")

    server.routes["/a.jpg"] = slow
    with Fetcher(FetchLimits(timeout_s=0.4, max_redirects=1000, allow_private=True)) as fetcher:
        assert is_transient(failure(fetcher, server.url()), Reason.TIMEOUT)


# Where connections go


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "0x7f000001", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"],
)
def test_this_machine_is_refused_by_default(server: Server, network: NetworkLog, host: str) -> None:
    for port in (80, 8080, server.server_port):
        with Fetcher() as fetcher:
            assert is_final(failure(fetcher, f"http://{host}:{port}/a.jpg"), Reason.REFUSED_ADDRESS)
    assert network.connected == []
    assert server.connections == 0


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["10.0.0.7"],
        ["169.254.169.254"],
        ["93.184.215.14", "127.0.0.1"],
        ["fd00::1"],
        ["::ffff:10.0.0.1"],
        ["fe80::1%1"],
    ],
)
def test_names_that_lead_inside_are_refused(network: NetworkLog, answers: list[str]) -> None:
    with Fetcher(resolve=Names(photos_test=[answers])) as fetcher:
        error = failure(fetcher, "http://photos.test/a.jpg")
    assert is_final(error, Reason.REFUSED_ADDRESS)
    assert network.connected == []


def test_metadata_services_are_refused_even_where_private_addresses_are_allowed(network: NetworkLog) -> None:
    with Fetcher(LIMITS) as fetcher:
        assert is_final(failure(fetcher, "http://169.254.169.254/latest/"), Reason.REFUSED_ADDRESS)
    assert network.connected == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_name_that_changes_its_address_gains_nothing(network: NetworkLog, scheme: str) -> None:
    """DNS rebinding: the answer is public when checked, and would be 127.0.0.1 if anyone asked again."""
    names = Names(photos_test=[["93.184.215.14"], ["127.0.0.1"]])
    network.refuse = {"93.184.215.14"}  # the attempt is seen, and ends before it leaves this machine
    with Fetcher(resolve=names) as fetcher:
        assert is_transient(failure(fetcher, f"{scheme}://photos.test/a.jpg"), Reason.UNREACHABLE)
        assert names.asked == ["photos.test"]
        assert network.connected == ["93.184.215.14"]
        assert "photos.test" not in network.looked_up
        # A later fetch asks anew, and is judged by what it then hears.
        assert is_final(failure(fetcher, f"{scheme}://photos.test/a.jpg"), Reason.REFUSED_ADDRESS)
        assert network.connected == ["93.184.215.14"]


def test_the_next_address_is_tried(server: Server, network: NetworkLog) -> None:
    network.refuse = {"127.0.0.2"}
    with Fetcher(LIMITS, resolve=Names(photos_test=[["127.0.0.2", "127.0.0.1"]])) as fetcher:
        assert fetcher.fetch(server.url(host="photos.test")) == PICTURE
    assert network.connected == ["127.0.0.2", "127.0.0.1"]
    assert server.requests[0][1]["Host"] == f"photos.test:{server.server_port}"


def test_one_private_host_can_be_let_in_alone(server: Server) -> None:
    limits = FetchLimits(private_hosts=frozenset({"photos.test"}))
    names = Names(photos_test=[["127.0.0.1"]], other_test=[["127.0.0.1"]])
    with Fetcher(limits, resolve=names) as fetcher:
        assert fetcher.fetch(server.url(host="photos.test")) == PICTURE
        assert is_final(failure(fetcher, server.url(host="other.test")), Reason.REFUSED_ADDRESS)
        server.routes["/a.jpg"] = lambda handler: handler.answer(
            302, Location=f"http://127.0.0.1:{handler.server.server_port}/b.jpg"
        )
        assert is_final(failure(fetcher, server.url(host="photos.test")), Reason.REFUSED_ADDRESS)
    assert server.connections == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://inside.test/",
        "//inside.test/",
        "http://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "file:///etc/passwd",
        "s3://bucket/key",
        "gopher://inside.test/",
        "http://user:secret@photos.test/",
    ],
)
def test_redirects_are_checked_like_first_addresses(server: Server, network: NetworkLog, location: str) -> None:
    limits = FetchLimits(private_hosts=frozenset({"photos.test"}))
    names = Names(photos_test=[["127.0.0.1"]], inside_test=[["10.0.0.1"]])
    server.routes["/a.jpg"] = lambda handler: handler.answer(302, Location=location)
    names._answers |= {host: [[host]] for host in ("127.0.0.1", "169.254.169.254", "::1")}
    with Fetcher(limits, resolve=names) as fetcher:
        error = failure(fetcher, server.url(host="photos.test"))
    assert is_final(error, Reason.REFUSED_ADDRESS)
    assert "secret" not in error.detail
    assert network.connected == ["127.0.0.1"]
    assert server.connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(server: Server, fetcher: Fetcher, status: int) -> None:
    server.routes["/old/a.jpg"] = lambda handler: handler.answer(status, Location="../new/a.jpg")
    assert fetcher.fetch(server.url("/old/a.jpg")) == PICTURE
    assert [path for path, _ in server.requests] == ["/old/a.jpg", "/new/a.jpg"]


def test_redirect_loops_end(server: Server, fetcher: Fetcher) -> None:
    server.routes["/a.jpg"] = lambda handler: handler.answer(302, Location="/a.jpg")
    assert is_final(failure(fetcher, server.url()), Reason.UNREACHABLE)
    assert len(server.requests) == LIMITS.max_redirects + 1


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://host:99999/", Reason.REFUSED_ADDRESS),
        ("http://host:0/", Reason.REFUSED_ADDRESS),
        ("http://caf\xe9/", Reason.UNREACHABLE),  # sent as Latin-1, so not UTF-8
        ("http://[nonsense", Reason.REFUSED_ADDRESS),
    ],
)
def test_a_redirect_to_nonsense_is_final(server: Server, fetcher: Fetcher, location: str, reason: Reason) -> None:
    server.routes["/a.jpg"] = lambda handler: handler.answer(302, Location=location)
    assert is_final(failure(fetcher, server.url()), reason)


# Encrypted connections


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def secure_server(authority: trustme.CA) -> Iterator[tuple[Server, list[str]]]:
    """A server with a certificate for photos.test, and the names that clients asked it for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("photos.test").configure_cert(context)
    asked: list[str] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    server = Server()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    for running in serving(server):
        yield running, asked


def test_certificates_are_checked_by_name_though_the_address_is_pinned(
    secure_server: tuple[Server, list[str]], trusting: ssl.SSLContext, network: NetworkLog
) -> None:
    server, asked = secure_server
    names = Names(photos_test=[["127.0.0.1"]], other_test=[["127.0.0.1"]])
    with Fetcher(LIMITS, resolve=names, ssl_context=trusting) as fetcher:
        assert fetcher.fetch(server.url(host="photos.test", scheme="https")) == PICTURE
        error = failure(fetcher, server.url(host="other.test", scheme="https"))
    assert is_final(error, Reason.UNREACHABLE)
    assert "certificate" in error.detail
    assert asked == ["photos.test", "other.test"]
    assert server.requests[0][1]["Host"].startswith("photos.test")
    assert len(server.requests) == 1
    assert network.connected == ["127.0.0.1", "127.0.0.1"]


def test_unknown_authorities_are_refused(secure_server: tuple[Server, list[str]]) -> None:
    server, _ = secure_server
    with Fetcher(LIMITS, resolve=Names(photos_test=[["127.0.0.1"]])) as fetcher:
        error = failure(fetcher, server.url(host="photos.test", scheme="https"))
    assert is_final(error, Reason.UNREACHABLE)
    assert server.requests == []


def test_no_redirect_from_https_to_http(
    server: Server, secure_server: tuple[Server, list[str]], trusting: ssl.SSLContext
) -> None:
    secure, _ = secure_server
    names = Names(photos_test=[["127.0.0.1"]])
    plain_url = server.url(host="photos.test")
    secure.routes["/a.jpg"] = lambda handler: handler.answer(302, Location=plain_url)
    with Fetcher(LIMITS, resolve=names, ssl_context=trusting) as fetcher:
        error = failure(fetcher, secure.url(host="photos.test", scheme="https"))
        assert is_final(error, Reason.REFUSED_ADDRESS)
        assert server.connections == 0
        secure_url = secure.url("/b.jpg", host="photos.test", scheme="https")
        server.routes["/a.jpg"] = lambda handler: handler.answer(302, Location=secure_url)
        assert fetcher.fetch(plain_url) == PICTURE
