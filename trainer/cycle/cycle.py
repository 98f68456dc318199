"""One training run from labels to a model that serves, or to the reasons why not. `_cycle` is the straight line.

What comes of each step is stored with the run before the next begins. A run that is gone on with takes from there
what it has: the curation, the model it started from, the trained checkpoint. The serving model is touched by the
last step alone, and by nothing that fails.

Long because the line, its steps and every way in which it can end are read together.
"""

import errno
import logging
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from schema import queries
from schema.reasons import RunOutcome, RunReason
from trainer.curate.curate import curate_database
from trainer.curate.labels import Side
from trainer.curate.manifest import Parameters, Stored, load_manifest
from trainer.cycle.examine import Answers, LoadEngine, ModelUnusable, examine, judge_both, part_of, quick_figures
from trainer.cycle.runs import Run, RunCancelled, RunInterrupted, RunTaken, where_of
from trainer.cycle.sources import HeldOut, HeldOutSource, QuestionSource, archive_held_out, archive_questions
from trainer.cycle.taught import Teach
from trainer.cycle.verdict import Rule, Verdict, decide, figures_of
from trainer.grpo.alarms import RunStopped
from trainer.grpo.questions import Question
from trainer.grpo.recipe import GrpoRecipe
from trainer.judge.records import Prediction
from trainer.rewards.base import RewardFailed
from trainer.rewards.visual import CueReader
from worker.errors import SetupError
from worker.intake.fetch import Fetcher
from worker.intake.fetch_limits import FetchLimits
from worker.intake.limits import Limits
from worker.reason.engines import Sampling
from worker.registry import Registered

log = logging.getLogger(__name__)

_PROGRESS_EVERY = 20
_NEEDS = {"visual": "true_cues", "globe_visual": "entities", "locatable": "p_placeable"}
"""The column that a reward cannot judge without, for those that an archive may not know."""
_MAX_DETAIL_CHARS = 2000


class Trained(Protocol):
    """What `trainer.grpo.reinforce` returns, as far as it is used here."""

    @property
    def folder(self) -> Path: ...
    @property
    def steps(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def history(self) -> Sequence[Mapping[str, float]]: ...
    @property
    def plot(self) -> Path | None: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """What is chosen for a run. `base` is GLOBETAG_MODEL, `folder` where trained models lie.

    `after_labels`: so many photographs must have got a label since the last run before the schedule trains; who
    asks in person is not held to it. `judge_count`: at most so many held-out photographs are asked about in
    mid-training.
    """

    base: str
    folder: Path
    parameters: Parameters
    after_labels: int
    rule: Rule
    sampling: Sampling
    threads: int
    limits: Limits
    fetch_limits: FetchLimits
    device: str | None = None
    judge_count: int = 200


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run is done with: the trainer, the engine, the registry, and where questions come from.

    `reinforce`, `serving`, `register` and `promote` are called as those of `trainer.grpo.reinforce` and
    `worker.registry`; `locate` turns the base's name into a folder. `teach` adds to the questions what is known
    of the photographs beyond their labels. Without `cue_reader` cues are read as the phrases that questions state.
    """

    load_recipe: Callable[[str], GrpoRecipe]
    locate: Callable[[str], Path]
    reinforce: Callable[..., Trained]
    load_engine: LoadEngine
    serving: Callable[..., Registered | None]
    register: Callable[..., Registered]
    promote: Callable[..., None]
    questions: QuestionSource = archive_questions
    held_out: HeldOutSource = archive_held_out
    cue_reader: CueReader | None = None
    teach: Teach | None = None


class Skipped(Exception):
    """There is too little to learn from, and nobody waits for it."""


class TooLittle(SetupError):
    """There is too little that may be learnt from or judged by."""


_REASONS: Mapping[type[BaseException], RunReason] = {
    TooLittle: RunReason.TOO_LITTLE,
    RewardFailed: RunReason.REWARD_FAILED,
    ModelUnusable: RunReason.MODEL_UNUSABLE,
    SetupError: RunReason.WRONG_SETUP,
}
"""The first that fits counts; what is in none is a defect."""


def run_cycle(run: Run, plan: Plan, parts: Parts) -> None:
    """Works on the run until it has an end, whatever that is; how it ended is in its row.

    Raises what the database raises where it stays away: the run is then as lost as if its process had died, and
    is gone on with.
    """
    try:
        _cycle(run, plan, parts)
    except Skipped as said:
        run.finish(RunOutcome.SKIPPED, f"skipped: {said}")
    except RunTaken as taken:
        log.error("%s", taken)
    except (RunCancelled, RunInterrupted):
        _end_early(run, plan)
    except KeyboardInterrupt:
        run.leave(f"interrupted {where_of(_again(run))}")
        raise
    except RunStopped as stopped:
        if stopped.reason == "cancelled":
            _end_early(run, plan)
        else:
            _fail(run, plan, RunReason(stopped.reason), stopped.detail)
    except SQLAlchemyError:
        log.exception("run %d is left: the database is away", run.id)
        raise
    except Exception as error:
        reason = reason_of(error)
        if reason is RunReason.INTERNAL_ERROR:
            log.exception("run %d: a defect", run.id)
        _fail(run, plan, reason, _told(error, reason))


def _cycle(run: Run, plan: Plan, parts: Parts) -> None:
    if _was_promoted(run, plan, parts):
        return
    recipe = parts.load_recipe(run.row.recipe)
    started_from = _start(run, plan, parts)
    curated = _curated(run, plan, started_from)
    with Fetcher(plan.fetch_limits) as fetcher:
        run.stage("fetching")
        asked = parts.questions(curated, fetcher.fetch, plan.limits)
        if parts.teach is not None:
            asked = parts.teach(run, curated, asked, fetcher.fetch)
        held_out = parts.held_out(run.engine, curated, fetcher.fetch, plan.limits)
        silent = cannot_judge(recipe, asked.questions)
        run.found(
            questions=len(asked.questions),
            questions_left_out=dict(asked.left_out),
            held_out=len(held_out.truths),
            held_out_left_out=dict(held_out.left_out),
            cannot_judge=silent,
        )
        trained = _trained(run, plan, parts, recipe, started_from, asked.questions, held_out)
        serving = parts.serving(run.engine, plan.base)
        new = _answers(run, plan, parts, "judging the new model", str(trained), held_out)
        old = _answers(run, plan, parts, "judging the serving model", _name(serving, plan), held_out)
    verdict = _verdict(run, plan, held_out, new, old)
    run.stage("registering")
    registered = parts.register(
        run.engine,
        trained,
        base=plan.base,
        parent_id=started_from,
        training_run_id=run.id,
        curation_id=curated.id,
        metrics=verdict.to_json(),
    )
    run.found(model_version_id=registered.id)
    _promote_or_refuse(run, plan, parts, verdict, registered, serving)


def _was_promoted(run: Run, plan: Plan, parts: Parts) -> bool:
    """Did the process die between the promotion and the word of it?"""
    made, verdict = run.row.model_version_id, run.row.metrics.get("verdict", {})
    serving = None if made is None else parts.serving(run.engine, plan.base)
    if serving is None or serving.id != made or not verdict.get("promoted"):
        return False
    run.finish(RunOutcome.PROMOTED, "; ".join(verdict["reasons"]))
    return True


def _start(run: Run, plan: Plan, parts: Parts) -> int | None:
    """Decides once what the training starts from: the version that serves at the beginning (None: the base).

    The base may have to be downloaded, so it is located only when there is something to train on.
    """
    run.stage("choosing")
    if "start_folder" not in run.row.metrics:
        serving = parts.serving(run.engine, plan.base)
        folder = None if serving is None else str(serving.folder)
        run.found(base_version_id=None if serving is None else serving.id, start_folder=folder)
    started_from: int | None = run.row.base_version_id
    return started_from


def _curated(run: Run, plan: Plan, started_from: int | None) -> Stored:
    """What to learn from: all labels that the model it starts from has not learnt from, as far as rights allow.

    So what a refused, failed or rolled-back run has learnt from comes again. The schedule trains when enough
    labels have come since the last run; asked by a person, what there is must do.
    """
    if run.row.curation_id is not None:
        return load_manifest(run.engine, run.row.curation_id)
    collection = run.row.collection
    with run.engine.connect() as connection:
        fresh = connection.execute(
            queries.training.NEW_LABELS, {"base": plan.base, "collection": collection}
        ).scalar_one()
        given = {"model_version_id": started_from, "collection": collection}
        learnt_until = connection.execute(queries.training.LEARNT_UNTIL, given).scalar_one()
    run.found(new_labels=fresh)
    if run.is_scheduled and fresh < plan.after_labels:
        raise Skipped(f"{fresh:,} new labels of {plan.after_labels:,} wanted")
    chosen = {**asdict(plan.parameters), "collection": collection, "since_label": learnt_until}
    try:
        curated = curate_database(run.engine, Parameters(**chosen))
    except SetupError as error:
        if run.is_scheduled:
            raise Skipped(str(error)) from error
        raise TooLittle(str(error)) from error
    stored = load_manifest(run.engine, curated.id)
    run.found(
        curation_id=stored.id,
        labels={
            "labels_in": stored.labels_in,
            "train": len(stored.side(Side.TRAIN)),
            "held_out": len(stored.side(Side.HELD_OUT)),
            "dropped": {str(reason): count for reason, count in stored.dropped.items()},
        },
    )
    return stored


def _trained(
    run: Run,
    plan: Plan,
    parts: Parts,
    recipe: GrpoRecipe,
    started_from: int | None,
    questions: Sequence[Question],
    held_out: HeldOut,
) -> Path:
    """The folder of the trained checkpoint; trained now, unless an earlier part of this run has done it."""
    kept = run.row.metrics.get("trained")
    if kept is not None and Path(kept["folder"]).is_dir():
        return Path(kept["folder"])
    run.stage("training")
    sample = part_of(held_out, plan.judge_count, seed=run.id)
    seen = _Seen(run)

    def judge(folder: Path) -> Mapping[str, float]:
        found = examine(str(folder), sample, parts.load_engine, plan.sampling, threads=plan.threads)
        return quick_figures(sample, found, plan.rule.radius_km)

    result = parts.reinforce(
        parts.locate(plan.base) if started_from is None else Path(run.row.metrics["start_folder"]),
        questions,
        recipe,
        output_of(plan, run.id),
        seed=run.id,
        cue_reader=parts.cue_reader or (None if _states_cues(questions) else no_cues),
        on_step=seen.step,
        judge=judge,
        is_cancelled=run.is_cancelled,
        device=plan.device,
    )
    run.found(
        trained={
            "folder": str(result.folder.absolute()),
            "steps": result.steps,
            "seconds": result.seconds,
            "first": dict(result.history[0]) if result.history else {},
            "last": dict(result.history[-1]) if result.history else {},
            "plot": None if result.plot is None else str(result.plot),
            "started_from": started_from,
        },
        never_judged=seen.never_judged,
    )
    return result.folder.absolute()


def _answers(run: Run, plan: Plan, parts: Parts, stage: str, name: str, held_out: HeldOut) -> Answers:
    run.stage(stage)
    done = 0

    def on_done(_: Prediction) -> None:
        nonlocal done
        done += 1
        if done % _PROGRESS_EVERY == 0:
            run.progress(step=done, steps=len(held_out.truths))
        run.check()

    return examine(name, held_out, parts.load_engine, plan.sampling, threads=plan.threads, on_done=on_done)


def _verdict(run: Run, plan: Plan, held_out: HeldOut, new: Answers, old: Answers) -> Verdict:
    run.stage("comparing")
    new_columns, old_columns = judge_both(held_out, new, old)
    verdict, comparison = decide(new_columns, old_columns, plan.rule)
    unread = len(new.unread | old.unread)
    run.found(verdict=verdict.to_json(), figures=figures_of(comparison), rule=asdict(plan.rule), unread=unread)
    return verdict


def _promote_or_refuse(
    run: Run, plan: Plan, parts: Parts, verdict: Verdict, registered: Registered, judged_against: Registered | None
) -> None:
    """The last step. A person may have changed what serves meanwhile: then nobody knows which is better."""
    told = "; ".join(verdict.reasons)
    if not verdict.promoted:
        run.finish(RunOutcome.REFUSED, told)
        return
    serves = parts.serving(run.engine, plan.base)
    if (serves and serves.id) != (judged_against and judged_against.id):
        run.finish(RunOutcome.REFUSED, f"what serves was changed while the new model was judged; {told}")
        return
    run.check()
    evidence = {"training_run": run.id, "verdict": verdict.to_json()}
    by = f"training run {run.id}"
    parts.promote(run.engine, registered.id, base=plan.base, by=by, reason=told, evidence=evidence)
    run.finish(RunOutcome.PROMOTED, told)


class _Seen:
    """Tells the run of each step, and notes which rewards ever judged anything."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._least: dict[str, float] = {}

    def step(self, step: int, figures: Mapping[str, float]) -> None:
        for name, share in figures.items():
            if (found := re.fullmatch(r"(?:.*/)?(\w+?)[/_.]cannot_judge", name)) is not None:
                self._least[found[1]] = min(share, self._least.get(found[1], 1.0))
        self._run.progress(step=step, figures=dict(figures))

    @property
    def never_judged(self) -> list[str]:
        """Rewards that could not judge a single completion."""
        return sorted(name for name, share in self._least.items() if share >= 1.0)


def no_cues(_: str) -> frozenset[str]:
    """Reads nothing: for questions of which nobody knows what they show."""
    return frozenset()


def _states_cues(questions: Sequence[Question]) -> bool:
    return any(question.columns.get("true_cues") is not None for question in questions)


def cannot_judge(recipe: GrpoRecipe, questions: Sequence[Question]) -> list[str]:
    """The recipe's rewards that cannot judge any of these questions, since what they need is not known."""
    found = []
    for name, weight in recipe.rewards.by_name.items():
        column = _NEEDS.get(name)
        if name == "locatable" and recipe.rewards.locatable and recipe.rewards.locatable.source == "judge":
            column = None
        if weight > 0 and column and all(question.columns.get(column) is None for question in questions):
            found.append(name)
    return found


def output_of(plan: Plan, run_id: int) -> Path:
    """Where the checkpoint of a run goes; all that belongs to the run lies in the folder above it."""
    return plan.folder.absolute() / f"run-{run_id}" / f"model-{run_id}"


def reason_of(error: BaseException) -> RunReason:
    """Which of the closed list an exception is; looks through what it was raised from."""
    seen: BaseException | None = error
    while seen is not None:
        if _is_out_of_memory(seen):
            return RunReason.OUT_OF_MEMORY
        if _is_disk_full(seen):
            return RunReason.DISK_FULL
        seen = seen.__cause__ or seen.__context__
    for kind, reason in _REASONS.items():
        if isinstance(error, kind):
            return reason
    return RunReason.INTERNAL_ERROR


def _is_out_of_memory(error: BaseException) -> bool:
    """torch is not imported here: on a GPU its error has this name, on a CPU it is a plain RuntimeError."""
    if isinstance(error, RuntimeError) and re.search(r"out of memory|can't allocate memory", str(error)):
        return True
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def _is_disk_full(error: BaseException) -> bool:
    """safetensors' error only says so in words."""
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
    return full or "No space left on device" in str(error)


def _told(error: BaseException, reason: RunReason) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    if reason in {RunReason.INTERNAL_ERROR, RunReason.OUT_OF_MEMORY, RunReason.DISK_FULL}:
        said = f"{type(error).__name__}: {said}"
    return said[:_MAX_DETAIL_CHARS]


def _end_early(run: Run, plan: Plan) -> None:
    """Cancelled, left to be gone on with, or another's by now: what it is, the run knows."""
    row = _again(run)
    try:
        run.check()
    except RunTaken as taken:
        log.error("%s", taken)
    except RunInterrupted:
        run.leave(f"interrupted {where_of(row)}; the next training goes on with it")
    except RunCancelled:
        run.cancelled(f"cancelled {where_of(row)}")
        _clear(plan, run.id)
    else:
        _fail(run, plan, RunReason.INTERNAL_ERROR, "the training ended early, and nobody had asked for it")


def _fail(run: Run, plan: Plan, reason: RunReason, detail: str) -> None:
    run.fail(reason, detail)
    if run.row.model_version_id is None:  # what is registered stays: a person may want it
        _clear(plan, run.id)


def _clear(plan: Plan, run_id: int) -> None:
    """Removes what a run has left on the disk: nobody goes on with it, and it may be what fills the disk."""
    shutil.rmtree(output_of(plan, run_id).parent, ignore_errors=True)


def _again(run: Run) -> Any:
    with run.engine.connect() as connection:
        return connection.execute(queries.training.TRAINING_RUN, {"id": run.id}).one()


def _name(serving: Registered | None, plan: Plan) -> str:
    return plan.base if serving is None else str(serving.folder)
