"""`globetag train reward`: a model that tells whether a photograph and the reasons given suffice to place it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.settings import load

if TYPE_CHECKING:
    from trainer.reward_model.data import Labelled, Parted, Target
    from trainer.reward_model.make import Made
    from trainer.sft.recipe import Recipe

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
ARCHIVE = "archive"


@click.command(name="reward")
@click.option("--recipe", "recipe_name", required=True, help="The name of a recipe, or a YAML file like them.")
@click.option("--model", help="Hub id or folder of the model to start from.  [default: GLOBETAG_MODEL]")
@click.option(
    "--from",
    "source",
    metavar=f"DISTILLATION|{ARCHIVE}",
    help="The name or number of a distillation, or the archive's own predictions of known places.",
)
@click.option("--truth", type=_FILE, help="The known places: CSV, JSON or JSON lines, as for `globetag evaluate`.")
@click.option("--predictions", type=_FILE, multiple=True, help="Raw answers about them; may be given many times.")
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the pictures.  [default: that of --truth]",
)
@click.option("--collection", help=f"With --from {ARCHIVE}: only photographs of this collection.")
@click.option(
    "--target",
    type=click.Choice(["country", "25km", "200km", "750km"]),
    default="country",
    show_default=True,
    help="When a place was right.",
)
@click.option(
    "--held-out-share",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.2,
    show_default=True,
    help="Of the samples, by whole places: what calibrates, and is never trained on.",
)
@click.option("--output", type=click.Path(path_type=Path), help="Folder to make: a complete model.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same weights on a CPU.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[default: cuda where there is one]")
@click.option("--dry-run", is_flag=True, help="Say what would be learnt from, and load no model.")
def command(
    recipe_name: str,
    model: str | None,
    source: str | None,
    truth: Path | None,
    predictions: tuple[Path, ...],
    folder: Path | None,
    collection: str | None,
    target: str,
    held_out_share: float,
    output: Path | None,
    seed: int,
    device: str | None,
    dry_run: bool,
) -> None:
    """Train the locatability reward model, and calibrate it on places that it has not seen.

    It learns from what teachers said of photographs of known place, or from stored answers about them: yes where
    the place was right, no where it was wrong, and the majority of verdicts where no place was named.

    \b
    globetag train reward --recipe globe_rm_7b --model Qwen/Qwen2.5-VL-7B-Instruct --from summer --output rm
    globetag train reward --recipe globe_rm_7b --truth known.csv --predictions answers.csv --output rm
    vllm serve rm --generation-config vllm

    A GRPO recipe takes it as rewards.locatable.reward_model. Where the training was done and the calibration was
    not, the same command goes on with that.
    """
    from trainer.reward_model.data import Target
    from trainer.reward_model.recipe import load_reward_recipe

    _check(source, truth, predictions, collection)
    if (output is None) != dry_run:
        raise click.UsageError("give either --output or --dry-run")
    recipe, what = load_reward_recipe(recipe_name), Target(target)
    if source is None:
        assert truth is not None
        found = _from_files(truth, predictions, folder, what)
        _train(found, recipe, model, output, what, held_out_share, seed, device)
        return

    from trainer.reward_model import archive
    from worker.assemble import fetch_limits
    from worker.database import open_database
    from worker.intake.fetch import Fetcher
    from worker.intake.limits import Limits

    settings, _ = load()
    limits = Limits(bytes=int(settings.max_file_mb * 1e6), pixels=int(settings.max_megapixels * 1e6))
    with open_database(settings) as database, Fetcher(fetch_limits(settings)) as fetcher:
        if source == ARCHIVE:
            found = archive.from_predictions(database.engine, fetcher.fetch, limits, what, collection=collection)
        else:
            found = archive.from_distillation(database.engine, source, fetcher.fetch, limits, what)
        _train(found, recipe, model, output, what, held_out_share, seed, device)


def _check(source: str | None, truth: Path | None, predictions: tuple[Path, ...], collection: str | None) -> None:
    if (source is None) == (truth is None):
        raise click.UsageError(f"give one source: --from DISTILLATION, --from {ARCHIVE}, or --truth FILE")
    if (truth is None) != (not predictions):
        raise click.UsageError("--truth goes with --predictions, and --predictions with --truth")
    if collection is not None and source != ARCHIVE:
        raise click.UsageError(f"--collection goes with --from {ARCHIVE}")


def _from_files(truth: Path, predictions: tuple[Path, ...], folder: Path | None, target: "Target") -> "Labelled":
    from trainer.judge.benchmarks import find_images, with_images
    from trainer.judge.matching import match
    from trainer.judge.read import read_predictions, read_truth
    from trainer.reward_model.judged import from_judged
    from worker.place.gazetteer import Gazetteer

    gazetteer, pictures = Gazetteer.load(), folder or truth.parent
    known, _ = with_images(read_truth(truth, gazetteer), find_images(pictures), pictures, allow_missing=True)
    runs = [match(one.stem, known, read_predictions(one, gazetteer), source=one.name) for one in predictions]
    return from_judged(((run.name, row) for run in runs for row in run.rows), target)


def _train(
    found: "Labelled",
    recipe: "Recipe",
    model: str | None,
    output: Path | None,
    target: "Target",
    held_out_share: float,
    seed: int,
    device: str | None,
) -> None:
    """Says what there is, and where there is an output trains on it."""
    from trainer.reward_model.data import parted
    from worker.checkpoints import resolve

    click.echo(found.counts())
    sides = parted(found, held_out_share=held_out_share, seed=seed)
    _tell_sides(sides)
    if output is None:
        click.echo("nothing was trained (--dry-run)")
        return

    from trainer.reward_model.make import make

    base = resolve(model or load()[0].model, variable="--model" if model else "GLOBETAG_MODEL").folder
    shown = _Progress(every_s=10.0)
    made = make(
        base, sides, recipe, output,
        target=target, seed=seed, device=device, on_step=shown.step, on_asked=shown.asked,
    )  # fmt: skip
    _tell(made)


def _tell_sides(sides: "Parted") -> None:
    from trainer.reward_model.data import told

    click.echo(f"to train on: {told(sides.train)}")
    click.echo(f"held out, by place: {told(sides.held_out)}")
    if sides.given_up:
        click.echo(f"  {sides.given_up:,} given up: by photographers or series that are held out")
    if sides.surplus:
        click.echo(f"  {sides.surplus:,} given up: there are not as many of the rarer answer")


def _tell(made: "Made") -> None:
    card = made.card
    if made.was_trained:
        click.echo(f"{made.folder} was trained already; only its calibration was missing")
    said = card.held_out
    click.echo(f"on {said['samples']:,} samples of {said['cells']:,} places that it has not seen:")
    for name, title in (("raw", "as it says"), ("calibrated", "calibrated by the other places")):
        if (each := said[name]) is not None:
            figures = f"AUROC {each['auroc']:.3f}, Brier {each['brier']:.3f}, calibration error {each['ece']:.3f}"
            click.echo(f"  {title}: {figures}")
    if said["neither_yes_nor_no"]:
        click.echo(f"  of {said['neither_yes_nor_no']:,} it said neither yes nor no")
    click.echo(
        f"{made.folder} holds the model: `vllm serve {made.folder}`, and in a GRPO recipe"
        f" rewards.locatable.reward_model: {made.folder}"
    )


class _Progress:
    """Prints a line at the first step, and then one every few seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._due_s = 0.0

    def step(self, step: int, loss: float) -> None:
        self._say(f"step {step:,}: loss {loss:.3f}")

    def asked(self, count: int, of: int) -> None:
        self._say(f"asked about {count:,} of {of:,} held-out samples", last=count == of)

    def _say(self, line: str, *, last: bool = False) -> None:
        if last or time.monotonic() >= self._due_s:
            click.echo(line)
            self._due_s = time.monotonic() + self._every_s
