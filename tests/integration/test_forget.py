"""`globetag forget`: what is erased, what stays, and that it does not come back, not even by a worker."""

import hashlib
import json
import threading

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import select, text

from benchmarks.null_models import ANSWER
from schema import queries
from schema.reasons import ForgetReason
from schema.tables import forgotten, image, job, label, metadata, prediction, trace
from tests.support import picture, wait_for, write_pictures
from worker.commands.forget import command
from worker.errors import SetupError
from worker.forgetting import Chosen, erase, survey
from worker.intake.sources import Submission
from worker.queue.enqueue import enqueue

OF_PHOTOGRAPHS = {
    *("image", "job", "label", "prediction", "trace", "gallery", "curation_member"),
    *("distilled", "teacher_answer", "distilled_sample"),
}

ABOUT_ONE = {"image", "job", "prediction", "distilled", "teacher_answer"}

KEPT = "e" * 64
GONE = "a" * 64

FILL = f"""
    INSERT INTO collection (name) VALUES ('press'), ('fonds');
    INSERT INTO model_version (kind, name, version) VALUES ('lvlm', 'm', '1'), ('gate', 'g', '1');
    INSERT INTO image (sha256, format, width_px, height_px, size_bytes, embedding, embedding_model_id)
    VALUES ('{GONE}', 'JPEG', 4, 3, 9, '[1,0]', 2), ('{KEPT}', 'JPEG', 4, 3, 9, '[0,1]', 2);
    INSERT INTO label (image_id, source, lat, lon) SELECT id, 'exif', 60, 10 FROM image;
    INSERT INTO prediction (image_id, status, reason, suggestions, model_version_id, gate_version_id,
           pipeline_version,
                            request_hash, prompt_hash, sampling, gazetteer_version, code_version)
    SELECT id, 'not_locatable', 'place_unknown',
           '[{{"from_sha256": "{GONE}", "lat": 60}}, {{"from_sha256": "{KEPT}"}}, {{"source": "x"}}]', 1, 2, 'p',
                  'r', 'h',
           '{{}}', 'g', 'c' FROM image;
    INSERT INTO trace (prediction_id, reasoning, answer) SELECT id, 'red roofs', 'a' FROM prediction;
    INSERT INTO job (id, collection_id, uri, state, outcome, image_id, prediction_id)
    SELECT gen_random_uuid(), 1, 'file:///archive/' || id, 'done', 'known', id, id FROM image;
    INSERT INTO curation (hash, labels_until, parameters, labels_in, train, held_out, dropped)
    VALUES ('h', 1, '{{}}', 2, 1, 1, '{{}}');
    INSERT INTO curation_member (curation_id, image_id, side, sha256, label_id, source, lat, lon, country_code,
           cell, uri)
    SELECT 1, id, CASE sha256 WHEN '{GONE}' THEN 'train' ELSE 'held_out' END, sha256, 1, 'exif', 60, 10, 'NO',
           'c', 'u'
    FROM image;
    INSERT INTO model_version (kind, name, version, curation_id, parent_id) VALUES
        ('lvlm', 'taught', '2', 1, 1), ('lvlm', 'child', '3', NULL, 3), ('lvlm', 'other', '4', NULL, 1);
    INSERT INTO distillation (name, source, teachers) VALUES ('d', '{{}}', '[]');
    INSERT INTO distilled (distillation_id, sha256, image_id, uri, lat, lon)
    SELECT 1, sha256, id, 'file:///archive/' || id, 60, 10 FROM image;
    INSERT INTO teacher_answer (distillation_id, sha256, teacher, state, raw)
    SELECT 1, sha256, 't', 'answered', 'red roofs' FROM image;
    INSERT INTO distilled_sample (distillation_id, sha256, teacher, kept, reasoning, answer)
    SELECT 1, sha256, 't', true, 'red roofs', 'country: Norway' FROM image;
"""


@pytest.fixture
def archive(database):
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(FILL)
    return database


@pytest.fixture
def forget(archive, monkeypatch):
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", archive.url)
    monkeypatch.setenv("COLUMNS", "300")

    def forget(*arguments):
        done = CliRunner().invoke(command, list(arguments))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    return forget


def counts(database):
    with database.engine.connect() as connection:
        return {
            name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in [*sorted(OF_PHOTOGRAPHS), "forgotten"]
        }


def everything(database):
    """Every cell of every table, as one text."""
    with database.engine.connect() as connection:
        return "\n".join(
            str(row)
            for table in metadata.tables
            if table != "forgotten"
            for row in connection.execute(text(f"SELECT * FROM {table}"))
        )


@pytest.mark.parametrize("named", [GONE, "file:///archive/1", "job"])
def test_nothing_is_left_of_one_photograph_and_all_of_another(archive, forget, named):
    if named == "job":
        with archive.engine.connect() as connection:
            named = connection.execute(select(job.c.id).where(job.c.image_id == 1)).scalar_one()
    said = forget(named, "--reason", "erasure_request", "--by", "dpo", "--confirm", "erase")
    assert counts(archive) == dict.fromkeys(OF_PHOTOGRAPHS, 1) | {"forgotten": 1}
    assert GONE not in everything(archive)
    with archive.engine.connect() as connection:
        [row] = connection.execute(select(forgotten)).all()
        assert (row.sha256, row.forgotten_by, row.reason) == (GONE, "dpo", ForgetReason.ERASURE_REQUEST)
        [offers] = connection.execute(select(prediction.c.suggestions)).scalars()
        assert offers == [{"from_sha256": KEPT}, {"source": "x"}]
        assert connection.execute(select(image.c.sha256)).scalars().all() == [KEPT]
    assert "model version 3 (taught 2) learnt from 1 of them" in said
    assert "model version 4 (child 3) goes on from one that did" in said
    assert "other 4" not in said


@pytest.mark.parametrize("named", ["b" * 64, "file:///elsewhere/old.jpg", "file"])
def test_what_teachers_were_asked_about_goes_though_no_collection_ever_held_it(archive, forget, named, tmp_path):
    sha256 = "b" * 64
    if named == "file":
        file = tmp_path / "old.jpg"
        file.write_bytes(b"old")
        sha256, named = hashlib.sha256(b"old").hexdigest(), str(file)
    with archive.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO distilled (distillation_id, sha256, uri, lat, lon)"
                " VALUES (1, :sha256, 'file:///elsewhere/old.jpg', 1, 1)"
            ),
            {"sha256": sha256},
        )
        connection.execute(
            text(
                "INSERT INTO teacher_answer (distillation_id, sha256, teacher, state, raw)"
                " VALUES (1, :sha256, 't', 'answered', 'a')"
            ),
            {"sha256": sha256},
        )
    before = counts(archive)
    said = forget(named, "--reason", "erasure_request", "--confirm", "erase")
    assert sha256 not in everything(archive)
    less = {"distilled": 1, "teacher_answer": 1, "forgotten": -1}
    assert counts(archive) == {table: count - less.get(table, 0) for table, count in before.items()}
    assert "1 content hashes are refused" in said


def test_a_dry_run_shows_the_counts_and_erases_nothing(archive, forget):
    before = counts(archive)
    said = forget(GONE, "--dry-run")
    assert counts(archive) == before
    assert {
        line.split()[1]: line.split()[0] for line in said.splitlines()[: len(OF_PHOTOGRAPHS) + 1]
    } == dict.fromkeys([*OF_PHOTOGRAPHS, "suggestion"], "1")


def test_nothing_is_erased_unless_it_is_typed(archive, forget):
    before = counts(archive)
    for arguments in ([GONE, "--confirm", "yes"], ["--collection", "press", "--confirm", "erase"]):
        with pytest.raises(SetupError, match="nothing was erased"):
            forget(*arguments, "--reason", "other")
    assert "--reason" in forget(GONE)
    for arguments in ([], [GONE, "--collection", "press"], [GONE, "--everywhere"]):
        assert "Usage" in forget(*arguments, "--reason", "other")
    with pytest.raises(SetupError, match="no collection 'prss'"):
        forget("--collection", "prss", "--reason", "other", "--confirm", "prss")
    assert counts(archive) == before


def test_a_collection_goes_but_for_what_others_hold_too(archive, forget):
    with archive.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO job (id, collection_id, uri, state, outcome, image_id)"
                " VALUES (gen_random_uuid(), 2, 'file:///elsewhere/2', 'done', 'known', 2)"
            )
        )
        connection.execute(
            text("INSERT INTO job (id, collection_id, uri) VALUES (gen_random_uuid(), 1, 'file:///archive/new')")
        )
    said = forget("--collection", "press", "--reason", "rights", "--confirm", "press")
    assert "1 photographs stay" in said
    with archive.engine.connect() as connection:
        assert connection.execute(select(image.c.sha256)).scalars().all() == [KEPT]
        assert connection.execute(select(job.c.uri)).scalars().all() == ["file:///elsewhere/2"]
        assert connection.execute(select(forgotten.c.sha256)).scalars().all() == [GONE]


def test_everywhere_takes_along_what_others_hold(archive, forget):
    with archive.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO job (id, collection_id, uri, state, outcome, image_id)"
                " VALUES (gen_random_uuid(), 2, 'file:///elsewhere/2', 'done', 'known', 2)"
            )
        )
    forget("--collection", "press", "--everywhere", "--reason", "rights", "--confirm", "press")
    assert counts(archive) == dict.fromkeys(OF_PHOTOGRAPHS, 0) | {"forgotten": 2}


def test_what_was_never_seen_can_be_refused_beforehand(archive, forget, tmp_path):
    file = tmp_path / "never.jpg"
    file.write_bytes(b"never seen")
    before = counts(archive)
    said = forget(str(file), "--reason", "erasure_request", "--confirm", "erase")
    assert "Nothing is stored of it" in said
    assert counts(archive) == before | {"forgotten": 1}
    with archive.engine.connect() as connection:
        [sha256] = connection.execute(select(forgotten.c.sha256)).scalars()
    assert sha256 == hashlib.sha256(b"never seen").hexdigest()


def test_what_came_in_since_it_was_shown_is_not_erased(archive):
    shown = survey(archive.engine, Chosen(collection="press"))
    with archive.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO image (sha256, format, width_px, height_px, size_bytes)"
                f" VALUES ('{'c' * 64}', 'j', 1, 1, 1)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO job (id, collection_id, uri, state, outcome, image_id)"
                " VALUES (gen_random_uuid(), 1, 'u', 'done', 'known', 3)"
            )
        )
    before = counts(archive)
    done = erase(
        archive.engine,
        Chosen(collection="press"),
        forgotten_by="me",
        reason=ForgetReason.OTHER,
        agree=lambda now: set(now.hashes) <= set(shown.hashes),
    )
    assert done is None
    assert counts(archive) == before


def test_who_writes_all_the_time_is_waited_for_and_then_named(archive):
    before = counts(archive)
    with archive.engine.begin() as writer:
        writer.execute(text("UPDATE job SET priority = 1"))
        with pytest.raises(SetupError, match="others were always writing"):
            erase(
                archive.engine,
                Chosen(hashes=(GONE,)),
                forgotten_by="me",
                reason=ForgetReason.OTHER,
                writers_timeout_s=0.5,
            )
    assert counts(archive) == before


# --- it does not come back ---


def test_an_erased_photograph_is_refused_under_any_name(line, tmp_path):
    first, again = write_pictures(tmp_path / "a", 1)[0], tmp_path / "again.png"
    line.enqueue([first])
    with line.working():
        line.wait_until_settled(1)
        sha256 = hashlib.sha256(picture(0)).hexdigest()
        erase(line.database.engine, Chosen(hashes=(sha256,)), forgotten_by="me", reason=ForgetReason.RIGHTS)
        assert line.states() == {}
        again.write_bytes(first.read_bytes())
        line.enqueue([first, again])
        assert line.wait_until_settled(2) == {"failed": 2}
    assert {row.reason for row in line.jobs().values()} == {"forgotten"}
    assert counts(line.database)["image"] == 0


def test_what_is_erased_while_it_is_in_work_ends_as_forgotten(line, tmp_path):
    """The model has the photograph when it is erased; what it says then is not stored."""
    [path] = write_pictures(tmp_path / "a", 1)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    asked, answer_now = threading.Event(), threading.Event()

    def say(_image):
        asked.set()
        assert answer_now.wait(60)
        return ANSWER

    line.enqueue([path])
    with line.working(say):
        wait_for(asked.is_set, "the model to be asked")
        erase(line.database.engine, Chosen(hashes=(sha256,)), forgotten_by="me", reason=ForgetReason.RIGHTS)
        answer_now.set()
        assert line.wait_until_settled(1) == {"failed": 1}
    [row] = line.jobs().values()
    assert (row.reason, row.image_id, row.outcome) == ("forgotten", None, None)
    assert counts(line.database)["image"] == 0


def test_an_earlier_answer_whose_photograph_went_meanwhile_is_not_taken_for_one(archive):
    enqueue(archive.engine, [Submission("file:///archive/0.jpg")])
    with archive.engine.begin() as connection:
        job_id = connection.execute(select(job.c.id).where(job.c.uri == "file:///archive/0.jpg")).scalar_one()
        row = {"n": 0, "job_id": job_id, "state": "done", "outcome": "known", "reused": True, "retry_in_s": 0,
               "image_id": 999}  # fmt: skip
        versions = dict.fromkeys(
            ("pipeline_version", "prompt_hash", "gazetteer_version", "code_version", "answers_version"), "v"
        ) | {"model_version_id": 1, "gate_version_id": 2, "sampling": "{}"}
        connection.execute(queries.jobs.SAVE, {"rows": json.dumps([row]), "ids": [job_id], **versions})
        stored = connection.execute(select(job).where(job.c.id == job_id)).one()
    assert (stored.state, stored.reason, stored.image_id) == ("failed", "forgotten", None)


def test_the_tables_that_tell_of_a_photograph_are_all_counted():
    """A table that points at an image or a job and is not counted would be erased unseen, or not at all."""
    pointing = {
        table.name
        for table in metadata.tables.values()
        if {key.column.table.name for key in table.foreign_keys} & ABOUT_ONE
    }
    assert pointing | {"image"} == OF_PHOTOGRAPHS
    assert {label.name, trace.name} <= OF_PHOTOGRAPHS
