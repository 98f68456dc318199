from collections import Counter
from itertools import pairwise

import pytest

from atlas.captions import _FITS, FAMILIES, LEVELS, captions, place_caption, truth
from atlas.cues import KINDS
from atlas.language import VARIANTS, VIEW_SENTENCES, cue_phrase, stated_cues
from atlas.scenes import VIEWS, scene
from atlas.world import load_world
from worker.gate.zeroshot import NOT_PLACEABLE, PLACEABLE, PROMPTS

WORLD = load_world()
LIST = captions(WORLD)
SCENES = [scene(WORLD, "train", index) for index in range(1500)]
DEAD_VIEWS = frozenset(VIEW_SENTENCES)


def _said(shown) -> tuple[set[str], set[str], set[str]]:
    """True, undecided and false texts of a scene."""
    said = truth(WORLD, shown)
    true, undecided = ({LIST.texts[row] for row in rows} for rows in (said.true, said.undecided))
    assert (len(true), len(undecided)) == (len(said.true), len(said.undecided))
    return true, undecided, set(LIST.texts) - true - undecided


def test_the_list_holds_each_caption_once():
    assert len(set(LIST.texts)) == len(LIST.texts) == len(LIST.families) == len(LIST.index)
    assert all(LIST.texts[row] == text for text, row in LIST.index.items())
    families = Counter(FAMILIES[family] for family in LIST.families)
    assert families["prompt"] == len(PROMPTS)
    assert families["cue"] == VARIANTS * sum(len(kind.values) for kind in KINDS) + len(VIEW_SENTENCES)
    assert set(PROMPTS) <= LIST.index.keys()


def test_trained_places_are_named_at_each_level_and_unseen_ones_never():
    for city in WORLD.cities:
        trained = city.geoname_id not in WORLD.unseen
        assert (place_caption(city, "city") in LIST.index) == trained
        assert place_caption(city, "country") in LIST.index
    assert place_caption(WORLD.cities[0], "country") == f"a photo taken in {WORLD.cities[0].country}"


@pytest.mark.parametrize("split", ["train", "shift", "unseen"])
def test_nothing_is_both_true_and_undecided(split):
    for index in range(200):
        true, undecided, false = _said(scene(WORLD, split, index))
        assert true
        assert not true & undecided
        assert len(true) + len(undecided) + len(false) == len(LIST.texts)


def test_true_sentences_state_what_is_visible_and_no_other_is_undecided():
    for shown in SCENES:
        true, undecided, _ = _said(shown)
        visible = {(cue.kind, cue.value) for cue in shown.visible}
        assert frozenset().union(*(stated_cues(text) for text in true)) == visible
        assert not any(stated_cues(text) for text in undecided)
        for kind, value in visible:
            assert {cue_phrase(kind, value, variant) for variant in range(VARIANTS)} <= true
        assert true & set(VIEW_SENTENCES.values()) == ({VIEW_SENTENCES[shown.view]} if not visible else set())


def test_places_are_true_down_to_what_can_be_told_and_never_false():
    for shown in SCENES:
        true, undecided, false = _said(shown)
        reach = LEVELS.index(shown.placeable) + 1 if shown.placeable in LEVELS else 0
        own = [place_caption(shown.city, level) for level in LEVELS]
        named = {text for text in true if text.startswith("a photo taken in")}
        assert named == set(own[:reach])
        assert set(own[reach:]) <= true | undecided
        assert not set(own) & false


def test_prompts_follow_what_can_be_placed():
    """Of a view without cues no PLACEABLE prompt is true or undecided, and the other way round."""
    seen = Counter()
    for shown in SCENES:
        true, undecided, false = _said(shown)
        prompts = true & set(PROMPTS)
        seen.update(prompts)
        if shown.view in DEAD_VIEWS:
            assert set(PLACEABLE) <= false
            assert prompts
        elif shown.placeable == "none":
            assert set(PLACEABLE) <= false
            assert set(NOT_PLACEABLE) <= undecided
        else:
            assert set(NOT_PLACEABLE) <= false
            assert not set(PLACEABLE) <= undecided
    assert seen.keys() == _FITS.keys()  # each is a prompt of the gate, word for word, and each fits some scene


@pytest.mark.parametrize(
    ("view", "prompt"),
    [
        ("interior", "a photo of an empty room without windows"),
        ("close_up", "a macro photo of a flower or an insect"),
        ("sky", "a photo of nothing but sky and clouds"),
        ("fog", "a blurred photo in which nothing can be recognised"),
    ],
)
def test_a_view_without_cues_has_its_own_prompt(view, prompt):
    assert view in VIEWS
    views = {shown.view for shown in SCENES if prompt in _said(shown)[0]}
    assert views == {view}


def test_a_landmark_is_famous_and_a_church_only_sometimes():
    values = {True: set(), False: set()}
    for shown in SCENES:
        cues = {cue.kind: cue.value for cue in shown.visible}
        if shown.placeable == "none" or "landmark" not in cues:
            continue
        true, _, _ = _said(shown)
        assert "a photo of a famous landmark" in true
        values["a photo of a church, a temple or a mosque" in true].add(cues["landmark"])
    assert {"minaret_pair", "pagoda", "church_one_spire"} <= values[True]
    assert {"windmill", "obelisk", "ferris_wheel"} <= values[False]
    assert not values[True] & values[False]


def test_the_same_scene_has_the_same_truth():
    for one, other in pairwise([truth(WORLD, SCENES[7]) for _ in range(3)]):
        assert one == other
