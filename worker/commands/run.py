"""`globetag run`: the whole line in one process, from files to rows and a report."""

import signal
import sys
import threading
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console

from schema import queries
from schema.messages import DEFAULT_COLLECTION
from worker import exit_codes
from worker.assemble import Worker, assemble, load_models
from worker.commands.enqueue import describe, show_problems
from worker.commands.progress import counting, working
from worker.database import Database, open_database
from worker.errors import SetupError
from worker.export.rows import read_rows
from worker.intake.sources import iter_submissions
from worker.queue.enqueue import Enqueued, enqueue
from worker.report.html import RunInfo, write_report
from worker.report.summary import Summary, print_summary
from worker.settings import Settings, load

_LOOK_EVERY_S = 0.4


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="PATH…")
@click.option("--collection", default=DEFAULT_COLLECTION, show_default=True, help="The archive they belong to.")
@click.option("--verify", is_flag=True, help="Ask the model also where the camera recorded a place.")
@click.option("--recursive/--no-recursive", default=True, show_default=True, help="Sub-folders too.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the HTML report.")
def command(targets: tuple[str, ...], collection: str, verify: bool, recursive: bool, report: Path | None) -> None:
    """Place the photographs in PATH… (as for `globetag enqueue`), work until all are settled, and report.

    What was done before and has not changed is not computed again. Ctrl-C finishes what is in work and stops;
    run the same command again to go on. Exit code 3 if any photograph failed.
    """
    settings, _ = load()
    sys.exit(run(settings, targets, collection=collection, verify=verify, recursive=recursive, report=report))


def run(
    settings: Settings,
    targets: tuple[str, ...],
    *,
    collection: str = DEFAULT_COLLECTION,
    verify: bool = False,
    recursive: bool = True,
    report: Path | None = None,
) -> int:
    """Does the run and returns the exit code. Raises `SetupError` before anything is written."""
    console = Console(stderr=True)
    found = iter_submissions(targets, recursive=recursive)
    began = datetime.now().astimezone()
    with ExitStack() as stack:
        database = stack.enter_context(open_database(settings))
        refuse_paused(database, collection)
        with console.status(f"loading {settings.model} and {settings.clip} …"):
            models = stack.enter_context(load_models(settings, database))
            worker = stack.enter_context(assemble(settings, database, models, dispatch=True))
        with counting(console, "queueing") as advance:
            enqueued = enqueue(
                database.engine,
                found,
                collection=collection,
                verify=verify,
                pipeline_version=worker.versions.pipeline_version,
                on_progress=advance,
            )
        click.echo(describe(enqueued))
        show_problems(console, enqueued.problems)
        finished = _work(worker, database, enqueued, console)
        return _conclude(settings, database, worker, enqueued, began, finished, report)


def refuse_paused(database: Database, collection: str) -> None:
    """Raises `SetupError` where a run would wait for ever, because its collection is paused."""
    with database.engine.connect() as connection:
        row = connection.execute(queries.collections.COLLECTION_RULES, {"name": collection}).one_or_none()
    if row is not None and row.paused_at is not None:
        raise SetupError(f"collection {collection!r} is paused: `globetag collection {collection} --resume` first")


def _work(worker: Worker, database: Database, enqueued: Enqueued, console: Console) -> bool:
    """Works until the batch is settled. Returns False when it was interrupted before."""
    if enqueued.new + enqueued.changed + enqueued.waiting == 0:
        click.echo("nothing to compute: every photograph was settled before and has not changed")
        worker.service.close()
        return True
    interrupted, at_once = threading.Event(), threading.Event()

    def on_signal(*_: object) -> None:
        if interrupted.is_set():
            at_once.set()
        interrupted.set()

    previous = {name: signal.signal(name, on_signal) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        worker.runner.start()
        finished = _watch(worker, database, enqueued, console, interrupted)
        if not finished:
            click.echo("finishing what is in work; a second Ctrl-C stops at once", err=True)
        worker.serving.stop()
        worker.runner.stop(at_once=at_once)
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)
    return finished


def _watch(
    worker: Worker, database: Database, enqueued: Enqueued, console: Console, interrupted: threading.Event
) -> bool:
    """Shows the progress until all is settled (True), or until an interrupt or the consumer's end (False)."""
    batch = {"batch_id": enqueued.batch_id}
    with working(console) as progress:
        before = enqueued.unchanged + enqueued.failed_before
        bar = progress.add_task("placing", total=enqueued.jobs - before, note="")
        pause_s = _LOOK_EVERY_S
        while not interrupted.wait(pause_s):
            if worker.failure is not None:
                raise worker.failure
            looked_at = time.monotonic()
            with database.engine.connect() as connection:
                stand = connection.execute(queries.reading.BATCH_PROGRESS, batch).one()
            progress.update(bar, completed=stand.settled - before, note=_note(stand.later, stand.next_due_s))
            if stand.settled == stand.jobs:
                return True
            pause_s = max(_LOOK_EVERY_S, 20 * (time.monotonic() - looked_at))
    return False


def _note(later: int, next_due_s: float | None) -> str:
    if not later or next_due_s is None:
        return ""
    return f"{later:,} wait for another try (next in {max(next_due_s, 0):.0f} s)"


def _conclude(
    settings: Settings,
    database: Database,
    worker: Worker,
    enqueued: Enqueued,
    began: datetime,
    finished: bool,
    report: Path | None,
) -> int:
    """Prints the table, writes the report, and tells the exit code."""
    batch = {"batch_id": enqueued.batch_id}
    with database.engine.connect() as connection:
        summary = Summary.of(connection.execute(queries.reading.BATCH_SUMMARY, batch).all())
    ended = datetime.now().astimezone()
    path = report or settings.reports_folder / f"{began:%Y-%m-%d_%H%M%S}.html"
    info = RunInfo(
        began=began,
        ended=ended,
        model=worker.model,
        gate=worker.gate.identity,
        pipeline_version=worker.versions.pipeline_version,
    )
    rows = read_rows(database.engine, batch_id=enqueued.batch_id)
    write_report(path, title="Globetag run", rows=rows, summary=summary, run=info)
    print_summary(Console(), summary, untrained=worker.is_untrained)
    click.echo(f"report: {path}")
    if not finished:
        click.echo(
            f"interrupted: {summary.open:,} photographs are left; run the same command again to go on", err=True
        )
        return exit_codes.INTERRUPTED
    return exit_codes.SOME_FAILED if summary.failed or enqueued.problems else exit_codes.DONE
