"""The report's entries: what is said of each photograph, and how many of each kind are shown."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from schema.reasons import JobState
from worker.export.remarks import KNOWN_BY, sentence_of
from worker.export.rows import ExportRow
from worker.intake.uri import shown
from worker.report.marks import Marks
from worker.report.thumbnail import Thumbnail
from worker.report.wording import coordinates, distance, file_name, place_name, plain, precision

MAX_KNOWN = 120
MAX_PREDICTED = 180
MAX_UNPLACED = 100
MAX_FAILED = 500

_UNTRAINED = "UNTRAINED: means nothing"
_INJECTED = "Look twice: the picture may hold text that gives orders to a model"
_COARSER = "Shown to {} on purpose"


@dataclass(frozen=True, slots=True)
class Entry:
    """One photograph in words. Everything in it may stem from strangers and is escaped by the template."""

    anchor: str
    name: str
    where: str
    heading: str
    precision: str = ""
    granularity: str = ""
    coordinates: str = ""
    origin: str = ""
    taken: str = ""
    caption: str = ""
    reasons: str = ""
    stated_place: str = ""
    detail: str = ""
    warning: str = ""
    beside: str = ""
    is_reused: bool = False
    thumbnail: Thumbnail = field(default_factory=Thumbnail)


@dataclass(slots=True)
class Shelf:
    """Up to `room` entries, and how many there were in all."""

    room: int
    total: int = 0
    entries: list[Entry] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        return len(self.entries) < self.room


@dataclass(slots=True)
class Contents:
    """All that the report shows. `failed` is by reason; together its shelves hold at most `MAX_FAILED`."""

    known: Shelf = field(default_factory=lambda: Shelf(MAX_KNOWN))
    predicted: Shelf = field(default_factory=lambda: Shelf(MAX_PREDICTED))
    unplaced: Shelf = field(default_factory=lambda: Shelf(MAX_UNPLACED))
    failed: dict[str, Shelf] = field(default_factory=dict)
    settled_since: int = 0
    untrained_rows: int = 0
    marks: Marks = field(default_factory=Marks)


def collect(
    rows: Iterable[ExportRow], make_thumbnail: Callable[[ExportRow], Thumbnail], *, since: datetime
) -> Contents:
    """Reads all rows once. Memory is bounded by the caps, whatever the number of rows. `settled_since` counts
    the jobs settled at `since` or later: the work of this run."""
    contents = Contents()
    failed_shown = 0
    for row in rows:
        contents.untrained_rows += bool(row.untrained)
        if row.state in (JobState.QUEUED, JobState.RUNNING):
            continue
        contents.settled_since += row.finished_at is not None and row.finished_at >= since
        if row.state == JobState.DONE:
            shelf = _shelf_of(row, contents)
        else:
            shelf = contents.failed.setdefault(row.reason or "unknown", Shelf(MAX_FAILED))
            shelf.room = len(shelf.entries) + MAX_FAILED - failed_shown
            failed_shown += shelf.has_room
        shelf.total += 1
        anchor = None
        if shelf.has_room:
            anchor = f"p-{row.job_id}"
            thumbnail = make_thumbnail(row) if row.state == JobState.DONE else Thumbnail()
            shelf.entries.append(_entry(row, anchor, thumbnail))
        contents.marks.add(row, anchor)
    contents.failed = dict(sorted(contents.failed.items(), key=lambda item: (-item[1].total, item[0])))
    return contents


def _shelf_of(row: ExportRow, contents: Contents) -> Shelf:
    match row.place_kind:
        case "known":
            return contents.known
        case "predicted":
            return contents.predicted
        case _:
            return contents.unplaced


def _entry(row: ExportRow, anchor: str, thumbnail: Thumbnail) -> Entry:
    has_point = row.lat is not None and row.lon is not None
    heading = place_name(row) if has_point else plain(sentence_of(row.reason)) or "No place"
    stated = plain(row.stated_place, 120)
    is_predicted = row.place_kind == "predicted"
    return Entry(
        anchor=anchor,
        name=file_name(row.uri),
        where=shown(row.uri),
        heading=heading,
        precision=precision(row) if has_point else "",
        granularity=row.granularity or "" if is_predicted else "",
        coordinates=_coordinates(row),
        origin=KNOWN_BY.get(row.source or "", ""),
        taken="" if row.taken_at is None else f"{row.taken_at:%-d %B %Y}",
        caption=plain(row.caption, 240),
        reasons=plain(row.reasoning, 900),
        stated_place="" if stated.casefold() == heading.casefold() else stated,
        detail=plain(row.detail, 400),
        warning=" · ".join(_warnings(row)),
        beside=_beside(row),
        is_reused=row.reused,
        thumbnail=thumbnail,
    )


def _warnings(row: ExportRow) -> list[str]:
    said = [_UNTRAINED] if row.untrained else []
    if row.injected_text:
        said.append(_INJECTED)
    if row.precision_km is not None:
        said.append(_COARSER.format(distance(row.precision_km)))
    return said


def _coordinates(row: ExportRow) -> str:
    if row.lat is None or row.lon is None:
        return ""
    return coordinates(row.lat, row.lon, row.radius_km if row.place_kind == "predicted" else None)


def _beside(row: ExportRow) -> str:
    """What a model said where the place is known."""
    if row.place_kind != "known":
        return ""
    if row.prediction_distance_km is not None:
        said = f"“{plain(row.stated_place, 120)}”, " if row.stated_place else ""
        return f"Asked to verify, the model said {said}{distance(row.prediction_distance_km)} away."
    if row.reason is not None:
        return f"Asked to verify, the model gave no place: {sentence_of(row.reason)}"
    return ""
