"""True class areas: they add up to the picture, and stand where the scene says that things stand."""

import numpy as np
import pytest

from atlas.areas import CLASSES, area_shares, class_areas
from atlas.render import render
from atlas.scenes import scene
from atlas.world import load_world

WORLD = load_world()
SCENES = [scene(WORLD, split, index) for split in ("test", "shift") for index in range(12)]


@pytest.mark.parametrize("shown", SCENES, ids=lambda shown: shown.id)
def test_shares_add_up_and_name_only_what_is_there(shown):
    areas = class_areas(shown, 48)
    assert sum(areas.values()) == pytest.approx(1.0)
    there = {cue.kind for cue in shown.visible} | set(shown.distractors) | {shown.view}
    assert areas.keys() <= there | {"sky", "paving", "hoarding", "road"}
    for cue in shown.visible:
        left, top, right, bottom = cue.box
        # A sign's cables and the like reach a little out of the box.
        assert areas.get(cue.kind, 0.0) <= (right - left) * (bottom - top) + 0.05


def test_a_landmark_covers_some_of_its_box():
    shown = next(each for each in SCENES if any(cue.kind == "landmark" for cue in each.visible))
    [box] = [cue.box for cue in shown.visible if cue.kind == "landmark"]
    assert class_areas(shown)["landmark"] > 0.05 * (box[2] - box[0]) * (box[3] - box[1])


def test_a_view_that_shows_nothing_has_no_cue_areas():
    bare = next(s for s in (scene(WORLD, "test", index) for index in range(500)) if s.view == "interior")
    areas = class_areas(bare, 48)
    assert areas["interior"] > 0.5
    assert not areas.keys() & {"road", "landmark", "script"}


def test_watching_does_not_change_the_picture():
    shown = SCENES[0]
    plain = np.asarray(render(shown, 48))
    seen = []
    assert (np.asarray(render(shown, 48, on_drawn=lambda name, _: seen.append(name))) == plain).all()
    assert seen[0] == "sky"
    assert set(seen) <= set(CLASSES)
    assert area_shares(shown, 48).shape == (len(CLASSES),)
