"""JPEG, decoded at a reduced scale by the codec itself (DCT scaling).

libjpeg-turbo can leave out the high frequencies of each block and so decode to m/8 of the size, m = 1..8,
for a fraction of the work. Pillow's `draft` offers 1, 2, 4, 8 eighths; `simplejpeg` offers all of them and
is the faster of the two. The picture is not resampled a second time where it is less than twice as large
(in area) as needed: the models' own preprocessing does that step in any case. Within that, a scale that the codec
has vector instructions for is taken: 8/8 costs half of 6/8, which makes fewer pixels.

Truncated files. A JPEG without its end marker, or whose decoder complained, is accepted if nearly all of it is
there: libjpeg leaves missing blocks at exactly mid-grey, so the share of such pixels is the share that is
missing. Above `_MISSING_SHARE_ACCEPTED` it is UNREADABLE. A progressive file cut short is always UNREADABLE,
since its missing scans show as a blur that cannot be told from a blurred photograph.
"""

import io
import re

from PIL import Image, JpegImagePlugin

from schema.reasons import Reason
from worker.errors import JobError
from worker.intake.limits import Limits, check_memory, check_size, reduced_size
from worker.intake.memory import MemoryBudget

_START, _END, _SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_MISSING_SHARE_ACCEPTED = 0.05
_GREY = 128

_EIGHTHS_WITH_SIMD = (2, 4, 8)
"""Of 2, 4 and 8 pixels a side are the inverse DCTs that libjpeg-turbo's simd/jsimd.h declares."""

_SCANS_ACCEPTED = 200
"""Each scan of a progressive file walks the whole picture again; real files have about ten."""

_PREVIEWS_TRIED = 64
_PREVIEW_SIDE_PX = 320


def decode_jpeg(data: bytes, limits: Limits, budget: MemoryBudget) -> tuple[Image.Image, int, int, int]:
    """The picture, its full width and height, and its EXIF orientation (not yet applied).

    Raises `JobError`: UNREADABLE, TOO_LARGE. What the decoders raise besides is the caller's to translate.
    """
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as header:
        width_px, height_px = header.size
        check_size(width_px, height_px, len(data), limits)
        orientation = int(header.getexif().get(0x0112) or 1)
        target_px = reduced_size(width_px, height_px)
        progressive = bool(header.info.get("progressive"))
        if progressive:
            _check_scans(data)
        with budget.hold(_working_bytes(header, progressive, limits)):
            if header.mode in ("L", "RGB"):
                image = _through_turbo(data, header, target_px, progressive)
            else:
                image = _through_pillow(header, target_px)
    if image.width * image.height > 2 * target_px[0] * target_px[1]:
        image = image.resize(target_px, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return image, width_px, height_px, orientation


def scaled_size(size_px: tuple[int, int], target_px: tuple[int, int]) -> tuple[int, int]:
    """The size to decode to at least: `target_px`, or where the codec is quicker at some more, that."""
    for eighths in _EIGHTHS_WITH_SIMD:
        width_px, height_px = (-(-side_px * eighths // 8) for side_px in size_px)
        if width_px >= target_px[0] and height_px >= target_px[1]:
            return (width_px, height_px) if width_px * height_px <= 2 * target_px[0] * target_px[1] else target_px
    return target_px


def largest_preview(data: bytes) -> bytes:
    """The largest JPEG inside a RAW file: what the camera itself made of the shot.

    Raises `JobError` (UNSUPPORTED) where there is none of useful size.
    """
    import simplejpeg

    best, best_pixels = b"", 0
    for found, match in enumerate(re.finditer(rb"\xff\xd8\xff[\xdb\xe0\xe1\xc4\xfe]", data)):
        if found == _PREVIEWS_TRIED:
            break
        candidate = data[match.start() :]
        try:
            height_px, width_px, _, _ = simplejpeg.decode_jpeg_header(candidate, strict=False)
        except ValueError:  # the sensor's own data is lossless JPEG, which is not a preview
            continue
        if width_px * height_px > best_pixels and max(width_px, height_px) >= _PREVIEW_SIDE_PX:
            best, best_pixels = candidate, width_px * height_px
    if not best:
        raise JobError(Reason.UNSUPPORTED, "the file is a camera RAW without a preview that can be shown")
    return best


def _working_bytes(header: Image.Image, progressive: bool, limits: Limits) -> int:
    """A progressive picture is kept whole, as 16-bit coefficients; a baseline one passes row by row."""
    if not progressive:
        return 0
    subsampled = {1: 2.0, 2: 1.5}.get(JpegImagePlugin.get_sampling(header), 3.0)
    values_per_pixel = {"L": 1.0, "RGB": subsampled}.get(header.mode, 4.0)
    needed_bytes = int(header.width * header.height * values_per_pixel * 2)
    check_memory(needed_bytes, header.width, header.height, "progressive JPEG", limits)
    return needed_bytes


def _check_scans(data: bytes) -> None:
    scans = data.count(_SCAN)
    if scans > _SCANS_ACCEPTED:
        raise JobError(
            Reason.UNREADABLE, f"the file draws its picture {scans:,} times over (progressive JPEG scans)"
        )


def _through_turbo(data: bytes, header: Image.Image, target_px: tuple[int, int], progressive: bool) -> Image.Image:
    import numpy as np
    import simplejpeg

    cut_short = data.rfind(_END) < data.rfind(_SCAN)
    if progressive and cut_short:
        raise JobError(Reason.UNREADABLE, "the file ends before the last scan of its progressive picture")
    at_least_px = scaled_size(header.size, target_px)
    size = {"min_width": at_least_px[0], "min_height": at_least_px[1], "min_factor": 1}
    intact = not cut_short
    try:
        image = Image.fromarray(simplejpeg.decode_jpeg(data, **size))
    except ValueError:
        intact = False
        try:
            image = Image.fromarray(simplejpeg.decode_jpeg(data, **size, strict=False))
        except ValueError:  # it refuses some harmless oddities, junk between segments for one, also when lenient
            image = _through_pillow(header, target_px)
    if not intact:
        missing_share = float(np.mean(np.all(np.asarray(image) == _GREY, axis=2)))
        if missing_share > _MISSING_SHARE_ACCEPTED:
            what = "the file ends" if cut_short else "the picture data breaks off"
            raise JobError(Reason.UNREADABLE, f"{what} after {100 * (1 - missing_share):.0f} % of the picture")
    return image


def _through_pillow(header: Image.Image, target_px: tuple[int, int]) -> Image.Image:
    """Scaled by powers of two only. CMYK and YCCK too, Adobe's inverted kind included, which Pillow puts right."""
    header.draft(None, target_px)
    return header.convert("RGB")
