"""One job with all that is known, inferred or stated of its photograph: the row that exports and reports read."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, Self

from sqlalchemy import Engine, Row

from schema import queries
from schema.reasons import JobState, LabelSource
from worker.place.sphere import distance_km, is_valid
from worker.secrets import without_signature

_ROWS_PER_FETCH = 1000

_KNOWN_SOURCES = frozenset(source.value for source in LabelSource)
_OPEN_STATES = frozenset({JobState.QUEUED.value, JobState.RUNNING.value})

_OF_THE_JOB = frozenset(
    {"job_id", "collection", "uri", "state", "outcome", "reused", "reason", "detail", "finished_at"}
)
_OF_THE_PLACE = (
    "source",
    "lat",
    "lon",
    "radius_km",
    "coverage",
    "granularity",
    "country_code",
    "region",
    "city",
    "geoname_id",
)


@dataclass(frozen=True, slots=True)
class ExportRow:
    """The columns of `schema.queries.reading.READ_JOBS`, cleaned.

    `source` tells who says where the photograph was taken: `exif`, `xmp`, `import` and `manual` are known
    places, `prediction` is inferred. `lat` and `lon` are both finite and on Earth, or both None. A known place
    may come with a prediction beside it (`predicted_lat`, `predicted_lon`) where the job asked to verify;
    `radius_km`, `granularity` and the names then belong to the known place. `untrained` is None where no model
    was asked. `injected_text`: the model's words hold what reads like an instruction. `precision_km`: the cap that
    coordinates and names were made coarser by, None where they are in full; the model's words are withheld then.
    """

    job_id: str
    collection: str
    uri: str
    state: str
    outcome: str | None = None
    reused: bool = False
    reason: str | None = None
    detail: str | None = None
    finished_at: datetime | None = None
    sha256: str | None = None
    taken_at: datetime | None = None
    caption: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    source: str | None = None
    lat: float | None = None
    lon: float | None = None
    radius_km: float | None = None
    coverage: float | None = None
    granularity: str | None = None
    country_code: str | None = None
    region: str | None = None
    city: str | None = None
    geoname_id: int | None = None
    stated_place: str | None = None
    confidence: float | None = None
    gate_score: float | None = None
    model: str | None = None
    model_version: str | None = None
    untrained: bool | None = None
    pipeline_version: str | None = None
    reasoning: str | None = None
    predicted_lat: float | None = None
    predicted_lon: float | None = None
    injected_text: bool | None = None
    precision_km: float | None = None

    @classmethod
    def from_row(cls, row: Row[Any] | Mapping[str, Any]) -> Self:
        """The row as a value. Columns that this class does not have are left out.

        Three things are withheld, so that no writer can get them wrong. Signatures and passwords in addresses.
        An open job says nothing of its photograph: what the tables still hold belongs to an earlier answer,
        perhaps to an earlier file. And only a done job has a prediction's place.
        """
        given = row._mapping if isinstance(row, Row) else row
        values = {name: _clean(given[name]) for name in _NAMES if name in given}
        values["job_id"] = str(values["job_id"])
        values["uri"] = without_signature(values["uri"])
        state = values["state"]
        if state in _OPEN_STATES:
            values = {name: value for name, value in values.items() if name in _OF_THE_JOB}
        elif state != JobState.DONE and values.get("source") == "prediction":
            values |= dict.fromkeys(_OF_THE_PLACE)
        if state != JobState.DONE or not _is_point(values.get("predicted_lat"), values.get("predicted_lon")):
            values |= {"predicted_lat": None, "predicted_lon": None}
        if not _is_point(values.get("lat"), values.get("lon")):
            values |= dict.fromkeys(_OF_THE_PLACE)
        return cls(**values)

    @property
    def place_kind(self) -> Literal["known", "predicted"] | None:
        """Whether the place was recorded or inferred; None without a place."""
        if self.source in _KNOWN_SOURCES:
            return "known"
        return "predicted" if self.source == "prediction" else None

    @property
    def prediction_distance_km(self) -> float | None:
        """From the known place to the prediction beside it, where there are both."""
        if self.place_kind != "known" or self.lat is None or self.lon is None:
            return None
        if self.predicted_lat is None or self.predicted_lon is None:
            return None
        return distance_km(self.lat, self.lon, self.predicted_lat, self.predicted_lon)

    def to_json(self) -> dict[str, str | float | bool | None]:
        """Every column and `place_kind`, in values that JSON has; times in ISO 8601."""
        record: dict[str, Any] = {name: getattr(self, name) for name in _NAMES}
        for name in ("finished_at", "taken_at"):
            if record[name] is not None:
                record[name] = record[name].isoformat()
        return record | {"place_kind": self.place_kind, "prediction_distance_km": self.prediction_distance_km}


_NAMES = tuple(field.name for field in fields(ExportRow))


def read_rows(
    engine: Engine, *, batch_id: str | None = None, collection: str | None = None
) -> Iterator[ExportRow]:
    """The jobs of a batch, of a collection, or all, by address.

    Streams through a server-side cursor: memory does not grow with the number of rows. The connection is held
    until the iterator is exhausted or closed.
    """
    chosen = {"batch_id": batch_id, "collection": collection}
    with engine.connect().execution_options(stream_results=True, yield_per=_ROWS_PER_FETCH) as connection:
        for row in connection.execute(queries.reading.READ_JOBS, chosen):
            yield ExportRow.from_row(row)


def _clean(value: Any) -> Any:
    """NaN and infinities say nothing, and JSON has no word for them."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_point(lat: float | None, lon: float | None) -> bool:
    return lat is not None and lon is not None and is_valid(lat, lon)
