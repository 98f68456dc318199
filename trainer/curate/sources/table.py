"""The rows of a CSV that says where pictures were taken, one at a time, whatever its columns are called.

Known spellings: GLOBE's test file (IMG_ID or id, LAT, LON), MP-16 (TIBHannover/GeoEstimation: IMG_ID, AUTHOR, LAT,
LON), MP16-Pro (arXiv 2405.14702; the same with neighbourhood, city, county, state, region, country, country_code,
continent), OSV-5M (id, latitude, longitude, creator_id).
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer.judge.files import fold_column, is_empty
from worker.errors import SetupError
from worker.intake.uri import shown

_DELIMITERS = ",;\t|"
_MAX_CELL_CHARS = 100_000

COLUMNS: dict[str, tuple[str, ...]] = {
    "image": ("image", "img_id", "image_id", "file", "filename", "file_name", "path", "image_path", "img_path",
              "image_name", "img", "uri", "photo_id", "id", "name"),
    "lat": ("lat", "latitude", "gt_lat", "decimallatitude"),
    "lon": ("lon", "lng", "long", "longitude", "gt_lon", "decimallongitude"),
    "country": ("country", "country_name"),
    "country_code": ("country_code", "countrycode", "cc", "iso2"),
    "region": ("state", "admin1", "province", "stateprovince", "region"),
    "city": ("city", "town", "municipality", "village"),
    "photographer": ("photographer", "author", "creator_id", "creator_username", "creator", "owner", "user_id",
                     "userid", "user_nsid", "user", "series"),
    "licence": ("licence", "license", "licence_name", "license_name"),
}  # fmt: skip
"""What a column may be called, the likeliest first. MP16-Pro's `region` is a part of the world or of a country
that GeoNames does not know ("Metropolitan France"), so that `state` goes before it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `fields` by the names of `COLUMNS`, without the empty ones. `fault`: why it cannot be read."""

    line: int
    fields: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of the file. The header is checked at once, before the first row is asked for.

    Raises `SetupError` where the file cannot be read, and where its header has no column for picture, latitude or
    longitude.
    """
    delimiter, columns, width = _header(path)
    return _rows(path, delimiter, columns, width)


def _header(path: Path) -> tuple[str, dict[str, int], int]:
    name = shown(str(path))
    try:
        with path.open("rb") as file:
            first = file.readline(1 << 16)
    except OSError as error:
        raise SetupError(f"{name} cannot be read: {error.strerror}") from error
    if first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SetupError(f"{name} is UTF-16; save it as UTF-8")
    line = first.decode("utf-8-sig", errors="replace").rstrip("\r\n")
    delimiter = max(_DELIMITERS, key=line.count)
    try:
        header = [fold_column(cell) for cell in next(csv.reader([line], delimiter=delimiter, strict=True), [])]
    except csv.Error as error:
        raise SetupError(f"{name}, line 1: not valid CSV ({error})") from error
    columns: dict[str, int] = {}
    for field_name, spellings in COLUMNS.items():
        for spelling in spellings:
            if spelling in header:
                if header.count(spelling) > 1:
                    raise SetupError(f"{name} has the column {spelling} more than once")
                columns[field_name] = header.index(spelling)
                break
    if missing := [needed for needed in ("image", "lat", "lon") if needed not in columns]:
        wanted = " and ".join(f"{needed} (such as {', '.join(COLUMNS[needed][:3])})" for needed in missing)
        raise SetupError(f"{name} has no column for {wanted} in its first line: {shown(line)!r}")
    return delimiter, columns, len(header)


def _rows(path: Path, delimiter: str, columns: dict[str, int], width: int) -> Iterator[Row]:
    csv.field_size_limit(_MAX_CELL_CHARS)
    # Bytes that are not UTF-8 come in as surrogates, so that the row at fault can be named.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        next(reader)
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Row(line, fault=f"It is not valid CSV ({error}).")
                continue
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != width:
                yield Row(line, fault=f"It has {len(cells)} fields where the header has {width}.")
                continue
            named = {name: cells[at].strip() for name, at in columns.items()}
            if not all(cell.isprintable() for cell in named.values()):  # neither NUL nor half a surrogate pair is
                yield Row(line, fault="It holds bytes that are not UTF-8, or control characters.")
                continue
            yield Row(line, {name: cell for name, cell in named.items() if not _is_blank(name, cell)})


def _is_blank(name: str, cell: str) -> bool:
    """Namibia's code is NA, which elsewhere stands for nothing."""
    return is_empty(cell) and not (name == "country_code" and cell == "NA")
