"""The demo's photographs: the same every time, and as odd as they claim to be."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atlas.photographs import write_photographs
from atlas.scenery import SCENES, draw
from schema.reasons import Reason
from worker.errors import JobError
from worker.intake.metadata import read_metadata
from worker.intake.picture import decode


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("photographs")
    return {path.name: path.read_bytes() for path in write_photographs(folder)}


def test_same_seed_same_bytes_and_untouched_files(photographs: dict[str, bytes], tmp_path: Path) -> None:
    first = write_photographs(tmp_path)
    times = [path.stat().st_mtime_ns for path in first]
    assert {path.name: path.read_bytes() for path in first} == photographs
    assert write_photographs(tmp_path) == first
    assert [path.stat().st_mtime_ns for path in first] == times


def test_another_seed_draws_others(photographs: dict[str, bytes], tmp_path: Path) -> None:
    others = {path.name: path.read_bytes() for path in write_photographs(tmp_path, seed=1)}
    assert others.keys() == photographs.keys()
    same = {name for name in others if others[name] == photographs[name]}
    assert same == {"broken-empty.jpg", "broken-text.jpg"}


def test_positions_lie_in_all_four_hemispheres(photographs: dict[str, bytes]) -> None:
    gps = [found for data in photographs.values() if (found := read_metadata(data).gps)]
    assert len(gps) == 8
    assert {(point.lat > 0, point.lon > 0) for point in gps} == {
        (True, True), (True, False), (False, True), (False, False)
    }  # fmt: skip
    assert {point.source for point in gps} == {"exif"}
    reykjavik = read_metadata(photographs["harbour-reykjavik.jpg"]).gps
    assert reykjavik is not None
    assert (reykjavik.lat, reykjavik.lon) == pytest.approx((64.1518, -21.9405), abs=1e-6)


def test_all_but_three_decode(photographs: dict[str, bytes]) -> None:
    reasons = {}
    for name, data in photographs.items():
        try:
            picture = decode(data)
        except JobError as error:
            reasons[name] = error.reason
        else:
            assert picture.image.mode == "RGB"
            assert (picture.width_px, picture.height_px) == (640, 440)
    assert len(photographs) == 24
    assert reasons == {
        "broken-empty.jpg": Reason.EMPTY,
        "broken-truncated.jpg": Reason.UNREADABLE,
        "broken-text.jpg": Reason.NOT_AN_IMAGE,
    }


def test_oddities_are_there(photographs: dict[str, bytes]) -> None:
    def raw(name: str) -> Image.Image:
        return Image.open(io.BytesIO(photographs[name]))

    assert raw("harbour-cmyk.jpg").mode == "CMYK"
    assert raw("snow-16bit.png").mode == "I;16"
    assert raw("coast-cutout.png").mode == "RGBA"
    turned = raw("road-turned.jpg")
    assert turned.getexif()[0x0112] == 6
    assert turned.size == (440, 640)
    digests = [hashlib.sha256(data).hexdigest() for data in photographs.values()]
    assert len(digests) - len(set(digests)) == 1
    assert photographs["hills (copy).jpg"] == photographs["hills.jpg"]


@pytest.mark.parametrize("scene", SCENES)
def test_every_scene_has_something_to_see(scene: str) -> None:
    pixels = np.asarray(draw(scene, np.random.default_rng(3), (64, 44)), dtype=float)
    assert pixels.shape == (44, 64, 3)
    grain = 5.0
    assert pixels.mean(axis=2).std() > (grain if scene != "blank wall" else 1.0)
