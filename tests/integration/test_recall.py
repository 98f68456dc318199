"""Recall on a real database: who is a candidate for whom, what the gallery holds, and its index.

Long because all of it shares one archive and the helpers that fill it.
"""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from sqlalchemy import delete, insert, select, text, update

from benchmarks.null_models import NullEngine, NullGate
from schema import queries
from schema.reasons import LabelSource
from schema.tables import collection, gallery, image, job, label, prediction
from tests.support import wait_for, write_pictures
from worker.assemble import Models, assemble
from worker.commands.db import command
from worker.errors import SetupError
from worker.place.candidates import evidence, suggestions
from worker.place.gallery_index import BackgroundBuild, build_index, drop_idle_indexes, gallery_models
from worker.place.recall import Recall
from worker.queue.patience import PatientTransactions

D = 16
NOON = datetime(1987, 6, 5, 12, 0, 0)


def unit(seed, like=None, cosine=0.0):
    """A unit vector; of that cosine to another one where that is given."""
    drawn = np.random.default_rng(seed).normal(size=D)
    if like is not None:
        drawn -= drawn @ like * like
        drawn = cosine * like + np.sqrt(1 - cosine**2) * drawn / np.linalg.norm(drawn)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


class Archive:
    """Photographs in a database, without files."""

    def __init__(self, database):
        self.engine = database.engine
        self.gate_id = self.gate("1")
        self.numbers = iter(range(1, 1_000_000))

    def gate(self, version, *, untrained=False, kind="gate"):
        with self.engine.begin() as connection:
            given = {"kind": kind, "name": "clip", "version": version, "untrained": untrained}
            return connection.execute(queries.models.ENSURE_MODEL_VERSION, given).one().id

    def add(self, vector, *places, held_by=("postcards",), uri=None, taken_at=None, gate_id=None):
        """Makes a photograph with labels (source, lat, lon); returns its id."""
        number = next(self.numbers)
        with self.engine.begin() as connection:
            image_id = connection.execute(
                insert(image)
                .values(
                    sha256=f"{number:064x}",
                    format="PNG",
                    width_px=8,
                    height_px=8,
                    size_bytes=9,
                    taken_at=taken_at,
                    embedding=None if vector is None else vector.tolist(),
                    embedding_model_id=None if vector is None else gate_id or self.gate_id,
                )
                .returning(image.c.id)
            ).scalar_one()
            for name in held_by:
                held_in = connection.execute(queries.collections.ENSURE_COLLECTION, {"name": name}).scalar_one()
                row = {
                    "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}/{number}")),
                    "collection_id": held_in,
                    "uri": uri or f"file:///scans/{number}.png",
                    "state": "done",
                    "outcome": "known",
                    "image_id": image_id,
                }
                connection.execute(insert(job).values(row))
            for source, lat, lon in places:
                row = {"image_id": image_id, "source": source, "lat": lat, "lon": lon, "country_code": "AT"}
                connection.execute(insert(label).values(row))
        return image_id

    def recall(self, **given):
        return Recall(PatientTransactions(self.engine, patience_s=5), given.pop("gate_id", self.gate_id), **given)

    def gallery(self):
        with self.engine.connect() as connection:
            names = select(gallery.c.image_id, collection.c.name).join(collection)
            return {(row.image_id, row.name) for row in connection.execute(names)}

    def run(self, statement, **parameters):
        with self.engine.begin() as connection:
            return connection.execute(statement, parameters)

    def wait_for_a_lock(self, what=""):
        """Returns once a statement that begins so waits for another transaction."""
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock' AND starts_with(query, :what)"
        )
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as looks:
            wait_for(lambda: looks.execute(waiting, {"what": what}).scalar_one(), f"{what} to wait for a lock")


@pytest.fixture
def archive(database):
    return Archive(database)


def ask(recall, vector, *, sha256="f" * 64, held_by="postcards", uri="file:///scans/new.png", taken_at=None):
    return recall.candidates(vector, sha256=sha256, collection=held_by, uri=uri, taken_at=taken_at)


# --- candidates ---


def test_the_most_alike_come_first_with_the_place_that_counts(archive):
    asking = unit(0)
    far = archive.add(unit(1, asking, 0.2), ("exif", 10, 20))
    near = archive.add(
        unit(2, asking, 0.8), ("import", 1, 1), ("exif", 2, 2), ("manual", 3, 3), ("manual", 48.2, 16.4)
    )
    archive.add(unit(3, asking, 0.9))  # nobody knows where
    first, second = ask(archive.recall(), asking)
    assert (first.image_id, second.image_id) == (near, far)
    assert (first.lat, first.lon, first.source) == (48.2, 16.4, LabelSource.MANUAL)
    assert first.cosine == pytest.approx(0.8, abs=0.002)
    assert second.cosine == pytest.approx(0.2, abs=0.002)
    assert not first.near_duplicate
    assert not first.same_series


def test_a_place_is_not_told_by_photographs_that_are_shown_more_precisely(archive):
    """A collection with a cap does not help one without; one with the same cap or a stricter one may be helped."""
    asking = unit(0)
    for number, name in enumerate(("postcards", "shelters"), 1):
        archive.add(unit(number, asking, 0.9), ("exif", 10, 20), held_by=(name,), taken_at=NOON)
    shared = archive.add(unit(3, asking, 0.8), ("exif", 1, 2), held_by=("postcards", "shelters"), taken_at=NOON)
    recall = archive.recall(everywhere=True)
    assert len(ask(recall, asking, taken_at=NOON)) == 3
    archive.run(text("UPDATE collection SET precision_km = 25 WHERE name = 'shelters'"))
    assert [each.image_id for each in ask(recall, asking, taken_at=NOON)] == [1]
    assert {each.image_id for each in ask(recall, asking, held_by="shelters")} == {1, 2, shared}
    assert [each.image_id for each in ask(archive.recall(), asking, taken_at=NOON)] == [1]
    archive.run(text("UPDATE collection SET precision_km = 100 WHERE name = 'postcards'"))
    assert {each.image_id for each in ask(recall, asking, taken_at=NOON)} == {1, 2, shared}


def test_at_most_k_and_never_itself(archive):
    asking = unit(0)
    ids = [archive.add(unit(number, asking, 0.9 - number / 20), ("exif", 1, 1)) for number in range(1, 9)]
    found = ask(archive.recall(k=4), asking, sha256=f"{2:064x}")
    assert [each.image_id for each in found] == [ids[0], *ids[2:5]]


def test_a_collection_sees_its_own_photographs_alone(archive):
    asking = unit(0)
    own = archive.add(unit(1, asking, 0.5), ("exif", 1, 1), held_by=("postcards",))
    both = archive.add(unit(2, asking, 0.6), ("exif", 2, 2), held_by=("postcards", "private"))
    other = archive.add(unit(3, asking, 0.9), ("exif", 3, 3), held_by=("private",))
    shut = archive.recall()
    assert [each.image_id for each in ask(shut, asking)] == [both, own]
    assert [each.image_id for each in ask(shut, asking, held_by="private")] == [other, both]
    assert ask(shut, asking, held_by="unheard of") == ()
    assert ask(shut, asking, held_by=None) == ()
    opened = archive.recall(everywhere=True)
    for held_by in ("postcards", "unheard of", None):
        assert [each.image_id for each in ask(opened, asking, held_by=held_by)] == [other, both, own]


def test_a_near_duplicate_is_told_from_a_likeness_and_offered(archive):
    asking = unit(0)
    copy = archive.add(unit(1, asking, 0.985), ("manual", 47.07, 15.44))
    archive.add(unit(2, asking, 0.9), ("exif", 2, 2))
    duplicate, alike = found = ask(archive.recall(), asking)
    assert (duplicate.image_id, duplicate.near_duplicate, alike.near_duplicate) == (copy, True, False)
    assert [each["from_image_id"] for each in suggestions(found)] == [copy]


def test_a_series_is_the_same_folder_and_nearly_the_same_time(archive):
    asking = unit(0)
    far = unit(1, asking, -0.5)

    def add(minutes, uri="file:///roll7/1.jpg", **more):
        return archive.add(far, ("exif", 1, 1), uri=uri, taken_at=NOON + timedelta(minutes=minutes), **more)

    after, before = add(20), add(-3)
    add(45)
    add(1, uri="file:///roll8/1.jpg")
    add(1, uri="file:///roll7/prints/1.jpg")
    add(1, held_by=("private",))
    archive.add(far, ("exif", 1, 1), uri="file:///roll7/undated.jpg")
    found = ask(archive.recall(), asking, uri="file:///roll7/9.jpg", taken_at=NOON)
    assert [(each.image_id, each.minutes_apart) for each in found if each.same_series] == [
        (before, 3),
        (after, 20),
    ]
    assert [each.image_id for each in found[:2]] == [before, after]
    assert [each["source"] for each in suggestions(found)] == ["series", "series"]


def test_midnight_sharp_is_a_date_and_no_time(archive):
    asking, midnight = unit(0), datetime(1987, 6, 5)
    archive.add(unit(1), ("exif", 1, 1), uri="file:///roll7/1.jpg", taken_at=midnight)
    for taken_at in (midnight, midnight + timedelta(minutes=5)):
        [found] = ask(archive.recall(), asking, uri="file:///roll7/9.jpg", taken_at=taken_at)
        assert not found.same_series


def test_only_embeddings_of_the_same_gate_are_compared(archive):
    asking = unit(0)
    archive.add(asking, ("exif", 1, 1), gate_id=archive.gate("2"))
    assert ask(archive.recall(), asking) == ()


def test_where_all_labels_are_at_one_point_likeness_is_no_evidence(archive):
    asking = unit(0)
    for number in range(1, 6):
        archive.add(unit(number, asking, 0.6), ("exif", 47.07, 15.44))
    found = ask(archive.recall(), asking)
    assert [each.share_nearby for each in found] == [1.0] * 5
    assert evidence(found) == ()


def test_one_place_among_many_is_evidence(archive):
    asking = unit(0)
    archive.add(unit(1, asking, 0.8), ("exif", 47.07, 15.44))
    for number in range(2, 11):
        archive.add(unit(number, asking, -0.5), ("exif", -60 + 10 * number, 100))
    found = ask(archive.recall(), asking)
    assert found[0].share_nearby == pytest.approx(0.1)
    first, *others = evidence(found)
    assert (first.lat, first.lon) == (47.07, 15.44)
    assert first.weight > 0.4 > sum(each.weight for each in others)


# --- what cannot be searched ---


def test_an_unknown_gate_is_refused_at_once(archive):
    for model_id in (999, archive.gate("1", kind="lvlm")):
        with pytest.raises(ValueError, match="no gate is recorded"):
            archive.recall(gate_id=model_id)


def test_an_untrained_gate_finds_nothing(archive):
    gate_id = archive.gate("random", untrained=True)
    archive.add(unit(0), ("exif", 1, 1), gate_id=gate_id)
    recall = archive.recall(gate_id=gate_id)
    assert recall.is_untrained
    assert ask(recall, unit(0)) == ()


def test_embeddings_that_are_none(archive):
    recall = archive.recall()
    assert ask(recall, unit(0)) == ()  # an empty gallery
    archive.add(unit(1), ("exif", 1, 1))
    archive.add(np.zeros(D, dtype=np.float32), ("exif", 2, 2))
    recall = archive.recall()
    assert len(ask(recall, unit(0))) == 1
    assert ask(recall, np.zeros(D, dtype=np.float32)) == ()
    for odd in (np.full(D, np.nan), np.full(D, np.inf), np.ones((2, D)), np.float32(1)):
        with pytest.raises(ValueError, match="one row of finite numbers"):
            ask(recall, np.asarray(odd, dtype=np.float32))
    with pytest.raises(ValueError, match=r"cannot be searched .* dimensions"):
        ask(recall, np.ones(D + 1, dtype=np.float32))


# --- what the gallery holds ---


def test_the_gallery_follows_labels_embeddings_and_jobs(archive):
    image_id = archive.add(None, held_by=("a", "b"))
    both = {(image_id, "a"), (image_id, "b")}
    archive.run(insert(label).values(image_id=image_id, source="manual", lat=1, lon=1))
    assert archive.gallery() == set()  # no embedding yet
    row = update(image).where(image.c.id == image_id)
    archive.run(row.values(embedding=unit(0).tolist(), embedding_model_id=archive.gate_id))
    assert archive.gallery() == both
    archive.run(row.values(embedding=[0.0] * D))
    assert archive.gallery() == set()
    archive.run(row.values(embedding=unit(1).tolist()))
    assert archive.gallery() == both
    archive.run(text("DELETE FROM job USING collection c WHERE c.id = collection_id AND c.name = 'a'"))
    assert archive.gallery() == {(image_id, "b")}
    archive.run(delete(label))
    assert archive.gallery() == set()
    archive.run(insert(label).values(image_id=image_id, source="manual", lat=1, lon=1))
    assert archive.gallery() == {(image_id, "b")}
    archive.run(delete(image))
    assert archive.gallery() == set()


def test_another_gates_embedding_takes_the_place_of_the_old_one(archive):
    image_id = archive.add(unit(0), ("exif", 1, 1))
    newer = archive.gate("2")
    archive.run(update(image).values(embedding=[1.0, 0.0, 0.0], embedding_model_id=newer))
    assert ask(archive.recall(), unit(0)) == ()
    [found] = ask(archive.recall(gate_id=newer), np.array([1, 0, 0], dtype=np.float32))
    assert (found.image_id, found.cosine) == (image_id, pytest.approx(1))


def test_a_label_and_an_embedding_that_come_at_once_do_not_miss_each_other(archive):
    image_id = archive.add(None)
    with archive.engine.connect() as embeds, ThreadPoolExecutor(1) as other:
        embeds.execute(
            update(image).values(embedding=unit(0).tolist(), embedding_model_id=archive.gate_id)
        )  # not committed yet
        labels = other.submit(archive.run, insert(label).values(image_id=image_id, source="manual", lat=1, lon=1))
        archive.wait_for_a_lock()
        embeds.commit()
        labels.result(timeout=30)
    assert archive.gallery() == {(image_id, "postcards")}


@pytest.mark.parametrize("broker_url", [None])
def test_what_a_worker_records_is_in_the_gallery(line, tmp_path):
    line.enqueue(write_pictures(tmp_path, 5, position=(47, 15)))
    with line.working():
        assert line.wait_until_settled(5) == {"done": 5}
    with line.database.engine.connect() as connection:
        assert len(connection.execute(select(gallery.c.image_id)).all()) == 5


class AlikeGate(NullGate):
    """To it every picture looks the same, and it passes for trained: whatever is known is a near-duplicate."""

    @property
    def identity(self):
        return replace(super().identity, untrained=False)


@pytest.mark.parametrize("broker_url", [None])
@pytest.mark.parametrize("recall", ["collection", "off"])
def test_a_worker_places_a_photograph_by_its_duplicates_and_offers_their_place(line, tmp_path, recall):
    """The model says Paris; three copies of the same scene were taken in Graz."""
    known = write_pictures(tmp_path / "known", 3, position=(47.0707, 15.4395))
    models = Models(AlikeGate(), NullEngine(), gate_threshold=0.5)
    settings = line.settings.model_copy(update={"recall": recall})
    with assemble(settings, line.database, models, dispatch=True) as worker:
        worker.runner.start()
        try:
            line.enqueue(known)
            line.wait_until_settled(3)
            line.enqueue(write_pictures(tmp_path / "asking", 1))
            line.wait_until_settled(4)
        finally:
            worker.runner.stop(drain_s=30)
    with line.database.engine.connect() as connection:
        [row] = connection.execute(select(prediction)).all()
        offered = connection.execute(text("SELECT source, from_source, city FROM suggestion")).all()
    assert row.status == "located"
    if recall == "off":
        assert (row.city, offered) == ("Paris", [])
        return
    assert row.city == "Graz"
    assert any("near duplicate" in note for note in row.notes)
    assert [each["city"] for each in row.alternatives] == ["Paris"]
    assert offered == [("near_duplicate", "exif", "Graz")] * 3


# --- suggestions, as people find them ---


def test_the_view_shows_what_was_suggested_until_the_place_is_known(archive):
    asking = unit(0)
    known = archive.add(unit(1, asking, 0.99), ("manual", 47.07, 15.44))
    image_id = archive.add(asking)
    offered = suggestions(ask(archive.recall(), asking))
    row = {"image_id": image_id, "status": "not_locatable", "pipeline_version": "p", "request_hash": "r"}
    row |= {
        "reason": "gate_below_threshold",
        "model_version_id": archive.gate_id,
        "gate_version_id": archive.gate_id,
    }
    row |= {"prompt_hash": "h", "sampling": {}, "gazetteer_version": "g", "code_version": "c"}
    elsewhere = {"source": "model", "lat": 1.0, "lon": 2.0}
    archive.run(insert(prediction).values(row | {"alternatives": [elsewhere], "suggestions": list(offered)}))
    [seen] = archive.run(text("SELECT * FROM suggestion")).all()
    assert (seen.image_id, seen.from_image_id, seen.source, seen.from_source) == (
        image_id,
        known,
        "near_duplicate",
        "manual",
    )
    assert (seen.lat, seen.lon, seen.country_code) == (47.07, 15.44, "AT")
    archive.run(insert(label).values(image_id=image_id, source="manual", lat=1, lon=1))
    assert archive.run(text("SELECT * FROM suggestion")).all() == []


# --- the index ---


def fill(archive, count, *, gate_id=None):
    """Photographs of one collection, in one go."""
    rows = [{"sha256": f"fill-{number}", "vector": unit(number).tolist()} for number in range(count)]
    with archive.engine.begin() as connection:
        held_in = connection.execute(queries.collections.ENSURE_COLLECTION, {"name": "postcards"}).scalar_one()
        connection.execute(
            text("""
                WITH made AS (
                    INSERT INTO image (sha256, format, width_px, height_px, size_bytes, embedding,
                                       embedding_model_id)
                    SELECT r->>'sha256', 'PNG', 1, 1, 1, CAST(r->>'vector' AS halfvec), :gate_id
                    FROM jsonb_array_elements(CAST(:rows AS jsonb)) AS r RETURNING id
                ), held AS (
                    INSERT INTO job (id, collection_id, uri, state, outcome, image_id)
                    SELECT gen_random_uuid(), :held_in, 'file:///fill/' || id, 'done', 'known', id FROM made
                )
                INSERT INTO label (image_id, source, lat, lon) SELECT id, 'exif', id % 90, id % 180 FROM made
            """),
            {"rows": orjson.dumps(rows).decode(), "gate_id": gate_id or archive.gate_id, "held_in": held_in},
        )


def test_the_index_finds_what_the_exact_search_finds(archive):
    fill(archive, 600)
    exact, indexed = archive.recall(), archive.recall(exact_up_to=50, ef_search=200)
    assert build_index(archive.engine, archive.gate_id) is not None
    for seed in range(1000, 1010):
        expected = [each.image_id for each in ask(exact, unit(seed))]
        assert [each.image_id for each in ask(indexed, unit(seed))] == expected
    given = {"model_id": archive.gate_id, "everywhere": False, "dimensions": D, "collection_id": 1, "rows": 10}
    given |= {"sha256": "", "embedding": str(unit(0).tolist())}
    with archive.engine.connect() as connection:
        connection.execute(text("SET enable_seqscan = off"))
        connection.execute(text("SET enable_sort = off"))
        plans = {}
        for name, statement in (
            ("exact", queries.gallery.NEAREST_EXACT),
            ("indexed", queries.gallery.NEAREST_INDEXED),
        ):
            explain = text(f"EXPLAIN {statement.text}").bindparams(*statement._bindparams.values())
            plans[name] = "\n".join(connection.execute(explain, given).scalars())
    assert f"ix_gallery_hnsw_{archive.gate_id}" in plans["indexed"]
    assert "hnsw" not in plans["exact"]


def test_an_index_is_built_once_and_again_when_asked_or_broken(archive):
    with pytest.raises(SetupError, match="nothing of embedding model"):
        build_index(archive.engine, archive.gate_id)
    fill(archive, 50)
    built = build_index(archive.engine, archive.gate_id)
    assert built is not None
    assert built.size_bytes > 0
    assert build_index(archive.engine, archive.gate_id) is None
    assert build_index(archive.engine, archive.gate_id, rebuild=True) is not None
    archive.run(text("UPDATE pg_index SET indisvalid = false WHERE indexrelid::regclass::text LIKE '%hnsw%'"))
    with archive.engine.connect() as connection:
        [model] = gallery_models(connection)
    assert (model.photographs, model.dimensions, model.size_bytes) == (50, D, None)
    assert build_index(archive.engine, archive.gate_id) is not None
    with archive.engine.connect() as connection:
        [model] = gallery_models(connection)
    assert model.size_bytes


def test_only_one_process_builds(archive):
    fill(archive, 10)
    with archive.engine.connect() as other:
        assert other.execute(queries.gallery.GALLERY_INDEX_LOCK).scalar_one()
        assert build_index(archive.engine, archive.gate_id) is None
        other.execute(queries.gallery.GALLERY_INDEX_UNLOCK)
    assert build_index(archive.engine, archive.gate_id) is not None


def test_the_index_of_a_gate_that_is_gone_is_dropped(archive):
    fill(archive, 10)
    build_index(archive.engine, archive.gate_id)
    assert drop_idle_indexes(archive.engine) == []
    archive.run(delete(image))
    assert drop_idle_indexes(archive.engine) == [archive.gate_id]
    assert drop_idle_indexes(archive.engine) == []


def test_a_gallery_that_outgrows_the_exact_search_gets_its_index_by_itself(archive):
    fill(archive, 60)
    build = BackgroundBuild(archive.engine, archive.gate_id)
    recall = archive.recall(exact_up_to=50, on_unindexed=build.start)
    assert len(ask(recall, unit(0))) == 10  # found all the same
    assert build.wait(60)
    with archive.engine.connect() as connection:
        [model] = gallery_models(connection)
    assert model.size_bytes
    build.close()


def test_a_closed_build_does_not_begin(archive):
    fill(archive, 60)
    build = BackgroundBuild(archive.engine, archive.gate_id)
    build.close()
    build.start()
    assert build.wait(5)
    with archive.engine.connect() as connection:
        [model] = gallery_models(connection)
    assert model.size_bytes is None


def test_a_build_is_broken_off_and_can_be_done_again(archive):
    fill(archive, 60)
    build = BackgroundBuild(archive.engine, archive.gate_id)
    with archive.engine.connect() as holds:
        holds.execute(text("LOCK TABLE gallery IN SHARE UPDATE EXCLUSIVE MODE"))  # so that the build must wait
        build.start()
        archive.wait_for_a_lock("CREATE INDEX")
        build.close()
        assert build.wait(0)
    assert build_index(archive.engine, archive.gate_id) is not None


def test_the_command_indexes_what_there_is_and_says_so(archive, database, monkeypatch):
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)

    def said(*arguments):
        done = CliRunner().invoke(command, ["index-embeddings", *arguments], catch_exceptions=False)
        assert done.exit_code == 0
        return done.output

    assert "nothing to index" in said()
    fill(archive, 30)
    assert "clip: 30 photographs of 16 dimensions, indexed in" in said("--memory-mb", "64")
    assert "indexed before" in said()
    assert "indexed in" in said("--rebuild")
    archive.run(delete(image))
    assert said().startswith("dropped the index")


def test_many_threads_ask_at_once(archive):
    fill(archive, 200)
    recall = archive.recall(exact_up_to=50)
    build_index(archive.engine, archive.gate_id)
    started = threading.Barrier(8)

    def work(seed):
        started.wait(30)
        return [[each.image_id for each in ask(recall, unit(seed))] for _ in range(10)]

    with ThreadPoolExecutor(8) as pool:
        for answers in pool.map(work, range(2000, 2008)):
            assert all(answer == answers[0] and len(answer) == 10 for answer in answers)
