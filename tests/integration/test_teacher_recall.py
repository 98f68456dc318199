"""The archive as a teacher: its own photographs say where others are, and never where they are themselves."""

import json

import pytest

from tests.integration.test_recall import NOON, Archive, unit
from trainer.curate.distil.recall import RecallAsker
from trainer.curate.opinions import Subject
from trainer.curate.teachers import RecallTeacher
from worker.errors import SetupError

TEACHER = RecallTeacher(name="archive", kind="recall")
OSLO, LIMA = ("exif", 59.91, 10.75), ("exif", -12.04, -77.03)
MINE = unit(1)


@pytest.fixture
def archive(database):
    return Archive(database)


@pytest.fixture
def ask(database):
    def ask(number, **how):
        asker = RecallAsker(TEACHER, database.engine, everywhere=how.get("everywhere", False))
        asker.meet()
        came = asker.ask(Subject(f"{number:064x}", "file:///x.png", 0.0, 0.0), None)
        assert (came.question.teacher, came.trouble, came.model) == ("archive", None, "recall")
        return came

    return ask


def test_it_says_where_those_are_that_look_alike(archive, ask):
    archive.add(MINE, LIMA)  # the photograph itself has another label, which has no say
    for seed in range(2, 6):
        archive.add(unit(seed, MINE, 0.9), OSLO)
    archive.add(unit(7, MINE, 0.3), LIMA)
    came = ask(1)
    assert (came.lat, came.lon) == OSLO[1:]
    assert 0 < came.confidence < 1  # most of the gallery is there anyway
    assert json.loads(came.raw)["candidates"] == 5
    assert f"{2:064x}" not in came.raw  # one that is erased must not be left in another's row


def test_neither_itself_nor_its_near_duplicates_nor_its_series_have_a_say(archive, ask):
    archive.add(MINE, OSLO, uri="file:///roll/1.png", taken_at=NOON)
    archive.add(unit(2, MINE, 0.99), OSLO)
    archive.add(unit(3, MINE, 0.5), OSLO, uri="file:///roll/2.png", taken_at=NOON)
    came = ask(1)
    assert came.lat is None
    assert json.loads(came.raw) == {"candidates": 0, "left_out": 2, "nearest_cosine": 0.0}
    archive.add(unit(4, MINE, 0.8), LIMA)
    archive.add(unit(5, MINE, 0.2), OSLO, held_by=("elsewhere",))
    assert (ask(1).lat, ask(1).lon) == LIMA[1:]


def test_it_looks_into_other_collections_only_where_the_archive_is_open(archive, ask):
    archive.add(MINE, OSLO)
    archive.add(unit(2, MINE, 0.8), LIMA, held_by=("elsewhere",))
    archive.add(unit(3, MINE, 0.1), OSLO, held_by=("elsewhere",))
    assert ask(1).lat is None
    assert ask(1, everywhere=True).lat == LIMA[1]


def test_what_is_not_in_the_archive_has_no_point(archive, ask):
    archive.add(MINE, OSLO)
    came = ask(77)
    assert came.lat is None
    assert "no embedding" in came.raw


def test_an_empty_gallery_says_what_to_do(database):
    with pytest.raises(SetupError, match="run workers over it first"):
        RecallAsker(TEACHER, database.engine, everywhere=False).meet()
