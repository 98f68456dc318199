"""Decoding and metadata over photographs that this project did not make, and over broken and hostile files."""

import csv
import resource
import sys
import time

import pytest

from schema.reasons import LabelSource, Reason
from tests.support import PHOTOS, require
from worker.errors import JobError
from worker.intake.metadata import read_metadata
from worker.intake.picture import decode

pytestmark = pytest.mark.photos


@pytest.fixture(autouse=True)
def _photographs() -> None:
    require(PHOTOS.is_dir(), "the folder ../shared/photos is not here")


YARDSTICK_WRONG = {
    "mei_Issue 308.jpg": "the position is 0, 0: written before there was a fix",
    "mei_Samsung GT-I9000 (Galaxy S).jpg": "the position is 0, 0: written before there was a fix",
    "mei_FLIR iPhone device.jpg": "no EXIF GPS; the yardstick reads a maker block, longitude unsigned beside a W",
    "mei_Nikon D5000.jpg": "the yardstick looks at EXIF (0/0) only; the XMP packet has a valid position",
}
XMP_POSITIONS = {"mei_Nikon D5000.jpg": (48.888726, 21.043251)}
TOLERANCE_DEG = 0.00005

DECODED_HOSTILE = {
    "azu_unstitched-1.png": "a JPEG with the wrong extension",
    "exs_image01088.jpg": "only its EXIF is broken",
    "exs_image01551.jpg": "only its EXIF is broken",
    "exv_exiv2-bug855.jpg": "only its EXIF is broken",
    "exv_issue_828_poc.png": "only a text chunk is broken",
    "mly_corrupt_exif.jpg": "only its EXIF is broken",
    "pil_exif_gps.jpg": "only its GPS is odd",
    "pil_sugarshack_bad_mpo_header.jpg": "the first picture is whole",
    "pil_truncated_exif_dpi.jpg": "only its EXIF is broken",
    "twm_broken-invalid-adobe-ycc-gray.jpg": "the marker that contradicts the components is ignored",
    "vip_looks-like-svg.webp": "only its metadata looks odd",
}
REFUSED_HOSTILE = {
    "etv_lfs-pointer.jpg": Reason.NOT_AN_IMAGE,
    "exv_issue_2427_poc.jpg": Reason.NOT_AN_IMAGE,
    "exv_issue_ghsa_496f_x7cq_cq39_poc.jpg": Reason.NOT_AN_IMAGE,
    "exv_issue_ghsa_hrw9_ggg3_3r4r_poc.jpg": Reason.NOT_AN_IMAGE,
    "exv_pocIssue283.jpg": Reason.UNSUPPORTED,  # by its signature a Panasonic RAW file, without a preview
    "ina_1x1.png": Reason.EMPTY,
    "irs_Bad_height.bmp": Reason.TOO_LARGE,
    "irs_Bad_width.bmp": Reason.TOO_LARGE,
    "mei_fuzz_0086106bc19982db.jpg": Reason.NOT_AN_IMAGE,
    "mei_fuzz_0157a92b5cdd527c.jpg": Reason.NOT_AN_IMAGE,
    "mei_fuzz_01c7cddc677767b2.heic": Reason.NOT_AN_IMAGE,
    "pil_decompression_bomb.gif": Reason.TOO_LARGE,
    "vip_17000x17000.avif": Reason.TOO_LARGE,
}
"""Every other hostile file is UNREADABLE: a known format whose bytes are damaged or missing."""


def rows(name: str) -> list[dict[str, str]]:
    table = PHOTOS / f"{name}.csv"
    if not table.exists():
        return []
    with table.open(newline="") as lines:
        return list(csv.DictReader(lines))


def peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / (1 << 10)


def test_the_tables_are_as_known() -> None:
    assert len(rows("real")) >= 59
    assert len(rows("hostile")) >= 70


@pytest.mark.parametrize("row", rows("real"), ids=lambda row: row["file"])
def test_real_photographs(row: dict[str, str]) -> None:
    data = (PHOTOS / "real" / row["file"]).read_bytes()
    picture = decode(data)
    stored = {int(row["width"]), int(row["height"])}
    assert {picture.width_px, picture.height_px} == stored
    assert picture.image.mode == "RGB"

    gps = read_metadata(data).gps
    if row["file"] in XMP_POSITIONS:
        assert gps is not None
        assert gps.source is LabelSource.XMP
        assert (gps.lat, gps.lon) == pytest.approx(XMP_POSITIONS[row["file"]], abs=TOLERANCE_DEG)
    elif row["has_gps"] == "yes" and row["file"] not in YARDSTICK_WRONG:
        assert gps is not None
        assert (gps.lat, gps.lon) == pytest.approx((float(row["lat"]), float(row["lon"])), abs=TOLERANCE_DEG)
    else:
        assert gps is None


@pytest.mark.parametrize("row", rows("hostile"), ids=lambda row: row["file"])
def test_hostile_files(row: dict[str, str]) -> None:
    name = row["file"]
    data = (PHOTOS / "hostile" / name).read_bytes()
    start = time.monotonic()
    metadata = read_metadata(data)
    if name in DECODED_HOSTILE:
        assert decode(data).image.mode == "RGB"
    else:
        with pytest.raises(JobError) as caught:
            decode(data)
        assert caught.value.reason is REFUSED_HOSTILE.get(name, Reason.UNREADABLE)
        assert len(caught.value.detail.split()) >= 5
    assert time.monotonic() - start < 20
    assert peak_mb() < 3000
    if row["has_gps"] == "yes":
        assert metadata.gps is not None
        assert (metadata.gps.lat, metadata.gps.lon) == pytest.approx(
            (float(row["lat"]), float(row["lon"])), abs=TOLERANCE_DEG
        )
    else:
        assert metadata.gps is None


def test_what_the_refusals_say() -> None:
    details = {}
    for name in ("irs_Bad_width.bmp", "pig_iso_error.jpg", "etv_lfs-pointer.jpg"):
        with pytest.raises(JobError) as caught:
            decode((PHOTOS / "hostile" / name).read_bytes())
        details[name] = caught.value.detail
    assert "2147483647 x 6 pixels" in details["irs_Bad_width.bmp"]
    assert "10 % of the picture" in details["pig_iso_error.jpg"]
    assert "Git LFS pointer" in details["etv_lfs-pointer.jpg"]
