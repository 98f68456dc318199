"""What the benchmarks of throughput stand on: processes kept to cores, and units of their figures."""

import os
import subprocess
import sys

import pytest

from benchmarks.efficiency import FIGURES, refuse_without_vllm, unit
from benchmarks.pinning import children, cores_of, cpu_s, family, pin
from worker.errors import SetupError

SPINS = "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start(); print('up', flush=True)"


@pytest.fixture
def busy_process():
    with subprocess.Popen([sys.executable, "-c", SPINS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n"
        yield process.pid
        process.kill()


def test_all_threads_of_a_process_are_kept_to_one_core(busy_process):
    last = max(os.sched_getaffinity(0))
    pin({busy_process}, last)
    assert cores_of({busy_process}) == {last}
    assert os.sched_getaffinity(0) != {last} or os.cpu_count() == 1, "and this process is not"


def test_children_are_found_and_their_time_is_counted(busy_process):
    assert busy_process in children()
    assert family(busy_process) == {busy_process}
    assert cpu_s({busy_process}) > 0


def test_a_process_that_has_ended_is_left_out():
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    pin({process.pid}, 0)
    assert (cores_of({process.pid}), cpu_s({process.pid})) == (set(), 0.0)


def test_every_figure_has_its_unit():
    assert [unit(f"{figure}_tiny") for figure in FIGURES] == ["1", "1/s", "1/s", "1", "ms", "ms"]


def test_without_vllm_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SetupError, match="pip install"):
        refuse_without_vllm()
