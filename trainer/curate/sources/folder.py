"""Folders of pictures with a CSV that says where they were taken: any such folder, and MP-16 and MP16-Pro.

MP-16 (MediaEval Placing Task 2016; Larson et al., IEEE MultiMedia 24(1), 2017) names a picture
`aa/bb/flickrid.jpg`; MP16-Pro (arXiv 2405.14702) distributes the same pictures as `aa_bb_flickrid.jpg` in tar
files, which are to be unpacked first, with place names from reverse geocoding. Either spelling finds either
file.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.curate.balance import chance
from trainer.curate.opinions import Subject
from trainer.curate.rights import refusal
from trainer.curate.sources.found import Found, LeftOut, Why, gather
from trainer.curate.sources.known_place import NoPlace, complete
from trainer.curate.sources.pictures import NoPicture, Pictures
from trainer.curate.sources.table import Row, read_rows
from worker.errors import JobError, SetupError
from worker.intake.formats import sniff
from worker.intake.local import read_file
from worker.intake.metadata import read_metadata
from worker.intake.uri import file_uri, shown
from worker.place.gazetteer import Gazetteer

MAX_FILE_BYTES = 256 << 20
MP16_TABLES = ("MP16_Pro_filtered.csv", "MP16_Pro_places365.csv", "mp16_places365.csv", "mp16.csv",
               "mp16-reason-train.csv")  # fmt: skip
"""The tables as they are distributed, the most complete first; looked for in the folder and in `metadata`."""
_MP16_PICTURES = ("mp-16-images", "data/mp-16-images", "images", "mp16", "images/mp16")


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns rows into subjects. `root`: nothing outside of it is read."""

    table: Path
    pictures: Pictures
    root: Path
    gazetteer: Gazetteer

    def read(self, rows: Iterator[Row]) -> Iterator[Subject | LeftOut]:
        for row in rows:
            where = f"{shown(str(self.table))}, line {row.line:,}"
            try:
                yield self._subject(row)
            except (NoPicture, NoPlace) as none:
                yield LeftOut(where, none.reason, str(none))
            except JobError as error:
                yield LeftOut(where, Why.UNREADABLE, f"{error.reason.sentence} {error.detail}")

    def _subject(self, row: Row) -> Subject:
        if row.fault:
            raise NoPicture(Why.MALFORMED, row.fault)
        said = row.fields
        if "image" not in said:
            raise NoPicture(Why.NO_IMAGE, "The row names no picture.")
        place = complete(
            self.gazetteer,
            _degrees(said.get("lat")),
            _degrees(said.get("lon")),
            country=said.get("country"),
            country_code=said.get("country_code"),
            region=said.get("region"),
            city=said.get("city"),
        )
        path = self.pictures.find(said["image"])
        data = read_file(str(path), max_bytes=MAX_FILE_BYTES, roots=(self.root,))
        sniff(data)
        if refusal(read_metadata(data).data_mining, consented=True) is not None:
            raise NoPicture(Why.RIGHTS_RESERVED, f"{said['image']!r} reserves the right to train on it.")
        return Subject(
            id=hashlib.sha256(data).hexdigest(),
            uri=file_uri(path),
            lat=place.lat,
            lon=place.lon,
            country_code=place.country_code,
            country=place.country,
            region=place.region,
            city=place.city,
            geoname_id=place.geoname_id,
            grouped_by=said.get("photographer"),
            licence=said.get("licence"),
        )


def subjects_of_folder(
    folder: Path,
    table: Path | None = None,
    *,
    at_most: int | None = None,
    seed: int = 0,
    held_out: frozenset[str] = frozenset(),
    on_row: Callable[[int], None] | None = None,
) -> Found:
    """The pictures below `folder` that a CSV places; without `table` it is the only CSV in the folder.

    Each file is read once, for its hash and for what it says of its rights; whoever names a folder speaks for it
    otherwise. `at_most`: so many rows are drawn by chance, the same for the same seed, before any file is opened.
    `held_out`: content hashes that are no subjects. Raises `SetupError` for a folder or table that cannot be read.
    """
    _require_folder(folder)
    found = table or _only_table(folder)
    reader = _Reader(found, Pictures(folder), folder, Gazetteer.load())
    return _read(reader, at_most, seed, held_out, on_row)


def subjects_of_mp16(
    folder: Path,
    table: Path | None = None,
    *,
    pictures: Path | None = None,
    at_most: int | None = None,
    seed: int = 0,
    held_out: frozenset[str] = frozenset(),
    on_row: Callable[[int], None] | None = None,
) -> Found:
    """MP-16 or MP16-Pro out of the folder in which it was unpacked. `pictures`: where its pictures lie, where
    that is elsewhere. The photographer is known where the table has AUTHOR. Otherwise as `subjects_of_folder`.
    """
    _require_folder(folder)
    found = table or _first_file(folder, MP16_TABLES)
    root = pictures or next((folder / name for name in _MP16_PICTURES if (folder / name).is_dir()), folder)
    _require_folder(root)
    reader = _Reader(found, Pictures(root, flattened=True, anywhere=False), root, Gazetteer.load())
    return _read(reader, at_most, seed, held_out, on_row)


def _read(
    reader: _Reader,
    at_most: int | None,
    seed: int,
    held_out: frozenset[str],
    on_row: Callable[[int], None] | None,
) -> Found:
    rows, not_drawn = read_rows(reader.table), 0
    if at_most is not None:
        drawn, not_drawn = _draw(rows, at_most, seed)
        rows = iter(drawn)
    return gather(reader.read(rows), before=+Counter({Why.NOT_DRAWN: not_drawn}), held_out=held_out, on_row=on_row)


def _draw(rows: Iterator[Row], at_most: int, seed: int) -> tuple[list[Row], int]:
    """So many rows by chance, in the file's order, and how many others there are; holds no more than it draws."""
    count = 0

    def keyed() -> Iterator[tuple[str, int, Row]]:
        nonlocal count
        for row in rows:
            count += 1
            yield chance(seed, row.fields.get("image", f"line {row.line}")), row.line, row

    drawn = heapq.nsmallest(at_most, keyed(), key=lambda each: each[:2])
    return [row for _, _, row in sorted(drawn, key=lambda each: each[1])], count - len(drawn)


def _degrees(text: str | None) -> float:
    if text is None:
        raise NoPlace(Why.NO_PLACE, "The row has no coordinates.")
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return float(text.replace(",", "."))  # a comma in a file that is parted by semicolons
    except ValueError:
        raise NoPlace(Why.NO_SUCH_PLACE, f"{text[:40]!r} is no number of degrees.") from None


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise SetupError(f"{shown(str(folder))} is not a folder")


def _only_table(folder: Path) -> Path:
    tables = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in (".csv", ".tsv") and path.is_file()
    )
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables[:5])
        raise SetupError(
            f"{shown(str(folder))} has {len(tables)} CSV files{f' ({names})' if names else ''}: say which one says"
            " where the pictures were taken"
        )
    return tables[0]


def _first_file(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        for path in (folder / name, folder / "metadata" / name):
            if path.is_file():
                return path
    raise SetupError(f"{shown(str(folder))} has none of the tables {', '.join(names)}, nor in its folder metadata")
