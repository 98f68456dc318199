"""CSV with the georeference terms of Darwin Core, then this system's own columns.

Terms: Darwin Core quick reference (dwc.tdwg.org/terms); their use: Chapman and Wieczorek, Georeferencing Best
Practices, GBIF 2020. Coordinates keep the precision of the database. RFC 4180: commas, CR LF, quotes where needed.

Spreadsheets run a cell as a formula when its text begins with = + - @ (or their full-width forms), a tab or a line
end. File names, captions and model text are strangers' text, so such a cell gets an apostrophe in front, also when
blanks or apostrophes precede the sign. A program that wants the text back removes the first apostrophe from each
text cell that matches `GUARDED`. Numbers are never guarded. A spreadsheet that separates columns by semicolons
must be told that this file has commas (import, not double click).
"""

import csv
import math
import re
from collections.abc import Iterable
from datetime import datetime
from typing import TextIO

from worker.export.remarks import remarks
from worker.export.rows import ExportRow

_DANGEROUS = r"(?:[\s']*[=+\-@＝＋－＠]|[ ']*[\t\r\n])"
_NEEDS_GUARD = re.compile(_DANGEROUS)
GUARDED = re.compile("'" + _DANGEROUS)
"""Matches a cell that carries one apostrophe more than the text had."""

COLUMNS = (
    "identifier",
    "collection",
    "sha256",
    "eventDate",
    "decimalLatitude",
    "decimalLongitude",
    "geodeticDatum",
    "coordinateUncertaintyInMeters",
    "countryCode",
    "stateProvince",
    "municipality",
    "georeferencedBy",
    "georeferencedDate",
    "georeferenceProtocol",
    "georeferenceSources",
    "georeferenceVerificationStatus",
    "georeferenceRemarks",
    "dataGeneralizations",
    "informationWithheld",
    "job_id",
    "state",
    "outcome",
    "reason",
    "detail",
    "place_kind",
    "source",
    "granularity",
    "coverage",
    "geoname_id",
    "stated_place",
    "confidence",
    "gate_score",
    "predicted_lat",
    "predicted_lon",
    "prediction_distance_km",
    "model",
    "model_version",
    "untrained",
    "pipeline_version",
    "reused",
    "width_px",
    "height_px",
    "caption",
    "stated_reasons",
    "injected_text",
)

_GENERALISED = "Coordinates generalized to the centre of a grid cell of {:g} km, names to what is as wide"

_VERIFICATION = {"predicted": "requires verification", "manual": "verified by data custodian"}

_PROTOCOL = {
    "prediction": "Globetag: place inferred by a vision-language model, point and radius from a gazetteer",
    "exif": "camera position (EXIF GPS)",
    "xmp": "position stored with the photograph (XMP)",
    "import": "imported",
    "manual": "set by a person",
}


def write(rows: Iterable[ExportRow], stream: TextIO) -> int:
    """Writes a header and one line for each row; returns the number of rows."""
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    count = 0
    for row in rows:
        cells = _cells(row)
        writer.writerow([cells[column] for column in COLUMNS])
        count += 1
    return count


def guard(text: str | None) -> str:
    """`text` so that no spreadsheet takes it for a formula; empty for None."""
    if not text:
        return ""
    return "'" + text if _NEEDS_GUARD.match(text) else text


def _cells(row: ExportRow) -> dict[str, str]:
    has_place = row.place_kind is not None
    is_predicted = row.place_kind == "predicted"
    return {
        "identifier": guard(row.uri),
        "collection": guard(row.collection),
        "sha256": guard(row.sha256),
        "eventDate": _time(row.taken_at),
        "decimalLatitude": _number(row.lat, 7),
        "decimalLongitude": _number(row.lon, 7),
        "geodeticDatum": "EPSG:4326" if has_place else "",
        "coordinateUncertaintyInMeters": _uncertainty_m(row.radius_km),
        "countryCode": guard(row.country_code),
        "stateProvince": guard(row.region),
        "municipality": guard(row.city),
        "georeferencedBy": guard(_model(row)) if is_predicted else "",
        "georeferencedDate": _time(row.finished_at) if is_predicted else "",
        "georeferenceProtocol": _PROTOCOL[str(row.source)] if has_place else "",
        "georeferenceSources": "GeoNames" if is_predicted else "",
        "georeferenceVerificationStatus": _verification(row),
        "georeferenceRemarks": guard(remarks(row)),
        "dataGeneralizations": ""
        if row.precision_km is None or not has_place
        else _GENERALISED.format(row.precision_km),
        "informationWithheld": "" if row.precision_km is None else "caption, stated place and reasons",
        "job_id": row.job_id,
        "state": row.state,
        "outcome": row.outcome or "",
        "reason": row.reason or "",
        "detail": guard(row.detail),
        "place_kind": row.place_kind or "",
        "source": row.source or "",
        "granularity": row.granularity or "",
        "coverage": _number(row.coverage, 6),
        "geoname_id": "" if row.geoname_id is None else str(row.geoname_id),
        "stated_place": guard(row.stated_place),
        "confidence": _number(row.confidence, 6),
        "gate_score": _number(row.gate_score, 6),
        "predicted_lat": _number(row.predicted_lat, 7),
        "predicted_lon": _number(row.predicted_lon, 7),
        "prediction_distance_km": _number(row.prediction_distance_km, 3),
        "model": guard(row.model),
        "model_version": guard(row.model_version),
        "untrained": "" if row.untrained is None else str(row.untrained).lower(),
        "pipeline_version": guard(row.pipeline_version),
        "reused": str(row.reused).lower(),
        "width_px": "" if row.width_px is None else str(row.width_px),
        "height_px": "" if row.height_px is None else str(row.height_px),
        "caption": guard(row.caption),
        "stated_reasons": guard(row.reasoning),
        "injected_text": "" if row.injected_text is None else str(row.injected_text).lower(),
    }


def _number(value: float | None, decimals: int) -> str:
    """Plain decimal notation without an exponent and without trailing zeros."""
    if value is None:
        return ""
    text = f"{value:.{decimals}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _uncertainty_m(radius_km: float | None) -> str:
    """Whole metres, rounded up. Unknown is empty; Darwin Core does not allow zero."""
    return str(math.ceil(radius_km * 1000)) if radius_km else ""


def _time(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="seconds")


def _model(row: ExportRow) -> str:
    version = f"@{row.model_version}" if row.model_version else ""
    return f"{row.model or 'unnamed model'}{version} (inference{', UNTRAINED' if row.untrained else ''})"


def _verification(row: ExportRow) -> str:
    """From the vocabulary of the best practices; empty for a position that a device or a list gave."""
    if row.place_kind is None:
        return "unable to georeference" if row.outcome == "not_locatable" else "requires georeference"
    return _VERIFICATION.get(row.place_kind) or _VERIFICATION.get(str(row.source), "")
