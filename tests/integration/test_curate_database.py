"""Curation on a real database: what is read, stored, kept and refused, and the examples that come of it.

Long because all of it shares one archive and the helpers that fill it.
"""

import hashlib
import io
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import orjson
import pytest
from click.testing import CliRunner
from PIL import Image
from sqlalchemy import delete, insert, text, update
from sqlalchemy.exc import DBAPIError

from schema import queries
from schema.reasons import LabelSource, Reason
from schema.tables import collection, curation, curation_member, image, job, label
from trainer.commands.curate import command
from trainer.curate.curate import curate_database
from trainer.curate.labels import Dropped, Side
from trainer.curate.manifest import Parameters, load_manifest
from trainer.curate.originals import CHANGED, OriginalChanged, examples_of
from worker.errors import SetupError
from worker.intake.fetch import Fetcher
from worker.intake.uri import file_uri
from worker.reason.answer import parse
from worker.reason.prompt import build_prompt

PARAMETERS = Parameters(min_labels=3, held_out_share=0.2)


class Archive:
    """An archive on a disk and in a database, one file for each known place."""

    def __init__(self, database, folder):
        self.engine = database.engine
        self.folder = folder
        self.gate_id = self._gate("1")
        self.numbers = iter(range(10_000))

    def _gate(self, version):
        with self.engine.begin() as connection:
            given = {"kind": "gate", "name": "clip", "version": version, "untrained": False}
            return connection.execute(queries.models.ENSURE_MODEL_VERSION, given).scalar_one()

    def add(self, *, lat=None, lon=None, source=LabelSource.EXIF, held_by=("postcards",), vector=None, **more):
        """Makes a photograph with a label; returns its content hash. By default far from all others."""
        number = next(self.numbers)
        path = self.folder / f"{number}.png"
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8), (number % 256, number // 256, 77)).save(buffer, "PNG")
        path.write_bytes(buffer.getvalue())
        sha256 = hashlib.sha256(buffer.getvalue()).hexdigest()
        vector = np.random.default_rng(number).normal(size=32) if vector is None else vector
        with self.engine.begin() as connection:
            image_id = connection.execute(
                insert(image)
                .values(
                    sha256=sha256,
                    format="png",
                    width_px=8,
                    height_px=8,
                    size_bytes=path.stat().st_size,
                    data_mining=more.pop("data_mining", None),
                    taken_at=more.pop("taken_at", None),
                    embedding=list(vector / np.linalg.norm(vector)),
                    embedding_model_id=self.gate_id,
                )
                .returning(image.c.id)
            ).scalar_one()
            for name in held_by:
                connection.execute(
                    insert(job).values(
                        id=str(uuid.uuid4()),
                        collection_id=connection.execute(
                            queries.collections.ENSURE_COLLECTION, {"name": name}
                        ).scalar_one(),
                        uri=file_uri(path),
                        image_id=image_id,
                        state="done",
                        outcome="known",
                    )
                )
        place = {"country_code": "FR", "region": "Brittany", "city": "Rennes"}
        self.label(
            sha256,
            lat=-60 + 2 * number % 120 if lat is None else lat,
            lon=lon or 2.0,
            source=source,
            **place | more,
        )
        return sha256

    def label(self, sha256, **values):
        with self.engine.begin() as connection:
            image_id = connection.execute(
                text("SELECT id FROM image WHERE sha256 = :s"), {"s": sha256}
            ).scalar_one()
            connection.execute(insert(label).values(image_id=image_id, **values))

    def consent(self, name="postcards", *, granted=True):
        with self.engine.begin() as connection:
            given = {"name": name, "granted": granted, "granted_by": "anna"}
            assert connection.execute(queries.collections.SET_TRAINING_CONSENT, given).one_or_none()

    def curate(self, parameters=PARAMETERS, **more):
        return curate_database(self.engine, parameters, **more)


@pytest.fixture
def archive(database, tmp_path):
    return Archive(database, tmp_path)


@pytest.fixture
def fetch():
    with Fetcher() as fetcher:
        yield fetcher.fetch


def hashes(members):
    return {member.sha256 for member in members}


def test_without_consent_nothing_is_trained_on(archive):
    for _ in range(5):
        archive.add()
    with pytest.raises(SetupError, match=r"nothing may be trained on .*5 no_consent"):
        archive.curate()
    archive.consent()
    assert archive.curate().manifest.labels_in == 5


def test_each_collection_that_holds_a_photograph_has_a_say(archive):
    for _ in range(6):
        archive.add()
    both = archive.add(held_by=("postcards", "estate"))
    homeless = archive.add(held_by=())
    archive.consent()
    assert archive.curate().manifest.dropped_sha256 == {both: Dropped.NO_CONSENT, homeless: Dropped.NO_SOURCE}
    archive.consent("estate")
    assert archive.curate().manifest.dropped_sha256 == {homeless: Dropped.NO_SOURCE}


def test_the_label_that_counts_is_learnt_from(archive):
    shas = [archive.add() for _ in range(6)]
    archive.consent()
    archive.label(shas[0], source=LabelSource.IMPORT, lat=1.0, lon=1.0, country_code="IT")
    archive.label(shas[1], source=LabelSource.MANUAL, lat=70.0, lon=25.0, country_code="NO", city="Alta")
    members = {member.sha256: member for member in archive.curate().manifest.members}
    assert members[shas[0]].source is LabelSource.EXIF
    assert (members[shas[1]].source, members[shas[1]].city) == (LabelSource.MANUAL, "Alta")


def test_rights_duplicates_and_vague_labels_are_counted(archive):
    for _ in range(6):
        archive.add()
    alike = np.ones(32)
    dropped = {
        archive.add(data_mining="DMI-PROHIBITED-AIMLTRAINING"): Dropped.RIGHTS_RESERVED,
        archive.add(accuracy_m=40_000): Dropped.IMPRECISE,
        archive.add(country_code=None): Dropped.NO_COUNTRY,
        archive.add(country_code="QQ"): Dropped.NO_COUNTRY,
        archive.add(vector=alike, source=LabelSource.IMPORT): Dropped.NEAR_DUPLICATE,
    }
    archive.add(vector=alike + 0.01, source=LabelSource.MANUAL)
    archive.consent()
    manifest = archive.curate().manifest
    assert manifest.dropped_sha256 == dropped
    assert manifest.labels_in == 12 == len(manifest.members) + 5


def test_what_is_stored_is_what_was_chosen_and_comes_back_with_its_hash(archive):
    for _ in range(12):
        archive.add(lat=None)
    archive.add(lat=-0.0, lon=180.0)
    archive.consent()
    curated = archive.curate()
    assert (curated.id, curated.is_new) == (1, True)
    stored = load_manifest(archive.engine)
    assert (stored.id, stored.hash, stored.erased, stored.withdrawn) == (1, curated.manifest.hash, 0, {})
    assert stored.members == tuple(sorted(curated.manifest.members, key=lambda member: member.sha256))
    assert Parameters(**stored.parameters) == PARAMETERS
    assert len(stored.side(Side.HELD_OUT)) == len(curated.manifest.held_out) == 3


def test_the_same_database_gives_the_same_manifest_and_stores_it_once(archive):
    for _ in range(20):
        archive.add()
    archive.consent()
    dry = archive.curate(dry_run=True)
    assert dry.id is None
    with pytest.raises(SetupError, match="there is no curation: run `globetag curate`"):
        load_manifest(archive.engine)
    first, again = archive.curate(), archive.curate()
    assert dry.manifest.hash == first.manifest.hash == again.manifest.hash
    assert (again.id, again.is_new) == (first.id, False)
    other = archive.curate(Parameters(min_labels=3, held_out_share=0.2, seed=1))
    assert (other.is_new, hashes(other.manifest.held_out)) == (True, hashes(first.manifest.held_out))


def test_labels_since_the_last_curation_are_learnt_from_and_what_was_held_out_comes_along(archive):
    old = {archive.add() for _ in range(20)}
    archive.consent()
    first = archive.curate(since="last")  # there was none: everything
    assert first.manifest.labels_in == 20
    with pytest.raises(SetupError, match="too few labels"):
        archive.curate(since="last")
    corrected = sorted(hashes(first.manifest.train))[0]
    archive.label(corrected, source=LabelSource.MANUAL, lat=70.0, lon=-20.0, country_code="IS")
    new = {archive.add(lon=50.0) for _ in range(5)} | {corrected}
    second = archive.curate(since="last").manifest
    assert hashes(first.manifest.held_out) <= hashes(second.held_out)
    assert hashes(second.train) <= new and not hashes(second.held_out) & old - hashes(first.manifest.held_out)
    assert corrected in hashes(second.train)
    assert second.labels_in == 4 + 6


def test_labels_since_a_moment(archive):
    for _ in range(6):
        archive.add()
    archive.consent()
    now = datetime.now(UTC)
    assert archive.curate(since=now - timedelta(hours=1), dry_run=True).manifest.labels_in == 6
    with pytest.raises(SetupError, match=r"\(0 in, 0 to train on"):
        archive.curate(since=now + timedelta(hours=1))


def test_one_collection_alone_and_what_others_held_out_keeps_out_of_its_training(archive):
    for _ in range(10):
        archive.add()
    archive.consent()
    first = archive.curate().manifest
    held = first.held_out[0]
    near = archive.add(lat=held.lat + 0.001, lon=held.lon, held_by=("estate",))
    others = {archive.add(held_by=("estate",), lon=90.0) for _ in range(8)}
    archive.consent("estate")
    second = archive.curate(Parameters(collection="estate", min_labels=3, held_out_share=0.2)).manifest
    assert hashes(second.members) | set(second.dropped_sha256) == {near} | others
    assert near in hashes(second.held_out)
    with pytest.raises(SetupError, match="there is no collection 'attic'; there is estate, postcards"):
        archive.curate(Parameters(collection="attic"))


def test_a_stored_curation_cannot_be_changed(archive):
    for _ in range(6):
        archive.add()
    archive.consent()
    archive.curate()
    for statement in (
        update(curation).values(train=0),
        delete(curation),
        text("TRUNCATE curation CASCADE"),
        update(curation_member).values(side="train"),
        delete(curation_member),
        text("TRUNCATE curation_member"),
    ):
        with pytest.raises(DBAPIError, match="curations are immutable"), archive.engine.begin() as connection:
            connection.execute(statement)
    assert load_manifest(archive.engine).members


def test_an_erased_photograph_leaves_its_manifests(archive):
    shas = sorted(archive.add() for _ in range(6))
    archive.consent()
    archive.curate()
    with archive.engine.begin() as connection:
        connection.execute(
            text("DELETE FROM job WHERE image_id = (SELECT id FROM image WHERE sha256 = :s)"), {"s": shas[0]}
        )
        connection.execute(delete(image).where(image.c.sha256 == shas[0]))
    stored = load_manifest(archive.engine)
    assert stored.erased == 1
    assert hashes(stored.members) == set(shas[1:])


def test_rows_that_somebody_slipped_in_are_noticed(archive):
    for _ in range(6):
        archive.add()
    archive.consent()
    archive.curate(Parameters(min_labels=3, held_out_share=0.2, collection="postcards"))
    archive.add()
    with archive.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO curation_member SELECT 1, i.id, 'train', i.sha256, l.id, l.source, 1, 1, 'FR', NULL,"
                " NULL, NULL, '1/1', 'file:///x' FROM image i JOIN label l ON l.image_id = i.id"
                " ORDER BY i.id DESC LIMIT 1"
            )
        )
    with pytest.raises(SetupError, match="not those that its hash was made of"):
        load_manifest(archive.engine)


def test_consent_that_is_withdrawn_later_holds_for_manifests_that_exist(archive, fetch):
    for number in range(8):
        archive.add(held_by=("postcards",) if number % 2 else ("estate",))
    archive.consent()
    archive.consent("estate")
    archive.curate()
    archive.consent("estate", granted=False)
    stored = load_manifest(archive.engine)
    assert stored.withdrawn == {Dropped.NO_CONSENT: 4}
    assert len(stored.members) == 4
    assert len(examples_of(stored, fetch)) == len(stored.side(Side.TRAIN))


def test_only_one_curation_at_a_time(archive):
    with archive.engine.begin() as connection:
        assert connection.execute(queries.curation.CURATION_LOCK).scalar_one()
        with pytest.raises(SetupError, match="another curation is at work"):
            archive.curate()


def test_the_database_holds_the_embeddings_of_one_gate_against_each_other_only(archive):
    same = np.ones(32)
    for _ in range(6):
        archive.add()
    archive.add(vector=same)
    archive.gate_id = archive._gate("2")
    archive.add(vector=same)
    archive.consent()
    assert archive.curate().manifest.dropped == {}


# --- examples ---


def test_examples_are_the_originals_with_the_labels_places(archive, fetch):
    for _ in range(10):
        archive.add()
    archive.consent()
    archive.curate()
    stored = load_manifest(archive.engine)
    examples = examples_of(stored, fetch)
    assert [example.id for example in examples] == [m.sha256 for m in stored.side(Side.TRAIN)]
    assert len(examples) == 8
    example = examples[3]
    answer = parse(example.completion)
    assert (answer.country, answer.region, answer.city) == ("France", "Brittany", "Rennes")
    assert (answer.lat, answer.reasoning, answer.notes) == (None, "", ())
    assert example.prompt == build_prompt()
    assert (example.open().size, example.open().mode) == ((8, 8), "RGB")
    assert [e.id for e in examples[2:4]] == [examples[2].id, examples[3].id]
    held = examples_of(stored, fetch, side=Side.HELD_OUT)
    assert {e.id for e in held} == hashes(stored.side(Side.HELD_OUT))


def test_changed_and_missing_originals_are_left_out_and_counted(archive, fetch):
    for _ in range(10):
        archive.add()
    archive.consent()
    archive.curate()
    stored = load_manifest(archive.engine)
    changed, gone, later, *_ = stored.side(Side.TRAIN)
    paths = {member.sha256: archive.folder / member.uri.rpartition("/")[2] for member in stored.members}
    paths[changed.sha256].write_bytes(paths[later.sha256].read_bytes())
    paths[gone.sha256].unlink()
    examples = examples_of(stored, fetch)
    assert examples.left_out == {CHANGED: 1, Reason.NOT_FOUND: 1}
    assert len(examples) + sum(examples.left_out.values()) == 8
    assert not {changed.sha256, gone.sha256} & {example.id for example in examples}
    [example] = [example for example in examples if example.id == later.sha256]
    paths[later.sha256].write_bytes(b"something else")
    with pytest.raises(OriginalChanged, match="not the file any more that was labelled"):
        example.open()
    for path in paths.values():
        path.unlink(missing_ok=True)
    with pytest.raises(SetupError, match=r"no original of the train side of curation 1 .*8 not_found"):
        examples_of(stored, fetch)


# --- the command ---


@pytest.fixture
def run(archive, database, monkeypatch):
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)
    return lambda *arguments: CliRunner().invoke(command, list(arguments), env={"COLUMNS": "120"})


def test_the_command_asks_for_consent_curates_and_shows_counts(archive, run, tmp_path):
    for _ in range(20):
        archive.add()
    archive.add(data_mining="DMI-PROHIBITED")
    refused = run("--min-labels", "5")
    assert isinstance(refused.exception, SetupError)
    assert "globetag curate consent COLLECTION --grant" in str(refused.exception)
    assert run("consent", "postcards", "--grant", "--by", "anna").exit_code == 0
    done = run("--min-labels", "5", "--json", str(tmp_path / "out.json"))
    assert done.exit_code == 0, done.exception
    lines = [" ".join(line.split()) for line in done.output.splitlines()]
    assert "21 in photographs with a known place, by the label that counts" in lines
    assert "-1 rights_reserved plus:DataMining of the file forbids it, or cannot be understood" in lines
    assert "18 train in 18 cells of 1 countries" in lines
    assert "2 held_out in 2 cells of 1 countries" in lines
    said = orjson.loads((tmp_path / "out.json").read_bytes())
    assert f"curation 1, {said['hash']}" in lines
    assert (said["labels_in"], said["train"], said["held_out"], said["dropped"]) == (
        21,
        18,
        2,
        {"rights_reserved": 1},
    )
    assert len(said["members"]) == 20
    assert list(said["dropped_sha256"].values()) == ["rights_reserved"]
    assert "curation 1, as it was" in run("--min-labels", "5").output
    assert "not stored (--dry-run)" in run("--min-labels", "5", "--seed", "9", "--dry-run").output
    with archive.engine.connect() as connection:
        row = connection.execute(text("SELECT * FROM collection")).one()
        assert (row.training_consent, row.training_consent_by) == (True, "anna")
        assert connection.execute(text("SELECT count(*) FROM curation")).scalar_one() == 1


def test_the_command_refuses_what_makes_no_sense(archive, run):
    archive.add()
    assert "no collection 'attic'" in str(run("consent", "attic", "--grant").exception)
    assert "say --grant or --withdraw" in run("consent", "postcards").output
    wrong = run("--since", "yesterday")
    assert wrong.exit_code == 2
    assert "neither `last` nor a moment" in " ".join(wrong.output.split())
    assert run("consent", "postcards", "--withdraw").output.startswith("models must not be trained on")
    with archive.engine.connect() as connection:
        assert connection.execute(collection.select()).one().training_consent is False
