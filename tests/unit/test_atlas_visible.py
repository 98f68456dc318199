"""What curation's last step knows of this world: masks, cuts, and what is said against what is seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.cuts import choose_cuts
from atlas.language import cue_phrase
from atlas.masks import CAR, LABELS, label_map, label_of
from atlas.scenes import scene
from atlas.visible import CUES, AtlasVisible, Seen, load_cuts
from atlas.world import load_world
from benchmarks.curation.cases import subject_of
from trainer.curate.opinions import Case, Opinion
from worker.reason.answer import Answer

WORLD = load_world()
SCENES = [scene(WORLD, "test", index) for index in range(60)]


def seen_truly(shown):
    visible = {(cue.kind, cue.value) for cue in shown.visible}
    return Seen({cue: 0.9 if cue in visible else 0.1 for cue in CUES})


def test_every_cue_has_a_label_and_only_the_side_of_driving_shares_one():
    labels = [label_of(*cue) for cue in CUES]
    assert set(labels) <= set(LABELS)
    assert sorted(label for label in set(labels) if labels.count(label) > 1) == [CAR]
    assert len(LABELS) == len(set(LABELS)) <= 255


@pytest.mark.parametrize("shown", SCENES[:12], ids=lambda shown: shown.id)
def test_masks_show_what_the_scene_shows_and_no_other_cue(shown):
    there = {LABELS[row] for row in np.unique(label_map(shown, 112))}
    visible = {label_of(cue.kind, cue.value) for cue in shown.visible}
    cues = {label_of(*cue) for cue in CUES}
    assert there & cues <= visible
    small = {label for label in visible - there if not label.startswith(("plate", "car"))}
    assert not small  # a plate may be hidden by less than a pixel, and a taxi is drawn in the place of its car


def test_a_stated_cue_is_judged_by_the_cut_of_its_kind():
    shown = next(each for each in SCENES if any(cue.kind == "roof" for cue in each.visible))
    [roof] = [cue for cue in shown.visible if cue.kind == "roof"]
    other = next(value for kind, value in CUES if kind == "roof" and value != roof.value)
    text = f"{cue_phrase('roof', roof.value, 0)} {cue_phrase('roof', other, 1)} It is somewhere."
    case = Case(subject_of(shown), ())
    cuts = dict.fromkeys({kind for kind, _ in CUES}, 0.5)
    [cues] = AtlasVisible(lambda cases: [seen_truly(shown) for _ in cases], cuts)(
        [(case, Opinion("one", Answer(text, "France")))]
    )
    assert {cue.text: cue.visible for cue in cues} == {f"roof={roof.value}": True, f"roof={other}": False}
    assert {cue.by for cue in cues} == {"segmenter"}


def test_a_sample_that_states_nothing_has_no_cues():
    visible = AtlasVisible(lambda cases: [seen_truly(SCENES[0]) for _ in cases], {})
    case = Case(subject_of(SCENES[0]), ())
    assert visible([(case, Opinion("one", Answer("A nice day.", "France")))]) == [[]]


def test_cuts_lie_between_what_is_there_and_what_is_not():
    cuts = choose_cuts(WORLD, SCENES, [seen_truly(shown) for shown in SCENES])
    assert cuts.keys() == {kind.name for kind in WORLD.kinds}
    assert all(0.1 < cut < 0.9 for cut in cuts.values())


@pytest.mark.parametrize("by", ["segmenter", "clip"])
def test_packaged_cuts_cover_every_kind(by):
    assert load_cuts(by).keys() == {kind.name for kind in WORLD.kinds}


@given(st.text(max_size=200))
def test_any_text_is_judged_without_an_error(text):
    visible = AtlasVisible(lambda cases: [seen_truly(SCENES[1]) for _ in cases], load_cuts())
    [cues] = visible([(Case(subject_of(SCENES[1]), ()), Opinion("one", Answer(text, "France")))])
    assert all(cue.visible is not None for cue in cues)
