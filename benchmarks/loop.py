"""The closed loop: a worker's model is made better, and exchanged, while the worker goes on answering.

In a home of its own (embedded Postgres, which is the broker too) one `globetag worker` serves `vlm-start` from
first to last, and a few photographs of the Atlas without a position keep arriving:

1. A training worker keeps its timetable and finds too few labels.
2. 500 photographs with a camera position arrive, and the worker makes labels of them. At the next beat the
   training worker curates, trains and judges; `trainer.cycle.verdict` alone decides; the running worker changes
   over by itself.
3. 60 more are labelled. A person asks for a training whose learning rate is absurd: the verdict must refuse it.
4. A rollback: the worker answers with `vlm-start` again.

Learnt from are the curated photographs, with what only the Atlas knows (true cues, how well each can be placed).
Judged by are the Atlas's own test scenes, with photographers as clusters: cities held out of a closed world can
never be learnt (docs/LOG.md, "Curating: what the split costs"). The radius is 200 km, the size of a region: what
so short a training teaches is countries and regions.

`jobs_lost`: jobs that were enqueued and are not done at the end; `changeovers`: how often the version changes
along the rows of `prediction`, 2 where each exchange is seen exactly once; `gain_points`: share within the radius,
new minus serving, with its 95 % interval; `worse_points`: the same of the spoilt model. A training is seeded by
its run's number, which depends on how often the beat has looked before; so figures differ a little from time to
time. `--quick` takes fewer steps and scenes and ends within ten minutes on two idle cores.

The verdict may refuse the training: it makes models that answer somewhat more often where nothing can be told, and
among a few hundred such scenes chance may take that beyond what is tolerated (docs/LOG.md). `promoted` is 0 then,
and `rolled_back` is not measured. The reasons stand on standard error.

Long because the stages are one story, and what they wait for and count is told beside them.

Long because it is one story that is read from top to bottom: archive, workers, three trainings, what is counted.
"""

import argparse
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Engine as SqlEngine
from sqlalchemy import Row, func, select

from atlas import WEIGHTS
from atlas.archive import write_split
from atlas.exam import MAX_TOKENS, Paper, set_paper
from atlas.questions import columns_of, read_cues
from atlas.scenes import scene
from atlas.world import World, load_world
from benchmarks import harness
from benchmarks.work import wait_until_settled
from schema import queries
from schema.reasons import JobState, RunOutcome, RunState
from schema.tables import job, label, model_version, prediction, promotion_failure, training_run
from trainer.curate.labels import Side
from trainer.curate.manifest import Stored
from trainer.curate.originals import Fetch, Original
from trainer.cycle.assemble import parts_of, plan_of
from trainer.cycle.cycle import Parts, Plan, run_cycle
from trainer.cycle.runs import Asked, cancel, take
from trainer.cycle.schedule import TrainingService, TrainingWorker, make_training_app, training_settings
from trainer.cycle.sources import HeldOut, Questions, archive_questions
from trainer.grpo.recipe import load_grpo_recipe
from worker import embedded, registry
from worker.assemble import broker_ready
from worker.database import Database, open_database
from worker.errors import SetupError
from worker.intake.limits import Limits
from worker.intake.sources import Submission
from worker.intake.uri import file_uri
from worker.queue.enqueue import Enqueued, enqueue
from worker.settings import Settings, load

T = TypeVar("T")

_ROOT = Path(__file__).parents[1]
_SPLIT = "train"
_LABELLED = 30_000_000
"""The first scene that is labelled here; nothing else uses this one and the next two million."""
_ARRIVING = 31_000_000
_LABELS, _MORE_LABELS, _LEAST_LABELS = 500, 60, 20
"""Before the beat fires; for the spoilt training, and what may be learnt from at least, as a person may choose."""
_FEW, _PAUSE_S, _MOST_ARRIVALS = 4, 2.0, 900
_COLLECTION = "atlas"
_RADIUS_KM = 200
_BEAT_S = 5
_WORSE_STEPS, _WORSE_LEARNING_RATE = 10, 1e-2
_SILENT = {
    "entropy_below": None,
    "entropy_share_of_start": None,
    "zero_variance_share": None,
    "accuracy_fall": None,
}
"""No alarm may stop the spoilt training: it is the verdict that must refuse what comes of it."""
_LOOK_EVERY_S = 0.2
_WAIT_S = 600.0
_STEP_S, _SCENE_S = 60.0, 5.0  # a training is waited for as long as a much slower machine would take
_STEPS_BETWEEN_LINES = 10
_ENDS = {RunState.DONE, RunState.FAILED, RunState.CANCELLED}
_KNOWN_HERE = ("placeable", "p_placeable", "true_cues", "entities")

_began_s = time.monotonic()


@dataclass(frozen=True, slots=True)
class Size:
    """Steps of the training, test scenes that models are judged by, how often in mid-training, and labels that the
    beat fires at."""

    steps: int
    scenes: int
    judge_every_steps: int | None
    labels: int = _LABELS


FULL = Size(steps=120, scenes=1500, judge_every_steps=50)
QUICK = Size(steps=100, scenes=1000, judge_every_steps=None)


def main() -> None:
    """Runs the loop once and reports. Ends with an error where a stage does not come about at all."""
    parser = harness.arguments(__doc__)
    parser.add_argument(
        "--steps", type=int, help=f"of the training  [default: {FULL.steps}, quick: {QUICK.steps}]"
    )
    parser.add_argument(
        "--scenes", type=int, help=f"held-out test scenes  [default: {FULL.scenes}, quick: {QUICK.scenes}]"
    )
    parser.add_argument(
        "--labels", type=int, default=_LABELS, help="that the beat fires at  [default: %(default)s]"
    )
    given: argparse.Namespace = parser.parse_args()
    usual = QUICK if given.quick else FULL
    size = Size(given.steps or usual.steps, given.scenes or usual.scenes, usual.judge_every_steps, given.labels)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that worker and Postgres are ended too
    os.environ["OMP_NUM_THREADS"] = "1"  # torch is not loaded yet; trainer and worker share two cores
    with _own_home() as home:
        environment = _environment(home, size)
        settings, _ = load(environment)
        world = load_world()
        say(f"writing {size.scenes} test scenes")
        paper = set_paper(home / "test", world, "test", size.scenes)
        with open_database(settings) as database, _worker(home, environment) as process:
            loop = Loop(settings, database, process, home, world, paper, size)
            try:
                figures = loop.run()
            except BaseException:
                loop.arrivals.abandon()
                raise
            say("the worker drains and stops")
            process.terminate()
            if (ended := process.wait(_WAIT_S)) != 0:
                raise SetupError(f"the worker ended with exit code {ended}: {_tail(home / 'worker.log')}")
            figures |= loop.count()
    figures["minutes"] = (time.monotonic() - _began_s) / 60
    units = {name: "points" for name in figures if name.startswith("gain_") or name.endswith("_points")}
    units |= {"minutes": "min", "jobs": "jobs", "jobs_lost": "jobs"}
    harness.report("loop", figures, {name: units.get(name, "1") for name in figures})


class Loop:
    """The stages, in order. Everything that is counted comes from the database."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        process: subprocess.Popen[bytes],
        home: Path,
        world: World,
        paper: Paper,
        size: Size,
    ) -> None:
        self._settings = settings
        self._database = database
        self._process = process
        self._home = home
        self._world = world
        self._labelled = size.labels
        self._plan: Plan = plan_of(settings, min_labels=min(100, size.labels // 2))
        self._parts: Parts = replace(
            parts_of(settings),
            questions=AtlasSource(world),
            held_out=HeldOutScenes(paper),
            cue_reader=read_cues,
        )
        self._patience_s = _WAIT_S + size.steps * _STEP_S + 3 * size.scenes * _SCENE_S
        self._enqueued = 0
        self.arrivals = Arrivals(database, world, home / "arriving")

    def run(self) -> dict[str, float | None]:
        """All stages; returns what came of them. Raises `SetupError` where one does not come about."""
        engine = self._database.engine
        self._wait(lambda: "is ready" in _read(self._home / "worker.log"), "the worker to be ready")
        with engine.begin() as connection:
            connection.execute(queries.collections.ENSURE_COLLECTION, {"name": _COLLECTION})
            granted = {"name": _COLLECTION, "granted": True, "granted_by": "benchmark"}
            connection.execute(queries.collections.SET_TRAINING_CONSENT, granted)
        self.arrivals.start()
        self._wait(self._turns, "the first answer of the worker")
        made = self._trained_by_itself()
        promoted = made.outcome == RunOutcome.PROMOTED
        if promoted:
            self._wait(
                lambda: self._turns()[-1] == made.model_version_id,
                f"the running worker to answer with version {made.model_version_id}",
            )
            say(f"the running worker answers with version {made.model_version_id}")
        worse = self._asked_for_worse()
        still = registry.serving(engine, self._settings.model)
        untouched = (still.id if still else None) == (made.model_version_id if promoted else None)
        rolled_back = self._rolled_back(made.model_version_id) if promoted else None
        self.arrivals.stop()
        gain = _gain(made)
        return {
            "promoted": float(promoted),
            "worse_refused": float(worse.outcome == RunOutcome.REFUSED and untouched),
            "rolled_back": rolled_back,
            "gain_points": gain["value"],
            "gain_low": gain["low"],
            "gain_high": gain["high"],
            "worse_points": _gain(worse)["value"],
        }

    def count(self) -> dict[str, float | None]:
        """What became of all jobs and who answered, once nothing is in work any more."""
        enqueued = self._enqueued + self.arrivals.enqueued
        with self._database.engine.connect() as connection:
            states = connection.execute(select(job.c.state, func.count()).group_by(job.c.state)).all()
            by_version = connection.execute(
                select(model_version.c.id, model_version.c.name, func.count())
                .join(prediction, prediction.c.model_version_id == model_version.c.id)
                .group_by(model_version.c.id, model_version.c.name)
                .order_by(model_version.c.id)
            ).all()
        counts: dict[str, int] = {row.state: row[1] for row in states}
        say(f"{enqueued:,} jobs were enqueued; at the end: {counts}")
        for version_id, name, answers in by_version:
            say(f"version {version_id} ({name}) has given {answers:,} answers")
        turns = self._turns()
        say(f"the versions that answered, in turn: {turns}")
        return {
            "jobs": float(enqueued),
            "jobs_lost": float(enqueued - counts.get(JobState.DONE, 0)),
            "changeovers": float(len(turns) - 1),
        }

    def _trained_by_itself(self) -> Row[Any]:
        """Labels come in while a training worker keeps its timetable. Returns the run that the beat began."""
        service = TrainingService(
            self._settings, self._database.engine, lambda run: run_cycle(run, self._plan, self._parts)
        )
        app = make_training_app(self._settings, self._database.url, service.handle)
        broker_ready(app, self._settings)
        training = TrainingWorker(app, service, beat=True)
        training.start(look=False)  # only the beat sends
        try:
            early = self._wait(self._runs, "the beat to look for labels")
            say(f"the beat has looked, run {early[-1].id}: {early[-1].detail or early[-1].state}")
            self._label(_LABELLED, self._labelled)
            fired = self._wait(
                lambda: next((row for row in self._runs() if row.curation_id), None),
                "the beat to fire: a run that has chosen its photographs",
            )
            if fired.asked_by != "schedule":
                raise SetupError(f"run {fired.id} was asked for by {fired.asked_by}, not by the schedule")
            say(f"the beat has fired: run {fired.id}")
            return self._follow(fired.id, lambda: training.failure)
        finally:
            training.stop()
            cancel(self._database.engine)  # a look that was interrupted by the stop would wait to be gone on with

    def _asked_for_worse(self) -> Row[Any]:
        """A person trains with an absurd recipe, as `globetag train now` does. Returns the run."""
        self._label(_LABELLED + self._labelled, _MORE_LABELS)
        engine = self._database.engine
        asked = Asked(
            "person",
            self._settings.model,
            str(self._home / "worse.yaml"),
            insists=True,
            settings=training_settings(self._settings),
        )
        say(f"a person asks for a training at a learning rate of {_WORSE_LEARNING_RATE:g}")

        plan = plan_of(self._settings, min_labels=_LEAST_LABELS)
        stopping = threading.Event()

        def train() -> None:
            with take(engine, asked, stopping=stopping) as run:
                assert run is not None  # only a message can have been dealt with before
                run_cycle(run, plan, self._parts)

        before = self._runs()[-1].id
        with ThreadPoolExecutor(1, "worse") as pool:
            doing = pool.submit(train)

            def failure() -> BaseException | None:
                return doing.exception() if doing.done() else None

            try:
                run_id = self._wait(
                    lambda: next((row.id for row in self._runs() if row.id > before), None),
                    "the training that a person asked for",
                    failure,
                )
                ended = self._follow(run_id, failure)
            finally:
                stopping.set()
            doing.result()
        return ended

    def _rolled_back(self, version_id: int) -> float:
        """1 once the running worker answers with the base again."""
        base_id = self._turns()[0]
        registry.rollback(
            self._database.engine, base=self._settings.model, by="benchmark", reason="to show that it can be"
        )
        say("rolled back")
        self._wait(
            lambda: self._turns()[-1] != version_id,
            f"the running worker to answer with another version than {version_id}",
        )
        say(f"the running worker answers with version {self._turns()[-1]}, the base is {base_id}")
        return float(self._turns()[-1] == base_id)

    def _label(self, start: int, count: int) -> None:
        """Photographs with a camera position; returns when the worker has made labels of all of them."""
        folder = self._home / f"labelled-{start}"
        say(f"writing {count} photographs with a camera position")
        write_split(folder, self._world, _SPLIT, count, start=start, gps_share=1.0)
        before = self._labels()
        queued = _enqueue(self._database.engine, folder)
        self._enqueued += queued.jobs
        wait_until_settled(self._database, queued.batch_id, timeout_s=_WAIT_S, on_look=lambda _: self._check())
        if (made := self._labels() - before) != count:
            raise SetupError(f"{count} photographs with a camera position have given {made} labels")
        say(f"{count} photographs are labelled")

    def _follow(self, run_id: int, failure: Callable[[], BaseException | None]) -> Row[Any]:
        """The run's row when it has ended; says meanwhile where it stands."""
        told = ""

        def ended() -> Row[Any] | None:
            nonlocal told
            row = next(row for row in self._runs() if row.id == run_id)
            if (now := where(row.progress)) != told:
                told = now
                say(f"run {run_id}: {now}")
            return row if row.state in _ENDS else None

        row = self._wait(ended, f"the end of run {run_id}", failure, timeout_s=self._patience_s)
        say(f"run {run_id}: {row.outcome or row.state} {row.reason or ''}: {row.detail}")
        found = row.metrics
        say(f"run {run_id}: labels {found.get('labels')}, questions {found.get('questions')}")
        for check in (found.get("verdict") or {}).get("checks", ()):
            say(f"  {check['name']}: {_WORDS[check['passed']]}: {check['sentence']}")
        for name, figure in (found.get("figures") or {}).items():
            if name.startswith("within_"):
                say(f"  {name}: {points(figure['new'])} against {points(figure['serving'])}, {interval(figure)}")
        return row

    def _wait(
        self,
        look: Callable[[], T | None],
        what: str,
        failure: Callable[[], BaseException | None] = lambda: None,
        *,
        timeout_s: float = _WAIT_S,
    ) -> T:
        """What `look` returns, once that is true. Raises `SetupError` when time is up or a part has failed."""
        deadline_s = time.monotonic() + timeout_s
        while not (seen := look()):
            self._check()
            if (error := failure()) is not None:
                raise SetupError(f"while waiting for {what}: {type(error).__name__}: {error}") from error
            if time.monotonic() > deadline_s:
                raise SetupError(f"waited {timeout_s:.0f} s in vain for {what}; last seen: {self._seen(seen)}")
            time.sleep(_LOOK_EVERY_S)
        return seen

    def _check(self) -> None:
        """Raises `SetupError` where the worker has ended, or photographs no longer arrive."""
        if (ended := self._process.poll()) is not None:
            log = _tail(self._home / "worker.log")
            raise SetupError(f"the worker has ended with exit code {ended}: {log}")
        if self.arrivals.failure is not None:
            raise SetupError(f"no more photographs arrive: {self.arrivals.failure}") from self.arrivals.failure

    def _seen(self, seen: object) -> str:
        with self._database.engine.connect() as connection:
            refused = connection.execute(select(promotion_failure.c.detail)).scalars().all()
        runs = [(row.id, row.state, row.outcome, row.reason, row.progress.get("stage")) for row in self._runs()]
        return f"{seen!r}; answered in turn: {self._turns()}; runs: {runs}; failed promotions: {refused}"

    def _runs(self) -> list[Row[Any]]:
        with self._database.engine.connect() as connection:
            return list(connection.execute(select(training_run).order_by(training_run.c.id)).all())

    def _labels(self) -> int:
        with self._database.engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(label)).scalar_one())

    def _turns(self) -> list[int]:
        with self._database.engine.connect() as connection:
            rows = connection.execute(select(prediction.c.model_version_id).order_by(prediction.c.id)).scalars()
            return turns(rows)


class Arrivals:
    """Photographs without a position, a few at a time; the next few come once those before are done."""

    def __init__(self, database: Database, world: World, folder: Path) -> None:
        self._database = database
        self._world = world
        self._folder = folder
        self._stopping = threading.Event()
        self._abandoned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arrivals", daemon=True)
        self.enqueued = 0
        self.failure: Exception | None = None
        """Why no more come, where that is so."""

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Returns when those that have arrived are done, or could not be: then `failure` says why."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def abandon(self) -> None:
        """Stops without waiting for those that have arrived."""
        self._abandoned.set()
        self.stop()

    def _run(self) -> None:
        try:
            for number in range(_MOST_ARRIVALS):
                if self._stopping.wait(_PAUSE_S):
                    return
                folder = self._folder / f"{number:04}"
                write_split(folder, self._world, _SPLIT, _FEW, start=_ARRIVING + number * _FEW, gps_share=0.0)
                queued = _enqueue(self._database.engine, folder)
                self.enqueued += queued.jobs
                wait_until_settled(
                    self._database, queued.batch_id, timeout_s=_WAIT_S, on_look=lambda _: self._go_on()
                )
            raise SetupError(f"{_MOST_ARRIVALS * _FEW:,} photographs have arrived, and no more are meant to")
        except Exception as error:
            self.failure = error

    def _go_on(self) -> None:
        if self._abandoned.is_set():
            raise SetupError("the benchmark has ended before its time")


class AtlasSource:
    """The curated photographs as questions, with what only the Atlas knows of each."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, curated: Stored, fetch: Fetch, limits: Limits) -> Questions:
        """As `archive_questions`; raises what that raises."""
        asked = archive_questions(curated, fetch, limits)
        numbers = {member.sha256: scene_number(member.uri) for member in curated.side(Side.TRAIN)}
        questions = []
        for question in asked.questions:
            known = columns_of(scene(self._world, _SPLIT, numbers[question.id]))
            columns = {**question.columns, **{name: known[name] for name in _KNOWN_HERE}}
            questions.append(replace(question, columns=columns))
        return Questions(questions, asked.left_out)


class HeldOutScenes:
    """The Atlas's own test scenes, whatever a curation has held out."""

    def __init__(self, paper: Paper) -> None:
        self._truths = paper.truths
        self._files = {truth.id: truth.image for truth in paper.truths if truth.image is not None}
        self._hashes = {id_: sha256(path.read_bytes()).hexdigest() for id_, path in self._files.items()}

    def __call__(self, engine: SqlEngine, curated: Stored, fetch: Fetch, limits: Limits) -> HeldOut:
        """All of them."""
        del engine, curated  # what an archive has held out is not asked about here
        pictures = {
            id_: Original(file_uri(path), self._hashes[id_], fetch, limits) for id_, path in self._files.items()
        }
        return HeldOut(self._truths, pictures, read_cues=read_cues)


_WORDS: Mapping[bool | None, str] = {True: "passed", False: "failed", None: "cannot be judged"}


def scene_number(uri: str) -> int:
    """The number of the scene that a file of `atlas.archive.write_split` shows; `ValueError` for other files."""
    split, dash, number = uri.rpartition("/")[2].removesuffix(".jpg").rpartition("-")
    if not dash or split != _SPLIT:
        raise ValueError(f"{uri} is no scene of the split {_SPLIT!r}")
    return int(number)


def turns(versions: Iterable[int]) -> list[int]:
    """The versions in the order of their answers, each named once for as long as it goes on answering."""
    return [version for version, _ in itertools.groupby(versions)]


def where(progress: Mapping[str, Any]) -> str:
    """In words where a run stands; the same words for several steps."""
    stage = str(progress.get("stage", "starting"))
    if stage != "training" or "step" not in progress:
        return stage
    step = int(progress["step"]) // _STEPS_BETWEEN_LINES * _STEPS_BETWEEN_LINES
    return f"{stage}, step {step}"


def points(share: float | None) -> str:
    """A share in points, one decimal; a dash for none."""
    return "-" if share is None else f"{100 * share:.1f}"


def interval(figure: Mapping[str, float | None]) -> str:
    """Difference and interval of one of `training_run.metrics.figures`, in points."""
    return f"{points(figure['difference'])} ({points(figure['low'])} to {points(figure['high'])})"


def say(text: str) -> None:
    """A line about the progress."""
    print(f"{time.monotonic() - _began_s:6.0f} s  {text}", file=sys.stderr, flush=True)


def _gain(run: Row[Any]) -> dict[str, float | None]:
    """In points; all None where the run has no verdict."""
    gain = (run.metrics.get("verdict") or {}).get("gain") or {}
    found = {name: gain.get(name) for name in ("value", "low", "high")}
    return {name: None if value is None else 100 * value for name, value in found.items()}


def _enqueue(engine: SqlEngine, folder: Path) -> Enqueued:
    """As `globetag enqueue` does."""
    found = [Submission(file_uri(path)) for path in sorted(folder.glob("*.jpg"))]
    queued = enqueue(engine, found, collection=_COLLECTION)
    if queued.new != len(found):
        raise SetupError(f"of {len(found)} photographs in {folder.name} only {queued.new} are new jobs")
    return queued


def _environment(home: Path, size: Size) -> dict[str, str]:
    """The settings of both workers. Writes the two recipes."""
    recipe = load_grpo_recipe("atlas_cpu").but(steps=size.steps, judge_every_steps=size.judge_every_steps)
    worse = recipe.but(
        steps=_WORSE_STEPS,
        learning_rate=_WORSE_LEARNING_RATE,
        alarms=_SILENT,
        judge_every_steps=None,
        save_every_steps=None,
    )
    for name, made in (("recipe", recipe), ("worse", worse)):
        (home / f"{name}.yaml").write_text(json.dumps(made.model_dump(mode="json")))  # JSON is YAML
    return {
        "GLOBETAG_HOME": str(home),
        "GLOBETAG_MODEL": str(WEIGHTS / "vlm-start"),
        "GLOBETAG_CLIP": str(WEIGHTS / "clip"),
        "GLOBETAG_DEVICE": "cpu",
        "GLOBETAG_MAX_TOKENS": str(MAX_TOKENS),
        "GLOBETAG_MODEL_BATCH": "16",
        "GLOBETAG_TRAIN_RECIPE": str(home / "recipe.yaml"),
        "GLOBETAG_TRAIN_EVERY": str(_BEAT_S),
        "GLOBETAG_TRAIN_AFTER_LABELS": str(size.labels),
        "GLOBETAG_TRAIN_RADIUS_KM": str(_RADIUS_KM),
    }


@contextmanager
def _own_home() -> Iterator[Path]:
    """A folder for GLOBETAG_HOME, gone afterwards together with the Postgres in it."""
    with tempfile.TemporaryDirectory(prefix="loop-") as scratch:
        home = Path(scratch, "home")
        home.mkdir()
        try:
            yield home
        finally:
            embedded.stop(home)


@contextmanager
def _worker(home: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """`globetag worker` as a process of its own, ended at the latest with the block. It logs to `worker.log`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GLOBETAG_")}
    with (home / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "worker", "worker"],
            cwd=_ROOT,
            env={**inherited, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _read(file: Path) -> str:
    return file.read_text(errors="replace")


def _tail(file: Path) -> str:
    return _read(file)[-2000:]


if __name__ == "__main__":
    main()
