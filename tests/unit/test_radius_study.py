"""The study of the radius, on answers whose law of errors is known beforehand."""

import json

import numpy as np
import pytest

from atlas.scenes import scene
from atlas.world import load_world
from benchmarks.radius_answers import read
from benchmarks.radius_ideal import ideal_answers
from benchmarks.radius_study import Answered, granularity_of, study
from schema.reasons import Granularity
from trainer.calibrate.fit import Parameters
from worker.errors import SetupError
from worker.place.difficulty import Difficulty
from worker.place.gazetteer import Gazetteer


def answered(n, seed):
    """Right with the chance that the samples agree; a third of each continent."""
    rng = np.random.default_rng(seed)
    agreement_N = rng.choice([0.2, 0.5, 0.9, 1.0], n)
    right_N = rng.random(n) < agreement_N
    return Answered(
        difficulties=tuple(
            Difficulty(None, float(each), 0.0, 5, None, None, None, Granularity.CITY) for each in agreement_N
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


def test_stored_answers_are_read_with_their_signs(tmp_path):
    def row(number, photographer, texts, embedding):
        return {
            "id": str(number),
            "lat": 48.85,
            "lon": 2.35,
            "country_code": "FR",
            "photographer": photographer,
            "placeable": "city",
            "gate_score": 0.9,
            "answers": [[text, "stop", -0.2] for text in texts],
            "embedding": embedding,
        }

    paris, lyon, nowhere = (
        f"<think>A town.</think><answer>country: {country}\ncity: {city}</answer>"
        for country, city in (("France", "Paris"), ("France", "Lyon"), ("unknown", "unknown"))
    )
    rows = [row(0, "a", [paris, paris, lyon, nowhere], [1.0, 0.0]), row(1, "b", [nowhere, paris], [0.6, 0.8])]
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    found = read(path, Gazetteer.load(), gallery=path)
    [known] = found.difficulties
    assert (found.asked, found.continents) == (2, ("Europe",))
    assert found.error_km_N == pytest.approx([0.0], abs=5.0)
    assert known.agreement == 0.5, "half of all answers name the place; one names none"
    assert known.spread_km == pytest.approx(392 / 3, rel=0.05)
    assert (known.samples, known.stated) == (4, Granularity.CITY)
    assert known.nearest_cosine == pytest.approx(0.6), "a photographer's own pictures do not count"
    assert known.candidate_agreement is not None


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
