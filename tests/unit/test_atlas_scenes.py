"""Scenes: layout, splits, photographers, shares, and independence of what is visible from the place."""

import collections
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.cues import KIND_BY_NAME
from atlas.scenes import (
    DISTRACTORS,
    PLACEABLE_P,
    SHIFT_WEATHER,
    SPLITS,
    SUNNY,
    VIEWS,
    WEATHER,
    scene,
    split_prior_C,
)
from atlas.world import load_world

WORLD = load_world()
PLAIN_VIEWS = {"interior", "close_up", "sky", "fog"}
SIDE_PX = 112


@pytest.fixture(scope="module")
def drawn():
    return {split: [scene(WORLD, split, index) for index in range(2500)] for split in SPLITS}


anywhere = st.builds(
    lambda split, index: scene(WORLD, split, index), st.sampled_from(SPLITS), st.integers(0, 10_000_000)
)


@given(anywhere)
def test_a_scene_is_whole_and_comes_again(made):
    assert made == scene(WORLD, made.split, made.index)
    assert made.id == f"{made.split}-{made.index:06d}"
    assert (made.city.geoname_id in WORLD.unseen) == (made.split == "unseen")
    assert made.weather in (SHIFT_WEATHER if made.split == "shift" else WEATHER)
    assert 0.0 <= made.noise <= 1.0
    assert set(made.distractors) <= set(DISTRACTORS[made.view])
    values = {cue.kind: cue.value for cue in made.visible}
    assert len(values) == len(made.visible)
    assert all(value in KIND_BY_NAME[kind].values for kind, value in values.items())
    bounds = {"street": (4, 8), "landscape": (2, 4), "landmark": (2, 5)}
    least, most = bounds.get(made.view, (0, 0))
    assert least <= len(values) <= most
    assert "light" not in values or made.weather in SUNNY
    assert not {"plate", "taxi"} & values.keys() or "driving_side" in values
    assert ("roof" in values) == ("wall" in values)


@given(anywhere)
def test_the_placeable_level_is_the_finest_with_half_the_posterior(made):
    visible = {cue.kind: cue.value for cue in made.visible}
    posterior_C = WORLD.posterior_C(visible, split_prior_C(WORLD, made.split))
    keys = {
        "city": [city.geoname_id for city in WORLD.cities],
        "region": [(city.country_code, city.region) for city in WORLD.cities],
        "country": [city.country_code for city in WORLD.cities],
    }
    expected = "none"
    for level in ("country", "region", "city"):
        mass = collections.Counter()
        for key, p in zip(keys[level], posterior_C.tolist(), strict=True):
            mass[key] += p
        if max(mass.values()) >= PLACEABLE_P:
            expected = level
    assert made.placeable == expected


@given(anywhere)
def test_boxes_lie_in_the_picture_are_large_and_do_not_hide_each_other(made):
    boxes = {cue.kind: cue.box for cue in made.visible}
    for kind, (left, top, right, bottom) in boxes.items():
        assert -1e-9 <= left < right <= 1 + 1e-9, kind
        assert -1e-9 <= top < bottom <= 1 + 1e-9, kind
    sizes = {kind: ((box[2] - box[0]) * SIDE_PX, (box[3] - box[1]) * SIDE_PX) for kind, box in boxes.items()}
    least = {"landmark": (39, 40), "plate": (22, 8), "script": (40, 14), "roof": (24, 14), "taxi": (24, 20)}
    for kind, (width, height) in least.items():
        if kind in sizes:
            assert sizes[kind][0] >= width, kind
            assert sizes[kind][1] >= height, kind
    # A plate stands on its car, and taxi and driving side are the car itself.
    apart = [kind for kind in boxes if kind not in ("plate", "taxi")]
    for number, one in enumerate(apart):
        for other in apart[number + 1 :]:
            assert _shared(boxes[one], boxes[other]) <= 1e-9, (made.id, one, other)
    if "plate" in boxes:
        assert _shared(boxes["plate"], boxes["driving_side"]) >= 0.9 * _area(boxes["plate"])


@given(anywhere)
def test_the_car_keeps_to_its_side(made):
    for cue in made.visible:
        if cue.kind == "driving_side":
            assert (cue.box[2] <= 0.5) == (cue.value == "left")
            assert (cue.box[0] >= 0.5) == (cue.value == "right")


def _area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(a, b):
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


@pytest.mark.parametrize("split", SPLITS)
def test_shares_are_those_of_the_design(drawn, split):
    made = drawn[split]
    share = {level: n / len(made) for level, n in collections.Counter(s.placeable for s in made).items()}
    assert 0.25 <= share["none"] <= 0.36
    assert 0.40 <= share["city"] <= 0.56
    assert 0.08 <= share["country"] <= 0.25
    assert 0.005 <= share["region"] <= 0.10
    plain = [s for s in made if s.view in PLAIN_VIEWS]
    assert all(not s.visible and s.placeable == "none" for s in plain)
    with_landmark = [
        any(c.kind == "landmark" for c in s.visible) for s in made if s.view in ("street", "landmark")
    ]
    assert 0.55 <= sum(with_landmark) / len(with_landmark) <= 0.68
    for view, p in VIEWS.items():
        n = sum(s.view == view for s in made)
        assert abs(n - p * len(made)) <= 4.5 * math.sqrt(p * (1 - p) * len(made)), view
    streets = [s.bayes_country for s in made if s.view == "street" and s.placeable != "none"]
    assert sum(streets) / len(streets) > 0.9


def test_photographers_are_runs_of_scenes_in_a_few_cities_of_one_split(drawn):
    owners = set()
    for made in drawn.values():
        runs = collections.defaultdict(list)
        for each in made:
            runs[each.photographer].append(each)
        for name, run in list(runs.items())[:-1]:
            assert 8 <= len(run) <= 15
            assert [s.index for s in run] == list(range(run[0].index, run[0].index + len(run)))
            assert 1 <= len({s.city.geoname_id for s in run}) <= 3
            assert name not in owners
        owners |= set(runs)


def test_every_city_is_drawn_equally_often():
    """One scene from each photographer, chi-square against a uniform draw at 4 standard deviations."""
    cities = [scene(WORLD, "train", 16 * number).city.geoname_id for number in range(8000)]
    counts = collections.Counter(cities)
    trained = len(WORLD.cities) - len(WORLD.unseen)
    expected = len(cities) / trained
    chi_square = sum(
        (counts[c.geoname_id] - expected) ** 2 / expected for c in WORLD.cities if c.geoname_id in counts
    )
    assert len(counts) == trained
    assert abs(chi_square - (trained - 1)) <= 4 * math.sqrt(2 * (trained - 1))


def test_what_is_visible_does_not_depend_on_the_place():
    """Southern and northern places show each kind equally often; so do those that drive left and right."""
    made = [scene(WORLD, "train", 16 * number) for number in range(8000)]
    for halves in (lambda s: s.city.lat < 0, lambda s: WORLD.typical(s.city)["driving_side"] == "left"):
        groups = {True: [], False: []}
        for each in made:
            groups[halves(each)].append({cue.kind for cue in each.visible} | {each.view, each.weather})
        for thing in (*KIND_BY_NAME, *VIEWS, *WEATHER):
            p = [sum(thing in shown for shown in group) / len(group) for group in groups.values()]
            pooled = sum(thing in shown for group in groups.values() for shown in group) / len(made)
            deviation = math.sqrt(pooled * (1 - pooled) * sum(1 / len(group) for group in groups.values()))
            assert abs(p[0] - p[1]) <= 4.5 * deviation, thing


@pytest.mark.parametrize(("split", "index"), [("tests", 0), ("", 3), ("train", -1)])
def test_what_does_not_exist_is_refused(split, index):
    with pytest.raises(ValueError, match="no scene"):
        scene(WORLD, split, index)


def test_scenes_are_cheap():
    """0.04 ms each when it was written; the bound is what the renderer's budget leaves."""
    scene(WORLD, "train", 0)
    started = time.process_time()
    for index in range(2000):
        scene(WORLD, "train", index)
    assert (time.process_time() - started) / 2000 < 0.0005
