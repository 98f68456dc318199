"""`globetag train grpo`: reinforcement learning on photographs with known places."""

import time
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console

from worker.settings import load

_SHOWN = ("reward", "entropy", "kl", "zero_variance_groups", "completion_tokens", "held_out/accuracy")


@click.command(name="grpo")
@click.option("--recipe", "recipe_name", required=True, help="The name of a recipe, or a YAML file like them.")
@click.option("--model", help="Hub id or folder of the model to start from.  [default: GLOBETAG_MODEL]")
@click.option(
    "--truth",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The known places: CSV, JSON or JSON lines, as for `globetag evaluate`.",
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
            from trainer.judge.read import read_truth
            from worker.place.gazetteer import Gazetteer

            count = len(read_truth(truth, Gazetteer.load()))
        Console().print(table(estimate(found.folder, recipe, questions=count), recipe))
        return
    if truth is None or output is None:
        raise click.UsageError("give --truth and --output, or --dry-run")

    from trainer.grpo.questions import from_truths
    from trainer.judge.benchmarks import find_images, with_images
    from trainer.judge.read import read_truth
    from worker.checkpoints import resolve
    from worker.place.gazetteer import Gazetteer
    from worker.reason.prompt import build_prompt

    pictures = folder or truth.parent
    truths, _ = with_images(
        read_truth(truth, Gazetteer.load()), find_images(pictures), pictures, allow_missing=False
    )
    questions = from_truths(truths, build_prompt())
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
