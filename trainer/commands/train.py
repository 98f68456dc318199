"""`globetag train`: tunes the large vision-language model on examples."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.commands import train_calibrate, train_gate, train_grpo, train_reward
from trainer.commands import train_runs as runs
from worker.settings import load

if TYPE_CHECKING:
    from trainer.sft.examples import Example
    from trainer.sft.recipe import Reasons


@click.group()
def command() -> None:
    """Tune models, by hand or by themselves. `globetag evaluate` says what came of it."""


for _each in (train_gate, train_grpo, train_reward):
    command.add_command(_each.command)
for _one in (
    train_calibrate.calibrate,
    train_calibrate.calibrations,
    train_calibrate.renew,
    runs.now,
    runs.status,
    runs.cancel,
    runs.history,
    runs.worker,
):
    command.add_command(_one)


@command.command()
@click.option("--recipe", "recipe_name", required=True, help="The name of a recipe, or a YAML file like them.")
@click.option("--model", help="Hub id or folder of the model to start from.  [default: GLOBETAG_MODEL]")
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="CSV with image,country[,clue,region,city], georeasoner_sft.json, or a folder of `curate export`.",
)
@click.option(
    "--pictures",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the pictures, where the data name another one.",
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to make: a complete model.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same weights on a CPU.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[default: cuda where there is one]")
def sft(
    recipe_name: str,
    model: str | None,
    data: Path,
    pictures: Path | None,
    output: Path,
    seed: int,
    device: str | None,
) -> None:
    """Tune on pictures with known answers: GeoReasoner's two stages, GLOBE's baseline, or a recipe of your own.

    The second of two stages starts from the first one's output:

    \b
    globetag train sft --recipe georeasoner-reasoning --model BASE --data clues.csv --output stage1
    globetag train sft --recipe georeasoner-location --model stage1 --data places.csv --output stage2
    """
    from trainer.sft.recipe import load_recipe

    recipe = load_recipe(recipe_name)
    learnt = _examples(data, pictures, recipe.reasons)

    from trainer.sft.fine_tune import fine_tune
    from worker.checkpoints import resolve

    name = model or load()[0].model
    checkpoint = resolve(name, variable="--model" if model else "GLOBETAG_MODEL")
    result = fine_tune(
        checkpoint.folder,
        learnt,
        recipe,
        output,
        seed=seed,
        on_step=_Progress(every_s=10.0),
        device=device,
    )
    if result.too_long:
        click.echo(f"{len(result.too_long):,} rows were longer than {recipe.max_length} tokens and left out")
    click.echo(
        f"{result.steps:,} steps on {result.rows:,} rows in {result.seconds:,.0f} s:"
        f" loss {result.first_loss:.3f} -> {result.last_loss:.3f}"
    )
    click.echo(f"{result.folder} holds the model; use it with `globetag models use --model {result.folder}`")


def _examples(data: Path, pictures: Path | None, reasons: "Reasons") -> "list[Example]":
    """What is learnt from; says how much of the file that is."""
    from trainer.curate import clues
    from trainer.curate.output import read as dataset
    from worker.reason.prompt import build_prompt

    if dataset.is_dataset(data):
        learnt = dataset.examples(data, prompt=build_prompt(), reasons=reasons)
        click.echo(f"{len(learnt):,} rows")
        return learnt
    read = clues.read_clues(data, reasons=reasons, pictures=pictures)
    click.echo(f"{len(read.clues):,} usable rows, {len(read.unusable):,} not")
    for reason, count in read.counts.most_common():
        first = next(row for row in read.unusable if row.reason is reason)
        click.echo(f"  {count:,} {reason}, first row {first.row}: {first.detail}")
    return clues.examples(read.clues, prompt=build_prompt(), reasons=reasons)


class _Progress:
    """Prints a line at the first step, and then one every few seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._due_s = 0.0

    def __call__(self, step: int, loss: float) -> None:
        if time.monotonic() >= self._due_s:
            click.echo(f"step {step:,}: loss {loss:.3f}")
            self._due_s = time.monotonic() + self._every_s
