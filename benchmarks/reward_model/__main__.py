"""The locatability reward model on the Atlas: does it know which answers are right, and is its P(yes) a chance?

The reward model is the Atlas model itself, taught to say yes or no to a picture with reasons (the recipe
`atlas_rm`), from stored answers of `benchmarks.knowing` and their outcomes: was the place within 25 km? Judged is
the greedy answer to scenes whose places it was not trained on, beside the gate's head that learnt from the same
scenes. Three seeds, each with another third of the places (`benchmarks/reward_model/scenes.py`).

What was said of each scene is kept in `benchmarks/results/reward_model_answers.json`; `--quick` works the figures
out of it again, and trains nothing. The full run takes some five minutes a seed on an idle core, and is done anew
for each seed that is not kept; `--again` forgets them first.

Figures: `auroc_model`, `auroc_gate` and others over answers that name a place, with `_all` over all scenes;
`brier_…` and `ece_…` of P(yes) `raw` and `calibrated`, and of the `gate`.
"""

import hashlib
from pathlib import Path

from atlas import WEIGHTS
from atlas.world import load_world
from benchmarks import harness
from benchmarks.knowing.scenes import stored_scenes
from benchmarks.knowing.store import Models, Store
from benchmarks.reward_model import answers
from benchmarks.reward_model.figures import figures_of
from trainer.reward_model.recipe import load_reward_recipe
from worker.settings import load

FORMAT = "reward_model/2"
SEEDS = (0, 1, 2)
CHECKPOINT = "vlm-best"
SCENES = {"calibration": 2000, "test": 1000, "shift": 1000}
MOST = 8
"""Answers of a scene that are trained on."""
ANSWERS = harness.RESULTS / "reward_model_answers.json"


def main() -> None:
    """Measures and reports."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--store", type=Path, help="folder of stored answers  [default: below GLOBETAG_HOME]")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder with the checkpoints")
    parser.add_argument("--answers", type=Path, default=ANSWERS, help="what was said  [default: %(default)s]")
    parser.add_argument("--seeds", default=",".join(map(str, SEEDS)), help="with commas  [default: %(default)s]")
    parser.add_argument("--again", action="store_true", help="train all seeds anew")
    given = parser.parse_args()
    models = Models(vlm=given.weights / CHECKPOINT, clip=given.weights / "clip")
    try:
        world, recipe = load_world(), load_reward_recipe("atlas_rm")
        key = hashlib.sha256(" ".join([FORMAT, models.key, world.version, recipe.digest]).encode()).hexdigest()[
            :16
        ]
        studies = [] if given.again else answers.read(given.answers, key)
        wanted = [int(seed) for seed in given.seeds.split(",")]
        missing = [seed for seed in wanted if seed not in {study.seed for study in studies}]
        if missing and not given.quick:
            from benchmarks.reward_model.study import study

            folder = given.store or load()[0].home / "benchmarks" / "knowing"
            store = Store(folder, world, models)
            store.draw(SCENES)
            scenes = {split: stored_scenes(store, split, count) for split, count in SCENES.items()}
            for seed in missing:
                studies.append(study(scenes, world, given.weights / CHECKPOINT, recipe, seed, most=MOST))
                answers.write(given.answers, key, studies)
    finally:
        models.close()
    figures: dict[str, float | None] = {"auroc_model_test": None, "auroc_gate_test": None}
    if studies:
        for each in studies:
            print(f"seed {each.seed}: trained on {each.trained} in {each.seconds:,.0f} s", flush=True)
        figures |= figures_of(studies, "test") | figures_of(studies, "shift")
        figures["seeds"] = float(len(studies))
    else:
        print("no answers are stored for these weights; the full run trains and asks", flush=True)
    harness.report("reward_model", figures, {name: unit(name) for name in figures})


def unit(figure: str) -> str:
    """Of a figure, by its name."""
    return "1" if figure.startswith(("scenes", "answers", "seeds")) else "share"


if __name__ == "__main__":
    main()
