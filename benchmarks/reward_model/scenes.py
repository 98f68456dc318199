"""Samples for the reward model out of the stored answers of `benchmarks.knowing`, and the places of each seed.

Places (cells of 50 km) are dealt to three folds. A seed holds one fold out: its model and its gate learn from
scenes of `calibration` in the other two and are judged on scenes of `test` and `shift` in that one. The splits'
photographers are not the same people, so neither a place nor a photographer is on both sides.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache

from atlas.drawn import picture_of
from atlas.scenes import scene
from atlas.world import World
from benchmarks.knowing.scenes import Scenes
from trainer.curate.cells import Grid
from trainer.gate.folds import folds_by_cell
from trainer.reward_model.data import CELL_KM, Said, Target
from worker.reason.answer import Answer

FOLDS = 3
TARGET = Target.KM_25
_DEALT_BY = 0


def said(scenes: Scenes, world: World, most: int) -> Iterator[Said]:
    """What the model said of each scene: the greedy answer first, and up to `most` in all."""
    for index, case in enumerate(scenes.cases):
        truth, picture = case.truth, lru_cache(maxsize=1)(picture_of(scene(world, scenes.split, index)))
        for number, sample in enumerate(case.samples[:most]):
            if isinstance(sample.answer, Answer):
                off_km = case.off_km(sample.place.lat, sample.place.lon) if sample.place else float("inf")
                yield Said(
                    photograph=truth.id,
                    source=str(number),
                    image=picture,
                    reasoning=sample.answer.reasoning,
                    right=off_km <= (TARGET.km or 0.0) if sample.is_placed else None,
                    verdict=not sample.abstains,
                    lat=truth.lat,
                    lon=truth.lon,
                    taken_by=truth.photographer,
                )


def cells_of(scenes: Scenes) -> list[str]:
    """The place cell of each scene."""
    grid = Grid(CELL_KM)
    return [grid.cell(case.truth.lat, case.truth.lon) for case in scenes.cases]


def fold_of(scenes: Mapping[str, Scenes]) -> dict[str, int]:
    """The fold of each cell, the same for all seeds."""
    cells = [cell for each in scenes.values() for cell in cells_of(each)]
    return dict(zip(cells, folds_by_cell(cells, FOLDS, seed=_DEALT_BY).tolist(), strict=True))
