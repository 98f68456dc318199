"""The probe lets good and properly refused photographs pass, and survives children that die."""

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from schema.reasons import Reason
from worker.errors import JobError
from worker.intake.probe import probe


def photograph() -> bytes:
    out = io.BytesIO()
    Image.effect_noise((320, 240), 60).convert("RGB").save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize("data", [photograph(), b"", b"text, not a picture", photograph()[:500]])
def test_pictures_and_proper_refusals_pass(data: bytes) -> None:
    probe(data)


def lost(data: bytes, **options: float) -> str:
    with pytest.raises(JobError) as caught:
        probe(data, **options)  # type: ignore[arg-type]
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
                if b"worker.intake.probe" in command:
                    os.kill(pid, signal.SIGSEGV)
                    return

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        assert "SIGSEGV" in lost(photograph())
    finally:
        done.set()
        thread.join()


def test_the_command_runs_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    probe(photograph())


def test_the_child_says_nothing_on_good_bytes() -> None:
    command = [sys.executable, "-m", "worker.intake.probe", "--memory-bytes", str(3 << 30)]
    child = subprocess.run(command, input=photograph(), capture_output=True, check=False)
    assert (child.returncode, child.stdout) == (0, b"")
