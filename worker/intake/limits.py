"""How large a photograph may be, and how large its decoded picture has to be."""

import math
from dataclasses import dataclass

from schema.reasons import Reason
from worker.errors import JobError

LVLM_PIXELS = 1280 * 28 * 28
"""What the LVLM looks at: Qwen2.5-VL's usual `max_pixels`, 1,280 visual tokens of 28 x 28 pixels."""

GATE_SIDE_PX = 336
"""What the gate looks at: the largest input of the usual CLIP models (224 and 336); its transform scales
the shorter side to this and crops."""

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What is taken. The defaults take a 500-megapixel archive scan and refuse decompression bombs.

    `bytes` is the size of the file, `pixels` the size of its first picture. A picture of more than
    `ratio_from_pixels` must not promise more than `pixels_per_byte`: deflate, the densest of the lossless
    codecs, reaches about 1,030 bytes for one, so that a blank 8-bit scan still passes. `memory_bytes` is the
    working memory that decoding may need beside the file and the finished picture.
    """

    bytes: int = 2048 * MIB
    pixels: int = 1_000_000_000
    pixels_per_byte: int = 1500
    ratio_from_pixels: int = 50_000_000
    memory_bytes: int = 2048 * MIB


def check_file(size_bytes: int, limits: Limits) -> None:
    """Raises `JobError`: EMPTY for no bytes at all, TOO_LARGE for more than the limit."""
    if size_bytes == 0:
        raise JobError(Reason.EMPTY, "the file has 0 bytes")
    if size_bytes > limits.bytes:
        raise JobError(Reason.TOO_LARGE, f"the file has {size_bytes:,} bytes, the limit is {limits.bytes:,} bytes")


def check_size(width_px: int, height_px: int, size_bytes: int, limits: Limits) -> None:
    """Judges what a header promises, before memory is spent on it.

    Raises `JobError`: UNREADABLE for a picture without area, TOO_LARGE beyond the limits.
    """
    pixels = width_px * height_px
    if width_px < 1 or height_px < 1:
        raise JobError(Reason.UNREADABLE, f"the header promises {width_px} x {height_px} pixels")
    if pixels > limits.pixels:
        raise JobError(
            Reason.TOO_LARGE,
            f"the header promises {width_px} x {height_px} pixels ({pixels / 1e6:,.0f} megapixels), "
            f"the limit is {limits.pixels / 1e6:,.0f} megapixels",
        )
    if pixels > limits.ratio_from_pixels and pixels > size_bytes * limits.pixels_per_byte:
        raise JobError(
            Reason.TOO_LARGE,
            f"the header promises {width_px} x {height_px} pixels in {size_bytes:,} bytes, "
            f"more than {limits.pixels_per_byte:,} pixels for each byte: a decompression bomb",
        )


def check_memory(needed_bytes: int, width_px: int, height_px: int, how: str, limits: Limits) -> None:
    """Raises `JobError` (TOO_LARGE) where the codec cannot work within `limits.memory_bytes`."""
    if needed_bytes > limits.memory_bytes:
        raise JobError(
            Reason.TOO_LARGE,
            f"{width_px} x {height_px} pixels as {how} need about {needed_bytes / MIB:,.0f} MiB to decode, "
            f"the limit is {limits.memory_bytes / MIB:,.0f} MiB",
        )


def reduced_size(width_px: int, height_px: int) -> tuple[int, int]:
    """The smallest size (width, height) that serves both models; never larger than the picture itself.

    About `LVLM_PIXELS` in area. A panorama may take up to four times that, so that its shorter side still
    fills the gate's input.
    """
    pixels = width_px * height_px
    scale = min(
        1.0,
        max(
            math.sqrt(LVLM_PIXELS / pixels),
            min(GATE_SIDE_PX / min(width_px, height_px), math.sqrt(4 * LVLM_PIXELS / pixels)),
        ),
    )
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))
