"""One seed: a reward model is trained and calibrated, and asked about scenes of places that it has not seen.

Beside it the gate's head, fitted to the outcomes of the same scenes, and the reward model itself with another
scene's picture: what it then still knows it reads out of the reasons alone.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from atlas.world import World
from benchmarks.knowing import gate
from benchmarks.knowing.scenes import Scenes
from benchmarks.reward_model.answers import Row, Study
from benchmarks.reward_model.scenes import TARGET, cells_of, fold_of, said
from trainer.reward_model.data import By, Labelled, Sample, labelled, parted, told
from trainer.reward_model.judge import Judge
from trainer.reward_model.make import make
from trainer.reward_model.train import asked, seen
from trainer.sft.recipe import Recipe

SYSTEM = "Can this be placed? yes no"
"""Short, since each word costs the small model a token: with those of serving a step takes four times as long."""
HELD_OUT_SHARE = 0.15
JUDGED = ("test", "shift")
_SWAP = 7
"""The picture of the scene so many places further on: mostly another photographer's."""
_LOSSES = 10


def study(
    scenes: Mapping[str, Scenes], world: World, base: Path, recipe: Recipe, seed: int, *, most: int
) -> Study:
    """Trains on up to `most` answers of each scene of `calibration`."""
    began_s = time.perf_counter()
    fold = fold_of(scenes)
    found = labelled(said(scenes["calibration"], world, most))
    learnt = Labelled(tuple(sample for sample in found.samples if fold[sample.cell] != seed))
    sides = parted(learnt, held_out_share=HELD_OUT_SHARE, seed=seed)
    trained, held_out = told(sides.train), told(sides.held_out)
    print(f"seed {seed}: to train on {trained}\nseed {seed}: held out {held_out}", flush=True)

    def on_step(step: int, loss: float) -> None:
        if step % max(1, (recipe.steps or _LOSSES) // _LOSSES) == 0:
            print(f"seed {seed}: step {step}, loss {loss:.3f}", flush=True)

    judged = {split: _judged(scenes[split], world, fold, seed) for split in JUDGED}
    with TemporaryDirectory(prefix="reward-model-") as scratch:
        made = make(
            base, sides, recipe, Path(scratch, "made"), target=TARGET, seed=seed, system=SYSTEM, on_step=on_step
        )
        said_by = {"trained": made.folder, "untrained": base}
        p = {name: {split: _asked(folder, judged[split]) for split in JUDGED} for name, folder in said_by.items()}
        swapped = {split: _asked(made.folder, judged[split], swap=_SWAP) for split in JUDGED}
    chances = _gate_chances(scenes, fold, seed)
    return Study(
        seed, made.card.calibration.slope, made.card.calibration.intercept, trained, held_out,
        time.perf_counter() - began_s,
        {
            split: _rows(scenes[split], judged[split], fold, seed, p["trained"][split], swapped[split],
                         p["untrained"][split], chances[split])
            for split in JUDGED
        },
    )  # fmt: skip


def _judged(scenes: Scenes, world: World, fold: Mapping[str, int], seed: int) -> list[Sample]:
    """The greedy answers in the seed's own fold, whatever their outcome."""
    cells = cells_of(scenes)
    kept = scenes.part([row for row in range(len(scenes)) if fold[cells[row]] == seed])
    wanted = {case.truth.id for case in kept.cases}
    return [
        Sample(
            one.photograph,
            one.photograph,
            one.image,
            one.reasoning or "",
            bool(one.right),
            By.OUTCOME,
            "",
            one.taken_by,
        )
        for one in said(scenes, world, 1)
        if one.photograph in wanted
    ]


def _asked(folder: Path, samples: list[Sample], *, swap: int = 0) -> dict[str, float | None]:
    """P(yes) by scene; with `swap` the picture is that of the scene so many further on."""
    with Judge(folder) as judge:
        shown = [seen(samples[(place + swap) % len(samples)]) for place in range(len(samples))]
        p_yes = judge.p_yes([asked(one.reasoning, SYSTEM) for one in samples], shown)
    return dict(zip([one.photograph for one in samples], p_yes, strict=True))


def _gate_chances(scenes: Mapping[str, Scenes], fold: Mapping[str, int], seed: int) -> dict[str, dict[str, float]]:
    """P(within 25 km) by split and scene, of a head that was fitted to the places of the other folds."""
    learnt = gate.outcomes_of(scenes["calibration"])
    kept = np.flatnonzero([fold[cell] != seed for cell in cells_of(scenes["calibration"])])
    chances = {}
    for split in JUDGED:
        chance_N = gate.chances_of(learnt.part(kept), gate.outcomes_of(scenes[split]), seed)
        chances[split] = dict(zip([case.truth.id for case in scenes[split].cases], chance_N.tolist(), strict=True))
    return chances


def _rows(
    scenes: Scenes,
    judged: list[Sample],
    fold: Mapping[str, int],
    seed: int,
    p: Mapping[str, float | None],
    swapped: Mapping[str, float | None],
    untrained: Mapping[str, float | None],
    chances: Mapping[str, float],
) -> list[Row]:
    """All scenes of the fold; an answer that cannot be read names no place, and nothing was asked about it."""
    readable = {sample.photograph for sample in judged}
    rows = []
    for case, cell, photographer in zip(
        scenes.cases, cells_of(scenes), scenes.photographer_N.tolist(), strict=True
    ):
        if fold[cell] != seed:
            continue
        id_, first = case.truth.id, case.samples[0]
        place = first.place if first.is_placed else None
        right = place is not None and case.off_km(place.lat, place.lon) <= (TARGET.km or 0.0)
        of = {name: each.get(id_) if id_ in readable else None
              for name, each in (("p", p), ("p_swapped", swapped), ("p_untrained", untrained))}  # fmt: skip
        own = first.completion.mean_logprob
        rows.append(
            Row(
                id_,
                photographer,
                place is not None,
                right,
                **of,
                gate=chances[id_],
                own=own if own is not None else 0.0,
            )
        )
    return rows
