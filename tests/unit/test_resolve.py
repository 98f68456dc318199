"""From a claim to a point: the named place decides, and doubt makes the answer coarser, never invented."""

import pytest

from schema.reasons import Granularity
from worker.place import sphere
from worker.place.gazetteer import Gazetteer
from worker.place.resolve import MAX_CITY_RADIUS_KM, MIN_CITY_RADIUS_KM, Resolved, city_radius_km, resolve
from worker.reason.answer import Answer


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


def test_a_city(gazetteer):
    found = resolve(Answer(country="France", city="Paris"), gazetteer)
    assert (found.city, found.region, found.country, found.country_code) == (
        "Paris",
        "Île-de-France",
        "France",
        "FR",
    )
    assert (found.granularity, found.point_source, found.geoname_id) == (Granularity.CITY, "city", 2988507)
    assert sphere.distance_km(found.lat, found.lon, 48.8566, 2.3522) < 5
    assert MIN_CITY_RADIUS_KM <= found.radius_km <= MAX_CITY_RADIUS_KM
    assert found.notes == ()


def test_a_country_alone_covers_its_cities(gazetteer):
    found = resolve(Answer(country="France"), gazetteer)
    assert (found.granularity, found.point_source, found.city, found.region) == (
        Granularity.COUNTRY, "country", None, None,
    )  # fmt: skip
    assert gazetteer.country_code_at(found.lat, found.lon) == "FR"
    for lat, lon in [(48.39, -4.49), (43.70, 7.27), (41.92, 8.74), (51.03, 2.37)]:  # Brest, Nice, Ajaccio, Dunkirk
        assert sphere.distance_km(found.lat, found.lon, lat, lon) <= found.radius_km


def test_a_region(gazetteer):
    found = resolve(Answer(country="Italy", region="Toscana"), gazetteer)
    assert (found.granularity, found.region, found.city) == (Granularity.REGION, "Tuscany", None)
    assert sphere.distance_km(found.lat, found.lon, 43.77, 11.25) <= found.radius_km < 250  # Florence


def test_a_country_within_a_country_is_a_region(gazetteer):
    found = resolve(Answer(country="Scotland"), gazetteer)
    assert (found.country_code, found.region, found.granularity) == ("GB", "Scotland", Granularity.REGION)
    assert resolve(Answer(country="Scotland", city="Perth"), gazetteer).region == "Scotland"


def test_an_unknown_city_falls_back_and_keeps_its_text(gazetteer):
    found = resolve(Answer(country="France", region="Brittany", city="Xyzzy-sur-Mer"), gazetteer)
    assert (found.granularity, found.region, found.city) == (Granularity.REGION, "Brittany", None)
    assert found.stated_place == "Xyzzy-sur-Mer, Brittany, France"
    assert "no city" in found.notes[0]


def test_a_city_in_the_wrong_country_is_not_placed(gazetteer):
    found = resolve(Answer(country="Germany", city="Paris"), gazetteer)
    assert (found.granularity, found.country_code, found.city) == (Granularity.COUNTRY, "DE", None)
    assert "France" in found.notes[0]
    assert found.stated_place == "Paris, Germany"


def test_a_city_in_the_wrong_region_is_not_placed(gazetteer):
    found = resolve(Answer(country="Germany", region="Saxony", city="Munich"), gazetteer)
    assert (found.granularity, found.city, found.region) == (Granularity.COUNTRY, None, None)


def test_homonyms_of_like_size_are_not_placed_unless_the_region_decides(gazetteer):
    found = resolve(Answer(country="USA", city="Springfield"), gazetteer)
    assert (found.granularity, found.city) == (Granularity.COUNTRY, None)
    assert "similar size" in found.notes[0]
    assert resolve(Answer(country="USA", region="Illinois", city="Springfield"), gazetteer).city == "Springfield"


@pytest.mark.parametrize(
    "answer",
    [Answer(country="Ruritania", city="Strelsau", lat=48.0, lon=2.0), Answer(city="Paris"), Answer(lat=48.0,
     lon=2.0),
     Answer(abstains=True), Answer(country="Congo"), Answer(country="Antarctica")],
)  # fmt: skip
def test_no_point_is_made_up(gazetteer, answer):
    found = resolve(answer, gazetteer)
    assert (found.lat, found.lon, found.radius_km, found.granularity, found.point_source) == (None,) * 5
    assert found.notes
    if answer.country:
        assert answer.country in found.stated_place


def test_the_city_decides_between_two_countries(gazetteer):
    assert resolve(Answer(country="Congo", city="Kinshasa"), gazetteer).country_code == "CD"
    assert resolve(Answer(country="Congo", city="Brazzaville"), gazetteer).country_code == "CG"


def test_a_territory_keeps_its_own_code(gazetteer):
    found = resolve(Answer(country="China", city="Hong Kong"), gazetteer)
    assert found.country_code == "HK"
    assert "Hong Kong" in found.notes[0]


def test_coordinates_that_agree_with_the_city_are_used(gazetteer):
    found = resolve(Answer(country="France", city="Paris", lat=48.8867, lon=2.3431), gazetteer)
    assert (found.lat, found.lon, found.point_source) == (48.8867, 2.3431, "model coordinates")
    assert (found.city, found.granularity) == ("Paris", Granularity.CITY)


def test_coordinates_that_disagree_are_not(gazetteer):
    found = resolve(Answer(country="France", city="Paris", lat=45.76, lon=4.84), gazetteer)
    assert found.point_source == "city"
    assert "do not agree" in found.notes[0]
    assert resolve(Answer(country="France", lat=52.5, lon=13.4), gazetteer).point_source == "country"
    assert resolve(Answer(country="France", lat=30.0, lon=-40.0), gazetteer).point_source == "country"


def test_coordinates_within_the_country_move_its_circle(gazetteer):
    found = resolve(Answer(country="France", lat=43.6, lon=1.44), gazetteer)
    assert (found.lat, found.granularity, found.point_source) == (43.6, Granularity.COUNTRY, "model coordinates")
    assert sphere.distance_km(43.6, 1.44, 51.03, 2.37) <= found.radius_km  # Dunkirk is still inside


def test_city_radii_grow_with_the_population_within_bounds():
    radii = [city_radius_km(population) for population in (-1, 0, 1_000, 100_000, 1_000_000, 30_000_000)]
    assert radii == sorted(radii)
    assert (radii[0], radii[-1]) == (MIN_CITY_RADIUS_KM, MAX_CITY_RADIUS_KM)


def test_point_fields_are_all_given_or_all_none(gazetteer):
    for country in gazetteer._countries.by_code.values():
        found: Resolved = resolve(Answer(country=country.name), gazetteer)
        fields = (found.lat, found.lon, found.radius_km, found.granularity, found.point_source)
        assert len({field is None for field in fields}) == 1
        assert found.country_code == country.code
