"""The baselines: each orders photographs as it says it does, and none makes up what it does not have."""

import numpy as np
import pytest

from trainer.gate.baselines import (
    ClassAreas,
    CountryProbability,
    ModelSaysYes,
    NeighbourSpread,
    Photographs,
    ZeroShotPrompts,
)
from worker.errors import SetupError
from worker.gate.zeroshot import ZeroShotHead

AXES = np.eye(6, dtype=np.float32)


def test_zero_shot_prompts_are_the_gates_own_head():
    head = ZeroShotHead(AXES[:2], np.array([True, False]), 10.0)
    scores = ZeroShotPrompts(head).scores(Photographs(AXES[:3]))
    assert scores == pytest.approx([head.score(row) for row in AXES[:3]])


def test_class_areas_weigh_what_is_there():
    areas = [{"road": 0.5, "sky": 0.5}, {"sky": 1.0}, {"road": 0.25, "sign": 0.25, "wall": 0.5}]
    scores = ClassAreas({"road": 1.0, "sign": 0.4, "sky": 0.1}).scores(Photographs(AXES[:3], areas))
    assert scores == pytest.approx([0.55, 0.1, 0.35])


def test_country_probability_is_the_largest_of_the_softmax():
    pictures = np.stack([AXES[0], (AXES[0] + AXES[1]) / np.sqrt(2), AXES[5]])
    scores = CountryProbability(AXES[:3], 20.0).scores(Photographs(pictures))
    logits = 20.0 * pictures.astype(float) @ AXES[:3].T
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert scores == pytest.approx(expected.max(axis=1))
    assert scores[0] > scores[1] > scores[2]


def test_neighbour_spread_is_the_mean_distance_between_neighbours():
    """Look-alikes of the first picture stand in one town, those of the second a quarter of the earth apart."""
    gallery = np.stack([AXES[0], AXES[0], AXES[1], AXES[1]])
    baseline = NeighbourSpread(gallery, np.zeros(4), np.array([10.0, 10.0, 0.0, 90.0]), k=2)
    assert baseline.scores(Photographs(AXES[:2])) == pytest.approx([0.0, -6371.0 * np.pi / 2], abs=20)


def test_neighbour_spread_of_many_is_that_of_each():
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(40, 6)).astype(np.float32)
    baseline = NeighbourSpread(gallery, rng.uniform(-80, 80, 40), rng.uniform(-180, 180, 40))
    pictures = rng.normal(size=(700, 6)).astype(np.float32)
    together = baseline.scores(Photographs(pictures))
    assert together.shape == (700,)
    assert together[[0, 511, 512, 699]] == pytest.approx(
        [baseline.scores(Photographs(pictures[[row]]))[0] for row in (0, 511, 512, 699)], rel=1e-5
    )


@pytest.mark.parametrize(
    "baseline", [ClassAreas({"road": 1.0}), ModelSaysYes(), NeighbourSpread(AXES[:1], np.zeros(1), np.zeros(1))]
)
def test_what_is_missing_is_said_and_not_scored(baseline):
    with pytest.raises(SetupError, match=baseline.name):
        baseline.scores(Photographs(AXES[:2], p_yes_N=np.array([0.5, np.nan])))
