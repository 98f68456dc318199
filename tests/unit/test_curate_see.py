"""Which visible things a text names, and what is made of those who look for them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from schema.reasons import Reason
from trainer.curate.opinions import Case, Opinion, Subject
from trainer.curate.see.entities import GROUPS, of_phrase, things
from trainer.curate.see.lexicon import ADE20K, CLASSES, NOUN_OF
from trainer.curate.see.looker import Bounds, Looker, background, named, otherwise, photo_of
from worker.errors import JobError, SetupError
from worker.reason.answer import Answer


def texts(reasoning):
    return [thing.text for thing in things(reasoning)]


@pytest.mark.parametrize(
    ("reasoning", "expected"),
    [
        ("A low yellow taxi stands before red tiled roofs.", ["low yellow taxi", "red tiled roof"]),
        ("The kerb is red and white. Cars keep to the left.", ["red white kerb", "car"]),
        ("The utility poles are wooden.", ["wooden utility pole"]),
        ("The road has a dashed yellow centre line.", ["road", "dashed yellow centre line"]),
        ("A gray wall and churches.", ["grey wall", "church"]),
        ("A stone arch bridge over a river.", ["stone arch bridge", "river"]),
        ("There are buses, branches aside, and CARS.", ["bus", "car"]),
        ("There are no palm trees, but a mosque.", ["mosque"]),
        ("Road signs are missing. Street lamps are not visible.", []),
        ("Not only a taxi but a bus.", ["taxi", "bus"]),
        ("Mansard roofs typical of streets in Paris.", ["mansard roof"]),
        ("The light suggests a beach, with boats.", ["boat"]),
        ("In that case buses would be red.", []),
        ("We are in Long Beach or at Rock Hill.", []),
        ("Behind it the Eiffel Tower and the Golden Gate Bridge.", ["Eiffel Tower", "Golden Gate Bridge"]),
        ('A sign reads "Beach Road", the wall is ochre.', ['"Beach Road"', "sign", "ochre wall"]),
        ("<think>- **Taxi**: yellow\n- Trees</think>", ["taxi", "tree"]),
        ("In this case, the base of this is a line of text.", []),
        ("", []),
    ],
)
def test_things_are_read_with_what_describes_them(reasoning, expected):
    assert sorted(texts(reasoning)) == sorted(expected)


def test_a_thing_knows_its_classes():
    (taxi,) = things("There is a yellow taxi.")
    assert (taxi.noun, taxi.classes, taxi.described) == ("taxi", ("car", "van"), ("yellow",))
    (sign,) = things('"Beach Road"')
    assert sign.quoted
    assert (sign.noun, sign.classes) == ("", ())
    (tower,) = things("This is the Eiffel Tower.")
    assert tower.named
    assert "tower" in tower.classes
    assert of_phrase("Yellow taxi").classes == taxi.classes
    assert of_phrase("gizmo").noun == ""


def test_the_lexicon_files_things_under_the_150_classes_only():
    assert len(ADE20K) == 150
    used = {name for classes in CLASSES.values() for name in classes}
    assert used == set(ADE20K) - {"plate"}  # a plate in a text is a car's
    assert set(NOUN_OF.values()) <= set(CLASSES)
    assert len([word for group in GROUPS for word in group]) == len({word for group in GROUPS for word in group})


@given(st.text(max_size=300))
def test_any_text_can_be_read(text):
    found = things(text)
    assert len({thing.text for thing in found}) == len(found)
    for thing in found:
        assert thing.text
        assert thing.quoted or thing.noun in CLASSES


@given(st.lists(st.sampled_from(["yellow", "red", "and", "taxi", "roof", "the", "is", "no", "Tower", "of"])))
def test_a_denied_clause_names_nothing(words):
    assert texts("no " + " ".join(words)) == []


# ------------------------------------------------------------ looking


class Areas:
    """Tells the areas that a picture's size stands for."""

    labels = ("car", "building", "tree")

    def __init__(self, areas):
        self.areas = areas

    def shares(self, pictures):
        return [self.areas for _ in pictures]


class Captions:
    """Fits each caption as well as the table says, 0 where it says nothing."""

    def __init__(self, cosines):
        self.cosines = cosines

    def picture(self, image):
        if image.width == 13:
            raise JobError(Reason.MODEL_ERROR, "it fails on this one")
        return np.ones(1, dtype=np.float32)

    def standing(self, picture_D, text, against):
        mine = self.cosines.get(text, 0.0)
        return sum(self.cosines.get(other, 0.0) < mine for other in against) / len(against)

    def score(self, picture_D, text, against):
        odds = np.mean([np.exp(self.cosines.get(other, 0.0) - self.cosines.get(text, 0.0)) for other in against])
        return float(1 / (1 + odds))


def look(reasoning, areas=None, cosines=None, *, side_px=8, listed=None, **bounds):
    subject = Subject("a" * 64, "file:///a.jpg", 0.0, 0.0)
    own = Opinion("t", Answer(reasoning, "France"), named=listed)
    looker = Looker(
        lambda _: Image.new("RGB", (side_px, side_px)),
        None if areas is None else Areas(areas),
        None if cosines is None else Captions({photo_of(text): cosine for text, cosine in cosines.items()}),
        Bounds(**bounds),
    )
    ((cues,),) = [looker([(Case(subject, (own,)), own)])]
    return {cue.text: (cue.visible, cue.by) for cue in cues}


YELLOW = "There is a yellow taxi."


@pytest.mark.parametrize(
    ("areas", "cosines", "expected"),
    [
        (None, None, (None, "")),
        ({"car": 0.1}, None, (True, "segmentation")),
        ({"car": 0.001}, None, (False, "segmentation")),
        ({"tree": 0.5}, None, (False, "segmentation")),
        (None, {"yellow taxi": 9}, (True, "matching")),
        (None, {}, (False, "matching")),
        (None, {"yellow taxi": 9, "red taxi": 15}, (False, "matching")),  # there is a taxi, but a red one
        (None, {"yellow taxi": 9, "red taxi": 11.5}, (None, "matching")),
        ({"car": 0.1}, {"yellow taxi": 9}, (True, "segmentation+matching")),
        ({"car": 0.1}, {"yellow taxi": 9, "red taxi": 15}, (None, "segmentation+matching")),
        ({"tree": 0.1}, {}, (False, "segmentation+matching")),
        ({"tree": 0.1}, {"yellow taxi": 9}, (None, "segmentation+matching")),
    ],
)
def test_two_who_look_must_agree(areas, cosines, expected):
    assert look(YELLOW, areas, cosines) == {"yellow taxi": expected}


def test_what_nobody_can_tell_is_no_yes():
    assert look('It reads "Beach Road".', {"car": 1.0}, {"Beach Road": 9}) == {'"Beach Road"': (None, "")}
    # No class of this segmenter shows a kerb.
    assert look("A kerb.", {"car": 1.0}) == {"kerb": (None, "")}
    assert look("A taxi.", None, {"taxi": 9}, side_px=13) == {"taxi": (None, "")}


def test_what_a_teacher_lists_is_looked_for_too():
    found = look("A taxi.", {"car": 0.2}, listed=("green tree", "Taxi", "gizmo", " "))
    assert found == {
        "taxi": (True, "segmentation"), "green tree": (False, "segmentation"), "gizmo": (None, ""),
    }  # fmt: skip
    assert named(Opinion("gps", lat=0.0, lon=0.0)) == ()


def test_a_photograph_that_cannot_be_opened_is_told_and_harms_no_other():
    def open_picture(subject):
        if subject.id == "b":
            raise JobError(Reason.NOT_FOUND, "it is gone")
        return Image.new("RGB", (8, 8))

    seen = []
    looker = Looker(open_picture, Areas({"car": 1.0}), on_seen=seen.append)
    own = Opinion("t", Answer("A taxi.", "France"))
    samples = [(Case(Subject(id_, "file:///x", 0.0, 0.0), (own,)), own) for id_ in "abc"]
    assert [[cue.visible for cue in cues] for cues in looker(samples)] == [[True], [None], [True]]
    assert list(looker.unopened) == ["b"]
    assert sum(seen) == 3


def test_contrasts_leave_out_what_is_named():
    (taxi,) = things("a yellow taxi")
    assert "yellow taxi" not in otherwise(taxi)
    assert "red taxi" in otherwise(taxi)
    assert otherwise(things("a taxi")[0]) == []
    assert otherwise(things("The kerb is red and white.")[0]) == []
    assert photo_of("bus") not in background(things("a bus")[0])


def test_bounds_out_of_order_are_refused():
    for wrong in ({"stands_no": 0.9}, {"score_yes": 1.1}, {"min_area": 0.0}):
        with pytest.raises(SetupError):
            Bounds(**wrong)
