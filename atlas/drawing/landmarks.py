"""The landmarks, each a silhouette of its own that fills its box: buildings and towers here, the wide ones beside.

They are types (an arch, a windmill), not portraits of one building; each has the colours that such a thing often
has. `atlas.draw_spans` holds bridges, walls, hills and whatever else is broader than tall.
"""

from collections.abc import Callable
from typing import Final

from atlas.cues import LANDMARKS
from atlas.drawing import spans
from atlas.drawing.pen import Colour, Pen, half_oval

_STONE: Final[Colour] = (214, 196, 160)
_STONE_DARK: Final[Colour] = (160, 138, 100)
_GREY: Final[Colour] = (142, 142, 150)
_GREY_DARK: Final[Colour] = (88, 88, 98)
_DARK: Final[Colour] = (44, 42, 48)
_WHITE: Final[Colour] = (246, 246, 242)
_GOLD: Final[Colour] = (226, 172, 42)
_GREEN: Final[Colour] = (92, 158, 132)
_GREEN_DARK: Final[Colour] = (56, 110, 92)
_RED: Final[Colour] = (198, 48, 36)
_BROWN: Final[Colour] = (126, 82, 52)
_STEEL: Final[Colour] = (96, 124, 156)
_STEEL_DARK: Final[Colour] = (54, 76, 108)


def draw_landmark(pen: Pen, name: str) -> None:
    """Draws one of `atlas.cues.LANDMARKS` over the pen's whole box. Raises `KeyError` for any other name."""
    _DRAWINGS[name](pen)


def _arch(pen: Pen) -> None:
    pen.rect(_STONE, 0.1, 0.16, 0.9, 1)
    pen.rect(_STONE, 0.18, 0, 0.82, 0.12)
    pen.rect(_STONE_DARK, 0.04, 0.1, 0.96, 0.2)
    pen.arch(pen.behind, 0.33, 0.3, 0.67, 1.0)
    pen.rect(pen.behind, 0.33, 0.7, 0.67, 1.0)
    for x in (0.17, 0.75):
        pen.rect(_STONE_DARK, x, 0.28, x + 0.08, 1)


def _cathedral_two_spires(pen: Pen) -> None:
    pen.poly(_GREY, 0.28, 0.5, 0.5, 0.3, 0.72, 0.5)
    pen.rect(_GREY, 0.1, 0.42, 0.9, 1)
    for x in (0.06, 0.66):
        pen.rect(_GREY, x, 0.34, x + 0.28, 1)
        pen.poly(_GREY_DARK, x, 0.34, x + 0.14, 0, x + 0.28, 0.34)
        pen.rect(_DARK, x + 0.1, 0.42, x + 0.18, 0.62)
    pen.disc(_DARK, 0.5, 0.58, 0.1)
    pen.disc((212, 130, 80), 0.5, 0.58, 0.055)
    pen.arch(_DARK, 0.42, 0.74, 0.58, 1)


def _church_one_spire(pen: Pen) -> None:
    pen.rect(_WHITE, 0.34, 0.66, 0.98, 1)
    pen.poly((156, 66, 44), 0.34, 0.66, 0.34, 0.46, 0.88, 0.46, 1, 0.66)
    pen.rect((226, 222, 210), 0.06, 0.44, 0.36, 1)
    pen.poly((60, 76, 84), 0.02, 0.44, 0.21, 0, 0.4, 0.44)
    for x in (0.46, 0.63, 0.8):
        pen.arch(_GREY_DARK, x, 0.74, x + 0.08, 0.92)
    pen.rect(_GREY_DARK, 0.16, 0.54, 0.26, 0.68)


def _clock_tower(pen: Pen) -> None:
    pen.rect(_BROWN, 0.32, 0.2, 0.68, 1)
    pen.rect((100, 62, 38), 0.24, 0.2, 0.76, 0.6)
    pen.poly((72, 84, 72), 0.24, 0.2, 0.5, 0, 0.76, 0.2)
    pen.disc(_WHITE, 0.5, 0.4, 0.18)
    pen.line(_DARK, 0.045, 0.5, 0.27, 0.5, 0.4, 0.61, 0.45)
    for y in (0.66, 0.8):
        pen.rect((84, 50, 30), 0.44, y, 0.56, y + 0.09)


def _dome(pen: Pen) -> None:
    pen.rect(_WHITE, 0.04, 0.72, 0.96, 1)
    for x in (0.1, 0.25, 0.4, 0.55, 0.7, 0.85):
        pen.rect(_GREY, x, 0.78, x + 0.05, 1)
    pen.rect((222, 222, 216), 0.14, 0.56, 0.86, 0.72)
    pen.poly(_GREEN, *half_oval(0.1, 0.12, 0.9, 0.58))
    for x in (0.3, 0.5, 0.7):
        pen.line(_GREEN_DARK, 0.03, 0.5, 0.12, (x + 0.5) / 2 + (x - 0.5) * 0.3, 0.32, x, 0.57)
    pen.rect(_WHITE, 0.44, 0.02, 0.56, 0.13)


def _lattice_tower(pen: Pen) -> None:
    iron = (104, 78, 58)
    pen.poly(iron, 0.47, 0, 0.53, 0, 0.6, 0.46, 0.72, 0.76, 0.98, 1, 0.02, 1, 0.28, 0.76, 0.4, 0.46)
    pen.poly(pen.behind, *half_oval(0.24, 0.82, 0.76, 1.0))
    pen.poly(pen.behind, 0.5, 0.52, 0.58, 0.72, 0.42, 0.72)
    pen.poly(pen.behind, 0.5, 0.22, 0.54, 0.44, 0.46, 0.44)
    pen.rect(iron, 0.3, 0.7, 0.7, 0.77)
    pen.rect(iron, 0.38, 0.44, 0.62, 0.5)


def _leaning_tower(pen: Pen) -> None:
    lean = 0.34  # of the width, from foot to head: far more than the real one
    for tier in range(7):
        low, high = 1 - tier * 0.135, 1 - (tier + 1) * 0.135
        x0, x1 = 0.08 + lean * (1 - low), 0.08 + lean * (1 - high)
        pen.poly(_WHITE, x0, low, x0 + 0.44, low, x1 + 0.44, high, x1, high)
        pen.line((112, 106, 100), 0.03, x1 - 0.02, high, x1 + 0.46, high)
        for arch in range(4):
            x = (x0 + x1) / 2 + 0.05 + arch * 0.1
            pen.rect((140, 134, 128), x, high + 0.04, x + 0.05, low - 0.01)
    pen.poly((226, 222, 214), 0.46, 0.06, 0.8, 0.06, 0.8, 0, 0.48, 0)


def _minaret_pair(pen: Pen) -> None:
    pen.rect((232, 224, 204), 0.24, 0.68, 0.76, 1)
    pen.poly((70, 112, 160), *half_oval(0.26, 0.42, 0.74, 0.7))
    pen.arch((120, 96, 70), 0.42, 0.76, 0.58, 1)
    for x in (0.04, 0.82):
        pen.rect((238, 232, 216), x + 0.03, 0.16, x + 0.11, 1)
        pen.poly((70, 112, 160), x + 0.02, 0.17, x + 0.07, 0, x + 0.12, 0.17)
        for y in (0.3, 0.54):
            pen.rect((150, 128, 96), x - 0.01, y, x + 0.15, y + 0.05)


def _needle_tower(pen: Pen) -> None:
    pen.poly((176, 180, 186), 0.46, 0.3, 0.54, 0.3, 0.6, 1, 0.4, 1)
    pen.rect(_RED, 0.485, 0, 0.515, 0.12)
    pen.rect(_WHITE, 0.485, 0.1, 0.515, 0.2)
    pen.poly(_GREY_DARK, 0.2, 0.26, 0.36, 0.18, 0.64, 0.18, 0.8, 0.26, 0.62, 0.36, 0.38, 0.36)
    pen.rect(_WHITE, 0.2, 0.245, 0.8, 0.28)
    pen.poly(_GREY, 0.3, 1, 0.46, 0.86, 0.54, 0.86, 0.7, 1)


def _obelisk(pen: Pen) -> None:
    pen.poly((222, 188, 158), 0.38, 0.84, 0.42, 0.12, 0.5, 0, 0.58, 0.12, 0.62, 0.84)
    pen.poly((176, 138, 108), 0.5, 0.0, 0.58, 0.12, 0.62, 0.84, 0.5, 0.84)
    for y, half in ((0.82, 0.18), (0.88, 0.28), (0.94, 0.38)):
        pen.rect((190, 160, 136), 0.5 - half, y, 0.5 + half, y + 0.06)
        pen.rect((140, 112, 92), 0.5 - half, y + 0.045, 0.5 + half, y + 0.06)


def _onion(pen: Pen, colour: Colour, x: float, top: float, half: float) -> None:
    """A bulb of width 2 * half whose tip is at `top`; it is 2.6 * half high."""
    pen.poly(colour, x - half * 0.4, top + half * 1.1, x, top, x + half * 0.4, top + half * 1.1)
    pen.oval(colour, x - half, top + half * 0.7, x + half, top + half * 2.6)


def _onion_domes(pen: Pen) -> None:
    brick = (178, 70, 54)
    pen.rect(brick, 0.06, 0.7, 0.94, 1)
    for x, neck in ((0.18, 0.56), (0.82, 0.56), (0.5, 0.42)):
        pen.rect(_WHITE, x - 0.09, neck, x + 0.09, 1)
        pen.rect(brick, x - 0.09, neck + 0.16, x + 0.09, neck + 0.2)
        pen.rect(_DARK, x - 0.03, 0.78, x + 0.03, 1)
    _onion(pen, (40, 130, 90), 0.18, 0.2, 0.16)
    _onion(pen, (52, 92, 176), 0.82, 0.2, 0.16)
    _onion(pen, _GOLD, 0.5, 0.0, 0.18)


def _pagoda(pen: Pen) -> None:
    for tier in range(5):
        low, half = 1 - tier * 0.185, 0.46 - tier * 0.065
        pen.rect((168, 44, 36), 0.5 - half * 0.55, low - 0.11, 0.5 + half * 0.55, low)
        roof = low - 0.11
        pen.poly(
            (58, 62, 66),
            0.5 - half, roof - 0.02, 0.5 - half * 0.6, roof - 0.035, 0.5 - half * 0.35, roof - 0.1,
            0.5 + half * 0.35, roof - 0.1, 0.5 + half * 0.6, roof - 0.035, 0.5 + half, roof - 0.02,
            0.5 + half * 0.7, roof + 0.03, 0.5 - half * 0.7, roof + 0.03,
        )  # fmt: skip
    pen.rect(_GOLD, 0.475, 0, 0.525, 0.08)


def _pyramid(pen: Pen) -> None:
    pen.poly((226, 184, 104), 0.5, 0.08, 0.0, 1, 0.64, 1)
    pen.poly((164, 118, 58), 0.5, 0.08, 0.64, 1, 1, 1)
    for y in (0.32, 0.55, 0.78):
        pen.line((196, 152, 80), 0.02, 0.5 - (y - 0.08) * 0.54, y, 0.5 + (y - 0.08) * 0.15, y)


def _statue_raised_arm(pen: Pen) -> None:
    pen.poly((196, 184, 160), 0.24, 1, 0.3, 0.74, 0.7, 0.74, 0.76, 1)
    pen.rect((150, 136, 112), 0.26, 0.72, 0.74, 0.77)
    pen.poly(_GREEN, 0.32, 0.73, 0.4, 0.3, 0.58, 0.3, 0.68, 0.73)
    pen.line(_GREEN_DARK, 0.03, 0.46, 0.4, 0.44, 0.72)
    pen.line(_GREEN_DARK, 0.03, 0.54, 0.4, 0.58, 0.72)
    pen.line(_GREEN, 0.09, 0.55, 0.36, 0.76, 0.12)
    pen.poly(_GREEN, 0.38, 0.34, 0.24, 0.5, 0.36, 0.54)
    pen.disc(_GREEN, 0.48, 0.23, 0.085)
    pen.poly(_GREEN_DARK, 0.36, 0.17, 0.42, 0.1, 0.48, 0.15, 0.54, 0.1, 0.6, 0.17)
    pen.poly(_GOLD, 0.7, 0.13, 0.78, 0, 0.86, 0.13)


def _castle_keep(pen: Pen) -> None:
    pen.rect((124, 122, 118), 0.14, 0.3, 0.86, 1)
    for x in (0.04, 0.74):
        pen.rect((104, 102, 100), x, 0.24, x + 0.22, 1)
        for merlon in (0.0, 0.15):
            pen.rect((104, 102, 100), x + merlon, 0.16, x + merlon + 0.07, 0.25)
        pen.rect(_DARK, x + 0.09, 0.4, x + 0.13, 0.56)
    for x in (0.3, 0.46, 0.62):
        pen.rect((124, 122, 118), x, 0.22, x + 0.09, 0.31)
    pen.arch(_DARK, 0.4, 0.66, 0.6, 1)
    pen.rect(_DARK, 0.49, 0.0, 0.515, 0.3)
    pen.poly(_RED, 0.515, 0, 0.74, 0.06, 0.515, 0.12)


def _lighthouse(pen: Pen) -> None:
    pen.poly((96, 92, 88), 0.06, 1, 0.24, 0.9, 0.76, 0.9, 0.94, 1)
    for band in range(5):
        high, low = 0.24 + band * 0.136, 0.24 + (band + 1) * 0.136
        a, b = 0.12 + (high - 0.24) * 0.13, 0.12 + (low - 0.24) * 0.13
        colour = _RED if band % 2 == 0 else _WHITE
        pen.poly(colour, 0.5 - a, high, 0.5 + a, high, 0.5 + b, low, 0.5 - b, low)
    pen.rect(_DARK, 0.34, 0.2, 0.66, 0.25)
    pen.rect((250, 226, 120), 0.4, 0.09, 0.6, 0.2)
    pen.poly((150, 30, 26), 0.37, 0.1, 0.5, 0, 0.63, 0.1)


def _opera_shells(pen: Pen) -> None:
    pen.rect((150, 118, 92), 0, 0.84, 1, 1)
    for x0, top, x1 in (
        (0.36, 0.04, 0.84),
        (0.18, 0.28, 0.58),
        (0.02, 0.5, 0.36),
    ):  # the front one covers the next
        w, h = x1 - x0, 0.85 - top
        pen.poly((120, 128, 140), x1, top, x1 - 0.08 * w, 0.85, x0 + 0.5 * w, 0.85, x0 + 0.5 * w, top + 0.4 * h)
        pen.poly(
            _WHITE,
            x0, 0.85, x0 + 0.06 * w, top + 0.6 * h, x0 + 0.25 * w, top + 0.32 * h, x0 + 0.55 * w, top + 0.12 * h,
            x1, top, x0 + 0.8 * w, top + 0.3 * h, x0 + 0.68 * w, 0.85,
        )  # fmt: skip
    pen.poly(_WHITE, 0.99, 0.4, 0.97, 0.85, 0.78, 0.85, 0.86, 0.56)


def _stupa(pen: Pen) -> None:
    for y, half in ((0.9, 0.48), (0.81, 0.4)):
        pen.rect((236, 228, 206), 0.5 - half, y, 0.5 + half, y + 0.1)
        pen.rect((176, 160, 130), 0.5 - half, y + 0.07, 0.5 + half, y + 0.1)
    pen.poly(
        _GOLD,
        0.16, 0.82, 0.2, 0.74, 0.26, 0.58, 0.36, 0.46, 0.43, 0.34, 0.485, 0.1, 0.5, 0,
        0.515, 0.1, 0.57, 0.34, 0.64, 0.46, 0.74, 0.58, 0.8, 0.74, 0.84, 0.82,
    )  # fmt: skip
    pen.poly(
        (178, 124, 22), 0.5, 0, 0.515, 0.1, 0.57, 0.34, 0.64, 0.46, 0.74, 0.58, 0.8, 0.74, 0.84, 0.82, 0.62, 0.82
    )
    pen.rect((150, 100, 16), 0.37, 0.4, 0.63, 0.44)
    pen.rect((150, 100, 16), 0.2, 0.7, 0.8, 0.74)


def _twin_towers(pen: Pen) -> None:
    for x in (0.1, 0.6):
        pen.rect(_STEEL, x, 0.24, x + 0.3, 1)
        pen.rect(_STEEL, x + 0.06, 0.12, x + 0.24, 0.26)
        pen.poly(_STEEL_DARK, x + 0.1, 0.13, x + 0.15, 0, x + 0.2, 0.13)
        pen.rect(_STEEL_DARK, x + 0.2, 0.24, x + 0.3, 1)
        for y in (0.34, 0.46, 0.66, 0.78, 0.9):
            pen.rect((176, 200, 220), x + 0.03, y, x + 0.18, y + 0.04)
    pen.rect(_STEEL_DARK, 0.36, 0.54, 0.64, 0.6)


def _windmill(pen: Pen) -> None:
    pen.poly((112, 74, 50), 0.34, 0.4, 0.66, 0.4, 0.78, 1, 0.22, 1)
    pen.poly((66, 56, 52), 0.32, 0.42, 0.5, 0.26, 0.68, 0.42)
    pen.rect((240, 236, 226), 0.44, 0.8, 0.56, 1)
    for ux, uy in (
        (0.7, -0.7),
        (0.7, 0.7),
        (-0.7, 0.7),
        (-0.7, -0.7),
    ):  # along the arm; the sail lies to its right
        x0, y0, x1, y1 = 0.5 + 0.14 * ux, 0.42 + 0.14 * uy, 0.5 + 0.52 * ux, 0.42 + 0.52 * uy
        dx, dy = -0.13 * uy, 0.13 * ux
        pen.poly(_WHITE, x0, y0, x1, y1, x1 + dx, y1 + dy, x0 + dx, y0 + dy)
        pen.line(_DARK, 0.035, 0.5, 0.42, x1, y1)
    pen.disc(_DARK, 0.5, 0.42, 0.05)


def _sail_tower(pen: Pen) -> None:
    pen.poly(_WHITE, 0.3, 1, 0.28, 0.06, 0.46, 0.12, 0.68, 0.32, 0.84, 0.62, 0.9, 1)
    pen.poly((92, 158, 196), 0.42, 0.94, 0.41, 0.2, 0.58, 0.36, 0.72, 0.62, 0.79, 0.94)
    for y in (0.36, 0.52, 0.68, 0.82):
        pen.line(_WHITE, 0.025, 0.36, y, 0.86, y + 0.03)
    pen.rect((70, 86, 104), 0.22, 0, 0.3, 1)
    pen.oval((70, 86, 104), 0.04, 0.2, 0.32, 0.27)


def _colonnade_temple(pen: Pen) -> None:
    marble, shadow = (240, 234, 220), (172, 160, 138)
    pen.poly(marble, 0, 0.38, 0.5, 0.1, 1, 0.38)
    pen.poly(shadow, 0.16, 0.35, 0.5, 0.17, 0.84, 0.35)
    pen.rect(marble, 0.03, 0.37, 0.97, 0.48)
    pen.rect((92, 84, 74), 0.06, 0.48, 0.94, 0.88)
    for column in range(6):
        x = 0.06 + column * 0.16
        pen.rect(marble, x, 0.48, x + 0.08, 0.88)
    pen.rect(marble, 0.02, 0.87, 0.98, 0.94)
    pen.rect(shadow, 0, 0.93, 1, 1)


_DRAWINGS: Final[dict[str, Callable[[Pen], None]]] = {
    "arch": _arch,
    "cathedral_two_spires": _cathedral_two_spires,
    "church_one_spire": _church_one_spire,
    "clock_tower": _clock_tower,
    "dome": _dome,
    "lattice_tower": _lattice_tower,
    "leaning_tower": _leaning_tower,
    "minaret_pair": _minaret_pair,
    "needle_tower": _needle_tower,
    "obelisk": _obelisk,
    "onion_domes": _onion_domes,
    "pagoda": _pagoda,
    "pyramid": _pyramid,
    "statue_raised_arm": _statue_raised_arm,
    "suspension_bridge": spans.suspension_bridge,
    "cable_stayed_bridge": spans.cable_stayed_bridge,
    "stone_arch_bridge": spans.stone_arch_bridge,
    "castle_keep": _castle_keep,
    "city_wall_gate": spans.city_wall_gate,
    "ferris_wheel": spans.ferris_wheel,
    "lighthouse": _lighthouse,
    "opera_shells": _opera_shells,
    "stepped_temple": spans.stepped_temple,
    "torii_gate": spans.torii_gate,
    "twin_towers": _twin_towers,
    "windmill": _windmill,
    "stupa": _stupa,
    "aqueduct": spans.aqueduct,
    "cross_on_hill": spans.cross_on_hill,
    "table_mountain_cable": spans.table_mountain_cable,
    "sail_tower": _sail_tower,
    "colonnade_temple": _colonnade_temple,
}
assert tuple(_DRAWINGS) == LANDMARKS
