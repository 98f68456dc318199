"""Calibrations that renew themselves, on a real database: asked, answered, calibrated, in force.

The models are null ones that read off a picture's colour which city it shows, and are wrong for some.

Long because all of it shares one archive and its models.
"""

import hashlib
import os
import signal
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sqlalchemy import insert, select, text

from benchmarks.null_models import NullEngine, NullGate
from schema import queries
from schema.reasons import Granularity, JobState, Outcome, Status
from schema.tables import (
    calibration,
    calibration_renewal,
    curation,
    curation_member,
    image,
    job,
    label,
    prediction,
)
from tests.integration.test_cycle import _cities, write_model
from tests.support import ROOT, wait_for
from trainer.calibrate.fit import Parameters
from trainer.calibrate.make import make, store
from trainer.curate.cells import Grid
from trainer.renew.renew import Looked, look
from trainer.renew.told import renewals
from trainer.renew.watch import Watch
from worker import registry
from worker.assemble import Models, assemble
from worker.calibrations import standings
from worker.errors import SetupError
from worker.identity import ModelIdentity
from worker.outcome import ImageRecord, PredictionRecord, Settled
from worker.place.difficulty import Difficulty
from worker.place.sphere import destination, distance_km
from worker.queue.patience import PatientTransactions
from worker.queue.recorder import Recorder
from worker.reason.engines import Sampling
from worker.versions import record_versions

BASE = "cities"
PGMQ = pytest.mark.parametrize("broker_url", [None], ids=["pgmq"])
WRONG_EVERY = 25


class CityEngine(NullEngine):
    """Knows each picture's city by its colour, and is wrong for one in `WRONG_EVERY`."""

    def __init__(self, version, cities):
        def say(picture):
            red, green, _ = picture.getpixel((0, 0))
            number = red + 256 * green
            place = number + 60 if number % WRONG_EVERY == 0 else number
            city = cities[place % len(cities)]
            return f"<think>A street.</think><answer>country: {city.country}\ncity: {city.name}</answer>"

        super().__init__(say)
        self._version = version

    @property
    def identity(self):
        return ModelIdentity("lvlm", BASE, self._version)


class Shop:
    """An archive with known places, versions to promote, and workers."""

    def __init__(self, line, folder):
        self.line = line
        self.database = line.database
        self.engine = line.database.engine
        self.cities = _cities(120)
        self.pictures = folder / "pictures"
        self.pictures.mkdir()
        self.models = folder / "models"
        self.rng = np.random.default_rng(11)
        self.made = 0

    def paint(self, count):
        """Photographs of the cities, in turn. Returns path and place of each, within 6 km of its city."""
        made = []
        for number in range(self.made, self.made + count):
            path = self.pictures / f"{number}.png"
            Image.new("RGB", (8, 8), (number % 256, number // 256, 77)).save(path)
            city = self.cities[number % len(self.cities)]
            made.append((path, destination(city.lat, city.lon, 360 * self.rng.random(), 6 * self.rng.random())))
        self.made += count
        return made

    def label(self, count, collection="default"):
        """Photographs whose place is known, with a settled job each. Returns their content hashes."""
        hashes = []
        with self.engine.begin() as connection:
            wanted = {"name": collection}
            held_by = connection.execute(queries.collections.ENSURE_COLLECTION, wanted).scalar_one()
            for path, (lat, lon) in self.paint(count):
                code = self.cities[int(path.stem) % len(self.cities)].code
                hashes.append(hashlib.sha256(path.read_bytes()).hexdigest())
                seen = {"sha256": hashes[-1], "format": "png", "width_px": 8, "height_px": 8, "size_bytes": 99}
                image_id = connection.execute(insert(image).values(**seen).returning(image.c.id)).scalar_one()
                place = {"source": "manual", "lat": lat, "lon": lon, "country_code": code}
                connection.execute(insert(label).values(image_id=image_id, **place))
                settled = {"collection_id": held_by, "image_id": image_id, "state": "done", "outcome": "known"}
                connection.execute(insert(job).values(id=str(uuid.uuid4()), uri=path.as_uri(), **settled))
        return hashes

    def register(self, name):
        return registry.register(
            self.engine,
            write_model(self.models / name, 90),
            base=BASE,
            parent_id=None,
            training_run_id=None,
            curation_id=None,
            metrics={},
        )

    def promote(self, name):
        made = self.register(name)
        registry.promote(self.engine, made.id, base=BASE, by="anna", reason="", evidence={})
        return made

    def look(self, photographs=1000):
        return look(self.engine, base=BASE, photographs=photographs)

    def load(self, registered):
        return CityEngine("base" if registered is None else registered.version, self.cities)

    @contextmanager
    def working(self, registered, *, load=None):
        """A whole worker with what serves; it follows promotions."""
        settings = self.line.settings.model_copy(update={"model": BASE})
        models = Models(NullGate(), self.load(registered), 0.5, registered, load or self.load)
        with assemble(settings, self.database, models, dispatch=True) as worker:
            worker.runner.start()
            try:
                yield worker
            finally:
                worker.runner.stop(drain_s=30)

    def settled(self):
        states = self.line.states()
        return not {"queued", "running"} & set(states)

    def work(self, registered, **given):
        """Lets a worker answer all that is in the queue."""
        with self.working(registered, **given):
            wait_for(self.settled, "the queue to be empty")

    def answer(self, registered):
        """The same without a worker: stores for each queued job what one would have, through the real recorder."""
        with self.engine.begin() as connection:
            versions = record_versions(
                connection,
                model=self.load(registered).identity,
                gate=NullGate().identity,
                gate_threshold=0.5,
                prompt_hash="prompt",
                sampling=Sampling(),
                gazetteer_version="atlas",
            )
            waiting = connection.execute(
                select(job.c.id, job.c.uri, image.c.sha256).join(image).where(job.c.state == "queued")
            ).all()
        recorder = Recorder(PatientTransactions(self.engine, patience_s=60))
        try:
            ledger = recorder.ledger(versions)
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda row: ledger.save(self.said(row)), waiting))
        finally:
            recorder.close()

    def said(self, row):
        number = int(Path(row.uri).stem)
        city = self.cities[(number + 60 * (number % WRONG_EVERY == 0)) % len(self.cities)]
        known = Difficulty(0.8, 1.0, 0.0, 1, None, None, None, None, Granularity.CITY)
        place = {"lat": city.lat, "lon": city.lon, "radius_km": 20.0, "granularity": Granularity.CITY}
        return Settled(
            str(row.id),
            JobState.DONE,
            outcome=Outcome.KNOWN,
            image=ImageRecord(row.sha256, "png", 8, 8, 99),
            prediction=PredictionRecord(Status.LOCATED, "r", **place, difficulty=known),
        )

    def rows(self, table=calibration_renewal):
        with self.engine.connect() as connection:
            return connection.execute(select(table).order_by(table.c.id)).all()

    def queued(self):
        return self.line.states().get("queued", 0)

    def renewed(self, registered):
        """A renewal from its beginning to its end; returns how it ended."""
        assert self.look().ended is Looked.ASKED
        self.answer(registered)
        return self.look()


@pytest.fixture
def shop(line, tmp_path):
    return Shop(line, tmp_path)


# --- the line ---


def test_after_a_promotion_photographs_are_asked_and_new_radii_keep_their_promise(shop):
    shop.label(140)
    serves = shop.promote("first")
    assert shop.look().ended is Looked.ASKED
    queued = [row for row in shop.line.jobs().values() if row.state == "queued"]
    assert len(queued) == 140
    assert {(row.verify, row.priority) for row in queued} == {(True, 0)}
    with shop.working(serves) as worker:
        wait_for(shop.settled, "all answers")
        assert shop.look().ended is Looked.DONE
        assert shop.look().ended is Looked.NOT_DUE
        wait_for(lambda: worker.versions.calibrations.versions, "the worker to take it up")
        new = shop.paint(60)
        shop.line.enqueue([path for path, _ in new])
        wait_for(shop.settled, "photographs whose place only this test knows")
    truth = {hashlib.sha256(path.read_bytes()).hexdigest(): place for path, place in new}
    with shop.engine.connect() as connection:
        rows = connection.execute(
            select(prediction, image.c.sha256).join(image).where(image.c.sha256.in_(truth))
        ).all()
    assert len(rows) == 60
    [made] = shop.rows(calibration)
    assert {row.calibration_id for row in rows} == {made.id}
    located = [row for row in rows if row.status == "located"]
    assert len(located) > 50
    assert {row.coverage for row in located} == {0.9}
    inside = [distance_km(row.lat, row.lon, *truth[row.sha256]) <= row.radius_km for row in located]
    assert np.mean(inside) >= 0.9
    assert max(row.radius_km for row in located) < 25
    [renewal] = shop.rows()
    assert (renewal.state, renewal.cause, renewal.asked, renewal.times) == ("done", "promotion", 140, 1)
    assert f"calibration {made.id} for all others" in renewal.detail


@PGMQ
def test_nothing_is_asked_before_anything_was_promoted_or_calibrated(shop):
    shop.label(10)
    assert shop.look().ended is Looked.NOT_DUE
    assert (shop.queued(), shop.rows()) == (0, [])


@PGMQ
def test_zero_photographs_switch_it_off(shop):
    shop.label(10)
    shop.promote("first")
    assert shop.look(photographs=0).ended is Looked.OFF
    assert (shop.queued(), shop.rows()) == (0, [])


@PGMQ
def test_no_more_are_asked_than_were_allowed_and_each_place_in_turn(shop):
    shop.label(200)  # 120 cities, 80 of them twice
    shop.promote("first")
    shop.look(photographs=100)
    with shop.engine.connect() as connection:
        rows = connection.execute(
            text("SELECT l.lat, l.lon FROM job j JOIN label l USING (image_id) WHERE j.state = 'queued'")
        ).all()
    assert len({Grid(50.0).cell(row.lat, row.lon) for row in rows}) == shop.queued() == 100


@PGMQ
def test_what_was_learnt_from_is_not_asked_nor_its_neighbours(shop):
    learnt = shop.label(130)[0]  # numbers 0 and 120 show the same city
    with shop.engine.begin() as connection:
        made = connection.execute(
            insert(curation)
            .values(hash="h", labels_until=0, parameters={}, labels_in=1, train=1, held_out=0, dropped={})
            .returning(curation.c.id)
        ).scalar_one()
        image_id = connection.execute(select(image.c.id).where(image.c.sha256 == learnt)).scalar_one()
        member = {"curation_id": made, "image_id": image_id, "side": "train", "sha256": learnt, "label_id": 1}
        place = {"source": "exif", "lat": 0.0, "lon": 0.0, "country_code": "ZZ", "cell": "c", "uri": "u"}
        connection.execute(insert(curation_member).values(**member, **place))
    shop.promote("first")
    shop.look()
    waiting = {name for name, row in shop.line.jobs().items() if row.state == "queued"}
    assert waiting == {f"{number}.png" for number in range(130)} - {"0.png", "120.png"}


@PGMQ
def test_a_job_that_somebody_may_be_waiting_for_is_left_alone(shop):
    shop.label(12)
    batch = "00000000-0000-4000-8000-000000000001"
    with shop.engine.begin() as connection:
        names = connection.execute(select(job.c.id).order_by(job.c.uri).limit(3)).scalars().all()
        connection.execute(job.update().where(job.c.id.in_(names)).values(batch_id=batch))
        connection.execute(job.update().where(job.c.id == names[0]).values(state="queued", outcome=None))
    shop.promote("first")
    assert shop.look().told.startswith("9 photographs")


# --- each as the one before it ---


@PGMQ
def test_settings_of_the_calibration_before_are_kept_for_each_collection(shop):
    shop.label(130, collection="press")
    shop.label(110, collection="family")
    first = shop.promote("first")
    assert shop.renewed(first).ended is Looked.DONE
    chosen = Parameters(coverage=0.8, max_risk=0.2, seed=5)
    made = make(shop.engine, chosen, base=BASE, serving=first, collection="press")
    store(shop.engine, made, days=30)
    second = shop.promote("second")
    assert shop.renewed(second).ended is Looked.DONE
    latest = {row.collection_id: row for row in shop.rows(calibration) if row.model_version_id == second.id}
    assert len(latest) == 2
    own = next(row for key, row in latest.items() if key is not None)
    assert (own.coverage, own.figures["max_risk"], own.figures["seed"]) == (0.8, 0.2, 5)
    assert own.expires_at - own.created_at == timedelta(days=30)
    assert own.photographs <= 130
    assert (latest[None].coverage, latest[None].expires_at - latest[None].created_at) == (0.9, timedelta(days=365))
    standing = {row.calibration_id: row.standing for row in standings(shop.engine, 10)}
    assert sorted(standing.values()) == ["in force", "in force", "other answers", "other answers"]


@PGMQ
def test_a_rollback_to_a_calibrated_version_asks_nothing_and_to_the_base_it_does(shop):
    shop.label(140)
    first = shop.promote("first")
    assert shop.renewed(first).ended is Looked.DONE
    second = shop.promote("second")
    assert shop.renewed(second).ended is Looked.DONE
    registry.rollback(shop.engine, base=BASE, by="anna", reason="")
    assert shop.look().ended is Looked.NOT_DUE
    registry.rollback(shop.engine, base=BASE, by="anna", reason="")
    assert shop.renewed(None).ended is Looked.DONE
    assert [row.model_version_id for row in shop.rows()] == [first.id, second.id, None]
    assert shop.look().ended is Looked.NOT_DUE


@PGMQ
def test_one_that_is_about_to_expire_is_renewed_and_nothing_is_asked_twice(shop):
    shop.label(140)
    serves = shop.promote("first")
    assert shop.renewed(serves).ended is Looked.DONE
    shift = text("UPDATE calibration SET created_at = created_at - CAST(:by AS interval),"
                 " expires_at = expires_at - CAST(:by AS interval)")  # fmt: skip
    with shop.engine.begin() as connection:
        connection.execute(shift, {"by": "300 days"})
    assert shop.look().ended is Looked.NOT_DUE
    with shop.engine.begin() as connection:
        connection.execute(shift, {"by": "40 days"})
    shop.label(15)
    assert shop.look().told.startswith("15 photographs"), "those that this version has answered are not asked"
    shop.answer(serves)
    assert shop.look().ended is Looked.DONE
    assert shop.rows()[-1].cause == "expiry"
    assert [row.photographs for row in shop.rows(calibration)] == [140, 155]
    assert {row.standing for row in standings(shop.engine, 10)} == {"in force", "superseded"}


# --- refused ---


@PGMQ
def test_a_refusal_is_told_and_tried_again_only_when_something_has_come(shop, monkeypatch, caplog):
    from trainer.commands.train import command

    shop.label(40)
    serves = shop.promote("first")
    refused = shop.renewed(serves)
    assert refused.ended is Looked.REFUSED
    assert "40 located photographs of 40 places or series are too few" in refused.told
    assert "no calibration for all others" in caplog.text
    assert shop.look().ended is Looked.STANDS_REFUSED
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", shop.database.url)
    monkeypatch.setenv("GLOBETAG_MODEL", BASE)
    monkeypatch.setenv("COLUMNS", "200")
    said = CliRunner().invoke(command, ["calibrations"], catch_exceptions=False).output
    assert "refused; 40 photographs of known place were asked about" in said
    assert "too few" in said
    again = CliRunner().invoke(command, ["renew"], catch_exceptions=False)
    assert (again.exit_code, "too few" in again.output) == (3, True)
    assert len(shop.rows()) == 1
    shop.label(19)
    assert shop.look().ended is Looked.STANDS_REFUSED
    shop.label(81)
    assert shop.look().told.startswith("100 photographs"), "the forty are not asked a second time"
    shop.answer(serves)
    assert shop.look().ended is Looked.DONE
    assert [row.state for row in shop.rows()] == ["refused", "done"]


@PGMQ
def test_photographs_that_cannot_be_fetched_hold_nothing_up_and_are_not_asked_again(shop):
    shop.label(170)
    for number in range(30):
        (shop.pictures / f"{number}.png").unlink()
    serves = shop.promote("first")
    assert shop.look().ended is Looked.ASKED
    shop.work(serves)
    assert shop.look().ended is Looked.DONE
    assert shop.rows(calibration)[0].photographs == 140
    with shop.engine.begin() as connection:
        connection.execute(text("DELETE FROM calibration_renewal"))
        connection.execute(text("UPDATE prediction SET calibration_id = NULL"))
        connection.execute(text("DELETE FROM calibration"))
    assert shop.look().ended is Looked.DONE, "nobody is left to be asked, and what was answered is enough"
    assert shop.queued() == 0


@PGMQ
def test_an_untrained_model_is_not_calibrated(shop):
    shop.label(10)
    made = shop.promote("first")
    with shop.engine.begin() as connection:
        connection.execute(text("UPDATE model_version SET untrained = true WHERE id = :id"), {"id": made.id})
    assert shop.look().ended is Looked.NOT_DUE
    assert shop.queued() == 0


# --- several processes, and what happens in between ---


@PGMQ
def test_two_training_workers_ask_once(shop):
    shop.label(50)
    shop.promote("first")
    with ThreadPoolExecutor(8) as pool:
        ended = [each.ended for each in pool.map(lambda _: shop.look(), range(16))]
    assert ended.count(Looked.ASKED) == 1
    assert set(ended) <= {Looked.ASKED, Looked.BUSY, Looked.WAITING}
    assert len(shop.rows()) == 1
    assert shop.queued() == 50


@PGMQ
def test_what_an_earlier_version_answered_is_asked_again(shop):
    shop.label(140)
    first = shop.promote("first")
    assert shop.renewed(first).ended is Looked.DONE
    second = shop.register("second")
    registry.promote(shop.engine, second.id, base=BASE, by="anna", reason="", evidence={})
    assert shop.look().ended is Looked.ASKED

    def breaks(registered):
        if registered.id == second.id:
            raise SetupError("its folder is not here")
        return shop.load(registered)

    shop.work(first, load=breaks)  # a worker that cannot load what was promoted goes on with what it had
    assert shop.look().ended is Looked.ASKED
    assert shop.rows()[-1].times == 2
    shop.answer(second)
    assert shop.look().ended is Looked.DONE


@PGMQ
def test_where_no_worker_follows_it_ends_with_the_reason(shop):
    shop.label(140)
    first = shop.promote("first")
    assert shop.renewed(first).ended is Looked.DONE
    shop.promote("second")

    def breaks(registered):
        if registered.id != first.id:
            raise SetupError("its folder is not here")
        return shop.load(registered)

    for _ in range(3):
        assert shop.look().ended is Looked.ASKED
        shop.work(first, load=breaks)
    refused = shop.look()
    assert refused.ended is Looked.REFUSED
    assert "answers about known places by others only" in refused.told
    assert shop.look().ended is Looked.STANDS_REFUSED


@PGMQ
def test_a_promotion_in_between_begins_anew(shop):
    shop.label(30)
    shop.promote("first")
    shop.look()
    shop.promote("second")
    shop.look()
    assert [(row.state, row.asked) for row in shop.rows()] == [("superseded", 30), ("asking", 30)]
    assert shop.queued() == 30


KILLED = """
import sys
from schema.session import make_engine
from trainer.renew import renew

really = renew.store
def store(*args, **given):
    made = really(*args, **given)
    print(made, flush=True)
    sys.stdin.read()  # stored, and no word of it in the renewal's row yet
    return made
renew.store = store
renew.look(make_engine(sys.argv[1]), base=sys.argv[2], photographs=1000)
"""


@PGMQ
def test_a_process_that_is_killed_in_between_is_gone_on_with(shop):
    shop.label(140, collection="press")
    serves = shop.promote("first")
    assert shop.renewed(serves).ended is Looked.DONE
    store(shop.engine, make(shop.engine, Parameters(), base=BASE, serving=serves, collection="press"), days=30)
    second = shop.promote("second")
    assert shop.look().ended is Looked.ASKED
    shop.answer(second)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, shop.database.url, BASE],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline().strip()
        assert shop.look().ended is Looked.BUSY
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        process.stdin.close()
    ended = wait_for(
        lambda: next(iter([e for e in [shop.look()] if e.ended is not Looked.BUSY]), None), "the lock"
    )
    assert ended.ended is Looked.DONE
    made = [row for row in shop.rows(calibration) if row.model_version_id == second.id]
    assert len({row.collection_id for row in made}) == len(made) == 2, "the first one was not made twice"
    assert shop.look().ended is Looked.NOT_DUE


@PGMQ
def test_the_watch_brings_it_to_its_end_and_survives_what_goes_wrong(shop, caplog):
    shop.label(140)
    serves = shop.promote("first")
    looks = []

    def one():
        looks.append(1)
        if len(looks) == 1:
            raise ZeroDivisionError("a defect")
        return shop.look()

    watch = Watch(one, every_s=0.05)
    with shop.working(serves):
        watch.start()
        try:
            wait_for(lambda: [row for row in shop.rows() if row.state == "done"], "a calibration in force")
        finally:
            watch.close()
    assert "a look at the calibrations failed" in caplog.text
    assert len(shop.rows(calibration)) == 1
    [told] = renewals(shop.engine, BASE)
    assert "done; 140 photographs of known place were asked about" in told


@PGMQ
def test_what_follows_is_said_to_who_promotes(shop, monkeypatch):
    from worker.commands.models import command

    monkeypatch.setenv("GLOBETAG_DATABASE_URL", shop.database.url)
    monkeypatch.setenv("GLOBETAG_MODEL", BASE)
    shop.label(140)
    first, second = shop.register("first"), shop.register("second")
    said = CliRunner().invoke(command, ["promote", str(first.id)], catch_exceptions=False).output
    assert "radii are nominal until it is calibrated: `globetag train worker` asks about up to 1,000" in said
    assert shop.renewed(registry.read_version(shop.engine, first.id)).ended is Looked.DONE
    CliRunner().invoke(command, ["promote", str(second.id)], catch_exceptions=False)
    said = CliRunner().invoke(command, ["rollback"], catch_exceptions=False).output
    assert "the calibration that it has counts" in said
    monkeypatch.setenv("GLOBETAG_CALIBRATE_PHOTOGRAPHS", "0")
    said = CliRunner().invoke(command, ["promote", str(second.id)], catch_exceptions=False).output
    assert "until it is calibrated by hand" in said


@PGMQ
def test_the_training_worker_looks_by_itself_and_stops_when_told(shop, tmp_path):
    shop.label(30)
    shop.promote("first")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GLOBETAG_")}
    environment |= {"GLOBETAG_HOME": str(tmp_path / "home"), "GLOBETAG_DATABASE_URL": shop.database.url}
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "-v", "train", "worker", "--no-beat"],
        cwd=ROOT,
        env=environment | {"GLOBETAG_MODEL": BASE},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_for(lambda: shop.rows() or process.poll() is not None, "a renewal to be begun")
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert [(row.state, row.asked) for row in shop.rows()] == [("asking", 30)], said
    assert "30 photographs are asked about" in said
