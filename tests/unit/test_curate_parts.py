"""The parts of curation, each by itself: cells, series, duplicates, rights, caps."""

from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.reasons import LabelSource
from trainer.curate.balance import over_caps
from trainer.curate.cells import Grid
from trainer.curate.duplicates import near_duplicates
from trainer.curate.labels import Dropped, Embedding, Known, Side
from trainer.curate.rights import refusal
from trainer.curate.series import series
from worker.intake.uri import folder
from worker.place.sphere import destination, distance_km

lats = st.floats(-90, 90)
lons = st.floats(-180, 180)
sizes_km = st.sampled_from([0.5, 10.0, 50.0, 333.0, 1000.0, 5000.0])


def known(number, **more):
    fields = {"source": LabelSource.EXIF, "lat": 48.0, "lon": 2.0, "country_code": "FR", "consented": True}
    fields["uris"] = (f"file:///archive/{number}.jpg",)
    return Known(image_id=number, sha256=f"{number:064x}", label_id=number, **fields | more)


# --- cells ---


@given(lats, lons, sizes_km, st.floats(0, 360), st.floats(0, 3))
def test_points_of_a_cell_are_near_each_other(lat, lon, cell_km, bearing, far):
    grid = Grid(cell_km)
    other = destination(lat, lon, bearing, far * cell_km)
    if grid.cell(lat, lon) == grid.cell(*other):
        assert distance_km(lat, lon, *other) <= 2.3 * cell_km


@given(lons, lons, sizes_km)
def test_a_pole_is_in_one_cell(lon, other, cell_km):
    grid = Grid(cell_km)
    for pole in (-90.0, 90.0):
        assert grid.cell(pole, lon) == grid.cell(pole, other)
    assert grid.cell(90.0, lon) != grid.cell(-90.0, lon)


@given(lats, sizes_km)
def test_the_date_line_is_one_meridian(lat, cell_km):
    assert Grid(cell_km).cell(lat, 180.0) == Grid(cell_km).cell(lat, -180.0)


@pytest.mark.parametrize("cell_km", [10.0, 50.0, 500.0])
def test_cells_are_of_nearly_equal_area(cell_km):
    """Points spread evenly over the sphere fall evenly into cells; the polar caps are pi cells large."""
    grid = Grid(cell_km)
    area_km2 = 4 * np.pi * 6371.0088**2
    cells = sum(grid.columns(band) for band in range(grid.bands))
    assert area_km2 / cells / cell_km**2 == pytest.approx(1, rel=0.02)
    edges = np.sin(np.linspace(-np.pi / 2, np.pi / 2, grid.bands + 1))
    of_band = np.diff(edges) * area_km2 / 2 / [grid.columns(band) for band in range(grid.bands)] / cell_km**2
    assert of_band[1:-1] == pytest.approx(1, rel=0.07)
    assert of_band[[0, -1]] == pytest.approx(np.pi, rel=0.02)


def test_what_is_no_cell_is_refused():
    for cell_km in (0, -1, 5001, float("nan")):
        with pytest.raises(ValueError, match="cells of"):
            Grid(cell_km)
    with pytest.raises(ValueError, match="no point on Earth"):
        Grid(50).cell(float("nan"), 0)


# --- rights ---


@pytest.mark.parametrize("value", [None, "DMI-UNSPECIFIED", "DMI-ALLOWED"])
def test_a_file_that_reserves_nothing_needs_the_archives_consent(value):
    assert refusal(value, consented=True) is None
    assert refusal(value, consented=False) is Dropped.NO_CONSENT


@pytest.mark.parametrize(
    "value",
    [
        "DMI-PROHIBITED",
        "DMI-PROHIBITED-AIMLTRAINING",
        "DMI-PROHIBITED-GENAIMLTRAINING",
        "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING",
        "DMI-PROHIBITED-SEECONSTRAINT",
        "DMI-WHATEVER-COMES",
        "dmi-allowed",
        "",
    ],
)
def test_a_file_that_reserves_rights_or_cannot_be_understood_is_left_alone(value):
    assert refusal(value, consented=True) is Dropped.RIGHTS_RESERVED


# --- series ---


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("file:///a/b/c.jpg", "file:///a/b"),
        ("file:///a/what?.jpg", "file:///a"),
        ("https://host/box/1.jpg?token=a/b#c/d", "https://host/box"),
        ("s3://bucket/roll/7.tif", "s3://bucket/roll"),
    ],
)
def test_folders_of_addresses(uri, expected):
    assert folder(uri) == expected


def test_a_series_goes_on_while_pictures_follow_each_other_in_a_folder():
    noon = datetime(1999, 8, 11, 12)
    minutes = [0, 25, 50, 81, None, 200]
    rows = [
        known(i, taken_at=None if m is None else noon + timedelta(minutes=m), uris=(f"file:///roll/{i}.jpg",))
        for i, m in enumerate(minutes)
    ]
    elsewhere = known(9, taken_at=noon, uris=("file:///other/9.jpg",))
    assert list(series([*rows, elsewhere], gap_minutes=30)) == [[0, 1, 2]]
    assert list(series([*rows, elsewhere], gap_minutes=31)) == [[0, 1, 2, 3]]
    assert list(series([*rows, elsewhere], gap_minutes=30, whole_folders=True)) == [[0, 1, 2, 3, 4, 5]]


def test_a_copy_ties_the_series_of_both_folders():
    noon = datetime(1999, 8, 11, 12)
    uris = [("file:///a/1.jpg",), ("file:///a/2.jpg", "file:///b/2.jpg"), ("file:///b/3.jpg",)]
    rows = [known(i, taken_at=noon, uris=both) for i, both in enumerate(uris)]
    assert sorted(series(rows, gap_minutes=0)) == [[0, 1], [1, 2]]


# --- duplicates ---


def embeddings_of(vectors, model_id=1):
    return {i: Embedding(model_id, np.asarray(vector, dtype=np.float32)) for i, vector in enumerate(vectors)}


def at_degrees(*angles):
    return embeddings_of([(np.cos(np.radians(a)), np.sin(np.radians(a))) for a in angles])


def test_the_preferred_one_stands_for_those_that_are_like_it():
    stored = at_degrees(0, 5, 12, 60)
    least = float(np.cos(np.radians(8)))
    assert near_duplicates([0, 1, 2, 3], stored, least_cosine=least) == {1: 0}
    assert near_duplicates([1, 2, 0, 3], stored, least_cosine=least) == {2: 1, 0: 1}
    assert near_duplicates([0, 1, 2, 3], stored, least_cosine=least, fixed={1}) == {2: 1}


def test_embeddings_of_different_models_are_not_compared():
    stored = {0: Embedding(1, np.ones(4, np.float32)), 1: Embedding(2, np.ones(8, np.float32))}
    assert near_duplicates([0, 1], stored, least_cosine=0.9) == {}


def test_an_empty_vector_is_like_nothing():
    assert near_duplicates([0, 1], embeddings_of([(0.0, 0.0), (0.0, 0.0)]), least_cosine=0.5) == {}


def test_blocks_give_what_a_plain_loop_gives():
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(700, 8))
    vectors = centres[rng.integers(0, 700, 2600)] + 0.08 * rng.normal(size=(2600, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stored = embeddings_of(vectors)
    order = rng.permutation(2600).tolist()
    found = near_duplicates(order, stored, least_cosine=0.98)
    unit = vectors.astype(np.float32)
    kept: list[int] = []
    for i in order:
        if not kept or (unit[kept] @ unit[i]).max() < 0.98:
            kept.append(i)
    assert 300 < len(kept) < 2300
    assert set(found) == set(order) - set(kept)
    assert all(unit[i] @ unit[j] >= 0.98 - 1e-6 and j in set(kept) for i, j in found.items())


# --- caps ---


def test_the_better_sourced_stay_in_a_full_cell_and_what_is_held_out_always():
    rows = [
        known(0, source=LabelSource.IMPORT),
        known(1, source=LabelSource.MANUAL),
        known(2, source=LabelSource.EXIF),
        known(3, source=LabelSource.IMPORT, before=Side.HELD_OUT),
    ]
    dropped = over_caps(rows, ["a"] * 4, cell_cap=2, country_cap=10, seed=0)
    assert dropped == {0: Dropped.CELL_FULL, 2: Dropped.CELL_FULL}


def test_in_a_full_country_the_crowded_cell_gives_way():
    rows = [known(i) for i in range(12)]
    cells = ["city"] * 9 + ["village", "hamlet", "farm"]
    dropped = over_caps(rows, cells, cell_cap=10, country_cap=6, seed=3)
    assert Counter(dropped.values()) == {Dropped.COUNTRY_FULL: 6}
    assert {9, 10, 11}.isdisjoint(dropped)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["FR", "IT"])), max_size=40), st.integers(0, 9))
def test_no_cap_is_ever_exceeded_and_no_room_is_left_unused(places, seed):
    rows = [known(i, country_code=code) for i, (_, code) in enumerate(places)]
    cells = [cell for cell, _ in places]
    dropped = over_caps(rows, cells, cell_cap=4, country_cap=7, seed=seed)
    kept = [i for i in range(len(rows)) if i not in dropped]
    of_country = Counter(rows[i].country_code for i in kept)
    assert max(Counter(cells[i] for i in kept).values(), default=0) <= 4
    assert max(of_country.values(), default=0) <= 7
    assert all(of_country[rows[i].country_code] == 7 for i, why in dropped.items() if why is Dropped.COUNTRY_FULL)
