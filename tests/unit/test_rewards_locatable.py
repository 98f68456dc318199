"""Answering and abstaining under a given P(placeable), and the calibration of a judge."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.rewards.base import RewardFailed
from trainer.rewards.calibration import UNCALIBRATED, Calibration
from trainer.rewards.locatable import GivenLocatability, LocatableReward
from worker.errors import SetupError

ABSTAINED = "<think>Fog.</think><answer>country: unknown</answer>"
COUNTRY = "<think>A.</think><answer>country: France</answer>"
REGION = "<think>A.</think><answer>country: France\nregion: Brittany</answer>"
CITY = "<think>A.</think><answer>country: France\ncity: Rennes</answer>"
POINT = "<think>A.</think><answer>country: France\nlat: 48.1\nlon: -1.7</answer>"
GIVEN = LocatableReward(source=GivenLocatability())
probabilities = st.floats(0, 1)


def score(text, p, **columns):
    given_ = {name: [value] for name, value in columns.items()}
    return GIVEN([text], id=["a"], p_placeable=[p], **given_)[0]


@given(p=probabilities, answered=st.sampled_from([COUNTRY, REGION, CITY, POINT]))
def test_abstaining_beats_answering_exactly_where_p_is_below_a_half(p, answered):
    assert score(answered, p) == p
    assert score(ABSTAINED, p) == 1 - p
    assert (score(ABSTAINED, p) > score(answered, p)) == (p < 0.5)


@given(p=probabilities)
def test_the_right_decision_has_the_larger_mean_over_outcomes(p):
    """The reward is the mean, over whether the picture could be placed, of 1 for a right decision."""
    for text, right_if_placeable in ((CITY, 1.0), (ABSTAINED, 0.0)):
        mean = p * right_if_placeable + (1 - p) * (1 - right_if_placeable)
        assert score(text, p) == pytest.approx(mean)


@given(p=probabilities, q=probabilities)
def test_monotone_in_p(p, q):
    low, high = sorted((p, q))
    assert score(CITY, low) <= score(CITY, high)
    assert score(ABSTAINED, low) >= score(ABSTAINED, high)


@pytest.mark.parametrize(
    ("text", "placeable", "factor"),
    [
        (CITY, "city", 1), (REGION, "city", 1), (COUNTRY, "city", 1), (POINT, "city", 1),
        (CITY, "region", 0.5), (REGION, "region", 1), (COUNTRY, "region", 1),
        (CITY, "country", 0.25), (POINT, "country", 0.25), (REGION, "country", 0.5), (COUNTRY, "country", 1),
        (CITY, "none", 0.125), (REGION, "none", 0.25), (COUNTRY, "none", 0.5),
        (CITY, None, 1),
    ],
)  # fmt: skip
def test_an_answer_finer_than_the_picture_tells_is_worth_less(text, placeable, factor):
    assert score(text, 0.8, placeable=placeable) == pytest.approx(0.8 * factor)
    assert score(ABSTAINED, 0.8, placeable=placeable) == pytest.approx(0.2)


def test_what_cannot_be_read_is_worth_nothing_and_what_is_not_known_is_none():
    assert score("A fine picture.", 0.0) == 0.0
    assert score("A fine picture.", 1.0) == 0.0
    assert score(CITY, None) is score(ABSTAINED, None) is score("A fine picture.", None) is None


def test_another_column():
    reward = LocatableReward(source=GivenLocatability(column="gate"))
    assert reward.columns == ("id", "gate")
    assert reward([CITY, ABSTAINED], id=["a", "a"], gate=[0.9, 0.9]) == [0.9, pytest.approx(0.1)]
    with pytest.raises(SetupError, match="no column gate"):
        reward([CITY], id=["a"])


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), "likely"])
def test_what_is_no_probability_stops_the_run(p):
    with pytest.raises(RewardFailed, match="reward locatable, sample a: column p_placeable holds"):
        score(CITY, p)


def test_a_level_that_is_none_stops_the_run():
    with pytest.raises(RewardFailed, match="column placeable holds 'street', not one of city, region"):
        score(CITY, 0.5, placeable="street")


@pytest.mark.parametrize("overreach", [-0.1, 1.1, float("nan")])
def test_an_overreach_that_is_none_is_refused(overreach):
    with pytest.raises(SetupError, match="overreach"):
        LocatableReward(source=GivenLocatability(), overreach=overreach)


# ---------------------------------------------------------------- calibration


@given(p=probabilities, q=probabilities, slope=st.floats(0.1, 5), intercept=st.floats(-5, 5))
def test_a_calibration_keeps_order_and_bounds(p, q, slope, intercept):
    calibration = Calibration(slope, intercept)
    low, high = sorted((p, q))
    assert 0 <= calibration(low) <= calibration(high) <= 1


@given(p=st.floats(1e-5, 1 - 1e-5))
def test_without_calibration_nothing_changes(p):
    assert UNCALIBRATED(p) == pytest.approx(p)


def test_a_calibration_finds_the_judges_bias_again():
    rng = np.random.default_rng(5)
    odds_N = rng.normal(0.5, 2.0, 20_000)
    placed_N = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * odds_N - 1.0)))  # a judge twice too sure, too hopeful
    p_N = 1 / (1 + np.exp(-odds_N))
    found = Calibration.fit(p_N, placed_N)
    assert found.slope == pytest.approx(0.5, abs=0.03)
    assert found.intercept == pytest.approx(-1.0, abs=0.06)
    calibrated_N = np.array([found(p) for p in p_N])
    assert calibrated_N.mean() == pytest.approx(placed_N.mean(), abs=1e-3)


def test_a_calibration_stays_finite_where_the_judge_is_never_wrong():
    found = Calibration.fit([0.0, 0.1, 0.2, 0.8, 0.9, 1.0], [False, False, False, True, True, True])
    assert np.isfinite([found.slope, found.intercept]).all()
    assert found(0.0) < found(0.2) < 0.5 < found(0.8) < found(1.0)


@pytest.mark.parametrize(
    ("p", "placed"), [([], []), ([0.5], [True]), ([0.5, 0.6], [False, False]), ([0.5], [True, False])]
)
def test_a_calibration_needs_both_outcomes(p, placed):
    with pytest.raises(SetupError, match="a calibration needs placeable and other pictures"):
        Calibration.fit(p, placed)
