"""What curated reasons are worth to who learns from them: SFT on raw and on curated traces, then GRPO from each.

    python -m benchmarks.curation.ablation [--quick] [--seeds N]

The shape of GLOBE's data ablation (arXiv 2506.14674, its table on random, single-source and multi-source verified
data, under SFT and under GRPO). The three imperfect teachers of the Atlas say something about each scene of a pool
that no checkpoint has seen. All arms begin with `vlm-start`, which has
learnt from such teachers' raw words, and take the same number of steps on the same number of rows:

- *raw*: one teacher's words about a scene, teacher and scene by chance.
- *single*: the same, from the teacher alone of whose samples most are right (`careful`).
- *curated*: the best kept sample of a scene, after the four steps with the thresholds of the benchmark.

Then GRPO with all of our rewards from the raw and from the curated arm. All answer the same held-out test scenes.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from atlas import WEIGHTS
from atlas.drawn import picture_of
from atlas.exam import BATCH, Mark, Paper, examine, mark, set_paper
from atlas.questions import AtlasQuestions, read_cues
from atlas.render import render
from atlas.scenes import Scene, scene
from atlas.seeing import Seer
from atlas.teachers import TEACHERS, teacher_text
from atlas.visible import AtlasVisible, Seen, load_cuts
from atlas.world import World, load_world
from benchmarks import harness
from benchmarks.curation.cases import ClipSentences, cases_of
from benchmarks.curation.store import Row
from trainer.curate.opinions import Case
from trainer.curate.thresholds import Thresholds
from trainer.curate.verify import choose, verify
from trainer.grpo.recipe import load_grpo_recipe
from trainer.sft.examples import Example
from trainer.sft.recipe import load_recipe
from worker.reason.engines.transformers import load_engine
from worker.reason.prompt import build_prompt

ARMS = ("raw", "single", "curated")
SINGLE = "careful"
_LEARNING_RATE = 8e-4
_POOL, _QUESTIONS = 70_000_000, 80_000_000
"""The first scenes of the split `train` for teachers and for rewards; each seed has its own million."""
_PORTION = 256
THRESHOLDS = Thresholds(min_support=0.0, min_agreeing_share=0.0)
"""What the benchmark chooses: three teachers of whom two share their faults outvote the one who is right."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything. Steps of SFT have 32 rows, those of GRPO 64 answers to 8 questions."""

    seeds: int
    pool: int
    sft_steps: int
    grpo_steps: int
    scenes: int


FULL = Size(seeds=3, pool=4500, sft_steps=120, grpo_steps=40, scenes=400)
QUICK = Size(seeds=1, pool=400, sft_steps=10, grpo_steps=3, scenes=100)


def main() -> None:
    """Trains, examines and reports."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--seeds", type=int, help="[default: 3, quick: 1]")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument(
        "--marks", type=Path, help="file of marks: read, gone on with, and written after each seed"
    )
    given: argparse.Namespace = parser.parse_args()
    size = QUICK if given.quick else FULL
    world = load_world()
    marks: dict[str, dict[str, Mark]] = {}
    if given.marks is not None and given.marks.exists():
        stored = json.loads(given.marks.read_text())
        marks = {seed: {arm: Mark(**one) for arm, one in by_arm.items()} for seed, by_arm in stored.items()}
    with tempfile.TemporaryDirectory(prefix="curation-") as scratch:
        paper = set_paper(Path(scratch, "test"), world, "test", size.scenes)
        for seed in range(given.first_seed, given.first_seed + (given.seeds or size.seeds)):
            if str(seed) not in marks:
                marks[str(seed)] = _seed(world, Path(scratch, f"seed-{seed}"), size, seed, paper)
                if given.marks is not None:
                    told = {key: {arm: asdict(one) for arm, one in by.items()} for key, by in marks.items()}
                    given.marks.write_text(json.dumps(told, indent=1) + "\n")
    _show(list(marks.values()))
    figures = _figures(list(marks.values()))
    harness.report("curation-ablation", figures, {name: _unit(name) for name in figures})


def _seed(world: World, folder: Path, size: Size, seed: int, paper: Paper) -> dict[str, Mark]:
    from trainer.grpo.reinforce import reinforce
    from trainer.sft.fine_tune import fine_tune

    began_s = time.monotonic()

    def say(what: str) -> None:
        print(f"seed {seed}, {time.monotonic() - began_s:,.0f} s: {what}", flush=True)

    base = WEIGHTS / "vlm-start"
    marks = {"none": _examined(base, paper)}
    lessons = _lessons(world, size, seed)
    say(", ".join(f"{len(rows):,} rows {arm}" for arm, rows in lessons.items()))
    recipe = load_recipe("tiny").but(learning_rate=_LEARNING_RATE, steps=size.sft_steps)
    for arm in ARMS:
        tuned = fine_tune(base, lessons[arm], recipe, folder / arm, seed=seed).folder
        marks[arm] = _examined(tuned, paper)
        say(f"SFT on {arm}: city25 {marks[arm].city25:.3f}, invented {marks[arm].invented_per_answer:.2f}")
    rewarded = load_grpo_recipe("atlas_cpu").but(
        steps=size.grpo_steps, judge_every_steps=None, save_every_steps=None
    )
    count = size.grpo_steps * rewarded.questions_per_rollout
    questions = AtlasQuestions(world, "train", count, start=_QUESTIONS + 1_000_000 * seed)
    for arm in ("raw", "curated"):
        output = folder / f"{arm}-grpo"
        reinforce(folder / arm, questions, rewarded, output, seed=seed, cue_reader=read_cues, device="cpu")
        marks[f"{arm}-grpo"] = one = _examined(output, paper)
        say(f"GRPO from {arm}: city25 {one.city25:.3f}, invented {one.invented_per_answer:.2f}")
    return marks


def _lessons(world: World, size: Size, seed: int) -> dict[str, list[Example]]:
    """The rows of each arm, as many for each: of the scenes that have a kept sample, and of any."""
    start = _POOL + 1_000_000 * seed
    shown = [scene(world, "train", start + n) for n in range(size.pool)]
    said = {one.id: {each.name: teacher_text(world, one, each) for each in TEACHERS} for one in shown}
    by_id = {one.id: one for one in shown}
    cases = cases_of([Row(id, words) for id, words in said.items()], by_id)
    chosen = choose(verify(cases, THRESHOLDS, ClipSentences(), AtlasVisible(_Looking(by_id), load_cuts())))
    rng = Random(f"arms {seed}")
    curated = list(chosen.items())
    rng.shuffle(curated)
    curated = curated[: size.sft_steps * 32]
    any_scene = rng.sample(sorted(by_id), len(curated))
    picked = {
        "raw": [(id, rng.choice(TEACHERS).name) for id in any_scene],
        "single": [(id, SINGLE) for id in any_scene],
        "curated": curated,
    }
    return {arm: [_example(by_id[id], said[id][name]) for id, name in rows] for arm, rows in picked.items()}


def _example(shown: Scene, words: str) -> Example:
    return Example(shown.id, picture_of(shown), build_prompt(), words)


class _Looking:
    """The segmentation model on the scenes that come to the last step, drawn when they are looked at."""

    def __init__(self, scenes: Mapping[str, Scene]) -> None:
        self._scenes = scenes
        self._seer = Seer()

    def __call__(self, cases: Sequence[Case]) -> list[Seen]:
        ids = list(dict.fromkeys(case.subject.id for case in cases))
        seen: dict[str, Seen] = {}
        for at in range(0, len(ids), _PORTION):
            part = ids[at : at + _PORTION]
            looked = self._seer.look([render(self._scenes[id], 224) for id in part])
            seen |= dict(zip(part, looked, strict=True))
        return [seen[case.subject.id] for case in cases]


def _examined(checkpoint: Path, paper: Paper) -> Mark:
    engine = load_engine(str(checkpoint), device="cpu", dtype="float32", max_batch=BATCH)
    try:
        return mark(paper, examine(engine, paper))
    finally:
        engine.close()


_SHOWN = {
    "city25": "within 25 km",
    "country": "country",
    "refused_rightly": "refused rightly",
    "cue_precision": "cue precision",
    "cue_recall": "cue recall",
    "invented_per_answer": "invented / answer",
}


def _figures(by_seed: Sequence[Mapping[str, Mark]]) -> dict[str, float | None]:
    figures: dict[str, float | None] = {"seeds": float(len(by_seed))}
    for arm in by_seed[0]:
        for name in _SHOWN:
            figures[f"{name}_{arm.replace('-', '_')}"] = statistics.mean(
                getattr(one[arm], name) for one in by_seed
            )
    for after, name in (("", "sft"), ("-grpo", "grpo")):
        gains = [100 * (one[f"curated{after}"].city25 - one[f"raw{after}"].city25) for one in by_seed]
        figures |= {f"gain_city25_points_{name}": statistics.mean(gains), f"gain_low_{name}": min(gains)}
    return figures


def _unit(name: str) -> str:
    if name == "seeds" or name.startswith("invented"):
        return "1"
    return "points" if name.startswith("gain") else "share"


def _show(by_seed: Sequence[Mapping[str, Mark]]) -> None:
    title = f"Held-out test scenes, mean of {len(by_seed)} seeds (lowest to highest)"
    table = Table(title=title, title_justify="left")
    for heading in ("arm", *_SHOWN.values()):
        table.add_column(heading)
    for arm in by_seed[0]:
        told = []
        for name in _SHOWN:
            values = [getattr(one[arm], name) for one in by_seed]
            told.append(f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")
        table.add_row(arm, *told)
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
