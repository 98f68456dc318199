"""Trains the small models of the Atlas, from nothing: what `make atlas` runs.

    python -m atlas.train [--output FOLDER] [--only vlm-start,vlm-best,clip]

`vlm-start` learns from the imperfect teachers alone, as from GLOBE's distilled data; it is where reinforcement
learning begins. `vlm-best` learns from truthful texts and serves the demo. `clip` is the gate's backbone. All
three are tiny (see their cards) and know nothing but the drawn world.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
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

from atlas.lessons import Lessons, Words, teachers_words, truthful_words
from atlas.model import CARD_NAME
from atlas.world import World, load_world
from trainer.recipe import load_recipe
from worker.errors import SetupError

WEIGHTS = Path(__file__).parent / "weights"
Rounds = tuple[tuple[int, float], ...]
"""Steps and the highest learning rate of each round; a round begins where the one before it ended."""

START: Rounds = ((1000, 1.5e-3),)
BEST: Rounds = ((2600, 1.5e-3), (1500, 7e-4))
CLIP_STEPS = 800

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


def teach_vlm(world: World, folder: Path, words: Words, rounds: Rounds, seed: int, on_step: OnStep) -> None:
    """Trains the tiny Qwen2.5-VL from random weights on scenes that are never seen twice."""
    from atlas.tiny_vlm import save_tiny_vlm
    from trainer.sft import fine_tune

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".untrained-", dir=folder.parent) as scratch:
        base = Path(scratch, "untrained")
        base.mkdir()
        save_tiny_vlm(base, seed, half=True)
        seen, done = 0, 0
        for number, (steps, learning_rate) in enumerate(rounds, 1):
            recipe = load_recipe("tiny").but(steps=steps, learning_rate=learning_rate)
            lessons = Lessons(world, "train", steps * recipe.batch_size, words, start=seen)
            tuned = Path(scratch, f"round-{number}")
            fine_tune(base, lessons, recipe, tuned, seed=seed, on_step=partial(_further, on_step, done))
            base, seen, done = tuned, seen + len(lessons), done + steps
        add_to_card(base, world, words)
        base.rename(folder)


def _further(on_step: OnStep, done: int, step: int, loss: float) -> None:
    on_step(done + step, loss)


def add_to_card(folder: Path, world: World, words: Words) -> None:
    """Notes in the checkpoint's card what only this room knows: the world, and whose texts were learnt."""
    card_file = folder / CARD_NAME
    card = json.loads(card_file.read_bytes()) | {"world": world.version, "texts": words.__name__}
    card_file.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _teach_clip(world: World, folder: Path, steps: int, seed: int, on_step: OnStep) -> None:
    from atlas.teach_clip import teach_clip

    teach_clip(world, folder, steps=steps, seed=seed, on_step=on_step)


def _vlm(words: Words, rounds: Rounds) -> tuple[Teach, int]:
    def teach(world: World, folder: Path, _steps: int, seed: int, on_step: OnStep) -> None:
        teach_vlm(world, folder, words, rounds, seed, on_step)

    return teach, sum(steps for steps, _ in rounds)


_MODELS: dict[str, tuple[Teach, int]] = {
    "vlm-best": _vlm(truthful_words, BEST),
    "vlm-start": _vlm(teachers_words, START),
    "clip": (_teach_clip, CLIP_STEPS),
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
