"""From a scene to its picture.

The picture depends on what is visible, on view, weather, distractors, noise and seed: never on `scene.city`, so no
pixel can tell more than the visible cues do. What a scene does not show is absent or hidden behind things that
stand everywhere (`atlas.drawing.backdrop`). Every cue is drawn inside its box, and drawn at twice the size, then
reduced: that is the anti-aliasing.
"""

import random
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from atlas.drawing import backdrop, houses, nature, street
from atlas.drawing.landmarks import draw_landmark
from atlas.drawing.pen import Pen
from atlas.drawing.script import draw_sign
from atlas.scenes import Scene

GRAIN_LEVELS: Final = 28.0
"""Standard deviation of the sensor noise at `noise` 1, in grey levels of 0..255."""

_HORIZONS: Final = {"street": 0.58, "landmark": 0.66, "landscape": 0.58}
_ROAD_KINDS: Final = frozenset({"driving_side", "centre_line", "kerb", "taxi", "plate"})

OnDrawn = Callable[[str, Image.Image], None]
"""Told the class of what was drawn last, and the picture so far (twice the side, before light and grain)."""

_Matrix = tuple[float, float, float, float]
_FILMS: Final[Mapping[str, tuple[float, float, _Matrix]]] = {
    # saturation kept, grey levels added at the end, (gain, and the balance of red, green and blue)
    "clear": (1.0, 0, (1.0, 1.0, 1.0, 1.0)),
    "overcast": (0.82, 2, (0.92, 0.98, 1.0, 1.03)),
    "dusk": (0.95, 0, (0.84, 1.08, 0.95, 0.92)),
    "haze": (0.72, 52, (0.74, 1.02, 1.0, 0.96)),
    "rain": (0.72, 6, (0.76, 0.95, 1.0, 1.07)),
    "night": (0.75, 6, (0.58, 0.84, 0.94, 1.26)),
    "snowfall": (0.7, 44, (0.76, 0.98, 1.0, 1.03)),
    "sepia": (0.3, 6, (0.95, 1.16, 1.0, 0.76)),
}
_LUMA: Final = (0.299, 0.587, 0.114)


def render(scene: Scene, side_px: int = 112, *, on_drawn: OnDrawn = lambda _class, _picture: None) -> Image.Image:
    """The square RGB picture of a scene; the same scene and side give the same pixels.

    `on_drawn` follows the drawing from back to front, and must not draw (see `atlas.areas`). Raises `KeyError`
    for a view, weather, cue or distractor that is not drawn here.
    """
    big_px = 2 * side_px
    picture = backdrop.sky(scene.weather, big_px).copy()
    draw = ImageDraw.Draw(picture)
    size_px = (big_px, big_px)
    frame = Pen(draw, size_px, least_px=1)
    rng = random.Random(scene.seed)

    def drawn(class_: str) -> None:
        on_drawn(class_, picture)

    drawn("sky")
    match scene.view:
        case "interior":
            backdrop.draw_interior(frame, rng)
        case "close_up":
            backdrop.draw_close_up(frame, rng)
        case "sky":
            backdrop.draw_sky_view(frame, scene.weather, rng)
        case "fog":
            backdrop.draw_fog(frame, rng)
        case _:
            _draw_open_air(scene, frame, rng, drawn)
    if scene.view not in _HORIZONS:
        drawn(scene.view)
    _draw_cues(scene, draw, size_px, drawn)
    taken = [cue.box for cue in scene.visible]
    for number, name in enumerate(scene.distractors):
        chance = random.Random(scene.seed + 7919 * (number + 1))
        if (box := backdrop.place_thing(name, taken, chance)) is not None:
            taken.append(box)
            backdrop.draw_thing(Pen(draw, size_px, box), name, chance)
            drawn(name)
    rng = random.Random(scene.seed ^ 0x5EED)  # anew: what was drawn must not change light and grain
    _draw_falling(scene.weather, frame, rng)
    return _grainy(_filmed(picture.reduce(2), scene.weather, rng), scene.noise, rng)


def _draw_open_air(scene: Scene, frame: Pen, rng: random.Random, drawn: Callable[[str], None]) -> None:
    """Sky, hidden skyline, paving, and the road where the scene is a street or shows a part of one."""
    boxes = {cue.kind: cue.box for cue in scene.visible}
    horizon = _HORIZONS[scene.view] + rng.uniform(-0.015, 0.015)
    backdrop.draw_clouds(frame, scene.weather, rng)
    drawn("sky")
    backdrop.draw_paving(frame, horizon)
    drawn("paving")
    left, _, right, _ = boxes.get("relief", (0.5, 0.0, 0.5, 0.0))
    for x0, x1 in ((0.0, left), (right, 1.0)):
        backdrop.draw_hoarding(frame, x0, x1, horizon + 0.005, rng)
    drawn("hoarding")
    if scene.view == "street" or boxes.keys() & _ROAD_KINDS:
        backdrop.draw_road(frame, horizon + 0.01, rng)
        drawn("road")


def _draw_cues(
    scene: Scene, draw: ImageDraw.ImageDraw, size_px: tuple[int, int], drawn: Callable[[str], None]
) -> None:
    """Each cue in its box, far ones first. Every kind has its own chance, so that none moves another."""
    values = {cue.kind: cue.value for cue in scene.visible}
    for cue in sorted(scene.visible, key=lambda cue: _DEPTH[cue.kind]):
        pen = Pen(draw, size_px, cue.box, behind=backdrop.sky_colour(scene.weather, cue.box))
        if cue.kind == "script":
            backdrop.draw_sign_fixing(Pen(draw, size_px), cue.box)
        _DRAWINGS[cue.kind](pen, cue.value, values, random.Random(scene.seed + 104729 * (_DEPTH[cue.kind] + 1)))
        drawn(cue.kind)


def _car(pen: Pen, side: str, values: Mapping[str, str], _rng: random.Random) -> None:
    if "taxi" not in values:  # else the taxi is that car
        street.draw_car(pen, side=side)


_DRAWINGS: Final[dict[str, Callable[[Pen, str, Mapping[str, str], random.Random], None]]] = {
    # From back to front. Each is given its pen, its value, all values of the scene, and its own chance.
    "light": lambda pen, value, *_: nature.draw_light(pen, value),
    "relief": lambda pen, value, _, rng: nature.draw_relief(pen, value, rng),
    "ground": lambda pen, value, _, rng: nature.draw_ground(pen, value, rng),
    "landmark": lambda pen, value, *_: draw_landmark(pen, value),
    "vegetation": lambda pen, value, *_: nature.draw_vegetation(pen, value),
    "wall": lambda pen, value, all_, _: houses.draw_wall(pen, value, roofed="roof" in all_),
    "roof": lambda pen, value, all_, _: houses.draw_roof(pen, value, on_wall="wall" in all_),
    "script": lambda pen, value, _, rng: draw_sign(pen, value, rng),
    "kerb": lambda pen, value, *_: street.draw_kerb(pen, value),
    "centre_line": lambda pen, value, *_: street.draw_centre_line(pen, value),
    "driving_side": _car,
    "taxi": lambda pen, value, all_, _: street.draw_car(pen, taxi=value, side=all_.get("driving_side", "")),
    "plate": lambda pen, value, _, rng: street.draw_plate(pen, value, rng),
    "bollard": lambda pen, value, *_: street.draw_bollard(pen, value),
    "warning_sign": lambda pen, value, *_: street.draw_warning_sign(pen, value),
}
_DEPTH: Final = {kind: depth for depth, kind in enumerate(_DRAWINGS)}


def _draw_falling(weather: str, frame: Pen, rng: random.Random) -> None:
    """Streaks of rain or flakes of snow in front of everything."""
    if weather == "rain":
        for _ in range(45):
            x, y = rng.random(), rng.random()
            frame.line((196, 206, 216), 0.005, x, y, x - 0.012, y + 0.06)
    elif weather == "snowfall":
        for _ in range(55):
            frame.disc((252, 252, 254), rng.random(), rng.random(), rng.uniform(0.004, 0.011))


def _filmed(picture: Image.Image, weather: str, rng: random.Random) -> Image.Image:
    """Exposure, colour balance and saturation of the weather, with a few percent of chance, in one pass."""
    kept, lift, (gain, *balance) = _FILMS[weather]
    gain *= rng.uniform(0.94, 1.05)
    matrix: list[float] = []
    for row, part in enumerate(balance):
        scale = gain * part * rng.uniform(0.98, 1.02)
        matrix += [scale * ((1 - kept) * _LUMA[column] + kept * (column == row)) for column in range(3)]
        matrix.append(lift)
    return picture.convert("RGB", tuple(matrix))


def _grainy(picture: Image.Image, noise: float, rng: random.Random) -> Image.Image:
    """Sensor noise: a window somewhere in a kept field of it."""
    width, height = picture.size
    field = _noise_field(max(width, height))
    y, x = rng.randrange(field.shape[0] - height), rng.randrange(field.shape[1] - width)
    if noise <= 0:
        return picture
    strength = round(noise * GRAIN_LEVELS * 4)
    grain = (field[y : y + height, x : x + width] * np.int16(strength)) >> 6
    return Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))


@lru_cache(maxsize=4)
def _noise_field(side_px: int) -> NDArray[np.int16]:
    """Normal noise in units of a sixteenth, shape (rows, columns, 3), a little larger than the picture."""
    normal = np.random.default_rng(20240229).standard_normal((side_px + 64, side_px + 64, 3))
    return np.clip(np.round(normal * 16), -60, 60).astype(np.int16)
