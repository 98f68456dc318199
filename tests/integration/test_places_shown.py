"""What is stored for the views' sake and kept by triggers: cells of capped places, and what needs no review."""

import psycopg
import pytest

from schema.reasons import JobState
from schema.session import upgrade
from tests.integration.test_precision import FILL, LAT, LON, Archive
from tests.integration.test_recorder import GPS, _image, _jobs, _located, _versions
from worker.outcome import Settled
from worker.queue.patience import PatientTransactions
from worker.queue.recorder import Recorder


@pytest.fixture
def archive(database):
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute(FILL)
        yield Archive(owner, database.url)


def places(archive):
    """What the view shows of each photograph, and what it would show if nothing was stored beforehand."""
    return archive.owner.execute("""
        SELECT c.image_id, c.lat, c.lon,
               c.lat = shown_lat(p.lat, p.lon, i.precision_km) AND c.lon = shown_lon(p.lat, p.lon, i.precision_km)
        FROM current_location c JOIN image i ON i.id = c.image_id,
        LATERAL (SELECT lat, lon FROM label WHERE image_id = i.id
                 UNION ALL SELECT lat, lon FROM prediction WHERE image_id = i.id AND lat IS NOT NULL LIMIT 1) p
        ORDER BY 1
    """).fetchall()


def known(archive):
    return [row[0] for row in archive.owner.execute("SELECT known FROM prediction ORDER BY id").fetchall()]


def to_review(archive):
    return [row[0] for row in archive.owner.execute("SELECT image_id FROM review_queue").fetchall()]


def test_a_cap_moves_points_to_their_cells_and_back(archive):
    exact = [(1, LAT, LON, True), (2, LAT, LON, True)]
    assert places(archive) == exact
    for precision_km in (25, 150):
        archive.cap("shelters", precision_km)
        shown = places(archive)
        assert [row[3] for row in shown] == [True, True]
        assert all(row[1] != LAT and row[2] != LON for row in shown)
    archive.cap("shelters", None)
    assert places(archive) == exact


def test_a_place_that_is_learnt_later_is_capped_at_once(archive):
    archive.cap("shelters", 25)
    archive.owner.execute(
        "INSERT INTO label (image_id, source, lat, lon) VALUES (3, 'manual', 48.2081743, 16.3738189)"
    )
    [(lat, lon, in_cell)] = [row[1:] for row in places(archive) if row[0] == 3]
    assert in_cell
    assert (lat, lon) != (48.2081743, 16.3738189)


def test_what_has_a_label_is_not_to_be_reviewed(archive):
    assert to_review(archive) == [2, 3]
    archive.owner.execute("INSERT INTO label (image_id, source, lat, lon) VALUES (3, 'manual', 48, 16)")
    assert known(archive) == [False, False, True]
    assert to_review(archive) == [2]
    archive.owner.execute("DELETE FROM label WHERE image_id = 3")
    assert known(archive) == [False, False, False]
    assert to_review(archive) == [2, 3]


def test_one_of_two_labels_leaves_it_known(archive):
    archive.owner.execute("INSERT INTO label (image_id, source, lat, lon) VALUES (1, 'import', 48, 16)")
    archive.owner.execute("DELETE FROM label WHERE source = 'import'")
    assert known(archive) == [True, False, False]


def test_the_labels_decide_where_the_mark_is_missing(archive):
    archive.owner.execute("UPDATE prediction SET known = false")
    assert to_review(archive) == [2, 3]


@pytest.mark.parametrize("precision_km", [None, 25])
def test_rows_from_before_are_brought_up_to_date(archive, database, precision_km):
    archive.cap("shelters", precision_km)
    expected = places(archive)
    archive.owner.execute("""
        DROP TRIGGER known_insert ON label; DROP TRIGGER known_delete ON label;
        DROP TRIGGER precision_of_label ON label;
        DROP FUNCTION precision_of_label, prediction_hears_of_labels, precision_cells;
        ALTER TABLE prediction DROP COLUMN cell_lat CASCADE, DROP COLUMN cell_lon CASCADE,
            DROP COLUMN known CASCADE;
        ALTER TABLE label DROP COLUMN cell_lat CASCADE, DROP COLUMN cell_lon CASCADE;
        CREATE INDEX ix_prediction_country_code ON prediction (country_code);
        DROP TABLE distilled_sample, teacher_answer, distilled, distillation;
        UPDATE alembic_version SET version_num = '0011'
    """)
    upgrade(database.engine)
    assert places(archive) == expected
    assert known(archive) == [True, False, False]


def saved(database, precision_km):
    """Saves an answer for a photograph with a label, and one without; returns their predictions."""
    with psycopg.connect(database.url, autocommit=True) as owner:
        first, second = _jobs(database, 2)
        owner.execute("UPDATE collection SET precision_km = %s", [precision_km])
        recorder = Recorder(PatientTransactions(database.engine, patience_s=60))
        try:
            ledger = recorder.ledger(_versions(database))
            ledger.save(Settled(first, JobState.DONE, outcome="known", image=_image("a"), label=GPS))
            for job_id, name in ((first, "a"), (second, "b")):
                ledger.save(
                    Settled(job_id, JobState.DONE, outcome="located", image=_image(name), prediction=_located())
                )
        finally:
            recorder.close()
        return owner.execute(
            "SELECT p.known, p.cell_lat, p.cell_lon, precision_cell(p.lat, p.lon, i.precision_km)"
            " FROM prediction p"
            " JOIN image i ON i.id = p.image_id ORDER BY p.id"
        ).fetchall()


def test_an_answer_is_stored_with_its_mark(database):
    assert saved(database, None) == [(True, None, None, None), (False, None, None, None)]


def test_an_answer_is_stored_with_its_cell(database):
    for _, cell_lat, cell_lon, cell in saved(database, 25):
        assert [cell_lat, cell_lon] == cell[:2]
