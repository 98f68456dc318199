"""Running workers pick up what is promoted: no job is lost, none is worked on twice, no row mixes versions."""

import threading
from collections import Counter
from contextlib import contextmanager

import pytest
from sqlalchemy import func, select, text

from atlas.model import build_vlm
from benchmarks.null_models import NullEngine, NullGate
from schema.tables import image, job, model_version, prediction, promotion_failure
from tests.support import number_of, wait_for, write_pictures
from worker.assemble import Models, assemble, load_models
from worker.checkpoints import Checkpoint
from worker.errors import SetupError
from worker.identity import ModelIdentity
from worker.registry import look, promote, register, rollback

CITIES = ("Paris", "Lyon", "Marseille", "Bordeaux")
"""What each model says of every photograph: the base, then the versions that are promoted over it."""


class Known(NullEngine):
    """Says the one city that stands in its checkpoint's folder; its version is that of the files there."""

    def __init__(self, house, folder):
        super().__init__(self._say)
        self._house = house
        self._city = (folder / "model.safetensors").read_text()
        self._identity = ModelIdentity("lvlm", str(folder), Checkpoint("", folder, None).version, untrained=True)
        self._closed = False

    @property
    def identity(self):
        return self._identity

    def _say(self, picture):
        with self._house.lock:
            self._house.entered += 1
        self._house.permits.acquire()
        assert not self._closed, "a model that is closed was asked"
        with self._house.lock:
            self._house.asked[number_of(picture)] += 1
        return f"<think>A town.</think><answer>country: France\ncity: {self._city}</answer>"

    def close(self):
        if not self._closed:
            self._closed = True
            self._house.alive -= 1


class House:
    """Folders of models that are known beforehand, a worker that serves them, and how many it may answer."""

    def __init__(self, line, folder):
        self.database = line.database
        self.folders = [self._folder(folder / city, city) for city in CITIES]
        self.base = str(self.folders[0])
        self.settings = line.settings.model_copy(update={"model": self.base})
        self.permits = threading.Semaphore(0)
        self.lock = threading.Lock()
        self.entered = 0
        self.asked = Counter()
        self.alive = self.most_alive = 0
        self.loaded = []
        self.allow = threading.Event()
        self.allow.set()
        self._line = line

    @staticmethod
    def _folder(folder, city):
        folder.mkdir()
        (folder / "model.safetensors").write_text(city)
        (folder / "config.json").write_text("{}")
        return folder

    def load(self, registered):
        folder = registered.folder if registered else self.folders[0]
        self.loaded.append(folder.name)
        assert self.allow.wait(60)
        engine = Known(self, folder)
        self.alive += 1
        self.most_alive = max(self.most_alive, self.alive)
        return engine

    @contextmanager
    def working(self, *, drain_s=30, **settings):
        settings = self.settings.model_copy(update=settings)
        models = Models(NullGate(), self.load(None), 0.5, None, self.load)
        with assemble(settings, self.database, models, dispatch=True) as worker:
            worker.runner.start()
            try:
                yield worker
            finally:
                self.allow.set()
                self.answer(10_000)
                worker.runner.stop(drain_s=drain_s)

    def answer(self, count):
        """Lets so many questions be answered."""
        self.permits.release(count)

    def waiting(self):
        """How many photographs are with a model that has not answered yet."""
        with self.lock:
            return self.entered - self.asked.total()

    def register(self, number):
        return register(
            self.database.engine,
            self.folders[number],
            base=self.base,
            parent_id=None,
            training_run_id=None,
            curation_id=None,
            metrics={},
        )

    def promote(self, version):
        promote(self.database.engine, version.id, base=self.base, by="me", reason="", evidence={})

    def rollback(self):
        rollback(self.database.engine, base=self.base, by="me", reason="")

    def answers(self):
        """Every stored answer in the order of its row: who made it by its row, and what was said."""
        asked = (
            select(prediction.c.city, prediction.c.pipeline_version, model_version.c.name, model_version.c.version)
            .join(model_version, model_version.c.id == prediction.c.model_version_id)
            .order_by(prediction.c.id)
        )
        with self.database.engine.connect() as connection:
            return connection.execute(asked).all()

    def count(self, table):
        with self.database.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()

    def done(self):
        return self._line.states().get("done", 0)


@pytest.fixture
def house(line, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    return House(line, folder)


def _runs(answers):
    """The cities in the order in which they were said, without repetitions."""
    cities = [row.city for row in answers]
    return [city for city, before in zip(cities, [None, *cities], strict=False) if city != before]


def test_promotions_and_a_rollback_under_load_lose_nothing_and_mix_nothing(house, line, tmp_path):
    count, step = 400, 80
    first, second = house.register(1), house.register(2)
    line.enqueue(write_pictures(tmp_path / "pictures", count))
    with house.working() as worker:
        for number, change in enumerate(
            (lambda: house.promote(first), lambda: house.promote(second), house.rollback), start=1
        ):
            house.answer(step)
            wait_for(
                lambda: house.waiting() == line.settings.threads, "every thread with a model that says nothing"
            )
            change()
            wait_for(lambda: worker.serving.is_changing, "the promotion to be seen")
            assert len(house.loaded) == number, "leases are out: nothing is loaded yet"
            house.answer(line.settings.threads)
            wait_for(lambda n=number: len(house.loaded) > n, "the next model")
        house.answer(count)
        assert line.wait_until_settled(count) == {"done": count}
        wait_for(lambda: line.messages() == 0, "the acknowledgements")
        assert worker.versions.model_version_id == first.id
    assert house.asked == Counter(range(count)), "each was asked about once"
    assert {row.attempts for row in line.jobs().values()} == {1}
    assert (house.count(image), house.count(prediction)) == (count, count)
    answers = house.answers()
    assert _runs(answers) == ["Paris", "Lyon", "Marseille", "Lyon"], "the version changed three times"
    by_row = {(row.city, row.name, row.version) for row in answers}
    assert by_row == {
        (folder.name, str(folder), Checkpoint("", folder, None).version) for folder in house.folders[:3]
    }, "each row names the model that said it"
    assert len({row.pipeline_version for row in answers}) == 3
    assert {row.pipeline_version for row in line.jobs().values()} == {row.pipeline_version for row in answers}
    assert house.loaded == ["Paris", "Lyon", "Marseille", "Lyon"]
    assert (house.most_alive, house.alive) == (1, 0), "never two models at once, and none at the end"


def test_jobs_that_wait_while_a_model_is_loaded_keep_their_leases_and_are_done(house, line, tmp_path):
    lease_s = 1.0
    first = house.register(1)
    line.enqueue(write_pictures(tmp_path / "pictures", 20))
    threads = line.settings.threads
    with house.working(lease_s=lease_s) as worker:
        wait_for(lambda: house.waiting() == threads, "every thread with a model that says nothing")
        house.allow.clear()
        house.promote(first)
        wait_for(lambda: worker.serving.is_changing, "the promotion to be seen")
        house.answer(100)
        wait_for(lambda: house.loaded == ["Paris", "Lyon"], "the load")
        wait_for(lambda: line.states().get("running") == threads, "jobs that wait")
        started = min(row.lease_until for row in line.jobs().values() if row.state == "running")

        def outlived():
            leases = [row.lease_until for row in line.jobs().values() if row.state == "running"]
            return min(leases).timestamp() > started.timestamp() + 3 * lease_s

        wait_for(outlived, "three leases' time")
        before = house.done()
        house.allow.set()
        assert line.wait_until_settled(20) == {"done": 20}
    assert {(row.attempts, row.losses) for row in line.jobs().values()} == {(1, 0)}
    assert Counter(row.city for row in house.answers())["Lyon"] == 20 - before


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_serving_and_is_tried_once(house, line, tmp_path):
    first, second = house.register(1), house.register(2)
    paths = write_pictures(tmp_path / "pictures", 40)
    house.answer(1000)
    with house.working() as worker:
        house.promote(first)
        wait_for(lambda: worker.serving.now.registered == first, "the first version")
        (house.folders[2] / "config.json").unlink()
        with pytest.raises(SetupError, match=r"config\.json is gone"):
            house.promote(second)
        (house.folders[2] / "config.json").write_text("{}")
        house.allow.clear()
        house.promote(second)
        wait_for(lambda: house.loaded[-1] == "Marseille", "the load")
        (house.folders[2] / "model.safetensors").write_text("Nice")  # after the promotion, before it is read
        line.enqueue(paths)
        house.allow.set()
        assert line.wait_until_settled(40) == {"done": 40}
        wait_for(lambda: house.count(promotion_failure) == 1, "the failure beside its promotion")
        assert worker.serving.now.registered == first
        assert house.loaded == ["Paris", "Lyon", "Marseille", "Lyon"]
        with house.database.engine.connect() as connection:
            [failure] = connection.execute(select(promotion_failure)).all()
        assert failure.promotion_id == look(house.database.engine, house.base).promotion_id
        assert failure.worker == worker.service.worker
        assert f"no longer those of model version {second.id}" in failure.detail
        with house.database.engine.begin() as connection:
            connection.execute(text("NOTIFY globetag_model"))  # a look that finds nothing new
        (house.folders[2] / "model.safetensors").write_text("Marseille")
        house.promote(second)
        wait_for(lambda: worker.serving.now.registered == second, "the version that was mended")
        assert house.loaded == ["Paris", "Lyon", "Marseille", "Lyon", "Marseille"], "no try but those"
    assert {row.city for row in house.answers()} == {"Lyon"}
    assert house.most_alive == 1


def test_a_worker_that_is_stopped_while_it_loads_gives_its_jobs_back_uncounted(house, line, tmp_path):
    first = house.register(1)
    with house.working(drain_s=0) as worker:
        house.allow.clear()
        house.promote(first)
        wait_for(lambda: house.loaded == ["Paris", "Lyon"], "the load")
        line.enqueue(write_pictures(tmp_path / "pictures", 20))
        wait_for(lambda: line.states().get("running", 0) == line.settings.threads, "jobs that wait")
        worker.serving.stop()
        assert worker.runner.stop(drain_s=30) is True, "what waits for a model is not waited for"
        assert line.states() == {"queued": 20}
        assert {(row.attempts, row.losses, row.worker) for row in line.jobs().values()} == {(0, 0, None)}
    assert house.alive == 0, "the model that came too late was freed"
    assert sum(house.asked.values()) == 0


def test_a_worker_that_drains_while_it_loads_finishes_with_the_new_model(house, line, tmp_path):
    first = house.register(1)
    house.answer(1000)
    with house.working() as worker:
        house.allow.clear()
        house.promote(first)
        wait_for(lambda: house.loaded == ["Paris", "Lyon"], "the load")
        line.enqueue(write_pictures(tmp_path / "pictures", line.settings.threads))
        wait_for(lambda: line.states().get("running", 0) == line.settings.threads, "jobs that wait")
        stopping = threading.Thread(target=worker.runner.stop)
        stopping.start()
        house.allow.set()
        stopping.join(60)
        assert not stopping.is_alive()
    assert line.states() == {"done": line.settings.threads}
    assert {row.city for row in house.answers()} == {"Lyon"}


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_a_promotion_is_seen_after_the_connection_that_listens_was_lost(house, line):
    listening = text("SELECT pid FROM pg_stat_activity WHERE query = 'LISTEN \"globetag_model\"'")
    first = house.register(1)
    by_itself = house.database.engine.execution_options(isolation_level="AUTOCOMMIT")
    with house.working() as worker, by_itself.connect() as connection:
        pid = wait_for(lambda: connection.execute(listening).scalar(), "a worker that listens")
        connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        house.promote(first)
        wait_for(lambda: worker.serving.now.registered == first, "the promoted version")


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_workers_with_another_model_keep_it(house, line):
    first = house.register(1)
    with house.working(model="another") as worker, house.working() as mine:
        house.promote(first)
        wait_for(lambda: mine.serving.now.registered == first, "the promoted version")
        with house.database.engine.begin() as connection:
            connection.execute(text("NOTIFY globetag_model"))
        assert worker.serving.now.registered is None
    assert house.loaded.count("Lyon") == 1


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_a_worker_on_a_model_server_keeps_its_model_and_says_why_once(house, line, tmp_path, caplog):
    first, second = house.register(1), house.register(2)
    house.answer(1000)
    house.promote(first)
    with house.working(engine="openai", model_server="http://model:8000/v1") as worker:
        wait_for(lambda: house.count(promotion_failure) == 1, "what was promoted before the worker started")
        house.promote(second)
        wait_for(lambda: house.count(promotion_failure) == 2, "what is promoted while it runs")
        with house.database.engine.begin() as connection:
            connection.execute(text("NOTIFY globetag_model"))
        house.rollback()
        wait_for(lambda: house.count(promotion_failure) == 3, "the promotion that counts again")
        line.enqueue(write_pictures(tmp_path / "pictures", 5))
        assert line.wait_until_settled(5) == {"done": 5}
        assert worker.serving.now.registered is None
        with house.database.engine.connect() as connection:
            told = connection.execute(select(promotion_failure.c.detail)).scalars().all()
    assert house.loaded == ["Paris"]
    assert {row.city for row in house.answers()} == {"Paris"}
    assert all("asks the model server http://model:8000/v1" in detail for detail in told)
    assert f"model version {second.id} is promoted, but this worker asks" in caplog.text


# --- with real models ---


@pytest.mark.models
@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_a_worker_changes_from_one_real_checkpoint_to_another(line, tiny_models, tmp_path):
    base, clip = tiny_models
    settings = line.settings.model_copy(
        update={"model": str(base), "clip": str(clip), "max_tokens": 4, "threads": 4}
    )
    database = line.database
    other = register(
        database.engine,
        build_vlm(tmp_path / "other", seed=1),
        base=settings.model,
        parent_id=None,
        training_run_id=None,
        curation_id=None,
        metrics={},
    )
    paths = write_pictures(tmp_path / "pictures", 12)

    def made():
        """Which version each photograph has been answered by, as often as it was."""
        with database.engine.connect() as connection:
            asked = select(job.c.uri, prediction.c.model_version_id).join(
                prediction, prediction.c.id == job.c.prediction_id
            )
            return {row.uri.rpartition("/")[2]: row.model_version_id for row in connection.execute(asked)}

    with load_models(settings, database) as models, assemble(settings, database, models, dispatch=True) as worker:
        assert models.registered is None
        base_id = worker.versions.model_version_id
        worker.runner.start()
        line.enqueue(paths[:6])
        wait_for(lambda: sum(line.states().values()) == 6 and not line.states().get("queued", 0), "the first six")
        line.wait_until_settled(6)
        promote(database.engine, other.id, base=settings.model, by="me", reason="", evidence={})
        wait_for(lambda: worker.serving.now.registered == other, "the other checkpoint")
        line.enqueue(paths[6:])
        line.wait_until_settled(12)
        worker.runner.stop(drain_s=30)
    by_version = made()
    assert {by_version[path.name] for path in paths[:6]} == {base_id}
    assert {by_version[path.name] for path in paths[6:]} == {other.id}

    with load_models(settings, database) as models:
        assert models.registered == other, "a worker that starts loads what is promoted"
        assert models.engine.identity.version == other.version
    (tmp_path / "other" / "model.safetensors").unlink()
    with (
        pytest.raises(SetupError, match=r"^model version [^\n]* roll back with `globetag models rollback`$"),
        load_models(settings, database),
    ):
        pass
