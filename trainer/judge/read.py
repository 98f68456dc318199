"""Truth and predictions out of files, by the names of their columns.

A published result file often holds both: `LAT, LON, pred_LAT, pred_LON` (GLOBE). So a truth column may be marked
(`gt_lat`, `true_lat`) and a prediction column too (`pred_lat`, `lat_pred`, `predicted_latitude`); in a file that
has any marked prediction column, the plain names are never taken for predictions.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from trainer.judge import checks
from trainer.judge.answers import from_completion, from_names
from trainer.judge.checks import Point, Unit
from trainer.judge.files import Row, Table, is_empty, read_table
from trainer.judge.records import PLACEABLE, Outcome, Placeable, Prediction, Truth
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer

Role = Literal["truth", "prediction"]

_NAMES: dict[str, tuple[str, ...]] = {
    "id": ("id", "img_id", "image_id", "imgid", "image", "filename", "file_name", "file", "image_file",
           "image_name", "image_path", "img_path", "path", "img", "photo_id", "photoid", "uri", "key", "name",
           "sample_id"),
    "lat": ("lat", "latitude"),
    "lon": ("lon", "lng", "long", "longitude"),
    "country_code": ("country_code", "countrycode", "cc", "iso2", "unique_country"),
    "country": ("country", "country_name"),
    "region": ("region", "state", "admin1"),
    "city": ("city", "town"),
    "geoname_id": ("geoname_id", "geonameid"),
    "photographer": ("photographer", "author", "creator_id", "creator_username", "user_id", "userid", "owner",
                     "user", "nsid", "user_nsid"),
    "radius_km": ("radius_km", "radius"),
    "coverage": ("coverage",),
    "confidence": ("confidence", "score", "probability"),
    "granularity": ("granularity",),
    "outcome": ("outcome", "status"),
    "reason": ("reason",),
    "finish_reason": ("finish_reason",),
    "raw": ("raw", "raw_answer", "prediction", "response", "completion", "output", "generated_text",
            "model_output", "answer", "text"),
    "placeable": ("placeable",),
    "bayes_country": ("bayes_country",),
    "bayes_city25": ("bayes_city25",),
    "true_cues": ("true_cues",),
    "stated_cues": ("stated_cues",),
}  # fmt: skip
_MARKS: dict[Role, tuple[str, ...]] = {
    "truth": ("gt", "true", "truth", "real", "actual", "ground_truth", "target"),
    "prediction": ("pred", "predicted", "prediction", "guess", "guessed", "estimated", "model", "output"),
}
_ONE_OF = frozenset({"lat", "lon"})
"""Fields of which a file may have only one column, so that none is chosen by chance."""

_OUTCOMES = {
    Outcome.LOCATED: ("located", "ok", "done", "success", "answered"),
    Outcome.REFUSED: ("refused", "refusal", "not_locatable", "abstained", "abstain", "declined",
                      "gate_below_threshold", "no_place_stated", "samples_disagree", "too_uncertain",
                      "outside_region", "only_text_evidence"),
    Outcome.UNRESOLVED: ("unresolved", "place_unknown"),
    Outcome.UNPARSABLE: ("unparsable", "unparsed", "parse_error", "cut", "truncated"),
    Outcome.FAILED: ("failed", "error", "timeout", "dead", "model_error"),
    Outcome.MISSING: ("missing",),
}  # fmt: skip
_OUTCOME = {word: outcome for outcome, words in _OUTCOMES.items() for word in words}
_FLICKR_USER = re.compile(r"\d{5,}@N\d\d")


def read_truth(
    path: Path, gazetteer: Gazetteer, *, unit: Unit = "degrees", columns: Sequence[str] | None = None
) -> list[Truth]:
    """The known places of a file, in its order. `columns`: see `read_table`.

    Raises `SetupError`, naming file, row and count, for whatever would make a figure wrong.
    """
    table = read_table(path, columns=columns)
    reader = _Reader(table, "truth")
    reader.require("id", "lat", "lon")
    ids = reader.ids()
    without = [row for row in table.rows if reader.number(row, "lat") is None or reader.number(row, "lon") is None]
    if without:
        raise SetupError(
            f"{table.where(without[0])}: no coordinates, in {len(without):,} of {len(table.rows):,} rows; a truth"
            " without a place cannot be judged, and leaving it out changes the denominator: remove them yourself"
        )
    points = [
        Point(table.where(row), reader.number(row, "lat") or 0.0, reader.number(row, "lon") or 0.0)
        for row in table.rows
    ]
    degrees = checks.to_degrees(points, unit, "--truth-unit")
    truths = [
        _truth(reader, row, id_, lat, lon) for row, id_, (lat, lon) in zip(table.rows, ids, degrees, strict=True)
    ]
    checks.refuse_swapped_countries(truths, gazetteer)
    return truths


def read_predictions(path: Path, gazetteer: Gazetteer, *, unit: Unit = "degrees") -> list[Prediction]:
    """What a file says of each image, in its order: points, or names, or raw answers.

    A point counts before names, names found in the raw answer before nothing. Raises `SetupError` as `read_truth`.
    """
    table = read_table(path)
    reader = _Reader(table, "prediction")
    reader.require("id")
    if not any(reader.has(field) for field in ("lat", "country", "city", "raw", "outcome")):
        raise SetupError(
            f"{table.name}: no column with predictions among {', '.join(table.columns[:20])}; there must be lat"
            " and lon, country and city, or the raw answer (prediction, response), plain or marked as pred_lat …"
        )
    if reader.has("lat") != reader.has("lon"):
        raise SetupError(f"{table.name}: latitude and longitude must both be there, as columns lat and lon")
    ids = reader.ids()
    halves = [
        row for row in table.rows if (reader.number(row, "lat") is None) != (reader.number(row, "lon") is None)
    ]
    if halves:
        raise SetupError(f"{table.where(halves[0])}: half a coordinate, in {len(halves):,} rows")
    pointed = [row for row in table.rows if reader.number(row, "lat") is not None]
    points = [
        Point(table.where(row), reader.number(row, "lat") or 0.0, reader.number(row, "lon") or 0.0)
        for row in pointed
    ]
    degrees = dict(zip((row.number for row in pointed), checks.to_degrees(points, unit, "--unit"), strict=True))
    return [
        _prediction(reader, row, id_, degrees.get(row.number), gazetteer)
        for row, id_ in zip(table.rows, ids, strict=True)
    ]


class _Reader:
    """Finds fields in the rows of one table, for one role."""

    def __init__(self, table: Table, role: Role) -> None:
        self.table = table
        self.role = role
        self._has_marked_columns = any(
            self._is_marked(column, field) for column in table.columns for field in ("lat", "country", "city")
        )
        self._columns = {field: self._find(field) for field in _NAMES}

    def column(self, field: str) -> str | None:
        """The column that holds the field."""
        return self._columns[field]

    def _find(self, field: str) -> str | None:
        marked = [column for column in self.table.columns if self._is_marked(column, field)]
        plain = [column for column in _NAMES[field] if column in self.table.columns]
        shared = field in ("id", "finish_reason", "stated_cues", "true_cues")
        if self.role == "prediction" and not shared and self._has_marked_columns:
            found = marked or [column for column in plain if field in ("outcome", "reason", "raw", "confidence")]
        else:
            found = marked or plain
        if field in _ONE_OF and len(found) > 1:
            raise SetupError(f"{self.table.name}: both {found[0]!r} and {found[1]!r} may be the {field}; keep one")
        return found[0] if found else None

    def _is_marked(self, column: str, field: str) -> bool:
        return any(
            column in (f"{mark}_{name}", f"{name}_{mark}") for mark in _MARKS[self.role] for name in _NAMES[field]
        )

    def has(self, field: str) -> bool:
        return self.column(field) is not None

    def require(self, *fields: str) -> None:
        for field in fields:
            if not self.has(field):
                raise SetupError(
                    f"{self.table.name}: no column for the {field} (such as {', '.join(_NAMES[field][:4])}) among"
                    f" {', '.join(self.table.columns[:20])}"
                )

    def ids(self) -> list[str]:
        """The ids of all rows; refuses empty and repeated ones and footers."""
        ids = [(self.table.where(row), self.text(row, "id") or "") for row in self.table.rows]
        checks.refuse_footers(ids)
        checks.refuse_duplicates(ids)
        return [id_ for _, id_ in ids]

    def value(self, row: Row, field: str) -> Any:
        column = self.column(field)
        return None if column is None else row.fields.get(column)

    def text(self, row: Row, field: str) -> str | None:
        value = self.value(row, field)
        if is_empty(value) and not (field in ("country", "city") and value in ("NA", "None")):
            return None
        if isinstance(value, dict | list):
            raise SetupError(f"{self.table.where(row)}: {self.column(field)} is not text")
        return str(value).strip() or None

    def number(self, row: Row, field: str) -> float | None:
        value = self.value(row, field)
        if is_empty(value):
            return None
        try:
            if isinstance(value, bool):
                raise ValueError
            number = float(value)
        except (TypeError, ValueError):
            raise SetupError(
                f"{self.table.where(row)}: {self.column(field)} is {str(value)[:40]!r}, not a number"
            ) from None
        return None if math.isnan(number) else number

    def cues(self, row: Row, field: str) -> frozenset[str] | None:
        """A JSON array, or texts joined by semicolons. An empty cell is an empty list, null is no list."""
        value = self.value(row, field)
        if value is None:
            return None
        if isinstance(value, str) and value.strip().startswith("["):
            try:
                value = json.loads(value)
            except ValueError:
                raise SetupError(f"{self.table.where(row)}: {field} is not a valid JSON array") from None
        items = value.split(";") if isinstance(value, str) else value
        if not isinstance(items, list):
            raise SetupError(f"{self.table.where(row)}: {field} is no list of cues")
        return frozenset(filter(None, (fold_cue(item) for item in items)))


def fold_cue(item: Any) -> str:
    """A cue as it is compared: without case and surplus spaces. {"text": …} and [kind, value] are read too."""
    if isinstance(item, dict):
        item = item.get("text", "")
    if isinstance(item, list):
        item = ": ".join(str(part) for part in item)
    return " ".join(str(item).casefold().split())


def _truth(reader: _Reader, row: Row, id_: str, lat: float, lon: float) -> Truth:
    country, code = reader.text(row, "country"), reader.text(row, "country_code")
    user = _FLICKR_USER.search(id_)
    return Truth(
        id=id_,
        lat=lat,
        lon=lon,
        country_code=code.upper() if code else country if country and re.fullmatch("[A-Z]{2}", country) else None,
        country=country,
        region=reader.text(row, "region"),
        city=reader.text(row, "city"),
        geoname_id=_whole(reader.number(row, "geoname_id")),
        photographer=reader.text(row, "photographer") or (user[0] if user else None),
        placeable=_placeable(reader, row),
        bayes_country=_share(reader, row, "bayes_country"),
        bayes_city25=_share(reader, row, "bayes_city25"),
        true_cues=reader.cues(row, "true_cues"),
        where=reader.table.where(row),
    )


def _prediction(
    reader: _Reader, row: Row, id_: str, point: tuple[float, float] | None, gazetteer: Gazetteer
) -> Prediction:
    country, region, city = (reader.text(row, field) for field in ("country", "region", "city"))
    stated = _stated_outcome(reader, row)
    raw = _unwrap(reader.text(row, "raw"))
    finish_reason = reader.text(row, "finish_reason") or "stop"
    read = from_completion(id_, raw, gazetteer, finish_reason=finish_reason) if raw else None
    if stated not in (None, Outcome.LOCATED):
        found = Prediction(id_, stated)
        if read is not None:
            found = replace(found, strict=read.strict, unresolved=read.unresolved, raw=raw)
    elif point is not None:
        found = Prediction(id_, Outcome.LOCATED, lat=point[0], lon=point[1])
        if read is not None:
            names = {field: getattr(read, field) for field in ("country", "region", "city")}
            found = replace(found, **names, strict=read.strict, unresolved=read.unresolved, raw=raw)
    elif read is not None:
        found = read
    elif country or region or city:
        found = from_names(id_, gazetteer, country=country, region=region, city=city)
    elif stated is Outcome.LOCATED:
        raise SetupError(f"{reader.table.where(row)}: it says located, but there is no point and no name")
    else:
        found = Prediction(id_, Outcome.MISSING, detail="the row is there, but empty")
    if found.outcome is Outcome.UNPARSABLE:  # also where nothing but blanks was printed, so that no text was kept
        found = replace(found, strict=False)
    code, geoname_id = reader.text(row, "country_code"), _whole(reader.number(row, "geoname_id"))
    granularity = reader.text(row, "granularity")
    radius_km = reader.number(row, "radius_km")
    if radius_km is not None and not 0 <= radius_km < math.inf:
        raise SetupError(f"{reader.table.where(row)}: a radius of {radius_km:g} km")
    return replace(
        found,
        country=country or found.country,
        region=region or found.region,
        city=city or found.city,
        country_code=code.upper() if code else found.country_code,
        geoname_id=geoname_id if geoname_id is not None else found.geoname_id,
        granularity=granularity or found.granularity,
        radius_km=radius_km if radius_km is not None else found.radius_km,
        coverage=_share(reader, row, "coverage"),
        confidence=reader.number(row, "confidence"),
        stated_cues=reader.cues(row, "stated_cues"),
        where=reader.table.where(row),
    )


def _stated_outcome(reader: _Reader, row: Row) -> Outcome | None:
    word = reader.text(row, "outcome")
    if word is None:
        return None
    outcome = _OUTCOME.get(word.lower().replace(" ", "_").replace("-", "_"))
    if outcome is None:
        raise SetupError(
            f"{reader.table.where(row)}: {reader.column('outcome')} is {word[:40]!r}; known are"
            f" {', '.join(sorted(_OUTCOME))}"
        )
    reason = (reader.text(row, "reason") or "").lower()
    if outcome in (Outcome.FAILED, Outcome.REFUSED) and reason in ("unparsable", "place_unknown"):
        return _OUTCOME[reason]
    return outcome


def _unwrap(raw: str | None) -> str | None:
    """GLOBE's evaluation script stores {"data": answer}."""
    if raw and raw.startswith('{"data"'):
        try:
            inner = json.loads(raw).get("data")
        except ValueError:
            return raw
        return inner if isinstance(inner, str) else raw
    return raw


def _placeable(reader: _Reader, row: Row) -> Placeable | None:
    word = reader.value(row, "placeable")
    if word is None or word == "":
        return None
    for placeable in PLACEABLE:
        if str(word).strip().lower() == placeable:
            return placeable
    raise SetupError(
        f"{reader.table.where(row)}: placeable is {str(word)[:40]!r}, where {', '.join(PLACEABLE)} are possible"
    )


def _share(reader: _Reader, row: Row, field: str) -> float | None:
    value = reader.number(row, field)
    if value is not None and not 0 <= value <= 1:
        raise SetupError(f"{reader.table.where(row)}: {field} is {value:g}, and must be between 0 and 1")
    return value


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
