"""Migrations, models, views, rights and constraints, checked on a real database."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

from schema import tables
from schema.reasons import Granularity, JobState, LabelSource, MessageReason, Outcome, Reason, Status
from schema.session import MIGRATIONS_FOLDER, make_engine, upgrade
from worker.database import open_database
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
VIEWS = {
    "current_location",
    "reasoning_trace",
    "clue",
    "review_queue",
    "failure",
    "collection_progress",
    "model_comparison",
    "job_place",
    "serving_model",
    "calibration_standing",
    "suggestion",
    "my_submission",
    "event",
    "event_place",
    "webhook_standing",
    "image_embedding",
}
PARTLY_READ = {
    *("image", "job", "prediction", "trace", "label", "gallery", "curation_member", "outbox"),
    *("distilled", "teacher_answer", "distilled_sample"),
}
"""Tables of which readers have only the columns that tell no place."""
UNREAD = {"forgotten", "position_read", "idempotency_key", "webhook", "dead_message", "submission"}
"""Not for readers: secrets, what strangers sent word for word, and who reads what."""


@pytest.fixture
def empty(empty_database_url):
    engine = make_engine(empty_database_url)
    yield engine
    engine.dispose()


def _differences(engine):
    """What Alembic would change to make the database what the models say."""
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), tables.metadata)


def _tables(engine):
    return set(inspect(engine).get_table_names())


# --- migrations ---


def test_the_migrations_make_what_the_models_describe(empty):
    upgrade(empty)
    assert _tables(empty) == {*tables.metadata.tables, "alembic_version"}
    assert set(inspect(empty).get_view_names()) == VIEWS
    assert _differences(empty) == []


def test_the_comparison_would_notice_a_difference(empty):
    upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text("ALTER TABLE job DROP COLUMN worker"))
    assert _differences(empty) != []


def test_upgrading_again_changes_nothing(empty):
    upgrade(empty)
    upgrade(empty)
    assert _differences(empty) == []


def test_time_outs_of_migrations_stay_with_them(empty):
    upgrade(empty)
    with empty.connect() as one, empty.connect() as other:
        for connection in (one, other):
            for name in ("lock_timeout", "statement_timeout"):
                assert connection.execute(text(f"SHOW {name}")).scalar_one() == "0"


def test_two_processes_that_upgrade_at_once_both_succeed(empty, empty_database_url):
    program = "import sys; from schema.session import *; upgrade(make_engine(sys.argv[1]))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, empty_database_url], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert _differences(empty) == []
    assert set(inspect(empty).get_view_names()) == VIEWS


def test_a_migration_that_fails_leaves_nothing_of_itself(empty, tmp_path):
    upgrade(empty)
    before = _tables(empty)
    with empty.connect() as connection:
        head = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    versions = tmp_path / "versions"
    shutil.copytree(MIGRATIONS_FOLDER / "versions", versions)
    (versions / "9999_fails.py").write_text(
        f'from alembic import op\nimport sqlalchemy as sa\nrevision, down_revision = "9999", "{head}"\n'
        'def upgrade():\n    op.create_table("half", sa.Column("id", sa.Integer))\n'
        '    op.execute("SELECT 1 / 0")\n'
    )
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_FOLDER))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "os")
    config.attributes["engine"] = empty
    with pytest.raises(DBAPIError, match="division by zero"):
        command.upgrade(config, "head")
    assert _tables(empty) == before
    with empty.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == head
    upgrade(empty)  # the lock was given back


def test_rows_keep_what_they_said_under_the_new_words(empty):
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_FOLDER))
    config.attributes["engine"] = empty
    # Views are made for the newest tables only, so the first release is made without them.
    with empty.begin() as connection:
        connection.execute(text("CREATE EXTENSION vector"))
        context = MigrationContext.configure(connection)
        script = ScriptDirectory.from_config(config)
        with Operations.context(context):
            script.get_revision("0001").module.upgrade()
        connection.execute(text("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('0001')"))
        _insert_refusals(connection, ["below_threshold", "model_abstained", "unknown_place"])
    upgrade(empty)
    with empty.connect() as connection:
        for table in ("prediction", "job"):
            reasons = connection.execute(text(f"SELECT reason FROM {table} ORDER BY id")).scalars().all()
            assert set(reasons) == {"gate_below_threshold", "no_place_stated", "place_unknown"}


def _insert_refusals(connection, reasons):
    connection.execute(text("INSERT INTO collection (name) VALUES ('c')"))
    connection.execute(text("INSERT INTO model_version (kind, name, version) VALUES ('lvlm', 'm', '1')"))
    connection.execute(
        text("INSERT INTO image (sha256, format, width_px, height_px, size_bytes) VALUES ('s', 'png', 1, 1, 1)")
    )
    for reason in reasons:
        connection.execute(
            text(
                "INSERT INTO prediction (image_id, status, reason, pipeline_version, request_hash,"
                " model_version_id, gate_version_id, prompt_hash, sampling, gazetteer_version, code_version)"
                " VALUES (1, 'not_locatable', :reason, :reason, '', 1, 1, '', '{}', '', '')"
            ),
            {"reason": reason},
        )
        connection.execute(
            text(
                "INSERT INTO job (id, collection_id, uri, state, outcome, reason, finished_at)"
                " VALUES (gen_random_uuid(), 1, 'u', 'done', 'not_locatable', :reason, now())"
            ),
            {"reason": reason},
        )


def test_pgmq_is_installed_once_where_the_database_is_the_broker(empty_database_url):
    settings = Settings(database_url=empty_database_url)
    for _ in range(2):
        with open_database(settings) as database, database.engine.connect() as connection:
            assert connection.execute(text("SELECT to_regclass('pgmq.meta') IS NOT NULL")).scalar_one()
    other = Settings(database_url=empty_database_url, broker_url="amqp://localhost//")
    with open_database(other) as database:
        assert _differences(database.engine) == []


# --- the surface for people who ask with SQL ---


def test_every_table_and_view_says_what_it_is(database):
    with database.engine.connect() as connection:
        comments = dict(
            connection.execute(
                text(
                    "SELECT relname, obj_description(oid, 'pg_class') FROM pg_class "
                    "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')"
                )
            ).all()
        )
    del comments["alembic_version"]
    assert set(comments) == {*tables.metadata.tables, *VIEWS}
    assert [name for name, comment in comments.items() if not comment] == []


@pytest.mark.parametrize("name", sorted({*tables.metadata.tables, *VIEWS}))
def test_the_reader_may_read_what_tells_no_place_and_write_nothing(database, name):
    with database.engine.connect() as connection:
        connection.execute(text("SET ROLE globetag_reader"))
        for right in ("INSERT", "UPDATE", "DELETE", "TRUNCATE"):
            asked = text("SELECT has_table_privilege(:name, :right)")
            assert not connection.execute(asked, {"name": name, "right": right}).scalar_one(), right
        if name in PARTLY_READ | UNREAD:
            some = connection.execute(text("SELECT has_any_column_privilege(:name, 'SELECT')"), {"name": name})
            assert some.scalar_one() == (name in PARTLY_READ)
            with pytest.raises(ProgrammingError, match="permission denied"):
                connection.execute(text(f"SELECT * FROM {name}"))
        else:
            connection.execute(text(f"SELECT * FROM {name}"))


def test_the_reader_is_refused_when_it_tries(database):
    with database.engine.connect() as connection:
        for statement in ("INSERT INTO label DEFAULT VALUES", "DELETE FROM job", "CREATE TABLE mine (id integer)"):
            connection.execute(text("SET ROLE globetag_reader"))
            with pytest.raises(ProgrammingError, match="permission denied"):
                connection.execute(text(statement))
            connection.rollback()


# --- what the database refuses ---

_JOB = "INSERT INTO job (id, collection_id, uri{0}) VALUES (gen_random_uuid(), 1, 'file:///a'{1})"
_PREDICTION = (
    "INSERT INTO prediction (image_id, model_version_id, gate_version_id, pipeline_version, request_hash, "
    "prompt_hash, sampling, gazetteer_version, code_version{0}) "
    "VALUES (1, 1, 1, 'p', 'r', 'h', '{{}}', 'g', 'c'{1})"
)
_LABEL = "INSERT INTO label (image_id{0}) VALUES (1{1})"
_VERSION = "INSERT INTO model_version (kind, name, version{0}) VALUES ('lvlm', 'n', 'v'{1})"
_PROMOTION = "INSERT INTO promotion (base, by, reason{0}) VALUES ('b', 'me', ''{1})"


@pytest.fixture
def rows(database):
    """A connection to a database with one collection, one model and one image, each with id 1."""
    with database.engine.connect() as connection:
        connection.execute(text("INSERT INTO collection (name) VALUES ('c')"))
        connection.execute(text("INSERT INTO model_version (kind, name, version) VALUES ('lvlm', 'm', '1')"))
        connection.execute(
            text(
                "INSERT INTO image (sha256, format, width_px, height_px, size_bytes) VALUES ('s', 'jpeg', 1, 1, 1)"
            )
        )
        yield connection


def _insert(connection, statement, columns):
    names, values = (", ".join(f"{mark}{name}" for name in columns) for mark in ("", ":"))
    connection.execute(text(statement.format(f", {names}", f", {values}")), columns)


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        pytest.param(_JOB, {"state": "done"}, id="done without outcome"),
        pytest.param(_JOB, {"state": "queued", "outcome": "located"}, id="an outcome before it is done"),
        pytest.param(_JOB, {"state": "done", "outcome": "failed"}, id="an outcome that is none"),
        pytest.param(_JOB, {"state": "failed"}, id="failed without reason"),
        pytest.param(_JOB, {"state": "dead"}, id="dead without reason"),
        pytest.param(_JOB, {"state": "lost"}, id="a state that is none"),
        pytest.param(_JOB, {"state": "failed", "reason": "whatever"}, id="a reason that is none"),
        pytest.param(_JOB, {"collection_id2": 1}, id="a column that is none"),
        pytest.param(_PREDICTION, {"status": "located"}, id="located without a point"),
        pytest.param(_PREDICTION, {"status": "located", "lat": 1.0}, id="half a point"),
        pytest.param(_PREDICTION, {"status": "located", "lat": 91.0, "lon": 0.0}, id="beyond the pole"),
        pytest.param(_PREDICTION, {"status": "located", "lat": 0.0, "lon": 180.5}, id="beyond the antimeridian"),
        pytest.param(_PREDICTION, {"status": "located", "lat": float("nan"), "lon": 0.0}, id="not a number"),
        pytest.param(_PREDICTION, {"status": "not_locatable"}, id="not locatable without reason"),
        pytest.param(
            _PREDICTION,
            {"status": "not_locatable", "reason": "place_unknown", "lat": 1.0, "lon": 1.0},
            id="not locatable with a point",
        ),
        pytest.param(
            _PREDICTION,
            {"status": "located", "lat": 1.0, "lon": 1.0, "granularity": "planet"},
            id="a granularity that is none",
        ),
        pytest.param(_LABEL, {"source": "guess", "lat": 1.0, "lon": 1.0}, id="a source that is none"),
        pytest.param(_LABEL, {"source": "manual"}, id="a label without a point"),
        pytest.param(_LABEL, {"source": "exif", "lat": -90.1, "lon": 1.0}, id="a label beyond the pole"),
        pytest.param(_VERSION, {"folder": "/models/1", "base": "b"}, id="registered without its files"),
        pytest.param(_VERSION, {"parent_id": 999}, id="a parent that is none"),
        pytest.param(_PROMOTION, {"action": "promote"}, id="a promotion of nothing"),
        pytest.param(_PROMOTION, {"action": "demote"}, id="an action that is none"),
        pytest.param(_PROMOTION, {"action": "promote", "model_version_id": 999}, id="a version that is none"),
    ],
)
def test_nonsense_is_refused(rows, statement, columns):
    with pytest.raises((IntegrityError, ProgrammingError)):
        _insert(rows, statement, columns)


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        (_JOB, {"state": "done", "outcome": "known"}),
        (_JOB, {"state": "dead", "reason": "worker_lost"}),
        (_JOB, {"state": "queued", "reason": "unreachable"}),
        (_PREDICTION, {"status": "located", "lat": 90.0, "lon": -180.0, "granularity": "city"}),
        (_PREDICTION, {"status": "failed", "reason": "unparsable"}),
        (_LABEL, {"source": "manual", "lat": 0.0, "lon": 0.0}),
        (_VERSION, {"parent_id": 1}),
        (_PROMOTION, {"action": "promote", "model_version_id": 1}),
        (_PROMOTION, {"action": "rollback"}),
    ],
)
def test_sense_is_not(rows, statement, columns):
    _insert(rows, statement, columns)


def test_a_place_from_the_file_is_kept_once_and_a_persons_as_often_as_it_is_given(rows):
    place = {"lat": 1.0, "lon": 1.0}
    for source in ("manual", "manual", "import", "exif", "xmp"):
        _insert(rows, _LABEL, {"source": source, **place})
    with pytest.raises(IntegrityError):
        _insert(rows, _LABEL, {"source": "exif", **place})


def test_the_same_pipeline_answers_the_same_request_once_but_may_fail_often(rows):
    failed = {"status": "failed", "reason": "unparsable"}
    for _ in range(2):
        _insert(rows, _PREDICTION, failed)
    located = {"status": "located", "lat": 1.0, "lon": 1.0}
    _insert(rows, _PREDICTION, located)
    with pytest.raises(IntegrityError):
        _insert(rows, _PREDICTION, located)


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        ("ck_job_state", JobState),
        ("ck_job_reason", Reason),
        ("ck_job_outcome", Outcome),
        ("ck_prediction_reason", Reason),
        ("ck_prediction_status", Status),
        ("ck_prediction_granularity", Granularity),
        ("ck_label_source", LabelSource),
        ("ck_dead_message_reason", MessageReason),
    ],
)
def test_the_closed_lists_in_the_database_are_those_in_the_code(rows, constraint, words):
    definition = rows.execute(
        text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = :name"), {"name": constraint}
    ).scalar_one()
    assert set(re.findall(r"'(\w+)'::text", definition)) == {str(word) for word in words}


def test_a_dead_connection_is_an_operational_error(database):
    """What the patience of the worker rests upon."""
    with database.engine.connect() as connection, database.engine.connect() as other:
        pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT 1"))


# --- all SQL has its place ---

_SQL = re.compile(
    r"^\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|WITH\s+\w+\s+AS\s|CREATE\s|DROP\s|ALTER\s|"
    r"TRUNCATE\s|LISTEN\s|NOTIFY\s)"
)
_ALLOWED = {
    "worker/queue/listening.py": {"LISTEN"},  # has no parameters: the channel's name stands in the statement
    "worker/embedded.py": {"SELECT", "CREATE", "ALTER"},  # makes the database in which the schema then lives
}


def test_no_sql_is_written_outside_of_the_schema():
    found = {}
    for path in sorted((ROOT / "worker").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and (verb := _SQL.match(node.value)):
                found.setdefault(path.relative_to(ROOT).as_posix(), set()).add(verb[1].split()[0])
    assert found == _ALLOWED
