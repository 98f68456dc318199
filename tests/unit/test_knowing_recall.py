"""Similar photographs in the study of knowing: whose they are, what they add, and when they are the same scene."""

import pytest

from benchmarks.knowing.recall import (
    ARCHIVE,
    MODEL,
    NEVER,
    TOGETHER,
    candidates_of,
    gained,
    on_gallery,
    safe_cosine,
)
from benchmarks.knowing.scenes import ONE
from tests.unit.knowing_cases import case, scenes


@pytest.fixture(scope="module")
def gallery():
    """Six photographers; those whose embeddings lean to the first axis stand in Lyon, the others in Berlin."""
    cases = [case(n, "Lyon" if n < 3 else "Berlin", ["unknown"], photographer=n) for n in range(6)]
    return scenes(cases, [[1, 0.1 * n] if n < 3 else [0.1 * n, 1] for n in range(6)])


def test_a_photographers_own_pictures_are_no_candidates(gallery):
    [found] = candidates_of(gallery.part([0]), gallery)
    assert [each.sha256 for each in found][:2] == ["test-000001", "test-000002"]
    assert len(found) == 5
    assert all(each.sha256 != "test-000000" for each in found)
    assert found[0].cosine >= found[1].cosine >= found[2].cosine
    assert found[0].share_nearby == pytest.approx(2 / 5), "of the five others two stand in Lyon"


def test_a_same_scene_outweighs_the_model_and_a_similar_one_does_not(gallery):
    asked = scenes([case(9, "Lyon", ["Berlin"] * 8, photographer=9)], [[1, 0.05]])
    same = gained(on_gallery(asked, gallery, near_duplicate_cosine=0.99), ONE)
    alike = gained(on_gallery(asked, gallery, near_duplicate_cosine=NEVER), ONE)
    assert [same.within[each].value for each in (TOGETHER, MODEL, ARCHIVE)] == [1.0, 0.0, 1.0]
    assert [alike.within[each].value for each in (TOGETHER, MODEL, ARCHIVE)] == [0.0, 0.0, 1.0]
    assert (same.duplicates, same.duplicates_right) == (1.0, 1.0)
    assert (alike.duplicates, alike.duplicates_right) == (0.0, None)


def test_a_mistaken_near_duplicate_places_what_nothing_tells(gallery):
    told = case(8, "Lyon", ["Lyon"], photographer=8)
    nothing = case(9, "Berlin", ["unknown"], photographer=9, placeable="none")
    found = gained(on_gallery(scenes([told, nothing], [[1, 0.05]] * 2), gallery), ONE)
    assert found.invented[TOGETHER].value == 1.0
    assert found.invented[MODEL].value == 0.0


def test_a_safe_cosine_is_one_whose_pairs_stand_together():
    def pairs(city_of):
        """Two photographers at each of twenty directions; the second stands where `city_of` says."""
        rows = [[1 if k == n // 2 else 0 for k in range(20)] for n in range(40)]
        return scenes([case(n, city_of(n), ["unknown"], photographer=n) for n in range(40)], rows)

    assert safe_cosine(pairs(lambda _: "Lyon")) == 0.97
    assert safe_cosine(pairs(lambda n: "Lyon" if n % 2 else "Berlin")) == NEVER


def test_too_few_pairs_prove_nothing(gallery):
    assert safe_cosine(gallery) == NEVER
