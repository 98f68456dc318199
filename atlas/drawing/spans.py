"""The landmarks that are broader than tall, or stand on nature: bridges, walls, hills, gates."""

import math

from atlas.drawing.pen import Colour, Pen, half_oval

_WATER: Colour = (74, 128, 170)
_DARK: Colour = (44, 42, 48)
_WHITE: Colour = (246, 246, 242)


def suspension_bridge(pen: Pen) -> None:
    """Two red towers, a hanging cable, a deck over water."""
    red = (196, 62, 40)
    pen.rect(_WATER, 0, 0.86, 1, 1)
    cable: list[float] = [0.0, 0.62]
    for step in range(11):
        t = step / 10
        cable += [0.2 + 0.6 * t, 0.1 + 0.52 * (1 - (2 * t - 1) ** 2)]
    cable += [1.0, 0.62]
    for step in range(1, 10):
        t = step / 10
        x, y = 0.2 + 0.6 * t, 0.1 + 0.52 * (1 - (2 * t - 1) ** 2)
        pen.line(red, 0.01, x, y, x, 0.7)
    pen.line(red, 0.035, *cable)
    for x in (0.15, 0.75):
        pen.rect(red, x, 0.02, x + 0.1, 0.94)
        pen.rect(pen.behind, x + 0.035, 0.12, x + 0.065, 0.36)
        pen.rect(pen.behind, x + 0.035, 0.42, x + 0.065, 0.64)
    pen.rect(red, 0, 0.67, 1, 0.75)


def cable_stayed_bridge(pen: Pen) -> None:
    """One white A-shaped pylon with a fan of straight cables."""
    pen.rect(_WATER, 0, 0.86, 1, 1)
    for step in range(1, 6):
        for side in (-1, 1):
            pen.line((236, 238, 240), 0.022, 0.5, 0.04 + 0.03 * step, 0.5 + side * 0.1 * step, 0.72)
    pen.poly(_WHITE, 0.46, 0, 0.54, 0, 0.66, 0.94, 0.58, 0.94, 0.5, 0.26, 0.42, 0.94, 0.34, 0.94)
    pen.rect((70, 82, 96), 0, 0.71, 1, 0.79)


def stone_arch_bridge(pen: Pen) -> None:
    """A humped bridge of stone on three arches, mirrored in the water."""
    stone = (156, 138, 112)
    pen.rect(_WATER, 0, 0.76, 1, 1)
    hump = half_oval(0, 0.1, 1, 0.52)
    pen.poly(stone, 0, 0.84, *hump, 1, 0.84)
    pen.line((104, 90, 72), 0.07, *hump)
    for x, top, half in ((0.15, 0.5, 0.1), (0.5, 0.3, 0.17), (0.85, 0.5, 0.1)):
        pen.poly((40, 70, 96), *half_oval(x - half, top, x + half, 0.86))
        pen.oval((100, 154, 190), x - half, 0.8, x + half, 0.94)


def city_wall_gate(pen: Pen) -> None:
    """A long ochre wall with battlements and a gate between two towers with red caps."""
    wall, dark = (206, 156, 92), (156, 110, 60)
    pen.rect(wall, 0, 0.56, 1, 1)
    for x in (0.0, 0.12, 0.8, 0.92):
        pen.rect(wall, x, 0.49, x + 0.07, 0.57)
    for x in (0.2, 0.6):
        pen.rect(dark, x, 0.32, x + 0.2, 1)
        pen.poly((172, 52, 40), x - 0.03, 0.33, x + 0.1, 0.06, x + 0.23, 0.33)
        pen.rect(_DARK, x + 0.07, 0.44, x + 0.13, 0.56)
    pen.rect(wall, 0.4, 0.46, 0.6, 1)
    pen.arch((30, 26, 26), 0.41, 0.56, 0.59, 1)


def ferris_wheel(pen: Pen) -> None:
    """A wheel with spokes and cabins in three colours."""
    steel = (70, 78, 120)
    pen.line((120, 126, 150), 0.05, 0.3, 1, 0.5, 0.46, 0.7, 1)
    cabins = ((214, 60, 60), (240, 190, 60), (60, 150, 200))
    for spoke in range(12):
        angle = math.tau * spoke / 12
        x, y = 0.5 + 0.41 * math.cos(angle), 0.46 + 0.4 * math.sin(angle)
        if spoke < 6:
            pen.line(steel, 0.014, x, y, 1 - x, 0.92 - y)
    pen.ring(steel, 0.035, 0.5, 0.46, 0.41)
    for spoke in range(12):
        angle = math.tau * spoke / 12
        pen.disc(cabins[spoke % 3], 0.5 + 0.41 * math.cos(angle), 0.46 + 0.4 * math.sin(angle), 0.055)
    pen.disc(steel, 0.5, 0.46, 0.06)


def stepped_temple(pen: Pen) -> None:
    """A pyramid in five steps with a stair up its middle and a house on top."""
    stone, dark = (150, 146, 112), (104, 104, 74)
    for step in range(5):
        half, low = 0.5 - step * 0.075, 1 - step * 0.155
        pen.rect(stone, 0.5 - half, low - 0.155, 0.5 + half, low)
        pen.rect(dark, 0.5 - half, low - 0.155, 0.5 + half, low - 0.12)
    pen.poly((196, 190, 152), 0.36, 1, 0.42, 0.23, 0.58, 0.23, 0.64, 1)
    for step in range(8):
        y = 0.3 + step * 0.088
        pen.line(dark, 0.012, 0.415 - step * 0.006, y, 0.585 + step * 0.006, y)
    pen.rect(stone, 0.34, 0.06, 0.66, 0.23)
    pen.rect(dark, 0.3, 0.02, 0.7, 0.08)
    pen.rect((36, 34, 26), 0.45, 0.1, 0.55, 0.23)


def torii_gate(pen: Pen) -> None:
    """A vermilion gate: two posts, two beams, the upper one curved and capped black."""
    red = (222, 66, 28)
    for x in (0.2, 0.7):
        pen.poly(red, x + 0.01, 0.2, x + 0.09, 0.2, x + 0.1, 1, x, 1)
        pen.rect(_DARK, x - 0.01, 0.92, x + 0.11, 1)
    pen.rect(red, 0.1, 0.38, 0.9, 0.47)
    pen.rect(red, 0.47, 0.24, 0.53, 0.4)
    pen.poly(red, 0.03, 0.12, 0.5, 0.18, 0.97, 0.12, 0.95, 0.24, 0.5, 0.28, 0.05, 0.24)
    pen.poly(_DARK, 0, 0.04, 0.25, 0.1, 0.5, 0.12, 0.75, 0.1, 1, 0.04, 0.97, 0.14, 0.5, 0.19, 0.03, 0.14)


def aqueduct(pen: Pen) -> None:
    """Two tiers of many arches, open to what lies behind."""
    stone, dark = (200, 170, 124), (150, 120, 80)
    pen.rect(stone, 0, 0.14, 1, 1)
    pen.rect(dark, 0, 0.1, 1, 0.16)
    pen.rect(dark, 0, 0.5, 1, 0.55)
    for bay in range(5):
        x = 0.03 + bay * 0.195
        pen.arch(pen.behind, x, 0.22, x + 0.15, 0.5)
        pen.arch(pen.behind, x, 0.6, x + 0.15, 1.0)
        pen.rect(pen.behind, x, 0.76, x + 0.15, 1.0)


def cross_on_hill(pen: Pen) -> None:
    """A white cross, large on a dark round hill."""
    pen.poly((84, 104, 62), 0, 1, *half_oval(0, 0.56, 1, 1.0), 1, 1)
    pen.poly((58, 76, 46), 0.5, 0.56, *half_oval(0.3, 0.58, 1, 1.0)[16:], 0.6, 1)
    pen.rect(_WHITE, 0.43, 0, 0.57, 0.64)
    pen.rect(_WHITE, 0.2, 0.16, 0.8, 0.29)
    pen.rect((190, 190, 186), 0.53, 0, 0.57, 0.64)


def table_mountain_cable(pen: Pen) -> None:
    """A mountain with a flat top, a cable up to its edge and a red cabin on it."""
    rock, dark = (112, 120, 136), (80, 88, 106)
    pen.poly(rock, 0, 1, 0.12, 0.66, 0.26, 0.5, 0.3, 0.2, 0.92, 0.2, 0.96, 0.5, 1, 0.62, 1, 1)
    for x in (0.4, 0.54, 0.68, 0.82):
        pen.poly(dark, x, 0.22, x + 0.05, 0.22, x + 0.03, 0.6)
    pen.poly((98, 124, 84), 0, 1, 0.14, 0.72, 0.5, 0.82, 1, 0.7, 1, 1)
    pen.line(_DARK, 0.02, 0.3, 0.19, 0.02, 0.92)
    pen.rect(_DARK, 0.27, 0.1, 0.4, 0.2)
    pen.rect((214, 36, 36), 0.04, 0.5, 0.24, 0.66)
    pen.rect((236, 236, 240), 0.07, 0.53, 0.21, 0.59)
