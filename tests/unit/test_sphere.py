"""Geometry on the sphere: known distances, and properties that hold for every point."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from worker.place import sphere

lats = st.floats(-90, 90)
lons = st.floats(-180, 180)
points = st.tuples(lats, lons)
radii_km = st.floats(0.01, 20_000)


def test_known_distances():
    assert sphere.distance_km(48.8566, 2.3522, 51.5074, -0.1278) == pytest.approx(343.6, abs=0.5)
    assert sphere.distance_km(0, 0, 0, 1) == pytest.approx(math.pi / 180 * 6371.0088)
    assert sphere.distance_km(0, 179.5, 0, -179.5) == pytest.approx(sphere.distance_km(0, 0, 0, 1))


@given(points, points, points)
def test_distance_is_a_metric(a, b, c):
    assert sphere.distance_km(*a, *a) == 0
    assert sphere.distance_km(*a, *b) == pytest.approx(sphere.distance_km(*b, *a), abs=1e-9)
    assert sphere.distance_km(*a, *c) <= sphere.distance_km(*a, *b) + sphere.distance_km(*b, *c) + 1e-3


@given(points)
def test_the_antipode_is_half_a_circumference_away(a):
    away = sphere.distance_km(*a, -a[0], sphere.wrap_lon(a[1] + 180))
    assert away == pytest.approx(sphere.HALF_CIRCUMFERENCE_KM, abs=0.5)


@given(points, st.floats(0, 360, exclude_max=True), st.floats(0, 19_000))
def test_destination_is_as_far_as_one_travelled(a, bearing, travelled_km):
    there = sphere.destination(*a, bearing, travelled_km)
    assert sphere.is_valid(*there)
    assert sphere.distance_km(*a, *there) == pytest.approx(travelled_km, abs=1e-3)


@given(st.tuples(st.floats(-85, 85), lons), st.tuples(st.floats(-85, 85), lons))
def test_bearing_and_distance_lead_to_the_other_point(a, b):
    away = sphere.distance_km(*a, *b)
    assume(0.001 < away < 19_900)
    there = sphere.destination(*a, sphere.bearing_deg(*a, *b), away)
    assert sphere.distance_km(*there, *b) < 0.01


@given(points, radii_km, st.floats(0, 360), st.floats(0, 1))
def test_the_bounding_box_holds_the_circle(a, radius_km, bearing, share):
    box = sphere.bounding_box(*a, radius_km)
    assert box.contains(*sphere.destination(*a, bearing, radius_km * share))


def test_boxes_at_the_poles_and_at_the_antimeridian():
    assert sphere.bounding_box(89.9, 10, 50)[1::2] == (-180, 180)
    box = sphere.bounding_box(0, 179.9, 50)
    assert box.crosses_antimeridian
    assert box.contains(0, -179.9)
    assert not box.contains(0, 0)


@given(st.lists(points, min_size=1, max_size=12))
def test_arrays_agree_with_scalars(many):
    lat_N, lon_N = np.array(many).T
    for got, (lat, lon) in zip(sphere.distances_km(10.0, 20.0, lat_N, lon_N), many, strict=True):
        assert got == pytest.approx(sphere.distance_km(10.0, 20.0, lat, lon), abs=1e-9)
    assert np.allclose(np.linalg.norm(sphere.unit_vectors(lat_N, lon_N), axis=-1), 1)


@given(st.lists(points, min_size=1, max_size=12))
def test_no_point_is_more_central_than_the_medoid(many):
    lat_N, lon_N = np.array(many).T
    best = sphere.medoid(lat_N, lon_N)
    costs = [sphere.distances_km(lat, lon, lat_N, lon_N).sum() for lat, lon in many]
    assert costs[best] <= min(costs) + 1e-6


def test_medoid_follows_the_weights_and_refuses_nothing():
    assert sphere.medoid([0, 1, 50], [0, 1, 50], [1, 1, 100]) == 2
    with pytest.raises(ValueError, match="no points"):
        sphere.medoid([], [])


def rings(geometry):
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [ring for polygon in polygons for ring in polygon]


def signed_area(ring):
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(ring)) / 2


def covers(geometry, lat, lon):
    """Even-odd rule over all rings."""
    inside = False
    for ring in rings(geometry):
        for (x1, y1), (x2, y2) in pairwise(ring):
            if (y1 > lat) != (y2 > lat) and lon < x1 + (lat - y1) * (x2 - x1) / (y2 - y1):
                inside = not inside
    return inside


@settings(max_examples=200)
@given(points, st.floats(1, 19_000))
def test_every_circle_is_legal_geojson(a, radius_km):
    geometry = sphere.circle_geojson(*a, radius_km)
    for ring in rings(geometry):
        assert ring[0] == ring[-1]
        assert len(ring) >= 4
        for lon, lat in ring:
            assert -180 <= lon <= 180
            assert -90 <= lat <= 90
    assert signed_area(rings(geometry)[0]) >= 0  # counter-clockwise


@pytest.mark.parametrize(
    ("lat", "lon", "radius_km"),
    [(48, 2, 100), (-17, 179.5, 300), (65, -179, 500), (85, 30, 1500), (-88, -100, 1000), (-40, 175, 5000)],
)
@pytest.mark.parametrize("bearing", range(0, 360, 45))
def test_the_drawn_circle_covers_what_is_near_and_nothing_far(lat, lon, radius_km, bearing):
    geometry = sphere.circle_geojson(lat, lon, radius_km, points=128)
    assert covers(geometry, *sphere.destination(lat, lon, bearing + 1, radius_km * 0.8))
    assert not covers(geometry, *sphere.destination(lat, lon, bearing + 1, radius_km * 1.2))


def test_a_circle_over_the_antimeridian_is_cut_in_two():
    assert sphere.circle_geojson(-17, 179.5, 300)["type"] == "MultiPolygon"
    assert sphere.circle_geojson(48, 2, 300)["type"] == "Polygon"


@pytest.mark.parametrize(("lat", "lon"), [(91, 0), (-90.1, 0), (0, 181), (math.nan, 0), (0, math.inf)])
def test_invalid_points(lat, lon):
    assert not sphere.is_valid(lat, lon)


@given(st.floats(-1e6, 1e6))
def test_wrapped_longitudes_are_in_range_and_mean_the_same(lon):
    wrapped = sphere.wrap_lon(lon)
    assert -180 <= wrapped < 180
    assert math.isclose(math.cos(math.radians(wrapped)), math.cos(math.radians(lon)), abs_tol=1e-6)
