"""The probe lets good and properly refused photographs pass, and survives children that die."""

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Pipe
from pathlib import Path

import pytest
from PIL import Image

from schema.reasons import Reason
from worker.errors import JobError
from worker.intake.probe import Prober


def photograph() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((320, 240), 60).convert("RGB").save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def prober() -> Iterator[Prober]:
    prober = Prober()
    yield prober
    prober.close()


@pytest.mark.parametrize("data", [photograph(), b"", b"text, not a picture", photograph()[:500]])
def test_pictures_and_proper_refusals_pass(prober: Prober, data: bytes) -> None:
    prober.probe(data)


def lost(data: bytes, **options: float) -> str:
    prober = Prober(**options)  # type: ignore[arg-type]
    with pytest.raises(JobError) as caught:
        prober.probe(data)
    prober.close()
    assert caught.value.reason is Reason.WORKER_LOST
    return caught.value.detail


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_a_child_out_of_memory_is_told() -> None:
    bomb = io.BytesIO()
    Image.new("RGB", (12_000, 12_000)).save(bomb, "BMP")
    assert "needed more than 700 MiB" in lost(bomb.getvalue(), memory_bytes=700 << 20)


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_a_child_that_cannot_even_load_its_codecs_is_told() -> None:
    assert "memory" in lost(photograph(), memory_bytes=64 << 20)


def test_a_child_that_takes_too_long_is_told() -> None:
    assert "more than 0.01 s" in lost(photograph(), timeout_s=0.01)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the child through /proc")
def test_a_child_killed_by_a_signal_is_told() -> None:
    """Another thread kills the real child, as a crash in a codec would."""
    done = threading.Event()

    def children() -> set[int]:
        pids = (path.read_text().split() for path in Path("/proc/self/task").glob("*/children"))
        return {int(pid) for line in pids for pid in line}

    before = children()

    def killer() -> None:
        while not done.is_set():
            for pid in children() - before:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"worker.intake.probed" in command:
                    os.kill(pid, signal.SIGSEGV)
                    return

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        assert "SIGSEGV" in lost(photograph())
    finally:
        done.set()
        thread.join()


def test_the_child_is_found_from_anywhere(prober: Prober, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prober.probe(photograph())


def test_a_child_goes_on_with_the_next_photograph_and_ends_with_its_prober(prober: Prober) -> None:
    for data in (photograph(), b"text, not a picture", photograph()):
        prober.probe(data)
    [child] = prober._idle
    assert child._process.poll() is None
    prober.close()
    assert child._process.returncode is not None


def test_no_more_children_than_allowed_however_many_ask() -> None:
    prober = Prober(children=2)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(prober.probe, [photograph()] * 16))
    assert 1 <= len(prober._idle) <= 2
    prober.close()


def test_what_a_used_child_dies_of_is_tried_in_a_new_one(prober: Prober) -> None:
    prober.probe(photograph())
    [used] = prober._idle
    os.kill(used._process.pid, signal.SIGSEGV)
    prober.probe(photograph())
    [fresh] = prober._idle
    assert fresh is not used
    assert used._process.returncode == -signal.SIGSEGV


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_a_bomb_is_found_by_a_used_child_too_and_the_next_photograph_passes() -> None:
    prober = Prober(memory_bytes=700 << 20)
    bomb = io.BytesIO()
    Image.new("RGB", (12_000, 12_000)).save(bomb, "BMP")
    prober.probe(photograph())
    with pytest.raises(JobError, match="needed more than 700 MiB"):
        prober.probe(bomb.getvalue())
    prober.probe(photograph())
    prober.close()


def test_the_child_ends_by_itself_when_its_parent_is_gone() -> None:
    here, there = Pipe()
    with there:
        command = [sys.executable, "-m", "worker.intake.probed", str(there.fileno()), str(3 << 30)]
        child = subprocess.Popen(
            command, pass_fds=[there.fileno()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    with here:
        assert here.recv_bytes() == b"ready"
    said, _ = child.communicate(timeout=30)
    assert (child.returncode, said) == (0, b"")
