"""Difficulty, hardness and the radius that follows from them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.reasons import Granularity
from worker.place.difficulty import Difficulty
from worker.place.hardness import SIGNS, Curve, Floor, Hardness, signs_of
from worker.place.radius import CONFIDENCE_KM, RADII_KM, RadiusModel, Shares
from worker.place.sphere import HALF_CIRCUMFERENCE_KM

share = st.floats(0, 1)
maybe_share = st.none() | share
difficulties = st.builds(
    Difficulty,
    gate_score=maybe_share,
    agreement=share,
    spread_km=st.floats(0, HALF_CIRCUMFERENCE_KM),
    samples=st.integers(1, 8),
    mean_logprob=st.none() | st.floats(-20, 0),
    place_logprob=st.none() | st.floats(-20, 0),
    nearest_cosine=st.none() | st.floats(-1, 1),
    candidate_agreement=maybe_share,
    stated=st.sampled_from(Granularity),
)
EASY = Difficulty(0.95, 1.0, 0.0, 1, -0.01, -0.02, 0.97, 1.0, Granularity.CITY)
HARD = Difficulty(0.30, 0.4, 3000.0, 5, -1.50, -4.0, 0.50, 0.1, Granularity.COUNTRY)


def shares(*levels):
    """At each level so many of the near ones; all others lie evenly, in the logarithm, up to half the Earth."""
    log_Z = np.log1p(RADII_KM) / np.log1p(RADII_KM[-1])
    near_Z = np.minimum(1.0, np.array(RADII_KM) / 10.0)
    rows = [near * near_Z + (1 - near) * log_Z for _, near in levels]
    share_L_Z = 0.999 * np.array(rows) + 0.001 * np.linspace(0, 1, len(RADII_KM))
    return Shares(np.array([level for level, _ in levels]), share_L_Z)


def model(**changes):
    fields = {
        "coverage": 0.9,
        "hardness": Hardness(
            0.2,
            {
                "disagreement": Curve((0.0, 0.5), (0.0, 1.5), 1.0),
                "improbable": Curve((0.0, 2.0), (0.0, 0.8), 0.5),
                "coarse": Curve((1.0, 3.0), (0.0, 0.6), 0.0),
            },
            {"unlike_archive": Floor(0.6, 3.0)},
        ),
        "shares": shares((0.5, 0.95), (1.5, 0.6), (2.5, 0.1)),
        "edge_G": np.array([1.0]),
        "level_G": np.array([0.92, 0.9]),
        "farthest": 4.0,
        "confident": shares((0.5, 0.9), (2.5, 0.2)),
        "max_risk": 0.1,
        "hardest": 0.8,
        "calibration_id": 7,
    }
    return RadiusModel(**(fields | changes))


@given(difficulties)
def test_difficulty_survives_its_row(known):
    assert Difficulty.from_json(json.loads(json.dumps(known.to_json()))) == known


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"agreement": None}, "without agreement"),
        ({"agreement": "1"}, "agreement='1'"),
        ({"spread_km": math.nan}, "spread_km=nan"),
        ({"samples": 0}, "samples=0"),
        ({"samples": True}, "samples=True"),
        ({"stated": "planet"}, "planet"),
        ({"more": 1}, "expected"),
    ],
)
def test_what_is_no_difficulty_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        Difficulty.from_json(EASY.to_json() | change)


def test_a_difficulty_without_a_sign_is_refused():
    stored = EASY.to_json()
    del stored["gate_score"]
    with pytest.raises(ValueError, match="expected"):
        Difficulty.from_json(stored)


def test_every_sign_grows_with_the_difficulty():
    easy, hard = signs_of(EASY), signs_of(HARD)
    assert easy.keys() == SIGNS.keys()
    assert all(easy[name] < hard[name] for name in SIGNS)


@given(difficulties)
def test_signs_are_unknown_exactly_where_nothing_is_known(known):
    found = signs_of(known)
    assert math.isnan(found["gate_doubt"]) == (known.gate_score is None)
    assert math.isnan(found["improbable"]) == (known.mean_logprob is None)
    assert not math.isnan(found["spread"])


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_a_curve_never_falls_and_is_level_outside(one, other):
    curve = Curve((-1.0, 0.0, 2.0), (0.0, 0.5, 0.5), 0.3)
    low, high = curve.added(np.array(sorted((one, other))))
    assert 0.0 <= low <= high <= 0.5


def test_an_unknown_sign_adds_what_the_curve_says():
    assert Curve((0.0, 1.0), (0.0, 2.0), 0.7).added(np.array([np.nan])) == pytest.approx([0.7])


@pytest.mark.parametrize(
    "wrong",
    [((), (), 0.0), ((0.0, 0.0), (0.0, 1.0), 0.0), ((0.0, 1.0), (1.0, 0.0), 0.0), ((0.0,), (math.inf,), 0.0)],
)
def test_a_curve_that_falls_is_refused(wrong):
    with pytest.raises(ValueError, match="curve"):
        Curve(*wrong)


def test_the_harder_photograph_has_the_wider_radius_and_the_smaller_confidence():
    easy, hard = model().radius(EASY), model().radius(HARD)
    assert easy.radius_km < 25 < hard.radius_km < math.inf
    assert easy.coverage == hard.coverage == 0.9
    assert easy.calibration_id == 7
    assert all(easy.confidence_by_km[km] > hard.confidence_by_km[km] for km in CONFIDENCE_KM)


@given(difficulties)
def test_confidence_never_falls_with_the_distance(known):
    found = model().radius(known)
    by_km = [found.confidence_by_km[km] for km in CONFIDENCE_KM]
    assert by_km == sorted(by_km)
    assert all(0.0 <= each <= 1.0 for each in by_km)
    assert found.radius_km >= 0.0


@given(st.floats(-1, 5), st.floats(0, 1))
def test_distance_and_share_are_each_others_inverse(hardness, level):
    some = model().shares
    km = some.distance_km(np.array([hardness]), np.array([level]))
    assert some.within(np.array([hardness]), km) == pytest.approx([level], abs=2e-3)


def test_where_nothing_can_be_promised_the_radius_is_infinite():
    unpromised = model(level_G=np.array([0.92, math.nan]))
    assert unpromised.radius(HARD).radius_km == math.inf
    assert unpromised.radius(EASY).radius_km < math.inf


def test_harder_than_all_that_was_seen_has_no_radius():
    assert model(farthest=1.0).radius(HARD).radius_km == math.inf


def test_the_risk_is_kept_up_to_a_hardness():
    assert model().radius(EASY).keeps_risk is True
    assert model().radius(HARD).keeps_risk is False
    assert model(hardest=None).radius(EASY).keeps_risk is None


def test_what_is_unlike_the_archive_is_hard_however_sure_the_model_was():
    hardness = model().hardness_of
    strange, unknown = replace(EASY, nearest_cosine=0.3), replace(EASY, nearest_cosine=None)
    assert hardness(EASY) == hardness(unknown) < hardness(strange) == 3.0
    assert hardness(replace(HARD, nearest_cosine=0.3)) == max(3.0, hardness(HARD)[0])


@given(difficulties)
def test_a_model_survives_its_row(known):
    one = model(level_G=np.array([0.92, math.nan]))
    other = RadiusModel.from_json(json.loads(json.dumps(one.to_json(), allow_nan=False)), calibration_id=7)
    assert other.radius(known) == one.radius(known)
    assert other.radius(known).keeps_risk == one.radius(known).keeps_risk


@pytest.mark.parametrize(
    "change",
    [
        {"form": 1},
        {"radii_km": [1.0, 2.0]},
        {"levels": [0.9]},
        {"edges": [2.0, 1.0], "levels": [0.9, 0.9, 0.9]},
        {"coverage": 1.0},
        {"shares": {"levels": [0.0], "shares": [[0.5] * len(RADII_KM)]}},
        {"hardness": {}},
        {"farthest": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_parameters_that_are_no_calibration_are_refused(change):
    with pytest.raises(ValueError, match="no calibration of the radius"):
        RadiusModel.from_json(model().to_json() | change)
