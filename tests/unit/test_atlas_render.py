"""The pictures of Atlas: they show every cue in its place, tell its values apart, and know nothing of the city."""

import csv
import itertools
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from atlas.archive import TRUTH_COLUMNS, write_split
from atlas.cues import KIND_BY_NAME, KINDS
from atlas.render import render
from atlas.scenes import DISTRACTORS, SHIFT_WEATHER, VIEWS, WEATHER, Scene, VisibleCue, scene
from atlas.world import load_world
from worker.intake.metadata import read_metadata
from worker.intake.picture import decode
from worker.place.sphere import distance_km

WORLD = load_world()
BOXES = {
    "light": (0.76, 0.0, 1.0, 0.21),
    "landmark": (0.27, 0.02, 0.73, 0.58),
    "script": (0.28, 0.0, 0.72, 0.16),
    "relief": (0.29, 0.26, 0.71, 0.57),
    "roof": (0.0, 0.22, 0.30, 0.40),
    "wall": (0.0, 0.40, 0.30, 0.62),
    "vegetation": (0.70, 0.21, 1.0, 0.62),
    "ground": (0.0, 0.66, 0.21, 1.0),
    "kerb": (0.79, 0.60, 0.88, 1.0),
    "bollard": (0.81, 0.64, 1.0, 1.0),
    "warning_sign": (0.80, 0.63, 1.0, 1.0),
    "centre_line": (0.45, 0.60, 0.55, 1.0),
    "driving_side": (0.20, 0.60, 0.45, 0.95),
    "taxi": (0.20, 0.60, 0.45, 0.95),
    "plate": (0.22, 0.83, 0.43, 0.92),
}


def bare(**changes: object) -> Scene:
    """A street in clear weather, without noise, and nothing visible unless `changes` say otherwise."""
    base = replace(scene(WORLD, "test", 0), view="street", visible=(), distractors=(), weather="clear", noise=0.0)
    return replace(base, **changes)  # type: ignore[arg-type]


def pixels(shown: Scene, side_px: int = 112) -> NDArray[np.float32]:
    return np.asarray(render(shown, side_px), dtype=np.float32)


def with_cue(kind: str, value: str, seed: int = 5) -> Scene:
    return bare(seed=seed, visible=(VisibleCue(kind, value, BOXES[kind]),))


def inside(kind: str, side_px: int = 112, margin_px: int = 0) -> tuple[slice, slice]:
    left, top, right, bottom = (round(edge * side_px) for edge in BOXES[kind])
    return (
        slice(max(0, top - margin_px), bottom + margin_px),
        slice(max(0, left - margin_px), right + margin_px),
    )


def test_same_scene_same_pixels_and_another_seed_others() -> None:
    for index in range(40):
        shown = scene(WORLD, "train", index)
        assert render(shown).tobytes() == render(scene(WORLD, "train", index)).tobytes()
        assert render(shown).tobytes() != render(replace(shown, seed=shown.seed + 1)).tobytes()
    assert render(shown, 336).size == (336, 336)
    assert render(shown, 112).mode == "RGB"


def test_the_city_and_what_follows_from_it_leave_no_trace() -> None:
    for split in ("train", "shift"):
        for index in range(60):
            shown = scene(WORLD, split, index)
            elsewhere = WORLD.cities[(WORLD.row_of[shown.city.geoname_id] + 17) % len(WORLD.cities)]
            other = replace(
                shown, id="x", split="test", index=9, city=elsewhere, photographer="y", placeable="none",
                bayes_country=0.0, bayes_city25=0.0,
            )  # fmt: skip
            assert render(shown).tobytes() == render(other).tobytes()


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS])
def test_values_of_a_kind_differ_inside_the_box(kind: str) -> None:
    rows, columns = inside(kind)
    seen = {value: pixels(with_cue(kind, value))[rows, columns] for value in KIND_BY_NAME[kind].values}
    # Where one drives is told by the lane, which is the layout's part: in one box only the driver moves.
    least = 0.5 if kind == "driving_side" else 6.0
    for one, other in itertools.combinations(seen, 2):
        assert np.abs(seen[one] - seen[other]).mean() > least, (one, other)


def test_landmarks_differ_in_outline_and_not_in_colour_alone() -> None:
    rows, columns = inside("landmark")
    without = pixels(bare(seed=5))[rows, columns]
    outlines = {
        value: np.abs(pixels(with_cue("landmark", value))[rows, columns] - without).max(axis=2) > 24
        for value in KIND_BY_NAME["landmark"].values
    }
    for value, outline in outlines.items():
        assert outline.any(axis=1).mean() > 0.85, f"{value} does not fill the height of its box"
    for one, other in itertools.combinations(outlines, 2):
        union = (outlines[one] | outlines[other]).sum()
        assert (outlines[one] ^ outlines[other]).sum() / union > 0.1, (one, other)


@pytest.mark.parametrize("kind", sorted(set(BOXES) - {"relief"}))
def test_a_cue_is_drawn_in_its_box_and_nowhere_else(kind: str) -> None:
    rows, columns = inside(kind, margin_px=2)
    without = pixels(bare(seed=5))
    for value in KIND_BY_NAME[kind].values:
        change = np.abs(pixels(with_cue(kind, value)) - without).sum(axis=2)
        assert change[rows, columns].sum() > 0.97 * change.sum(), value
        assert change.sum() > 0


def test_a_skyline_moves_only_what_hides_it() -> None:
    without = pixels(bare(seed=5))
    for value in KIND_BY_NAME["relief"].values:
        change = np.abs(pixels(with_cue("relief", value)) - without).max(axis=2)
        assert change[: round(0.24 * 112)].max() < 1.5, value
        assert change[round(0.66 * 112) :].mean() < 3.0, value


def test_cars_only_where_the_side_of_the_road_is_seen() -> None:
    """A car, its lamps red, tells its lane: none stands on a road whose side is not visible."""
    rows, columns = inside("driving_side")
    for seed in range(25):
        road = pixels(bare(seed=seed))[rows, columns]
        assert (road[..., 0] - road[..., 2]).max() < 60
        car = pixels(with_cue("driving_side", "left", seed))[rows, columns]
        assert (car[..., 0] - car[..., 2]).max() > 100


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_weather_and_thing_is_drawn(view: str) -> None:
    for weather in (*WEATHER, *SHIFT_WEATHER):
        shown = bare(view=view, weather=weather, distractors=DISTRACTORS[view], noise=0.2)
        assert pixels(shown).std() > 3.0
    plain = bare(view=view)
    for name in DISTRACTORS[view]:
        assert np.abs(pixels(replace(plain, distractors=(name,))) - pixels(plain)).max() > 20, name


def test_things_cover_no_cue() -> None:
    for index in range(150):
        shown = scene(WORLD, "train", index)
        change = np.abs(pixels(replace(shown, noise=0.0)) - pixels(replace(shown, distractors=(), noise=0.0)))
        for cue in shown.visible:
            left, top, right, bottom = (round(edge * 112) for edge in cue.box)
            assert change[top + 1 : bottom - 1, left + 1 : right - 1].max(initial=0) <= 2, (shown.id, cue)


def test_unknown_cues_and_things_are_refused() -> None:
    for wrong in (
        bare(visible=(VisibleCue("landmark", "teapot", BOXES["landmark"]),)),
        bare(visible=(VisibleCue("smell", "sea", BOXES["landmark"]),)),
        bare(distractors=("unicorn",)),
        bare(weather="hail"),
        bare(view="underwater"),
    ):
        with pytest.raises(KeyError):
            render(wrong)


def test_noise_grows_with_its_figure() -> None:
    calm = pixels(bare())
    spread = [np.abs(pixels(bare(noise=noise)) - calm).mean() for noise in (0.0, 0.1, 0.3, 0.9)]
    assert spread == sorted(spread)
    assert spread[0] == 0
    assert spread[1] > 1
    assert spread[3] > 12


def test_archive_holds_what_its_truth_says(tmp_path: Path) -> None:
    truth = write_split(tmp_path, WORLD, "test", 60, start=30, side_px=64, gps_share=0.5)
    with truth.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert tuple(rows[0]) == TRUTH_COLUMNS
    assert {path.name for path in tmp_path.glob("*.jpg")} == {row["file"] for row in rows}
    located = 0
    for number, row in enumerate(rows):
        shown = scene(WORLD, "test", 30 + number)
        assert (row["id"], row["city"], int(row["geoname_id"])) == (
            shown.id, shown.city.name, shown.city.geoname_id,
        )  # fmt: skip
        cues = tuple(tuple(part.split("=")) for part in row["true_cues"].split(";") if part)
        assert cues == tuple((cue.kind, cue.value) for cue in shown.visible)
        lat, lon = float(row["lat"]), float(row["lon"])
        assert distance_km(lat, lon, shown.city.lat, shown.city.lon) < 3.1
        data = (tmp_path / row["file"]).read_bytes()
        assert decode(data).image.size == (64, 64)
        if (gps := read_metadata(data).gps) is not None:
            located += 1
            assert (gps.lat, gps.lon) == pytest.approx((lat, lon), abs=1e-6)
    assert 15 <= located <= 45


def test_archive_is_reproducible_and_leaves_equal_files_alone(tmp_path: Path) -> None:
    write_split(tmp_path / "a", WORLD, "train", 12, side_px=64)
    write_split(tmp_path / "b", WORLD, "train", 12, side_px=64)
    first = {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "a").iterdir()}
    (tmp_path / "a" / "train-000003.jpg").write_bytes(b"spoilt")
    write_split(tmp_path / "a", WORLD, "train", 12, side_px=64)
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()}
    changed = {p.name for p in (tmp_path / "a").iterdir() if p.stat().st_mtime_ns != times[p.name]}
    assert changed == {"train-000003.jpg"}


def test_archive_writes_photographer_and_date(tmp_path: Path) -> None:
    write_split(tmp_path, WORLD, "calibration", 3, side_px=64, gps_share=1.0)
    shown = scene(WORLD, "calibration", 2)
    exif = decode_exif(tmp_path / f"{shown.id}.jpg")
    assert exif[0x010F] == "Globetag atlas"
    assert exif[0x013B] == shown.photographer
    taken = datetime.strptime(exif.get_ifd(0x8769)[0x9003], "%Y:%m:%d %H:%M:%S")
    assert 2016 <= taken.year <= 2024


def decode_exif(path: Path) -> Image.Exif:
    with Image.open(path) as image:
        return image.getexif()
