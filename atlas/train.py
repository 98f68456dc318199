"""Trains the small models of the Atlas, from nothing: what `make atlas` runs.

    python -m atlas.train [--output FOLDER] [--only vlm-start,vlm-best,clip]

`vlm-start` learns from the imperfect teachers alone, as from GLOBE's distilled data; it is where reinforcement
learning begins. `vlm-best` learns from truthful texts and serves the demo. `clip` is the gate's backbone.
`segmenter` says what each pixel shows, for curation. All are tiny (see their cards) and know nothing but the drawn
world.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from atlas import WEIGHTS
from atlas.lessons import Lessons, Words, teachers_words, truthful_words
from atlas.model import CARD_NAME
from atlas.world import World, load_world
from trainer.sft.recipe import load_recipe
from worker.errors import SetupError

START_STEPS = 1000
BEST_STEPS = 4500
CLIP_STEPS = 1200
SEGMENTER_STEPS = 1100

_LOG_LINES = 20

OnStep = Callable[[int, float], None]
Teach = Callable[[World, Path, int, int, OnStep], None]
"""World, folder, steps, seed, and what is told of each step."""


def main(arguments: list[str]) -> int:
    """Trains what is asked for and is missing; prints where it lies. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m atlas.train", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--output", type=Path, default=WEIGHTS, help="folder for the models  [default: %(default)s]"
    )
    parser.add_argument("--only", default=",".join(_MODELS), help="names, with commas  [default: %(default)s]")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    world = load_world()
    for name in given.only.split(","):
        if name not in _MODELS:
            parser.error(f"no model {name}; there are {', '.join(_MODELS)}")
        folder = given.output / name
        if folder.exists():
            print(f"{folder}: is there already; remove it to train it anew")  # noqa: T201
            continue
        started_s = time.monotonic()
        teach, steps = _MODELS[name]
        try:
            with _progress() as progress:
                task = progress.add_task(name, total=steps, loss="")
                teach(world, folder, steps, given.seed, _shown(progress, task, name, steps))
        except SetupError as error:
            print(f"atlas: {error}", file=sys.stderr)  # noqa: T201
            return 1
        print(f"{folder}: {steps} steps in {(time.monotonic() - started_s) / 60:.1f} minutes")  # noqa: T201
    return 0


def teach_vlm(world: World, folder: Path, words: Words, steps: int, seed: int, on_step: OnStep) -> None:
    """Trains the tiny Qwen2.5-VL from random weights on scenes that are never seen twice."""
    from atlas.tiny_vlm import save_tiny_vlm
    from trainer.sft.fine_tune import fine_tune

    recipe = load_recipe("tiny").but(steps=steps)
    lessons = Lessons(world, "train", steps * recipe.batch_size, words)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".untrained-", dir=folder.parent) as scratch:
        base, made = Path(scratch, "untrained"), Path(scratch, "made")
        base.mkdir()
        save_tiny_vlm(base, seed, half=True)
        fine_tune(base, lessons, recipe, made, seed=seed, on_step=on_step)
        add_to_card(made, world, words)
        made.rename(folder)


def add_to_card(folder: Path, world: World, words: Words) -> None:
    """Notes in the checkpoint's card what only this room knows: the world, and whose texts were learnt."""
    card_file = folder / CARD_NAME
    card = json.loads(card_file.read_bytes()) | {"world": world.version, "texts": words.__name__}
    card_file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _teach_clip(world: World, folder: Path, steps: int, seed: int, on_step: OnStep) -> None:
    from atlas.teach_clip import teach_clip

    teach_clip(world, folder, steps=steps, seed=seed, on_step=on_step)


def _teach_segmenter(world: World, folder: Path, steps: int, seed: int, on_step: OnStep) -> None:
    from atlas.cuts import write_cuts
    from atlas.teach_segmenter import teach_segmenter

    teach_segmenter(world, folder, steps=steps, seed=seed, on_step=on_step)
    clip = folder.parent / "clip"
    write_cuts(world, folder, clip if clip.exists() else WEIGHTS / "clip")


def _teach_best(world: World, folder: Path, steps: int, seed: int, on_step: OnStep) -> None:
    teach_vlm(world, folder, truthful_words, steps, seed, on_step)


def _teach_start(world: World, folder: Path, steps: int, seed: int, on_step: OnStep) -> None:
    teach_vlm(world, folder, teachers_words, steps, seed, on_step)


_MODELS: dict[str, tuple[Teach, int]] = {
    "vlm-best": (_teach_best, BEST_STEPS),
    "vlm-start": (_teach_start, START_STEPS),
    "clip": (_teach_clip, CLIP_STEPS),
    "segmenter": (_teach_segmenter, SEGMENTER_STEPS),
}


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
    )
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn())


def _shown(progress: Progress, task: TaskID, name: str, steps: int) -> OnStep:
    """A bar on a terminal, a line now and then in a log."""

    def shown(step: int, loss: float) -> None:
        progress.update(task, completed=step, loss=f"{loss:.3f}")
        if not progress.console.is_terminal and step % max(1, steps // _LOG_LINES) == 0:
            print(f"{name}: step {step} of {steps}, loss {loss:.3f}", flush=True)  # noqa: T201

    return shown


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
