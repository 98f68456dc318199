"""Files that people really have: read right, or refused with file, row and count."""

import csv
import json
import math
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.judge.as_json import prediction_line
from trainer.judge.matching import match, stem
from trainer.judge.places import globe_match, same_city_name, same_country_name
from trainer.judge.read import read_predictions, read_truth
from trainer.judge.records import Outcome, Prediction, Truth
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer

ROWS = [
    {"id": "a.jpg", "lat": 48.85, "lon": 2.35, "country": "France", "city": "Paris"},
    {"id": "b.jpg", "lat": -33.87, "lon": 151.21, "country": "Australia", "city": "Sydney"},
    {"id": "c.jpg", "lat": 35.68, "lon": 139.69, "country": "Japan", "city": "Tokyo"},
]


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


def write(path, rows, delimiter=","):
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(file, columns, delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def renamed(rows, **names):
    return [{names.get(key, key): value for key, value in row.items()} for row in rows]


# --- forms ---


def test_every_form_reads_the_same(tmp_path, gazetteer):
    (tmp_path / "t.json").write_text(json.dumps(ROWS))
    (tmp_path / "wrapped.json").write_text(json.dumps({"version": 2, "results": ROWS}))
    (tmp_path / "by_id.json").write_text(
        json.dumps({row["id"]: {key: value for key, value in row.items() if key != "id"} for row in ROWS})
    )
    (tmp_path / "columns.json").write_text(json.dumps({key: [row[key] for row in ROWS] for key in ROWS[0]}))
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + write(tmp_path / "t.csv", ROWS).read_bytes())
    write(tmp_path / "semicolon.csv", ROWS, ";")
    write(tmp_path / "tab.tsv", ROWS, "\t")
    names = ["t.json", "wrapped.json", "by_id.json", "columns.json", "t.jsonl", "t.csv", "bom.csv",
             "semicolon.csv", "tab.tsv"]  # fmt: skip
    for name in names:
        truths = read_truth(tmp_path / name, gazetteer)
        found = [(truth.id, truth.lat, truth.lon, truth.country, truth.city) for truth in truths]
        assert found == [tuple(row.values()) for row in ROWS], name


@pytest.mark.parametrize(
    "names",
    [
        {"id": "IMG_ID", "lat": "LAT", "lon": "LON"},
        {"id": "image_id", "lat": "Latitude", "lon": "Longitude"},
        {"id": "filename", "lat": "gt_lat", "lon": "gt_lng"},
        {"id": "Image Path", "lat": "true-latitude", "lon": "true-longitude"},
    ],
)
def test_columns_are_found_by_any_of_their_names(tmp_path, gazetteer, names):
    truths = read_truth(write(tmp_path / "t.csv", renamed(ROWS, **names)), gazetteer)
    assert [(truth.id, truth.lat) for truth in truths] == [(row["id"], row["lat"]) for row in ROWS]


def test_one_file_may_hold_truth_and_predictions(tmp_path, gazetteer):
    """As GLOBE's evaluation script writes them: the plain columns are the truth."""
    answers = [("France", "Lyon"), ("New Zealand", "Auckland"), ("Japan", "Tokyo")]
    rows = [
        {"IMG_ID": row["id"], "LAT": row["lat"], "LON": row["lon"], "city": row["city"], "country": row["country"],
         "prediction": json.dumps({"data": f"<answer>country: {said}\ncity: {town}</answer>"}),
         "pred_city": town.lower(), "pred_country": said.lower(), "pred_LAT": "", "pred_LON": ""}
        for row, (said, town) in zip(ROWS, answers, strict=True)
    ]  # fmt: skip
    path = write(tmp_path / "globe.csv", rows)
    assert [truth.city for truth in read_truth(path, gazetteer)] == ["Paris", "Sydney", "Tokyo"]
    said = read_predictions(path, gazetteer)
    assert [prediction.city for prediction in said] == ["lyon", "auckland", "tokyo"]
    assert [round(prediction.lat) for prediction in said] == [46, -37, 36]
    assert all(prediction.strict for prediction in said)


def test_plain_coordinates_beside_marked_names_are_never_taken_for_answers(tmp_path, gazetteer):
    rows = [{"id": row["id"], "lat": row["lat"], "lon": row["lon"], "pred_country": "Chile"} for row in ROWS]
    said = read_predictions(write(tmp_path / "p.csv", rows), gazetteer)
    assert {prediction.country_code for prediction in said} == {"CL"}
    assert all(prediction.lat < -20 for prediction in said)


def test_outcomes_are_told_apart(tmp_path, gazetteer):
    rows = [
        {"id": "1", "status": "located", "lat": 10, "lon": 20},
        {"id": "2", "status": "not_locatable"},
        {"id": "3", "status": "parse error"},
        {"id": "4", "status": "timeout"},
        {"id": "5", "status": "not_locatable", "reason": "place_unknown"},
        {"id": "6"},
        {"id": "7", "response": "I cannot say where this is.\n<answer>country: unknown</answer>"},
        {"id": "8", "response": "The picture shows a dog"},
        {"id": "9", "response": "<answer>country: Freedonia</answer>"},
        {"id": "10", "response": "<think>A sign in French and a", "finish_reason": "length"},
        {"id": "11", "country": "Kenya", "city": "Nairobi"},
        {"id": "12", "status": "refused", "lat": 10, "lon": 20},
        {"id": "13", "country": "unknown"},
        {"id": "14", "country": "Kenya", "city": "Zzyzzx"},
    ]
    said = {each.id: each for each in read_predictions(write(tmp_path / "p.csv", rows), gazetteer)}
    expected = ["located", "refused", "unparsable", "failed", "unresolved", "missing", "refused", "unparsable",
                "unresolved", "unparsable", "located", "refused", "refused", "located"]  # fmt: skip
    assert [said[str(number)].outcome for number in range(1, 15)] == expected
    assert said["12"].lat is None
    assert said["9"].unresolved == ("country",)
    assert said["11"].city == "Nairobi"
    assert said["11"].unresolved == ()
    assert said["14"].unresolved == ("city",)
    assert said["14"].granularity == "country"


def test_strict_and_tolerant_reading_are_two_things(tmp_path, gazetteer):
    rows = [
        {"id": "1", "raw": "<think>Left-hand traffic.</think><answer>country: Kenya\ncity: Nairobi</answer>"},
        {"id": "2", "raw": "Country: Kenya, City: Nairobi"},
    ]
    one, other = read_predictions(write(tmp_path / "p.csv", rows), gazetteer)
    assert (one.lat, one.lon) == (other.lat, other.lon)
    assert (one.strict, other.strict) == (True, False)


def test_cue_lists_in_both_forms(tmp_path, gazetteer):
    rows = [
        {**ROWS[0], "true_cues": "Red roof; plate: yellow;", "stated_cues": '["red  ROOF", {"text": "a camel"}]'},
        {**ROWS[1], "true_cues": "", "stated_cues": ""},
        {**ROWS[2], "true_cues": '[["plate", "yellow"]]', "stated_cues": "plate: Yellow"},
    ]
    path = write(tmp_path / "t.csv", rows)
    true = [truth.true_cues for truth in read_truth(path, gazetteer)]
    assert true == [{"red roof", "plate: yellow"}, frozenset(), {"plate: yellow"}]
    stated = [said.stated_cues for said in read_predictions(path, gazetteer)]
    assert stated == [{"red roof", "a camel"}, frozenset(), {"plate: yellow"}]
    (tmp_path / "p.jsonl").write_text('{"id": "x", "country": "Kenya", "stated_cues": null}')
    assert read_predictions(tmp_path / "p.jsonl", gazetteer)[0].stated_cues is None


def test_photographers_come_from_a_column_or_from_flickr_names(tmp_path, gazetteer):
    rows = [{**ROWS[0], "AUTHOR": "ann"}, {**ROWS[1], "id": "102_5ea_43_50153461@N00.jpg", "AUTHOR": ""}]
    truths = read_truth(write(tmp_path / "t.csv", rows), gazetteer)
    assert [truth.photographer for truth in truths] == ["ann", "50153461@N00"]


def test_kept_predictions_are_read_back_as_they_were(tmp_path, gazetteer):
    raw = "<think>A red roof over a shop.</think><answer>country: Kenya\ncity: Nairobi</answer>"
    kept = [
        Prediction("1", Outcome.LOCATED, lat=-1.28333, lon=36.81667, radius_km=30.0, coverage=0.9, confidence=0.7,
                   granularity="city", country_code="KE", country="Kenya", city="Nairobi", geoname_id=184745,
                   strict=True, stated_cues=frozenset({"a; b", "c"}), raw=raw),
        Prediction("2", Outcome.FAILED, detail="unreadable: \u2028 damaged"),
        Prediction("3", Outcome.REFUSED, stated_cues=frozenset()),
    ]  # fmt: skip
    (tmp_path / "p.jsonl").write_text("\n".join(map(prediction_line, kept)) + "\n", encoding="utf-8")
    found = read_predictions(tmp_path / "p.jsonl", gazetteer)
    for one, other in zip(kept, found, strict=True):
        for name in ("id", "outcome", "lat", "lon", "radius_km", "coverage", "confidence", "granularity",
                     "country_code", "country", "city", "geoname_id", "strict", "stated_cues", "raw"):  # fmt: skip
            assert getattr(one, name) == getattr(other, name), name


# --- refusals ---


def refused(call, *words):
    with pytest.raises(SetupError) as caught:
        call()
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_files_are_named(tmp_path, gazetteer):
    refused(lambda: read_truth(tmp_path / "none.csv", gazetteer), "none.csv", "No such file")
    cases = {
        "empty.csv": (b"", "0 rows"),
        "blank.json": (b" \n", "0 rows"),
        "header.csv": (b"id,lat,lon\n", "0 rows"),
        "headless.csv": (b"1,2.5,3.5\n", "no header line"),
        "utf16.csv": ("id,lat,lon".encode("utf-16"), "UTF-16"),
        "latin.csv": (b"id,lat,lon\na,1,2\nb\xe9,1,2\n", "line 3"),
        "broken.json": (b'[{"id": 1},', "not valid JSON"),
        "broken.jsonl": (b'{"id": "a", "lat": 1, "lon": 9}\n{"id"', "line 2"),
        "number.json": (b"5", "not a list"),
        "list.jsonl": (b"[1]", "not a JSON object"),
        "twice.csv": (b"id,lat,lat,lon\na,1,1,2\n", "'lat' is there 2 times"),
        "both.csv": (b"id,lat,latitude,lon\na,1,1,2\n", "keep one"),
        "nolon.csv": (b"id,lat\na,1\n", "no column for the lon"),
        "quote.csv": (b'id,lat,lon\n"a,1,2\n', "not valid CSV"),
        "short.csv": (b"id,lat,lon\na,1,20\nb,1\n", "line 3: 2 fields"),
        "text.csv": (b"id,lat,lon\na,1,20\nb,north,20\n", "line 3: lat is 'north', not a number"),
        "comma.csv": (b'id,lat,lon\na,"48,85",20\n', "not a number"),
        "gone.csv": (b"id,lat,lon\na,1,20\nb,,20\nc,,\n", "line 3: no coordinates, in 2 of 3 rows"),
        "inf.csv": (b"id,lat,lon\na,1,20\nb,inf,20\n", "line 3: the coordinate is infinite"),
        "range.csv": (b"id,lat,lon\na,1,20\nb,1,200\n", "line 3: latitude 1, longitude 200 is not on Earth"),
        "placeable.csv": (b"id,lat,lon,placeable\na,1,20,street\n", "placeable is 'street'"),
        "bayes.csv": (b"id,lat,lon,bayes_country\na,1,20,80\n", "bayes_country is 80"),
    }
    for name, (data, word) in cases.items():
        (tmp_path / name).write_bytes(data)
        refused(lambda name=name: read_truth(tmp_path / name, gazetteer), name, word)


@pytest.mark.parametrize("footer", ["", "Mean", "TOTAL", "overall"])
def test_footer_rows_are_refused_with_their_row(tmp_path, gazetteer, footer):
    path = write(tmp_path / "t.csv", [*ROWS, {**ROWS[0], "id": footer}])
    refused(lambda: read_truth(path, gazetteer), "t.csv, line 5", "footer", "1 row like this")
    refused(lambda: read_predictions(path, gazetteer), "t.csv, line 5", "footer")


def test_repeated_ids_are_refused_with_both_rows(tmp_path, gazetteer):
    path = write(tmp_path / "t.csv", [*ROWS, ROWS[1]])
    refused(lambda: read_truth(path, gazetteer), "t.csv, line 3 and line 5", "'b.jpg' comes 2 times")


def test_swapped_columns_show_by_their_range(tmp_path, gazetteer):
    path = write(tmp_path / "t.csv", renamed(ROWS, lat="lon", lon="lat"))
    refused(lambda: read_truth(path, gazetteer), "line 3", "2 of 3 rows", "swapped")


def test_swapped_columns_show_by_the_country_where_every_value_is_in_range(tmp_path, gazetteer):
    rows = [
        {"id": f"{number}", "LAT": lon, "LON": lat, "country": country}
        for number, (lat, lon, country) in enumerate(
            [(48.9, 2.3, "France"), (40.4, -3.7, "Spain"), (52.5, 13.4, "DE"), (-1.3, 36.8, "Kenya")]
        )
    ]
    path = write(tmp_path / "t.csv", rows)
    refused(
        lambda: read_truth(path, gazetteer), "of 4 rows looked at, 0 lie in the country", "4 do when", "swapped"
    )
    straight = write(tmp_path / "s.csv", renamed(rows, LAT="LON", LON="LAT"))
    assert len(read_truth(straight, gazetteer)) == 4


def test_swapped_answers_show_by_their_distance():
    rng = random.Random(1)
    truths = [Truth(f"{n}", rng.uniform(40, 60), rng.uniform(0, 30)) for n in range(40)]

    def said(swap):
        points = [(truth.lon, truth.lat) if swap else (truth.lat, truth.lon) for truth in truths]
        return [
            Prediction(truth.id, Outcome.LOCATED, lat=lat, lon=lon)
            for truth, (lat, lon) in zip(truths, points, strict=True)
        ]

    refused(lambda: match("r", truths, said(True), source="p.csv"), "p.csv", "swapped", "40 do when")
    assert len(match("r", truths, said(False), source="p.csv").rows) == 40


def test_radians_are_refused_unless_they_are_said_to_be_some(tmp_path, gazetteer):
    rows = [{**row, "lat": math.radians(row["lat"]), "lon": math.radians(row["lon"])} for row in ROWS]
    path = write(tmp_path / "p.csv", rows)
    refused(lambda: read_predictions(path, gazetteer), "p.csv, line 2", "all 3 coordinates", "`--unit radians`")
    refused(lambda: read_truth(path, gazetteer), "`--truth-unit radians`")
    found = read_predictions(path, gazetteer, unit="radians")
    assert [each.lat for each in found] == pytest.approx([row["lat"] for row in ROWS])
    degrees = write(tmp_path / "d.csv", ROWS)
    refused(lambda: read_predictions(degrees, gazetteer, unit="radians"), "cannot be radians", "3 rows of 3")


def test_bad_predictions_are_named(tmp_path, gazetteer):
    cases = {
        "nothing.csv": ("id,caption\na,x\n", "no column with predictions"),
        "half.csv": ("id,lat,lon\na,1,20\nb,1,\n", "line 3: half a coordinate"),
        "nolon.csv": ("id,lat\na,1\n", "latitude and longitude must both"),
        "status.csv": ("id,status\na,perhaps\n", "status is 'perhaps'"),
        "pointless.csv": ("id,status,lat,lon\na,located,,\n", "line 2: it says located"),
        "radius.csv": ("id,lat,lon,radius_km\na,10,20,-5\n", "a radius of -5 km"),
        "coverage.csv": ("id,lat,lon,coverage\na,10,20,90\n", "coverage is 90"),
        "cues.csv": ('id,lat,lon,stated_cues\na,10,20,"[1"\n', "not a valid JSON array"),
    }
    for name, (data, word) in cases.items():
        (tmp_path / name).write_text(data)
        refused(lambda name=name: read_predictions(tmp_path / name, gazetteer), name, word)


# --- truth and predictions together ---


def test_every_truth_has_one_row_and_strangers_are_refused():
    truths = [Truth("a.jpg", 10, 20), Truth("b.jpg", 10, 20)]
    run = match("r", truths, [Prediction("b.jpg", Outcome.REFUSED)], source="p.csv")
    assert [(row.truth.id, row.prediction.outcome) for row in run.rows] == [
        ("a.jpg", "missing"),
        ("b.jpg", "refused"),
    ]
    strangers = [Prediction("b.jpg", Outcome.REFUSED), Prediction("z", Outcome.REFUSED, where="p.csv, line 3")]
    refused(lambda: match("r", truths, strangers, source="p.csv"), "p.csv, line 3", "'z'", "1 of 2 predictions")


def test_folders_and_suffixes_may_differ_if_names_stay_unique():
    truths = [Truth("00/a.jpg", 10, 20), Truth("00/b.v2.png", 10, 20)]
    run = match("r", truths, [Prediction("b.v2", Outcome.REFUSED), Prediction("a", Outcome.REFUSED)], source="p")
    assert [row.prediction.outcome for row in run.rows] == ["refused", "refused"]
    assert "matched by file name" in run.notes[0]
    alike = [Truth("00/a.jpg", 10, 20), Truth("01/a.jpg", 10, 20)]
    refused(lambda: match("r", alike, [Prediction("a", Outcome.REFUSED)], source="p"), "knows no image 'a'")


def test_stems():
    assert [stem(id_) for id_ in ("a/b.JPG", "b.2", "c\\d.webp", "12_3@N00")] == ["b", "b.2", "d", "12_3@N00"]


def test_a_template_echoed_is_noted():
    truths = [Truth("a", 10, 20), Truth("b", 10, 20)]
    said = [Prediction("a", Outcome.LOCATED, lat=0, lon=0), Prediction("b", Outcome.LOCATED, lat=10, lon=20)]
    assert "1 answers are exactly 0, 0" in match("r", truths, said, source="p").notes[0]


# --- names ---


def test_country_names_are_one_through_the_gazetteer(gazetteer):
    for one, other in (("UK", "United Kingdom"), ("Deutschland", "Germany"), ("Cote d'Ivoire", "Ivory Coast")):
        assert same_country_name(one, other, gazetteer), one
    for one, other in (("Niger", "Nigeria"), ("Congo", "Democratic Republic of Congo"), (None, "France")):
        assert not same_country_name(one, other, gazetteer), one


def test_city_names_need_their_country(gazetteer):
    def same(stated, true, stated_country, code):
        return same_city_name(stated, true, stated_country=stated_country, country_code=code, gazetteer=gazetteer)

    assert same("Munich", "München", "DE", "DE")
    assert same("munich", "Munich", None, "DE")
    assert not same("Paris", "Paris", "US", "FR")
    assert not same("Berlin", "Munich", "DE", "DE")
    assert not same(None, "Munich", "DE", "DE")


@pytest.mark.parametrize(
    ("stated", "true", "right"),
    [
        ("Niger", "Nigeria", True), ("new york", "New York City", False), ("Paris", "paris", True),
        ("", "Paris", False), ("Paris", "", False), ("Great Britain", "UK", False),
        ("Mexico City", "Mexico Cit", True), (None, "Oslo", False),
    ],
)  # fmt: skip
def test_the_published_string_rule(stated, true, right):
    assert globe_match(stated, true) is right


@given(st.text("ab", max_size=12), st.text("ab", max_size=12))
def test_the_published_string_rule_is_symmetric_and_needs_seven_tenths(one, other):
    assert globe_match(one, other) == globe_match(other, one)
    if globe_match(one, other):
        assert 10 * min(len(one), len(other)) >= 7 * max(len(one), len(other))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.sampled_from(["x.csv", "x.json", "x.jsonl", "x.txt"]))
def test_whatever_a_file_holds_it_is_read_or_refused(tmp_path, gazetteer, data, name):
    path = tmp_path / name
    path.write_bytes(b"id,lat,lon\n" + data if name == "x.csv" else data)
    for read in (read_truth, read_predictions):
        try:
            read(path, gazetteer)
        except SetupError as error:
            assert name in str(error)
