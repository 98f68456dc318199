"""`globetag enqueue`: photographs into the queue, for workers that run now or later."""

import sys

import click
from rich.console import Console

from schema.messages import DEFAULT_COLLECTION
from worker import exit_codes
from worker.commands.progress import counting
from worker.database import open_database
from worker.intake.sources import Problem, iter_submissions
from worker.queue.enqueue import Enqueued, enqueue
from worker.settings import load

_SHOWN_PROBLEMS = 20


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET…")
@click.option("--collection", default=DEFAULT_COLLECTION, show_default=True, help="The archive they belong to.")
@click.option("--verify", is_flag=True, help="Ask the model also where the camera recorded a place.")
@click.option("--interactive", is_flag=True, help="Before all bulk work.")
@click.option("--recursive/--no-recursive", default=True, show_default=True, help="Sub-folders too.")
@click.option("--dry-run", is_flag=True, help="Only count what would be queued.")
def command(
    targets: tuple[str, ...], collection: str, verify: bool, interactive: bool, recursive: bool, dry_run: bool
) -> None:
    """Put photographs into the queue for workers to place.

    TARGET is a folder, a file, a pattern, a CSV or JSON lines manifest (columns uri or path, and optionally
    collection, text, region, date, verify), s3://bucket/prefix, or a web address. The same photograph enqueued
    twice is one job; one whose file has changed is queued again. Interrupted, it goes on where it stopped.
    """
    settings, _ = load()
    found = iter_submissions(targets, recursive=recursive)
    console = Console(stderr=True)
    if dry_run:
        submissions, problems = 0, []
        with counting(console, "looking") as advance:
            for item in found:
                if isinstance(item, Problem):
                    problems.append(item)
                else:
                    submissions += 1
                advance(1)
        click.echo(f"{submissions:,} photographs would be queued in collection “{collection}”")
        show_problems(console, problems)
        sys.exit(exit_codes.SOME_FAILED if problems else exit_codes.DONE)
    with open_database(settings) as database, counting(console, "queueing") as advance:
        result = enqueue(
            database.engine,
            found,
            collection=collection,
            verify=verify,
            priority=int(interactive),
            on_progress=advance,
        )
    click.echo(describe(result))
    if result.new + result.changed:
        click.echo(f"`globetag cancel --batch {result.batch_id}` takes back what is still queued of them")
    show_problems(console, result.problems)
    sys.exit(exit_codes.SOME_FAILED if result.problems else exit_codes.DONE)


def describe(result: Enqueued) -> str:
    """One line: what became of what was named."""
    parts = [
        (result.new, "new"),
        (result.changed, "changed since"),
        (result.waiting, "queued already"),
        (result.unchanged, "done before and unchanged"),
        (result.failed_before, "failed before and unchanged (`globetag retry --failed` tries again)"),
        (result.repeated, "named more than once"),
        (len(result.problems), "not usable"),
    ]
    told = ", ".join(f"{count:,} {what}" for count, what in parts if count)
    return f"{result.jobs:,} photographs: {told or 'nothing found'}"


def show_problems(console: Console, problems: list[Problem]) -> None:
    """What could not be queued, the first few of it."""
    for problem in problems[:_SHOWN_PROBLEMS]:
        console.print(f"  not queued: {problem.where}: {problem.message}", markup=False, highlight=False)
    if len(problems) > _SHOWN_PROBLEMS:
        console.print(f"  … and {len(problems) - _SHOWN_PROBLEMS:,} more")
