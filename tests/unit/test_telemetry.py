"""What a worker measures: stages that add up, endings that are counted once, labels from closed lists."""

import re
import socket
import threading
import time
import urllib.error
import urllib.request

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.null_models import NullEngine, NullGate
from schema.reasons import FAILURE_REASONS, REFUSALS, JobState, Outcome, Reason, Status
from tests.support import ROOT, picture
from worker.errors import JobError, SetupError, Transient
from worker.metrics_port import Readiness, new_registry, open_port
from worker.outcome import Job, PredictionRecord, Settled, TraceRecord
from worker.pipeline import Pipeline, Policy
from worker.place.gazetteer import Gazetteer
from worker.place.recalled import Recalled
from worker.queue_figures import _Families
from worker.settings import Settings
from worker.telemetry import STAGES, Telemetry

NAMES = {
    "globetag_photographs_total": ("counter", {"outcome"}),
    "globetag_gate_total": ("counter", {"result"}),
    "globetag_refusals_total": ("counter", {"reason"}),
    "globetag_failures_total": ("counter", {"reason"}),
    "globetag_retries_total": ("counter", {"reason"}),
    "globetag_reused_answers_total": ("counter", set()),
    "globetag_stage_seconds": ("histogram", {"stage"}),
    "globetag_photograph_seconds": ("histogram", set()),
    "globetag_radius_meters": ("histogram", set()),
    "globetag_model_answers": ("histogram", set()),
}
"""Dashboards and alerts rest on these: renaming one is a breaking change."""


class Nothing:
    """Knows no earlier answers."""

    def find(self, sha256, request_hash):
        return None


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


def _figures(telemetry):
    """Values by name and labels."""
    families = text_string_to_metric_families(generate_latest(telemetry.registry).decode())
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def _run(telemetry, gazetteer, *, fetch=lambda _: picture(1), gate=None, engine=None, recall=None, job=None):
    pipeline = Pipeline(
        fetch=fetch,
        answers=Nothing(),
        gate=gate or NullGate(),
        engine=engine or NullEngine(),
        gazetteer=gazetteer,
        policy=Policy(0.5),
        recall=recall,
    )
    settled = telemetry.settling(telemetry.watched(pipeline).settle)(job or Job("j", "file:///1.png"))
    telemetry.saving(lambda _: None)(settled)
    return settled


def test_names_types_and_labels_are_those_that_dashboards_know():
    told = {}
    for family in text_string_to_metric_families(generate_latest(Telemetry().registry).decode()):
        if family.name.startswith("globetag_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            told[name] = (family.type, labels)
    assert told == NAMES


def test_the_documentation_has_each_metric_and_no_other():
    operations = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    queue = {family.name for family in _Families().all}
    listed = set(re.findall(r"^\| `(globetag_\w+)` \|", operations, re.MULTILINE))
    http = {"globetag_http_requests_total", "globetag_http_request_seconds"}
    assert listed == set(NAMES) | queue | http
    blocks = "\n".join(re.findall(r"```yaml\n(.*?)```", operations, re.DOTALL))
    named = set(re.findall(r"\bglobetag_[a-z_]+\b", blocks)) - {"globetag_reader"}
    assert named <= listed | {f"{name}_count" for name in listed}
    assert len(named) >= 8


def test_the_yaml_of_the_documentation_can_be_read():
    operations = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", operations, re.DOTALL)
    assert len(blocks) >= 4
    rules = next(yaml.safe_load(block) for block in blocks if "alert:" in block)["groups"][0]["rules"]
    assert all({"alert", "expr"} <= set(rule) for rule in rules)
    assert all(yaml.safe_load(block) for block in blocks)


def test_there_are_so_many_series_from_the_start_on_and_never_more(gazetteer):
    telemetry = Telemetry()
    before = set(_figures(telemetry))
    _run(telemetry, gazetteer)
    for reason in Reason:
        state = JobState.FAILED if reason in FAILURE_REASONS else JobState.DONE
        telemetry.saving(lambda _: None)(
            Settled(
                "j",
                state,
                outcome=None if reason in FAILURE_REASONS else Outcome.NOT_LOCATABLE,
                reason=reason if reason in FAILURE_REASONS else None,
            )
        )
    assert set(_figures(telemetry)) == before
    reasons = {dict(key[1:]).get("reason") for key in before} - {None}
    assert reasons == set(FAILURE_REASONS | REFUSALS)


def test_a_located_photograph_is_counted_in_every_stage_once(gazetteer):
    telemetry = Telemetry()
    settled = _run(telemetry, gazetteer, recall=lambda *_, **__: Recalled())
    assert settled.outcome is Outcome.LOCATED
    figures = _figures(telemetry)
    assert {stage: figures["globetag_stage_seconds_count", ("stage", stage)] for stage in STAGES} == dict.fromkeys(
        STAGES, 1.0
    )
    assert figures["globetag_photographs_total", ("outcome", "located")] == 1
    assert figures["globetag_gate_total", ("result", "passed")] == 1
    assert figures["globetag_model_answers_sum",] == 1
    assert figures["globetag_radius_meters_sum",] == pytest.approx(settled.prediction.radius_km * 1000)
    assert sum(value for key, value in figures.items() if key[0] == "globetag_failures_total") == 0


def test_stages_add_up_to_the_whole(gazetteer):
    telemetry = Telemetry()
    pause_s = 0.02

    def fetch(_):
        time.sleep(pause_s)
        return picture(1)

    _run(telemetry, gazetteer, fetch=fetch)
    figures = _figures(telemetry)
    stages = sum(value for key, value in figures.items() if key[0] == "globetag_stage_seconds_sum")
    assert stages == pytest.approx(figures["globetag_photograph_seconds_sum",])
    assert figures["globetag_stage_seconds_sum", ("stage", "fetch")] >= pause_s


def test_a_photograph_that_the_gate_stops_is_a_refusal(gazetteer):
    telemetry = Telemetry()
    _run(telemetry, gazetteer, gate=NullGate(0.1))
    figures = _figures(telemetry)
    assert figures["globetag_gate_total", ("result", "refused")] == 1
    assert figures["globetag_gate_total", ("result", "passed")] == 0
    assert figures["globetag_refusals_total", ("reason", "gate_below_threshold")] == 1
    assert figures["globetag_photographs_total", ("outcome", "not_locatable")] == 1
    assert figures["globetag_stage_seconds_count", ("stage", "reason")] == 0


def test_a_failure_and_a_later_try_are_told_apart(gazetteer):
    telemetry = Telemetry()

    def fails(error):
        def fetch(_):
            raise error

        return fetch

    _run(telemetry, gazetteer, fetch=fails(JobError(Reason.NOT_FOUND, "gone")))
    _run(telemetry, gazetteer, fetch=fails(Transient(Reason.UNREACHABLE, "away")))
    figures = _figures(telemetry)
    assert figures["globetag_failures_total", ("reason", "not_found")] == 1
    assert figures["globetag_failures_total", ("reason", "unreachable")] == 0
    assert figures["globetag_retries_total", ("reason", "unreachable")] == 1
    assert figures["globetag_photographs_total", ("outcome", "failed")] == 1
    assert figures["globetag_stage_seconds_count", ("stage", "fetch")] == 2, "a fetch that fails takes time too"


def test_a_model_that_fails_was_reached_through_the_gate(gazetteer):
    telemetry = Telemetry()

    def say(_):
        raise JobError(Reason.MODEL_ERROR, "no memory")

    _run(telemetry, gazetteer, engine=NullEngine(say))
    assert _figures(telemetry)["globetag_gate_total", ("result", "passed")] == 1


def test_further_answers_count_to_one_photograph():
    telemetry = Telemetry()
    prediction = PredictionRecord(Status.NOT_LOCATABLE, "r", reason=Reason.SAMPLES_DISAGREE)
    trace = TraceRecord("because", "answer", samples=({"number": 1}, {"number": 2}))
    settled = Settled(
        "j", JobState.DONE, outcome=Outcome.NOT_LOCATABLE, prediction=prediction, trace=trace, reused=False
    )
    telemetry.saving(lambda _: None)(settled)
    figures = _figures(telemetry)
    assert (figures["globetag_model_answers_sum",], figures["globetag_model_answers_count",]) == (3, 1)


def test_what_could_not_be_stored_is_not_counted():
    telemetry = Telemetry()

    def save(_):
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        telemetry.saving(save)(Settled("j", JobState.DONE, outcome=Outcome.KNOWN))
    assert _figures(telemetry)["globetag_photographs_total", ("outcome", "known")] == 0


def test_threads_do_not_mix_their_photographs(gazetteer):
    telemetry = Telemetry()
    threads = [threading.Thread(target=_run, args=(telemetry, gazetteer)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures = _figures(telemetry)
    assert figures["globetag_photograph_seconds_count",] == 16
    assert figures["globetag_stage_seconds_count", ("stage", "gate")] == 16


# --- the port ---


def _get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read().decode()


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


def test_the_port_tells_figures_and_readiness(free_port):
    readiness = Readiness("the models are being loaded")
    state = [None]
    with open_port(Settings(metrics_port=free_port), Telemetry().registry, readiness) as is_open:
        assert is_open
        assert _get(free_port, "/healthz") == (200, "alive\n")
        assert _get(free_port, "/readyz") == (503, "the models are being loaded\n")
        readiness.follow(lambda: state[0])
        assert _get(free_port, "/readyz") == (200, "ready\n")
        state[0] = "no messages"
        assert _get(free_port, "/readyz") == (503, "no messages\n")
        readiness.refuse("draining")
        assert _get(free_port, "/readyz") == (503, "draining\n")
        status, told = _get(free_port, "/metrics")
        assert (status, 'globetag_gate_total{result="passed"} 0.0' in told) == (200, True)
        assert _get(free_port, "/etc/passwd")[0] == 404
    with pytest.raises(urllib.error.URLError):
        _get(free_port, "/healthz")


def test_a_second_worker_on_the_port_is_told_what_to_do(free_port):
    settings = Settings(metrics_port=free_port)
    refused = pytest.raises(SetupError, match=rf"port {free_port} .*GLOBETAG_METRICS_PORT of its own")
    with open_port(settings, new_registry(), Readiness("")), refused:
        open_port(settings, new_registry(), Readiness("")).__enter__()


def test_without_a_port_nothing_is_opened():
    with open_port(Settings(), CollectorRegistry(), Readiness("")) as is_open:
        assert not is_open
