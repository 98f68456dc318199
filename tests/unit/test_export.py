"""Exports: valid in their format, honest about where a place comes from, harmless in a spreadsheet."""

import csv
import io
import json
import math
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schema.queries.reading import READ_JOBS
from worker.export import FORMATS, darwin_core, write
from worker.export.darwin_core import GUARDED, guard
from worker.export.rows import ExportRow

DONE = {
    "job_id": "5b1c",
    "collection": "fonds 7",
    "state": "done",
    "finished_at": datetime(2026, 5, 1, tzinfo=UTC),
}
PREDICTED = DONE | {
    "uri": "file:///a/b.jpg", "outcome": "located", "source": "prediction", "lat": 48.2082, "lon": 16.3738,
    "predicted_lat": 48.2082, "predicted_lon": 16.3738, "radius_km": 25.0, "granularity": "city",
    "country_code": "AT", "region": "Vienna", "city": "Vienna", "model": "globe", "model_version": "a1",
    "untrained": False, "reasoning": "The tram is red and white.", "stated_place": "Vienna, Austria",
}  # fmt: skip
KNOWN = DONE | {
    "uri": "file:///a/c.jpg", "outcome": "known", "source": "exif", "lat": -33.9068, "lon": 18.4201,
    "radius_km": 0.0081, "granularity": "street", "country_code": "ZA", "city": "Cape Town",
}  # fmt: skip
VERIFIED = KNOWN | {"predicted_lat": -33.0, "predicted_lon": 18.0, "untrained": True, "stated_place": "Cape Town"}
REFUSED = DONE | {
    "uri": "file:///a/d.jpg", "outcome": "not_locatable", "reason": "gate_below_threshold",
    "detail": "Gate score 0.1.",
}  # fmt: skip
FAILED = DONE | {"uri": "file:///a/e.jpg", "state": "failed", "reason": "unreadable", "detail": "cut off"}


def export(format_: str, *rows: dict[str, Any]) -> str:
    stream = io.StringIO(newline="")
    assert write(format_, map(ExportRow.from_row, rows), stream) == len(rows)
    return stream.getvalue()


def as_csv(*rows: dict[str, Any]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(export("csv", *rows), newline="")))


def test_row_has_exactly_the_columns_of_the_query() -> None:
    selected = str(READ_JOBS).partition("FROM")[0].removeprefix("\n    SELECT").split(",\n")
    words = (
        ",".join(selected)
        .replace("coalesce(j.reason, l.reason)", "")
        .replace("coalesce(shown_detail(j.detail, j.reason, l.precision_km), l.detail)", "")
    )
    names = [part.split()[-1].rpartition(".")[2] for part in words.split(",") if part.strip()]
    assert tuple(names) == tuple(ExportRow.__dataclass_fields__)


def test_darwin_core_of_a_prediction() -> None:
    [cells] = as_csv(PREDICTED)
    assert cells["decimalLatitude"] == "48.2082"
    assert cells["decimalLongitude"] == "16.3738"
    assert cells["geodeticDatum"] == "EPSG:4326"
    assert cells["coordinateUncertaintyInMeters"] == "25000"
    assert cells["georeferenceVerificationStatus"] == "requires verification"
    assert cells["georeferencedBy"] == "globe@a1 (inference)"
    assert (cells["countryCode"], cells["municipality"]) == ("AT", "Vienna")
    assert (cells["place_kind"], cells["source"], cells["untrained"]) == ("predicted", "prediction", "false")
    assert "nominal" in cells["georeferenceRemarks"]


def test_darwin_core_of_a_camera_position() -> None:
    [cells] = as_csv(KNOWN)
    assert (cells["place_kind"], cells["source"]) == ("known", "exif")
    assert cells["georeferencedBy"] == cells["georeferenceVerificationStatus"] == ""
    assert cells["coordinateUncertaintyInMeters"] == "9"  # rounded up
    assert cells["predicted_lat"] == ""
    assert "camera" in cells["georeferenceRemarks"]


def test_what_is_made_coarser_says_so_in_darwin_core() -> None:
    capped = {"precision_km": 25.0, "lat": 48.1, "lon": 16.4, "reasoning": None, "stated_place": None}
    [row, plain] = as_csv(PREDICTED | capped, PREDICTED | {"injected_text": True})
    assert row["dataGeneralizations"].startswith("Coordinates generalized to the centre of a grid cell of 25 km")
    assert row["informationWithheld"] == "caption, stated place and reasons"
    assert "finer names and words are withheld" in row["georeferenceRemarks"]
    assert (plain["dataGeneralizations"], plain["informationWithheld"]) == ("", "")
    assert plain["injected_text"] == "true"
    assert "look twice" in plain["georeferenceRemarks"]


def test_zero_uncertainty_is_unknown() -> None:
    assert as_csv(KNOWN | {"radius_km": 0.0})[0]["coordinateUncertaintyInMeters"] == ""


@pytest.mark.parametrize("format_", FORMATS)
def test_verified_place_keeps_both_and_counts_the_known(format_: str) -> None:
    if format_ == "csv":
        [cells] = as_csv(VERIFIED)
        assert (cells["decimalLatitude"], cells["predicted_lat"]) == ("-33.9068", "-33")
        assert 100 < float(cells["prediction_distance_km"]) < 110
        remarks = cells["georeferenceRemarks"]
    else:
        record = json.loads(export(format_, VERIFIED))
        if format_ == "geojson":
            [record] = record["features"]
            assert record["geometry"] == {"type": "Point", "coordinates": [18.4201, -33.9068]}
            record = record["properties"]
        else:
            assert (record["lat"], record["lon"]) == (-33.9068, 18.4201)
        assert (record["predicted_lat"], record["place_kind"]) == (-33.0, "known")
        remarks = record["remarks"]
    assert "does not count as the place" in remarks


@pytest.mark.parametrize("format_", FORMATS)
def test_untrained_output_is_marked(format_: str) -> None:
    text = export(format_, PREDICTED | {"untrained": True})
    assert "UNTRAINED" in text
    assert "UNTRAINED" not in export(format_, PREDICTED, KNOWN, REFUSED, FAILED)


@pytest.mark.parametrize("job", [REFUSED, FAILED], ids=["refused", "failed"])
def test_without_a_place_there_is_no_point_but_a_reason(job: dict[str, Any]) -> None:
    [cells] = as_csv(job)
    assert cells["decimalLatitude"] == cells["geodeticDatum"] == cells["predicted_lat"] == ""
    assert (cells["state"], cells["reason"], cells["detail"]) == (job["state"], job["reason"], job["detail"])
    [feature] = json.loads(export("geojson", job))["features"]
    assert feature["geometry"] is None
    assert feature["properties"]["reason"] == job["reason"]
    assert json.loads(export("jsonl", job))["lat"] is None


def test_a_prediction_of_a_job_that_is_not_done_is_withheld() -> None:
    for state in ("queued", "running", "failed", "dead"):
        row = ExportRow.from_row(PREDICTED | {"state": state, "outcome": None, "reason": "timeout"})
        assert (row.place_kind, row.lat, row.predicted_lat, row.city) == (None, None, None, None)
    assert ExportRow.from_row(KNOWN | {"state": "failed"}).place_kind == "known"
    assert ExportRow.from_row(KNOWN | {"state": "queued"}).place_kind is None  # of an earlier file, perhaps


@pytest.mark.parametrize("lat", [None, math.nan, math.inf, 91.0])
def test_impossible_points_are_no_place(lat: float | None) -> None:
    row = ExportRow.from_row(PREDICTED | {"lat": lat, "predicted_lat": lat, "confidence": math.nan})
    assert (row.place_kind, row.lat, row.lon, row.predicted_lon, row.confidence) == (None,) * 5
    for format_ in FORMATS:
        text = export(format_, PREDICTED | {"lat": lat, "confidence": math.nan})
        assert "nan" not in text.lower().replace("globetag", "")
        assert "Infinity" not in text


def test_geojson_is_valid_with_any_number_of_features() -> None:
    for rows in ([], [KNOWN], [KNOWN, REFUSED, PREDICTED]):
        collection = json.loads(export("geojson", *rows))
        assert collection["type"] == "FeatureCollection"
        assert len(collection["features"]) == len(rows)
        assert all({"type", "geometry", "properties"} <= feature.keys() for feature in collection["features"])


def test_jsonl_has_every_column_on_one_line_each() -> None:
    lines = export("jsonl", PREDICTED | {"reasoning": "two\nlines\u2028three"}, FAILED).split("\n")
    assert lines.pop() == ""
    records = [json.loads(line) for line in lines]
    assert len(records) == 2
    assert records[0].keys() >= set(ExportRow.__dataclass_fields__)
    assert records[0]["finished_at"] == "2026-05-01T00:00:00+00:00"


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
@example(" \n")
def test_guarded_text_is_no_formula_and_comes_back(text: str) -> None:
    cell = guard(text)
    assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    assert (cell[1:] if GUARDED.match(cell) else cell) == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_any_text_survives_csv(text: str) -> None:
    [cells] = as_csv(PREDICTED | {"caption": text})
    assert cells["caption"] == guard(text)
    assert cells["stated_reasons"] == "The tram is red and white."


@pytest.mark.parametrize(
    "payload", ["=1+1", "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", '=HYPERLINK("x")']
)
@pytest.mark.parametrize("column", ["uri", "collection", "caption", "reasoning", "stated_place", "city", "detail"])
def test_formulas_are_defused_in_every_text_column(payload: str, column: str) -> None:
    [cells] = as_csv(PREDICTED | {column: payload})
    assert payload not in cells.values()
    assert "'" + payload in cells.values()


def test_names_with_an_apostrophe_and_negative_numbers_stay() -> None:
    [cells] = as_csv(KNOWN | {"city": "'s-Hertogenbosch"})
    assert cells["municipality"] == "'s-Hertogenbosch"
    assert cells["decimalLatitude"] == "-33.9068"


def test_small_numbers_are_written_plainly() -> None:
    [cells] = as_csv(KNOWN | {"lat": 1e-5, "lon": -1e-12, "gate_score": 3e-6})
    assert (cells["decimalLatitude"], cells["decimalLongitude"]) == ("0.00001", "0")
    assert cells["gate_score"] == "0.000003"


def test_every_cell_has_a_column() -> None:
    assert set(darwin_core.COLUMNS) == set(darwin_core._cells(ExportRow.from_row(PREDICTED)))


@pytest.mark.parametrize("format_", FORMATS)
def test_memory_stays_flat(format_: str) -> None:
    class Nowhere(io.TextIOBase):
        def write(self, text: str) -> int:
            return len(text)

    def many(count: int) -> Iterator[ExportRow]:
        for number in range(count):
            yield ExportRow.from_row(PREDICTED | {"job_id": str(number)})

    write(format_, many(10), Nowhere())  # type: ignore[arg-type]
    tracemalloc.start()
    write(format_, many(3000), Nowhere())  # type: ignore[arg-type]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 300_000
