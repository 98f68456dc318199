"""Signs in ten scripts, drawn from strokes: letter shapes that are typical of each script, not words.

No font is used. A glyph is a string of strokes in a cell of 10 x 12 units: points "x,y" joined by blanks make a
polyline, "o x,y,r" a circle, and a semicolon parts the strokes.
"""

import math
import random
from functools import cache
from typing import Final

from atlas.drawing.pen import Colour, Pen

BOARD: Final[Colour] = (244, 240, 226)
INK: Final[Colour] = (26, 28, 40)
FRAME: Final[Colour] = (84, 84, 92)

Stroke = tuple[float, ...]

_GLYPHS: Final[dict[str, tuple[str, ...]]] = {
    "latin": (
        "1,12 5,0 9,12; 3,8 7,8",
        "1,0 1,12; 1,0 7,0 9,3 7,6 1,6; 4,6 9,12",
        "9,0 2,0 2,12 9,12; 2,6 8,6",
        "0,0 10,0; 5,0 5,12",
        "9,2 6,0 3,0 1,3 3,6 7,6 9,9 7,12 3,12 0,10",
        "1,12 1,0 9,12 9,0",
        "1,0 1,12 9,12",
    ),
    "cyrillic": (
        "5,0 5,12; 0,0 5,6 10,0; 0,12 5,6 10,12",
        "0,12 0,10 10,10 10,12; 2,10 4,0 8,0 8,10",
        "1,0 1,12 9,0 9,12",
        "9,12 9,0 3,0 1,3 3,6 9,6; 5,6 1,12",
        "0,0 0,11 10,11; 5,0 5,11; 9,0 9,11 10,12",
        "0,0 0,12; 0,6 3,6; o 6.5,6,3.6; 6.5,0 4,2 3,6; 6.5,12 4,10 3,6",
        "5,0 5,12; o 5,5,4.4",
    ),
    "greek": (
        "0,12 3,12 3,10 1,7 1,3 4,0 6,0 9,3 9,7 7,10 7,12 10,12",
        "9,0 1,0 6,6 1,12 9,12",
        "0,12 5,0 10,12",
        "5,0 5,12; 0,0 0,4 2,7 8,7 10,4 10,0",
        "1,0 9,0; 3,6 7,6; 1,12 9,12",
        "0,12 5,0 10,12 0,12",
        "0,0 10,0; 2,0 2,12; 8,0 8,12",
    ),
    "arabic": (
        "0,9 10,9; 6,9 6,0",
        "0,9 10,9; o 4,6.5,2.2; o 4,2,0.7",
        "0,9 2,9 3,6 4,9 6,6 7,9 10,9; o 3,12,0.7; o 6,12,0.7",
        "0,9 10,9; 8,9 5,4 0,4; o 5,1,0.7",
        "0,9 10,9; 2,9 2,6; 7,9 7,5; o 5,12,0.7",
    ),
    "hebrew": (
        "0,1 9,1 9,12; 0,12 10,12",
        "0,1 8,1 9,3 9,12",
        "1,0 9,12; 8,0 8,4 6,6; 1,12 1,8 3,5",
        "0,1 9,1 9,12; 2,4 2,12",
        "0,12 5,12 5,6; 0,1 10,1 10,12",
        "0,0 0,12 9,12 10,0; 5,0 4,7 0,8",
        "1,0 1,1 9,1 9,11 1,11",
    ),
    "devanagari": (
        "8,1 8,12; 8,7 4,7 2,9 4,11",
        "8,1 8,12; 2,1 2,6 8,6",
        "7,1 7,4 2,5 2,8 7,8 8,11 4,12",
        "5,1 5,12; o 3,6,2; 5,5 8,4 9,7 8,10",
        "8,1 8,12; 1,4 4,3 4,6 1,8 5,9 8,7",
        "4,1 4,4 1,6 3,10 7,9 9,6",
    ),
    "thai": (
        "o 2,3,1.8; 3,5 3,12; 3,12 9,12 9,2 6,0",
        "o 2,2,1.8; 3,4 3,12 9,12 9,0",
        "o 3,10,1.8; 1,10 1,4 4,1 7,1 9,4 9,12",
        "o 2,2,1.8; 3,4 3,12 6,7 9,12 9,0",
        "o 8,10,1.8; 8,8 8,4 5,1 1,3; 1,12 1,7 5,7",
        "o 5,1,1.4; o 2,5,1.6; 2,7 2,12 9,12 9,5",
    ),
    "han": (
        "0,0 10,0 10,12 0,12 0,0; 0,6 10,6; 5,0 5,12",
        "0,2 10,2; 5,0 5,12; 0,6 10,6; 5,7 0,12; 5,7 10,12; 2,9 8,9",
        "0,0 4,0 4,5 0,5 0,0; 6,0 10,0 10,5 6,5 6,0; 0,7 10,7; 0,9.5 10,9.5; 0,12 10,12; 5,5 5,12",
        "0,1 10,1; 2,4 8,4; 1,7 9,7 9,12 1,12 1,7; 5,1 5,7; 1,9.5 9,9.5",
        "2,0 2,12; 0,3 4,3; 0,7 4,6; 6,0 10,0 10,5 6,5 6,0; 5,8 10,8; 8,5 8,12; 5,12 10,12",
        "0,0 10,0; 1,3 9,3; 0,6 10,6; 5,0 5,6; 2,8 8,8 8,12 2,12 2,8; 2,10 8,10",
    ),
    "kana": (
        "2,2 9,2; 5,0 4,7 6,11; 8,5 3,9 1,7 5,5 9,8 7,12",
        "1,3 8,2 3,8 2,11 8,11",
        "2,1 1,8 3,12 4,10; 8,2 9,7",
        "1,4 7,3 9,5 7,8 4,11",
        "3,0 2,6 3,10 6,12 9,9",
        "1,2 9,2 5,7; 5,7 2,12",
    ),
    "hangul": (
        "o 3,3,2.8; 8,0 8,8; 8,4 10,4; 2,9 8,9 8,12",
        "0,1 6,1 6,6; 9,0 9,7; o 5,10,2",
        "o 5,3,2.8; 5,6 5,8; 0,8 10,8; 1,10 9,10 9,12",
        "1,0 1,5 6,5; 9,0 9,6; 9,3 7,3; o 5,9.6,2.3",
        "0,1 4,1 0,6; 4,6 2,4; 7,0 7,12; 7,6 10,6; 10,0 10,12",
        "1,1 6,1 6,6 1,6 1,1; 9,0 9,7; 9,3 11,3; 2,9 2,12 9,12",
    ),
}


def draw_sign(pen: Pen, script: str, rng: random.Random) -> None:
    """A light sign board over the whole box with as many glyphs as fit, drawn in `script`.

    Raises `KeyError` for a script that `atlas.cues` does not know.
    """
    pen.rect(FRAME, 0, 0, 1, 1)
    edge_y = 0.05
    pen.rect(BOARD, edge_y / pen.aspect, edge_y, 1 - edge_y / pen.aspect, 1 - edge_y)
    cell_y = 0.7  # glyph height as a share of the board
    count = max(4, min(6, int((pen.aspect - 0.2) / 0.66)))
    pitch = (1 - 0.2 / pen.aspect) / count
    glyphs = _strokes(script)
    top, gap = (1 - cell_y) / 2, 0.0 if script in ("arabic", "devanagari") else 0.11
    left = 0.1 / pen.aspect
    order = rng.sample(range(len(glyphs)), len(glyphs))
    for place in range(count):
        x0, dx = left + pitch * (place + gap), pitch * (1 - 2 * gap)
        for stroke in glyphs[order[place % len(order)]]:
            xy = [top + value * cell_y if odd & 1 else x0 + value * dx for odd, value in enumerate(stroke)]
            pen.line(INK, 0.085, *xy)
    if script == "devanagari":
        pen.rect(INK, left, top, 1 - left, top + 0.11)


@cache
def _strokes(script: str) -> tuple[tuple[Stroke, ...], ...]:
    """The glyphs of a script; each is a tuple of polylines in the unit square."""
    return tuple(tuple(_stroke(part.strip()) for part in glyph.split(";")) for glyph in _GLYPHS[script])


def _stroke(text: str) -> Stroke:
    points: list[float] = []
    if text.startswith("o"):
        x, y, radius = (float(number) for number in text[1:].split(","))
        for step in range(11):
            angle = math.tau * step / 10
            points += [(x + radius * math.cos(angle)) / 10, (y + radius * math.sin(angle)) / 12]
    else:
        for point in text.split():
            x, y = (float(number) for number in point.split(","))
            points += [x / 10, y / 12]
    return tuple(points)
