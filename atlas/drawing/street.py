"""What stands, lies and drives along a road."""

import random
from typing import Final

from atlas.drawing.pen import Colour, Pen, shade

WHITE: Final[Colour] = (246, 246, 242)
BLACK: Final[Colour] = (30, 30, 34)
YELLOW: Final[Colour] = (250, 200, 30)
RED: Final[Colour] = (206, 38, 36)


def draw_centre_line(pen: Pen, value: str) -> None:
    """The marks in the middle of a road that runs away from the viewer."""
    colour = YELLOW if value.startswith("yellow") else WHITE
    near, far = 0.24, 0.12  # half widths of one line, as shares of the box
    match value:
        case "white_solid":
            pen.poly(colour, 0.5 - far, 0, 0.5 + far, 0, 0.5 + near, 1, 0.5 - near, 1)
        case "yellow_double":
            for side in (-1, 1):
                top, low = 0.5 + side * 0.26, 0.5 + side * 0.34
                pen.poly(colour, top - 0.1, 0, top + 0.1, 0, low + 0.16, 1, low - 0.16, 1)
        case _:
            for top, low in ((0.02, 0.14), (0.26, 0.44), (0.62, 0.94)):
                a, b = far + (near - far) * top, far + (near - far) * low
                pen.poly(colour, 0.5 - a, top, 0.5 + a, top, 0.5 + b, low, 0.5 - b, low)


def draw_kerb(pen: Pen, value: str) -> None:
    """A row of kerb stones along the box's longer side, in one colour or two by turns."""
    first, second = {
        "plain": ((222, 220, 214), (206, 204, 198)),
        "red_white": (RED, WHITE),
        "black_white": (BLACK, WHITE),
        "yellow_black": (YELLOW, BLACK),
    }[value]
    lying = pen.aspect >= 1
    length = pen.aspect if lying else 1 / pen.aspect
    count = max(4, min(12, round(length)))
    for k in range(count):
        a, b = k / count, (k + 1) / count
        colour = second if k % 2 else first
        if lying:
            pen.rect(colour, a, 0, b, 1)
            pen.rect(shade(colour, 0.72), a, 0.66, b, 1)
        else:
            pen.rect(colour, 0, a, 1, b)
            pen.rect(shade(colour, 0.72), 0.66, a, 1, b)


def draw_plate(pen: Pen, value: str, rng: random.Random) -> None:
    """A number plate on a grey bumper. Its letters are bars: it is the colours that tell a country."""
    board, ink = {
        "white": (WHITE, BLACK),
        "yellow": (YELLOW, BLACK),
        "blue_band": (WHITE, BLACK),
        "black": (BLACK, WHITE),
        "green": ((20, 128, 70), WHITE),
        "red": (RED, WHITE),
    }[value]
    pen.rect((70, 74, 80), 0, 0, 1, 1)
    x0, x1 = 0.04, 0.96
    pen.rect(board, x0, 0.1, x1, 0.9)
    if value == "blue_band":
        pen.rect((24, 60, 180), x0, 0.1, 0.24, 0.9)
        pen.rect((24, 60, 180), 0.84, 0.1, x1, 0.9)
        x0, x1 = 0.24, 0.84
    for k in range(5):
        x = x0 + (x1 - x0) * (0.1 + 0.17 * k)
        wide = (x1 - x0) * 0.09
        pen.rect(ink, x, 0.3, x + wide, 0.7)
        if rng.random() < 0.5:
            pen.rect(board, x + wide * 0.4, 0.44, x + wide, 0.56)


def draw_bollard(pen: Pen, value: str) -> None:
    """A roadside post that fills the box's height; the slim one is a third as wide as the others."""
    match value:
        case "red_band":
            _post(pen, WHITE)
            pen.rect(RED, 0.16, 0.2, 0.84, 0.44)
        case "black_band":
            _post(pen, WHITE)
            pen.poly(BLACK, 0.16, 0.26, 0.84, 0.14, 0.84, 0.42, 0.16, 0.54)
            pen.rect((236, 130, 30), 0.4, 0.26, 0.6, 0.4)
        case "yellow_top":
            _post(pen, (66, 68, 74))
            pen.oval(YELLOW, 0.16, 0, 0.84, 0.24)
            pen.rect(YELLOW, 0.16, 0.12, 0.84, 0.4)
        case "white_slim":
            pen.rect(WHITE, 0.38, 0, 0.62, 1)
            pen.rect((140, 144, 150), 0.56, 0, 0.62, 1)
        case _:
            for k in range(6):
                pen.rect((30, 70, 170) if k % 2 == 0 else WHITE, 0.16, k / 6, 0.84, (k + 1) / 6)


def _post(pen: Pen, colour: Colour) -> None:
    pen.oval(colour, 0.16, 0, 0.84, 0.16)
    pen.rect(colour, 0.16, 0.08, 0.84, 1)
    pen.rect(shade(colour, 0.8), 0.7, 0.08, 0.84, 1)


def draw_warning_sign(pen: Pen, value: str) -> None:
    """A warning sign on its pole; the picture on it is an exclamation mark everywhere."""
    size = min(0.8, pen.aspect)  # height of the board: as high as wide
    pen.rect((110, 114, 120), 0.45, size * 0.8, 0.55, 1)
    if value == "diamond_yellow":
        pen.poly(BLACK, 0.5, 0, 1, size * 0.5, 0.5, size, 0, size * 0.5)
        pen.poly(YELLOW, 0.5, size * 0.1, 0.9, size * 0.5, 0.5, size * 0.9, 0.1, size * 0.5)
        pen.rect(BLACK, 0.44, size * 0.26, 0.56, size * 0.58)
        pen.rect(BLACK, 0.44, size * 0.64, 0.56, size * 0.74)
        return
    pen.poly(RED, 0.5, 0, 1, size, 0, size)
    pen.poly(
        WHITE if value == "triangle_white" else YELLOW, 0.5, size * 0.26, 0.82, size * 0.88, 0.18, size * 0.88
    )
    pen.rect(BLACK, 0.45, size * 0.44, 0.55, size * 0.68)
    pen.rect(BLACK, 0.45, size * 0.74, 0.55, size * 0.83)


def draw_car(pen: Pen, *, taxi: str = "", side: str = "") -> None:
    """A car seen from behind that fills the box: a grey one, or with `taxi` one of that colour and with a lamp.

    `side` is the side of the road that it keeps to: its driver sits on the other one.
    """
    body = _TAXIS[taxi] if taxi else (116, 122, 132)
    for x in (0.08, 0.72):
        pen.rect(BLACK, x, 0.86, x + 0.2, 1)
    pen.poly(body, 0.06, 0.48, 0.18, 0.1, 0.82, 0.1, 0.94, 0.48)
    pen.poly((36, 44, 56), 0.15, 0.42, 0.23, 0.16, 0.77, 0.16, 0.85, 0.42)
    if side:
        x = 0.62 if side == "left" else 0.38
        pen.oval((226, 178, 146), x - 0.1, 0.2, x + 0.1, 0.38)
    pen.rect(body, 0, 0.44, 1, 0.93)
    pen.rect(shade(body, 0.72), 0, 0.86, 1, 0.93)
    for x in (0.0, 0.78):
        pen.rect((255, 96, 70), x, 0.48, x + 0.22, 0.6)
        pen.rect((170, 20, 20), x, 0.56, x + 0.22, 0.62)
    if taxi:
        pen.rect((255, 236, 150), 0.28, 0, 0.72, 0.1)
        pen.rect(BLACK, 0.36, 0.03, 0.64, 0.07)
        for k in range(6):
            pen.rect(BLACK if k % 2 else WHITE, 0.23 + k * 0.09, 0.5, 0.32 + k * 0.09, 0.58)


_TAXIS: Final[dict[str, Colour]] = {
    "yellow": YELLOW,
    "black": (28, 28, 32),
    "white": (250, 250, 250),
    "green": (30, 150, 70),
    "red": (210, 36, 44),
    "blue": (34, 90, 200),
}
