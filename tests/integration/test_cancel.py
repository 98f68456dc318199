"""`globetag cancel`, `globetag collection --pause`, and what `globetag status` says of them."""

import re
import uuid

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select, update

from schema.tables import job
from worker.commands.cancel import command as cancel
from worker.commands.collection import command as collection
from worker.commands.enqueue import command as enqueue
from worker.commands.run import refuse_paused
from worker.commands.status import command as status
from worker.errors import SetupError
from worker.intake.sources import Submission
from worker.queue.enqueue import enqueue as put


@pytest.fixture
def call(database, monkeypatch):
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)
    monkeypatch.setenv("COLUMNS", "200")
    for name, count in (("press", 5), ("letters", 3)):
        put(
            database.engine,
            [Submission(f"file:///{name}/{number}.jpg") for number in range(count)],
            collection=name,
        )

    def call(command, *arguments, typed=None):
        done = CliRunner().invoke(command, arguments, input=typed)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.output

    return call


def _reasons(database):
    with database.engine.connect() as connection:
        return dict(connection.execute(select(job.c.reason, func.count()).group_by(job.c.reason)).all())


def test_a_collection_is_paused_said_to_be_so_and_goes_on(call):
    assert call(collection, "press", "--pause").strip() == "press: anywhere, any radius, paused"
    assert call(collection, "press").strip() == "press: anywhere, any radius, paused"
    assert "press (paused)" in call(status)
    assert call(collection, "press", "--resume").strip() == "press: anywhere, any radius"
    assert "paused" not in call(status)


def test_a_collection_is_cancelled_and_its_neighbour_is_not(call, database):
    with database.engine.begin() as connection:
        connection.execute(update(job).where(job.c.uri.endswith("press/4.jpg")).values(state="running"))
    said = call(cancel, "--collection", "press", "--yes")
    assert said.strip() == "4 photographs are cancelled; 1 are in work and will be finished"
    assert _reasons(database) == {"cancelled": 4, None: 4}
    assert call(cancel, "--collection", "press", "--yes").startswith("0 photographs")


def test_it_asks_before_and_a_no_changes_nothing(call, database):
    assert "Take 5 queued photographs back?" in call(cancel, "--collection", "press", typed="n\n")
    assert _reasons(database) == {None: 8}
    call(cancel, "--collection", "press", typed="y\n")
    assert _reasons(database) == {"cancelled": 5, None: 3}


def test_a_submission_is_taken_back_by_the_name_that_enqueue_gives_it(call, database, tmp_path):
    manifest = tmp_path / "more.csv"
    manifest.write_text("uri\nhttps://example.org/a.jpg\nhttps://example.org/b.jpg\n")
    [batch] = re.findall(r"globetag cancel --batch (\S+)`", call(enqueue, str(manifest), "--collection", "press"))
    assert call(cancel, "--batch", batch, "--yes").strip() == "2 photographs are cancelled"
    assert _reasons(database) == {"cancelled": 2, None: 8}


def test_a_run_that_would_wait_for_a_paused_collection_says_so(call, database):
    call(collection, "press", "--pause")
    with pytest.raises(SetupError, match="globetag collection press --resume"):
        refuse_paused(database, "press")
    refuse_paused(database, "letters")
    refuse_paused(database, "not there yet")


def test_nothing_is_cancelled_by_mistake(call, database):
    assert "--collection NAME or --batch ID" in call(cancel, "--yes")
    with pytest.raises(SetupError, match="there is no collection 'prees'"):
        call(cancel, "--collection", "prees", "--yes")
    assert call(cancel, "--batch", str(uuid.uuid4()), "--yes").startswith("0 photographs")
    assert _reasons(database) == {None: 8}
