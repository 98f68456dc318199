"""`globetag train now|status|cancel|history|worker`: training that runs by itself, and its controls."""

import getpass
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from schema.reasons import RunOutcome
from worker import exit_codes
from worker.errors import SetupError
from worker.settings import Settings, load

if TYPE_CHECKING:
    from sqlalchemy import Engine, Row

    from trainer.cycle.runs import Run

_SHOWN_FIGURES = 6


@click.command()
@click.option("--recipe", help="A recipe's name or a YAML file.  [default: GLOBETAG_TRAIN_RECIPE]")
@click.option("--collection", help="Learn from this collection's labels only.")
@click.option("--min-labels", type=click.IntRange(min=1), help="Fewer to train on are refused.  [default: 100]")
@click.option("--dry-run", is_flag=True, help="Say what would be trained on, with time and memory; train nothing.")
def now(recipe: str | None, collection: str | None, min_labels: int | None, dry_run: bool) -> None:
    """Train now, in this process, on all labels that the serving model has not learnt from, and promote if better.

    A run that was interrupted, or whose process died, is gone on with. Ctrl-C or SIGTERM leaves the run after its
    current step, to be gone on with.
    """
    from trainer.cycle.assemble import parts_of, plan_of
    from trainer.cycle.cycle import run_cycle
    from trainer.cycle.runs import Asked, take
    from trainer.cycle.schedule import training_settings
    from worker.commands.after_promotion import what_follows
    from worker.database import open_database

    settings, _ = load()
    plan = plan_of(settings, min_labels=min_labels)
    parts = parts_of(settings)
    asked = Asked(
        asked_by="person",
        base=settings.model,
        recipe=recipe or settings.train_recipe,
        collection=collection,
        insists=bool(recipe or collection),
        settings={**training_settings(settings), "by": getpass.getuser()},
    )
    with open_database(settings) as database:
        if dry_run:
            _dry_run(database.engine, settings, asked.recipe, collection, min_labels)
            return
        with _stopping() as stopping, take(database.engine, asked, stopping=stopping) as run:
            assert run is not None  # only a message can have been dealt with before
            with _telling(run):
                run_cycle(run, plan, parts)
            row = _read(database.engine, run.id)
        if row.outcome == RunOutcome.PROMOTED:
            follows = what_follows(database.engine, settings)
    _tell_end(row)
    if row.outcome == RunOutcome.PROMOTED:
        click.echo(follows)


@click.command()
def status() -> None:
    """Show how training stands: the run at work, or how the last one ended."""
    from trainer.cycle.runs import history, look
    from worker.database import open_database

    settings, _ = load()
    with open_database(settings) as database:
        standing = look(database.engine)
        rows = history(database.engine, 1)
    if standing.open is None:
        click.echo("no training is at work" + ("" if rows else ", and there was none yet"))
        if rows:
            click.echo(f"the last: run {rows[0].id}, {_end(rows[0])}")
        return
    row = standing.open
    if standing.at_work:
        state = (
            f"at work, asked to end at {_time(row.cancel_requested_at)}" if row.cancel_requested_at else "at work"
        )
    elif row.state == "queued":
        state = "left, to be gone on with by the next training"
    else:
        state = "its process is gone; the next training goes on with it"
    click.echo(f"run {row.id}: {state}")
    told = {
        "recipe": row.recipe,
        "collection": row.collection or "all",
        "asked by": row.asked_by,
        "begun": _time(row.started_at),
        "last heard of": f"{_time(row.heartbeat_at)} by {row.worker}",
        "stage": _progress(row.progress),
    }
    for name, value in told.items():
        click.echo(f"  {name}: {value}")
    for name, value in list((row.progress.get("figures") or {}).items()):
        click.echo(f"    {name}: {_figure(value)}")


@click.command()
def cancel() -> None:
    """End the run that is at work or was left. The serving model stays as it is."""
    from trainer.cycle.runs import cancel as end
    from worker.database import open_database

    settings, _ = load()
    with open_database(settings) as database:
        stood = end(database.engine)
    if stood.open is None:
        raise SetupError("there is no training to cancel; `globetag train history` shows those that there were")
    if stood.at_work:
        click.echo(f"run {stood.open.id} ends after its current step; `globetag train status` shows when")
    else:
        click.echo(f"run {stood.open.id} is cancelled")


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="So many, the latest.")
def history(limit: int) -> None:
    """Show the latest runs: what they learnt from, what came of it, and whether it serves."""
    from trainer.cycle.runs import history as read
    from worker.database import open_database

    settings, _ = load()
    with open_database(settings) as database:
        rows = read(database.engine, limit)
    table = Table(title="Training runs", title_justify="left")
    for heading in ("run", "when", "asked by", "recipe", "labels", "outcome", "gain", "promoted", "why"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(
            str(row.id),
            _time(row.started_at or row.created_at),
            row.asked_by,
            row.recipe,
            "" if row.labels is None else f"{row.labels:,}",
            row.outcome or (f"failed: {row.reason}" if row.reason else row.state),
            _gain(row.metrics),
            f"version {row.model_version_id}" if row.outcome == "promoted" else "no",
            row.detail or "",
        )
    Console().print(table, markup=False)


@click.command()
@click.option("--beat/--no-beat", default=True, show_default=True, help="Also keep the timetable.")
def worker(beat: bool) -> None:
    """Look for new labels from time to time, train when there are enough, until stopped.

    Also renews the calibrations of the radius: after a promotion, before one expires, when settings have changed.

    Ctrl-C or SIGTERM: the run stops after its current step and is left for the next worker to go on with. A
    second time: stops at once; the next worker goes on from the last checkpoint.
    """
    from trainer.cycle.assemble import parts_of, plan_of
    from trainer.cycle.cycle import run_cycle
    from trainer.cycle.schedule import TrainingService, TrainingWorker, make_training_app
    from trainer.renew.renew import look
    from trainer.renew.watch import Watch
    from worker.assemble import broker_ready
    from worker.database import open_database

    settings, _ = load()
    plan, parts = plan_of(settings), parts_of(settings)
    parts.load_recipe(settings.train_recipe)  # a wrong one is told now, not at night
    with open_database(settings) as database, _stopping() as stopping:
        service = TrainingService(settings, database.engine, lambda run: run_cycle(run, plan, parts))
        app = make_training_app(settings, database.url, service.handle)
        broker_ready(app, settings)
        training = TrainingWorker(app, service, beat=beat)
        training.start()
        calibrations = Watch(
            lambda: look(database.engine, base=settings.model, photographs=settings.calibrate_photographs)
        )
        calibrations.start()
        after = f"{settings.train_after_labels:,} new labels"
        click.echo(
            f"training worker is ready: {settings.train_recipe} after {after}; looks: {settings.train_every}"
        )
        while not stopping.wait(1.0) and training.failure is None:
            pass
        failure = training.failure
        told = "stopping: the run is left after its current step" if failure is None else f"stopping: {failure}"
        click.echo(told, err=True)
        calibrations.stop()
        if not training.stop(at_once=stopping.again):
            click.echo("stopped at once; the run goes on from its last checkpoint", err=True)
            sys.stderr.flush()
            os._exit(exit_codes.INTERRUPTED)  # the thread that trains cannot be ended otherwise
        calibrations.close()
    sys.exit(exit_codes.DONE if failure is None else exit_codes.SETUP_IS_WRONG)


class _Stopping(threading.Event):
    """Set by the first signal; `again` by the second."""

    def __init__(self) -> None:
        super().__init__()
        self.again = threading.Event()


@contextmanager
def _stopping() -> Iterator[_Stopping]:
    stopping = _Stopping()

    def on_signal(*_: object) -> None:
        if stopping.is_set():
            stopping.again.set()
        stopping.set()

    before = {name: signal.signal(name, on_signal) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopping
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


@contextmanager
def _telling(run: "Run", every_s: float = 1.0) -> Iterator[None]:
    """A line that says where the run stands; on a terminal it stays one line, elsewhere each stage has one."""
    console = Console(stderr=True)
    ended = threading.Event()

    def tell() -> None:
        last = ""
        with console.status(f"run {run.id}") as line:
            while not ended.wait(every_s):
                said = f"run {run.id}: {_progress(_read(run.engine, run.id).progress)}"
                line.update(said)
                stage = said.partition(",")[0]
                if not console.is_terminal and stage != last:
                    console.print(stage, markup=False, highlight=False)
                    last = stage

    teller = threading.Thread(target=tell, name="telling", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join()


def _dry_run(
    engine: "Engine", settings: Settings, recipe_name: str, collection: str | None, min_labels: int | None
) -> None:
    from dataclasses import replace

    from schema import queries
    from trainer.curate.curate import curate_database
    from trainer.cycle.assemble import plan_of
    from trainer.cycle.cycle import cannot_judge
    from trainer.cycle.sources import truth_of
    from trainer.grpo.estimate import estimate, needed, table
    from trainer.grpo.questions import Question, columns_of
    from trainer.grpo.recipe import load_grpo_recipe
    from worker.checkpoints import resolve
    from worker.reason.prompt import build_prompt
    from worker.registry import serving

    recipe = load_grpo_recipe(recipe_name)
    plan = plan_of(settings, min_labels=min_labels)
    serves = serving(engine, settings.model)
    with engine.connect() as connection:
        given = {"model_version_id": None if serves is None else serves.id, "collection": collection}
        learnt_until = connection.execute(queries.training.LEARNT_UNTIL, given).scalar_one()
    parameters = replace(plan.parameters, collection=collection, since_label=learnt_until)
    manifest = curate_database(engine, parameters, dry_run=True).manifest
    click.echo(f"recipe: {recipe.name}")
    click.echo(f"starts from: {settings.model if serves is None else f'version {serves.id}, {serves.folder}'}")
    click.echo(f"labels: {manifest.labels_in:,} in, {len(manifest.train):,} to train on")
    for reason, count in sorted(manifest.dropped.items()):
        click.echo(f"  {count:,} {reason}: {reason.sentence}")
    click.echo(f"held out: {len(manifest.held_out):,} of this curation")
    prompt = build_prompt()
    truths = [truth_of(member) for member in manifest.train]
    silent = cannot_judge(recipe, [Question(t.id, _no_picture, prompt, columns_of(t)) for t in truths])
    weights = {name: weight for name, weight in recipe.rewards.by_name.items() if weight > 0}
    for name, weight in weights.items():
        click.echo(f"reward {name}, weight {weight:g}" + (": cannot judge these" if name in silent else ""))
    if truths:
        served = None if serves is None else serves.folder
        base = served or resolve(settings.model, variable="GLOBETAG_MODEL", wanted=needed).folder
        Console().print(table(estimate(base, recipe, questions=len(truths)), recipe))
    click.echo("nothing was stored or trained (--dry-run)")


def _no_picture() -> Any:
    raise AssertionError("a dry run opens no picture")


def _tell_end(row: "Row[Any]") -> None:
    click.echo(f"run {row.id}: {_end(row)}")
    if row.state == "failed":
        from schema.reasons import RunReason

        raise SetupError(f"run {row.id} failed: {RunReason(row.reason).sentence} {row.detail}")
    if row.state in {"queued", "running"}:
        sys.exit(exit_codes.INTERRUPTED)


def _end(row: "Row[Any]") -> str:
    word = row.outcome or (f"failed ({row.reason})" if row.reason else row.state)
    when = f" at {_time(row.finished_at)}" if row.finished_at else ""
    return f"{word}{when}: {row.detail}" if row.detail else f"{word}{when}"


def _progress(progress: Mapping[str, Any]) -> str:
    said = str(progress.get("stage", "starting"))
    if "step" in progress:
        said += f", step {progress['step']:,}" + (f" of {progress['steps']:,}" if progress.get("steps") else "")
    figures = progress.get("figures") or {}
    if progress.get("stage") == "training":
        shown = [f"{name} {_figure(value)}" for name, value in list(figures.items())[:_SHOWN_FIGURES]]
        said += "".join(f", {each}" for each in shown)
    return said


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)


def _gain(metrics: Mapping[str, Any]) -> str:
    gain = (metrics.get("verdict") or {}).get("gain")
    if gain is None:
        return ""
    if gain["low"] is None:
        return f"{100 * gain['value']:+.1f}"
    return f"{100 * gain['value']:+.1f} ({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})"


def _time(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _read(engine: "Engine", run_id: int) -> "Row[Any]":
    from schema import queries

    with engine.connect() as connection:
        return connection.execute(queries.training.TRAINING_RUN, {"id": run_id}).one()
