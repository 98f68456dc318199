"""The gate in the study of knowing, on made-up answers: who knows something comes out ahead."""

import numpy as np
import pytest

from atlas.areas import CLASSES
from atlas.world import load_world
from benchmarks.knowing.gate import (
    HEAD,
    Outcomes,
    best_baseline,
    class_weights,
    compare,
    figures_of,
    gain,
    mean_of,
    outcomes_of,
    threshold_for,
)
from tests.unit.knowing_cases import case, scenes
from trainer.gate.baselines import ClassAreas, ModelSaysYes, NeighbourSpread


def answers(seed: int, count: int = 300) -> Outcomes:
    """The first dimension of the embedding tells who is placed; nothing else tells anything."""
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(count, 8)).astype(np.float32)
    cell = rng.integers(0, 30, count)
    placed = rng.random(count) < 1 / (1 + np.exp(-3 * embedding[:, 0]))
    areas = rng.random((count, len(CLASSES)))
    return Outcomes(
        lat_N=5.0 * (cell % 6),
        lon_N=9.0 * (cell // 6),
        km_N=np.where(placed, 3.0, np.inf),
        named_N=rng.integers(0, 5, count) / 4,
        photographer_N=np.arange(count) // 10,
        embedding_N_D=embedding,
        area_N_C=areas / areas.sum(axis=1, keepdims=True),
    )


def test_the_head_comes_out_ahead_of_scores_that_know_nothing():
    learnt, judged = answers(0), answers(1)
    baselines = [
        ClassAreas({"road": 1.0}),
        ModelSaysYes(),
        NeighbourSpread(learnt.embedding_N_D, learnt.lat_N, learnt.lon_N),
    ]
    scores = compare(learnt, judged, baselines, (0, 1), 50)
    assert [len(found) for found in scores.values()] == [2, 1, 1, 1]
    assert mean_of(scores[HEAD], "auroc") > 0.8 > 0.65 > mean_of(scores[best_baseline(scores)], "auroc")
    value, low, high = gain(scores, best_baseline(scores))
    assert value == pytest.approx(mean_of(scores[HEAD], "auroc") - mean_of(scores[best_baseline(scores)], "auroc"))
    assert low is not None
    assert high is not None
    assert 0 < low < value < high
    figures = figures_of("test", scores)
    assert figures["auroc_head_test"] == mean_of(scores[HEAD], "auroc")
    assert figures["accuracy_at_50_head_test"] > figures["accuracy_at_50_best_baseline_test"]
    assert figures["auroc_model_says_yes_test"] == mean_of(scores["model says yes"], "auroc")


def test_class_weights_are_what_a_cue_tells_of_the_country():
    weights = class_weights(load_world())
    assert all(0 <= weight <= 1 for weight in weights.values())
    assert set(weights) <= set(CLASSES)
    assert weights["script"] > weights["light"]


def test_outcomes_are_the_greedy_answers_and_four_further_ones():
    found = outcomes_of(
        scenes(
            [
                case(0, "Lyon", ["Lyon", "Lyon", "unknown", "Paris", "unknown", "Lyon", "Lyon", "Lyon"]),
                case(1, "Lyon", ["unknown", *["Lyon"] * 7], photographer=1),
            ]
        )
    )
    assert found.km_N[0] < 5
    assert found.km_N[1] == np.inf
    assert found.named_N.tolist() == [0.5, 1.0]
    assert found.area_N_C.shape == (2, 0)


def test_a_threshold_is_chosen_where_the_risk_can_be_proven():
    choice = threshold_for(answers(0, 1500), 0.3)
    assert choice is not None
    assert choice.upper <= 0.3
    assert threshold_for(answers(0, 300), 0.01) is None
