"""The rule that decides whether a trained model may serve."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.cycle.verdict import Rule, calibration_error, decide
from trainer.judge.columns import make_columns
from trainer.judge.distance import Distance
from trainer.judge.matching import match
from trainer.judge.records import Outcome, Prediction, Truth
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer

RULE = Rule(replicates=300)
HERE, NEAR, FAR = (48.85, 2.35), (48.9, 2.35), (-33.9, 151.2)
CUES = frozenset({"sign=blue", "road=wet"})


def verdict_on(candidate, serving, rule):
    return decide(candidate, serving, rule)[0]


def columns(points, *, photographers=None, confidences=None, stated=None, placeable=None, name="a"):
    """A run over photographs of one place. A point of None is a refusal."""
    truths = [
        Truth(
            f"{number:03}",
            *HERE,
            country_code="FR",
            country="France",
            photographer=None if photographers is None else str(photographers[number]),
            placeable=None if placeable is None else placeable[number],
            true_cues=None if stated is None else CUES,
        )
        for number in range(len(points))
    ]
    said = []
    for number, point in enumerate(points):
        more = {
            "confidence": None if confidences is None else confidences[number],
            "stated_cues": None if stated is None else stated[number],
        }
        if point is None:
            said.append(Prediction(f"{number:03}", Outcome.REFUSED, **more))
        else:
            said.append(Prediction(f"{number:03}", Outcome.LOCATED, lat=point[0], lon=point[1], **more))
    return make_columns(match(name, truths, said, source=name), Distance(), Gazetteer.load())


def failed(verdict):
    return {check.name for check in verdict.checks if check.passed is False}


points = st.lists(st.sampled_from([HERE, FAR, None]), min_size=1, max_size=40)


@given(points, st.integers(1, 8))
@settings(max_examples=60)
def test_an_identical_model_is_never_promoted(said, photographers):
    made = columns(said, photographers=[number % photographers for number in range(len(said))])
    verdict = verdict_on(made, made, Rule(replicates=300, least_clusters=1))
    assert not verdict.promoted
    assert verdict.gain.value == 0
    assert "gain" in failed(verdict)


@given(st.data())
@settings(max_examples=60)
def test_the_rule_is_symmetric_and_never_promotes_each_over_the_other(data):
    n = data.draw(st.integers(1, 40))
    pair = [data.draw(st.lists(st.sampled_from([HERE, FAR, None]), min_size=n, max_size=n)) for _ in range(2)]
    a, b = columns(pair[0], name="a"), columns(pair[1], name="b")
    rule = Rule(replicates=300, least_clusters=2)
    there, back = verdict_on(a, b, rule), verdict_on(b, a, rule)
    assert there.gain.value == pytest.approx(-back.gain.value)
    if there.gain.low is not None:
        assert (there.gain.low, there.gain.high) == pytest.approx((-back.gain.high, -back.gain.low))
    assert not (there.promoted and back.promoted)


@given(st.integers(30, 60), st.integers(0, 10), st.integers(15, 20))
@settings(max_examples=40)
def test_a_clearly_worse_model_is_refused(n, lost_anyway, lost):
    serving = [FAR] * lost_anyway + [HERE] * (n - lost_anyway)
    worse = [FAR] * (lost_anyway + lost) + [HERE] * (n - lost_anyway - lost)
    verdict = verdict_on(columns(worse), columns(serving), RULE)
    assert not verdict.promoted
    assert any("it is worse" in reason for reason in verdict.reasons)
    assert verdict_on(columns(serving), columns(worse), RULE).promoted


def test_a_better_model_is_promoted_and_it_says_why():
    verdict = verdict_on(columns([HERE] * 30 + [FAR] * 10), columns([HERE] * 15 + [FAR] * 25), RULE)
    assert verdict.promoted
    assert verdict.reasons[0] == "judged on 40 photographs of 40 photographers or places"
    assert verdict.reasons[1].startswith("75.0 % within 25 km against 37.5 %: +37.5 points, interval +22.5 to +")
    assert any("cannot be judged" in reason for reason in verdict.reasons)
    again = json.loads(json.dumps(verdict.to_json()))
    assert again["gain"]["name"] == "within_25_km"
    assert [check["passed"] for check in again["checks"]] == [True, True, None, None, True, None]


def test_a_gain_that_may_be_chance_is_refused():
    verdict = verdict_on(columns([HERE] * 21 + [FAR] * 19), columns([HERE] * 20 + [FAR] * 20), RULE)
    assert failed(verdict) == {"gain"}
    assert "that may be chance" in verdict.reasons[0]


def test_photographs_of_few_photographers_are_few_however_many_they_are():
    better, serving = [HERE] * 200, [FAR] * 200
    assert verdict_on(columns(better), columns(serving), RULE).promoted
    of_few = [number % 19 for number in range(200)]
    verdict = verdict_on(columns(better, photographers=of_few), columns(serving, photographers=of_few), RULE)
    assert failed(verdict) == {"enough"}
    assert verdict.reasons[0] == (
        "judged on 200 photographs of 19 photographers or places only, where 20 are the least to go by"
    )
    one = [0] * 200
    verdict = verdict_on(columns(better, photographers=one), columns(serving, photographers=one), RULE)
    assert failed(verdict) == {"enough", "gain"}
    assert any("no interval can be had" in reason for reason in verdict.reasons)


def test_photographs_that_were_taken_together_widen_the_interval():
    """The same answers: clear by photograph, chance by photographer, since all the gain is one photographer's."""
    better, serving = [HERE] * 30 + [FAR] * 90, [FAR] * 120
    assert verdict_on(columns(better), columns(serving), RULE).promoted
    by = [0] * 30 + [1 + number % 30 for number in range(90)]
    verdict = verdict_on(columns(better, photographers=by), columns(serving, photographers=by), RULE)
    assert failed(verdict) == {"gain"}


@pytest.mark.parametrize(("radius_km", "promoted"), [(1, False), (25, True), (200, True)])
def test_the_radius_is_the_chosen_one(radius_km, promoted):
    near, far = columns([NEAR] * 40), columns([FAR] * 40)
    assert verdict_on(near, far, Rule(radius_km=radius_km, replicates=300)).promoted is promoted


def test_a_radius_that_is_not_judged_is_refused():
    with pytest.raises(SetupError, match="models are judged at 1, 25, 200, 750, 2500 km, not 30"):
        Rule(radius_km=30)


# --- honesty ---

BETTER, SERVING = [HERE] * 40, [FAR] * 40


def test_a_model_that_invents_more_is_refused_however_good_it_is():
    honest, inventing = [frozenset({"sign=blue"})] * 40, [frozenset({"sign=blue", "tram=red"})] * 40
    verdict = verdict_on(columns(BETTER, stated=inventing), columns(SERVING, stated=honest), RULE)
    assert failed(verdict) == {"invented cues"}
    assert (verdict.candidate.invented, verdict.serving.invented) == (1.0, 0.0)
    assert "1.000 invented cues per answer against 0.000" in verdict.reasons[0]
    assert verdict_on(columns(BETTER, stated=honest), columns(SERVING, stated=inventing), RULE).promoted
    within = [inventing[0]] * 2 + honest[2:]
    assert verdict_on(columns(BETTER, stated=within), columns(SERVING, stated=honest), RULE).promoted


def test_a_model_that_is_sure_of_what_is_wrong_is_refused():
    half = [HERE] * 20 + [FAR] * 20
    fitting = [0.5 + 0.001 * (number % 20) for number in range(40)]
    verdict = verdict_on(columns(half, confidences=[1.0] * 40), columns([FAR] * 40, confidences=[0.1] * 40), RULE)
    assert failed(verdict) == {"calibration"}
    assert verdict.candidate.calibration_error == pytest.approx(0.5)
    assert verdict_on(
        columns(half, confidences=fitting), columns([FAR] * 40, confidences=[0.9] * 40), RULE
    ).promoted


def test_a_model_that_answers_less_is_refused():
    verdict = verdict_on(columns([HERE] * 30 + [None] * 10), columns([FAR] * 38 + [None] * 2), RULE)
    assert failed(verdict) == {"answers"}
    assert "75.0 % answered against 95.0 %" in verdict.reasons[0]


def test_a_model_that_answers_where_nothing_can_be_told_is_refused():
    placeable = ["city"] * 30 + ["none"] * 10
    guessing = columns([HERE] * 30 + [FAR] * 10, placeable=placeable)
    honest = columns([FAR] * 30 + [None] * 10, placeable=placeable)
    verdict = verdict_on(guessing, honest, RULE)
    assert failed(verdict) == {"hopeless answers"}
    refusing = columns([HERE] * 30 + [None] * 10, placeable=placeable)
    assert verdict_on(refusing, guessing, RULE).promoted is False, "nothing was gained"


def test_what_cannot_be_judged_is_said_and_decides_nothing():
    verdict = verdict_on(columns(BETTER), columns(SERVING), RULE)
    unknown = [check for check in verdict.checks if check.passed is None]
    assert {check.name for check in unknown} == {"invented cues", "calibration", "hopeless answers"}
    assert verdict.promoted
    assert {check.sentence for check in unknown} <= set(verdict.reasons)


def test_the_calibration_error_of_known_cases():
    right = np.array([0.0, 1.0] * 50)
    assert calibration_error(np.full(100, 0.5), right) == pytest.approx(0.0)
    assert calibration_error(np.full(100, 1.0), right) == pytest.approx(0.5)
    assert calibration_error(np.array([0.2]), np.array([1.0])) == pytest.approx(0.8)
    sorted_right = np.array([0.0] * 50 + [1.0] * 50)
    assert calibration_error(np.linspace(0, 1, 100), sorted_right) == pytest.approx(0.25, abs=0.01)
