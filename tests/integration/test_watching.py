"""A worker and a server as those who watch them see them: ready, busy, draining; and what they count."""

import json
import re
import signal
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client import generate_latest

from benchmarks.null_models import ANSWER, NullEngine, NullGate
from tests.support import Command, wait_for, write_pictures
from worker.assemble import Models, assemble
from worker.queue_figures import queue_figures
from worker.telemetry import Telemetry


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


def _get(port, path, **headers):
    """Status and text; 0 where nobody listens."""
    try:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return 0, ""


def test_a_worker_is_ready_while_it_takes_messages_and_counts_what_it_does(line, tmp_path):
    telemetry = Telemetry()
    release = threading.Event()

    def say(_):
        assert release.wait(60)
        return ANSWER

    models = Models(NullGate(), NullEngine(say), gate_threshold=0.5)
    line.enqueue(write_pictures(tmp_path / "pictures", 20))
    with assemble(line.settings, line.database, models, dispatch=True, telemetry=telemetry) as worker:
        assert worker.unready == "no messages are taken from the broker", "not started yet"
        worker.runner.start()
        wait_for(lambda: worker.unready is None, "the worker to be ready")
        wait_for(lambda: line.states().get("running"), "something in work")
        stopping = threading.Thread(target=worker.runner.stop, kwargs={"drain_s": 60})
        stopping.start()
        wait_for(lambda: worker.unready is not None, "the worker to say that it drains")
        assert stopping.is_alive(), "it drains"
        release.set()
        stopping.join(60)
        done = line.states()["done"]
    told = generate_latest(telemetry.registry).decode()
    assert f'globetag_photographs_total{{outcome="located"}} {done}.0' in told
    for stage in ("fetch", "lookup", "decode", "gate", "recall", "reason", "settle", "save"):
        counted = done if stage != "recall" else 0  # an untrained gate recalls nothing
        assert f'globetag_stage_seconds_count{{stage="{stage}"}} {counted}.0' in told


@pytest.mark.rabbitmq
@pytest.mark.parametrize("broker_url", ["rabbitmq"], indirect=True)
def test_a_worker_whose_broker_is_cut_off_is_not_ready_and_then_is_again(line):
    models = Models(NullGate(), NullEngine(), gate_threshold=0.5)
    with assemble(line.settings, line.database, models, dispatch=False) as worker:
        worker.runner.start()
        wait_for(lambda: worker.unready is None, "the worker to be ready")
        consumer = worker.runner._consumer._controller.consumer
        seen = set()
        looking = threading.Event()

        def look():
            while not looking.is_set():
                seen.add(worker.unready)
                time.sleep(0.001)

        watching = threading.Thread(target=look)
        watching.start()
        consumer.connection.connection.transport.sock.shutdown(socket.SHUT_RDWR)  # of kombu's, py-amqp's
        wait_for(lambda: "no messages are taken from the broker" in seen, "the cut to be noticed")
        wait_for(lambda: worker.unready is None, "the worker to be ready again")
        looking.set()
        watching.join()
        worker.runner.stop(drain_s=10)


def test_figures_of_the_queue_are_read_once_in_a_while(line, tmp_path):
    telemetry = Telemetry()
    with queue_figures(line.settings, line.database, line.producer, telemetry.registry):
        line.enqueue(write_pictures(tmp_path / "pictures", 2))
        assert 'globetag_jobs{state="queued"} 2.0' in generate_latest(telemetry.registry).decode()
        line.enqueue(write_pictures(tmp_path / "more", 5))
        assert 'globetag_jobs{state="queued"} 2.0' in generate_latest(telemetry.registry).decode(), "kept for 10 s"


@pytest.mark.models
def test_the_command_says_on_its_port_how_it_is(home, tiny_models, tmp_path):
    port = free_port()
    globetag = Command(home, tiny_models, GLOBETAG_METRICS_PORT=str(port), GLOBETAG_THREADS="2")
    globetag.run("enqueue", write_pictures(tmp_path / "pictures", 3)[0].parent)
    worker = globetag.start("worker")
    try:
        wait_for(lambda: _get(port, "/readyz")[0] == 503, "the port, while the models are being loaded")
        assert "models are being loaded" in _get(port, "/readyz")[1]
        wait_for(lambda: _get(port, "/readyz") == (200, "ready\n"), "the worker to be ready", 120)
        wait_for(
            lambda: re.search(r"globetag_photograph_seconds_count 3\.0", _get(port, "/metrics")[1]), "its work"
        )
        assert 'globetag_up{part="broker"} 1.0' in _get(port, "/metrics")[1], (
            "it dispatches, so it tells of the queue"
        )
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(120) == 0
        assert _get(port, "/readyz")[0] == 0
    finally:
        worker.kill()
        worker.communicate()


def test_the_server_serves_until_it_is_told_to_stop(home, tmp_path):
    globetag = Command(home, (tmp_path, tmp_path))
    made = globetag.run("serve", "--new-token", "shop")
    token, entry = made.stdout.split()
    globetag.environment["GLOBETAG_HTTP_TOKENS"] = entry
    port = free_port()
    server = globetag.start("serve", "--port", str(port))
    try:
        wait_for(lambda: _get(port, "/readyz")[0] == 200, "the server to be ready")
        body = json.dumps({"uri": "file:///archive/1.jpg"}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/jobs", body, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert (answer.status, json.load(answer)["state"]) == (202, "queued")
        assert _get(port, "/metrics")[0] == 401
        assert 'globetag_jobs{state="queued"} 1.0' in _get(port, "/metrics", Authorization=f"Bearer {token}")[1]
        taken = globetag.run("serve", "--port", str(port))
        assert (taken.returncode, f"port {port} cannot be listened on" in taken.stderr) == (1, True)
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    finally:
        server.kill()
        told = "".join(server.communicate())
    assert token not in told
    assert entry not in told


def test_without_a_token_no_network_is_served(home, tmp_path):
    refused = Command(home, (tmp_path, tmp_path)).run("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 1
    assert refused.stderr.startswith("globetag: without GLOBETAG_HTTP_TOKENS only this machine is served")
    assert len(refused.stderr.splitlines()) == 1
