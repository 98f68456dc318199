"""`globetag curate score` and `globetag curate weights`: GeoReasoner's locatability score, and its weights."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click
from rich.console import Console

from trainer.curate.locatability import (
    DEFAULT_THRESHOLD,
    Weights,
    derive,
    read_weights,
    sentences_of,
    write_weights,
)
from trainer.curate.see.lexicon import ADE20K
from worker.commands.progress import working
from worker.errors import SetupError
from worker.settings import Settings, load

if TYPE_CHECKING:
    from trainer.curate.see.segment import Segmenter

_FILE = click.Path(path_type=Path, dir_okay=False)
_SEGMENTER = "A segmentation model, hub id or folder.  [default: GLOBETAG_SEGMENTER]"


@click.command()
@click.argument("targets", nargs=-1)
@click.option("--collection", help="The photographs of this collection instead.")
@click.option("--weights", "weights_path", type=_FILE, required=True, help="JSON or CSV: a weight for each class.")
@click.option("--segmenter", help=_SEGMENTER)
@click.option("--out", type=_FILE, required=True, help="The CSV to write.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=DEFAULT_THRESHOLD,
    show_default=True,
    help="From this score on a photograph counts as locatable.",
)
@click.option("--device", help="cuda, cuda:1, cpu.  [default: GLOBETAG_DEVICE]")
def score_command(
    targets: tuple[str, ...],
    collection: str | None,
    weights_path: Path,
    segmenter: str | None,
    out: Path,
    threshold: float,
    device: str | None,
) -> None:
    """Score photographs by what covers them: area share times weight, summed over classes.

    TARGETS are files, folders, patterns, manifests, addresses, as of `globetag enqueue`. The score is
    GeoReasoner's (arXiv 2406.18572). Know what it measures before you drop anything by it: nearly the share of
    road in the picture (docs/curation.md).

    Exit codes: 0 scored; 1 the set-up is wrong, or nothing could be scored.
    """
    if bool(targets) == bool(collection):
        raise click.UsageError("give either TARGETS or --collection")
    settings, _ = load()
    weights = read_weights(weights_path)
    model = _segmenter(settings, segmenter, device)
    missing = sorted(set(model.labels) - weights.by_class.keys())
    if len(missing) == len(set(model.labels)):
        raise SetupError(f"{weights_path}: names none of the classes of {model.checkpoint.name}")
    console = Console(stderr=True)
    _tell(console, model, weights, missing, threshold)
    failed, scored, above = _score(console, settings, targets, collection, weights, model, out, threshold)
    told = ", ".join(f"{count:,} {reason}" for reason, count in sorted(failed.items())) or "none"
    click.echo(f"{scored:,} scored, {above:,} of them {threshold:g} or more; not scored: {told}; {out}")
    if model.checkpoint.untrained:
        click.echo("the weights of the segmentation model are random: these scores mean nothing")
    if not scored:
        raise SetupError("nothing could be scored; the file says why, photograph by photograph")


def _score(
    console: Console,
    settings: Settings,
    targets: tuple[str, ...],
    collection: str | None,
    weights: Weights,
    model: "Segmenter",
    out: Path,
    threshold: float,
) -> tuple[Counter[str], int, int]:
    from trainer.curate.scoring import Failed, of_collection, of_targets, score_all, write_rows
    from worker.assemble import fetch_limits
    from worker.database import open_database
    from worker.intake.fetch import Fetcher
    from worker.intake.limits import Limits

    failed: Counter[str] = Counter()
    scored = above = 0
    limits = Limits(bytes=int(settings.max_file_mb * 1e6), pixels=int(settings.max_megapixels * 1e6))
    with Fetcher(fetch_limits(settings)) as fetcher:
        if collection is None:
            items = list(of_targets(targets, fetcher.fetch, limits))
        else:
            with open_database(settings) as database:
                items = of_collection(database.engine, collection, fetcher.fetch, limits)
        with working(console) as bar, _writing(out) as stream:
            task = bar.add_task("scoring", total=len(items), note="")
            for row in write_rows(stream, score_all(items, model, weights), threshold):
                if isinstance(row.outcome, Failed):
                    failed[row.outcome.reason] += 1
                else:
                    scored += 1
                    above += row.outcome.value >= threshold
                bar.advance(task)
    return failed, scored, above


@contextmanager
def _writing(path: Path) -> Iterator[IO[str]]:
    try:
        with path.open("w", encoding="utf-8", newline="") as stream:
            yield stream
    except OSError as error:
        raise SetupError(f"{path}: cannot be written ({error.strerror})") from error


@click.command()
@click.argument("clues", type=_FILE)
@click.option("--out", type=_FILE, required=True, help="The JSON file to write.")
@click.option("--sentences", help="A text encoder, hub id or folder.  [default: GLOBETAG_SENTENCES]")
@click.option("--segmenter", help="Take the classes of this model.  [default: the 150 of ADE20K]")
@click.option("--device", help="cuda, cuda:1, cpu.  [default: GLOBETAG_DEVICE]")
def weights_command(
    clues: Path, out: Path, sentences: str | None, segmenter: str | None, device: str | None
) -> None:
    """Derive the weights of classes from the clues of a game: how plainly do they speak of each?

    CLUES is GeoReasoner's georeasoner_sft.json, or a CSV with the columns image, country, clue; no picture is
    needed. The same file, classes and encoder give the same weights.
    """
    from trainer.curate.see.embed import load_embedder

    settings, _ = load()
    encoder_name = sentences or settings.sentences
    if encoder_name is None:
        raise SetupError("name a text encoder with --sentences or GLOBETAG_SENTENCES, a hub id or a folder")
    texts, unusable = sentences_of(clues)
    classes = _segmenter(settings, segmenter, device).labels if segmenter else ADE20K
    encoder = load_embedder(encoder_name, device=device or settings.device)
    made = {
        "encoder": encoder.checkpoint.name,
        "encoder_version": encoder.checkpoint.version,
        "untrained": encoder.checkpoint.untrained,
        "clue_file": clues.name,
        "clue_file_sha256": hashlib.sha256(clues.read_bytes()).hexdigest(),
    }
    with Console(stderr=True).status(f"comparing {len(texts):,} sentences with {len(classes)} classes …"):
        weights = derive(texts, classes, encoder.embed, made)
    write_weights(out, weights)
    heaviest = ", ".join(f"{name} {weights.by_class[name]:.2f}" for name in weights.able(0.0)[:8])
    click.echo(f"{len(texts):,} sentences, {unusable:,} rows without; heaviest: {heaviest}; {out}")
    if encoder.checkpoint.untrained:
        click.echo("the weights of the text encoder are random: these weights mean nothing")


def _segmenter(settings: Settings, name: str | None, device: str | None) -> "Segmenter":
    chosen = name or settings.segmenter
    if chosen is None:
        raise SetupError("name a segmentation model with --segmenter or GLOBETAG_SEGMENTER, a hub id or a folder")
    from trainer.curate.see.segment import load_segmenter

    return load_segmenter(chosen, device=device or settings.device)


def _tell(console: Console, model: "Segmenter", weights: Weights, missing: list[str], threshold: float) -> None:
    """What must be known before the scores are read."""
    able = weights.able(threshold)
    named = ", ".join(able[:8]) + (", …" if len(able) > 8 else "")
    lines = [
        f"no score can exceed {weights.largest_score:.3f}; {threshold:g} is out of reach without any of: {named}"
        if able
        else f"no picture can reach {threshold:g}: the largest weight is {weights.largest_score:.3f}"
    ]
    if missing:
        lines.append(
            f"{len(missing)} classes of the model have no weight and count as 0: {', '.join(missing[:5])}"
        )
    if model.checkpoint.untrained:
        lines.append("the segmentation model is UNTRAINED: its weights are random, and so are these scores")
    for line in lines:
        console.print(line, markup=False, highlight=False)
