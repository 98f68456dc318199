"""Scenes of the Atlas: what a picture shows, where it stands in the picture, and how well that tells the place.

Views, weather, layout and the choice of what is visible never depend on the place; only the values of the visible
cues do. That is what makes the posterior of `atlas.world` exact, and with it the limits in each scene.

`atlas.render` draws each cue inside its box. The layout keeps decisive parts apart: light in a corner of the sky,
a landmark in the upper middle, a house at one side and a plant at the other, the road below with a car on its
left or right lane.
"""

import hashlib
from bisect import bisect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from random import Random

import numpy as np

from atlas.world import City, Floats, World

SPLITS = ("train", "calibration", "test", "shift", "unseen")
VIEWS = {
    "street": 0.56,
    "landmark": 0.19,
    "landscape": 0.06,
    "interior": 0.06,
    "close_up": 0.05,
    "sky": 0.04,
    "fog": 0.04,
}
"""The share of each view; the last four show nothing that could tell a place."""
WEATHER = {"clear": 0.60, "overcast": 0.16, "dusk": 0.12, "haze": 0.12}
SHIFT_WEATHER = {"rain": 0.25, "night": 0.25, "snowfall": 0.25, "sepia": 0.25}
"""The weather of the split `shift`, which no other split shows."""
SUNNY = frozenset({"clear", "sepia"})
DISTRACTORS = {
    "street": ("person", "dog", "bicycle", "cloud", "balloon", "bird", "lamp"),
    "landmark": ("person", "dog", "bicycle", "cloud", "balloon", "bird", "lamp", "flower"),
    "landscape": ("person", "dog", "bicycle", "cloud", "balloon", "bird", "flower"),
    "interior": ("person", "dog", "lamp", "chair", "cup", "flower"),
    "close_up": ("dog", "bicycle", "lamp", "chair", "cup", "flower"),
    "sky": ("cloud", "balloon", "bird"),
    "fog": ("person", "dog", "bicycle", "lamp"),
}
"""What may stand in each view and tells nothing."""
PLACEABLE_P = 0.5
"""A scene is placeable at a level when one name of that level has at least this posterior."""
PHOTOGRAPHER_SCENES = (8, 15, 11, 9, 14, 12, 10, 13)
"""Lengths of the photographers' runs of scenes, over and over."""
STREET_CUES = range(4, 9)
LANDSCAPE_CUES = range(2, 5)
LANDMARK_CUES = range(2, 6)

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in 0..1 of the picture, y downwards."""


@dataclass(frozen=True, slots=True)
class VisibleCue:
    """One cue and the box that it is drawn in."""

    kind: str
    value: str
    box: Box


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture before it is drawn.

    `city` is the true place, also where it cannot be told. `placeable` is the finest of "city", "region",
    "country", "none" at which one name has a posterior of at least `PLACEABLE_P`. `bayes_country` and
    `bayes_city25` are the largest posteriors of a country and of all cities within 25 km of one point.
    Photographers are clusters of scenes, each in one split only. `noise` is 0..1; `seed` is for the renderer's
    own choices.
    """

    id: str
    split: str
    index: int
    view: str
    city: City
    visible: tuple[VisibleCue, ...]
    distractors: tuple[str, ...]
    weather: str
    noise: float
    seed: int
    photographer: str
    placeable: str
    bayes_country: float
    bayes_city25: float


def scene(world: World, split: str, index: int) -> Scene:
    """The scene of that number; the same for the same world, split and index. Any index from 0 on exists.

    Raises `ValueError` for an unknown split or a negative index.
    """
    if split not in SPLITS or index < 0:
        raise ValueError(f"no scene {index} in a split {split!r}; splits are {', '.join(SPLITS)}")
    tables = _tables(world)
    rng = _rng(world, split, "scene", index)
    photographer, rows, grain = _photographer(world, split, index)
    row = rows[rng.randrange(len(rows))]
    view = tables.view.draw(rng)
    weather = (tables.shift_weather if split == "shift" else tables.weather).draw(rng)
    kinds = _CHOOSE[view](rng, weather) if view in _CHOOSE else []
    values = {kind: tables.values[kind][row].draw(rng) for kind in kinds}
    boxes = _LAYOUT[view](values, rng) if values else {}
    visible = tuple([VisibleCue(kind, value, boxes[kind]) for kind, value in values.items()])
    placeable, bayes_country, bayes_city25 = _limits(world, values, tables.prior_C[split])
    return Scene(
        id=f"{split}-{index:06d}",
        split=split,
        index=index,
        view=view,
        city=world.cities[row],
        visible=visible,
        distractors=_distractors(view, rng),
        weather=weather,
        noise=round(grain + (0.3 + 0.4 * rng.random() if split == "shift" else 0.15 * rng.random()), 4),
        seed=rng.getrandbits(32),
        photographer=photographer,
        placeable=placeable,
        bayes_country=bayes_country,
        bayes_city25=bayes_city25,
    )


def split_prior_C(world: World, split: str) -> Floats:  # noqa: N802 (names its axis)
    """The prior behind a scene's limits: the trained cities, from which all splits but one draw uniformly.

    For `unseen` it is uniform over *all* cities: the belief of someone who knows this world but not which of its
    cities were held out. Its limits are a yardstick there, not a bound. Who knew the eight would do better.
    """
    return np.full(len(world.cities), 1.0 / len(world.cities)) if split == "unseen" else world.prior_C


# ------------------------------------------------------------ chance


@dataclass(frozen=True, slots=True)
class _Choice:
    """A distribution that is drawn from fast."""

    names: tuple[str, ...]
    cumulative: tuple[float, ...]

    @classmethod
    def of(cls, names: Iterable[str], shares: Iterable[float]) -> "_Choice":
        *cumulative, _ = accumulate(shares)  # without the last: a sum of 0.999... must not run over the end
        return cls(tuple(names), tuple(cumulative))

    def draw(self, rng: Random) -> str:
        return self.names[bisect(self.cumulative, rng.random())]


@dataclass(frozen=True, slots=True)
class _Tables:
    values: dict[str, list[_Choice]]
    """By kind and row of axis C."""
    view: _Choice
    weather: _Choice
    shift_weather: _Choice
    prior_C: dict[str, Floats]
    rows: dict[str, list[int]]
    same_country: list[list[int]]


@cache
def _tables(world: World) -> _Tables:
    trained = [row for row, city in enumerate(world.cities) if city.geoname_id not in world.unseen]
    held_out = [row for row, city in enumerate(world.cities) if city.geoname_id in world.unseen]
    return _Tables(
        values={
            kind.name: [_Choice.of(kind.values, probs_V) for probs_V in world.probs_C_V[kind.name].tolist()]
            for kind in world.kinds
        },
        view=_Choice.of(VIEWS, VIEWS.values()),
        weather=_Choice.of(WEATHER, WEATHER.values()),
        shift_weather=_Choice.of(SHIFT_WEATHER, SHIFT_WEATHER.values()),
        prior_C={split: split_prior_C(world, split) for split in SPLITS},
        rows={split: held_out if split == "unseen" else trained for split in SPLITS},
        same_country=[
            [row for row, other in enumerate(world.cities) if other.country_code == city.country_code]
            for city in world.cities
        ],
    )


def _rng(world: World, *key: object) -> Random:
    return Random(hashlib.blake2b(repr((world.version, *key)).encode(), digest_size=8).digest())


def _photographer(world: World, split: str, index: int) -> tuple[str, tuple[int, ...], float]:
    cycle, left = divmod(index, sum(PHOTOGRAPHER_SCENES))
    number = cycle * len(PHOTOGRAPHER_SCENES)
    for length in PHOTOGRAPHER_SCENES:
        if left < length:
            break
        left -= length
        number += 1
    return _habits(world, split, number)


@lru_cache(maxsize=10_000)
def _habits(world: World, split: str, number: int) -> tuple[str, tuple[int, ...], float]:
    """Name, the cities that the photographer goes to (each split's cities are equally frequent), and the grain."""
    tables = _tables(world)
    rng = _rng(world, split, "photographer", number)
    home = rng.choice(tables.rows[split])
    near = [row for row in tables.same_country[home] if row in tables.rows[split]]
    rows = (home, rng.choice(near), rng.choice(tables.rows[split]))
    return f"{split}-p{number:05d}", rows, 0.1 * rng.random()


def _limits(world: World, values: Mapping[str, str], prior_C: Floats) -> tuple[str, float, float]:
    posterior_C = world.posterior_C(values, prior_C)
    # No two cities are within 50 km of each other (a test says so): the best 25 km hold the best city alone.
    city = float(posterior_C.max())
    region = float(np.add.reduceat(posterior_C, world.region_starts).max())
    country = float(np.add.reduceat(posterior_C, world.country_starts).max())
    levels = (("city", city), ("region", region), ("country", country))
    return next((level for level, p in levels if p >= PLACEABLE_P), "none"), country, city


def _distractors(view: str, rng: Random) -> tuple[str, ...]:
    alone = view not in _CHOOSE
    count = rng.randint(1, 3) if alone else rng.choice((0, 0, 1, 1, 2))
    return tuple(rng.sample(DISTRACTORS[view], count))


# ------------------------------------------------------------ what is visible


def _street(rng: Random, weather: str) -> list[str]:
    while True:
        landmark = rng.random() < 0.47
        groups = [["landmark"]] if landmark else []
        if rng.random() < 0.80:
            # Whoever shows a plate or a taxi shows a car, and with it the side of the road.
            on_car = rng.random()
            extra = ["plate"] if on_car < 0.60 else ["taxi"] if on_car < 0.85 else []
            groups.append(["driving_side", *extra])
        roadside = rng.choice(("bollard", "warning_sign", "kerb", ""))
        if roadside:
            groups.append([roadside])
        single = {"centre_line": 0.75, "script": 0.65, "vegetation": 0.28, "ground": 0.24}
        if weather in SUNNY:
            single["light"] = 0.50
        if not landmark:
            single["relief"] = 0.24
        groups += [[kind] for kind, p in single.items() if rng.random() < p]
        if rng.random() < 0.70:
            groups.append(["roof", "wall"])
        rng.shuffle(groups)
        chosen: list[str] = []
        for group in groups:
            if len(chosen) + len(group) < STREET_CUES.stop:
                chosen += group
        if len(chosen) in STREET_CUES:
            return chosen


def _landscape(rng: Random, weather: str) -> list[str]:
    while True:
        shares = {"relief": 0.85, "vegetation": 0.80, "ground": 0.80, "landmark": 0.35}
        if weather in SUNNY:
            shares["light"] = 0.5
        chosen = [kind for kind, p in shares.items() if rng.random() < p]
        if len(chosen) in LANDSCAPE_CUES:
            return chosen


def _landmark(rng: Random, weather: str) -> list[str]:
    while True:
        shares = {"script": 0.75, "vegetation": 0.50, "ground": 0.40}
        if weather in SUNNY:
            shares["light"] = 0.50
        chosen = ["landmark"] + [kind for kind, p in shares.items() if rng.random() < p]
        roadside = rng.choice(("bollard", "warning_sign", ""))
        chosen += [roadside] if roadside else []
        chosen += ["roof", "wall"] if rng.random() < 0.50 else []
        if len(chosen) in LANDMARK_CUES:
            return chosen


# ------------------------------------------------------------ where it stands


def _within(slot: Box, rng: Random, least: float = 0.88) -> Box:
    """A box of the slot's shape, `least` to 1 of its size, anywhere inside it."""
    left, top, right, bottom = slot
    scale = least + (1.0 - least) * rng.random()
    width, height = (right - left) * scale, (bottom - top) * scale
    left += (right - left - width) * rng.random()
    top += (bottom - top - height) * rng.random()
    return (left, top, left + width, top + height)


def _mirrored(box: Box) -> Box:
    return (1.0 - box[2], box[1], 1.0 - box[0], box[3])


def _put(slots: Mapping[str, Box], values: Mapping[str, str], rng: Random) -> dict[str, Box]:
    """A box for each slot of a visible kind, the house's roof on its wall, and all mirrored every second time."""
    boxes = {kind: _within(slot, rng) for kind, slot in slots.items() if kind in values and kind != "wall"}
    if "wall" in values:
        left, _, right, bottom = boxes["roof"]
        boxes["wall"] = (left, bottom, right, slots["wall"][3])
    return {kind: _mirrored(box) for kind, box in boxes.items()} if rng.random() < 0.5 else boxes


def _street_boxes(values: Mapping[str, str], rng: Random) -> dict[str, Box]:
    signed = "script" in values
    slots: dict[str, Box] = {
        "light": (0.0, 0.0, 0.24, 0.21) if rng.random() < 0.5 else (0.76, 0.0, 1.0, 0.21),
        "landmark": (0.28, 0.16 if signed else 0.02, 0.72, 0.59),
        "script": (0.28, 0.0, 0.72, 0.16 if "landmark" in values else 0.24),
        "relief": (0.29, 0.26, 0.71, 0.57),
        "roof": (0.0, 0.22, 0.28, 0.40),
        "wall": (0.0, 0.40, 0.28, 0.62),
        "vegetation": (0.72, 0.22, 1.0, 0.62),
        "ground": (0.0, 0.66, 0.20, 1.0),
        "kerb": (0.80, 0.63, 0.88, 1.0),
        "bollard": (0.81, 0.64, 1.0, 1.0),
        "warning_sign": (0.80, 0.63, 1.0, 1.0),
        "centre_line": (0.45, 0.60, 0.55, 1.0),
    }
    boxes = _put(slots, values, rng)
    if "driving_side" in values:
        # Seen from behind: a car that keeps left is in the left lane of the picture.
        near = 0.06 * rng.random()
        lane = (0.20, 0.63 + near, 0.45, 0.92 + near)
        left, top, right, bottom = _within(lane, rng, 0.94)
        if values["driving_side"] == "right":
            left, top, right, bottom = _mirrored((left, top, right, bottom))
        boxes["driving_side"] = boxes["taxi"] = (left, top, right, bottom)
        middle = (left + right) / 2
        boxes["plate"] = (middle - 0.105, bottom - 0.12, middle + 0.105, bottom - 0.03)
    return boxes


def _landscape_boxes(values: Mapping[str, str], rng: Random) -> dict[str, Box]:
    slots: dict[str, Box] = {
        "light": (0.76, 0.0, 1.0, 0.21),
        "landmark": (0.02, 0.06, 0.46, 0.58),
        "relief": (0.47 if "landmark" in values else 0.0, 0.22, 1.0, 0.55),
        "vegetation": (0.64, 0.56, 1.0, 1.0),
        "ground": (0.0, 0.62, 0.62, 1.0),
    }
    return _put(slots, values, rng)


def _landmark_boxes(values: Mapping[str, str], rng: Random) -> dict[str, Box]:
    slots: dict[str, Box] = {
        "light": (0.0, 0.0, 0.24, 0.21),
        "landmark": (0.25, 0.05, 0.75, 0.68),
        "script": (0.27, 0.71, 0.73, 0.92),
        "roof": (0.0, 0.32, 0.25, 0.49),
        "wall": (0.0, 0.49, 0.25, 0.70),
        "vegetation": (0.75, 0.28, 1.0, 0.68),
        "ground": (0.0, 0.74, 0.27, 1.0),
        "bollard": (0.78, 0.70, 1.0, 1.0),
        "warning_sign": (0.78, 0.70, 1.0, 1.0),
    }
    return _put(slots, values, rng)


_CHOOSE: Mapping[str, Callable[[Random, str], list[str]]] = {
    "street": _street,
    "landscape": _landscape,
    "landmark": _landmark,
}
_LAYOUT: Mapping[str, Callable[[Mapping[str, str], Random], dict[str, Box]]] = {
    "street": _street_boxes,
    "landscape": _landscape_boxes,
    "landmark": _landmark_boxes,
}
