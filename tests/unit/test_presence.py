"""Which worker is alive: never "gone" by mistake."""

import os
import subprocess
import sys

import pytest

from worker.queue.presence import is_gone, worker_id


def _with(part, value):
    parts = worker_id().split("/")
    parts[part] = value
    return "/".join(parts)


def test_a_worker_id_has_four_parts_and_never_repeats():
    first, second = worker_id(), worker_id()
    assert first != second
    assert first.split("/")[:3] == second.split("/")[:3]
    assert first.split("/")[2] == str(os.getpid())


def test_this_process_is_not_gone():
    assert not is_gone(worker_id())


def test_a_process_that_has_ended_is_gone():
    child = subprocess.run(
        [sys.executable, "-c", "from worker.queue.presence import worker_id; print(worker_id())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert is_gone(child.stdout.strip())


def test_a_process_that_still_runs_is_not_gone():
    program = "from worker.queue.presence import worker_id; print(worker_id(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        worker = child.stdout.readline().strip()
        assert worker
        assert not is_gone(worker)
        child.communicate("\n")
    assert is_gone(worker)


@pytest.mark.parametrize(
    "worker",
    [
        "",
        "celery@host",
        "a/b/c",
        "a/b/c/d/e",
        _with(1, "another-machine"),
        _with(1, "unknown"),
        _with(2, "no number"),
        _with(2, "9" * 40),
    ],
)
def test_who_cannot_be_judged_is_not_gone(worker):
    assert not is_gone(worker)
