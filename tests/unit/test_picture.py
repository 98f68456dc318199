"""Decoding: every format and mode comes out upright and right in colour; damage and bombs are refused in words."""

import io
import struct
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from schema.reasons import Reason
from worker.errors import JobError
from worker.intake import limits
from worker.intake.memory import MemoryBudget
from worker.intake.picture import Limits, decode

RED, GREEN, BLUE, GREY = (250, 10, 10), (10, 250, 10), (10, 10, 250), (200, 200, 200)
# Which stored image an EXIF orientation turns into the upright one: the inverse of the turn it asks for.
STORED_AS = {
    1: lambda image: image,
    2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda image: image.transpose(Image.Transpose.ROTATE_180),
    4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
}


def quarters(width: int = 96, height: int = 64) -> Image.Image:
    """Red, green; blue, grey: tells every turn and mirroring apart."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(GREY, (width // 2, height // 2, width, height))
    return image


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def encoded(image: Image.Image, fmt: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, fmt, **options)
    return out.getvalue()


def assert_quarters(image: Image.Image, tolerance: int = 24) -> None:
    assert image.mode == "RGB"
    width, height = image.size
    spots = [(1, 1), (3, 1), (1, 3), (3, 3)]
    seen = [image.getpixel((width * x // 4, height * y // 4)) for x, y in spots]
    for colour, wanted in zip(seen, (RED, GREEN, BLUE, GREY), strict=True):
        assert max(abs(a - b) for a, b in zip(colour, wanted, strict=True)) <= tolerance, seen


def refusal(data: bytes, **options: object) -> JobError:
    with pytest.raises(JobError) as caught:
        decode(data, **options)
    assert 10 < len(caught.value.detail) < 400
    return caught.value


def with_orientation(image: Image.Image, fmt: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"quality": 95} if fmt in ("JPEG", "WEBP", "AVIF") else {}
    return encoded(image, fmt, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_each_of_the_eight_orientations_is_turned_upright(fmt: str, orientation: int) -> None:
    picture = decode(with_orientation(STORED_AS[orientation](quarters()), fmt, orientation))
    assert (picture.width_px, picture.height_px) == picture.image.size == (96, 64)
    assert_quarters(picture.image)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    assert_quarters(decode(with_orientation(quarters(), "JPEG", orientation)).image)


@pytest.mark.parametrize(
    ("fmt", "name", "options"),
    [
        ("JPEG", "jpeg", {"quality": 95}),
        ("JPEG", "jpeg", {"quality": 95, "progressive": True}),
        ("MPO", "jpeg", {"save_all": True, "append_images": [Image.new("RGB", (96, 64))]}),
        ("PNG", "png", {}),
        ("TIFF", "tiff", {}),
        ("TIFF", "tiff", {"compression": "tiff_lzw"}),
        ("TIFF", "tiff", {"compression": "jpeg"}),
        ("TIFF", "tiff", {"save_all": True, "append_images": [Image.new("RGB", (40, 90))]}),
        ("TIFF", "tiff", {"big_tiff": True}),
        ("WEBP", "webp", {"quality": 95}),
        ("GIF", "gif", {"save_all": True, "append_images": [Image.new("RGB", (96, 64))]}),
        ("BMP", "bmp", {}),
        ("JPEG2000", "jpeg2000", {}),
        ("AVIF", "avif", {"quality": 95}),
    ],
)
def test_every_format_shows_its_first_page(fmt: str, name: str, options: dict[str, object]) -> None:
    picture = decode(encoded(quarters(), fmt, **options))
    assert (picture.format, picture.width_px, picture.height_px) == (name, 96, 64)
    assert_quarters(picture.image, tolerance=40)


def test_heic_is_decoded() -> None:
    import pillow_heif

    out = io.BytesIO()
    pillow_heif.from_pillow(quarters()).save(out, quality=95)
    picture = decode(out.getvalue())
    assert picture.format == "heic"
    assert_quarters(picture.image)


def palette_with_transparency() -> bytes:
    image = quarters().quantize(8)
    return encoded(image, "GIF", transparency=image.getpixel((72, 48)))


@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_laid_over_white(fmt: str) -> None:
    image = quarters().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 255))
    image.paste((0, 0, 0, 0), (0, 0, 48, 32))
    shown = decode(encoded(image, fmt, **({"lossless": True} if fmt == "WEBP" else {}))).image
    assert min(shown.getpixel((10, 10))) > 240
    assert shown.getpixel((70, 10))[1] > 240


def test_a_transparent_palette_colour_is_white() -> None:
    assert min(decode(palette_with_transparency()).image.getpixel((72, 48))) > 240


@pytest.mark.parametrize("fmt", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(fmt: str) -> None:
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (16, 1))
    row = np.asarray(decode(encoded(Image.fromarray(ramp), fmt)).image)[8, :, 0].astype(int)
    assert abs(row - np.linspace(0, 255, 64)).max() <= 2


def test_sixteen_bit_rgb_is_scaled() -> None:
    rgb16 = (np.asarray(quarters()).astype(">u2") * 257).tobytes()
    assert_quarters(decode(png(96, 64, 16, 2, rgb16, row_bytes=96 * 6)).image)


def test_floats_without_a_nominal_range_are_stretched() -> None:
    ramp = np.tile(np.linspace(-3.5, 8.5, 64).astype(np.float32), (16, 1))
    row = np.asarray(decode(encoded(Image.fromarray(ramp), "TIFF")).image)[8, :, 0]
    assert row[0] == 0
    assert row[-1] == 255


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB"])
def test_other_colour_models_in_tiff(mode: str) -> None:
    source = quarters()
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(source, srgb, lab, outputMode="LAB")
    else:
        image = source.quantize(8) if mode == "P" else source.convert(mode)
    shown = decode(encoded(image, "TIFF")).image
    assert (shown.mode, shown.size) == ("RGB", (96, 64))
    if mode in ("P", "YCbCr", "LAB"):
        assert_quarters(shown, tolerance=60)
    elif mode == "CMYK":
        assert shown.getpixel((20, 10))[0] > 150 > shown.getpixel((20, 10))[2]


def test_adobe_inverted_cmyk_jpeg_is_not_a_negative() -> None:
    assert_quarters(decode(encoded(quarters().convert("CMYK"), "JPEG", quality=95)).image, tolerance=40)


@pytest.mark.parametrize(("fmt", "options"), [("JPEG", {"quality": 80}), ("PNG", {"compress_level": 1})])
def test_a_large_picture_is_reduced_and_tells_its_full_size(fmt: str, options: dict[str, object]) -> None:
    picture = decode(encoded(quarters(4000, 3000), fmt, **options))
    pixels = picture.image.width * picture.image.height
    assert (picture.width_px, picture.height_px) == (4000, 3000)
    assert 0.99 * limits.LVLM_PIXELS <= pixels <= 2 * limits.LVLM_PIXELS
    assert_quarters(picture.image)


def test_a_small_picture_is_not_enlarged() -> None:
    assert decode(encoded(quarters(), "JPEG")).image.size == (96, 64)


@given(st.integers(1, 60_000), st.integers(1, 60_000))
def test_reduced_sizes_serve_both_models(width: int, height: int) -> None:
    reduced = limits.reduced_size(width, height)
    assert reduced[0] <= width
    assert reduced[1] <= height
    area = reduced[0] * reduced[1]
    assert area >= min(width * height, limits.LVLM_PIXELS) * 0.99 - max(reduced)
    assert area <= 4 * limits.LVLM_PIXELS * 1.01 + max(reduced)
    if min(width, height) >= limits.GATE_SIDE_PX and max(width, height) / min(width, height) <= 30:
        assert min(reduced) >= limits.GATE_SIDE_PX - 1


@pytest.mark.parametrize(
    ("data", "reason", "words"),
    [
        (b"", Reason.EMPTY, "0 bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", Reason.NOT_AN_IMAGE, "LFS pointer"),
        (b"Dear archive, here is the list of photographs.", Reason.NOT_AN_IMAGE, "text"),
        (b"\xef\xbb\xbf<!DOCTYPE html><html></html>", Reason.NOT_AN_IMAGE, "web page"),
        (b'<?xml version="1.0"?><svg xmlns="x"/>', Reason.NOT_AN_IMAGE, "SVG"),
        (b"%PDF-1.7\n", Reason.NOT_AN_IMAGE, "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", Reason.NOT_AN_IMAGE, "PostScript"),
        (b"\xc5\xd0\xd3\xc6" + bytes(40), Reason.NOT_AN_IMAGE, "PostScript"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", Reason.NOT_AN_IMAGE, "video"),
        (b"RIFF\0\0\0\0AVI LIST", Reason.NOT_AN_IMAGE, "AVI"),
        (b"\x01\x02\x03\x04\x05\x06", Reason.NOT_AN_IMAGE, "signature"),
        (b"\xff\x0a" + bytes(40), Reason.UNSUPPORTED, "JPEG XL"),
        (b"8BPS\0\x01" + bytes(40), Reason.UNSUPPORTED, "Photoshop"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(400), Reason.UNSUPPORTED, "RAW"),
        (b"\xff\xd8\xff\xe0" + bytes(40), Reason.UNREADABLE, "header"),
        (b"II*\0\x08\0\0\0\x01\0", Reason.UNREADABLE, "header"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, reason: Reason, words: str) -> None:
    error = refusal(data)
    assert error.reason is reason
    assert words in error.detail


def test_a_jpeg_cut_in_the_middle_says_how_much_is_there() -> None:
    data = encoded(noise(800, 600), "JPEG", quality=90)
    error = refusal(data[: len(data) * 31 // 100])
    assert error.reason is Reason.UNREADABLE
    assert error.detail in {f"the file ends after {n} % of the picture" for n in range(26, 36)}


def test_a_jpeg_that_lacks_only_its_last_rows_is_accepted() -> None:
    data = encoded(noise(800, 600), "JPEG", quality=90)
    assert decode(data[: len(data) * 98 // 100]).image.size == (800, 600)


def test_a_progressive_jpeg_cut_short_is_refused() -> None:
    data = encoded(noise(800, 600), "JPEG", quality=90, progressive=True)
    assert refusal(data[: len(data) * 9 // 10]).reason is Reason.UNREADABLE


@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "BMP", "WEBP", "GIF", "AVIF"])
def test_other_files_cut_in_the_middle_are_unreadable(fmt: str) -> None:
    data = encoded(noise(300, 200), fmt)
    assert refusal(data[: len(data) // 2]).reason is Reason.UNREADABLE


def test_a_jpeg_that_is_drawn_thousands_of_times_is_refused() -> None:
    data = encoded(quarters(), "JPEG", progressive=True)
    scan = data.rfind(b"\xff\xda")
    error = refusal(data[:-2] + data[scan:-2] * 5000 + b"\xff\xd9")
    assert error.reason is Reason.UNREADABLE
    assert "5," in error.detail


def test_a_raw_file_shows_its_largest_preview() -> None:
    small, large = (encoded(quarters(*size), "JPEG", quality=95) for size in ((160, 120), (640, 480)))
    picture = decode(b"FUJIFILMCCD-RAW 0201" + bytes(100) + small + bytes(50) + large + bytes(1000))
    assert (picture.format, picture.width_px, picture.height_px) == ("raw", 640, 480)
    assert_quarters(picture.image)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, row_bytes: int = 0) -> bytes:
    body = b"".join(b"\0" + rows[n : n + row_bytes] for n in range(0, len(rows), row_bytes or 1))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_headers_that_promise_too_much_are_refused_before_decoding() -> None:
    by_limit = refusal(png(60_000, 60_000, 8, 2, b""))
    assert by_limit.reason is Reason.TOO_LARGE
    assert "60000 x 60000 pixels" in by_limit.detail
    by_ratio = refusal(png(17_000, 17_000, 8, 2, b""))
    assert by_ratio.reason is Reason.TOO_LARGE
    assert "bomb" in by_ratio.detail


def test_limits_are_obeyed() -> None:
    data = encoded(quarters(), "PNG")
    assert "96 x 64" in refusal(data, limits=Limits(pixels=96 * 64 - 1)).detail
    assert refusal(data, limits=Limits(bytes=len(data) - 1)).reason is Reason.TOO_LARGE
    assert decode(data, Limits(bytes=len(data), pixels=96 * 64)).width_px == 96


def test_formats_that_decode_whole_obey_the_memory_limit() -> None:
    data = encoded(quarters(640, 480), "BMP")
    assert "MiB to decode" in refusal(data, limits=Limits(memory_bytes=1 << 20)).detail


def test_threads_decode_alike() -> None:
    files = [encoded(noise(700, 500, seed), fmt) for seed in range(3) for fmt in ("JPEG", "PNG", "TIFF")]
    alone = [decode(data).image.tobytes() for data in files]
    together: list[list[bytes]] = []
    threads = [
        threading.Thread(target=lambda: together.append([decode(data).image.tobytes() for data in files]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == [alone] * 6


def test_the_memory_budget_lets_in_what_fits_and_serves_in_order() -> None:
    budget = MemoryBudget(total_bytes=100, free_bytes=5)
    inside = threading.Event()
    order: list[str] = []

    def giant() -> None:
        with budget.hold(1000):
            order.append("giant")

    def small() -> None:
        with budget.hold(1):
            order.append("free")
            inside.set()

    thread = threading.Thread(target=giant)
    with budget.hold(60):
        thread.start()
        free = threading.Thread(target=small)
        free.start()
        assert inside.wait(10)
        free.join()
        order.append("first")
    thread.join(10)
    assert order == ["free", "first", "giant"]


SEEDS = [
    encoded(noise(64, 48), "JPEG"),
    encoded(noise(64, 48), "PNG"),
    encoded(noise(64, 48), "TIFF", compression="tiff_lzw"),
    encoded(noise(64, 48), "WEBP"),
    encoded(noise(64, 48), "GIF"),
    encoded(noise(64, 48), "BMP"),
]


@settings(max_examples=150)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(20, 20_000),
)
def test_damaged_files_end_as_picture_or_refusal(seed: bytes, hits: list[tuple[int, int]], end: int) -> None:
    data = bytearray(seed[:end])
    for place, value in hits:
        data[place % len(data)] = value
    try:
        picture = decode(bytes(data), Limits(pixels=4_000_000))
    except JobError as error:
        assert error.detail
    else:
        assert picture.image.mode == "RGB"


def test_the_import_loads_no_codec() -> None:
    code = "import sys, worker.intake.picture; print(sorted({'numpy', 'pyvips', 'simplejpeg'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
