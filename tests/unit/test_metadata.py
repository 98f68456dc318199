"""Metadata: positions by the EXIF and XMP standards, nothing invented, and hostile bytes cost no time."""

import io
import struct
import time
from datetime import datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from schema.reasons import LabelSource
from worker.intake.metadata import Metadata, read_metadata

BYTE, ASCII, LONG, RATIONAL, UNDEFINED, SRATIONAL = 1, 2, 4, 5, 7, 10
Value = tuple[int, bytes, int]  # field type, value bytes (little-endian), count


def rationals(*values: float | tuple[int, int], kind: int = RATIONAL) -> Value:
    pairs = [
        value if isinstance(value, tuple) else Fraction(value).limit_denominator(10**7).as_integer_ratio()
        for value in values
    ]
    packed = b"".join(struct.pack("<ii" if kind == SRATIONAL else "<II", *pair) for pair in pairs)
    return kind, packed, len(pairs)


def ascii_(text: str | bytes) -> Value:
    raw = (text if isinstance(text, bytes) else text.encode()) + b"\0"
    return ASCII, raw, len(raw)


def undefined(raw: bytes) -> Value:
    return UNDEFINED, raw, len(raw)


def directory(tags: dict[int, Value], at: int) -> bytes:
    """A TIFF directory that begins at offset `at`, its long values behind it."""
    entries, values = b"", b""
    start = at + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        kind, raw, count = tags[tag]
        inline = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack("<I", start + len(values))
        values += raw if len(raw) > 4 else b""
        entries += struct.pack("<HHI", tag, kind, count) + inline
    return struct.pack("<H", len(tags)) + entries + bytes(4) + values


def tiff_block(
    gps: dict[int, Value], exif: dict[int, Value] | None = None, image: dict[int, Value] | None = None
) -> bytes:
    first = dict(image or {})
    size = 8 + len(directory({**first, 0x8769: (LONG, bytes(4), 1), 0x8825: (LONG, bytes(4), 1)}, 8))
    exif_bytes = directory(exif or {}, size)
    first[0x8769] = (LONG, struct.pack("<I", size), 1)
    first[0x8825] = (LONG, struct.pack("<I", size + len(exif_bytes)), 1)
    return b"II*\0\x08\0\0\0" + directory(first, 8) + exif_bytes + directory(gps, size + len(exif_bytes))


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    body = b"".join(bytes((0xFF, marker)) + struct.pack(">H", len(raw) + 2) + raw for marker, raw in segments)
    return b"\xff\xd8" + body + b"\xff\xdb\x00\x04\x00\x00\xff\xda"


def exif_jpeg(*args: dict[int, Value], **kwargs: dict[int, Value]) -> bytes:
    return jpeg((0xE1, b"Exif\0\0" + tiff_block(*args, **kwargs)))


def xmp_jpeg(body: str, attributes: str = "") -> bytes:
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:exif="http://ns.adobe.com/exif/1.0/" '
        'xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f"{attributes}>{body}</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    return jpeg((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet.encode()))


GRAZ = {
    1: ascii_("N"),
    2: rationals(47, 4, 15.12),
    3: ascii_("E"),
    4: rationals(15, 26, 19.32),
}
GRAZ_LAT, GRAZ_LON = 47 + 4 / 60 + 15.12 / 3600, 15 + 26 / 60 + 19.32 / 3600


def read(data: bytes) -> Metadata:
    """Every reading here also keeps the promises on time and text."""
    start = time.monotonic()
    metadata = read_metadata(data)
    assert time.monotonic() - start < 5
    for text in (metadata.caption, metadata.data_mining, *metadata.problems):
        assert text is None or ("\0" not in text and len(text) <= 2000)
        assert text is None or text.encode()
    return metadata


def believed(gps: dict[int, Value]) -> tuple[float, float] | None:
    metadata = read(exif_jpeg({**GRAZ, **gps}))
    assert (metadata.gps is None) == bool(metadata.problems), metadata
    return None if metadata.gps is None else (metadata.gps.lat, metadata.gps.lon)


def test_a_camera_position() -> None:
    gps = read(exif_jpeg({**GRAZ, 0x1F: rationals(6.5)})).gps
    assert gps is not None
    assert (gps.lat, gps.lon) == pytest.approx((GRAZ_LAT, GRAZ_LON), abs=1e-6)
    assert (gps.source, gps.accuracy_m) == (LabelSource.EXIF, 6.5)


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_any_position_comes_back(lat: float, lon: float) -> None:
    if abs(lat) < 1e-4 and abs(lon) < 1e-4:
        return
    found = believed(
        {
            1: ascii_("S" if lat < 0 else "N"),
            2: rationals(abs(lat)),
            3: ascii_("W" if lon < 0 else "E"),
            4: rationals(abs(lon)),
        }
    )
    assert found == pytest.approx((lat, lon), abs=1e-6)


@pytest.mark.parametrize(
    ("tags", "lat"),
    [
        ({1: ascii_("S")}, -GRAZ_LAT),
        ({1: ascii_("n")}, GRAZ_LAT),
        ({1: ascii_("South")}, -GRAZ_LAT),
        ({2: rationals(47.5)}, 47.5),
        ({2: rationals(47, 30)}, 47.5),
        ({2: (LONG, struct.pack("<I", 47), 1)}, 47.0),
        ({2: ascii_("47.5")}, 47.5),
        ({2: ascii_("47,5")}, 47.5),
        ({2: ascii_("47 30 0")}, 47.5),
        ({2: ascii_("47° 30' 0\"")}, 47.5),
        ({1: ascii_("S"), 2: rationals(-33.5, kind=SRATIONAL)}, -33.5),
        ({1: ascii_("N"), 2: rationals(90)}, 90.0),
        ({2: (12, struct.pack("<d", 47.5), 1)}, 47.5),
        ({0x13: ascii_("S"), 0x14: rationals(10)}, GRAZ_LAT),
        ({9: ascii_("A"), 0x1B: undefined(b"ASCII\0\0\0GPS")}, GRAZ_LAT),
    ],
)
def test_latitudes_that_are_believed(tags: dict[int, Value], lat: float) -> None:
    found = believed(tags)
    assert found is not None
    assert found[0] == pytest.approx(lat, abs=1e-6)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({2: rationals((0, 0), (0, 0), (0, 0))}, "0/0"),
        ({2: rationals((47, 1), (4, 1), (15, 0))}, "15/0"),
        ({1: ascii_("")}, "without N/S reference"),
        ({3: ascii_("")}, "without E/W reference"),
        ({1: ascii_("E")}, "reference 'E'"),
        ({2: rationals(91)}, "91 degrees"),
        ({4: rationals(180.5)}, "180.5 degrees"),
        ({2: rationals(47, 75, 0)}, "75 minutes"),
        ({2: rationals(47, 4, 99)}, "99 seconds"),
        ({2: rationals(-33.5, kind=SRATIONAL)}, "negative latitude"),
        ({2: rationals(1, 2, 3, 4)}, "4 numbers"),
        ({2: ascii_("somewhere")}, "0 numbers"),
        ({2: (12, struct.pack("<d", float("nan")), 1)}, "not a number"),
        ({2: rationals(0, 0, 0), 4: rationals(0, 0, 0)}, "no fix"),
        ({9: ascii_("V")}, "void"),
        ({0x1B: undefined(b"ASCII\0\0\0AI-INFERRED globetag")}, "inferred"),
        ({0x1B: undefined(b"AI-INFERRED")}, "inferred"),
        ({0x1B: undefined(b"UNICODE\0" + "AI-INFERRED".encode("utf-16-le"))}, "inferred"),
    ],
)
def test_positions_that_are_not_believed_say_why(tags: dict[int, Value], words: str) -> None:
    metadata = read(exif_jpeg({**GRAZ, **tags}))
    assert metadata.gps is None
    assert any(words in problem for problem in metadata.problems), metadata.problems


def test_half_a_position_is_none() -> None:
    assert read(exif_jpeg({1: ascii_("N"), 2: rationals(47)})).gps is None
    assert read(exif_jpeg({9: ascii_("A"), 0x12: ascii_("WGS-84")})) == Metadata()


def test_an_unknown_error_radius_leaves_the_position() -> None:
    gps = read(exif_jpeg({**GRAZ, 0x1F: rationals((1, 0))})).gps
    assert gps is not None
    assert gps.accuracy_m is None


@pytest.mark.parametrize(
    ("exif", "taken_at"),
    [
        ({0x9003: ascii_("2019:07:03 14:15:16")}, datetime(2019, 7, 3, 14, 15, 16)),
        (
            {0x9003: ascii_("2019:07:03 14:15:16"), 0x9011: ascii_("-04:30")},
            datetime(2019, 7, 3, 14, 15, 16, tzinfo=timezone(timedelta(hours=-4, minutes=-30))),
        ),
        ({0x9003: ascii_("0000:00:00 00:00:00")}, None),
        ({0x9003: ascii_("    :  :     :  :  ")}, None),
        ({}, None),
    ],
)
def test_when_it_was_taken(exif: dict[int, Value], taken_at: datetime | None) -> None:
    assert read(exif_jpeg({}, exif)).taken_at == taken_at


@pytest.mark.parametrize(
    ("stored", "caption"),
    [
        (b"Market  square\0garbage", "Market  square"),
        ("Straße".encode(), "Straße"),
        ("Straße".encode("latin-1"), "Straße"),
        (b"OLYMPUS DIGITAL CAMERA         ", None),
        (b"   ", None),
        (b"\x01\x02\x03\x04A\x05\x06", None),
        (b"x" * 9000, "x" * 2000),
    ],
)
def test_captions_are_clean_text(stored: bytes, caption: str | None) -> None:
    assert read(exif_jpeg({}, image={0x010E: ascii_(stored)})).caption == caption


def test_an_iptc_caption() -> None:
    record = b"\x1c\x02\x05\0\x03abc" + b"\x1c\x02\x78\0\x0b" + b"Hauptplatz\0"
    resources = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(record)) + record
    assert read(jpeg((0xED, b"Photoshop 3.0\0" + resources))).caption == "Hauptplatz"


@pytest.mark.parametrize(
    ("lat", "lon", "wanted"),
    [
        ("47,4.252N", "15,26.322E", (47 + 4.252 / 60, 15 + 26.322 / 60)),
        ("33,51,30S", "151,12,30E", (-33 - 51.5 / 60, 151 + 12.5 / 60)),
        ("47.5N", "15.25W", (47.5, -15.25)),
    ],
)
def test_xmp_positions(lat: str, lon: str, wanted: tuple[float, float]) -> None:
    as_attributes = read(xmp_jpeg("", f'exif:GPSLatitude="{lat}" exif:GPSLongitude="{lon}"')).gps
    as_elements = read(
        xmp_jpeg(f"<exif:GPSLatitude>{lat}</exif:GPSLatitude><exif:GPSLongitude>{lon}</exif:GPSLongitude>")
    ).gps
    assert as_attributes == as_elements
    assert as_attributes is not None
    assert (as_attributes.lat, as_attributes.lon) == pytest.approx(wanted)
    assert as_attributes.source is LabelSource.XMP


def test_xmp_decimals_need_their_references() -> None:
    position = 'exif:GPSLatitude="33.5" exif:GPSLongitude="151.25"'
    referenced = read(xmp_jpeg("", position + ' exif:GPSLatitudeRef="S" exif:GPSLongitudeRef="E"')).gps
    assert referenced is not None
    assert (referenced.lat, referenced.lon) == (-33.5, 151.25)
    bare = read(xmp_jpeg("", position))
    assert bare.gps is None
    assert "without N/S reference" in bare.problems[0]


def test_the_place_shown_is_not_where_the_camera_stood() -> None:
    shown = (
        "<Iptc4xmpExt:LocationShown><rdf:Bag><rdf:li><rdf:Description "
        'exif:GPSLatitude="47,4.2N" exif:GPSLongitude="15,26.3E"/></rdf:li></rdf:Bag></Iptc4xmpExt:LocationShown>'
    )
    assert read(xmp_jpeg(shown)).gps is None


@pytest.mark.parametrize(
    "written",
    [
        '<plus:DataMining rdf:resource="http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-AIMLTRAINING"/>',
        "<plus:DataMining>http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-AIMLTRAINING</plus:DataMining>",
        "<plus:DataMining>DMI-PROHIBITED-AIMLTRAINING</plus:DataMining>",
    ],
)
def test_the_rights_flag(written: str) -> None:
    assert read(xmp_jpeg(written)).data_mining == "DMI-PROHIBITED-AIMLTRAINING"


def test_the_default_language_of_a_description() -> None:
    body = (
        '<dc:description><rdf:Alt><rdf:li xml:lang="de">Markt</rdf:li>'
        '<rdf:li xml:lang="x-default">Market</rdf:li></rdf:Alt></dc:description>'
    )
    assert read(xmp_jpeg(body)).caption == "Market"


def test_exif_wins_and_disagreement_is_told() -> None:
    far = xmp_jpeg("", 'exif:GPSLatitude="48,12.0N" exif:GPSLongitude="16,22.0E"')
    near = xmp_jpeg("", 'exif:GPSLatitude="47,4.25N" exif:GPSLongitude="15,26.32E"')
    ours = exif_jpeg(GRAZ)[:-8]
    for other, told in ((far, True), (near, False)):
        metadata = read(ours + other[2:])
        assert metadata.gps is not None
        assert metadata.gps.source is LabelSource.EXIF
        assert bool(metadata.problems) is told
    assert "km apart" in read(ours + far[2:]).problems[0]


def test_xmp_stands_in_for_an_exif_position_that_is_not_believed() -> None:
    xmp = xmp_jpeg("", 'exif:GPSLatitude="48,12.0N" exif:GPSLongitude="16,22.0E"')
    metadata = read(exif_jpeg({**GRAZ, 2: rationals((0, 0))})[:-8] + xmp[2:])
    assert metadata.gps is not None
    assert metadata.gps.source is LabelSource.XMP
    assert metadata.problems


@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_every_container_gives_its_exif(fmt: str) -> None:
    import pillow_heif

    exif = Image.Exif()
    exif[0x010E] = "Market"
    exif[0x8825] = {
        1: "S",
        2: (IFDRational(33), IFDRational(51), IFDRational(30)),
        3: "E",
        4: (IFDRational(151), IFDRational(12), IFDRational(30)),
    }
    out = io.BytesIO()
    if fmt == "HEIF":
        pillow_heif.from_pillow(Image.new("RGB", (64, 64))).save(out, exif=exif.tobytes())
    else:
        Image.new("RGB", (64, 64)).save(out, fmt, exif=exif.tobytes())
    metadata = read(out.getvalue())
    assert metadata.gps is not None
    assert (metadata.gps.lat, metadata.gps.lon) == pytest.approx((-33.858333, 151.208333), abs=1e-6)
    assert metadata.caption == "Market"


def test_exif_behind_long_segments_is_found() -> None:
    profile = (0xE2, b"ICC_PROFILE\0\x01\x01" + bytes(60_000))
    assert read(jpeg((0xE0, b"JFIF\0" + bytes(9)), profile, (0xE1, b"Exif\0\0" + tiff_block(GRAZ)))).gps


@pytest.mark.parametrize(
    "packet",
    [
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>',
        b'<!DOCTYPE x SYSTEM "file:///etc/hostname"><x/>',
        b"<unclosed",
        b"\0\0\0",
        b"<a>" * 20_000,
    ],
)
def test_hostile_xml_is_refused_in_words(packet: bytes) -> None:
    metadata = read(jpeg((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)))
    assert metadata.gps is None
    assert "XMP" in metadata.problems[0]


def test_directories_that_loop_end_soon() -> None:
    entry = struct.pack("<HHII", 0x8825, LONG, 1, 8)
    looping = b"II*\0\x08\0\0\0" + struct.pack("<H", 0xFFFF) + entry * 5000
    metadata = read(jpeg((0xE1, b"Exif\0\0" + looping)))
    assert metadata.gps is None
    assert "loop" in metadata.problems[0]


def test_no_picture_no_metadata() -> None:
    assert read(b"") == read(b"text") == read(b"\xff\xd8") == Metadata()


SEEDS = [
    exif_jpeg({**GRAZ, 0x1B: undefined(b"ASCII\0\0\0GPS")}, {0x9003: ascii_("2019:07:03 14:15:16")}),
    xmp_jpeg("<dc:description>x</dc:description>", 'exif:GPSLatitude="47.5N" exif:GPSLongitude="15.2E"'),
    tiff_block(GRAZ, image={0x02BC: (BYTE, b"<x/>" * 9, 36)}),
    b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 200) + b"eXIf" + tiff_block(GRAZ),
    b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(10) + b"EXIF\xff\0\0\0" + tiff_block(GRAZ),
]


@settings(max_examples=400)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 500), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6),
    st.integers(8, 600),
)
def test_no_content_makes_it_raise(seed: bytes, hits: list[tuple[int, bytes]], end: int) -> None:
    data = bytearray(seed[:end])
    for place, value in hits:
        at = place % len(data)
        data[at : at + len(value)] = value
    gps = read(bytes(data)).gps
    assert gps is None or (abs(gps.lat) <= 90 and abs(gps.lon) <= 180)
