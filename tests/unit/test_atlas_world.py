"""The world: real places, proper distributions, an exact posterior, and limits that come true."""

import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest

from atlas.cues import KINDS
from atlas.scenes import scene, split_prior_C
from atlas.world import load_world
from worker.place import sphere
from worker.place.gazetteer import Gazetteer
from worker.place.resolve import resolve
from worker.reason.answer import Answer


@pytest.fixture(scope="module")
def world():
    return load_world()


def test_it_has_the_countries_and_cities_that_it_should(world):
    trained = [city for city in world.cities if city.geoname_id not in world.unseen]
    by_country = {}
    for city in trained:
        by_country.setdefault(city.country_code, []).append(city)
    assert len(by_country) >= 24
    assert min(map(len, by_country.values())) >= 3
    assert 6 <= len(world.unseen) <= 12
    assert {city.country_code for city in world.cities} == set(by_country)
    assert {city.lat < 0 for city in trained} == {city.lon < 0 for city in trained} == {True, False}
    regions = {(city.country_code, city.region) for city in trained}
    assert len(by_country) < len(regions) < len(trained)  # a region says more than a country, less than a city


def test_the_gazetteer_resolves_every_city_to_its_id_and_agrees_on_all_that_stands_in_the_table(world):
    gazetteer = Gazetteer.load()
    for city in world.cities:
        found = resolve(Answer("", city.country, city.region, city.name), gazetteer)
        assert (found.geoname_id, found.city, found.region) == (city.geoname_id, city.name, city.region)
        assert (found.country_code, found.country) == (city.country_code, city.country)
        assert (found.lat, found.lon) == (city.lat, city.lon)
        assert gazetteer.region(city.region, city.country_code) is not None


def test_no_two_cities_share_a_circle_of_25_km(world):
    """What `bayes_city25` takes for granted."""
    pairs = itertools.combinations(world.cities, 2)
    assert min(sphere.distance_km(a.lat, a.lon, b.lat, b.lon) for a, b in pairs) > 50.0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_distributions_sum_to_one_and_depend_on_no_more_than_their_level(world, kind):
    probs_C_V = world.probs_C_V[kind.name]
    assert probs_C_V.shape == (len(world.cities), len(kind.values))
    np.testing.assert_allclose(probs_C_V.sum(axis=1), 1.0)
    assert probs_C_V.min() > 0.0
    for (a, city_a), (b, city_b) in itertools.combinations(enumerate(world.cities), 2):
        same_country = city_a.country_code == city_b.country_code
        same_region = same_country and city_a.region == city_b.region
        if (kind.level == "country" and same_country) or (kind.level == "region" and same_region):
            np.testing.assert_array_equal(probs_C_V[a], probs_C_V[b])
        if kind.level == "city" and same_country:
            assert probs_C_V[a].argmax() != probs_C_V[b].argmax()


def test_landmarks_are_shared_between_countries_and_some_values_decide_alone(world):
    own = {}
    for city in world.cities:
        own.setdefault(world.typical(city)["landmark"], set()).add(city.country_code)
    assert len([countries for countries in own.values() if len(countries) >= 2]) >= 20
    for script, code in (("thai", "TH"), ("hangul", "KR"), ("greek", "GR"), ("hebrew", "IL")):
        assert world.country_probs(world.posterior_C({"script": script}))[code] > 0.7


@pytest.mark.parametrize("south", ["ZA", "BR", "AR", "CL", "AU", "NZ"])
def test_the_sun_stands_in_the_north_of_the_southern_hemisphere(world, south):
    for city in world.cities:
        if city.country_code == south:
            assert world.typical(city)["light"] == "sun_north"


def test_neighbours_share_most_country_cues_and_differ_in_some(world):
    cities = {city.country_code: city for city in world.cities}
    country_kinds = [kind.name for kind in world.kinds if kind.level == "country"]
    for a, b in (("SE", "NO"), ("US", "CA"), ("AR", "CL"), ("AU", "NZ"), ("GB", "IE")):
        usual_a, usual_b = world.typical(cities[a]), world.typical(cities[b])
        same = [usual_a[kind] == usual_b[kind] for kind in country_kinds]
        assert len(same) / 2 < sum(same) < len(same)


def test_the_posterior_is_bayes_rule_by_hand(world):
    visible = {"script": "latin", "driving_side": "left", "vegetation": "palm", "landmark": "dome"}
    weights = []
    for row, city in enumerate(world.cities):
        p = 0.0 if city.geoname_id in world.unseen else 1.0
        for kind in world.kinds:
            if kind.name in visible:
                p *= world.probs_C_V[kind.name][row][kind.values.index(visible[kind.name])]
        weights.append(p)
    expected = [p / math.fsum(weights) for p in weights]
    posterior_C = world.posterior_C(visible)
    np.testing.assert_allclose(posterior_C, expected, rtol=1e-12)
    by_country = world.country_probs(posterior_C)
    assert sum(by_country.values()) == pytest.approx(1.0)
    assert by_country["IN"] == pytest.approx(
        sum(p for p, city in zip(expected, world.cities, strict=True) if city.country_code == "IN")
    )


def test_nothing_visible_leaves_the_prior(world):
    np.testing.assert_allclose(world.posterior_C({}), world.prior_C, rtol=1e-12)
    assert split_prior_C(world, "unseen").min() > 0.0


def test_unknown_cues_are_refused(world):
    with pytest.raises(KeyError):
        world.posterior_C({"script": "runes"})
    with pytest.raises(KeyError):
        world.likelihood_C("smell", "sea")


def test_tables_cannot_be_written_to(world):
    with pytest.raises(ValueError, match="read-only"):
        world.likelihood_C("script", "thai")[0] = 1.0


def test_the_limits_come_true(world):
    """Of scenes whose largest posterior is about p, the name that has it is the true one in a share p of them.

    One scene from each photographer (their runs are at most 15 long), so that the scenes are independent.
    """
    drawn = [scene(world, "test", 16 * number) for number in range(6000)]
    for level, attribute in (("country_code", "bayes_country"), ("geoname_id", "bayes_city25")):
        stated, came_true = [], []
        for each in drawn:
            posterior_C = world.posterior_C({cue.kind: cue.value for cue in each.visible})
            mass = {}
            for city, p in zip(world.cities, posterior_C.tolist(), strict=True):
                mass[getattr(city, level)] = mass.get(getattr(city, level), 0.0) + p
            best = max(mass, key=mass.get)
            stated.append(mass[best])
            came_true.append(best == getattr(each.city, level))
            assert getattr(each, attribute) == pytest.approx(mass[best])
        stated, came_true = np.array(stated), np.array(came_true)
        bins = np.clip((stated * 10).astype(int), 0, 9)
        for number in range(10):
            inside = bins == number
            if inside.sum() >= 50:
                variance = float((stated[inside] * (1 - stated[inside])).sum())
                off = abs(float(came_true[inside].sum() - stated[inside].sum()))
                assert off <= 4.0 * math.sqrt(variance) + 1.0, (attribute, number)


def test_a_wrong_posterior_would_be_found_out(world):
    """The check above has teeth: the same frequencies refute a posterior that is sharpened a little."""
    hits, sharpened, variance = 0, 0.0, 0.0
    for number in range(6000):
        each = scene(world, "test", 16 * number)
        posterior_C = world.posterior_C({cue.kind: cue.value for cue in each.visible})
        best = int(posterior_C.argmax())
        p = float(posterior_C[best] ** 1.3 / (posterior_C**1.3).sum())
        hits += world.cities[best] == each.city
        sharpened += p
        variance += p * (1 - p)
    assert abs(hits - sharpened) > 4.0 * math.sqrt(variance) + 1.0


def test_version_and_scenes_are_the_same_in_another_process(world):
    code = (
        "from atlas.world import load_world; from atlas.scenes import scene;"
        "w = load_world(); print(w.version); print(scene(w, 'shift', 41))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.splitlines() == [world.version, str(scene(world, "shift", 41))]
    assert len(world.version) == 12
    int(world.version, 16)
