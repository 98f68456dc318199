"""Distances between any two points: antipodes, poles, date line, sphere against ellipsoid."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainer.judge.distance import Distance, geoscore
from worker.place.sphere import distance_km

HAVERSINE = Distance()


def chord_km(lat1, lon1, lat2, lon2):
    """Through the chord between unit vectors, so by another formula than the one under test."""

    def unit(lat, lon):
        phi, lam = math.radians(lat), math.radians(lon)
        return (math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi))

    return 6371.0 * 2 * math.asin(min(1.0, math.dist(unit(lat1, lon1), unit(lat2, lon2)) / 2))


points = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(points, points)
def test_haversine_agrees_with_the_chord(a, b):
    [km] = HAVERSINE.km([a[0]], [a[1]], [b[0]], [b[1]])
    assert km == pytest.approx(chord_km(*a, *b), abs=0.2)  # the chord is blunt near the antipode
    assert 0 <= km <= math.pi * 6371.0 + 1e-9


@given(points)
def test_antipodes_and_identity(a):
    km = HAVERSINE.km([a[0], a[0]], [a[1], a[1]], [a[0], -a[0]], [a[1], a[1] - 180])
    assert km[0] == 0
    assert km[1] == pytest.approx(math.pi * 6371.0, abs=0.5)


@given(st.floats(-180, 180), st.floats(-180, 180), st.sampled_from([-90.0, 90.0]))
def test_at_a_pole_all_longitudes_are_one_place(lon1, lon2, pole):
    for formula in (HAVERSINE, Distance("geodesic")):
        [km] = formula.km([pole], [lon1], [pole], [lon2])
        assert km == pytest.approx(0, abs=1e-6)


@given(st.floats(-89, 89), st.floats(0, 0.5))
def test_the_date_line_is_no_border(lat, aside):
    for formula in (HAVERSINE, Distance("geodesic")):
        across, beside = formula.km([lat] * 2, [180 - aside, 0], [lat] * 2, [-180 + aside, 2 * aside])
        assert across == pytest.approx(beside, abs=1e-6)


@given(points, points)
def test_the_ellipsoid_differs_by_little(a, b):
    assume(distance_km(*a, *b) < 19_000)
    [sphere] = HAVERSINE.km([a[0]], [a[1]], [b[0]], [b[1]])
    [earth] = Distance("geodesic").km([a[0]], [a[1]], [b[0]], [b[1]])
    assert earth == pytest.approx(sphere, rel=0.006, abs=1e-6)


def test_geodesic_known_distances():
    """Quarter meridian, equator and a nearly antipodal pair, where Vincenty's formula does not converge."""
    km = Distance("geodesic").km([0, 0, 0], [0, 0, 0], [90, 0, 0.5], [0, 90, 179.7])
    assert km.tolist() == pytest.approx([10001.965729, 10018.754171, 19944.127421], abs=1e-6)


def test_radius_and_comparison_are_selectable():
    [km] = Distance(radius_km=1.0).km([0], [0], [0], [90])
    assert km == pytest.approx(math.pi / 2)
    exact = np.array([24.9, 25.0, 25.1, np.nan])
    assert Distance(comparison="le").within(exact, 25).tolist() == [True, True, False, False]
    assert Distance(comparison="lt").within(exact, 25).tolist() == [True, False, False, False]


def test_geoscore_is_that_of_the_game():
    assert geoscore(np.array([0.0, 1492.7, np.nan])).tolist() == pytest.approx([5000, 5000 / math.e, 0])
