"""EXIF as a camera writes it, for what Atlas draws. Tags and types follow Exif 2.32 (CIPA DC-008)."""

from datetime import datetime

from PIL import Image
from PIL.TiffImagePlugin import IFDRational

_ORIENTATION, _EXIF_IFD, _GPS_IFD = 0x0112, 0x8769, 0x8825
_DATE_TIME_ORIGINAL, _MAKE, _DESCRIPTION, _ARTIST = 0x9003, 0x010F, 0x010E, 0x013B


def camera_exif(
    taken: datetime,
    *,
    position: tuple[float, float] | None = None,
    orientation: int = 1,
    caption: str = "",
    artist: str = "",
) -> Image.Exif:
    """What a camera of the make "Globetag atlas" notes down; empty texts are left out.

    `position` is (lat, lon) in degrees. It is stored unsigned, the hemisphere stands in its own tag.
    """
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    exif[_MAKE] = "Globetag atlas"
    if caption:
        exif[_DESCRIPTION] = caption
    if artist:
        exif[_ARTIST] = artist
    exif.get_ifd(_EXIF_IFD)[_DATE_TIME_ORIGINAL] = f"{taken:%Y:%m:%d %H:%M:%S}"
    if position is not None:
        lat, lon = position
        exif.get_ifd(_GPS_IFD).update(
            {
                0: b"\2\3\0\0",
                1: "S" if lat < 0 else "N",
                2: _degrees_minutes_seconds(lat),
                3: "W" if lon < 0 else "E",
                4: _degrees_minutes_seconds(lon),
                18: "WGS-84",
            }
        )
    return exif


def _degrees_minutes_seconds(angle: float) -> tuple[IFDRational, IFDRational, IFDRational]:
    """Three rationals, seconds to a ten-thousandth: about 3 mm."""
    ten_thousandths = round(abs(angle) * 3600 * 10_000)
    minutes, seconds = divmod(ten_thousandths, 60 * 10_000)
    degrees, minutes = divmod(minutes, 60)
    return IFDRational(degrees, 1), IFDRational(minutes, 1), IFDRational(seconds, 10_000)
