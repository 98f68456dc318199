"""GRPO on the Atlas: does learning by reward make the model better and more honest, and which reward does what?

Every run begins with `vlm-start`, which has learnt from imperfect teachers and has their faults. Runs of a seed
see the same scenes, none of which any checkpoint has seen, and all answer the same held-out test scenes through
the worker's own engine before and after. The table has the shape of GLOBE's ablation (arXiv 2506.14674): the
geographic reward alone, with locatability, with visual grounding, all; then GLOBE's published formulas. Its
locatability is not among them: it asks a judge model that was never published.

`gain_city25_points`: mean over the seeds, with all of our rewards, of what is won within 25 km on placeable
scenes; `gain_low`: the lowest end of a seed's 95 % interval (paired bootstrap over photographers); `invented_…`:
cues stated and not in the picture, for each answer; `reward_share_of_step`: of the time of a step. Runs go side
by side, with one thread each. `--quick` trains one seed with all of our rewards for a few steps.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.table import Table

from atlas import WEIGHTS
from atlas.exam import BATCH, Mark, Paper, examine, mark, of_placeable, set_paper
from atlas.questions import AtlasQuestions, read_cues
from atlas.world import load_world
from benchmarks import harness
from trainer.grpo.recipe import GrpoRecipe, load_grpo_recipe
from trainer.judge.columns import Columns
from trainer.judge.compare import Difference, compare

ALL = "geo + locatable + visual"
CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "geo": ("geo", "format"),
    "geo + locatable": ("geo", "locatable", "format"),
    "geo + visual": ("geo", "visual", "format"),
    ALL: ("geo", "visual", "locatable", "format"),
    "GLOBE: accuracy": ("globe_accuracy", "globe_format"),
    "GLOBE: accuracy + visual": ("globe_accuracy", "globe_visual", "globe_format"),
}
"""Ours take their weights from the recipe; GLOBE's are those of its scripts (`globe_script_one` and `_two`)."""
_GLOBE_WEIGHTS = {"globe_accuracy": 1.0, "globe_visual": 0.5, "globe_format": 1.0}

_FRESH = 20_000_000
"""The first scene of the training split that no checkpoint has learnt from; each seed has its own million."""
_QUICK_STEPS = 60
_LINES = 12
_HEADINGS = (
    "rewards", "seed", "country", "within 25 km", "gain in points", "refused rightly", "cue precision",
    "cue recall", "invented / answer", "reward, first to last", "minutes",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Task:
    """One run: what it is told, and where its checkpoint goes."""

    condition: str
    seed: int
    recipe: GrpoRecipe
    base: Path
    output: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run. `rewards_S` and the shares are over its steps."""

    task: Task
    rewards_S: tuple[float, ...]
    reward_share: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Judged:
    """A run beside its beginning, on the held-out scenes."""

    outcome: Outcome
    mark: Mark
    city25: Difference


def main() -> None:
    """Trains, examines and reports."""
    parser = harness.arguments(__doc__)
    parser.add_argument("--seeds", type=int, help="of the condition with all rewards  [default: 3, quick: 1]")
    parser.add_argument("--ablation-seeds", type=int, help="of the others  [default: 1, quick: 0]")
    parser.add_argument("--steps", type=int, help="[default: the recipe's, quick: 60]")
    parser.add_argument("--scenes", type=int, help="held-out test scenes  [default: 800, quick: 300]")
    parser.add_argument("--base", type=Path, default=WEIGHTS / "vlm-start", help="the checkpoint to begin with")
    given: argparse.Namespace = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="grpo-") as scratch:
        tasks = _tasks(given, Path(scratch))
        paper = set_paper(
            Path(scratch, "test"), load_world(), "test", given.scenes or (300 if given.quick else 800)
        )
        before = _examined(given.base, paper)
        judged = [_judge(outcome, before, paper) for outcome in _run(tasks)]
    begun = mark(paper, before)
    _show(begun, judged)
    full = [one for one in judged if one.outcome.task.condition == ALL]
    _report(begun, full)


def _tasks(given: argparse.Namespace, scratch: Path) -> list[Task]:
    recipe = load_grpo_recipe("atlas_cpu")
    if steps := given.steps or (_QUICK_STEPS if given.quick else None):
        recipe = recipe.but(steps=steps)
    recipe = recipe.but(judge_every_steps=None, save_every_steps=None)
    others = given.ablation_seeds if given.ablation_seeds is not None else int(not given.quick)
    seeds = dict.fromkeys(CONDITIONS, others) | {ALL: given.seeds or (1 if given.quick else 3)}
    own = recipe.rewards.by_name
    return [
        Task(
            condition,
            seed,
            recipe.but(rewards={"weights": {name: _GLOBE_WEIGHTS.get(name, own.get(name)) for name in rewards}}),
            given.base,
            scratch / f"{number}-{seed}",
        )
        for number, (condition, rewards) in sorted(enumerate(CONDITIONS.items()), key=lambda row: row[1][0] != ALL)
        for seed in range(seeds[condition])
    ]


def _run(tasks: list[Task]) -> Iterable[Outcome]:
    """All runs, as many at once as there are cores; the environment of the processes allows one thread each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ProcessPoolExecutor(min(cores, len(tasks)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_train, tasks)


def _train(task: Task) -> Outcome:
    from trainer.grpo.reinforce import reinforce

    assert task.recipe.steps is not None
    every = max(1, task.recipe.steps // _LINES)

    def on_step(step: int, figures: Mapping[str, float]) -> None:
        if step % every == 0:
            parts = ", ".join(f"{name} {figures[name]:.3f}" for name in figures if name.endswith("/mean"))
            print(
                f"{task.condition}, seed {task.seed}, step {step}: reward {figures['reward']:.3f}"
                f" ({parts}), entropy {figures['entropy']:.3f}, {figures['step_s']:.2f} s",
                file=sys.stderr,
                flush=True,
            )

    questions = AtlasQuestions(
        load_world(),
        "train",
        task.recipe.steps * task.recipe.questions_per_rollout,
        start=_FRESH + 1_000_000 * task.seed,
    )
    result = reinforce(
        task.base,
        questions,
        task.recipe,
        task.output,
        seed=task.seed,
        cue_reader=read_cues,
        on_step=on_step,
        device="cpu",
    )
    rewards = tuple(step["reward"] for step in result.history if "reward" in step)
    shares = [step["reward_s"] / step["step_s"] for step in result.history if "reward_s" in step]
    return Outcome(task, rewards, statistics.mean(shares), result.seconds)


def _judge(outcome: Outcome, before: Columns, paper: Paper) -> Judged:
    after = _examined(outcome.task.output, paper)
    found = compare(of_placeable(after), of_placeable(before), seed=outcome.task.seed)
    city25 = next(one for one in found.differences if one.name == "within_25_km")
    return Judged(outcome, mark(paper, after), city25)


def _examined(checkpoint: Path, paper: Paper) -> Columns:
    from worker.reason.engines.transformers import load_engine

    engine = load_engine(str(checkpoint), device="cpu", dtype="float32", max_batch=BATCH)
    try:
        return examine(engine, paper)
    finally:
        engine.close()


def _show(begun: Mark, judged: list[Judged]) -> None:
    table = Table(title="Held-out scenes, before and after GRPO", title_justify="left")
    for heading in _HEADINGS:
        table.add_column(heading)
    table.add_row("none: vlm-start", "", *_figures(begun, "", ""), "", "")
    for one in judged:
        rewards = one.outcome.rewards_S
        tenth = max(1, len(rewards) // 10)
        low, high = _interval(one.city25)
        table.add_row(
            one.outcome.task.condition,
            str(one.outcome.task.seed),
            *_figures(one.mark, f"{100 * one.city25.value:+.1f}", f" ({low:+.1f} to {high:+.1f})"),
            f"{statistics.mean(rewards[:tenth]):.2f} -> {statistics.mean(rewards[-tenth:]):.2f}",
            f"{one.outcome.seconds / 60:.1f}",
        )
    Console(width=190).print(table)


def _figures(reached: Mark, gain: str, interval: str) -> tuple[str, ...]:
    return (
        f"{reached.country:.3f} ({reached.bayes_country:.3f})",
        f"{reached.city25:.3f} ({reached.bayes_city25:.3f})",
        gain + interval,
        f"{reached.refused_rightly:.3f}",
        f"{reached.cue_precision:.3f}",
        f"{reached.cue_recall:.3f}",
        f"{reached.invented_per_answer:.2f}",
    )


def _interval(difference: Difference) -> tuple[float, float]:
    return (
        float("nan") if difference.low is None else 100 * difference.low,
        float("nan") if difference.high is None else 100 * difference.high,
    )


def _report(begun: Mark, full: list[Judged]) -> None:
    tenth = max(1, len(full[0].outcome.rewards_S) // 10)
    figures: dict[str, float | None] = {
        "gain_city25_points": statistics.mean(100 * one.city25.value for one in full),
        "gain_low": min(_interval(one.city25)[0] for one in full),
        "invented_before": begun.invented_per_answer,
        "invented_after": statistics.mean(one.mark.invented_per_answer for one in full),
        "reward_share_of_step": statistics.mean(one.outcome.reward_share for one in full),
        "reward_first": statistics.mean(statistics.mean(one.outcome.rewards_S[:tenth]) for one in full),
        "reward_last": statistics.mean(statistics.mean(one.outcome.rewards_S[-tenth:]) for one in full),
        "seeds": float(len(full)),
    }
    units = {"gain_city25_points": "points", "gain_low": "points", "reward_share_of_step": "share", "seeds": "1"}
    harness.report("grpo", figures, {name: units.get(name, "1") for name in figures})


if __name__ == "__main__":
    main()
