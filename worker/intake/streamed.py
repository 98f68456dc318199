"""TIFF and PNG through libvips, which decodes and shrinks them strip by strip.

Archive scans come in these two: half a gigapixel is 1.5 to 3 GB once decoded, and Pillow holds all of it.
libvips holds some rows. It is given the bytes as a `Source`, which reads them where they lie; pyvips copies what
is passed as a plain buffer, a second gigabyte for such a scan.
"""

import functools
import logging
from typing import Any

from PIL import Image

from schema.reasons import Reason
from worker.errors import JobError
from worker.intake import tiff
from worker.intake.limits import Limits, check_memory, check_size, reduced_size
from worker.intake.memory import MemoryBudget

_UNCOMPRESSED, _JPEG_COMPRESSIONS = 1, (6, 7)
_YCBCR, _CIELAB = 6, 8
_ROWS = 512
"""More than libvips keeps at a time: rows of the largest usual tiles, twice."""
_FORMAT_BYTES = {"uchar": 1, "char": 1, "ushort": 2, "short": 2, "uint": 4, "int": 4, "float": 4, "double": 8}


def decode_streamed(
    data: bytes, kind: str, limits: Limits, budget: MemoryBudget
) -> tuple[Image.Image, int, int, int]:
    """The picture, its full width and height, and its orientation (not yet applied). `kind`: tiff or png.

    The first page of several. Sixteen-bit samples are scaled by their nominal range, so that nothing is
    clipped; floats and 32-bit integers have none and are stretched between the darkest and the brightest.

    Raises `JobError` (TOO_LARGE, UNREADABLE). What libvips said is its cause, and not part of the detail: its
    buffer of complaints is one for the whole process, so that photographs in other threads write to it too.
    """
    vips = _vips()
    load = vips.Image.tiffload_source if kind == "tiff" else vips.Image.pngload_source
    try:
        # `unlimited` lifts libtiff's 50 MiB allowance, which real single-strip scans exceed; `check_size` judges.
        source = load(vips.Source.new_from_memory(data), access="sequential", fail_on="error", unlimited=True)
    except (vips.Error, UnicodeDecodeError) as error:  # the latter: a complaint that quotes damaged bytes
        raise JobError(Reason.UNREADABLE, f"the {kind} file is damaged: its header cannot be read") from error
    width_px, height_px = source.width, source.height
    check_size(width_px, height_px, len(data), limits)
    orientation = source.get("orientation") if source.get_typeof("orientation") else 1
    needed_bytes = _working_bytes(data, kind, source)
    check_memory(needed_bytes, width_px, height_px, f"{kind.upper()} in one piece", limits)
    with budget.hold(needed_bytes):
        try:
            small = _shrink(source, reduced_size(width_px, height_px))
            return _to_pillow(small), width_px, height_px, orientation
        except (vips.Error, UnicodeDecodeError) as error:
            raise JobError(
                Reason.UNREADABLE,
                f"the {kind} file promises {width_px} x {height_px} pixels, but its picture data is damaged or "
                f"ends too early",
            ) from error


def can_stream(data: bytes) -> bool:
    """Whether libvips reads the colours of this TIFF: not CIELAB of 8 bits, nor YCbCr outside of JPEG."""
    directory = tiff.first_directory(data)
    colours, compression = (
        tiff.short_value(data, directory.get(tag)) for tag in (tiff.PHOTOMETRIC, tiff.COMPRESSION)
    )
    return colours != _CIELAB and (colours != _YCBCR or compression in _JPEG_COMPRESSIONS)


@functools.cache
def _vips() -> Any:
    """libvips, set up once for a process of many worker threads that reads untrusted files."""
    import pyvips

    logging.getLogger("pyvips").setLevel(logging.ERROR)  # it passes on each oddity of each file as a warning
    pyvips.block_untrusted_set(True)  # keeps loaders away that libvips itself calls unfit for such files
    pyvips.cache_set_max(0)  # its cache of results would hold on to whole files
    pyvips.concurrency_set(1)  # one photograph, one core: the worker's own threads fill the others
    return pyvips


def _working_bytes(data: bytes, kind: str, source: Any) -> int:
    """Some rows, unless the file's own layout asks for more: an interlaced PNG, one compressed giant strip."""
    row_bytes: int = source.width * source.bands * _FORMAT_BYTES.get(source.format, 8)
    rows_bytes = _ROWS * row_bytes
    if kind == "png":
        interlaced = data[28:29] == b"\x01"
        return row_bytes * int(source.height) if interlaced else rows_bytes
    directory = tiff.first_directory(data)
    strip = directory.get(tiff.STRIP_BYTE_COUNTS)
    if strip is None or strip.size_bytes > 4:
        return rows_bytes
    if tiff.short_value(data, directory.get(tiff.COMPRESSION)) == _UNCOMPRESSED:
        return rows_bytes
    return rows_bytes + min(len(data), tiff.short_value(data, strip) or 0)


def _shrink(image: Any, target_px: tuple[int, int]) -> Any:
    """Alpha over white, at most three colour bands, then averaged down to `target_px` (width, height)."""
    if image.bands > 4:  # multispectral: the first three are as near to colour as it gets
        image = image.extract_band(0, n=3)
    elif image.hasalpha() and image.format in ("uchar", "ushort"):
        image = image.flatten(background=[255 if image.format == "uchar" else 65535])
    if (image.width, image.height) == target_px:
        return image
    return image.resize(target_px[0] / image.width, vscale=target_px[1] / image.height)


def _to_pillow(image: Any) -> Image.Image:
    import numpy as np

    if image.interpretation == "cmyk":
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk")
    elif image.interpretation in ("lab", "labs", "labq", "xyz", "hsv", "lch"):
        image = image.colourspace("srgb")
    array = image.numpy()
    if array.ndim == 3 and array.shape[2] in (2, 4):  # an alpha band of a depth that was not flattened
        array = array[:, :, : array.shape[2] - 1]
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    elif array.dtype != np.uint8:
        array = stretch(array)
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")


def stretch(array: Any) -> Any:
    """Samples without a nominal range, spread from their darkest (0) to their brightest (255) as uint8."""
    import numpy as np

    values = np.nan_to_num(array.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    span = high - low
    return ((values - low) * (255.0 / span if span > 0 else 0.0)).astype(np.uint8)
