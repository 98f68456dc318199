"""GeoReasoner's two-stage tuning on the Atlas: neither stage, reasoning, location, or one after the other.

The ablation of arXiv 2406.18572 (its table on street views) with the tiny model. Both stages start from
`vlm-start`, which has learnt from imperfect teachers. *Reasoning*: pictures with game-style clues, which name the
country. *Location*: pictures that can be placed, with country and city and no reasons. *Both* tunes the result of
the first stage by the second. Data and order of a seed are the same in all conditions, and all answer the same
test scenes.

`city25_…` is the mean over the seeds of the share of placeable test scenes answered within 25 km. Beneath it the
paired differences with 95 % intervals (bootstrap over photographers), for each seed.
"""

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from atlas import WEIGHTS
from atlas.exam import BATCH, Mark, Paper, examine, mark, set_paper
from atlas.lessons import Lessons, clue_words, place_words
from atlas.world import World, load_world
from benchmarks import harness
from trainer.judge.columns import Columns
from trainer.judge.compare import compare
from trainer.sft.fine_tune import fine_tune
from trainer.sft.recipe import Recipe, load_recipe
from worker.reason.engines.transformers import load_engine

CONDITIONS = ("none", "reasoning", "location", "both")
_PAIRS = (("location", "reasoning"), ("both", "location"), ("both", "none"))
_LEARNING_RATE = 8e-4


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. Steps have 32 rows. The clues are few, as GeoReasoner's three thousand were."""

    seeds: int
    reasoning_steps: int
    location_steps: int
    scenes: int


FULL = Size(seeds=3, reasoning_steps=80, location_steps=160, scenes=600)
QUICK = Size(seeds=1, reasoning_steps=6, location_steps=10, scenes=64)


def main() -> None:
    """Trains, examines and reports."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--seeds", type=int, help="[default: 3, quick: 1]")
    parser.add_argument("--base", type=Path, default=WEIGHTS / "vlm-start", help="the checkpoint to begin with")
    given: argparse.Namespace = parser.parse_args()
    size = QUICK if given.quick else FULL
    world = load_world()
    marks: dict[str, list[Mark]] = {condition: [] for condition in CONDITIONS}
    with tempfile.TemporaryDirectory(prefix="stages-") as scratch:
        paper = set_paper(Path(scratch, "test"), world, "test", size.scenes)
        untuned = _examined(given.base, paper)
        for seed in range(given.seeds or size.seeds):
            columns = {"none": untuned} | _tuned(world, given.base, Path(scratch, str(seed)), size, seed, paper)
            for condition in CONDITIONS:
                marks[condition].append(mark(paper, columns[condition]))
            _show_differences(seed, columns)
    _show(marks)
    figures: dict[str, float | None] = {}
    for condition, reached in marks.items():
        figures[f"city25_{condition}"] = statistics.mean(one.city25 for one in reached)
        figures[f"country_{condition}"] = statistics.mean(one.country for one in reached)
    harness.report("stages", figures, dict.fromkeys(figures, "share"))


def _tuned(world: World, base: Path, folder: Path, size: Size, seed: int, paper: Paper) -> dict[str, Columns]:
    """Trains the three conditions of one seed and examines them."""
    recipe = load_recipe("tiny").but(learning_rate=_LEARNING_RATE)
    clues = recipe.but(steps=size.reasoning_steps)
    places = recipe.but(steps=size.location_steps)
    shift = (seed + 1) * 10_000_000  # scenes that no other seed and no checkpoint has seen
    clue_rows = size.reasoning_steps * recipe.batch_size
    place_rows = size.location_steps * recipe.batch_size
    clue_lessons = Lessons(world, "train", clue_rows, clue_words, start=shift, placeable=True)
    place_lessons = Lessons(world, "train", place_rows, place_words, start=shift + 5_000_000, placeable=True)
    tuned = {
        "reasoning": _tune(base, clue_lessons, clues, folder / "reasoning", seed),
        "location": _tune(base, place_lessons, places, folder / "location", seed),
    }
    tuned["both"] = _tune(tuned["reasoning"], place_lessons, places, folder / "both", seed)
    return {condition: _examined(checkpoint, paper) for condition, checkpoint in tuned.items()}


def _tune(base: Path, lessons: Lessons, recipe: Recipe, output: Path, seed: int) -> Path:
    print(f"seed {seed}: {output.name}, {recipe.steps} steps on {len(lessons):,} scenes", flush=True)
    return fine_tune(base, lessons, recipe, output, seed=seed).folder


def _examined(checkpoint: Path, paper: Paper) -> Columns:
    engine = load_engine(str(checkpoint), device="cpu", dtype="float32", max_batch=BATCH)
    try:
        return examine(engine, paper)
    finally:
        engine.close()


def _show_differences(seed: int, columns: dict[str, Columns]) -> None:
    for better, worse in _PAIRS:
        found = compare(columns[better], columns[worse], replicates=1000, seed=seed)
        for difference in found.differences:
            if difference.name in ("within_25_km", "country_id"):
                low, high = difference.low or 0.0, difference.high or 0.0
                print(
                    f"seed {seed}: {better} - {worse}, {difference.name}: "
                    f"{difference.value:+.3f} ({low:+.3f} to {high:+.3f})",
                    flush=True,
                )


def _show(marks: dict[str, list[Mark]]) -> None:
    table = Table(
        title="Shares of the placeable test scenes, mean over seeds (lowest to highest)", title_justify="left"
    )
    for heading in ("tuned by", "country", "within 25 km", "best possible"):
        table.add_column(heading)
    for condition, reached in marks.items():
        countries = [one.country for one in reached]
        cities = [one.city25 for one in reached]
        table.add_row(condition, _spread(countries), _spread(cities), f"{reached[0].bayes_city25:.3f}")
    Console(width=110).print(table)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
