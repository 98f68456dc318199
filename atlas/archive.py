"""A split of Atlas as a photo archive: a folder of JPEGs with EXIF, and beside them the truth about each."""

import csv
import io
import random
from datetime import datetime, timedelta
from pathlib import Path

from atlas.exif import camera_exif
from atlas.render import render
from atlas.scenes import Scene, scene
from atlas.world import World
from worker.place.sphere import destination

TRUTH_NAME = "truth.csv"
TRUTH_COLUMNS = (
    "id", "file", "lat", "lon", "country_code", "country", "region", "city", "geoname_id", "photographer",
    "placeable", "view", "bayes_country", "bayes_city25", "true_cues",
)  # fmt: skip

_JPEG_QUALITY = 90
_FARTHEST_KM = 3.0
_FIRST_TAKEN, _DAYS = datetime(2016, 1, 1), 3000


def write_split(
    folder: Path,
    world: World,
    split: str,
    count: int,
    *,
    start: int = 0,
    side_px: int = 336,
    gps_share: float = 0.3,
) -> Path:
    """Writes the scenes `start` to `start + count` of a split as `<id>.jpg`, and `truth.csv`; returns the latter.

    The camera stands within 3 km of its city's point: that is `lat`, `lon` in the truth of every photograph, and
    the GPS position of about `gps_share` of them. Which ones have it, and when they were taken, hangs on the
    scene's seed alone. `true_cues` are "kind=value", joined by semicolons. The same arguments give the same bytes
    (with the same Pillow); a file that holds them already is left alone. `truth.csv` lists what this call wrote.

    Raises `ValueError` for an unknown split.
    """
    folder.mkdir(parents=True, exist_ok=True)
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(TRUTH_COLUMNS)
    for index in range(start, start + count):
        shown = scene(world, split, index)
        chance = random.Random(f"archive {shown.seed}")
        has_gps = chance.random() < gps_share
        position = _camera_position(shown, chance)
        taken = _FIRST_TAKEN + timedelta(
            days=chance.randrange(_DAYS), seconds=chance.randrange(7 * 3600, 20 * 3600)
        )
        exif = camera_exif(taken, position=position if has_gps else None, artist=shown.photographer)
        buffer = io.BytesIO()
        render(shown, side_px).save(buffer, "JPEG", quality=_JPEG_QUALITY, exif=exif.tobytes())
        name = f"{shown.id}.jpg"
        _write_if_new(folder / name, buffer.getvalue())
        writer.writerow(_truth(shown, name, position))
    return _write_if_new(folder / TRUTH_NAME, table.getvalue().encode())


def camera_position(shown: Scene) -> tuple[float, float]:
    """Latitude and longitude of a scene's camera, as `write_split` gives them, without drawing the picture."""
    chance = random.Random(f"archive {shown.seed}")
    chance.random()  # whether it has GPS
    return _camera_position(shown, chance)


def _camera_position(shown: Scene, chance: random.Random) -> tuple[float, float]:
    """Evenly over the disc around the city's point, to six decimals."""
    away_km = _FARTHEST_KM * chance.random() ** 0.5
    lat, lon = destination(shown.city.lat, shown.city.lon, 360.0 * chance.random(), away_km)
    return round(lat, 6), round(lon, 6)


def _truth(shown: Scene, name: str, position: tuple[float, float]) -> tuple[str, ...]:
    city = shown.city
    return (
        shown.id,
        name,
        f"{position[0]:.6f}",
        f"{position[1]:.6f}",
        city.country_code,
        city.country,
        city.region,
        city.name,
        str(city.geoname_id),
        shown.photographer,
        shown.placeable,
        shown.view,
        f"{shown.bayes_country:.6f}",
        f"{shown.bayes_city25:.6f}",
        ";".join(f"{cue.kind}={cue.value}" for cue in shown.visible),
    )


def _write_if_new(path: Path, data: bytes) -> Path:
    if not path.exists() or path.read_bytes() != data:
        path.write_bytes(data)
    return path
