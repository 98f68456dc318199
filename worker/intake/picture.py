"""From untrusted bytes to an upright RGB picture, decoded once and at the scale that both models need.

`decode` is the only door. Which codec does the work depends on the format:

    JPEG (also MPO), previews in RAW files   jpeg.py      libjpeg-turbo with DCT scaling
    TIFF, PNG                                streamed.py  libvips, strip by strip
    HEIC                                     here         libheif
    WebP, AVIF, GIF, BMP, JPEG 2000, and
    TIFF in CIELAB or YCbCr                  here         Pillow, with the one format named

The first page or frame counts. Colours are handed on as stored: ICC profiles are applied only where the samples
are not RGB or grey at all (CMYK and Lab in TIFF), since neither CLIP's nor the LVLM's own preprocessing, hence
neither's training, applies them.
"""

import io
import warnings
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageCms

from schema.reasons import Reason
from worker.errors import JobError
from worker.intake.formats import Format, sniff
from worker.intake.jpeg import decode_jpeg, largest_preview
from worker.intake.limits import MIB, Limits, check_file, check_memory, check_size, reduced_size
from worker.intake.memory import MemoryBudget
from worker.intake.streamed import can_stream, decode_streamed, stretch

__all__ = ["Limits", "Picture", "decode"]

# Pillow's own bomb check is one number for the whole process and below the size of archive scans. It is switched
# off once, here; `check_size` judges each header before any pixel is decoded.
Image.MAX_IMAGE_PIXELS = None

# Pillow warns of each oddity of each file. What matters of them ends in a refusal; the rest is noise in a worker.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_BUDGET = MemoryBudget(total_bytes=2048 * MIB, free_bytes=32 * MIB)
"""Shared by all threads of the process: several giants at a time would exhaust it where one is harmless."""

_PILLOW_NAME = {
    Format.WEBP: "WEBP",
    Format.AVIF: "AVIF",
    Format.GIF: "GIF",
    Format.BMP: "BMP",
    Format.JPEG2000: "JPEG2000",
    Format.TIFF: "TIFF",
}

_PILLOW_BYTES_PER_PIXEL = 12
"""Pillow keeps 4 bytes for each pixel, and a second and third picture while it converts and shrinks."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_Decoded = tuple[Image.Image, int, int, int]


@dataclass(frozen=True)
class Picture:
    """A decoded photograph.

    `format` is a value of `formats.Format`. `width_px` and
    `height_px` are the full size as shown, after the EXIF turn; for RAW, of the preview inside. `image` is
    upright RGB at reduced scale: between one and two times `limits.LVLM_PIXELS` where the original has as many
    (up to four times for panoramas, see `limits.reduced_size`), and never enlarged.
    """

    format: str
    width_px: int
    height_px: int
    image: Image.Image


def decode(data: bytes, limits: Limits = Limits()) -> Picture:  # noqa: B008 (frozen)
    """The picture in these bytes. Thread-safe; waits while other threads' giants fill the memory budget.

    Raises `JobError` with EMPTY, NOT_AN_IMAGE, UNSUPPORTED, UNREADABLE or TOO_LARGE, and a detail for people.
    """
    check_file(len(data), limits)
    kind = sniff(data)
    try:
        image, width_px, height_px, orientation = _decode_as(kind, data, limits)
    except (JobError, ImportError):  # a library that cannot be loaded is no fault of the photograph's
        raise
    except MemoryError as error:
        raise JobError(Reason.TOO_LARGE, f"there was no memory left to decode this {kind} file") from error
    except Exception as error:  # codecs raise whatever they like on damaged bytes: this is the border
        raise JobError(Reason.UNREADABLE, _complaint(kind, error)) from error
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
        if orientation >= 5:
            width_px, height_px = height_px, width_px
    return Picture(kind, width_px, height_px, image)


def _decode_as(kind: Format, data: bytes, limits: Limits) -> _Decoded:
    match kind:
        case Format.JPEG:
            return decode_jpeg(data, limits, _BUDGET)
        case Format.RAW:
            return decode_jpeg(largest_preview(data), limits, _BUDGET)
        case Format.TIFF if not can_stream(data):
            return _decode_with_pillow(kind, data, limits)
        case Format.TIFF | Format.PNG:
            return decode_streamed(data, kind, limits, _BUDGET)
        case Format.HEIC:
            return _decode_heic(data, limits)
        case _:
            return _decode_with_pillow(kind, data, limits)


def _decode_heic(data: bytes, limits: Limits) -> _Decoded:
    import pillow_heif

    _check_promised_size(data, limits)
    heif = pillow_heif.open_heif(data)  # reads the header; libheif applies the turn itself
    return *_load(heif.to_pillow, heif.size, len(data), Format.HEIC, limits), 1


def _decode_with_pillow(kind: Format, data: bytes, limits: Limits) -> _Decoded:
    if kind is Format.AVIF:
        _check_promised_size(data, limits)
    with Image.open(io.BytesIO(data), formats=[_PILLOW_NAME[kind]]) as header:
        width_px, height_px = header.size
        # Pillow turns TIFF by itself while it loads, and gives the size as shown.
        orientation = 1 if kind is Format.TIFF else int(header.getexif().get(0x0112) or 1)
        return *_load(lambda: header, (width_px, height_px), len(data), kind, limits), orientation


def _load(
    pixels: Any, size_px: tuple[int, int], size_bytes: int, kind: Format, limits: Limits
) -> tuple[Image.Image, int, int]:
    """Decodes whole, then reduces. `pixels` gives the Pillow image, which may still be lazy."""
    width_px, height_px = size_px
    check_size(width_px, height_px, size_bytes, limits)
    needed_bytes = width_px * height_px * _PILLOW_BYTES_PER_PIXEL
    check_memory(needed_bytes, width_px, height_px, kind, limits)
    with _BUDGET.hold(needed_bytes):
        image = _to_rgb(pixels())
        target_px = reduced_size(width_px, height_px)
        if image.size != target_px:
            image = image.resize(target_px, Image.Resampling.BICUBIC, reducing_gap=2.0)
        return image, width_px, height_px


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow as RGB: alpha over white, deep samples scaled (see `streamed`), never clipped."""
    if image.mode == "RGB":
        image.load()
        return image.copy()
    if image.mode.startswith("I;16"):
        import numpy as np

        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        import numpy as np

        return Image.fromarray(stretch(np.asarray(image))).convert("RGB")
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # only where it converts in place
        return converted
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")


def _check_promised_size(data: bytes, limits: Limits) -> None:
    """What the image spatial extents (`ispe`, ISO/IEC 23008-12) promise, before libheif or libavif see them."""
    head = data[: 64 * 1024]
    at = head.find(b"ispe")
    while at >= 0:
        width_px, height_px = (int.from_bytes(head[at + n : at + n + 4], "big") for n in (8, 12))
        if width_px and height_px:
            check_size(width_px, height_px, len(data), limits)
        at = head.find(b"ispe", at + 4)


def _complaint(kind: Format, error: Exception) -> str:
    """What a codec said, in one line of bounded length."""
    said = " ".join(str(error).split())
    if "cannot identify image file" in said or not said:
        said = "its header cannot be read"
    elif "truncated" in said.lower():
        said = "it ends before the picture is complete"
    return f"the {kind} file is damaged: {said[:200]}"
