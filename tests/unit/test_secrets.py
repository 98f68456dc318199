"""What lets somebody in is told nowhere: settings, messages, logs, exports, errors."""

import io
import logging

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.null_models import NullEngine, NullGate
from schema.session import make_engine
from worker.assemble import fetch_limits
from worker.commands.settings import command
from worker.export import write
from worker.export.rows import ExportRow
from worker.outcome import Job
from worker.pipeline import Pipeline, Policy
from worker.place.gazetteer import Gazetteer
from worker.secrets import without_password, without_signature
from worker.settings import load

SIGNED = (
    "https://anna:hunter2@host/a.jpg?id=7&X-Amz-Signature=hunter2&X-Amz-Credential=hunter2&X-Amz-Security-Token=hunter2"
    "&token=hunter2&sig=hunter2&Key-Pair-Id=K&api_key=hunter2&X-Goog-Signature=hunter2#access_token=hunter2"
)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://anna:hunter2@db/x", "postgresql://anna:***@db/x"),
        ("postgresql://anna:hunter2@evil@db/x", "postgresql://anna:***@db/x"),
        (
            "postgresql://anna@db/x?password=hunter2&sslmode=require",
            "postgresql://anna@db/x?password=***&sslmode=require",
        ),
        (
            "postgresql:///x?host=/run&user=a&sslpassword=hunter2",
            "postgresql:///x?host=/run&user=a&sslpassword=***",
        ),
        ("amqp://a:hunter2@one//;amqp://b:hunter2@two//", "amqp://a:***@one//;amqp://b:***@two//"),
        ("amqps://:hunter2@mq/vhost", "amqps://:***@mq/vhost"),
        ("amqp://mq:5672//", "amqp://mq:5672//"),
    ],
)
def test_passwords_of_services_are_not_told(url, told):
    assert without_password(url) == told


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("https://host/a.jpg?id=7&size=large", "https://host/a.jpg?id=7&size=large"),
        ("https://host/a.jpg", "https://host/a.jpg"),
        ("https://host/a.jpg?sig=x&id=7", "https://host/a.jpg?sig=***&id=7"),
        ("http://u:p@host/a@b.jpg", "http://***@host/a@b.jpg"),
        ("file:///a?token=b", "file:///a?token=b"),
        ("s3://bucket/a?token=b", "s3://bucket/a?token=b"),
    ],
)
def test_addresses_still_name_their_photograph(uri, told):
    assert without_signature(uri) == told
    assert "hunter2" not in without_signature(SIGNED)
    assert "id=7" in without_signature(SIGNED)


@given(st.text(max_size=80), st.text(alphabet="abcXYZ019%._~-", min_size=4, max_size=30))
def test_a_password_is_never_told_whatever_stands_around_it(around, password):
    secret = f"hunter2{password}"
    assert secret not in without_signature(f"https://host/a?token={secret}&x={around}")
    assert secret not in without_password(f"postgresql://a:{secret}@db/x?application_name={around}")


def test_the_command_settings_tells_no_password(monkeypatch):
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", "postgresql://anna:hunter2@db/x?sslpassword=hunter2")
    monkeypatch.setenv("GLOBETAG_BROKER_URL", "amqp://a:hunter2@one//;amqp://b:hunter2@two//")
    monkeypatch.setenv("COLUMNS", "300")
    said = CliRunner().invoke(command, catch_exceptions=False).output
    assert "anna" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("format_", ["csv", "geojson", "jsonl"])
def test_exports_tell_no_signature(format_):
    row = ExportRow.from_row(
        {"job_id": "j", "collection": "c", "uri": SIGNED, "state": "failed", "reason": "empty"}
    )
    stream = io.StringIO()
    write(format_, [row], stream)
    assert "host/a.jpg" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()


def test_a_defect_is_logged_without_the_signature(caplog):
    def fetch(_uri):
        raise ZeroDivisionError

    pipeline = Pipeline(fetch, None, NullGate(1), NullEngine(str), Gazetteer.load(), Policy(gate_threshold=0.5))
    with caplog.at_level(logging.DEBUG):
        assert pipeline.settle(Job("j", SIGNED)).reason == "internal_error"
    assert "host/a.jpg" in caplog.text
    assert "hunter2" not in caplog.text


def test_errors_of_the_database_do_not_repeat_the_rows():
    assert make_engine("postgresql://localhost/x").hide_parameters


def test_what_may_be_reached_is_set_by_the_environment():
    given = {
        "GLOBETAG_ALLOW_HOSTS": "photos.example.org, *.museum.org",
        "GLOBETAG_PRIVATE_HOSTS": "photos.lan",
        "GLOBETAG_ALLOW_BUCKETS": "archive,press",
        "GLOBETAG_MAX_REDIRECTS": "0",
    }
    limits = fetch_limits(load(given)[0])
    assert limits.allow_hosts == {"photos.example.org", "*.museum.org"}
    assert limits.private_hosts == {"photos.lan"}
    assert limits.allow_buckets == {"archive", "press"}
    assert limits.max_redirects == 0
    unset = fetch_limits(load({})[0])
    assert (unset.allow_hosts, unset.allow_buckets, unset.private_hosts) == (None, None, frozenset())
