"""Atlas: how fast its scenes are made, and how well its models place them, beside the best possible observer.

`scenes_per_s_core` is what one process with one thread makes: choosing a scene and drawing it at 112 px, the side
that the tiny models look at. Every repetition makes scenes that none before it made; the median counts.

For each checkpoint and split: `country` and `city25` are shares of the scenes that can be placed at all,
`bayes_…` what the best possible observer reaches on the same scenes (for `unseen` a yardstick, not a bound; on
`shift` hardly to be reached from the pixels). `--quick` examines fewer scenes, of the split `test` alone.
"""

import statistics
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from atlas import WEIGHTS
from atlas.exam import BATCH, Mark, examine_once
from atlas.render import render
from atlas.scenes import scene
from atlas.world import World, load_world
from benchmarks import harness

_SIDE_PX = 112
_CHECKPOINTS = ("vlm-best", "vlm-start")
_FIGURES = ("country", "city25", "bayes_country", "bayes_city25")


def main() -> None:
    """Measures and reports."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder with the checkpoints")
    parser.add_argument("--scenes", type=int, help="scenes of each split  [default: 1000, quick: 96]")
    given = parser.parse_args()
    world = load_world()
    figures: dict[str, float | None] = {"scenes_per_s_core": scenes_per_s_core(world, quick=given.quick)}
    units = {"scenes_per_s_core": "1/s"}
    splits = ("test",) if given.quick else ("test", "shift", "unseen")
    marks = {
        (name, mark.split): mark
        for name in _CHECKPOINTS
        for mark in marks_of(given.weights / name, world, splits, given.scenes or (96 if given.quick else 1000))
    }
    _show(marks)
    for (name, split), mark in marks.items():
        for figure in _FIGURES:
            figures[f"{figure}_{name.removeprefix('vlm-')}_{split}"] = getattr(mark, figure)
    harness.report("atlas", figures, {name: units.get(name, "share") for name in figures})


def scenes_per_s_core(world: World, *, quick: bool) -> float:
    """Scenes made each second, the median over the repetitions, after as many scenes to warm up."""
    repetitions, scenes = (5, 500) if quick else (15, 2000)
    rates: list[float] = []
    for repetition in range(repetitions + 1):
        begin = repetition * scenes
        start_s = time.perf_counter()
        for index in range(begin, begin + scenes):
            render(scene(world, "train", index), _SIDE_PX)
        rates.append(scenes / (time.perf_counter() - start_s))
    print(f"{repetitions} x {scenes} scenes, scenes/s: " + ", ".join(f"{rate:.0f}" for rate in rates[1:]))
    return statistics.median(rates[1:])


def marks_of(checkpoint: Path, world: World, splits: tuple[str, ...], scenes: int) -> list[Mark]:
    """What the checkpoint reaches on each split, in greedy answers."""
    from worker.reason.engines.transformers import load_engine

    engine = load_engine(str(checkpoint), device="cpu", dtype="float32", max_batch=BATCH)
    try:
        return [examine_once(engine, world, split, scenes) for split in splits]
    finally:
        engine.close()


def _show(marks: dict[tuple[str, str], Mark]) -> None:
    table = Table(
        title="Share of the placeable scenes; in brackets the best possible observer", title_justify="left"
    )
    for heading in ("checkpoint", "split", "n", "country", "within 25 km", "… of city scenes", "refused rightly",
                    "cue precision", "cue recall", "invented / answer", "unparsable"):  # fmt: skip
        table.add_column(heading)
    for (name, split), mark in marks.items():
        shown = {key: f"{value:.3f}" for key, value in asdict(mark).items() if isinstance(value, float)}
        table.add_row(
            name,
            split,
            str(mark.n),
            f"{shown['country']} ({shown['bayes_country']})",
            f"{shown['city25']} ({shown['bayes_city25']})",
            f"{shown['city25_of_cities']} ({shown['bayes_city25_of_cities']})",
            shown["refused_rightly"],
            shown["cue_precision"],
            shown["cue_recall"],
            shown["invented_per_answer"],
            str(mark.unparsable),
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
