"""What stands behind and between the cues and tells no place: skies, paving, hoardings, rooms, fog, things.

All greys and shapes here are the same everywhere in the world; they vary with the scene's seed alone.
"""

import random
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from PIL import Image

from atlas.drawing.houses import NET
from atlas.drawing.pen import Box, Colour, Pen, half_oval, shade

_SKIES: Final[dict[str, tuple[Colour, Colour]]] = {
    "clear": ((78, 140, 212), (186, 214, 236)),
    "overcast": ((140, 150, 164), (186, 192, 198)),
    "dusk": ((92, 96, 160), (246, 178, 128)),
    "haze": ((156, 178, 196), (206, 208, 204)),
    "rain": ((112, 122, 138), (160, 168, 176)),
    "night": ((26, 34, 72), (70, 84, 124)),
    "snowfall": ((164, 172, 184), (200, 206, 212)),
}
_SKY_ROWS, _SKY_FADE_ROWS = 32, 18
_ASPHALT: Final[Colour] = (92, 94, 100)
_PAVING: Final[Colour] = (164, 162, 158)


@lru_cache(maxsize=64)
def sky(weather: str, size_px: int) -> Image.Image:
    """A square of sky, RGB, from the zenith down to the horizon colour. Do not draw on it: it is kept."""
    column = Image.new("RGB", (1, _SKY_ROWS))
    for row in range(_SKY_ROWS):
        y = row / _SKY_ROWS
        column.putpixel((0, row), sky_colour(weather, (0, y, 1, y)))
    return column.resize((size_px, size_px), Image.Resampling.BILINEAR)


def sky_colour(weather: str, box: Box) -> Colour:
    """The sky's colour behind the middle of a box."""
    y = (box[1] + box[3]) / 2
    top, low = _SKIES.get(weather, _SKIES["clear"])
    part = min(1.0, y * _SKY_ROWS / _SKY_FADE_ROWS)
    r, g, b = (round(a + (z - a) * part) for a, z in zip(top, low, strict=True))
    return r, g, b


def draw_clouds(pen: Pen, weather: str, rng: random.Random) -> None:
    """A few flat clouds near the upper edge."""
    colour = shade(_SKIES.get(weather, _SKIES["clear"])[1], 1.06)
    for _ in range(rng.randrange(1, 4)):
        x, y, wide = rng.uniform(-0.1, 0.9), rng.uniform(0.01, 0.2), rng.uniform(0.1, 0.22)
        pen.oval(colour, x, y, x + wide, y + 0.05)
        pen.oval(colour, x + wide * 0.3, y - 0.025, x + wide * 0.8, y + 0.05)


def draw_paving(pen: Pen, horizon: float) -> None:
    """Grey slabs from the horizon to the lower edge: a ground that could be anywhere."""
    pen.rect(_PAVING, 0, horizon, 1, 1)
    deep = 1 - horizon
    for share in (0.08, 0.22, 0.45, 0.75):
        pen.line(shade(_PAVING, 0.9), 0.004, 0, horizon + share * deep, 1, horizon + share * deep)


def draw_hoarding(pen: Pen, x0: float, x1: float, horizon: float, rng: random.Random) -> None:
    """Building sites under grey nets along the horizon between `x0` and `x1`: they hide the skyline."""
    x = x0
    while x < x1:
        wide, high = rng.uniform(0.1, 0.22), rng.uniform(0.05, 0.12)
        pen.rect(shade(NET, rng.uniform(0.88, 1.14)), x, horizon - high, min(x1, x + wide), horizon)
        x += wide


def draw_road(pen: Pen, horizon: float, rng: random.Random) -> None:
    """Bare asphalt that runs away from the viewer, with a few mended patches."""
    pen.poly(_ASPHALT, 0.3, horizon, 0.7, horizon, 0.84, 1, 0.16, 1)
    for _ in range(2):
        x, y = rng.uniform(0.24, 0.66), rng.uniform(horizon + 0.1, 0.94)
        pen.rect(shade(_ASPHALT, 0.9), x, y, x + 0.1, y + 0.03)


def draw_sign_fixing(pen: Pen, box: Box) -> None:
    """What holds a sign up: two cables from above where it hangs high, else two short legs."""
    left, top, right, bottom = box
    y0, y1 = (0.0, top) if top + bottom < 1 else (bottom, min(1.0, bottom + 0.03))
    for share in (0.2, 0.8):
        x = left + share * (right - left)
        pen.line((84, 84, 92), 0.008, x, y0, x, y1)


def draw_interior(pen: Pen, rng: random.Random) -> None:
    """A room: a wall, a floor, a window that shows nothing but light, and furniture."""
    wall = rng.choice(((214, 204, 190), (196, 206, 204), (206, 196, 210), (222, 214, 180)))
    floor = rng.uniform(0.66, 0.76)
    pen.rect(wall, 0, 0, 1, 1)
    pen.rect((132, 96, 66), 0, floor, 1, 1)
    pen.rect(shade(wall, 0.8), 0, floor - 0.02, 1, floor)
    x = rng.uniform(0.06, 0.56)
    pen.rect((244, 244, 240), x, 0.1, x + 0.36, 0.48)
    pen.rect((252, 250, 226), x + 0.03, 0.13, x + 0.165, 0.45)
    pen.rect((252, 250, 226), x + 0.195, 0.13, x + 0.33, 0.45)
    cloth = rng.choice(((120, 84, 96), (84, 104, 124), (112, 118, 84)))
    x = rng.uniform(0.04, 0.42)
    pen.rect(cloth, x, floor - 0.2, x + 0.5, floor + 0.06)
    pen.rect(shade(cloth, 0.82), x, floor - 0.04, x + 0.5, floor + 0.1)
    pen.rect((60, 46, 36), x + 0.04, floor + 0.1, x + 0.08, floor + 0.16)
    pen.rect((60, 46, 36), x + 0.42, floor + 0.1, x + 0.46, floor + 0.16)
    lamp = 0.9 if x < 0.3 else 0.12
    pen.rect((70, 60, 54), lamp - 0.01, floor - 0.4, lamp + 0.01, floor + 0.08)
    pen.poly(
        (250, 222, 150),
        lamp - 0.04,
        floor - 0.5,
        lamp + 0.04,
        floor - 0.5,
        lamp + 0.08,
        floor - 0.36,
        lamp - 0.08,
        floor - 0.36,
    )


def draw_close_up(pen: Pen, rng: random.Random) -> None:
    """Something near and everyday that fills the frame: a cup, a flower or a bowl of fruit."""
    cloth = rng.choice(((190, 176, 160), (150, 166, 176), (182, 160, 170), (120, 128, 118)))
    pen.rect(cloth, 0, 0, 1, 1)
    for k in range(6):
        pen.line(shade(cloth, 0.94), 0.03, 0, 0.1 + 0.17 * k, 1, 0.04 + 0.17 * k)
    x, y = rng.uniform(0.42, 0.58), rng.uniform(0.42, 0.58)
    match rng.randrange(3):
        case 0:
            pen.disc((238, 236, 230), x, y, 0.34)
            pen.disc((216, 214, 208), x, y, 0.25)
            pen.disc((250, 250, 246), x, y, 0.2)
            pen.disc((92, 58, 36), x, y, 0.16)
            pen.rect((250, 250, 246), x + 0.18, y - 0.04, x + 0.3, y + 0.04)
        case 1:
            petal = rng.choice(((226, 120, 160), (240, 220, 240), (232, 150, 60), (140, 110, 210)))
            pen.line((70, 120, 60), 0.05, x, y, x + 0.08, 1)
            for dx, dy in ((0.2, 0), (0.1, 0.17), (-0.1, 0.17), (-0.2, 0), (-0.1, -0.17), (0.1, -0.17)):
                pen.disc(petal, x + dx, y + dy, 0.13)
            pen.disc((240, 200, 70), x, y, 0.11)
        case _:
            pen.poly((120, 86, 60), x - 0.34, y + 0.02, x + 0.34, y + 0.02, x + 0.2, y + 0.32, x - 0.2, y + 0.32)
            for dx, colour in ((-0.2, (210, 60, 50)), (0.0, (236, 170, 50)), (0.2, (120, 170, 70))):
                pen.disc(colour, x + dx, y - 0.04, 0.13)


def draw_sky_view(pen: Pen, weather: str, rng: random.Random) -> None:
    """Nothing but clouds and birds."""
    colour = shade(_SKIES.get(weather, _SKIES["clear"])[1], 1.06)
    for _ in range(4):
        x, y, wide = rng.uniform(-0.2, 0.8), rng.uniform(0.05, 0.8), rng.uniform(0.25, 0.5)
        pen.oval(shade(colour, 0.94), x, y + 0.03, x + wide, y + 0.16)
        pen.oval(colour, x, y, x + wide, y + 0.13)
        pen.oval(colour, x + wide * 0.2, y - 0.07, x + wide * 0.7, y + 0.1)
    for _ in range(rng.randrange(4)):
        x, y = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)
        pen.line((50, 54, 64), 0.012, x - 0.04, y - 0.025, x, y, x + 0.04, y - 0.025)


def draw_fog(pen: Pen, rng: random.Random) -> None:
    """Fog with the shadows of posts and bushes in it."""
    grey = rng.randrange(176, 204)
    for band in range(8):
        tone = grey - 3 * band
        pen.rect((tone, tone + 2, tone + 4), 0, band / 8, 1, (band + 1) / 8)
    for _ in range(rng.randrange(2, 5)):
        x, y, tone = rng.uniform(0, 0.9), rng.uniform(0.5, 0.8), grey - rng.randrange(16, 34)
        colour = (tone, tone + 2, tone + 3)
        if rng.random() < 0.5:
            pen.rect(colour, x, y - 0.28, x + 0.03, y + 0.1)
        else:
            pen.poly(colour, *half_oval(x, y - 0.12, x + 0.26, y + 0.1))


def _person(pen: Pen, rng: random.Random) -> None:
    coat = rng.choice(((150, 60, 70), (60, 84, 130), (90, 110, 80), (130, 110, 150)))
    pen.rect((46, 48, 58), 0.32, 0.6, 0.47, 1)
    pen.rect((46, 48, 58), 0.53, 0.6, 0.68, 1)
    pen.rect(coat, 0.26, 0.26, 0.74, 0.66)
    pen.disc((196, 150, 120), 0.5, 0.14, 0.22)


def _lamp(pen: Pen, _rng: random.Random) -> None:
    pen.rect((70, 74, 80), 0.42, 0.14, 0.58, 1)
    pen.oval((252, 240, 190), 0.1, 0, 0.9, 0.22)


def _dog(pen: Pen, rng: random.Random) -> None:
    coat = rng.choice(((120, 84, 52), (60, 56, 54), (206, 190, 160)))
    pen.oval(coat, 0.12, 0.3, 0.8, 0.75)
    pen.oval(coat, 0.66, 0.08, 1, 0.46)
    pen.rect((30, 28, 30), 0.68, 0.1, 0.76, 0.36)
    pen.rect((190, 50, 50), 0.6, 0.42, 0.74, 0.5)
    for x in (0.2, 0.64):
        pen.rect(coat, x, 0.6, x + 0.12, 1)


def _bicycle(pen: Pen, _rng: random.Random) -> None:
    for x in (0.24, 0.76):
        pen.ring((50, 52, 58), 0.08, x, 0.68, 0.3)
    pen.line((90, 120, 150), 0.08, 0.24, 0.68, 0.42, 0.3, 0.68, 0.3, 0.76, 0.68)
    pen.line((50, 52, 58), 0.08, 0.68, 0.3, 0.66, 0.08, 0.8, 0.08)


def _bird(pen: Pen, _rng: random.Random) -> None:
    for x, y in ((0.2, 0.3), (0.55, 0.15), (0.75, 0.6)):
        pen.line((50, 54, 64), 0.06, x - 0.18, y - 0.1, x, y + 0.06, x + 0.18, y - 0.1)


def _cloud(pen: Pen, _rng: random.Random) -> None:
    for x0, y0, x1, y1 in ((0.0, 0.4, 0.5, 1.0), (0.45, 0.3, 1.0, 1.0), (0.2, 0.0, 0.7, 0.9)):
        pen.oval((222, 226, 230), x0, y0, x1, y1)


def _flower(pen: Pen, rng: random.Random) -> None:
    pen.rect((120, 112, 104), 0.3, 0.7, 0.7, 1)
    petal = rng.choice(((226, 120, 160), (240, 220, 240), (140, 110, 210)))
    for x, y in ((0.5, 0.14), (0.24, 0.34), (0.76, 0.34), (0.34, 0.6), (0.66, 0.6)):
        pen.disc(petal, x, y, 0.2)
    pen.disc((240, 200, 70), 0.5, 0.4, 0.2)


def _chair(pen: Pen, rng: random.Random) -> None:
    wood = rng.choice(((120, 84, 56), (90, 92, 100)))
    pen.rect(wood, 0.1, 0, 0.24, 1)
    pen.rect(wood, 0.1, 0.5, 0.9, 0.62)
    pen.rect(wood, 0.76, 0.5, 0.9, 1)


def _cup(pen: Pen, _rng: random.Random) -> None:
    pen.ring((240, 240, 236), 0.12, 0.76, 0.5, 0.24)
    pen.rect((240, 240, 236), 0.1, 0.1, 0.74, 0.95)
    pen.rect((150, 130, 160), 0.1, 0.4, 0.74, 0.6)


def _balloon(pen: Pen, rng: random.Random) -> None:
    pen.oval(rng.choice(((210, 110, 130), (130, 150, 210), (220, 180, 110))), 0.1, 0, 0.9, 0.72)
    pen.rect((110, 84, 60), 0.38, 0.84, 0.62, 1)


_THINGS: Final[dict[str, tuple[Callable[[Pen, random.Random], None], float, float, bool]]] = {
    # drawing, width and height as shares of the frame, whether it flies
    "person": (_person, 0.09, 0.24, False),
    "dog": (_dog, 0.12, 0.09, False),
    "bicycle": (_bicycle, 0.17, 0.12, False),
    "cloud": (_cloud, 0.18, 0.09, True),
    "balloon": (_balloon, 0.09, 0.13, True),
    "bird": (_bird, 0.14, 0.1, True),
    "lamp": (_lamp, 0.06, 0.26, False),
    "flower": (_flower, 0.09, 0.14, False),
    "chair": (_chair, 0.14, 0.2, False),
    "cup": (_cup, 0.1, 0.09, False),
}


def place_thing(name: str, taken: list[Box], rng: random.Random) -> Box | None:
    """A box where the thing covers none of the `taken` ones; None where a dozen tries found no room.

    Raises `KeyError` for a name that is not drawn here.
    """
    _, wide, high, flies = _THINGS[name]
    for _ in range(12):
        x = rng.uniform(0.01, 0.99 - wide)
        y = rng.uniform(0.02, 0.3) if flies else rng.uniform(0.62, 0.98) - high
        if all(x + wide < left or x > right or y + high < top or y > low for left, top, right, low in taken):
            return x, y, x + wide, y + high
    return None


def draw_thing(pen: Pen, name: str, rng: random.Random) -> None:
    """Draws a thing of everyday life that stands in every country."""
    _THINGS[name][0](pen, rng)
