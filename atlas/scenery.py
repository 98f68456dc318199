"""Small drawn landscapes, streets and rooms: pictures without a photographer, hence without a licence.

Everything is drawn at twice the size and reduced, with a little grain, so that the result decodes, compresses and
embeds like a photograph. The same seed draws the same picture.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Scene = Callable[[ImageDraw.ImageDraw, Image.Image, np.random.Generator], None]

WIDTH_PX, HEIGHT_PX = 640, 440
_W, _H = 2 * WIDTH_PX, 2 * HEIGHT_PX
_GRAIN = 5.0


def draw(scene: str, rng: np.random.Generator, size_px: tuple[int, int] = (WIDTH_PX, HEIGHT_PX)) -> Image.Image:
    """An RGB picture of one of `SCENES`. Raises `KeyError` for any other word."""
    canvas = Image.new("RGB", (_W, _H))
    SCENES[scene](ImageDraw.Draw(canvas), canvas, rng)
    small = np.asarray(canvas.resize(size_px, Image.Resampling.LANCZOS), dtype=np.float32)
    grain = rng.normal(0.0, _GRAIN, small.shape[:2])[..., None]
    return Image.fromarray(np.clip(small + grain, 0, 255).astype(np.uint8))


def _sky(image: Image.Image, top: Colour, bottom: Colour, until: float = 1.0) -> None:
    """A vertical gradient from the upper edge down to the share `until` of the height."""
    rows = int(_H * until)
    blend = np.linspace(0, 1, rows)[:, None, None]
    band = np.asarray(top) * (1 - blend) + np.asarray(bottom) * blend
    image.paste(Image.fromarray(np.broadcast_to(band, (rows, _W, 3)).astype(np.uint8)), (0, 0))


def _ridge(rng: np.random.Generator, base: float, height: float, roughness: int) -> NDArray[np.float64]:
    """The skyline of hills: y for each x, as a sum of waves whose height falls with their frequency."""
    x = np.linspace(0, 2 * np.pi, _W)
    waves = range(1, roughness + 1)
    line = sum((np.sin(n * x * rng.uniform(0.6, 1.4) + rng.uniform(0, 6.3)) / n**1.2 for n in waves), np.zeros(_W))
    return np.asarray(_H * (base - height * (line - line.min()) / np.ptp(line)), dtype=np.float64)


def _land(pen: ImageDraw.ImageDraw, ridge: NDArray[np.float64], colour: Colour) -> None:
    points = [(x, float(ridge[x])) for x in range(0, _W, 4)]
    pen.polygon([(0, _H), *points, (_W, float(ridge[-1])), (_W, _H)], fill=colour)


def _clouds(image: Image.Image, rng: np.random.Generator, count: int, colour: Colour = (255, 255, 255)) -> None:
    mask = Image.new("L", image.size)
    pen = ImageDraw.Draw(mask)
    for _ in range(count):
        x, y = rng.uniform(0, _W), rng.uniform(0.05, 0.3) * _H
        for _ in range(7):
            dx, dy, r = rng.normal(0, 80), rng.normal(0, 10), rng.uniform(14, 42)
            pen.ellipse([x + dx - 2 * r, y + dy - r / 2, x + dx + 2 * r, y + dy + r / 2], fill=150)
    image.paste(Image.new("RGB", image.size, colour), mask=mask.filter(ImageFilter.GaussianBlur(14)))


def _glow(image: Image.Image, x: float, y: float, radius: float, colour: Colour, strength: int) -> None:
    mask = Image.new("L", image.size)
    ImageDraw.Draw(mask).ellipse([x - radius, y - radius, x + radius, y + radius], fill=strength)
    image.paste(Image.new("RGB", image.size, colour), mask=mask.filter(ImageFilter.GaussianBlur(radius / 2)))


def _house(
    pen: ImageDraw.ImageDraw, x: float, ground: float, w: float, h: float, wall: Colour, roof: Colour
) -> None:
    pen.rectangle([x, ground - h, x + w, ground], fill=wall)
    pen.polygon([(x - w * 0.08, ground - h), (x + w / 2, ground - h * 1.5), (x + w * 1.08, ground - h)], fill=roof)
    for column in (0.18, 0.6):
        for row in (0.2, 0.58):
            left, top = x + w * column, ground - h + h * row
            pen.rectangle([left, top, left + w * 0.2, top + h * 0.22], fill=(62, 66, 74))


def _shade(colour: Colour, factor: float) -> Colour:
    r, g, b = (int(min(255, max(0, part * factor))) for part in colour)
    return r, g, b


def _tree(pen: ImageDraw.ImageDraw, x: float, ground: float, h: float, colour: Colour) -> None:
    pen.rectangle([x - h * 0.03, ground - h * 0.3, x + h * 0.03, ground], fill=(74, 58, 44))
    for level in range(3):
        top, half = ground - h * (1 - 0.22 * level), h * (0.15 + 0.06 * level)
        pen.polygon([(x, top), (x - half, top + h * 0.4), (x + half, top + h * 0.4)], fill=colour)


def _lane(pen: ImageDraw.ImageDraw, *, horizon: float, far: float, near: float, colour: Colour) -> None:
    """A road that runs to the horizon; `far` and `near` are half its width there and at the lower edge."""
    top = [(_W * (0.5 - far), _H * horizon), (_W * (0.5 + far), _H * horizon)]
    pen.polygon([*top, (_W * (0.5 + near), _H), (_W * (0.5 - near), _H)], fill=colour)


def _coast(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (96, 154, 204), (226, 233, 232), 0.55)
    _clouds(image, rng, 5)
    pen.rectangle([0, _H * 0.52, _W, _H], fill=(46, 106, 134))
    for _ in range(160):
        y = _H * (0.53 + 0.3 * rng.uniform() ** 2)
        x, length = rng.uniform(0, _W), rng.uniform(20, 130)
        pen.line([x, y, x + length, y], fill=(92, 148, 168), width=2)
    _land(pen, _ridge(rng, 0.93, 0.12, 3), (217, 199, 158))
    cliff = _ridge(rng, 0.9, 0.5, 5)
    edge = int(_W * rng.uniform(0.25, 0.4))
    points = [(x, float(cliff[x])) for x in range(0, edge, 4)]
    pen.polygon([(0, _H), *points, (edge + 60, _H * 0.86), (edge + 20, _H)], fill=(108, 116, 88))


def _hills(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (132, 172, 206), (238, 230, 212))
    _clouds(image, rng, 4)
    for depth, colour in enumerate([(150, 170, 176), (116, 146, 124), (96, 132, 82), (128, 150, 70)]):
        _land(pen, _ridge(rng, 0.58 + 0.13 * depth, 0.16, 3 + depth), colour)
    for _ in range(26):
        _tree(pen, rng.uniform(0, _W), _H * rng.uniform(0.84, 0.98), rng.uniform(50, 110), (58, 88, 56))


def _mountains(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (84, 134, 190), (220, 230, 238))
    far, near = _ridge(rng, 0.66, 0.5, 12), _ridge(rng, 0.74, 0.3, 14)
    _land(pen, far, (126, 138, 156))
    for x in range(0, _W, 3):
        top = float(far[x])
        if top < _H * 0.4:
            pen.line([x, top, x, top + (_H * 0.4 - top) * rng.uniform(0.4, 0.9)], fill=(242, 245, 248), width=4)
    _land(pen, near, (82, 96, 92))
    lake = image.crop((0, int(_H * 0.36), _W, int(_H * 0.72))).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    lake = lake.resize((_W, int(_H * 0.28)))
    lake = Image.blend(lake, Image.new("RGB", lake.size, (60, 96, 118)), 0.5)
    image.paste(lake.filter(ImageFilter.GaussianBlur(4)), (0, int(_H * 0.72)))


def _desert(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (104, 160, 206), (246, 224, 184))
    _glow(image, _W * 0.78, _H * 0.2, 90, (255, 244, 214), 230)
    for depth, colour in enumerate([(214, 164, 110), (201, 146, 92), (224, 176, 116)]):
        _land(pen, _ridge(rng, 0.66 + 0.15 * depth, 0.16, 2), colour)


def _village(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (150, 186, 214), (240, 236, 226))
    _land(pen, _ridge(rng, 0.62, 0.2, 4), (126, 148, 120))
    pen.rectangle([0, _H * 0.76, _W, _H], fill=(168, 162, 150))
    walls = [(236, 224, 200), (222, 196, 160), (240, 236, 228), (206, 170, 150)]
    x = -40.0
    while x < _W:
        w, h = rng.uniform(130, 210), rng.uniform(150, 260)
        _house(pen, x, _H * 0.78, w, h, walls[rng.integers(4)], (164, 84, 60))
        x += w * rng.uniform(0.95, 1.15)
    _lane(pen, horizon=0.78, far=0.06, near=0.36, colour=(120, 116, 110))


def _night_street(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (10, 14, 30), (38, 36, 58))
    for side in (-1, 1):
        for depth in range(5):
            near = 1 - depth / 6
            edge = _W / 2 + side * _W * (0.06 + 0.44 * near)
            inner = _W / 2 + side * _W * (0.06 + 0.44 * (near - 1 / 6))
            left, right = sorted((edge, inner))
            top = _H * (0.5 - 0.46 * near * rng.uniform(0.7, 1))
            pen.rectangle(
                [left, top, right, _H * (0.56 + 0.3 * near)], fill=_shade((40, 42, 60), 0.7 + 0.1 * depth)
            )
            for y in np.arange(top + 24, _H * 0.56, 44 * near + 12).tolist():
                for x in np.arange(left + 12, right - 22, 40 * near + 10).tolist():
                    if rng.uniform() < 0.45:
                        pen.rectangle([x, y, x + 18 * near + 3, y + 24 * near + 3], fill=(248, 210, 128))
    _lane(pen, horizon=0.56, far=0.06, near=0.5, colour=(34, 34, 42))
    for step in range(6):
        y, w = _H * (0.6 + 0.07 * step), 4 + 3 * step
        pen.rectangle([_W / 2 - w, y, _W / 2 + w, y + 8 + 5 * step], fill=(206, 200, 180))
    for x, y, r in ((0.27, 0.3, 60), (0.73, 0.3, 60), (0.41, 0.44, 26), (0.59, 0.44, 26)):
        _glow(image, _W * x, _H * y, r, (255, 226, 160), 235)


def _skyline(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (88, 116, 164), (250, 202, 156))
    _glow(image, _W * 0.3, _H * 0.6, 120, (255, 226, 170), 200)
    for layer, colour in enumerate([(150, 146, 166), (104, 108, 134), (62, 68, 92)]):
        x = -20.0
        while x < _W:
            w, h = rng.uniform(44, 110), _H * rng.uniform(0.14, 0.42) * (1 - 0.12 * layer)
            ground = _H * (0.7 + 0.06 * layer)
            pen.rectangle([x, ground - h, x + w, _H], fill=_shade(colour, rng.uniform(0.92, 1.08)))
            x += w + rng.uniform(0, 24)
    pen.rectangle([0, _H * 0.84, _W, _H], fill=(70, 84, 108))
    for _ in range(90):
        x, y = rng.uniform(0, _W), rng.uniform(_H * 0.85, _H)
        pen.line([x, y, x + rng.uniform(20, 90), y], fill=(150, 140, 140), width=2)


def _harbour(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (126, 170, 206), (232, 236, 236))
    _clouds(image, rng, 6)
    colours = [(188, 72, 56), (226, 176, 70), (232, 226, 212), (70, 110, 140), (150, 60, 50), (120, 146, 110)]
    for n in range(9):
        _house(pen, n * _W / 8.6 - 40, _H * 0.6, _W / 9.4, rng.uniform(150, 230), colours[n % 6], (78, 70, 68))
    pen.rectangle([0, _H * 0.6, _W, _H * 0.64], fill=(132, 124, 114))
    pen.rectangle([0, _H * 0.64, _W, _H], fill=(52, 92, 112))
    for _ in range(4):
        x, y = rng.uniform(80, _W - 200), _H * rng.uniform(0.74, 0.92)
        pen.polygon([(x, y), (x + 180, y), (x + 150, y + 40), (x + 30, y + 40)], fill=(238, 232, 222))
        pen.line([x + 85, y, x + 85, y - 170], fill=(92, 70, 50), width=6)
        pen.polygon([(x + 92, y - 165), (x + 92, y - 20), (x + 165, y - 20)], fill=(246, 242, 234))


def _snow(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (170, 184, 204), (240, 238, 240))
    _land(pen, _ridge(rng, 0.64, 0.18, 4), (196, 208, 222))
    _land(pen, _ridge(rng, 0.82, 0.12, 3), (242, 245, 249))
    for _ in range(34):
        _tree(pen, rng.uniform(0, _W), _H * rng.uniform(0.68, 0.86), rng.uniform(70, 170), (54, 74, 74))
    _house(pen, _W * 0.62, _H * 0.86, 190, 130, (146, 46, 40), (236, 240, 246))


def _savanna(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (222, 132, 74), (252, 220, 150), 0.7)
    _glow(image, _W * 0.55, _H * 0.56, 100, (255, 246, 206), 250)
    _land(pen, _ridge(rng, 0.7, 0.06, 3), (146, 104, 58))
    pen.rectangle([0, _H * 0.7, _W, _H], fill=(178, 132, 66))
    for x, scale in ((0.22, 1.0), (0.8, 0.55), (0.95, 0.4)):
        ground, h = _H * 0.78, 330 * scale
        pen.line([_W * x, ground, _W * x + 10, ground - h * 0.7], fill=(60, 40, 24), width=int(16 * scale) + 2)
        pen.ellipse([_W * x - h * 0.6, ground - h, _W * x + h * 0.65, ground - h * 0.68], fill=(72, 62, 28))
    for _ in range(260):
        x, y = rng.uniform(0, _W), rng.uniform(_H * 0.76, _H)
        pen.line([x, y, x + rng.uniform(-8, 8), y - 22], fill=(206, 164, 92), width=2)


def _beach(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (70, 150, 206), (214, 238, 240), 0.5)
    pen.rectangle([0, _H * 0.48, _W, _H], fill=(58, 168, 178))
    pen.rectangle([0, _H * 0.48, _W, _H * 0.54], fill=(30, 112, 152))
    _land(pen, _ridge(rng, 0.84, 0.1, 2), (242, 228, 190))
    foot, crown = (_W * 0.2, _H * 0.95), (_W * 0.34, _H * 0.3)
    pen.line([foot, (_W * 0.25, _H * 0.6), crown], fill=(112, 84, 58), width=24, joint="curve")
    for angle in np.linspace(-2.9, 0.4, 8):
        length = rng.uniform(170, 230)
        tip = (crown[0] + length * np.cos(angle), crown[1] + length * np.sin(angle) * 0.6 + 70)
        middle = (crown[0] + length * 0.5 * np.cos(angle), crown[1] + length * 0.5 * np.sin(angle) - 20)
        pen.line([crown, middle, tip], fill=(46, 110, 60), width=18, joint="curve")


def _vineyard(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (120, 168, 212), (244, 238, 220))
    _land(pen, _ridge(rng, 0.55, 0.14, 3), (124, 150, 128))
    pen.polygon([(0, _H * 0.56), (_W, _H * 0.5), (_W, _H), (0, _H)], fill=(150, 124, 82))
    for n in range(-14, 15):
        pen.polygon(
            [(_W * (0.5 + n * 0.035), _H * 0.53), (_W * (0.5 + n * 0.13), _H), (_W * (0.555 + n * 0.13), _H)],
            fill=_shade((92, 124, 52), rng.uniform(0.9, 1.1)),
        )
    _house(pen, _W * 0.66, _H * 0.54, 170, 110, (238, 222, 188), (170, 92, 62))


def _road(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (176, 196, 208), (230, 234, 228))
    for _ in range(70):
        _tree(pen, rng.uniform(0, _W), _H * rng.uniform(0.58, 0.66), rng.uniform(130, 330), (44, 76, 54))
    pen.rectangle([0, _H * 0.64, _W, _H], fill=(108, 124, 74))
    _lane(pen, horizon=0.62, far=0.02, near=0.32, colour=(92, 92, 94))
    for step in range(5):
        y, w = _H * (0.66 + 0.075 * step), 2 + 3 * step
        pen.rectangle([_W / 2 - w, y, _W / 2 + w, y + 12 + 8 * step], fill=(238, 214, 110))


def _interior(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (198, 186, 168), (222, 212, 196))
    pen.polygon([(0, _H), (0, _H * 0.8), (_W, _H * 0.8), (_W, _H)], fill=(138, 100, 66))
    pen.rectangle([_W * 0.1, _H * 0.16, _W * 0.36, _H * 0.56], fill=(246, 244, 236))
    pen.rectangle([_W * 0.115, _H * 0.18, _W * 0.345, _H * 0.54], fill=(196, 216, 228))
    pen.line([_W * 0.23, _H * 0.18, _W * 0.23, _H * 0.54], fill=(246, 244, 236), width=12)
    pen.rectangle([_W * 0.5, _H * 0.56, _W * 0.92, _H * 0.86], fill=(112, 76, 62))
    pen.rectangle([_W * 0.53, _H * 0.66, _W * 0.89, _H * 0.8], fill=(152, 104, 84))
    for _ in range(3):
        x, y = rng.uniform(_W * 0.48, _W * 0.84), rng.uniform(_H * 0.14, _H * 0.34)
        pen.rectangle([x, y, x + 110, y + 84], fill=(90, 70, 50))
        pen.rectangle([x + 12, y + 12, x + 98, y + 72], fill=_shade((150, 160, 150), rng.uniform(0.7, 1.2)))


def _blank_wall(pen: ImageDraw.ImageDraw, image: Image.Image, rng: np.random.Generator) -> None:
    _sky(image, (214, 208, 198), (202, 196, 186))
    y = float(_H * rng.uniform(0.2, 0.6))
    for x in range(0, int(_W * 0.4), 14):
        pen.line([x, y, x + 14, y + rng.normal(0, 6)], fill=(176, 170, 160), width=3)
        y += rng.normal(1.5, 4)


SCENES: dict[str, Scene] = {
    "coast": _coast,
    "hills": _hills,
    "mountains": _mountains,
    "desert": _desert,
    "village": _village,
    "night street": _night_street,
    "skyline": _skyline,
    "harbour": _harbour,
    "snow": _snow,
    "savanna": _savanna,
    "beach": _beach,
    "vineyard": _vineyard,
    "road": _road,
    "interior": _interior,
    "blank wall": _blank_wall,
}
"""Every scene by its name."""
