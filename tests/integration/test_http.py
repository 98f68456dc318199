"""The HTTP interface on a real database: what is sent becomes a job, once, and is told to whom it belongs.

Long because all of it needs the same application before the same database.
"""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from openapi_spec_validator import validate
from sqlalchemy import func, insert, select, text, update
from starlette.testclient import TestClient

from schema import queries
from schema.messages import DEFAULT_COLLECTION, job_id_for
from schema.tables import collection, dead_message, idempotency_key, job
from tests.support import write_pictures
from worker.http import jobs as http_jobs
from worker.http.app import Api, create_app
from worker.http.body import MAX_BYTES
from worker.http.idempotency import answer_once
from worker.http.jobs import Jobs
from worker.http.openapi import document
from worker.http.problem import Problem
from worker.http.server import open_server
from worker.http.tokens import make_token, read_tokens
from worker.metrics_port import new_registry
from worker.queue_figures import BrokerLook, QueueFigures, problems
from worker.settings import Settings

URI = "s3://bucket/photograph.jpg"
JSON = {"Content-Type": "application/json"}


class Served:
    """The application without a network, and the database behind it."""

    def __init__(self, database, *, entries="", max_queued=1000, look=None):
        self.database = database
        self.registry = new_registry()
        jobs = Jobs(database.engine, max_queued=max_queued)
        self.app = create_app(Api(jobs, read_tokens(entries), self.registry, look or (lambda: {})))
        self.client = TestClient(self.app, base_url="http://localhost", raise_server_exceptions=False)

    def post(self, body, *, key=None, token=None, **headers):
        if key is not None:
            headers["Idempotency-Key"] = key
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.client.post("/v1/jobs", content=content, headers=JSON | headers)

    def get(self, path, token=None):
        return self.client.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})

    def rows(self, table=job):
        with self.database.engine.connect() as connection:
            return connection.execute(select(table)).all()


@pytest.fixture
def served(database):
    return Served(database)


def _problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert {"type", "title", "status", "detail"} <= set(told)
    assert told["status"] == status
    assert answer.headers["cache-control"] == "no-store"
    return told


# --- jobs in ---


def test_a_photograph_is_queued_and_its_job_is_told(served):
    hints = {"text": "Market square", "region": "Norway", "date": "1931"}
    answer = served.post({"uri": URI, "collection": "press", "hints": hints, "verify": True, "priority": 1})
    job_id = str(job_id_for("press", URI))
    assert (answer.status_code, answer.json()) == (202, {"job_id": job_id, "state": "queued"})
    assert answer.headers["location"] == f"/v1/jobs/{job_id}"
    [row] = served.rows()
    assert (row.id, row.uri, row.hints, row.verify, row.priority) == (job_id, URI, hints, True, 1)
    assert [each.name for each in served.rows(collection)] == ["press"]


def test_a_list_is_answered_in_its_order(served):
    uris = [f"s3://bucket/{number}.jpg" for number in (3, 1, 2, 1)]
    answer = served.post([{"uri": uri, "priority": number % 2} for number, uri in enumerate(uris)])
    assert answer.status_code == 202
    told = answer.json()["jobs"]
    assert [each["job_id"] for each in told] == [str(job_id_for(DEFAULT_COLLECTION, uri)) for uri in uris]
    assert {each["state"] for each in told} == {"queued"}
    assert len(served.rows()) == 3


def test_the_same_photograph_posted_twice_is_one_job(served):
    first, second = served.post({"uri": URI}), served.post({"uri": URI})
    assert first.json() == second.json()
    assert len(served.rows()) == 1


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b'{"uri": ""}', {}, 422),
        (b'{"uri": "x", "colour": "blue"}', {}, 422),
        (b'{"uri": "x"}', {"Content-Type": "text/plain"}, 415),
        (b'{"uri": "x"}', {"Content-Type": ""}, 415),
        (b'{"uri": "x"}', {"Content-Encoding": "gzip"}, 415),
        (b'{"uri": "x"}', {"Idempotency-Key": '"unclosed'}, 400),
        (b" " * (MAX_BYTES + 1), {}, 413),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_job_changes_nothing(served, body, headers, status):
    _problem(served.post(body, **headers), status)
    assert served.rows() == served.rows(idempotency_key) == []


def test_a_body_that_does_not_say_how_long_it_is_is_cut_off(served):
    chunks = iter([b"[" + b" " * 65536] * 200)
    answer = served.client.post("/v1/jobs", content=chunks, headers=JSON)
    assert "content-length" not in answer.request.headers
    _problem(answer, 413)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/jobs", 405), ("GET", "/nothing", 404), ("DELETE", "/v1/jobs/x", 405)],
)
def test_other_paths_and_methods_are_told_apart(served, method, path, status):
    _problem(served.client.request(method, path), status)


# --- the same request again ---


def test_a_key_gets_its_answer_again_also_when_things_have_moved_on(served):
    first = served.post({"uri": URI, "verify": True}, key='"k1"')
    with served.database.engine.begin() as connection:
        connection.execute(update(job).values(state="done", outcome="located", finished_at=func.now()))
    again = served.post(b'{ "verify": true, "uri": "s3://bucket/photograph.jpg" }', key="k1")
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["location"] == first.headers["location"]
    assert served.post({"uri": URI, "verify": True}).json()["state"] == "done", "without the key the truth is told"


def test_a_key_for_another_body_is_refused(served):
    served.post({"uri": URI}, key="k1")
    _problem(served.post({"uri": URI, "collection": "other"}, key="k1"), 422)
    _problem(served.post([{"uri": URI}], key="k1"), 422)
    assert len(served.rows()) == 1


def test_a_key_of_a_request_in_work_is_refused_until_that_is_over(database):
    entered, leave = threading.Event(), threading.Event()

    def slow():
        entered.set()
        assert leave.wait(30)
        return {"n": 1}

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(answer_once, database.engine, "shop", "k", "f", slow)
        assert entered.wait(30)
        with pytest.raises(Problem) as caught:
            answer_once(database.engine, "shop", "k", "f", lambda: {"n": 2})
        assert caught.value.status == 409
        assert answer_once(database.engine, "shop", "other key", "f", lambda: {"n": 3}) == {"n": 3}
        leave.set()
        assert first.result(30) == {"n": 1}
    assert answer_once(database.engine, "shop", "k", "f", lambda: {"n": 4}) == {"n": 1}
    assert answer_once(database.engine, "museum", "k", "g", lambda: {"n": 5}) == {"n": 5}, (
        "each caller has its own"
    )


def test_what_fails_is_kept_nowhere(database):
    def fails():
        raise Problem(429, "later")

    with pytest.raises(Problem):
        answer_once(database.engine, "shop", "k", "f", fails)
    assert answer_once(database.engine, "shop", "k", "another", lambda: {"n": 1}) == {"n": 1}


def test_many_at_once_with_one_key_make_one_job_and_one_answer(served, tmp_path):
    settings = Settings(home=tmp_path, database_url=served.database.url)
    with open_server(settings, served.database, host="127.0.0.1", port=0) as server, httpx.Client() as client:
        server.start()
        url = f"http://127.0.0.1:{server.port}/v1/jobs"
        with ThreadPoolExecutor(16) as pool:
            answers = list(
                pool.map(
                    lambda _: client.post(url, json={"uri": URI}, headers={"Idempotency-Key": '"k"'}, timeout=60),
                    range(64),
                )
            )
    taken = [answer.json() for answer in answers if answer.status_code == 202]
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len(taken) >= 1
    assert all(each == taken[0] for each in taken)
    assert len(served.rows()) == 1


def test_a_key_is_forgotten_after_a_day(served):
    served.post({"uri": URI}, key="old")
    with served.database.engine.begin() as connection:
        connection.execute(update(idempotency_key).values(created_at=func.now() - text("interval '25 hours'")))
    assert served.post({"uri": URI, "collection": "other"}, key="old").status_code == 202
    with served.database.engine.begin() as connection:
        connection.execute(update(idempotency_key).values(created_at=func.now() - text("interval '25 hours'")))
    served.post({"uri": URI}, key="new")
    assert [row.key for row in served.rows(idempotency_key)] == ["new"], "old ones are cleared on the way"


# --- too much at once ---


def test_nothing_more_is_taken_while_too_much_waits(database, monkeypatch):
    monkeypatch.setattr(http_jobs, "_LOOK_EVERY_S", 0.0)
    served = Served(database, max_queued=2)
    first = served.post([{"uri": "s3://bucket/1.jpg"}, {"uri": "s3://bucket/2.jpg"}], key="k")
    refused = served.post({"uri": "s3://bucket/3.jpg"})
    _problem(refused, 429)
    assert int(refused.headers["retry-after"]) > 0
    again = served.post([{"uri": "s3://bucket/1.jpg"}, {"uri": "s3://bucket/2.jpg"}], key="k")
    assert (again.status_code, again.json()) == (202, first.json()), "what was taken is not refused afterwards"
    with database.engine.begin() as connection:
        connection.execute(update(job).values(state="failed", reason="empty", finished_at=func.now()))
    assert served.post({"uri": "s3://bucket/3.jpg"}).status_code == 202


# --- who may do what ---


@pytest.fixture
def callers():
    """Tokens of a caller for everything and of one for the collection press, and the setting that lets them in."""
    free, first = make_token("shop")
    bound, second = make_token("reader", ("press",))
    return free, bound, f"{first} {second}"


def test_nobody_is_let_in_without_a_token(database, callers):
    free, _, entries = callers
    served = Served(database, entries=entries)
    for headers in (
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {free}"},
        {"Authorization": f"Bearer {free}x"},
    ):
        answer = served.post({"uri": URI}, **headers)
        _problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    _problem(served.get("/metrics"), 401)
    _problem(served.get(f"/v1/jobs/{job_id_for('press', URI)}"), 401)
    assert served.rows() == []
    assert served.post({"uri": URI}, token=free).status_code == 202
    assert {served.get(path).status_code for path in ("/healthz", "/readyz", "/openapi.json")} == {200}


def test_a_caller_of_one_collection_sees_and_fills_that_alone(database, callers):
    free, bound, entries = callers
    served = Served(database, entries=entries)
    mine = served.post({"uri": URI, "collection": "press"}, token=bound).json()
    theirs = served.post({"uri": URI, "collection": "secret"}, token=free).json()
    _problem(served.post({"uri": URI, "collection": "secret"}, token=bound), 403)
    _problem(served.post([{"uri": URI, "collection": "press"}, {"uri": URI}], token=bound), 403)
    assert len(served.rows()) == 2
    assert served.get(f"/v1/jobs/{mine['job_id']}", token=bound).json()["collection"] == "press"
    hidden = _problem(served.get(f"/v1/jobs/{theirs['job_id']}", token=bound), 404)
    missing = _problem(served.get(f"/v1/jobs/{job_id_for('x', 'y')}", token=bound), 404)
    assert hidden == missing, "whether it exists is not told"
    _problem(served.get("/metrics", token=bound), 403)
    assert served.get("/metrics", token=free).status_code == 200


def test_without_tokens_a_name_that_was_made_to_lead_here_is_refused(database):
    served = Served(database)
    for host in ("localhost:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST"):
        assert served.post({"uri": URI}, Host=host).status_code == 202
    for host in (
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
    ):
        _problem(served.post({"uri": URI}, Host=host), 421)


def test_no_secret_is_logged(database, callers, caplog):
    free, _, entries = callers
    served = Served(database, entries=entries)
    with caplog.at_level("DEBUG"):
        served.post({"uri": URI}, token=free)
        served.post({"uri": URI}, token=free + "x")
    assert free not in caplog.text


# --- what became of it ---


def test_a_settled_job_is_told_with_its_place(line, tmp_path):
    [path] = write_pictures(tmp_path / "pictures", 1)
    served = Served(line.database)
    job_id = served.post({"uri": path.as_uri()}).json()["job_id"]
    queued = served.get(f"/v1/jobs/{job_id}").json()
    assert (queued["state"], queued["place"], queued["settled_at"]) == ("queued", None, None)
    with line.working():
        assert line.wait_until_settled(1) == {"done": 1}
    told = served.get(f"/v1/jobs/{job_id}").json()
    assert (told["state"], told["outcome"], told["reason"]) == ("done", "located", None)
    assert told["place"]["city"] == "Paris"
    assert told["place"]["source"] == "prediction"
    assert told["place"]["radius_km"] > 0
    assert told["place"]["untrained"] is True
    assert set(told) == set(document()["components"]["schemas"]["Job"]["required"])
    assert path.name not in json.dumps(told), "addresses may hold secrets"


def test_a_failed_job_is_told_with_its_reason(line, tmp_path):
    served = Served(line.database)
    job_id = served.post({"uri": (tmp_path / "missing.jpg").as_uri()}).json()["job_id"]
    with line.working():
        assert line.wait_until_settled(1) == {"failed": 1}
    told = served.get(f"/v1/jobs/{job_id}").json()
    assert told["reason"] == {"code": "not_found", "sentence": "There is nothing at this path or address."}
    assert (told["state"], told["place"]) == ("failed", None)


@pytest.mark.parametrize("job_id", ["nothing", "7f3c8a54-26a1-4c11-9d0e-0a5f2f4d6c11", "%00", "..%2f", "1" * 5000])
def test_an_unknown_job_is_not_found(served, job_id):
    _problem(served.get(f"/v1/jobs/{job_id}"), 404)


# --- operations ---


def test_what_is_missing_is_told_to_probes(database):
    missing = {"broker": "does not answer"}
    answer = Served(database, look=lambda: missing).get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "problems": missing})
    assert Served(database).get("/readyz").json() == {"ready": True, "problems": {}}
    assert Served(database, look=lambda: missing).get("/healthz").status_code == 200


def test_problems_are_found(line):
    broker = BrokerLook(line.producer, line.settings)
    assert problems(line.database.engine, broker) == {}
    with line.database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    assert problems(line.database.engine, broker) == {"schema": "is not up to date"}
    with line.database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'of-the-next-release'"))
    assert problems(line.database.engine, broker) == {}
    broker.close()


def test_a_database_that_is_away_is_a_problem_without_particulars(served, monkeypatch):
    monkeypatch.setattr(queries.http, "COUNT_QUEUED", text("SELECT 1 FROM no_such_table WHERE :limit > 0"))
    told = _problem(served.post({"uri": URI}), 503)
    assert "no_such_table" not in json.dumps(told)


def test_the_figures_tell_how_everything_stands(line):
    served = Served(line.database)
    served.registry.register(
        QueueFigures(line.database.engine, BrokerLook(line.producer, line.settings), kept_s=0)
    )
    served.post([{"uri": f"s3://bucket/{number}.jpg"} for number in range(3)])
    served.post(b"{")
    with line.database.engine.begin() as connection:
        some = select(job.c.id).limit(1).scalar_subquery()
        connection.execute(
            update(job).where(job.c.id == some).values(state="failed", reason="empty", finished_at=func.now())
        )
        connection.execute(
            update(job).where(job.c.state == "queued").values(due_at=func.now() - text("interval '1 hour'"))
        )
    with line.database.engine.begin() as connection:
        message = {
            "queue": "geotag.locate",
            "source": "celery",
            "reason": "bad_fields",
            "detail": "",
            "body_bytes": 0,
        }
        connection.execute(insert(dead_message), [message | {"fingerprint": name} for name in ("a", "b")])
        connection.execute(insert(dead_message).values(**message, fingerprint="c", dropped_at=func.now(), by="x"))
    told = served.get("/metrics").text
    assert 'globetag_dead_messages{queue="geotag.locate",reason="bad_fields"} 2.0' in told
    assert 'globetag_jobs{state="queued"} 2.0' in told
    assert 'globetag_jobs{state="dead"} 0.0' in told
    assert 'globetag_failed_jobs{reason="empty",state="failed"} 1.0' in told
    assert 'globetag_broker_messages{queue="geotag.locate.dead"} 0.0' in told
    assert 'globetag_up{part="broker"} 1.0' in told
    assert 'globetag_http_requests_total{route="/v1/jobs",status="400"} 1.0' in told
    [age] = [line for line in told.splitlines() if line.startswith('globetag_oldest_due_job_seconds{lane="bulk"}')]
    assert 3600 <= float(age.split()[-1]) < 3700
    served.get("/" + "x" * 50)
    assert "xxx" not in served.get("/metrics").text


def test_the_description_is_valid_and_whole(served):
    described = served.get("/openapi.json").json()
    validate(described)
    routes = {(route.path, method.lower()) for route in served.app.routes for method in route.methods - {"HEAD"}}
    assert {(path, method) for path, item in described["paths"].items() for method in item} == routes
