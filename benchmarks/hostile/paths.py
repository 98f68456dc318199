"""Paths and keys against the real Fetcher with folders and buckets that are allowed: nothing else may be read.

What lies outside carries a mark; whatever bytes with it come back have escaped. A race thread swaps a folder, and
a file, for a link to the outside as fast as it can while they are read.

A hard link is read: it is a name of the file in its own right, and archives keep snapshots by them. Whoever can
make one inside of a root can as well copy the file there.
"""

import logging
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import JobError
from worker.intake.fetch import Fetcher, FetchLimits

_MARK = b"OUTSIDE OF WHAT MAY BE READ "
_INSIDE = b"inside"
_BUCKET, _OTHER_BUCKET = "photos", "payroll"
_SYSTEM = (
    "/etc/passwd", "/etc/shadow", "/proc/self/environ", "/proc/self/cmdline", "/proc/self/maps",
    "/proc/version", "/proc/self/mem", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/1/environ",
    "/dev/zero", "/dev/null", "/dev/random", "/dev/stdin", "/dev/fd/0", "/dev/tty", "/dev/full", "/dev/mem",
    "/sys/kernel/notes",
    "/run", "/", "//", "/.", "/..",
)  # fmt: skip

_FORMS = (
    "file:{}", "file:/{}", "file:////{}", "file://localhost{}", "FILE://{}", "file://127.0.0.1{}",
    "file://other.host{}", "file://user@localhost{}", "file://localhost:80{}", "file://{}?x", "file://{}#x",
)  # fmt: skip


def measure(*, race_s: float) -> tuple[dict[str, int], list[str]]:
    """Returns the figures `paths`, `race_reads`, `escapes` (bytes), `path_crashes`, and a line for each fault."""
    faults: list[str] = []
    escapes = crashes = 0
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        root, outside = Path(folder, "root"), Path(folder, "root-outside")
        with (
            _tree(root, outside) as corpus,
            Fetcher(FetchLimits(file_roots=(root,), max_bytes=1 << 20)) as fetcher,
        ):
            assert fetcher.fetch(f"file://{root}/inside.jpg") == _INSIDE
            for uri in corpus:
                escaped, fault = _read(fetcher, uri)
                escapes += escaped
                crashes += fault is not None and fault.startswith("crash")
                faults += [f"{uri!r}: {fault}"] if fault else []
            reads = {}
            for what, swap in (("folder", _swap_folder), ("file", _swap_file)):
                reads[what], escaped, said = _race(fetcher, root, outside, swap, race_s)
                escapes += escaped
                faults += said
    keys, escaped, said = _buckets()
    crashes += sum("crash" in each for each in said)
    figures = {
        "paths": len(corpus),
        "keys": keys,
        "race_reads": sum(reads.values()),
        "escapes": escapes + escaped,
        "path_crashes": crashes,
    }
    return figures, faults + said


def _read(fetcher: Fetcher, uri: str) -> tuple[int, str | None]:
    """How many bytes escaped, and what is wrong."""
    try:
        data = fetcher.fetch(uri)
    except JobError as error:
        leaks = _MARK.decode() in error.detail
        return 0, "the refusal tells what is there" if leaks else None
    except Exception as error:  # a defect: the corpus goes on, and the figures tell
        return 0, f"crash: {type(error).__name__}: {error}"
    return (0, None) if data == _INSIDE else (len(data), f"brought {data[:40]!r}")


@contextmanager
def _tree(root: Path, outside: Path) -> Iterator[list[str]]:
    """Makes the folders; gives every path that must bring nothing, or only what lies inside."""
    (root / "deep" / "er").mkdir(parents=True)
    outside.mkdir()
    (root / "inside.jpg").write_bytes(_INSIDE)
    (outside / "secret.jpg").write_bytes(_MARK)
    (outside / "UPPER.JPG").write_bytes(_MARK)
    secret = outside / "secret.jpg"
    links = {
        "to-file": secret,
        "to-folder": outside,
        "to-root": Path("/"),
        "to-parent": Path(".."),
        "relative": Path("../root-outside/secret.jpg"),
        "chain-1": Path("chain-2"),
        "chain-2": Path("deep/chain-3"),
        "deep/chain-3": secret,
        "to-proc": Path("/proc/self/environ"),
        "to-device": Path("/dev/zero"),
        "to-cwd": Path("/proc/self/cwd"),
        "to-process-root": Path("/proc/self/root"),
        "loop": Path("loop"),
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(root / "socket"))
    held = os.open(secret, os.O_RDONLY)
    up = f"{root}/../root-outside/secret.jpg"
    paths = [
        *(f"{root}/{name}" for name in links),
        *(f"{root}/{name}/secret.jpg" for name in ("to-folder", "to-parent/root-outside", "deep/../to-folder")),
        f"{root}/to-root{secret}",
        f"{root}/to-process-root{secret}",
        *_SYSTEM,
        str(secret),
        up,
        f"{root}/deep/../../root-outside/secret.jpg",
        f"{root}/deep/er/../../../root-outside/secret.jpg",
        f"{root}/./../root-outside/./secret.jpg",
        f"{root}//..//root-outside//secret.jpg",
        f"{root}/nothing/../../root-outside/secret.jpg",
        f"{root}/inside.jpg/../../root-outside/secret.jpg",
        f"{root}-outside/secret.jpg",
        f"{root}/..",
        f"{root}",
        f"{root}/",
        f"{root}/.",
        f"{root}/fifo",
        f"{root}/socket",
        f"{root}/deep",
        f"{root}/../root/../root-outside/secret.jpg",
        f"/proc/self/fd/{held}",
        f"/dev/fd/{held}",
        f"/proc/{os.getpid()}/fd/{held}",
        f"/proc/self/root{secret}",
        f"/proc/self/cwd/{secret}",
        f"{root}/" + "../" * 40 + f"{secret}"[1:],
        f"{root}/" + "deep/../" * 600 + "../root-outside/secret.jpg",
        f"{root}/" + "x" * 5000,
        f"{root}/{'y/' * 3000}",
        f"{root}/../ROOT-OUTSIDE/upper.jpg",
        f"{root}/../root-outside/UPPER.JPG",
        f"{root}/inside.jpg\x00/../../root-outside/secret.jpg",
        f"{secret}\x00.jpg",
        f"{root}\\..\\root-outside\\secret.jpg",
        f"{root}/..\\root-outside\\secret.jpg",
        f"{root}/.. /root-outside/secret.jpg",
        f"{root}/…/root-outside/secret.jpg",
        f"{root}/．．/root-outside/secret.jpg",
        f"{root}/~/secret.jpg",
        f"{root}/$HOME/secret.jpg",
        f"{root}/{{secret,x}}.jpg",
        f"{root}/*",
        f"{root}/\udcff/../../root-outside/secret.jpg",
        f"{root}/\ud800/secret.jpg",
        "",
        ".",
        "..",
        "secret.jpg",
        "../root-outside/secret.jpg",
    ]
    encoded = [
        up.replace("..", "%2e%2e"),
        up.replace("/../", "/%2e%2e%2f"),
        up.replace("..", "%252e%252e"),
        up.replace("..", "%c0%ae%c0%ae"),
        up.replace("..", "%e0%80%ae%e0%80%ae"),
        up.replace("..", "%u002e%u002e"),
        up.replace("..", ".%2e"),
        up.replace("/..", "/..;"),
        up.replace("/..", "/..%00"),
        up.replace("/", "%2f"),
        f"{root}/inside.jpg%00{secret}",
        f"{secret}%00.jpg",
        f"{root}/inside.jpg/%2e%2e/%2e%2e/root-outside/secret.jpg",
    ]
    uris = [f"file://{path}" for path in [*paths, *encoded]]
    uris += [form.format(each) for form in _FORMS for each in (secret, up)]
    try:
        yield [*paths, *uris]
    finally:
        os.close(held)
        listener.close()


def _swap_folder(root: Path, _outside: Path) -> None:
    """`swapped` is a folder inside, then a link to the outside, in one step each, and back."""
    (root / "swapped").rename(root / "aside")
    (root / "link").rename(root / "swapped")
    (root / "swapped").rename(root / "link")
    (root / "aside").rename(root / "swapped")


def _swap_file(root: Path, outside: Path) -> None:
    """The same for a file."""
    draft = root / "draft"
    draft.symlink_to(outside / "secret.jpg")
    draft.replace(root / "swapped" / "secret.jpg")
    draft.write_bytes(_INSIDE)
    draft.replace(root / "swapped" / "secret.jpg")


def _race(
    fetcher: Fetcher, root: Path, outside: Path, swap: Callable[[Path, Path], None], seconds: float
) -> tuple[int, int, list[str]]:
    """Reads for `seconds` while a thread swaps. Returns reads that brought something, escaped bytes, faults."""
    (root / "swapped").mkdir(exist_ok=True)
    (root / "swapped" / "secret.jpg").write_bytes(_INSIDE)
    if not (root / "link").is_symlink():
        (root / "link").symlink_to(outside)
    over = threading.Event()
    swaps = 0

    def keep_swapping() -> None:
        nonlocal swaps
        while not over.is_set():
            swap(root, outside)
            swaps += 1

    thread = threading.Thread(target=keep_swapping, name="swap")
    thread.start()
    reads = escapes = 0
    faults: list[str] = []
    end_s = time.monotonic() + seconds
    try:
        while time.monotonic() < end_s:
            escaped, fault = _read(fetcher, f"file://{root}/swapped/secret.jpg")
            reads += 1
            escapes += escaped
            faults += [f"race: {fault}"] if fault else []
    finally:
        over.set()
        thread.join()
    assert swaps > 0
    return reads, escapes, faults


def _buckets() -> tuple[int, int, list[str]]:
    """Keys and bucket names against a store of the S3 protocol, of which one bucket alone is allowed."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    given = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    given |= {"AWS_DEFAULT_REGION": "us-east-1"}
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    escapes, faults = 0, []
    try:
        store = boto3.client("s3")
        for bucket, body in ((_BUCKET, _INSIDE), (_OTHER_BUCKET, _MARK)):
            store.create_bucket(Bucket=bucket)
            store.put_object(Bucket=bucket, Key="a.jpg", Body=body)
        with Fetcher(FetchLimits(allow_buckets=frozenset({_BUCKET}), max_bytes=1 << 20, timeout_s=10)) as fetcher:
            assert fetcher.fetch(f"s3://{_BUCKET}/a.jpg") == _INSIDE
            uris = _keys()
            for uri in uris:
                escaped, fault = _read(fetcher, uri)
                escapes += escaped
                faults += [f"{uri!r}: {fault}"] if fault else []
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        server.stop()
    return len(uris), escapes, faults


def _keys() -> list[str]:
    other = _OTHER_BUCKET
    tails = (
        f"../{other}/a.jpg", f"..%2f{other}/a.jpg", f"%2e%2e/{other}/a.jpg", f"./../{other}/a.jpg",
        f"/../{other}/a.jpg", f"a.jpg/../../{other}/a.jpg", f"..\\{other}\\a.jpg", f"?x=1/../{other}/a.jpg",
        f"a.jpg\r\nHost: {other}", "a.jpg\x00", "x" * 5000, "\ud800", "?versions", "?acl",
    )  # fmt: skip
    hosts = (
        other, f"{_BUCKET}@{other}", f"{_BUCKET}.{other}", f"{_BUCKET}%2f..%2f{other}", f"{_BUCKET}\\..\\{other}",
        f"arn:aws:s3:::{other}", f"arn:aws:s3:us-east-1:123456789012:accesspoint/{other}", f"{_BUCKET}:{other}",
        "", ".", "..", f"{_BUCKET} ", _BUCKET.upper(), f"{other}#{_BUCKET}", f"{other}?{_BUCKET}", "x" * 300,
        f"{_BUCKET}\n{other}", f"-{other}", f"{_BUCKET}\x00{other}", "ｐａｙｒｏｌｌ",
    )  # fmt: skip
    return [
        *(f"s3://{_BUCKET}/{tail}" for tail in tails),
        *(f"s3://{host}/a.jpg" for host in hosts),
        f"s3:/{other}/a.jpg", f"s3:{other}/a.jpg", f"s3:///{other}/a.jpg", f"S3://{other}/a.jpg", f"s3a://{other}/a.jpg",
        f"s3://{_BUCKET}", f"s3://{_BUCKET}/", f"s3://{other}",
    ]  # fmt: skip
