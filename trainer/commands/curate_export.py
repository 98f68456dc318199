"""`globetag curate export`: writes what was kept as a data set that others can learn from."""

from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from worker.settings import load


@click.command(name="export")
@click.argument("distillation")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--all", "every", is_flag=True, help="Every kept sample.  [default: the best one of each photograph]"
)
@click.option("--without-pictures", is_flag=True, help="Write where the pictures are, not the pictures.")
@click.option(
    "--reduce-above-mb",
    type=click.FloatRange(min=0),
    default=8.0,
    show_default=True,
    help="Larger originals are written as JPEG at the size that models look at.",
)
@click.option(
    "--threads", type=click.IntRange(1, 64), default=8, show_default=True, help="Pictures fetched at once."
)
def command(
    distillation: str, folder: Path, every: bool, without_pictures: bool, reduce_above_mb: float, threads: int
) -> None:
    """Write the kept samples of DISTILLATION (its name or number) to the new FOLDER: parquet and a data card.

    The columns are those of MP16-Reason (images, response, solution, entities) and ours. Pictures are taken from
    their source now, and only if they are what the teachers saw. Rights are looked at again: what has been
    withdrawn or held out since is left out. All that is left out is counted.
    """
    from schema import queries
    from trainer.curate.output.card import write_card
    from trainer.curate.output.rows import read_kept
    from trainer.curate.output.summary import summarise
    from trainer.curate.output.write import write_dataset
    from trainer.curate.sources import held_out_hashes
    from worker.assemble import fetch_limits
    from worker.database import open_database
    from worker.errors import SetupError
    from worker.intake.fetch import Fetcher
    from worker.intake.limits import Limits

    settings, _ = load()
    limits = Limits(bytes=int(settings.max_file_mb * 1e6), pixels=int(settings.max_megapixels * 1e6))
    with ExitStack() as stack:
        engine = stack.enter_context(open_database(settings)).engine
        summary = summarise(engine, distillation)
        with engine.connect() as connection:
            total = (
                connection.execute(queries.distilled.COUNT_KEPT, {"id": summary.id, "all": every}).one().samples
            )
        if not total:
            raise SetupError(
                f"nothing of {summary.name} has been kept (it is {summary.state}): see `globetag curate status`"
            )
        fetch = None if without_pictures else stack.enter_context(Fetcher(fetch_limits(settings))).fetch
        columns = (TextColumn("writing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        progress = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
        task = progress.add_task("", total=total)
        written = write_dataset(
            folder,
            read_kept(engine, summary.id, every=every, held_out=held_out_hashes(engine)),
            source=summary.source,
            fetch=fetch,
            limits=limits,
            reduce_above_mb=reduce_above_mb,
            threads=threads,
            on_row=lambda: progress.advance(task),
            finish=lambda draft, done: write_card(
                draft, summary, done, every=every, pictures=not without_pictures
            ),
        )
    click.echo(
        f"{folder}: {written.rows:,} rows, {written.photographs:,} photographs, {len(written.files)} files,"
        f" {written.size_bytes / 1e6:,.1f} MB"
    )
    for reason, count in written.left_out.most_common():
        click.echo(f"  left out: {count:,} {reason}")
    if written.reduced:
        click.echo(f"  {written.reduced:,} large pictures were written smaller (--reduce-above-mb)")
