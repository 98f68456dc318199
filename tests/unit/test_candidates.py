"""What candidates are worth as evidence, and which of them are offered as suggestions."""

import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.reasons import LabelSource
from worker.place.candidates import Candidate, credible, evidence, suggestions
from worker.place.evidence import Evidence
from worker.place.recalled import recalled


def candidate(image_id=1, cosine=0.7, **more):
    given = {
        "image_id": image_id,
        "sha256": f"{image_id:064x}",
        "cosine": cosine,
        "lat": 47.07,
        "lon": 15.44,
        "country_code": "AT",
        "region": "Styria",
        "city": "Graz",
        "geoname_id": 2778067,
        "source": LabelSource.EXIF,
        "near_duplicate": False,
        "same_series": False,
    }
    return Candidate(**given | more)


candidates = st.lists(
    st.builds(
        candidate,
        image_id=st.integers(1, 10**9),
        cosine=st.floats(-1, 1),
        lat=st.floats(-90, 90),
        lon=st.floats(-180, 180),
        near_duplicate=st.booleans(),
        same_series=st.booleans(),
        minutes_apart=st.none() | st.floats(0, 60),
        share_nearby=st.floats(0, 1),
    ),
    max_size=12,
)


def test_evidence_has_the_agreed_fields():
    assert [field.name for field in fields(Evidence)] == [
        "lat",
        "lon",
        "weight",
        "source",
        "image_id",
        "geoname_id",
    ]


@given(candidates)
def test_those_that_merely_look_alike_have_half_a_vote_together_and_only_the_same_scene_outvotes_the_model(found):
    said = evidence(found)
    assert all(0 < each.weight < math.inf for each in said)
    assert all((each.weight > 1) == (each.source == "near_duplicate") for each in said)
    assert sum(each.weight for each in said if each.source == "recall") <= 0.5 + 1e-9


def test_what_looks_the_same_in_several_places_is_merely_alike():
    here, near = candidate(1, 0.99, near_duplicate=True), candidate(2, 0.98, near_duplicate=True, lat=47.2)
    away = candidate(3, 0.98, near_duplicate=True, lat=48.85, lon=2.35)
    assert credible([here, near]) == (here, near)
    assert [each.kind for each in credible([here, near, away])] == ["recall"] * 3
    apart, together = recalled([here, away]), recalled([here, near])
    assert {each.source for each in apart.evidence} == {"recall"}
    assert apart.suggestions == ()
    assert len(together.suggestions) == 2


@given(candidates)
def test_evidence_keeps_order_places_and_reasons(found):
    by_place = [(each.lat, each.lon, each.image_id, each.kind) for each in found]
    said = [(each.lat, each.lon, each.image_id, each.source) for each in evidence(found)]
    places = iter(by_place)
    assert all(each in places for each in said)  # a subsequence


@given(candidates)
def test_only_near_duplicates_and_series_are_suggested(found):
    offered = suggestions(found)
    assert [each["from_image_id"] for each in offered] == [
        each.image_id for each in found if each.near_duplicate or each.same_series
    ]
    assert {each["source"] for each in offered} <= {"near_duplicate", "series"}


def test_no_candidates_say_nothing():
    assert evidence([]) == ()
    assert suggestions([]) == ()


def test_a_near_duplicate_outweighs_a_series_and_that_a_likeness():
    found = [
        candidate(1, 0.99, near_duplicate=True),
        candidate(2, 0.6, same_series=True, minutes_apart=1.0),
        candidate(3, 0.8),
        candidate(4, 0.7),
    ]
    said = evidence(found)
    assert [each.source for each in said] == ["near_duplicate", "series", "recall", "recall"]
    weights = [each.weight for each in said]
    assert weights == sorted(weights, reverse=True)


def test_a_near_duplicate_of_the_same_series_counts_once_and_as_the_stronger():
    [said] = evidence([candidate(1, 0.99, near_duplicate=True, same_series=True, minutes_apart=0.0)])
    assert said.source == "near_duplicate"


def test_a_series_says_less_the_longer_ago():
    near, far, over = (
        evidence([candidate(same_series=True, minutes_apart=minutes)]) for minutes in (1.0, 25.0, 30.0)
    )
    assert near[0].weight > far[0].weight > 0
    assert over == ()


def test_where_all_the_gallery_is_one_place_likeness_says_nothing():
    alike = [candidate(number, 0.9 - number / 100, share_nearby=1.0) for number in range(5)]
    assert evidence(alike) == ()
    [said] = evidence([*alike, candidate(9, 0.98, near_duplicate=True, share_nearby=1.0)])
    assert said.source == "near_duplicate"


def test_likeness_counts_more_where_the_place_is_rare():
    common, rare = evidence([candidate(1, share_nearby=0.8), candidate(2, share_nearby=0.0)])
    assert rare.weight == pytest.approx(5 * common.weight)


def test_a_suggestion_says_whose_place_it_is():
    [offer] = suggestions(
        [candidate(7, 0.98765, near_duplicate=True, source=LabelSource.MANUAL), candidate(8, 0.5)]
    )
    assert offer == {
        "source": "near_duplicate",
        "lat": 47.07,
        "lon": 15.44,
        "country_code": "AT",
        "region": "Styria",
        "city": "Graz",
        "geoname_id": 2778067,
        "from_image_id": 7,
        "from_sha256": f"{7:064x}",
        "from_source": "manual",
        "cosine": 0.9877,
        "minutes_apart": None,
    }
