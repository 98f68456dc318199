"""The whole cycle on a real database: labels in, a better model served, or the reasons why not.

Curation, rights, originals, judge, verdict and registry are the real ones. Where no model need be trained, the
"trainer" writes a checkpoint folder whose name says how much its model knows, and the "engine" reads that name.

Long because all of it shares one archive and its models.
"""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from sqlalchemy import func, select, text

from schema.reasons import RunOutcome, RunReason
from schema.tables import curation, label, model_version, promotion, training_run
from tests.integration.test_curate_database import Archive
from tests.support import ROOT, wait_for
from trainer.commands import train_runs
from trainer.curate.manifest import Parameters
from trainer.cycle.assemble import parts_of, plan_of
from trainer.cycle.cycle import Parts, Plan, output_of, run_cycle
from trainer.cycle.runs import Asked, cancel, look, take
from trainer.cycle.verdict import Rule
from trainer.grpo.alarms import RunStopped
from trainer.grpo.recipe import load_grpo_recipe
from trainer.rewards.base import RewardFailed
from worker import registry
from worker.errors import SetupError
from worker.identity import ModelIdentity
from worker.place.cities import load_cities
from worker.place.countries import Countries
from worker.reason.engines import Completion, Sampling
from worker.settings import Settings

BASE = "knows-30"
"""The base model: it knows three of ten places."""
PEOPLE = "press"


@dataclass(frozen=True)
class City:
    name: str
    country: str
    code: str
    lat: float
    lon: float


def _cities(count):
    """Large cities far from each other, whose names the gazetteer resolves without doubt."""
    table, countries = load_cities(), Countries().by_code
    found = []
    for code, rows in sorted(table.rows_by_country.items()):
        if code in countries and len(found) < count:
            row = rows[0]
            found.append(
                City(table.name[row], countries[code].name, code, float(table.lat_N[row]), float(table.lon_N[row]))
            )
    return found


@pytest.fixture(scope="session")
def cities():
    return _cities(120)


class NameEngine:
    """Answers rightly for as many pictures as its name says ("knows-70": seven of ten), else with another city."""

    loaded = 0
    most = 0

    def __init__(self, name, cities, *, fails=False):
        self.identity = ModelIdentity("lvlm", name, name)
        self.known = int(Path(name).name.partition("knows-")[2].partition("-")[0]) // 10
        self.cities = cities
        self.fails = fails
        NameEngine.loaded += 1
        NameEngine.most = max(NameEngine.most, NameEngine.loaded)

    def generate(self, prompt, image, sampling, n=1):
        from schema.reasons import Reason
        from worker.errors import JobError

        if self.fails:
            raise JobError(Reason.MODEL_ERROR, "it breaks")
        red, green, _ = image.getpixel((0, 0))
        number = red + 256 * green
        right = number % 10 < self.known
        city = self.cities[number if right else (number + 60) % len(self.cities)]
        said = f"<think>A street.</think><answer>country: {city.country}\ncity: {city.name}</answer>"
        return [Completion(said, "stop", 20, -0.1)] * n

    def close(self):
        NameEngine.loaded -= 1


def write_model(folder, knows):
    """A checkpoint as far as the registry looks at it."""
    folder = folder.parent / f"{folder.name}-knows-{knows}"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(f"weights of {folder.name}".encode())
    (folder / "config.json").write_text("{}")
    return folder


@dataclass(frozen=True)
class Result:
    folder: Path
    steps: int = 4
    seconds: float = 1.0
    history: tuple = ({"reward": 0.1}, {"reward": 0.4})
    plot: Path | None = None


@dataclass
class Trainer:
    """Stands where `trainer.grpo.reinforce` stands; what it was called with is kept."""

    knows: int = 90
    raises: BaseException | None = None
    during: object = None
    calls: list = field(default_factory=list)

    def __call__(self, model_folder, questions, recipe, output, **given):
        self.calls.append({"model_folder": model_folder, "questions": questions, "output": output, **given})
        for step in range(1, 5):
            given["on_step"](step, {"reward": 0.1 * step, "visual/cannot_judge": 1.0, "geo/cannot_judge": 0.0})
            if self.during is not None:
                self.during(step)
            if given["is_cancelled"]():
                raise RunStopped("cancelled", f"at step {step}")
        (output.parent / "checkpoints").mkdir(parents=True, exist_ok=True)
        if self.raises is not None:
            raise self.raises
        return Result(write_model(output, self.knows))


class Shop:
    """An archive of photographs with known places, and all that a run is done with."""

    def __init__(self, database, tmp_path, cities):
        self.database = database
        self.engine = database.engine
        self.cities = cities
        self.archive = Archive(database, tmp_path)
        self.trainer = Trainer()
        self.fails = set()
        self.plan = Plan(
            base=BASE,
            folder=tmp_path / "models",
            parameters=Parameters(min_labels=20, held_out_share=0.4),
            after_labels=60,
            rule=Rule(replicates=300),
            sampling=Sampling(),
            threads=4,
            limits=plan_of(Settings()).limits,
            fetch_limits=plan_of(Settings()).fetch_limits,
        )
        NameEngine.loaded = NameEngine.most = 0

    def label(self, count, **more):
        """Photographs of the next cities, labelled; the pixels say which."""
        shas = []
        for _ in range(count):
            number = len(list(self.archive.folder.glob("*.png")))
            city = self.cities[number]
            place = {"country_code": city.code, "city": city.name, "region": None}
            shas.append(
                self.archive.add(
                    lat=city.lat,
                    lon=city.lon,
                    vector=np.random.default_rng(number).normal(size=32),
                    held_by=(PEOPLE,),
                    **place | more,
                )
            )
        return shas

    def parts(self, **changes):
        made = Parts(
            load_recipe=lambda name: load_grpo_recipe("atlas_cpu"),
            locate=Path,
            reinforce=self.trainer,
            load_engine=lambda name: NameEngine(name, self.cities, fails=Path(name).name in self.fails),
            serving=registry.serving,
            register=registry.register,
            promote=registry.promote,
        )
        return replace(made, **changes)

    def run(self, *, by="person", stopping=None, **changes):
        """One run; returns its row."""
        asked = Asked(by, BASE, "atlas_cpu")
        with take(self.engine, asked, stopping=stopping) as run:
            run_cycle(run, self.plan, self.parts(**changes))
            run_id = run.id
        with self.engine.connect() as connection:
            return connection.execute(select(training_run).where(training_run.c.id == run_id)).one()

    def serving(self):
        found = registry.serving(self.engine, BASE)
        return None if found is None else found.id

    def count(self, table):
        with self.engine.connect() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()


@pytest.fixture
def shop(database, tmp_path, cities):
    made = Shop(database, tmp_path, cities)
    made.label(100)
    made.archive.consent(PEOPLE)
    return made


# --- the line ---


def test_labels_come_in_and_a_better_model_serves(shop):
    done = shop.run()
    assert (done.state, done.outcome, done.reason) == ("done", "promoted", None)
    assert "within 25 km against" in done.detail
    assert shop.serving() == done.model_version_id
    served = registry.serving(shop.engine, BASE)
    assert (served.training_run_id, served.curation_id, served.parent_id) == (done.id, done.curation_id, None)
    assert served.folder.is_dir()
    assert served.metrics["promoted"] is True
    metrics = done.metrics
    assert metrics["labels"]["train"] + metrics["labels"]["held_out"] == 100
    assert metrics["questions"] == metrics["labels"]["train"]
    assert metrics["held_out"] == metrics["labels"]["held_out"] == 40
    assert metrics["verdict"]["gain"]["low"] > 0.3
    assert metrics["figures"]["within_25_km"]["new"] == pytest.approx(0.9, abs=0.1)
    assert metrics["rule"]["radius_km"] == 25
    assert metrics["trained"]["last"] == {"reward": 0.4}
    assert NameEngine.most == 1, "never two models in memory"
    assert NameEngine.loaded == 0
    with shop.engine.connect() as connection:
        told = connection.execute(select(promotion)).one()
    assert told.by == f"training run {done.id}"
    assert told.evidence["verdict"]["gain"]["name"] == "within_25_km"


def test_what_is_learnt_from_is_what_the_labels_say(shop):
    shop.run()
    [call] = shop.trainer.calls
    assert call["model_folder"] == Path(BASE)
    by_city = {city.name: city for city in shop.cities}
    for question in call["questions"]:
        city = by_city[question.columns["city"]]
        assert question.columns["country"] == city.country
        assert (question.columns["lat"], question.columns["lon"]) == (city.lat, city.lon)
        red, green, _ = question.open().getpixel((0, 0))
        assert shop.cities[red + 256 * green] == city


def test_nothing_that_is_judged_by_was_learnt_from(shop):
    shop.run()
    learnt = {question.id for question in shop.trainer.calls[0]["questions"]}
    with shop.engine.connect() as connection:
        held = set(
            connection.execute(text("SELECT sha256 FROM curation_member WHERE side = 'held_out'")).scalars()
        )
    assert len(held) == 40
    assert not learnt & held


def test_rewards_that_cannot_judge_an_archive_are_named(shop):
    done = shop.run()
    assert done.metrics["cannot_judge"] == ["visual", "locatable"]
    assert done.metrics["never_judged"] == ["visual"]


def test_a_model_that_is_no_better_is_refused_and_kept(shop):
    shop.trainer.knows = 30
    done = shop.run()
    assert (done.state, done.outcome) == ("done", "refused")
    assert "that may be chance" in done.detail
    assert shop.serving() is None
    assert shop.count(promotion) == 0
    assert registry.read_version(shop.engine, done.model_version_id).folder.is_dir(), "a person may want it"


def test_a_worse_model_is_refused(shop):
    shop.trainer.knows = 0
    done = shop.run()
    assert done.outcome == "refused"
    assert "it is worse" in done.detail


def test_the_next_run_starts_from_what_serves_and_learns_what_is_new(shop):
    shop.trainer.knows = 60
    first = shop.run()
    assert first.outcome == "promoted"
    new = set(shop.label(20))
    shop.trainer.knows = 100
    shop.plan = replace(shop.plan, parameters=Parameters(min_labels=5, held_out_share=0.1))
    second = shop.run()
    assert second.base_version_id == first.model_version_id
    assert (
        shop.trainer.calls[1]["model_folder"] == registry.read_version(shop.engine, first.model_version_id).folder
    )
    assert {question.id for question in shop.trainer.calls[1]["questions"]} <= new
    assert second.metrics["held_out"] >= 40, "what was held out once is judged by ever after"
    served = registry.serving(shop.engine, BASE)
    assert (second.outcome, served.parent_id) == ("promoted", first.model_version_id)


def test_what_a_refused_or_rolled_back_model_had_learnt_comes_again(shop):
    shop.trainer.knows = 30
    assert shop.run().outcome == "refused"
    shop.trainer.knows = 90
    assert shop.run().outcome == "promoted"
    first, second = ({question.id for question in call["questions"]} for call in shop.trainer.calls)
    assert first == second
    failed = shop.run()
    assert failed.reason == "too_little", "what serves has learnt it all"
    registry.rollback(shop.engine, base=BASE, by="me", reason="")
    assert shop.run().outcome == "promoted"
    assert {question.id for question in shop.trainer.calls[2]["questions"]} == first


# --- too little, no rights ---


def test_the_schedule_skips_until_enough_labels_have_come(shop):
    shop.trainer.knows = 30
    assert shop.run(by="schedule").outcome == "refused"
    shop.label(7)
    done = shop.run(by="schedule")
    assert (done.state, done.outcome) == ("done", "skipped")
    assert done.detail == "skipped: 7 new labels of 60 wanted"
    shop.plan = replace(shop.plan, after_labels=7)
    assert shop.run(by="schedule").outcome == "refused"
    assert len(shop.trainer.calls) == 2


def test_a_failed_training_is_not_tried_again_by_the_schedule_but_by_a_person(shop):
    shop.trainer.raises = MemoryError()
    assert shop.run(by="schedule").reason == "out_of_memory"
    shop.trainer.raises = None
    assert shop.run(by="schedule").detail == "skipped: 0 new labels of 60 wanted"
    assert shop.run().outcome == "promoted"


def test_without_consent_the_schedule_skips_and_a_person_is_told(shop):
    shop.archive.consent(PEOPLE, granted=False)
    skipped = shop.run(by="schedule")
    assert skipped.outcome == "skipped"
    assert "nothing may be trained on" in skipped.detail
    failed = shop.run()
    assert (failed.state, failed.reason) == ("failed", "too_little")
    assert "100 no_consent" in failed.detail
    assert (shop.trainer.calls, shop.count(curation)) == ([], 0)


def test_a_held_out_set_that_would_leak_is_refused_with_counts(shop):
    shop.plan = replace(shop.plan, parameters=replace(shop.plan.parameters, whole_folders=True))
    failed = shop.run()
    assert failed.reason == "too_little"
    assert "a held-out set would leak: 100 photographs hang together in 1 groups" in failed.detail


def test_rights_that_are_reserved_in_between_hold_for_what_is_judged_by_too(shop):
    shop.trainer.knows = 30
    shop.run()
    with shop.engine.begin() as connection:
        held = "SELECT DISTINCT image_id FROM curation_member WHERE side = 'held_out'"
        connection.execute(
            text(f"UPDATE image SET data_mining = 'DMI-PROHIBITED' WHERE id IN ({held} ORDER BY 1 LIMIT 2)")
        )
    done = shop.run()
    assert done.metrics["held_out_left_out"] == {"withdrawn": 2}
    with shop.engine.connect() as connection:
        ever_held = len(connection.execute(text(held)).all())
    assert done.metrics["held_out"] == ever_held - 2


def test_originals_that_are_gone_are_left_out_and_counted(shop):
    for path in sorted(shop.archive.folder.glob("*.png"))[:10]:
        path.unlink()
    done = shop.run()
    left_out = done.metrics["questions_left_out"], done.metrics["held_out_left_out"]
    assert sum(each.get("not_found", 0) for each in left_out) == 10
    assert done.outcome == "promoted"


def test_a_photograph_that_one_model_was_not_shown_counts_for_neither(shop):
    """It vanishes between the two examinations."""
    asked = []

    def load_engine(name):
        asked.append(name)
        if len(asked) == 2:
            with shop.engine.connect() as connection:
                uris = connection.execute(
                    text("SELECT uri FROM curation_member WHERE side = 'held_out' ORDER BY sha256 LIMIT 5")
                ).scalars()
                for uri in uris.all():
                    (shop.archive.folder / uri.rpartition("/")[2]).unlink()
        return NameEngine(name, shop.cities)

    done = shop.run(load_engine=load_engine)
    assert done.metrics["unread"] == 5
    assert done.metrics["verdict"]["n"] == 35


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), RunReason.OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), RunReason.OUT_OF_MEMORY),
        (OSError(errno.ENOSPC, "No space left on device"), RunReason.DISK_FULL),
        (RunStopped("entropy_collapse", "0.001 nats"), RunReason.ENTROPY_COLLAPSE),
        (RunStopped("reward_hacking", "up and down"), RunReason.REWARD_HACKING),
        (RunStopped("no_variance", "all the same"), RunReason.NO_VARIANCE),
        (RewardFailed("x1", "geo", "no such place"), RunReason.REWARD_FAILED),
        (SetupError("lower learning_rate"), RunReason.WRONG_SETUP),
        (ZeroDivisionError("a defect"), RunReason.INTERNAL_ERROR),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_training_that_fails_has_its_reason_and_leaves_what_serves_alone(shop, error, reason):
    shop.trainer.raises = error
    failed = shop.run()
    assert (failed.state, failed.reason) == ("failed", reason)
    assert failed.detail
    assert (shop.serving(), shop.count(promotion), shop.count(model_version)) == (None, 0, 1)  # 1: the gate
    assert not output_of(shop.plan, failed.id).parent.exists(), "nothing half-made is left on the disk"
    assert not look(shop.engine).at_work


def test_a_trained_model_that_fails_on_every_photograph_is_never_served(shop):
    shop.fails.add("model-1-knows-90")
    failed = shop.run()
    assert (failed.state, failed.reason) == ("failed", "model_unusable")
    assert "it breaks" in failed.detail
    assert shop.serving() is None


def test_a_recipe_that_is_wrong_is_told_before_anything_is_done(shop):
    with take(shop.engine, Asked("person", BASE, "no-such-recipe")) as run:
        run_cycle(run, shop.plan, shop.parts(load_recipe=load_grpo_recipe))
    with shop.engine.connect() as connection:
        row = connection.execute(select(training_run)).one()
    assert (row.state, row.reason, row.curation_id) == ("failed", "wrong_setup", None)
    assert "no-such-recipe" in row.detail


def test_a_person_who_promotes_in_between_is_not_overruled(shop, tmp_path):
    other = registry.register(
        shop.engine,
        write_model(tmp_path / "by-hand", 20),
        base=BASE,
        parent_id=None,
        training_run_id=None,
        curation_id=None,
        metrics={},
    )
    asked = []

    def load_engine(name):
        asked.append(name)
        if len(asked) == 2:
            registry.promote(shop.engine, other.id, base=BASE, by="anna", reason="", evidence={})
        return NameEngine(name, shop.cities)

    done = shop.run(load_engine=load_engine)
    assert (done.outcome, shop.serving()) == ("refused", other.id)
    assert "what serves was changed" in done.detail


# --- cancelled, left, lost ---


def test_a_cancelled_training_ends_as_such(shop):
    with take(shop.engine, Asked("person", BASE, "atlas_cpu")) as run:

        def during(step):
            if step == 2:
                cancel(shop.engine)
                wait_for(run.is_cancelled, "the flag to be seen")

        shop.trainer.during = during
        run_cycle(run, shop.plan, shop.parts())
    with shop.engine.connect() as connection:
        ended = connection.execute(select(training_run)).one()
    assert ended.state == "cancelled"
    assert ended.detail.startswith("cancelled at step ")
    assert shop.serving() is None
    assert not output_of(shop.plan, ended.id).parent.exists()


def test_a_run_that_was_left_in_training_goes_on_with_the_same_photographs(shop):
    stopping = threading.Event()
    shop.trainer.during = lambda step: stopping.set() if step == 3 else None
    left = shop.run(stopping=stopping)
    assert (left.state, left.outcome) == ("queued", None)
    assert left.detail == "interrupted at step 3 of ?; the next training goes on with it"
    shop.trainer.during = None
    shop.label(10)  # they are for the next run
    done = shop.run()
    assert (done.id, done.outcome, done.curation_id) == (left.id, "promoted", left.curation_id)
    first, second = shop.trainer.calls
    for name in ("model_folder", "output", "seed"):
        assert first[name] == second[name], f"{name}: the trainer goes on only when called alike"
    assert [question.id for question in first["questions"]] == [question.id for question in second["questions"]]
    assert shop.count(curation) == 1


def test_a_run_that_was_lost_after_training_does_not_train_again(shop):
    def breaks(name):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.run(load_engine=breaks)
    done = shop.run()
    assert (done.outcome, len(shop.trainer.calls)) == ("promoted", 1)


def test_a_process_that_dies_after_the_promotion_has_promoted(shop):
    class Died(BaseException):
        pass

    def promote(*args, **given):
        registry.promote(*args, **given)
        raise Died

    with pytest.raises(Died):
        shop.run(promote=promote)
    lost = look(shop.engine).open
    assert (lost.state, shop.serving()) == ("running", lost.model_version_id)
    done = shop.run()
    assert (done.id, done.outcome, shop.count(promotion)) == (lost.id, "promoted", 1)


# --- with the real trainer and engine ---


@pytest.fixture
def atlas_archive(database, tmp_path):
    """Scenes of the Atlas as an archive with labels, and settings for the untrained tiny model."""
    import csv
    import hashlib
    import uuid

    from sqlalchemy import insert

    from atlas.archive import write_split
    from atlas.model import build_vlm
    from atlas.world import load_world
    from schema import queries
    from schema.tables import image, job
    from worker.intake.uri import file_uri

    folder = tmp_path / "pictures"
    truth = write_split(folder, load_world(), "test", 60, side_px=112, gps_share=0.0)
    with database.engine.begin() as connection:
        gate = {"kind": "gate", "name": "clip", "version": "1", "untrained": False}
        gate_id = connection.execute(queries.models.ENSURE_MODEL_VERSION, gate).scalar_one()
        collection_id = connection.execute(queries.collections.ENSURE_COLLECTION, {"name": "atlas"}).scalar_one()
        granted = {"name": "atlas", "granted": True, "granted_by": "anna"}
        connection.execute(queries.collections.SET_TRAINING_CONSENT, granted)
        for number, row in enumerate(csv.DictReader(truth.read_text().splitlines())):
            path = folder / row["file"]
            vector = np.random.default_rng(number).normal(size=32)
            image_id = connection.execute(
                insert(image)
                .values(
                    sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                    format="jpeg",
                    width_px=112,
                    height_px=112,
                    size_bytes=path.stat().st_size,
                    embedding=list(vector / np.linalg.norm(vector)),
                    embedding_model_id=gate_id,
                )
                .returning(image.c.id)
            ).scalar_one()
            connection.execute(
                insert(job).values(
                    id=str(uuid.uuid4()),
                    collection_id=collection_id,
                    uri=file_uri(path),
                    image_id=image_id,
                    state="done",
                    outcome="known",
                )
            )
            connection.execute(
                insert(label).values(
                    image_id=image_id,
                    source="import",
                    lat=float(row["lat"]),
                    lon=float(row["lon"]),
                    country_code=row["country_code"],
                    region=row["region"],
                    city=row["city"],
                    geoname_id=int(row["geoname_id"]),
                )
            )
    return Settings(
        home=tmp_path / "home",
        database_url=database.url,
        model=str(build_vlm(tmp_path / "untrained")),
        max_tokens=12,
        device="cpu",
        train_after_labels=50,
    )


def few_steps(_):
    """Two steps of sixteen short completions; an untrained model earns nothing, so no alarm may ring."""
    silent = {"entropy_below": None, "entropy_share_of_start": None, "zero_variance_share": None}
    return load_grpo_recipe("atlas_cpu").but(
        steps=2,
        batch_size=16,
        group_size=8,
        max_completion_tokens=12,
        judge_every_steps=None,
        save_every_steps=None,
        alarms={**silent, "accuracy_fall": None},
    )


@pytest.mark.models
def test_the_real_trainer_engine_and_registry_fit_together(atlas_archive, database):
    plan = replace(plan_of(atlas_archive), parameters=Parameters(min_labels=10, held_out_share=0.3, cell_km=5.0))
    parts = replace(parts_of(atlas_archive), load_recipe=few_steps)
    with take(database.engine, Asked("schedule", atlas_archive.model, "tiny", message_id="m1")) as run:
        run_cycle(run, plan, parts)
    with database.engine.connect() as connection:
        done = connection.execute(select(training_run)).one()
    assert (done.state, done.outcome) == ("done", "refused"), done.detail
    assert done.metrics["trained"]["steps"] == 2
    assert set(done.metrics["never_judged"]) == {"visual", "locatable"}
    assert done.metrics["verdict"]["n"] == done.metrics["held_out"] >= 3
    made = registry.read_version(database.engine, done.model_version_id)
    registry.check_files(made)
    from worker.reason.engines.transformers import load_engine

    engine = load_engine(str(made.folder), device="cpu", max_batch=1)
    [said] = engine.generate(_prompt(), Image.new("RGB", (112, 112)), Sampling(max_tokens=4))
    engine.close()
    assert said.tokens <= 4


def _prompt():
    from worker.reason.prompt import build_prompt

    return build_prompt()


@pytest.mark.models
def test_now_trains_in_this_process_and_a_killed_one_is_gone_on_with(atlas_archive, database, tmp_path):
    recipe = few_steps("").but(steps=16, save_every_steps=1)
    path = tmp_path / "few.yaml"
    path.write_text(json.dumps(recipe.model_dump(mode="json")))  # JSON is YAML
    environment = {
        "GLOBETAG_HOME": str(atlas_archive.home),
        "GLOBETAG_DATABASE_URL": database.url,
        "GLOBETAG_MODEL": atlas_archive.model,
        "GLOBETAG_MAX_TOKENS": "12",
        "GLOBETAG_DEVICE": "cpu",
        "GLOBETAG_TRAIN_RECIPE": str(path),
        "OMP_NUM_THREADS": "1",
    }
    program = "from trainer.commands.train_runs import now; now(['--min-labels', '10'])"

    def start():
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GLOBETAG_")}
        return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=inherited | environment)

    def step():
        with database.engine.connect() as connection:
            row = connection.execute(select(training_run)).one_or_none()
        return 0 if row is None else row.progress.get("step", 0)

    planned = CliRunner().invoke(train_runs.now, ["--min-labels", "10", "--dry-run"], env=environment).output
    assert "an estimate" in planned
    assert "nothing was stored or trained" in planned
    assert step() == 0

    process = start()
    try:
        wait_for(lambda: step() >= 3 or process.poll() is not None, "three steps", 200)
        assert process.poll() is None
        refused = CliRunner().invoke(train_runs.now, env=environment)
        assert "is at work" in str(refused.exception)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    wait_for(lambda: not look(database.engine).at_work, "the lock of the killed process to be free")
    again = start()
    try:
        assert again.wait(250) == 0
    finally:
        again.kill()
    with database.engine.connect() as connection:
        done = connection.execute(select(training_run)).one()
    assert (done.state, done.outcome, done.losses) == ("done", RunOutcome.REFUSED, 1)
    assert done.metrics["trained"]["steps"] == 16
