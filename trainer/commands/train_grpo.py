"""`globetag train grpo`: reinforcement learning on photographs with known places."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from worker.settings import load

_SHOWN = ("reward", "entropy", "kl", "zero_variance_groups", "completion_tokens", "held_out/accuracy")


@click.command(name="grpo")
@click.option("--recipe", "recipe_name", required=True, help="The name of a recipe, or a YAML file like them.")
@click.option("--model", help="Hub id or folder of the model to start from.  [default: GLOBETAG_MODEL]")
@click.option(
    "--truth",
    type=click.Path(exists=True, path_type=Path),
    help="The known places: CSV, JSON or JSON lines, as for `globetag evaluate`, or a folder of `globetag curate"
    " export`.",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the pictures.  [default: that of --truth]",
)
@click.option("--output", type=click.Path(path_type=Path), help="Folder to make: a complete model.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same weights on a CPU.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="[default: cuda where there is one]")
@click.option("--dry-run", is_flag=True, help="Load nothing; say what the run would need.")
def command(
    recipe_name: str,
    model: str | None,
    truth: Path | None,
    folder: Path | None,
    output: Path | None,
    seed: int,
    device: str | None,
    dry_run: bool,
) -> None:
    """Learn by reward (GRPO) from pictures whose places are known.

    \b
    globetag train grpo --recipe globe_7b --model Qwen/Qwen2.5-VL-7B-Instruct --dry-run
    globetag train grpo --recipe archive_lora --truth known.csv --folder pictures --output better

    An interrupted run goes on from its last checkpoint when the same command is given again.
    """
    from trainer.grpo.recipe import load_grpo_recipe

    recipe = load_grpo_recipe(recipe_name)
    name, variable = model or load()[0].model, "--model" if model else "GLOBETAG_MODEL"
    if dry_run:
        from trainer.grpo.estimate import estimate, needed, table
        from worker.checkpoints import resolve

        found = resolve(name, variable=variable, wanted=needed)
        count = None
        if truth is not None:
            count = len(_questions(truth, folder, with_pictures=False))
        Console().print(table(estimate(found.folder, recipe, questions=count), recipe))
        return
    if truth is None or output is None:
        raise click.UsageError("give --truth and --output, or --dry-run")

    from worker.checkpoints import resolve

    questions = _questions(truth, folder, with_pictures=True)
    click.echo(f"{len(questions):,} questions, {recipe.questions_per_rollout} to a rollout")

    from trainer.grpo.reinforce import reinforce

    result = reinforce(
        resolve(name, variable=variable).folder,
        questions,
        recipe,
        output,
        seed=seed,
        on_step=_Progress(every_s=10.0),
        device=device,
    )
    first = next((entry["reward"] for entry in result.history if "reward" in entry), float("nan"))
    click.echo(
        f"{result.steps:,} steps in {result.seconds:,.0f} s: reward {first:.3f} -> {result.figures['reward']:.3f};"
        f" curves in {result.plot}"
    )
    click.echo(f"{result.folder} holds the model; use it with `globetag models use --model {result.folder}`")


def _questions(truth: Path, folder: Path | None, *, with_pictures: bool) -> Sequence[Any]:
    """What is asked, or (without pictures) as many things as would be."""
    from trainer.curate.output import read as dataset
    from trainer.grpo.questions import from_truths
    from trainer.judge.benchmarks import find_images, with_images
    from trainer.judge.read import read_truth
    from worker.place.gazetteer import Gazetteer
    from worker.reason.prompt import build_prompt

    if dataset.is_dataset(truth):
        return dataset.questions(truth, prompt=build_prompt())
    truths = read_truth(truth, Gazetteer.load())
    if not with_pictures:
        return truths
    pictures = folder or truth.parent
    found, _ = with_images(truths, find_images(pictures), pictures, allow_missing=False)
    return from_truths(found, build_prompt())


class _Progress:
    """Prints a line at the first step, and then one every few seconds."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._due_s = 0.0

    def __call__(self, step: int, figures: Mapping[str, float]) -> None:
        if time.monotonic() >= self._due_s:
            said = ", ".join(f"{name} {figures[name]:.3g}" for name in _SHOWN if name in figures)
            click.echo(f"step {step:,}: {said}")
            self._due_s = time.monotonic() + self._every_s
