"""Objects of an S3-compatible store on this machine (moto), and of a broken one."""

import socketserver
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from schema.reasons import Reason
from worker.errors import JobError, SetupError, Transient
from worker.intake.fetch import Fetcher, FetchLimits
from worker.intake.sources import Submission, iter_submissions

ODD_KEYS = ["a.jpg", "Zürich/Straße 1.jpg", "100%25 #1?&+.jpg", "deep/er/b.jpg"]


def credentials(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture(autouse=True)
def no_other_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    credentials(monkeypatch, endpoint)
    client = boto3.client("s3")
    client.create_bucket(Bucket="archive")
    for key in ODD_KEYS:
        client.put_object(Bucket="archive", Key=key, Body=key.encode())
    yield client
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).close()


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    with Fetcher(FetchLimits(max_bytes=100, timeout_s=10, connect_timeout_s=2)) as fetcher:
        yield fetcher


def failure(fetcher: Fetcher, uri: str) -> JobError:
    with pytest.raises(JobError) as caught:
        fetcher.fetch(uri)
    return caught.value


def test_objects_with_any_key_arrive(store: Any, fetcher: Fetcher) -> None:
    with ThreadPoolExecutor(4) as pool:
        bodies = list(pool.map(fetcher.fetch, [f"s3://archive/{key}" for key in ODD_KEYS * 3]))
    assert bodies == [key.encode() for key in ODD_KEYS * 3]


def test_what_is_not_there(store: Any, fetcher: Fetcher) -> None:
    for uri in ("s3://archive/nothing.jpg", "s3://no-such-bucket/a.jpg"):
        error = failure(fetcher, uri)
        assert error.reason is Reason.NOT_FOUND
        assert not isinstance(error, Transient)
        assert uri in error.detail


def test_the_size_limit(store: Any, fetcher: Fetcher) -> None:
    store.put_object(Bucket="archive", Key="full", Body=b"x" * 100)
    store.put_object(Bucket="archive", Key="over", Body=b"x" * 101)
    assert fetcher.fetch("s3://archive/full") == b"x" * 100
    assert failure(fetcher, "s3://archive/over").reason is Reason.TOO_LARGE


def test_wrong_credentials_are_forbidden(store: Any, endpoint: str, fetcher: Fetcher) -> None:
    def permit_actions(count: str) -> None:
        request = urllib.request.Request(
            f"{endpoint}/moto-api/reset-auth", count.encode(), {"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(request).close()

    permit_actions("0")
    try:
        error = failure(fetcher, "s3://archive/a.jpg")
    finally:
        permit_actions("inf")
    assert error.reason is Reason.FORBIDDEN
    assert "InvalidAccessKeyId" in error.detail


def test_missing_credentials_say_what_to_do(
    endpoint: str, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    error = failure(fetcher, "s3://archive/a.jpg")
    assert error.reason is Reason.FORBIDDEN
    assert "AWS_ACCESS_KEY_ID" in error.detail


def test_a_malformed_endpoint_is_said(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(monkeypatch, "not a url")
    error = failure(fetcher, "s3://archive/a.jpg")
    assert error.reason is Reason.UNREACHABLE
    assert "not a url" in error.detail


class Broken(socketserver.BaseRequestHandler):
    """Announces 50 bytes, sends nine, hangs up; or answers with the status that the key names."""

    def handle(self) -> None:
        path = self.request.recv(1 << 16).split(b" ")[1].rpartition(b"/")[2]
        if path.isdigit():
            self.request.sendall(b"HTTP/1.1 %s X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % path)
        else:
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nonly this")


@pytest.fixture
def broken_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Broken) as server:
        credentials(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("key", ["cut.jpg", "429", "500", "503"])
def test_a_broken_store_may_recover(broken_store: None, fetcher: Fetcher, key: str) -> None:
    error = failure(fetcher, f"s3://archive/{key}")
    assert error.reason is Reason.UNREACHABLE
    assert isinstance(error, Transient)


def test_an_absent_store_may_come_back(fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials(monkeypatch, "http://127.0.0.1:9")
    error = failure(fetcher, "s3://archive/a.jpg")
    assert error.reason is Reason.UNREACHABLE
    assert isinstance(error, Transient)


def test_a_listing_names_photographs_with_their_state(store: Any) -> None:
    for key in ("a.jpg.xmp", "notes.txt", "deep/", "deep/.hidden.jpg"):
        store.put_object(Bucket="archive", Key=key, Body=b"")
    found = list(iter_submissions(["s3://archive"]))
    assert [item.uri for item in found if isinstance(item, Submission)] == [
        f"s3://archive/{key}" for key in sorted(ODD_KEYS)
    ]
    etag = store.head_object(Bucket="archive", Key="a.jpg")["ETag"].strip('"')
    assert Submission("s3://archive/a.jpg", etag) in found


def test_a_listing_goes_on_after_the_first_page(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")  # of the server, which runs in this process
    keys = [f"many/{n:04}.jpg" for n in range(25)]
    for key in keys:
        store.put_object(Bucket="archive", Key=key, Body=b"")
    found = iter_submissions(["s3://archive/many/"])
    assert [item.uri for item in found if isinstance(item, Submission)] == [f"s3://archive/{k}" for k in keys]


def test_an_exact_key_is_one_object(store: Any) -> None:
    store.put_object(Bucket="archive", Key="a.jpg-and-more.jpg", Body=b"")
    assert [getattr(item, "uri", None) for item in iter_submissions(["s3://archive/a.jpg"])] == [
        "s3://archive/a.jpg"
    ]


def test_one_level_of_a_listing(store: Any) -> None:
    store.put_object(Bucket="archive", Key="deep/c.jpg", Body=b"")
    found = iter_submissions(["s3://archive/deep/"], recursive=False)
    assert [getattr(item, "uri", None) for item in found] == ["s3://archive/deep/c.jpg"]


def test_a_bucket_that_is_not_there_stops_the_listing(store: Any) -> None:
    with pytest.raises(SetupError, match="could not be listed"):
        list(iter_submissions(["s3://no-such-bucket/"]))
