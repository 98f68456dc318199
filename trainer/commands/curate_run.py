"""`globetag curate run`: asks the teachers, then sifts what they say."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from trainer.commands.distillation import draw, source_of, source_options, teachers_of
from worker import exit_codes
from worker.errors import SetupError
from worker.settings import Settings, load

if TYPE_CHECKING:
    from rich.progress import TaskID
    from sqlalchemy import Engine

    from trainer.curate.distil.asking import Asked, Interrupt
    from trainer.curate.distil.lane import Lane
    from trainer.curate.distil.store import Distillation
    from trainer.curate.distil.verifying import Judged
    from worker.intake.limits import Limits


@click.command()
@source_options
@click.option("--verify-only", is_flag=True, help="Ask nobody; judge anew what was said, of --name or the newest.")
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="NAME=VALUE",
    help="A threshold of verification, such as city_km=50 (docs/curation.md). Any number of times.",
)
@click.option("--no-verify", is_flag=True, help="Only ask.")
@click.option(
    "--patience-s",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    help="So long is a teacher waited for that answers nobody, when no other one has work.",
)
@click.option(
    "--ask-anew",
    multiple=True,
    metavar="TEACHER",
    help="Throw away all that this teacher has said, lift its quarantine, and ask it again.",
)
def command(
    teachers_path: Path | None,
    name: str | None,
    verify_only: bool,
    thresholds: tuple[str, ...],
    no_verify: bool,
    patience_s: float,
    ask_anew: tuple[str, ...],
    **given: Any,
) -> None:
    """Ask the teachers about photographs of known place, and keep of what they say what stands verification.

    May be broken off at any time: the same command goes on, and asks nobody twice about what was answered. Ctrl-C
    lets answers that are under way arrive; a second one leaves them. A teacher that is away is waited for or asked
    the next time. One whose answers are no answers is quarantined; the others go on.

    Exit codes: 0 done; 1 the set-up is wrong, or no teacher can be asked; 3 some questions are open, because a
    teacher is away or quarantined; 130 interrupted.
    """
    source = source_of(given)
    if verify_only and (no_verify or ask_anew):
        raise click.UsageError("--verify-only asks nobody")
    settings, _ = load()
    chosen = _thresholds(thresholds)
    if verify_only:
        sys.exit(_verify_only(settings, name, chosen))
    from trainer.curate.distil.store import ask_anew as throw_away
    from trainer.curate.distil.store import get, open_distillation, run_lock
    from worker.database import open_database

    teachers = teachers_of(teachers_path, settings)
    console = Console(stderr=True)
    with open_database(settings) as database:
        engine = database.engine
        with console.status("reading …"):
            drawn = draw(engine, source)
        if not drawn.found.subjects:
            raise SetupError(
                "the source has no photograph of known place that may be asked about; see curate plan"
            )
        stored, added = open_distillation(
            engine,
            name or drawn.name,
            source=drawn.described,
            subjects=drawn.found.subjects,
            teachers=teachers,
            collection=drawn.collection,
            curation_id=drawn.curation_id,
        )
        click.echo(f"{stored.name}: {len(drawn.found.subjects):,} photographs, {added:,} of them new to it")
        with run_lock(engine, stored):
            for teacher in ask_anew:
                click.echo(f"{teacher}: {throw_away(engine, stored, teacher):,} answers were thrown away")
            code = _run(
                engine, settings, get(engine, stored.id), chosen, console, patience_s, verify=not no_verify
            )
    sys.exit(code)


def _run(
    engine: "Engine",
    settings: Settings,
    stored: "Distillation",
    thresholds: dict[str, Any],
    console: Console,
    patience_s: float,
    *,
    verify: bool,
) -> int:
    from trainer.curate.distil.asking import Surroundings, ask, finish
    from worker.assemble import fetch_limits
    from worker.intake.fetch import Fetcher

    with _interruptible() as interrupt, Fetcher(fetch_limits(settings)) as fetcher:
        surroundings = Surroundings(
            fetcher.fetch,
            limits=_limits(settings),
            recall_everywhere=settings.recall == "archive",
            near_duplicate_cosine=settings.near_duplicate_cosine,
            patience_s=patience_s,
        )
        try:
            with _bars(console, interrupt) as watch:
                asked = ask(engine, stored, surroundings, interrupt=interrupt, watch=watch)
        except BaseException as error:
            detail = str(error) if isinstance(error, SetupError) else f"{type(error).__name__} ended the run."
            finish(engine, stored, "failed", detail, stored.counts)
            raise
    counts: dict[str, Any] = {"asked": asked.to_json()}
    show_asked(Console(), asked)
    if asked.interrupted:
        finish(engine, stored, "interrupted", "Interrupted; run it again to go on.", counts)
        click.echo("interrupted: run the same command again to go on", err=True)
        return exit_codes.INTERRUPTED
    if verify:
        counts["judged"] = _judge(engine, settings, stored, thresholds, console).to_json()
    finish(engine, stored, "done", _told(asked), counts)
    return exit_codes.SOME_FAILED if asked.away or asked.quarantined else exit_codes.DONE


def _verify_only(settings: Settings, name: str | None, thresholds: dict[str, Any]) -> int:
    from trainer.curate.distil.asking import finish
    from trainer.curate.distil.store import named, run_lock
    from worker.database import open_database

    with open_database(settings) as database:
        stored = named(database.engine, name)
        with run_lock(database.engine, stored):
            judged = _judge(database.engine, settings, stored, thresholds, Console(stderr=True))
            counts = {**stored.counts, "judged": judged.to_json()}
            # Asking stands as it stood: an interrupted run is still one.
            state = stored.state if stored.state in {"interrupted", "failed"} else "done"
            finish(database.engine, stored, state, stored.detail, counts)
    return exit_codes.DONE


def _judge(
    engine: "Engine", settings: Settings, stored: "Distillation", thresholds: dict[str, Any], console: Console
) -> "Judged":
    from trainer.curate.distil.verifying import verify_distillation
    from trainer.curate.see.seeing import open_eyes
    from trainer.curate.thresholds import Thresholds
    from worker.assemble import fetch_limits
    from worker.commands.progress import counting
    from worker.intake.fetch import Fetcher

    with Fetcher(fetch_limits(settings)) as fetcher:
        with console.status("loading the models that look …"):
            eyes = open_eyes(settings, fetcher.fetch, limits=_limits(settings))
        try:
            with counting(console, "verifying") as advance:
                judged = verify_distillation(
                    engine,
                    stored.id,
                    thresholds=Thresholds.of(thresholds),
                    similarity=eyes.similarity,
                    visible=eyes.visible,
                    parameters={"models": dict(eyes.described)},
                    on_photographs=advance,
                )
        finally:
            eyes.close()
    show_judged(Console(), judged)
    for note in eyes.notes:
        click.echo(f"note: {note}")
    return judged


def _limits(settings: Settings) -> "Limits":
    from worker.intake.limits import Limits

    return Limits(bytes=int(settings.max_file_mb * 1e6), pixels=int(settings.max_megapixels * 1e6))


def _thresholds(given: Sequence[str]) -> dict[str, Any]:
    import yaml

    from trainer.curate.thresholds import Thresholds

    chosen: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise click.UsageError(f"--threshold {each}: expected NAME=VALUE")
        chosen[name.strip()] = yaml.safe_load(value)
    Thresholds.of(chosen)
    return chosen


def _told(asked: "Asked") -> str | None:
    parts = [f"{name} is quarantined ({why})" for name, why in asked.quarantined.items()]
    parts += [f"{name} is away ({why})" for name, why in asked.away.items()]
    return "; ".join(parts) or None


@contextmanager
def _interruptible() -> "Iterator[Interrupt]":
    from trainer.curate.distil.asking import Interrupt

    interrupt = Interrupt()
    previous = {name: signal.signal(name, interrupt) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)


@contextmanager
def _bars(console: Console, interrupt: "Interrupt") -> "Iterator[Any]":
    """One bar for each teacher."""
    from worker.commands.progress import working

    tasks: dict[str, TaskID] = {}
    with working(console) as progress:

        def watch(lanes: "Sequence[Lane]") -> None:
            for lane in lanes:
                if lane.name not in tasks:
                    tasks[lane.name] = progress.add_task(lane.name, total=lane.total, note="")
                note = str(lane.stand)
                if bad := sum(lane.tally.troubled.values()):
                    note += f", {bad:,} troubled"
                if interrupt.gently.is_set() and lane.is_alive:
                    note = "answers under way are waited for; a second Ctrl-C leaves them"
                progress.update(tasks[lane.name], completed=lane.tally.settled, note=note)

        yield watch


def show_asked(console: Console, asked: "Asked") -> None:
    """What came of asking, by teacher."""
    table = Table(title="Asked", title_justify="left")
    for heading in ("teacher", "asked", "answered", "troubled", "left out", "again", "tokens in/out", "stands"):
        table.add_column(heading, justify="left" if heading in {"teacher", "troubled", "stands"} else "right")
    for lane in asked.lanes:
        tally = lane.tally
        table.add_row(
            lane.name,
            f"{tally.asked:,}",
            f"{tally.answered:,}",
            ", ".join(f"{count:,} {trouble}" for trouble, count in sorted(tally.troubled.items())),
            f"{sum(tally.left_out.values()) + tally.postponed:,}",
            f"{asked.were_on_their_way.get(lane.name, 0):,}",
            f"{tally.tokens_in:,}/{tally.tokens_out:,}",
            str(lane.stand),
        )
    if asked.lanes:
        console.print(table, markup=False)
    else:
        console.print("nothing to ask: all that can be answered is answered")
    for name, count in asked.taken_over.items():
        console.print(f"{name}: {count:,} answers were there from other distillations", markup=False)
    again = sum(asked.were_on_their_way.values())
    if again:
        console.print(f"{again:,} questions were under way when an earlier run died, and went out again")
    for name, why in asked.quarantined.items():
        console.print(f"QUARANTINED {name}: {why} Its answers are not used.", markup=False, style="bold red")
    for name, why in asked.away.items():
        console.print(f"AWAY {name}: {why} Run again when it is back.", markup=False, style="bold yellow")


def show_judged(console: Console, judged: "Judged") -> None:
    """What verification came to, step by step."""
    counts = judged.counts
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row(f"{counts.samples:,}", "samples", f"of {judged.photographs:,} photographs")
    for step, by_reason in counts.dropped.items():
        for reason, dropped in sorted(by_reason.items()):
            table.add_row(f"-{dropped:,}", str(reason), f"{step}: {reason.sentence}")
    table.add_row(f"{counts.kept:,}", "kept", f"and the best of each of {judged.chosen:,} photographs chosen")
    console.print(table, markup=False, highlight=False)
    for step, unjudged in counts.unjudged.items():
        console.print(f"{unjudged:,} samples were not judged by the step {step}", style="yellow")
