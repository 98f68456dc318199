"""The demo's photographs: a small archive with the oddities that real ones have, drawn, so free of any licence.

Some carry a camera position in their EXIF data, in all four hemispheres and next to the antimeridian; the others
have none. Among them are a CMYK print, a turned camera, a 16-bit scan, a picture with transparency, a duplicate
and three files that cannot be read. What is drawn has nothing to do with where it claims to be.
"""

import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

from atlas.exif import camera_exif
from atlas.scenery import draw

_FIRST_TAKEN = datetime(2019, 4, 6, 9, 12, 30)


@dataclass(frozen=True, slots=True)
class _Shot:
    """One picture and how it is stored: `treatment` is one of the words in `_encode`."""

    name: str
    scene: str
    position: tuple[float, float] | None = None
    treatment: str = "plain"
    caption: str = ""


_SHOTS = (
    _Shot("harbour-reykjavik.jpg", "harbour", (64.1518, -21.9405), caption="The old harbour"),
    _Shot("night-tokyo.jpg", "night street", (35.6938, 139.7034)),
    _Shot("coast-cape-town.jpg", "coast", (-33.9068, 18.4201)),
    _Shot("beach-sydney.webp", "beach", (-33.8915, 151.2767)),
    _Shot("skyline-buenos-aires.jpg", "skyline", (-34.6037, -58.3816)),
    _Shot("skyline-new-york.tif", "skyline", (40.7061, -73.9969)),
    _Shot("savanna-nairobi.jpg", "savanna", (-1.3733, 36.8589)),
    _Shot("beach-suva.jpg", "beach", (-18.1416, 178.4419)),
    _Shot("hills.jpg", "hills"),
    _Shot("mountains.png", "mountains"),
    _Shot("desert.webp", "desert"),
    _Shot("village.jpg", "village", caption="Main street, before the fair"),
    _Shot("vineyard.tif", "vineyard"),
    _Shot("interior.jpg", "interior"),
    _Shot("blank-wall.jpg", "blank wall"),
    _Shot("night-2.jpg", "night street"),
    _Shot("harbour-cmyk.jpg", "harbour", treatment="cmyk"),
    _Shot("road-turned.jpg", "road", treatment="turned"),
    _Shot("snow-16bit.png", "snow", treatment="grey16"),
    _Shot("coast-cutout.png", "coast", treatment="alpha"),
)
_ORIGINAL, _DUPLICATE = "hills.jpg", "hills (copy).jpg"


def write_photographs(folder: Path, seed: int = 0) -> list[Path]:
    """Writes 24 files into `folder`, made if missing, and returns their paths by name.

    The same seed gives the same bytes (with the same Pillow). A file that holds them already is left alone, so
    that its time does not change and nothing takes it for new.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        shot.name: _encode(shot, number, np.random.default_rng([seed, number]))
        for number, shot in enumerate(_SHOTS)
    }
    contents[_DUPLICATE] = contents[_ORIGINAL]
    contents["broken-empty.jpg"] = b""
    contents["broken-truncated.jpg"] = contents["village.jpg"][: len(contents["village.jpg"]) // 3]
    contents["broken-text.jpg"] = b"Dear archive,\nthe photographs are in the other envelope.\n"
    paths = []
    for name, data in sorted(contents.items()):
        path = folder / name
        if not path.exists() or path.read_bytes() != data:
            path.write_bytes(data)
        paths.append(path)
    return paths


def _encode(shot: _Shot, number: int, rng: np.random.Generator) -> bytes:
    image = draw(shot.scene, rng)
    taken = _FIRST_TAKEN + timedelta(days=37 * number, minutes=53 * number)
    orientation = 1
    match shot.treatment:
        case "cmyk":
            image = image.convert("CMYK")
        case "turned":  # the camera was held upright: stored lying, to be shown turned clockwise (EXIF 6)
            image, orientation = image.transpose(Image.Transpose.ROTATE_90), 6
        case "grey16":
            image = _deep_grey(image, rng)
        case "alpha":
            image.putalpha(_oval(image.size))
    buffer = io.BytesIO()
    kind = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF"}[Path(shot.name).suffix]
    quality = {"quality": 86} if kind in ("JPEG", "WEBP") else {}
    # Of TIFF, Pillow writes the EXIF and GPS directories only when it stays uncompressed and gets them as bytes.
    exif = camera_exif(taken, position=shot.position, orientation=orientation, caption=shot.caption)
    image.save(buffer, kind, exif=exif.tobytes(), **quality)
    return buffer.getvalue()


def _deep_grey(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """16 bits a sample with something in the lower eight, as a scanner gives."""
    grey = np.asarray(image.convert("L"), dtype=np.uint16)
    return Image.fromarray(grey * 257 ^ rng.integers(0, 128, grey.shape, dtype=np.uint16))


def _oval(size_px: tuple[int, int]) -> Image.Image:
    width, height = size_px
    x = np.linspace(-1, 1, width)[None, :]
    y = np.linspace(-1, 1, height)[:, None]
    edge = np.clip((1 - (x**2 + y**2)) * 6, 0, 1)
    return Image.fromarray((edge * 255).astype(np.uint8))
