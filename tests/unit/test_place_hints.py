"""Regions as constraints, and the places that a caption names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.place.caption import MAX_PLACES, caption_places
from worker.place.gazetteer import Gazetteer
from worker.place.region import Area, UnknownRegion, read_constraint


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


@pytest.mark.parametrize(
    ("text", "areas"),
    [
        ("France", [Area("FR")]),
        ("FR", [Area("FR")]),
        ("Brittany", [Area("FR", "Brittany")]),
        (" Brittany , France ", [Area("FR", "Brittany")]),
        ("France, Brittany", [Area("FR", "Brittany")]),
        ("France; Spain", [Area("FR"), Area("ES")]),
        ("Bavaria / Tyrol", [Area("DE", "Bavaria"), Area("AT", "Tyrol")]),
        ("Georgia", [Area("GE"), Area("US", "Georgia")]),
        ("Scotland", [Area("GB", "Scotland")]),
        ("Luxembourg", [Area("LU")]),
        ("CA", [Area("CA")]),
        ("CA, USA", [Area("US", "California")]),
    ],
)
def test_a_region_is_a_country_or_a_division(gazetteer, text, areas):
    assert list(read_constraint((text,), gazetteer).areas) == areas


@pytest.mark.parametrize(
    "text", ["Ruritania", "Mauritanai", "Brittany, Spain", "France; Ruritania", "Paris", ";", ","]
)
def test_a_region_that_nobody_knows_is_refused_and_not_guessed(gazetteer, text):
    with pytest.raises(UnknownRegion):
        read_constraint((text,), gazetteer)


@pytest.mark.parametrize("stated", [(), (None,), (None, " ")])
def test_without_a_region_nothing_is_constrained(gazetteer, stated):
    assert read_constraint(stated, gazetteer) is None


def test_the_narrower_of_two_statements_counts(gazetteer):
    assert read_constraint(("France", "Brittany"), gazetteer).areas == (Area("FR", "Brittany"),)
    assert read_constraint(("Georgia", "USA"), gazetteer).areas == (Area("US", "Georgia"),)


def test_statements_that_contradict_each_other_admit_nothing(gazetteer):
    constraint = read_constraint(("France", "Spain"), gazetteer)
    assert (constraint.areas, constraint.stated) == ((), "France and Spain")
    assert not constraint.holds("FR", None)


def test_a_country_holds_its_divisions_and_territories_and_a_division_only_itself(gazetteer):
    france, brittany = (read_constraint((text,), gazetteer) for text in ("France", "Brittany"))
    assert france.holds("FR", "Brittany")
    assert france.holds("PF", None)
    assert not france.holds("BE", None)
    assert brittany.holds("FR", "Brittany")
    assert not brittany.holds("FR", "Normandy")
    assert not brittany.holds("FR", None)
    assert brittany.within("FR", gazetteer).name == "Brittany"
    assert france.within("FR", gazetteer) is None


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_any_text_is_a_region_or_refused(text):
    try:
        constraint = read_constraint((text,), Gazetteer.load())
    except UnknownRegion as error:
        assert str(error)
    else:
        assert (constraint is None) == (not text.strip())


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("View of Prague from the castle", [("Prague", "CZ")]),
        ("Rio de Janeiro, Brazil", [("Rio de Janeiro", "BR")]),
        ("Bath, England", [("Bath", "GB")]),
        ("Paris, Texas", [("Paris", "US")]),
        ("Pont Neuf, Paris, France", [("Paris", "FR")]),
        ("Kyoto, Japan; Lyon", [("Kyoto", "JP"), ("Lyon", "FR")]),
        ("Germany 1945", [("Germany", "DE")]),
    ],
)
def test_a_caption_names_what_is_certain(gazetteer, caption, named):
    assert [(place.name, place.country_code) for place in caption_places(caption, gazetteer)] == named


@pytest.mark.parametrize(
    "caption", [None, "", "the fair", "Springfield", "in the village", "ice cream in may", "Ma"]
)
def test_a_caption_that_names_nothing_for_certain_names_nothing(gazetteer, caption):
    assert caption_places(caption, gazetteer) == ()


@settings(max_examples=60)
@given(st.text(max_size=2000))
def test_no_caption_is_too_strange(text):
    assert len(caption_places(text, Gazetteer.load())) <= MAX_PLACES
