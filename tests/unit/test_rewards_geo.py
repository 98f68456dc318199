"""The geo reward: every kilometre counts, names count by id, and luck is not judged."""

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainer.judge.distance import GEOSCORE_SCALE_KM
from trainer.rewards.base import RewardFailed
from trainer.rewards.geo import GeoReward, closeness
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer
from worker.place.sphere import distance_km

LYON = {"lat": 45.7485, "lon": 4.8467}
NIAMEY = {"lat": 13.5137, "lon": 2.1098}
MUNICH = {"lat": 48.1374, "lon": 11.5755, "city": "Munich", "country": "Germany"}
FAR_CITIES = ("Japan/Tokyo", "Brazil/Recife", "South Africa/Durban", "Canada/Calgary", "Australia/Perth",
              "India/Chennai", "Norway/Bergen", "Peru/Lima", "Kenya/Mombasa", "New Zealand/Auckland")  # fmt: skip


def completion(place):
    """ "France/Lyon", "USA/Texas/Paris" or "France"; "" abstains."""
    names = place.split("/")
    labels = {1: ("country",), 2: ("country", "city"), 3: ("country", "region", "city")}[len(names)]
    lines = [f"{label}: {name}" for label, name in zip(labels, names, strict=True) if name]
    return "<think>A.</think><answer>" + "\n".join(lines or ["country: unknown"]) + "</answer>"


def score(place, row, **settings_):
    columns = {name: [value] for name, value in row.items()}
    return GeoReward(**settings_)([completion(place)], id=["a"], **columns)[0]


def point(place):
    country, city = place.split("/")
    gazetteer = Gazetteer.load()
    match = gazetteer.city(city, gazetteer.country_codes(country)[0])
    assert match is not None
    return match.place.lat, match.place.lon


# ---------------------------------------------------------------- distance


@given(st.floats(0, 20_016), st.floats(0, 20_016), st.floats(1, 20_000))
def test_closeness_falls_with_distance(one_km, other_km, scale_km):
    near, far = sorted((one_km, other_km))
    assert 0 <= closeness(far, scale_km) <= closeness(near, scale_km) <= 1
    assert closeness(0, scale_km) == 1
    assert closeness(scale_km, scale_km) == pytest.approx(1 / math.e)


def test_the_scale_is_that_of_geoscore():
    assert GeoReward().scale_km == GEOSCORE_SCALE_KM


@given(lat=st.floats(-60, -20), lon=st.floats(-140, -90), scale_km=st.floats(100, 5000))
@settings(max_examples=60)
def test_of_wrong_answers_the_nearer_one_is_worth_more(lat, lon, scale_km):
    """Around the South Pacific, where no listed answer is right."""
    ranked = sorted(FAR_CITIES, key=lambda place: distance_km(lat, lon, *point(place)))
    rewards = [score(place, {"lat": lat, "lon": lon}, scale_km=scale_km) for place in ranked]
    assert all(near >= far for near, far in pairwise(rewards))
    assert rewards[0] > rewards[-1]


@given(lat=st.floats(-89, 89), lon=st.floats(-180, 180), place=st.sampled_from(FAR_CITIES))
@settings(max_examples=100)
def test_a_reward_is_bounded_and_at_least_the_distance_part(lat, lon, place):
    away_km = distance_km(lat, lon, *point(place))
    found = score(place, {"lat": lat, "lon": lon})
    assert 0.4 * closeness(away_km, GEOSCORE_SCALE_KM) - 1e-12 <= found <= 1


@given(lat=st.floats(-60, -30), lon=st.floats(-140, -100))
@settings(max_examples=30)
def test_on_the_high_seas_the_distance_stands_for_the_whole(lat, lon):
    assume(Gazetteer.load().nearest(lat, lon).country_code is None)
    away_km = distance_km(lat, lon, *point("Peru/Lima"))
    assert score("Peru/Lima", {"lat": lat, "lon": lon}) == pytest.approx(closeness(away_km, GEOSCORE_SCALE_KM))


# ---------------------------------------------------------------- names


def test_the_finer_the_right_name_the_more_it_is_worth():
    rewards = [score(place, LYON) for place in ("Japan", "Switzerland", "France", "France/Dijon", "France/Lyon")]
    assert all(less < more for less, more in pairwise(rewards)), rewards
    assert rewards[-1] > 0.99


def test_the_parts_are_added_as_stated():
    gazetteer = Gazetteer.load()
    centre = gazetteer.country("FR")
    away = closeness(distance_km(*LYON.values(), centre.lat, centre.lon), 500)
    parts = {"distance_weight": 2, "country_weight": 1, "region_weight": 1, "city_weight": 4}
    assert score("France", LYON, scale_km=500, **parts) == pytest.approx((2 * away + 1) / 8)
    lyon = gazetteer.city("Lyon", "FR").place
    near = closeness(distance_km(*LYON.values(), lyon.lat, lyon.lon), 500)
    assert score("France/Lyon", LYON, scale_km=500, **parts) == pytest.approx((2 * near + 6) / 8)
    grenoble = gazetteer.city("Grenoble", "FR").place  # the same region
    away = closeness(distance_km(*LYON.values(), grenoble.lat, grenoble.lon), 500)
    assert score("France/Grenoble", LYON, scale_km=500, **parts) == pytest.approx((2 * away + 2) / 8)


def test_nigeria_is_not_niger():
    centre = Gazetteer.load().country("NG")
    distance_alone = 0.4 * closeness(distance_km(*NIAMEY.values(), centre.lat, centre.lon), GEOSCORE_SCALE_KM)
    assert score("Nigeria", NIAMEY) == pytest.approx(distance_alone)
    assert score("Niger", NIAMEY) > 0.2
    assert score("Niger/Niamey", NIAMEY) > 0.95


@pytest.mark.parametrize(
    ("row", "places"),
    [
        (MUNICH, ["Germany/Munich", "Deutschland/München", "germany/MUNCHEN", "DEU/Munich"]),
        ({"lat": 30.2672, "lon": -97.7431}, ["USA/Austin", "United States/Austin", "U.S.A./Austin",
                                            "United States of America/Texas/Austin"]),
        ({"lat": -23.55, "lon": -46.63}, ["Brazil/São Paulo", "Brasil/Sao Paulo"]),
        ({"lat": 5.345, "lon": -4.024}, ["Ivory Coast/Abidjan", "Côte d’Ivoire/Abidjan", "Cote d'Ivoire/Abidjan"]),
        ({"lat": 35.6895, "lon": 139.6917}, ["Japan/Tokyo", "日本/東京"]),
    ],
)  # fmt: skip
def test_one_place_by_many_names(row, places):
    rewards = {score(place, row) for place in places}
    assert len(rewards) == 1
    assert rewards.pop() > 0.95


def test_a_made_up_city_gets_the_countrys_name_and_no_more():
    assert score("France/Xyzzyville", LYON) == pytest.approx(0.2)
    assert score("France/Xyzzyville", LYON) < score("France", LYON)
    assert score("Germany/Xyzzyville", LYON) == 0.0
    assert score("Atlantis/Lyon", LYON) == 0.0
    assert score("Atlantis", LYON) == 0.0


def test_a_city_of_another_country_is_a_contradiction():
    assert score("Germany/Lyon", LYON) == 0.0
    assert score("France/Munich", LYON) == pytest.approx(0.2)


def test_homonyms_are_told_apart():
    paris_texas = {"lat": 33.6609, "lon": -95.5555}
    assert score("USA/Texas/Paris", paris_texas) > 0.95
    assert score("France/Paris", paris_texas) < 0.01
    springfield = {"lat": 39.7817, "lon": -89.6501, "country": "USA", "region": "Illinois", "city": "Springfield"}
    assert score("USA/Illinois/Springfield", springfield) > 0.95
    assert score("USA/Missouri/Springfield", springfield) < 0.6
    ambiguous = score("USA/Springfield", springfield)  # the row's own name, but no point
    assert score("USA/Xyzzyville", springfield) < ambiguous < score("USA/Illinois/Springfield", springfield)


def test_the_rows_own_name_counts_where_the_gazetteer_does_not_know_it():
    hamlet = {**LYON, "city": "Saint-Xyzzy-en-Rien", "country": "France"}
    assert score("France/saint xyzzy en rien", hamlet) == pytest.approx(0.5)
    assert score("France/Saint-Plugh", hamlet) == pytest.approx(0.2)
    assert score("Spain/Saint-Xyzzy-en-Rien", hamlet) == 0.0


def test_a_suburb_is_in_its_city_unless_the_row_says_otherwise():
    point_alone = {"lat": 52.4675, "lon": 13.3330}  # Berlin, near other towns of the list
    assert score("Germany/Berlin", point_alone) > 0.95
    potsdam = {"lat": 52.3989, "lon": 13.0657, "city": "Potsdam", "country": "Germany"}
    assert score("Germany/Berlin", potsdam) < 0.7 < score("Germany/Potsdam", potsdam)


def test_a_stated_id_decides():
    lyon = Gazetteer.load().city("Lyon", "FR").place
    row = {**LYON, "geoname_id": lyon.geoname_id}
    assert score("France/Lyon", row) > 0.99
    assert score("France/Villeurbanne", row) < 0.75


def test_the_models_coordinates_count_only_where_they_agree_with_the_name():
    text = "<think>A.</think><answer>country: Japan\ncity: Tokyo\nlat: 45.7485\nlon: 4.8467</answer>"
    assert GeoReward()([text], id=["a"], lat=[45.7485], lon=[4.8467]) == [score("Japan/Tokyo", LYON)]


# ---------------------------------------------------------------- what is not judged, and refused settings


@pytest.mark.parametrize("place", ["France/Lyon", "France", "Japan", ""])
def test_a_picture_that_cannot_be_placed_is_not_judged(place):
    assert score(place, {**LYON, "placeable": "none"}) is None
    assert score(place, {"lat": None, "lon": None}) is None


def test_an_abstention_and_the_unreadable_are_worth_nothing_here():
    assert score("", LYON) == 0.0
    assert GeoReward()(["What a picture!"], id=["a"], lat=[1.0], lon=[1.0]) == [0.0]


@pytest.mark.parametrize(
    "settings_",
    [
        {"scale_km": 0},
        {"scale_km": -1},
        {"scale_km": math.nan},
        {"scale_km": math.inf},
        {"distance_weight": 0},
        {"city_weight": -0.1},
        {"region_weight": math.nan},
    ],
)
def test_settings_that_are_none_are_refused(settings_):
    with pytest.raises(SetupError, match="reward geo"):
        GeoReward(**settings_)


@pytest.mark.parametrize(
    "row",
    [
        {"lat": 1.0, "lon": None},
        {**LYON, "placeable": "street"},
        {**LYON, "geoname_id": "many"},
        {**LYON, "country": 33},
    ],
)
def test_damaged_rows_stop_the_run(row):
    with pytest.raises(RewardFailed, match="reward geo, sample a"):
        score("France", row)
