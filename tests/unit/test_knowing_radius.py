"""The study of the radius, on answers whose law of errors is known beforehand."""

from dataclasses import replace

import numpy as np
import pytest

from atlas.scenes import scene
from atlas.world import load_world
from benchmarks.knowing.ideal import ideal_answers
from benchmarks.knowing.radius import Answered, granularity_of, located, mean_figures, studies, study
from benchmarks.knowing.recall import on_gallery
from benchmarks.knowing.scenes import ALL
from schema.reasons import Granularity
from tests.unit.knowing_cases import case, scenes
from trainer.calibrate.fit import Parameters
from worker.errors import SetupError
from worker.place.difficulty import Difficulty
from worker.place.doubt import Doubt


def answered(n, seed):
    """Right with the chance that the samples agree; a third of each continent."""
    rng = np.random.default_rng(seed)
    agreement_N = rng.choice([0.2, 0.5, 0.9, 1.0], n)
    right_N = rng.random(n) < agreement_N
    return Answered(
        difficulties=tuple(
            Difficulty(None, float(each), 0.0, 5, None, None, None, None, Granularity.CITY) for each in agreement_N
        ),
        error_km_N=np.where(right_N, rng.uniform(0, 5, n), rng.uniform(300, 3000, n)),
        cluster_N=np.arange(n) // 8,
        continents=tuple(("Africa", "Asia", "Europe")[number % 3] for number in range(n)),
        asked=2 * n,
    )


def test_coverage_is_kept_in_all_parts_and_the_radius_is_narrower():
    found = study(answered(1200, 1), {"test": answered(1500, 2), "shift": answered(1500, 3)}, Parameters())
    on_test = found.splits["test"]
    assert 0.87 <= on_test.radius.coverage <= 0.95
    assert found.figures["coverage_test"] == on_test.radius.coverage
    assert set(on_test.by_continent) == {"Africa", "Asia", "Europe"}
    assert sum(part.n for part in on_test.by_continent.values()) == 1500
    assert sum(part.n for part in on_test.by_granularity.values()) == 1500
    assert found.figures["radius_ratio"] < 0.7
    parts = on_test.by_granularity
    assert on_test.named == pytest.approx(1 - (parts["wider"].n if "wider" in parts else 0) / 1500)
    assert (on_test.risk is None) == (on_test.answered == 0.0)


def test_the_plain_radius_is_one_for_all():
    found = study(answered(1200, 1), {"test": answered(900, 2)}, Parameters()).splits["test"]
    assert found.plain.median_km > 1000
    assert found.plain.coverage == pytest.approx(0.9, abs=0.03)


def test_too_small_a_calibration_is_refused():
    with pytest.raises(SetupError, match="too few"):
        study(answered(50, 1), {"test": answered(50, 2)}, Parameters())


@pytest.mark.parametrize(
    ("radius_km", "name"),
    [(0.5, "street"), (25.0, "city"), (25.1, "region"), (750.0, "country"), (np.inf, "wider")],
)
def test_granularity_follows_the_radius(radius_km, name):
    assert granularity_of(radius_km) == name


def test_what_the_worker_locates_is_judged_with_its_signs():
    cases = [
        case(0, "Paris", ["Paris", "Paris", "Lyon", "unknown"], photographer=1),
        case(1, "Paris", ["unknown"] * 4, photographer=2),
        case(2, "Lyon", ["Lyon"] * 4, photographer=3),
    ]
    found = located(scenes(cases), replace(ALL, most_answers=4))
    first, second = found.difficulties
    assert (found.asked, found.continents) == (3, ("Europe", "Europe"))
    assert found.cluster_N.tolist() == [0, 1]
    assert found.error_km_N == pytest.approx([0.0, 0.0], abs=5.0)
    assert first.agreement == 0.5, "half of all answers name the place; one names none"
    assert first.spread_km == pytest.approx(392 / 3, rel=0.05)
    assert (first.samples, first.stated, first.nearest_cosine) == (4, Granularity.CITY, None)
    assert (second.agreement, second.gate_score) == (1.0, 0.9)


def test_similar_photographs_are_among_the_signs():
    gallery = scenes(
        [case(n, "Paris", ["unknown"], photographer=n) for n in range(3)], [[1, 0], [0.6, 0.8], [0, 1]]
    )
    asked = scenes([case(5, "Paris", ["Paris"], photographer=0)], [[1, 0]])
    [known] = located(on_gallery(asked, gallery), Doubt(most_answers=1)).difficulties
    assert known.nearest_cosine == pytest.approx(0.6), "a photographer's own pictures do not count"


def test_figures_are_means_over_seeds():
    found = studies(answered(1200, 1), {"test": answered(900, 2)}, Parameters(), (0, 1))
    ratios = [each.figures["radius_ratio"] for each in found]
    assert ratios[0] != ratios[1]
    assert mean_figures(found)["radius_ratio"] == pytest.approx(sum(ratios) / 2)


def test_on_the_best_observers_answers_the_promise_is_kept_and_the_radius_far_narrower():
    world = load_world()
    found = study(
        ideal_answers(world, "calibration", 1600, seed=1),
        {"test": ideal_answers(world, "test", 1600, seed=2)},
        Parameters(),
    )
    on_test = found.splits["test"]
    assert 0.87 <= on_test.radius.coverage <= 0.94
    assert on_test.ratio < 0.7
    assert len(on_test.by_continent) >= 5
    assert on_test.risk is None or on_test.risk <= 0.1


def test_the_best_observer_is_right_as_often_as_the_world_allows():
    world = load_world()
    found = ideal_answers(world, "test", 1500)
    shown = [scene(world, "test", index) for index in range(1500)]
    limit = np.mean([each.bayes_city25 for each in shown if each.placeable != "none"])
    assert (found.error_km_N <= 25.0).mean() == pytest.approx(limit, abs=0.04)
