"""`globetag evaluate`: how good are the answers? From files, a benchmark, a model, or the archive's database."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from trainer.judge import benchmarks, checks
from trainer.judge.as_json import evaluation_to_json, prediction_line, write_json
from trainer.judge.columns import Columns, make_columns
from trainer.judge.compare import compare
from trainer.judge.distance import COMPARISONS, FORMULAS, Distance
from trainer.judge.matching import match
from trainer.judge.metrics import evaluate
from trainer.judge.read import read_predictions, read_truth
from trainer.judge.records import Prediction, Run, Truth
from trainer.judge.report import write_report
from trainer.judge.table import print_evaluation
from worker.commands.progress import working
from worker.errors import SetupError
from worker.intake.uri import shown
from worker.place.gazetteer import Gazetteer
from worker.report.wording import plain
from worker.settings import Settings, load

if TYPE_CHECKING:
    from trainer.judge.canary import Canary
    from worker.reason.engines import Engine

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_RADIANS_ARE_RARE = "OSV-5M's own tools write radians."


@dataclass(frozen=True)
class _Judged:
    """What is to be judged. `other` is a second run over the same truth, `seen` what the canary found."""

    run: Run
    other: Run | None = None
    seen: "Canary | None" = field(default=None)


@click.command()
@click.option("--predictions", type=_FILE, help="CSV, JSON, JSON lines: points, names or raw answers by id.")
@click.option("--truth", type=_FILE, help="The known places, in the same formats.")
@click.option("--compare", "compare_with", type=_FILE, help="A second predictions file, compared image by image.")
@click.option("--benchmark", type=click.Choice(sorted(benchmarks.BENCHMARKS)), help="A benchmark's own files.")
@click.option("--folder", type=_FOLDER, help="Where the benchmark or the pictures lie.")
@click.option("--model", help="Ask this model (hub id or folder) about the pictures in --folder.")
@click.option("--engine", type=click.Choice(["transformers"]), default="transformers", show_default=True)
@click.option("--save", type=_FILE, help="Keep the model's answers as JSON lines, each as it comes.")
@click.option("--allow-missing-images", is_flag=True, help="Pictures that are not there count as misses.")
@click.option("--database", is_flag=True, help="Judge the archive's predictions by its known places.")
@click.option("--collection", help="With --database: only this collection.")
@click.option("--pipeline", help="With --database: this pipeline version.  [default: the latest]")
@click.option("--formula", type=click.Choice(FORMULAS), default="haversine", show_default=True)
@click.option(
    "--radius-km",
    type=click.FloatRange(min=1),
    default=6371.0,
    show_default=True,
    help="The sphere's, for haversine.",
)
@click.option(
    "--comparison",
    type=click.Choice(COMPARISONS),
    default="le",
    show_default=True,
    help="Is a distance of just 25 km within 25 km (le) or not (lt)?",
)
@click.option(
    "--unit",
    type=click.Choice(checks.UNITS),
    default="degrees",
    show_default=True,
    help=f"Of the predictions' coordinates. {_RADIANS_ARE_RARE}",
)
@click.option("--truth-unit", type=click.Choice(checks.UNITS), default="degrees", show_default=True)
@click.option(
    "--expect-n",
    type=click.IntRange(min=1),
    help="The number of images that there must be.",
)
@click.option("--bootstrap", type=click.IntRange(min=0), default=1000, show_default=True, help="0: no intervals.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", "json_path", type=_FILE, help="Write all figures to this file.")
@click.option("--html", "html_path", type=_FILE, help="Write a page with plots to this file.")
def command(**given: Any) -> None:
    """Judge answers against known places.

    \b
    globetag evaluate --predictions P --truth T [--compare P2]
    globetag evaluate --benchmark im2gps3k --folder F (--predictions P | --model M)
    globetag evaluate --truth T --folder F --model M
    globetag evaluate --database [--collection C]

    All images are counted: what has no answer is a miss. Refusals, unreadable answers and failures are told apart.
    Intervals resample photographers where they are known. Whatever would make a figure wrong (swapped or radian
    coordinates, footer rows, repeated ids, files that do not belong together, another number of images) is refused
    with file, row and count.
    """
    options = _Options(**given)
    options.check()
    console = Console(stderr=True)
    distance = Distance(options.formula, options.radius_km, options.comparison)
    with console.status("loading the gazetteer …"):
        gazetteer = Gazetteer.load()
    judged = _from_database(options) if options.database else _from_files(options, gazetteer, console)
    columns = _columns(judged.run, distance, gazetteer, console)
    other = None if judged.other is None else _columns(judged.other, distance, gazetteer, console)
    with console.status("resampling …"):
        evaluation = evaluate(columns, replicates=options.bootstrap, seed=options.seed)
        comparison = None
        if other is not None:
            comparison = compare(columns, other, replicates=options.bootstrap, seed=options.seed)
    print_evaluation(Console(), evaluation, comparison, judged.seen)
    if options.json_path is not None:
        write_json(options.json_path, evaluation_to_json(evaluation, comparison, judged.seen))
    if options.html_path is not None:
        write_report(
            options.html_path,
            columns,
            evaluation,
            made_at=datetime.now().astimezone(),
            other=other,
            comparison=comparison,
            canary=judged.seen,
        )


@dataclass(frozen=True)
class _Options:
    """The command line, by name."""

    predictions: Path | None
    truth: Path | None
    compare_with: Path | None
    benchmark: str | None
    folder: Path | None
    model: str | None
    engine: str
    save: Path | None
    allow_missing_images: bool
    database: bool
    collection: str | None
    pipeline: str | None
    formula: Any
    radius_km: float
    comparison: Any
    unit: Any
    truth_unit: Any
    expect_n: int | None
    bootstrap: int
    seed: int
    json_path: Path | None
    html_path: Path | None

    def check(self) -> None:
        """Raises `click.UsageError` where it is not clear what is to be judged by what."""
        sources = sum((self.database, self.truth is not None, self.benchmark is not None))
        if sources != 1:
            raise click.UsageError("give one truth: --truth FILE, --benchmark NAME --folder F, or --database")
        if self.database:
            if self.predictions or self.model or self.compare_with:
                raise click.UsageError("--database judges the predictions that it holds")
            return
        if self.collection or self.pipeline:
            raise click.UsageError("--collection and --pipeline belong to --database")
        if (self.predictions is None) == (self.model is None):
            raise click.UsageError("give --predictions FILE or --model M")
        if (self.benchmark or self.model) and self.folder is None:
            raise click.UsageError("--folder says where the benchmark or the pictures lie")
        if self.save is not None and self.model is None:
            raise click.UsageError("--save keeps the answers of --model")


def _from_database(options: _Options) -> _Judged:
    from trainer.judge.from_database import read_database
    from worker.database import open_database

    settings, _ = load()
    with open_database(settings) as database:
        found = read_database(database.engine, collection=options.collection, pipeline_version=options.pipeline)
    if options.expect_n is not None:
        checks.refuse_wrong_n(len(found.run.rows), options.expect_n, "the database")
    notes = found.run.notes
    if found.not_asked:
        notes = (*notes, f"{found.not_asked:,} more images have a known place, but this pipeline was not asked.")
    return _Judged(replace(found.run, notes=notes))


def _from_files(options: _Options, gazetteer: Gazetteer, console: Console) -> _Judged:
    with console.status("reading …"):
        title, truths, notes = _truths(options, gazetteer)
    seen, source = None, ""
    if options.model is not None:
        predictions, seen, name = _ask(options, truths, gazetteer, console)
    else:
        assert options.predictions is not None  # by `check`
        name, source = _name(options.predictions), shown(str(options.predictions))
        with console.status(f"reading {options.predictions.name} …"):
            predictions = read_predictions(options.predictions, gazetteer, unit=options.unit)
    run = match(f"{name} on {title}", truths, predictions, source=source or name)
    other = None
    if options.compare_with is not None:
        with console.status(f"reading {options.compare_with.name} …"):
            second = read_predictions(options.compare_with, gazetteer, unit=options.unit)
        source = shown(str(options.compare_with))
        other = match(f"{_name(options.compare_with)} on {title}", truths, second, source=source)
    return _Judged(replace(run, notes=(*notes, *run.notes)), other, seen)


def _truths(options: _Options, gazetteer: Gazetteer) -> tuple[str, list[Truth], tuple[str, ...]]:
    need_images = options.model is not None
    if options.benchmark is not None:
        assert options.folder is not None  # by `check`
        opened = benchmarks.open_benchmark(
            options.benchmark,
            options.folder,
            gazetteer,
            need_images=need_images,
            allow_missing_images=options.allow_missing_images,
            expect_n=options.expect_n,
            unit=options.truth_unit,
        )
        return opened.title, opened.truths, opened.notes
    assert options.truth is not None  # by `check`
    truths = read_truth(options.truth, gazetteer, unit=options.truth_unit)
    if options.expect_n is not None:
        checks.refuse_wrong_n(len(truths), options.expect_n, shown(str(options.truth)))
    notes: list[str] = []
    if need_images:
        assert options.folder is not None  # by `check`
        images = benchmarks.find_images(options.folder)
        truths, notes = benchmarks.with_images(
            truths, images, options.folder, allow_missing=options.allow_missing_images
        )
    return _name(options.truth), truths, tuple(notes)


def _ask(
    options: _Options, truths: list[Truth], gazetteer: Gazetteer, console: Console
) -> "tuple[list[Prediction], Canary, str]":
    from trainer.judge.canary import ask_canary
    from trainer.judge.from_model import Asker, ask_all
    from worker.intake.limits import Limits
    from worker.reason.engines import Sampling

    settings, _ = load()
    model = options.model or settings.model
    limits = Limits(bytes=int(settings.max_file_mb * 1e6), pixels=int(settings.max_megapixels * 1e6))
    sampling = Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature)
    with _keeping(options.save) as keep, _loaded(settings, model, console) as engine:
        asker = Asker(engine, gazetteer, sampling, limits=limits)
        with console.status("asking about blank and shuffled pictures …"):
            seen = ask_canary(asker, truths, seed=options.seed)
        console.print(f"canary: {seen.sentence()}", markup=False, style="bold red" if seen.suspicious else "dim")
        with working(console) as progress:
            bar = progress.add_task("asking", total=len(truths), note="")

            def done(prediction: Prediction) -> None:
                keep(prediction)
                progress.advance(bar)

            predictions = ask_all(asker, truths, threads=2 * settings.transformers_batch, on_done=done)
        identity = engine.identity
    source = f"{identity.name} {identity.version}" + (" (UNTRAINED)" if identity.untrained else "")
    return predictions, seen, source


@contextmanager
def _loaded(settings: Settings, model: str, console: Console) -> "Iterator[Engine]":
    from worker.reason.engines.transformers import load_engine

    with console.status(f"loading {model} …"):
        engine = load_engine(model, device=settings.device, max_batch=settings.transformers_batch)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def _keeping(path: Path | None) -> "Iterator[Any]":
    """Yields what appends each prediction to the file at once, so that an interrupted run keeps its answers."""
    if path is None:
        yield lambda _: None
        return
    if path.exists():
        raise SetupError(
            f"{path} is there already: choose another file for --save, or judge it with --predictions"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", buffering=1) as lines:
        yield lambda prediction: lines.write(prediction_line(prediction) + "\n")


def _columns(run: Run, distance: Distance, gazetteer: Gazetteer, console: Console) -> Columns:
    with working(console) as progress:
        bar = progress.add_task("judging", total=len(run.rows), note="")
        return make_columns(run, distance, gazetteer, on_progress=lambda more: progress.advance(bar, more))


def _name(path: Path) -> str:
    return plain(path.name, 200)
