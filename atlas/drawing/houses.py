"""Houses: their roofs and their fronts."""

from collections.abc import Callable
from typing import Final

from atlas.drawing.pen import Colour, Pen, shade

NET: Final[Colour] = (150, 152, 150)
"""The grey of tarpaulins and nets, which hide what a scene must not show."""

_WHITE: Final[Colour] = (246, 246, 242)
_BLACK: Final[Colour] = (30, 30, 34)
_GLASS: Final[Colour] = (60, 74, 92)


def draw_roof(pen: Pen, value: str, *, on_wall: bool) -> None:
    """A roof over the box. Without a wall to stand on, its foot stands in a grey net."""
    if not on_wall:
        pen.rect(NET, 0.08, 0.8, 0.92, 1)
        for k in range(7):
            pen.line(shade(NET, 0.8), 0.03, 0.12 + k * 0.126, 0.82, 0.12 + k * 0.126, 1)
    _ROOFS[value](pen, 1.0 if on_wall else 0.86)


def draw_wall(pen: Pen, value: str, *, roofed: bool) -> None:
    """A house front over the box, with windows. Without a roof on it, its top is under a grey net."""
    _WALLS[value](pen)
    frame = _WHITE if value in ("brick", "red_wood") else shade(NET, 0.6)
    for x in (0.13, 0.42, 0.71):
        pen.rect(frame, x, 0.3, x + 0.17, 0.68)
        pen.rect(_GLASS, x + 0.03, 0.35, x + 0.14, 0.63)
    if not roofed:
        pen.rect(NET, 0, 0, 1, 0.2)
        for k in range(9):
            pen.line(shade(NET, 0.8), 0.03, 0.05 + k * 0.112, 0, 0.05 + k * 0.112, 0.2)


def _red_gable(pen: Pen, foot: float) -> None:
    pen.poly((204, 78, 44), 0, foot, 0.22, 0.1, 0.78, 0.1, 1, foot)
    for k in range(1, 4):
        y = 0.1 + (foot - 0.1) * k / 4
        pen.line((150, 48, 28), 0.05, 0.22 - 0.055 * k, y, 0.78 + 0.055 * k, y)
    pen.rect((128, 60, 44), 0.62, 0, 0.72, 0.3)


def _grey_mansard(pen: Pen, foot: float) -> None:
    pen.poly((112, 124, 140), 0.02, foot, 0.1, 0.28, 0.9, 0.28, 0.98, foot)
    pen.poly((146, 158, 172), 0.1, 0.28, 0.2, 0.12, 0.8, 0.12, 0.9, 0.28)
    for x in (0.2, 0.44, 0.68):
        pen.rect(_WHITE, x, 0.4, x + 0.14, foot - 0.06)
        pen.rect(_GLASS, x + 0.035, 0.48, x + 0.105, foot - 0.06)


def _flat_white(pen: Pen, foot: float) -> None:
    pen.rect((250, 250, 250), 0, foot - 0.36, 1, foot)
    pen.rect((196, 202, 210), 0, foot - 0.1, 1, foot)
    pen.rect((70, 120, 180), 0.62, foot - 0.62, 0.82, foot - 0.36)
    pen.line(_BLACK, 0.03, 0.25, foot - 0.36, 0.25, 0.1)
    pen.line(_BLACK, 0.03, 0.16, 0.18, 0.34, 0.18)


def _thatched(pen: Pen, foot: float) -> None:
    straw, dark = (206, 170, 92), (150, 114, 52)
    pen.oval(straw, 0.0, 0.0, 1.0, foot * 1.4 - 0.2)
    pen.poly(straw, 0, foot, 0.04, 0.4, 0.96, 0.4, 1, foot)
    for k in range(10):
        x = 0.06 + k * 0.1
        pen.line(dark, 0.035, 0.5 + (x - 0.5) * 0.6, 0.22, x, foot)
    pen.oval(dark, 0.2, 0.0, 0.8, 0.16)


def _blue_tile(pen: Pen, foot: float) -> None:
    blue, dark = (36, 92, 180), (20, 56, 122)
    pen.poly(
        blue,
        0,
        foot - 0.22,
        0.16,
        foot - 0.3,
        0.3,
        0.14,
        0.7,
        0.14,
        0.84,
        foot - 0.3,
        1,
        foot - 0.22,
        0.94,
        foot,
        0.06,
        foot,
    )
    for k in range(7):
        x = 0.14 + k * 0.12
        pen.line(dark, 0.035, 0.5 + (x - 0.5) * 0.5, 0.16, x, foot)
    pen.rect((224, 190, 92), 0.27, 0.06, 0.73, 0.16)


def _black_slate(pen: Pen, foot: float) -> None:
    slate, dark = (44, 46, 54), (22, 22, 28)
    for x in (0.0, 0.5):
        pen.poly(slate, x, foot, x + 0.25, 0.0, x + 0.5, foot)
        pen.poly(dark, x + 0.25, 0.0, x + 0.5, foot, x + 0.3, foot)
        pen.disc((220, 216, 200), x + 0.22, foot - 0.28, 0.09)


def _brick(pen: Pen) -> None:
    pen.rect((158, 72, 52), 0, 0, 1, 1)
    for row in range(1, 7):
        y = row / 7
        pen.line((206, 168, 146), 0.025, 0, y, 1, y)
        for k in range(5):
            x = (k + (row % 2) / 2) / 5
            pen.line((206, 168, 146), 0.025, x, y - 1 / 7, x, y)


def _white_plaster(pen: Pen) -> None:
    pen.rect((248, 246, 240), 0, 0, 1, 1)
    pen.rect((168, 172, 178), 0, 0.88, 1, 1)


def _ochre(pen: Pen) -> None:
    pen.rect((222, 160, 58), 0, 0, 1, 1)
    pen.rect((172, 112, 34), 0, 0.86, 1, 1)


def _red_wood(pen: Pen) -> None:
    pen.rect((134, 24, 26), 0, 0, 1, 1)
    for k in range(1, 9):
        pen.line((90, 12, 16), 0.025, k / 9, 0, k / 9, 1)
    for x in (0.0, 0.93):
        pen.rect(_WHITE, x, 0, x + 0.07, 1)


def _concrete(pen: Pen) -> None:
    pen.rect((138, 140, 142), 0, 0, 1, 1)
    for k in (1, 2):
        pen.line((96, 98, 102), 0.035, 0, k / 3, 1, k / 3)
        pen.line((96, 98, 102), 0.035, k / 3, 0, k / 3, 1)


def _pastel(pen: Pen) -> None:
    for x, colour in ((0.0, (246, 176, 190)), (0.34, (170, 222, 208)), (0.67, (190, 190, 240))):
        pen.rect(colour, x, 0, min(1.0, x + 0.34), 1)


_ROOFS: Final[dict[str, Callable[[Pen, float], None]]] = {
    "red_gable": _red_gable,
    "grey_mansard": _grey_mansard,
    "flat_white": _flat_white,
    "thatched": _thatched,
    "blue_tile": _blue_tile,
    "black_slate": _black_slate,
}
_WALLS: Final[dict[str, Callable[[Pen], None]]] = {
    "brick": _brick,
    "white_plaster": _white_plaster,
    "ochre": _ochre,
    "red_wood": _red_wood,
    "concrete": _concrete,
    "pastel": _pastel,
}
