"""One job's story: whole, readable, and harmless to the terminal that shows it."""

import json
import re
from dataclasses import asdict

import pytest
from click.testing import CliRunner
from sqlalchemy import update

from schema.messages import job_id_for
from schema.tables import job, trace
from tests.support import write_pictures
from worker.commands import trace as trace_command
from worker.commands.trace import in_text
from worker.errors import SetupError
from worker.intake.sources import Submission
from worker.queue.enqueue import enqueue
from worker.story import find_stories

pytestmark = pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp.exe\r\x00"[:-1]


def _text(line, asked, **chosen):
    return "\n\n".join(in_text(story) for story in find_stories(line.database.engine, asked, **chosen))


def test_a_job_that_waits_has_a_short_story(line):
    uri = "https://user:password@example.org/a.jpg?signature=secret"
    enqueue(line.database.engine, [Submission(uri, hints={"text": "Market", "date": "1931"}, collection="press")])
    told = _text(line, uri)
    assert told == _text(line, str(job_id_for("press", uri)))
    for words in (
        "https://example.org/a.jpg",
        "collection press",
        "hint, text: Market",
        "not published",
        "due now",
    ):
        assert words in told
    assert "no attempts, no lost workers" in told
    assert "password" not in told
    assert "secret" not in told
    assert "Answered by" not in told


def test_a_settled_job_tells_all_that_took_part(line, tmp_path):
    [path] = write_pictures(tmp_path / "pictures", 1)
    line.enqueue([path])
    with line.working() as worker:
        line.wait_until_settled(1)
        name = worker.service.worker
        version = worker.versions.pipeline_version
    told = _text(line, path.as_uri())
    for words in (
        f"by {name}",
        "1 attempt, no lost workers",
        "the broker was told 20",
        "png, 16 × 16 px",
        "score 1.000: let through to the model, with a threshold of 0.500",
        "answer: <think>A tall iron tower",
        "inferred: Paris",
        "nominal: nothing is calibrated",
        "agreement 100% of all weight, over 1 answer",
        "UNTRAINED",
        f"pipeline {version}",
    ):
        assert words in told, told


def test_a_failed_job_says_why_in_a_sentence(line, tmp_path):
    line.enqueue([tmp_path / "missing.jpg"])
    with line.working():
        line.wait_until_settled(1)
    assert "not_found: There is nothing at this path or address." in _text(
        line, (tmp_path / "missing.jpg").as_uri()
    )


def test_what_comes_from_outside_cannot_command_the_terminal(line, tmp_path, monkeypatch):
    [path] = write_pictures(tmp_path / "pictures", 1)
    line.enqueue([path])
    with line.working():
        line.wait_until_settled(1)
    with line.database.engine.begin() as connection:
        connection.execute(update(job).values(hints={"text": HOSTILE}, detail=HOSTILE, worker=HOSTILE))
        connection.execute(
            update(trace).values(reasoning=HOSTILE, answer=HOSTILE, samples=[{"number": 1, "answer": HOSTILE}])
        )
    for name, value in {"DATABASE_URL": line.database.url, "HOME": str(line.settings.home)}.items():
        monkeypatch.setenv(f"GLOBETAG_{name}", value)
    for arguments in ([path.as_uri()], [path.as_uri(), "--json"]):
        ended = CliRunner().invoke(trace_command.command, arguments)
        assert ended.exit_code == 0, ended.output
        assert "owned" in ended.output
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", ended.output)
    assert json.loads(ended.output)["trace"]["answer"] == HOSTILE, "a program gets what is stored"


def test_an_address_in_several_collections_has_several_stories(line):
    for collection in ("press", "glass"):
        enqueue(line.database.engine, [Submission("s3://b/1.jpg", collection=collection)])
    assert len(find_stories(line.database.engine, "s3://b/1.jpg")) == 2
    [story] = find_stories(line.database.engine, "s3://b/1.jpg", "glass")
    assert asdict(story)["job"]["collection"] == "glass"


def test_an_unknown_job_is_said_to_be_none(line, monkeypatch):
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", line.database.url)
    with pytest.raises(SetupError, match="there is no such job"):
        trace_command.command.main(["nothing"], standalone_mode=False)
