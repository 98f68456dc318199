"""Which format a file has, by its first bytes. Names and extensions are not asked: archives get them wrong."""

import re
from enum import StrEnum

from schema.reasons import Reason
from worker.errors import JobError
from worker.intake import tiff


class Format(StrEnum):
    """The formats that are decoded. The values are stored with the image."""

    JPEG = "jpeg"
    PNG = "png"
    TIFF = "tiff"
    WEBP = "webp"
    GIF = "gif"
    BMP = "bmp"
    JPEG2000 = "jpeg2000"
    HEIC = "heic"
    AVIF = "avif"
    RAW = "raw"


_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}

_SIGNATURES: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8", Format.JPEG),
    (b"\x89PNG\r\n\x1a\n", Format.PNG),
    (b"GIF87a", Format.GIF),
    (b"GIF89a", Format.GIF),
    (b"BM", Format.BMP),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Format.JPEG2000),
    (b"\xff\x4f\xff\x51", Format.JPEG2000),
    (b"II*\0", Format.TIFF),
    (b"MM\0*", Format.TIFF),
    (b"II+\0", Format.TIFF),
    (b"MM\0+", Format.TIFF),
    (b"FUJIFILMCCD-RAW", Format.RAW),
    (b"IIU\0", Format.RAW),  # Panasonic RW2
    (b"IIRO", Format.RAW),  # Olympus ORF
    (b"IIRS", Format.RAW),
    (b"MMOR", Format.RAW),
)

_KNOWN_BUT_UNSUPPORTED: tuple[tuple[bytes, str], ...] = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"8BPS", "a Photoshop document"),
    (b"FOVb", "a Sigma RAW photograph"),
    (b"\0MRM", "a Minolta RAW photograph"),
    (b"SIMPLE  =", "a FITS image"),
    (b"v/1\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"\x00\x00\x01\x00", "a Windows icon"),
    (b"AT&TFORM", "a DjVu document"),
    (b"II\xbc\x01", "JPEG XR"),
    (b"gimp xcf", "a GIMP document"),
    (b"qoif", "a QOI image"),
)

_NOT_IMAGES: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer: the photograph itself was not downloaded"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "an encapsulated PostScript (EPS) document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\x00\x00\x01\xba", "an MPEG video"),
    (b"\x00\x00\x01\xb3", "an MPEG video"),
    (b"ID3", "an audio file"),
    (b"OggS", "an Ogg audio or video file"),
    (b"fLaC", "an audio file"),
    (b"SQLite format 3", "a database"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)

_TEXT = re.compile(rb"[\t\n\r\x20-\x7e\x80-\xff]+")


def sniff(data: bytes) -> Format:
    """The format of these bytes.

    Raises `JobError`: NOT_AN_IMAGE (text, documents, video, unknown bytes) or UNSUPPORTED (an image format
    that nothing here decodes), with a detail that says what the file is.
    """
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return Format.RAW if name is Format.TIFF and _is_raw(data) else name
    if data[:4] == b"RIFF":
        return _riff(data)
    if data[4:8] == b"ftyp":
        return _iso_bmff(data)
    if data[128:132] == b"DICM":
        raise JobError(Reason.UNSUPPORTED, "the file is a DICOM image")
    for signature, words in _KNOWN_BUT_UNSUPPORTED:
        if data.startswith(signature):
            raise JobError(Reason.UNSUPPORTED, f"the file is {words}")
    for signature, words in _NOT_IMAGES:
        if data.startswith(signature):
            raise JobError(Reason.NOT_AN_IMAGE, f"the file is {words}")
    raise JobError(Reason.NOT_AN_IMAGE, f"the file {_describe(data[:512])}")


def _riff(data: bytes) -> Format:
    kind = data[8:12]
    if kind == b"WEBP":
        return Format.WEBP
    words = {b"AVI ": "an AVI video", b"WAVE": "an audio file"}.get(kind, "a RIFF file without a picture")
    raise JobError(Reason.NOT_AN_IMAGE, f"the file is {words}")


def _iso_bmff(data: bytes) -> Format:
    """HEIC, AVIF, Canon CR3 and video share one container; the brands tell them apart (ISO/IEC 14496-12)."""
    size_bytes = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, size_bytes, 4))]
    if not _AVIF_BRANDS.isdisjoint(brands):
        return Format.AVIF
    if not _HEIC_BRANDS.isdisjoint(brands):
        return Format.HEIC
    if brands[0] == b"crx ":
        return Format.RAW
    if brands[0] == b"jxl ":
        raise JobError(Reason.UNSUPPORTED, "the file is JPEG XL")
    raise JobError(Reason.NOT_AN_IMAGE, "the file is a video or another ISO media file without a still picture")


def _is_raw(data: bytes) -> bool:
    """Camera RAW inside TIFF: Canon's mark, a DNG version, or a first directory that is only a thumbnail."""
    if data[8:10] == b"CR":
        return True
    directory = tiff.first_directory(data)
    if tiff.DNG_VERSION in directory:
        return True
    is_thumbnail = tiff.short_value(data, directory.get(tiff.NEW_SUBFILE_TYPE)) == 1
    return is_thumbnail and tiff.SUB_IFDS in directory


def _describe(head: bytes) -> str:
    lowered = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if lowered.startswith((b"<!doctype html", b"<html")):
        return "is a web page, not a photograph"
    if b"<svg" in lowered:
        return "is an SVG drawing, not a photograph"
    if _TEXT.fullmatch(head) and head.decode("utf-8", "replace").count("\ufffd") <= 1:
        return "is text, not a photograph"
    return f"begins with no known image signature ({head[:8].hex(' ')})"
