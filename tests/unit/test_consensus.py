"""Several opinions about one place: what must hold for all of them, and the cases in which averages go wrong."""

import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schema.reasons import Granularity
from worker.place.consensus import MAX_ALTERNATIVES, SAME_PLACE_KM, Opinion, consensus
from worker.place.sphere import destination, distance_km

LYON, PARIS, BERLIN = (45.76, 4.84), (48.85, 2.35), (52.52, 13.41)


def opinion(point, weight=1.0, source="answer", **given):
    return Opinion(*point, weight, source, Granularity.CITY, 10.0, **given)


points = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
# Few distinct places, so that opinions coincide, come near each other and tie.
places = st.sampled_from([LYON, PARIS, BERLIN, (0.0, 179.99), (0.0, -179.99), (90.0, 0.0), (-90.0, 0.0)]) | points
weights = st.sampled_from([0.1, 0.25, 1 / 3, 0.5, 1.0])
opinions = st.lists(
    st.builds(opinion, places, weights, st.sampled_from(["answer", "recall", "caption"])), min_size=1, max_size=9
)


@given(opinions, st.randoms())
def test_the_order_does_not_matter(given_opinions, chance):
    shuffled = given_opinions.copy()
    chance.shuffle(shuffled)
    assert consensus(shuffled) == consensus(given_opinions)


@given(opinions, st.integers(2, 5), st.floats(0, 1))
@example(  # a tie between one place and two that are one: said twice, their thirds are rounded otherwise
    [opinion(BERLIN, 1 / 3, "caption")] * 2 + [opinion((0.0, 0.0), 1 / 3), opinion((0.0, 0.25), 1 / 3)], 2, 0.0
)
def test_saying_everything_several_times_changes_nothing(given_opinions, times, unplaced):
    once, often = (
        consensus(given_opinions, unplaced=unplaced),
        consensus([each for each in given_opinions for _ in range(times)], unplaced=unplaced * times),
    )
    assert (often.chosen.place.lat, often.chosen.place.lon) == (once.chosen.place.lat, once.chosen.place.lon)
    assert often.chosen.sources == once.chosen.sources
    assert often.agreement == pytest.approx(once.agreement, abs=1e-6)
    assert often.spread_km == pytest.approx(once.spread_km, abs=1e-2)
    assert [each.share for each in often.alternatives] == pytest.approx(
        [each.share for each in once.alternatives], abs=1e-6
    )


@given(places, weights)
def test_one_opinion_is_itself(point, weight):
    found = consensus([opinion(point, weight)])
    assert (found.chosen.place.lat, found.chosen.place.lon) == point
    assert (found.agreement, found.spread_km, found.alternatives) == (1.0, 0.0, ())


@given(opinions)
def test_the_place_is_one_that_somebody_gave_and_its_part_is_a_share(given_opinions):
    found = consensus(given_opinions)
    hypotheses = (found.chosen, *found.alternatives)
    given_points = {(each.lat, each.lon) for each in given_opinions}
    assert all((each.place.lat, each.place.lon) in given_points for each in hypotheses)
    assert all(0 < each.share <= 1 for each in hypotheses)
    assert sum(each.share for each in hypotheses) <= 1 + 1e-6
    assert found.chosen.share >= max((each.share for each in found.alternatives), default=0)
    assert 0 <= found.spread_km <= math.pi * 6371.01


@given(opinions)
def test_members_of_a_hypothesis_lie_near_each_other(given_opinions):
    found = consensus(given_opinions)
    for hypothesis in (found.chosen, *found.alternatives):
        for one, other in itertools.combinations(hypothesis.members, 2):
            assert distance_km(one.lat, one.lon, other.lat, other.lon) <= 2 * SAME_PLACE_KM + 1e-6


@given(points, st.floats(0, 360), st.floats(0, 20))
def test_neighbours_are_one_place_wherever_on_earth(point, bearing, away_km):
    other = destination(*point, bearing, away_km)
    found = consensus([opinion(point), opinion((max(-90, min(90, other[0])), other[1]))])
    assert (found.agreement, found.alternatives) == (1.0, ())


def test_neighbours_across_the_antimeridian_are_one_place():
    found = consensus([opinion((-17.0, 179.95)), opinion((-17.0, -179.95)), opinion((-17.0, 0.0))])
    assert found.agreement == pytest.approx(2 / 3)
    assert abs(found.chosen.place.lon) > 179


def test_antipodes_are_two_places_and_the_choice_does_not_hang_on_the_order():
    here, there = opinion((10.0, 20.0)), opinion((-10.0, -160.0))
    assert consensus([here, there]) == consensus([there, here])
    found = consensus([here, there])
    assert found.agreement == 0.5
    assert found.spread_km == pytest.approx(math.pi * 6371.0088 / 2, rel=1e-6)


def test_the_heavier_place_is_chosen_and_the_mean_of_both_is_not():
    found = consensus([opinion(LYON), opinion(BERLIN, 0.4), opinion(PARIS, 0.3)])
    assert (found.chosen.place.lat, found.chosen.place.lon) == LYON
    assert found.agreement == pytest.approx(1 / 1.7)
    assert [each.share for each in found.alternatives] == pytest.approx([0.4 / 1.7, 0.3 / 1.7])


def test_who_speaks_for_a_place_is_told():
    found = consensus([opinion(LYON), opinion(LYON, 0.5, "recall", image_id=7), opinion(PARIS, 0.2, "caption")])
    assert found.chosen.sources == ("answer", "recall")
    assert {each.image_id for each in found.chosen.members} == {None, 7}
    assert found.alternatives[0].sources == ("caption",)


def test_weight_that_speaks_for_no_place_lowers_the_agreement():
    assert consensus([opinion(LYON, 0.5)], unplaced=0.5).agreement == 0.5


@pytest.mark.parametrize("nothing", [[], [opinion(LYON, 0.0)], [opinion(LYON, -1.0)]])
def test_without_weight_there_is_no_place(nothing):
    assert consensus(nothing) is None


def test_no_more_alternatives_than_a_reader_reads():
    many = [opinion((0.0, float(lon))) for lon in range(-170, 170, 10)]
    assert len(consensus(many).alternatives) == MAX_ALTERNATIVES


@given(places, st.floats(0, 1))
def test_one_voice_alone_is_the_outcome(place, unplaced):
    one = opinion(place)
    agreed = consensus([one], unplaced=unplaced)
    assert (agreed.chosen.place, agreed.chosen.members, agreed.alternatives) == (one, (one,), ())
    assert agreed.spread_km == 0.0
    assert agreed.agreement == pytest.approx(1 / (1 + unplaced))
