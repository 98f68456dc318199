"""The conflict report: what is listed, what fault is named, and what is left alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from worker.place.gazetteer import Gazetteer
from worker.report.conflicts import Kind, Photograph, find_conflicts

NOON = datetime(2020, 6, 1, 12, 0)
LYON, SYDNEY, LONDON, LOS_ANGELES = (45.76, 4.84), (-33.87, 151.21), (51.51, -0.13), (34.05, -118.24)


def photograph(point=None, name="1", **given):
    lat, lon = point or (None, None)
    return Photograph(f"file:///a/{name}.jpg", "file:///a/", lat, lon, "exif" if point else None, **given)


@pytest.fixture(scope="module")
def conflicts():
    gazetteer = Gazetteer.load()
    return lambda *photographs: list(find_conflicts(photographs, gazetteer))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"caption": "Lyon, France"},
        {"region": ("France", None)},
        {"region": (None, "Auvergne-Rhône-Alpes")},
        {"predicted_lat": 45.5, "predicted_lon": 4.8},
        {"predicted_lat": 48.85, "predicted_lon": 2.35, "predicted_radius_km": 500.0},
        {"caption": "Prague; Kyoto, Japan"},
        {"taken_at": NOON, "settled_at": datetime(2021, 1, 1, tzinfo=UTC)},
        {"region": ("Ruritania",)},
    ],
)
def test_what_agrees_is_not_listed(conflicts, given):
    assert conflicts(photograph(LYON, **given)) == []


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"caption": "View of Prague"}, Kind.CAPTION),
        ({"region": ("Germany", None)}, Kind.REGION),
        ({"predicted_lat": 48.85, "predicted_lon": 2.35, "predicted_radius_km": 20.0}, Kind.PREDICTION),
    ],
)
def test_what_contradicts_the_position_is_listed(conflicts, given, kind):
    [found] = conflicts(photograph(LYON, **given))
    assert (found.kind, found.fault) == (kind, None)
    assert "45.7600, 4.8400 (exif)" in found.detail


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        ((33.87, 151.21), "the latitude has the wrong sign"),
        ((-33.87, -151.21), "the longitude has the wrong sign"),
        ((33.87, -151.21), "latitude and longitude have the wrong sign"),
    ],
)
def test_a_wrong_sign_is_told(conflicts, wrong, fault):
    [found] = conflicts(photograph(wrong, region=("Australia", None)))
    assert (found.kind, found.fault) == (Kind.REGION, fault)


def test_swapped_coordinates_are_told(conflicts):
    swapped = photograph((LYON[1], LYON[0]), caption="Lyon, France")
    assert [found.fault for found in conflicts(swapped)] == ["latitude and longitude are swapped"]
    also = replace(swapped, region=("France", None))
    assert {found.kind for found in conflicts(also)} == {Kind.CAPTION, Kind.REGION}


def test_a_fault_that_explains_only_one_of_two_conflicts_is_not_told(conflicts):
    found = conflicts(photograph((LYON[1], LYON[0]), caption="Lyon, France", region=("Germany", None)))
    assert {(each.kind, each.fault) for each in found} == {(Kind.CAPTION, None), (Kind.REGION, None)}


def test_a_prediction_is_held_against_the_records_where_no_place_is_known(conflicts):
    predicted = {"predicted_lat": LYON[0], "predicted_lon": LYON[1]}
    assert [each.kind for each in conflicts(photograph(caption="Prague", **predicted))] == [Kind.CAPTION]
    assert [each.kind for each in conflicts(photograph(region=("Spain",), **predicted))] == [Kind.REGION]
    assert conflicts(photograph(caption="Lyon, France", **predicted)) == []


@pytest.mark.parametrize(
    ("taken", "fault"),
    [
        (datetime(2031, 1, 5), "clock set wrong"),
        (datetime(1980, 1, 1, 0, 3), "clock not set"),
        (datetime(1980, 1, 2), None),
        (datetime(2020, 1, 1), None),
    ],
)
def test_of_clocks_only_what_is_certain_is_said(conflicts, taken, fault):
    found = conflicts(photograph(taken_at=taken, settled_at=datetime(2026, 1, 1, tzinfo=UTC)))
    assert [each.fault for each in found] == ([fault] if fault else [])


def test_nobody_travels_that_fast(conflicts):
    first = photograph(LONDON, taken_at=NOON)
    soon = photograph(SYDNEY, "2", taken_at=NOON + timedelta(hours=1))
    [found] = conflicts(first, soon)
    assert (found.kind, found.uri) == (Kind.SPEED, soon.uri)
    assert conflicts(first, replace(soon, taken_at=NOON + timedelta(days=2))) == []
    assert conflicts(first, replace(soon, folder="file:///b/")) == []


def test_a_clock_that_follows_time_zones_is_believed(conflicts):
    """Eleven hours of flight westwards, of which the clock shows three."""
    arrived = photograph(LOS_ANGELES, "2", taken_at=NOON + timedelta(hours=3))
    assert conflicts(photograph(LONDON, taken_at=NOON), arrived) == []
