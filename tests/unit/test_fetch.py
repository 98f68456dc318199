"""Reading local files, and refusing what is no address. The web and S3 have tests of their own."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from schema.reasons import Reason
from worker.errors import JobError, Transient
from worker.intake.fetch import Fetcher, FetchLimits, source_tag
from worker.intake.fetch_limits import hosts_include, in_units


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    with Fetcher(FetchLimits(max_bytes=1000)) as fetcher:
        yield fetcher


def reason(fetcher: Fetcher, uri: str | Path) -> Reason:
    """Why `uri` is not fetched. The reason must be final, not transient."""
    with pytest.raises(JobError) as caught:
        fetcher.fetch(str(uri))
    assert not isinstance(caught.value, Transient)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize(
    "name", [b"a.jpg", b"with space.jpg", b"100%20#1?.jpg", "Zürich.jpg".encode(), b"\xff\xfe\n.jpg"]
)
def test_any_name_is_read_by_uri_and_by_path(fetcher: Fetcher, tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    path.write_bytes(b"pixels")
    assert fetcher.fetch(path.as_uri()) == b"pixels"
    assert fetcher.fetch(str(path)) == b"pixels"
    assert source_tag(path.as_uri()) == f"6:{path.stat().st_mtime_ns}"


def test_sizes_at_the_limit(fetcher: Fetcher, tmp_path: Path) -> None:
    for size in (0, 999, 1000):
        (tmp_path / "a").write_bytes(b"x" * size)
        assert len(fetcher.fetch(str(tmp_path / "a"))) == size
    (tmp_path / "a").write_bytes(b"x" * 1001)
    assert reason(fetcher, tmp_path / "a") is Reason.TOO_LARGE


def test_a_sparse_giant_is_refused_unread(fetcher: Fetcher, tmp_path: Path) -> None:
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(1 << 42)
    assert reason(fetcher, tmp_path / "giant") is Reason.TOO_LARGE


def test_what_is_not_there(fetcher: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in ("nothing", "file/below", "loop", "x" * 300):
        assert reason(fetcher, tmp_path / path) is Reason.NOT_FOUND
        assert source_tag(str(tmp_path / path)) is None


def test_what_is_no_file(fetcher: Fetcher, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path in (tmp_path, tmp_path / "fifo", tmp_path / "socket", "/dev/zero"):
            assert reason(fetcher, path) is Reason.NOT_AN_IMAGE


def test_a_file_that_may_not_be_read_is_forbidden() -> None:
    script = (
        "import os, sys\n"
        "from worker.errors import JobError\n"
        "from worker.intake.fetch import Fetcher\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try: Fetcher().fetch(sys.argv[1])\n"
        "except JobError as error: print(error.reason)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "secret.jpg")
        path.write_bytes(b"x")
        path.chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", script, str(path)],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
    assert done.stdout.strip() == "forbidden"


@pytest.mark.parametrize("write", ["grow", "shrink", "touch"])
def test_a_file_that_changes_while_it_is_read_is_tried_again(tmp_path: Path, write: str) -> None:
    """A writer changes the file as fast as it can, until a read has seen a change."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * (8 << 20))
    stop = threading.Event()

    def writer() -> None:
        with path.open("r+b") as file:
            while not stop.is_set():
                if write == "touch":
                    os.utime(path)
                else:
                    file.truncate((9 if write == "grow" else 7) << 20)
                    file.truncate(8 << 20)

    thread = threading.Thread(target=writer)
    thread.start()
    try:
        with Fetcher() as fetcher, pytest.raises(Transient) as caught:
            while True:
                fetcher.fetch(str(path))
    finally:
        stop.set()
        thread.join()
    assert caught.value.reason is Reason.UNREACHABLE


def test_roots_hold_against_links_and_dots(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "deep").mkdir(parents=True)
    outside.mkdir()
    (inside / "deep/a.jpg").write_bytes(b"in")
    (outside / "secret").write_bytes(b"out")
    (inside / "to_secret").symlink_to(outside / "secret")
    (inside / "to_outside").symlink_to(outside)
    (outside / "to_inside").symlink_to(inside / "deep/a.jpg")
    (tmp_path / "root").symlink_to(inside)
    with Fetcher(FetchLimits(file_roots=(tmp_path / "root",))) as fetcher:
        assert fetcher.fetch(str(inside / "deep/a.jpg")) == b"in"
        assert fetcher.fetch(str(outside / "to_inside")) == b"in"
        assert fetcher.fetch((inside / "deep/a.jpg").as_uri()) == b"in"
        for path in ("inside/to_secret", "inside/to_outside/secret", "inside/../outside/secret", "inside"):
            assert reason(fetcher, tmp_path / path) is Reason.REFUSED_ADDRESS
        # The same answer for what exists outside and what does not.
        assert reason(fetcher, outside / "nothing") is Reason.REFUSED_ADDRESS
        assert reason(fetcher, tmp_path / "inside-not") is Reason.REFUSED_ADDRESS
        assert reason(fetcher, "/etc/passwd") is Reason.REFUSED_ADDRESS
        assert reason(fetcher, inside / "nothing") is Reason.NOT_FOUND
        assert reason(fetcher, inside / "nothing/below") is Reason.NOT_FOUND
        assert reason(fetcher, inside / "deep") is Reason.NOT_AN_IMAGE


def test_no_roots_means_no_local_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with Fetcher(FetchLimits(file_roots=())) as fetcher:
        assert reason(fetcher, tmp_path / "a.jpg") is Reason.REFUSED_ADDRESS


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "relative.jpg",
        "file:relative.jpg",
        "file://elsewhere/a.jpg",
        "/nul\0byte",
        "ftp://host/a.jpg",
        "gopher://host/",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "http:///a.jpg",
        "http://",
        "http:host/a.jpg",
        "http://user:secret@host/a.jpg",
        "http://host:99999/a.jpg",
        "http://host:22/a.jpg",
        "http://[::1/a.jpg",
        "http://\x00/",
        "http://\ud800/",
        "s3://",
        "s3:///key",
        "s3://bucket",
        "s3://arn:aws:s3:eu-west-1:1:accesspoint/key",
    ],
)
def test_what_is_no_address_is_refused_without_secrets(fetcher: Fetcher, uri: str) -> None:
    with pytest.raises(JobError) as caught:
        fetcher.fetch(uri)
    assert caught.value.reason is Reason.REFUSED_ADDRESS
    assert "secret" not in caught.value.detail


def test_hosts_and_buckets_outside_the_allowed_ones_are_refused() -> None:
    limits = FetchLimits(allow_hosts=frozenset({"photos.example.org"}), allow_buckets=frozenset({"archive"}))
    with Fetcher(limits) as fetcher:
        assert reason(fetcher, "https://elsewhere.example.org/a.jpg") is Reason.REFUSED_ADDRESS
        assert reason(fetcher, "s3://elsewhere/a.jpg") is Reason.REFUSED_ADDRESS


def test_host_patterns() -> None:
    patterns = frozenset({"photos.example.org", "*.Museum.lan"})
    assert hosts_include(patterns, "PHOTOS.example.org.")
    assert hosts_include(patterns, "a.b.museum.lan")
    for host in ("museum.lan", "evilmuseum.lan", "photos.example.org.evil.org", "a.photos.example.org"):
        assert not hosts_include(patterns, host)


def test_tags_of_other_sources_are_unknown() -> None:
    assert source_tag("https://host/a.jpg") is None
    assert source_tag("s3://bucket/a.jpg") is None


def test_sizes_in_words() -> None:
    assert [in_units(n) for n in (0, 1023, 1024, 1 << 30, 5 << 40)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "1.0 GiB",
        "5.0 TiB",
    ]


def test_limits_that_make_no_sense_are_refused() -> None:
    for wrong in ({"max_bytes": 0}, {"timeout_s": 0.0}, {"connect_timeout_s": -1.0}, {"max_redirects": -1}):
        with pytest.raises(ValueError, match="must be positive"):
            FetchLimits(**wrong)  # type: ignore[arg-type]


def test_local_files_load_no_web_client() -> None:
    script = (
        "import sys\n"
        "import worker.intake.fetch, worker.intake.sources\n"
        "print(sorted({'httpx', 'httpcore', 'boto3', 'torch'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"
