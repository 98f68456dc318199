"""How outcomes and verdicts become a yes or a no, and how samples are parted by place and photographer."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.curate.opinions import Case, Opinion, Subject, Trouble
from trainer.judge.records import Judged, Outcome, Prediction, Truth
from trainer.reward_model.curated import from_cases
from trainer.reward_model.data import (
    By,
    Labelled,
    LeftOut,
    Said,
    Target,
    balanced,
    labelled,
    majority,
    parted,
    with_outcomes,
)
from trainer.reward_model.judged import from_judged
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer
from worker.reason.answer import Answer

PICTURE = Path("picture.jpg")
PARIS = {"lat": 48.8566, "lon": 2.3522}


def said(source="a", photograph="p", right=None, verdict=None, reasoning="Signs.", taken_by=None, **place):
    place = PARIS | place
    return Said(photograph, source, PICTURE, reasoning, right, verdict, place["lat"], place["lon"], taken_by)


def votes(*each):
    """The labels and what they rest on, by source."""
    return {sample.id.split()[1]: (sample.locatable, sample.by) for sample in labelled(each).samples}


# --- labels ---


def test_its_own_outcome_counts_before_all_verdicts():
    found = votes(
        said("a", right=True, verdict=False), said("b", right=False, verdict=True), said("c", verdict=False)
    )
    assert found["a"] == (True, By.OUTCOME)
    assert found["b"] == (False, By.OUTCOME)


def test_who_gives_up_is_labelled_by_how_the_others_fared_not_by_giving_up():
    gave_up = said("a", verdict=False)
    assert votes(gave_up, said("b", right=True), said("c", right=True))["a"] == (True, By.OTHERS)
    assert votes(gave_up, said("b", right=False))["a"] == (False, By.OTHERS)


def test_without_any_outcome_the_majority_of_verdicts_counts():
    found = votes(said("a", verdict=True), said("b", verdict=True), said("c", verdict=False))
    assert set(found.values()) == {(True, By.VERDICTS)}


def test_a_tie_and_silence_are_left_out_and_counted():
    found = labelled([said("a", verdict=True), said("b", verdict=False), said("c", photograph="q")])
    assert found.samples == ()
    assert found.left_out == {LeftOut.UNDECIDED: 3}
    assert "left out 3: neither an outcome nor a majority" in found.counts()


def test_a_source_without_reasons_votes_and_is_no_sample():
    found = votes(said("geoclip", right=True, reasoning=None), said("a", verdict=False))
    assert found == {"a": (True, By.OTHERS)}


def test_photographs_do_not_vote_for_each_other():
    assert votes(said("a", right=True), said("b", photograph="q", verdict=False))["b"] == (False, By.VERDICTS)


@given(st.lists(st.sampled_from([True, False, None]), max_size=9))
def test_the_majority_is_what_more_say(votes_):
    yes, no = votes_.count(True), votes_.count(False)
    assert majority(votes_) is (None if yes == no else yes > no)


@pytest.mark.parametrize(
    ("target", "right"),
    [(Target.COUNTRY, True), (Target.KM_25, False), (Target.KM_200, True), (Target.KM_750, True)],
)
def test_a_place_is_right_by_country_or_distance(target, right):
    truth = Truth("a", **PARIS, country_code="FR")
    rouen = Prediction("a", Outcome.LOCATED, lat=49.4431, lon=1.0993, country_code="FR")
    assert target.right(truth, rouen) is right


def test_what_cannot_be_compared_has_no_outcome():
    truth = Truth("a", **PARIS, country_code="FR")
    refused = Prediction("a", Outcome.REFUSED)
    assert [target.right(truth, refused) for target in Target] == [None] * 4
    named = Prediction("a", Outcome.UNRESOLVED, country_code="FR", city="Nowhere")
    assert Target.COUNTRY.right(truth, named) is True
    assert Target.KM_25.right(truth, named) is None
    assert Target.COUNTRY.right(replace(truth, country_code=None), named) is None


# --- where samples come from ---


def subject(id_="a", **changed):
    return replace(Subject(id_, f"file:///{id_}.jpg", **PARIS, country_code="FR", country="France"), **changed)


def test_cases_of_curation():
    opinions = (
        Opinion("right", Answer("A tower.", country="France", city="Paris"), locatable=True),
        Opinion("wrong", Answer("A church.", country="Germany"), locatable=True),
        Opinion("gives up", Answer("Fog.", abstains=True), locatable=False),
        Opinion("geoclip", lat=48.9, lon=2.3, confidence=0.9),
        Opinion("verdict alone", locatable=True),
    )
    cases = [
        Case(subject(grouped_by="kim"), opinions, {"cut": Trouble.CUT}),
        Case(subject("gone"), opinions),
    ]
    found = from_cases(
        cases, lambda one: PICTURE if one.id == "a" else LeftOut.NO_PICTURE, Target.KM_25, Gazetteer.load()
    )
    assert {sample.id.split(maxsplit=1)[1][:-2]: (sample.reasoning, sample.locatable, sample.by)
            for sample in found.samples} == {
        "right": ("A tower.", True, By.OUTCOME),
        "wrong": ("A church.", False, By.OUTCOME),
        "gives up": ("Fog.", True, By.OTHERS),
    }  # fmt: skip
    assert {sample.taken_by for sample in found.samples} == {"kim"}
    assert found.left_out == {LeftOut.UNREADABLE: 1, LeftOut.NO_PICTURE: 5}


def test_stored_predictions():
    truth = Truth("a", **PARIS, country_code="FR", photographer="kim", image=PICTURE)
    paris = Prediction(
        "a", Outcome.LOCATED, lat=48.85, lon=2.35, country_code="FR",
        raw="<think>A tower.</think><answer>country: France\ncity: Paris</answer>",
    )  # fmt: skip
    unknown = Prediction("a", Outcome.REFUSED, raw="<think>Fog.</think><answer>country: unknown</answer>")
    broken = Prediction("a", Outcome.UNPARSABLE, raw="<think>Fog.")
    judged = [Judged(truth, each) for each in (paris, unknown, broken, replace(paris, raw=None))]
    judged.append(Judged(replace(truth, image=None), paris))
    found = from_judged((("m", each) for each in judged), Target.KM_25)
    assert [(sample.reasoning, sample.locatable, sample.by) for sample in found.samples] == [
        ("A tower.", True, By.OUTCOME),
        ("Fog.", True, By.OTHERS),
    ]
    alone = from_judged([("m", Judged(truth, unknown))], Target.KM_25)
    assert [(sample.locatable, sample.by) for sample in alone.samples] == [(False, By.VERDICTS)]
    assert found.left_out == {LeftOut.UNREADABLE: 2, LeftOut.NO_PICTURE: 1}


# --- two sides ---


def many(count=600, seed=0, yes_share=0.7):
    """Forty places with three photographers each, of whom one in five is elsewhere at times."""
    rng = random.Random(seed)
    places = [(rng.uniform(-60, 60), rng.uniform(-170, 170)) for _ in range(40)]
    rows = []
    for number in range(count):
        place = rng.randrange(40)
        lat, lon = places[place]
        home = rng.randrange(40) if rng.random() < 0.05 else place
        rows.append(
            said(photograph=f"p{number}", right=rng.random() < yes_share, lat=lat, lon=lon,
                 taken_by=f"t{home}-{rng.randrange(3)}")
        )  # fmt: skip
    return labelled(rows)


@given(seed=st.integers(0, 50), share=st.floats(0.2, 0.4))
def test_no_place_and_no_photographer_is_on_both_sides(seed, share):
    found = many()
    sides = parted(found, held_out_share=share, seed=seed)
    for of in (lambda sample: sample.cell, lambda sample: sample.taken_by, lambda sample: sample.photograph):
        assert not {of(sample) for sample in sides.train} & {of(sample) for sample in sides.held_out}
    assert len(sides.train) + len(sides.held_out) + sides.given_up + sides.surplus == len(found.samples)
    assert abs(len(sides.held_out) - share * len(found.samples)) < 40  # within a place or so


def test_training_is_balanced_and_what_is_held_out_is_as_found():
    sides = parted(many(yes_share=0.8), held_out_share=0.3, seed=0)
    assert Counter(sample.locatable for sample in sides.train) == {
        True: len(sides.train) // 2, False: len(sides.train) // 2
    }  # fmt: skip
    assert sum(sample.locatable for sample in sides.held_out) / len(sides.held_out) == pytest.approx(0.8, abs=0.08)


def test_the_sides_do_not_hang_on_the_order_of_samples():
    found = many()
    shuffled = list(found.samples)
    random.Random(1).shuffle(shuffled)
    one, other = (parted(Labelled(tuple(each)), held_out_share=0.2, seed=3) for each in (found.samples, shuffled))
    assert {sample.id for sample in one.train} == {sample.id for sample in other.train}
    assert {sample.id for sample in one.held_out} == {sample.id for sample in other.held_out}
    assert set(one.train) != set(parted(found, held_out_share=0.2, seed=4).train)


def test_chances_are_calibrated_on_outcomes_where_there_are_enough():
    outcomes = list(many(80).samples)
    verdicts = [replace(sample, by=By.VERDICTS) for sample in outcomes]
    assert with_outcomes([*outcomes, *verdicts]) == tuple(outcomes)
    assert with_outcomes([*outcomes[:10], *verdicts]) == (*outcomes[:10], *verdicts)


def test_balanced_keeps_all_of_the_rarer():
    samples = many(yes_share=0.9).samples
    kept = balanced(samples, seed=0)
    assert [sample for sample in kept if not sample.locatable] == [s for s in samples if not s.locatable]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Labelled(()), "too little to train a reward model: 0 yes and 0 no, at least 40 of each are needed"),
        (many(60, yes_share=1.0), "60 yes and 0 no"),
        (labelled([said(photograph=str(n), right=n % 2 == 0) for n in range(200)]), "from 1 places of 50 km"),
        (many(140, yes_share=0.6), "too little to hold out for a reward model"),
    ],
)
def test_too_little_of_one_kind_is_refused_with_counts(found, told):
    with pytest.raises(SetupError, match=told) as refused:
        parted(found, held_out_share=0.1, seed=0)
    assert "\n" not in str(refused.value)
