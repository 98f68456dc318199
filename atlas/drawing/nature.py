"""What nature shows of a place: plants, ground, the skyline, and where the sun stands."""

import random
from collections.abc import Callable
from typing import Final

from atlas.drawing.pen import Colour, Pen, half_oval, shade

_TRUNK: Final[Colour] = (104, 74, 50)

GROUND_COLOURS: Final[dict[str, Colour]] = {
    "green_grass": (92, 156, 62),
    "dry_grass": (196, 176, 88),
    "red_earth": (172, 84, 50),
    "sand": (236, 212, 158),
    "snow": (240, 244, 250),
    "grey_gravel": (98, 102, 112),
}


def draw_vegetation(pen: Pen, value: str) -> None:
    """One plant of the kind `value`, its foot on the box's lower edge, its crown up to the upper one."""
    _PLANTS[value](pen)


def _palm(pen: Pen) -> None:
    green, dark = (58, 140, 56), (34, 100, 44)
    pen.line((138, 104, 66), 0.11, 0.42, 1, 0.46, 0.65, 0.5, 0.28)
    for x, y, droop in (
        (0.0, 0.3, 0.06),
        (0.06, 0.56, 0.02),
        (0.2, 0.04, 0.1),
        (0.8, 0.04, 0.1),
        (1.0, 0.3, 0.06),
    ):
        mid = (0.5 + x) / 2
        pen.poly(
            green, 0.5, 0.22, mid, min(0.22, y) - 0.02 + droop * 0.3, x, y, mid, min(0.34, y + 0.16), 0.5, 0.32
        )
    pen.poly(dark, 0.5, 0.22, 0.78, 0.22, 0.94, 0.56, 0.7, 0.36, 0.5, 0.32)
    pen.disc((120, 80, 40), 0.45, 0.31, 0.05)
    pen.disc((120, 80, 40), 0.56, 0.31, 0.05)


def _conifer(pen: Pen) -> None:
    pen.rect(_TRUNK, 0.43, 0.84, 0.57, 1)
    for low, half in ((0.88, 0.44), (0.64, 0.36), (0.4, 0.26)):
        pen.poly((24, 82, 58), 0.5, low - 0.4, 0.5 + half, low, 0.5 - half, low)
        pen.poly((14, 60, 44), 0.5, low - 0.4, 0.5 + half, low, 0.5 + half * 0.1, low)


def _broadleaf(pen: Pen) -> None:
    pen.rect(_TRUNK, 0.43, 0.6, 0.57, 1)
    pen.oval((86, 156, 50), 0.06, 0.16, 0.66, 0.72)
    pen.oval((74, 140, 44), 0.34, 0.14, 0.95, 0.72)
    pen.oval((104, 176, 64), 0.22, 0.0, 0.76, 0.48)


def _cypress(pen: Pen) -> None:
    for x, top, half in ((0.24, 0.14, 0.13), (0.54, 0.0, 0.15), (0.82, 0.2, 0.12)):
        pen.rect(_TRUNK, x - 0.03, 0.9, x + 0.03, 1)
        pen.poly(
            (26, 74, 50),
            x, top, x + half * 0.8, top + 0.35, x + half, 0.7, x + half * 0.6, 0.95,
            x - half * 0.6, 0.95, x - half, 0.7, x - half * 0.8, top + 0.35,
        )  # fmt: skip


def _cactus(pen: Pen) -> None:
    green, dark = (88, 142, 84), (58, 104, 60)
    for x0, x1, low, high in ((0.08, 0.4, 0.62, 0.3), (0.92, 0.6, 0.52, 0.18)):
        pen.line(green, 0.17, x0 + (0.07 if x0 < 0.5 else -0.07), high, x0 + (0.07 if x0 < 0.5 else -0.07), low)
        pen.line(green, 0.17, min(x0, x1), low - 0.04, max(x0, x1), low - 0.04)
    pen.rect(green, 0.37, 0.06, 0.63, 1)
    pen.oval(green, 0.37, 0.0, 0.63, 0.14)
    for x in (0.45, 0.55):
        pen.line(dark, 0.03, x, 0.06, x, 1)


def _birch(pen: Pen) -> None:
    pen.oval((196, 206, 84), 0.14, 0.0, 0.86, 0.56)
    pen.oval((172, 190, 70), 0.04, 0.24, 0.6, 0.6)
    for x in (0.32, 0.6):
        pen.rect((246, 246, 240), x, 0.3, x + 0.12, 1)
        for y in (0.4, 0.56, 0.68, 0.82, 0.92):
            pen.rect((36, 34, 36), x + (0.0 if int(y * 50) % 2 else 0.05), y, x + 0.09, y + 0.035)


def _eucalyptus(pen: Pen) -> None:
    bark = (222, 204, 184)
    pen.line(bark, 0.12, 0.46, 1, 0.5, 0.6)
    pen.line(bark, 0.07, 0.5, 0.62, 0.22, 0.28)
    pen.line(bark, 0.07, 0.5, 0.62, 0.54, 0.2)
    pen.line(bark, 0.07, 0.5, 0.7, 0.82, 0.36)
    for x, y, half in ((0.2, 0.26, 0.2), (0.54, 0.13, 0.24), (0.82, 0.32, 0.17)):
        pen.oval((128, 152, 132), x - half, y - 0.12, x + half, y + 0.1)
        pen.oval((102, 128, 112), x - half * 0.7, y, x + half * 0.8, y + 0.12)


def _baobab(pen: Pen) -> None:
    bark = (150, 118, 98)
    pen.poly(bark, 0.16, 1, 0.24, 0.8, 0.26, 0.36, 0.74, 0.36, 0.76, 0.8, 0.84, 1)
    pen.poly((122, 92, 76), 0.56, 0.36, 0.74, 0.36, 0.76, 0.8, 0.84, 1, 0.6, 1)
    for x, y in ((0.04, 0.14), (0.28, 0.04), (0.52, 0.06), (0.74, 0.04), (0.96, 0.14)):
        pen.line(bark, 0.06, 0.5 + (x - 0.5) * 0.45, 0.4, x, y)
        pen.oval((96, 124, 52), max(0.0, x - 0.12), max(0.0, y - 0.08), min(1.0, x + 0.12), y + 0.08)


_PLANTS: Final[dict[str, Callable[[Pen], None]]] = {
    "palm": _palm,
    "conifer": _conifer,
    "broadleaf": _broadleaf,
    "cypress": _cypress,
    "cactus": _cactus,
    "birch": _birch,
    "eucalyptus": _eucalyptus,
    "baobab": _baobab,
}


def draw_ground(pen: Pen, value: str, rng: random.Random) -> None:
    """Fills the box with the ground `value`: its colour and its grain (blades, furrows, ripples, stones)."""
    colour = GROUND_COLOURS[value]
    pen.rect(colour, 0, 0, 1, 1)
    dark, light = shade(colour, 0.8), shade(colour, 1.18)
    spots = [(rng.random(), rng.random()) for _ in range(28)]
    match value:
        case "green_grass" | "dry_grass":
            for number, (x, y) in enumerate(spots):
                pen.line(light if number % 3 else dark, 0.02, x, 0.01 + 0.92 * y, x, 0.08 + 0.92 * y)
        case "red_earth":
            for x, y in spots[:10]:
                pen.line(dark, 0.03, 0.86 * x, y, 0.86 * x + 0.12, y + 0.01)
        case "sand":
            for row in range(5):
                y = 0.12 + row * 0.19 + 0.05 * spots[row][0]
                pen.line(
                    shade(colour, 0.9), 0.025, *(part for k in range(9) for part in (k / 8, y + 0.03 * (k % 2)))
                )
        case "snow":
            for x, y in spots[:6]:
                pen.oval((206, 220, 240), 0.72 * x, 0.88 * y, 0.72 * x + 0.28, 0.88 * y + 0.12)
        case _:
            for number, (x, y) in enumerate(spots):
                pen.oval(light if number % 2 else dark, x, y, min(1.0, x + 0.035), min(1.0, y + 0.09))


def draw_relief(pen: Pen, value: str, rng: random.Random) -> None:
    """The skyline `value` over the box, which stands on the horizon."""
    shift = rng.uniform(-0.04, 0.04)
    match value:
        case "flat":
            for row, colour in enumerate(((120, 140, 84), (214, 192, 92), (146, 170, 80))):
                pen.rect(colour, 0, 0.7 + row * 0.1, 1, 0.8 + row * 0.1)
            for x in (0.12, 0.3, 0.66, 0.9):
                pen.disc((84, 112, 66), x + shift, 0.7, 0.07)
        case "hills":
            for x, half, top, colour in (
                (0.3, 0.3, 0.34, (116, 160, 128)),
                (0.68, 0.32, 0.26, (104, 150, 116)),
                (0.5, 0.46, 0.54, (78, 130, 84)),
            ):
                pen.poly(colour, *_within(half_oval(x + shift - half, top, x + shift + half, 1)))
        case "snowy_peaks":
            for middle, half, top in ((0.26, 0.24, 0.3), (0.74, 0.25, 0.2), (0.5, 0.34, 0.02)):
                x = middle + shift
                pen.poly((86, 100, 134), *_within([x, top, x + half, 1, x - half, 1]))
                cap = 0.42 * (1 - top)
                pen.poly(
                    (250, 252, 255), x, top, x + half * 0.42, top + cap, x + half * 0.14, top + cap * 0.72,
                    x - half * 0.06, top + cap * 1.05, x - half * 0.2, top + cap * 0.7, x - half * 0.42, top + cap,
                )  # fmt: skip
        case "mesa":
            for middle, half, top in ((0.24, 0.2, 0.3), (0.72, 0.24, 0.14)):
                x = middle + shift
                pen.poly((186, 96, 58), x - half * 0.7, top, x + half * 0.7, top, x + half, 1, x - half, 1)
                pen.rect((222, 140, 92), x - half * 0.75, top, x + half * 0.75, top + 0.16)
                pen.poly(
                    (140, 66, 42),
                    x + half * 0.3,
                    top + 0.16,
                    x + half * 0.74,
                    top + 0.16,
                    x + half,
                    1,
                    x + half * 0.4,
                    1,
                )
            pen.rect((200, 120, 76), 0, 0.88, 1, 1)
        case "volcano":
            x = 0.5 + shift
            pen.oval((150, 146, 150), x - 0.06, 0.14, x + 0.1, 0.34)
            pen.oval((176, 172, 174), x, 0.02, x + 0.2, 0.22)
            pen.oval((196, 192, 194), x + 0.12, 0.0, x + 0.34, 0.14)
            pen.poly((72, 58, 62), x - 0.08, 0.3, x + 0.08, 0.3, x + 0.42, 1, x - 0.42, 1)
            pen.poly(
                (224, 74, 30), x - 0.08, 0.3, x + 0.08, 0.3, x + 0.05, 0.4, x + 0.02, 0.36, x, 0.62, x - 0.04, 0.4
            )
        case _:
            pen.rect((38, 104, 168), 0, 0.5, 1, 1)
            pen.rect((80, 148, 200), 0, 0.5, 1, 0.58)
            for number in range(7):
                x, y = rng.uniform(0, 0.86), 0.64 + 0.05 * number
                pen.line((150, 196, 226), 0.03, x, y, x + 0.12, y)
            pen.poly((250, 250, 250), 0.66 + shift, 0.24, 0.66 + shift, 0.64, 0.78 + shift, 0.64)
            pen.poly((120, 70, 50), 0.62 + shift, 0.66, 0.8 + shift, 0.66, 0.77 + shift, 0.76, 0.65 + shift, 0.76)


def _within(xy: list[float]) -> list[float]:
    """The points with x kept between the box's edges."""
    return [value if odd & 1 else min(1.0, max(0.0, value)) for odd, value in enumerate(xy)]


def draw_light(pen: Pen, value: str) -> None:
    """The sun and its beam. Photographers of this world all look east: north is on the left, south on the right.

    A sun in the north is drawn whiter, one in the south more golden: at this size a second mark helps the eye.
    """
    north = value == "sun_north"
    sun, away = (0.3, 1) if north else (0.7, -1)
    colour, halo = ((255, 252, 226), (214, 232, 250)) if north else ((255, 168, 20), (255, 222, 150))
    for spread in (-0.3, 0.06, 0.42):  # three rays that fall away from the sun
        tip_y = 0.62 + spread
        pen.poly(halo, sun, 0.3, sun + away * 0.7, tip_y - 0.07, sun + away * 0.7, tip_y + 0.07, sun, 0.54)
    pen.disc(halo, sun, 0.42, 0.4)
    pen.disc(colour, sun, 0.42, 0.29)
