"""A pen that draws in the unit square of a box: what every drawing of Atlas is made with."""

import math
from collections.abc import Sequence

from PIL import ImageDraw

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""

UNIT: Box = (0.0, 0.0, 1.0, 1.0)


class Pen:
    """Draws filled shapes and strokes; all coordinates are shares of the box, x rightwards and y downwards.

    Stroke widths are shares of the box's shorter side and never less than `least_px`. `behind` is the colour to
    see through holes.
    """

    __slots__ = ("_draw", "_h", "_least_px", "_w", "_x", "_y", "behind")

    def __init__(
        self,
        draw: ImageDraw.ImageDraw,
        size_px: tuple[int, int],
        box: Box = UNIT,
        *,
        behind: Colour = (205, 215, 222),
        least_px: int = 2,
    ) -> None:
        self._draw = draw
        self._x, self._y = box[0] * size_px[0], box[1] * size_px[1]
        self._w, self._h = (box[2] - box[0]) * size_px[0], (box[3] - box[1]) * size_px[1]
        self._least_px = least_px
        self.behind = behind

    @property
    def aspect(self) -> float:
        """Width of the box over its height, in pixels."""
        return self._w / self._h

    def poly(self, colour: Colour, *xy: float) -> None:
        """A filled polygon through x0, y0, x1, y1, ..."""
        self._draw.polygon(self._pixels(xy), fill=colour)

    def rect(self, colour: Colour, x0: float, y0: float, x1: float, y1: float) -> None:
        """A filled rectangle; an edge on the box's edge stays inside it."""
        left, top = self._x + x0 * self._w, self._y + y0 * self._h
        right, bottom = self._x + x1 * self._w - 1, self._y + y1 * self._h - 1
        self._draw.rectangle((left, top, max(left, right), max(top, bottom)), fill=colour)

    def oval(self, colour: Colour, x0: float, y0: float, x1: float, y1: float) -> None:
        """A filled ellipse."""
        left, top = self._x + x0 * self._w, self._y + y0 * self._h
        right, bottom = self._x + x1 * self._w - 1, self._y + y1 * self._h - 1
        self._draw.ellipse((left, top, max(left, right), max(top, bottom)), fill=colour)

    def disc(self, colour: Colour, x: float, y: float, radius: float) -> None:
        """A filled circle that stays round; `radius` is a share of the shorter side."""
        r_px = radius * min(self._w, self._h)
        cx, cy = self._x + x * self._w, self._y + y * self._h
        self._draw.ellipse((cx - r_px, cy - r_px, cx + r_px, cy + r_px), fill=colour)

    def ring(self, colour: Colour, width: float, x: float, y: float, radius: float) -> None:
        """A circle's outline that stays round."""
        r_px = radius * min(self._w, self._h)
        cx, cy = self._x + x * self._w, self._y + y * self._h
        self._draw.ellipse((cx - r_px, cy - r_px, cx + r_px, cy + r_px), outline=colour, width=self._px(width))

    def line(self, colour: Colour, width: float, *xy: float) -> None:
        """An open stroke through x0, y0, x1, y1, ..."""
        self._draw.line(self._pixels(xy), fill=colour, width=self._px(width))

    def arch(self, colour: Colour, x0: float, top: float, x1: float, bottom: float) -> None:
        """An opening with a round head: half an ellipse over a rectangle of the same height."""
        middle = (top + bottom) / 2
        self.oval(colour, x0, top, x1, bottom)
        self.rect(colour, x0, middle, x1, bottom)

    def _px(self, width: float) -> int:
        return max(self._least_px, round(width * min(self._w, self._h)))

    def _pixels(self, xy: Sequence[float]) -> list[float]:
        x, y, w, h = self._x, self._y, self._w, self._h
        return [y + value * h if odd & 1 else x + value * w for odd, value in enumerate(xy)]


def half_oval(x0: float, top: float, x1: float, bottom: float, steps: int = 16) -> list[float]:
    """Points of the upper half of an ellipse whose foot stands on `bottom`, from left to right."""
    cx, rx, ry = (x0 + x1) / 2, (x1 - x0) / 2, bottom - top
    points: list[float] = []
    for step in range(steps + 1):
        angle = math.pi * (1 - step / steps)
        points += [cx + rx * math.cos(angle), bottom - ry * math.sin(angle)]
    return points


def shade(colour: Colour, factor: float) -> Colour:
    """The colour made darker (below 1) or lighter (above 1)."""
    r, g, b = (min(255, max(0, round(part * factor))) for part in colour)
    return r, g, b
