"""Where photographs of known place come from: tables in any spelling, files in any folder, and nothing lost."""

import csv
import hashlib
import io
import string
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from trainer.curate.opinions import Subject
from trainer.curate.sources import Why, subjects_of_folder, subjects_of_mp16
from trainer.curate.sources.found import LeftOut, gather
from trainer.curate.sources.known_place import NoPlace, complete
from trainer.curate.sources.pictures import NoPicture, Pictures
from trainer.curate.sources.table import read_rows
from worker.errors import SetupError
from worker.intake.uri import file_uri
from worker.place.gazetteer import Gazetteer

PARIS = (48.8566, 2.3522)


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


def picture(path, shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (8 * shade % 256, 8 * (shade // 32), 9)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def table(path, header, *rows, delimiter=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)
    return path


# --- tables ---


@pytest.mark.parametrize(
    "header",
    [
        ("IMG_ID", "LAT", "LON"),
        ("id", "latitude", "longitude"),
        ("image", "lat", "lng"),
        ("File Name", "Latitude", "Longitude"),
        ("\ufeffphoto_id", "gt_lat", "gt_lon"),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_columns_are_found_by_any_usual_name(tmp_path, header, delimiter):
    path = table(tmp_path / "t.csv", header, ("a", "1", "2"), delimiter=delimiter)
    [row] = read_rows(path)
    assert (row.line, row.fields) == (2, {"image": "a", "lat": "1", "lon": "2"})


def test_mp16_pros_state_goes_before_its_region(tmp_path):
    header = ("IMG_ID", "AUTHOR", "LAT", "LON", "neighbourhood", "city", "county", "state", "region", "country",
              "country_code", "continent")  # fmt: skip
    row = ("a/b.jpg", "1@N00", "48.8", "2.3", "", "Paris", "", "Ile-de-France", "Metropolitan France", "France",
           "fr", "Europe")  # fmt: skip
    [read] = read_rows(table(tmp_path / "t.csv", header, row))
    assert read.fields["region"] == "Ile-de-France"
    assert read.fields["photographer"] == "1@N00"


@pytest.mark.parametrize(
    "first", ["a,b,c\n1,2,3\n", "IMG_ID,LAT\nx,1\n", "", "image,lat,lon,lat\na,1,2,3\n", '"image,lat,lon\n']
)
def test_a_table_without_what_is_needed_is_refused_with_its_name(tmp_path, first):
    path = tmp_path / "places.csv"
    path.write_text(first)
    with pytest.raises(SetupError, match=r"places\.csv"):
        list(read_rows(path))


def test_utf16_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "places.csv"
    path.write_text("image,lat,lon\n", encoding="utf-16")
    with pytest.raises(SetupError, match="UTF-16"):
        read_rows(path)
    with pytest.raises(SetupError, match="cannot be read"):
        read_rows(tmp_path / "gone.csv")


cells = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(cells, cells, cells), max_size=8))
def test_every_row_of_a_well_formed_table_comes_back_with_its_cells(tmp_path, rows):
    path = table(tmp_path / "t.csv", ("image", "lat", "lon"), *rows)
    read = list(read_rows(path))
    assert all(not row.fault or "control" in row.fault for row in read)
    said = [row for row in rows if any(cell.strip() for cell in row)]
    assert len(read) == len(said)
    for row, (image, _, _) in zip(read, said, strict=True):
        if not row.fault and image.strip().lower() not in ("", "nan", "none", "null", "na", "n/a", "-"):
            assert row.fields["image"] == image.strip()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_no_bytes_of_a_table_raise_anything_but_a_setup_error(tmp_path, data):
    path = tmp_path / "t.csv"
    path.write_bytes(b"image,lat,lon\n" + data)
    for row in read_rows(path):
        assert row.fault or row.fields.keys() <= {"image", "lat", "lon"}


# --- pictures ---


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "a/../../secret.jpg", "/etc/passwd", "..\\secret.jpg", "C:\\x.jpg", "file:///x.jpg"]
)
def test_a_row_never_leads_out_of_the_folder(tmp_path, name):
    picture(tmp_path / "secret.jpg")
    (tmp_path / "inside").mkdir()
    with pytest.raises(NoPicture) as raised:
        Pictures(tmp_path / "inside").find(name)
    assert raised.value.reason is Why.OUTSIDE_FOLDER


@given(st.text(string.printable, max_size=40))
def test_whatever_a_row_names_is_below_the_folder_or_nothing(name):
    from pathlib import Path

    folder = Path(__file__).parent
    try:
        found = Pictures(folder, flattened=True, anywhere=False).find(name)
    except NoPicture:
        return
    assert folder in found.resolve().parents


def test_pictures_are_found_without_suffix_and_in_sub_folders(tmp_path):
    for name in ("a.jpg", "b/c.jpg", "b/d/e.png", "b/twice.jpg", "z/twice.jpg"):
        picture(tmp_path / name)
    pictures = Pictures(tmp_path)
    assert pictures.find("a") == tmp_path / "a.jpg"
    assert pictures.find("b/c.jpg") == tmp_path / "b/c.jpg"
    assert pictures.find("e") == tmp_path / "b/d/e.png"
    with pytest.raises(NoPicture) as raised:
        pictures.find("twice.jpg")
    assert raised.value.reason is Why.AMBIGUOUS_IMAGE
    for gone in ("none.jpg", "x" * 5000):
        with pytest.raises(NoPicture) as raised:
            pictures.find(gone)
        assert raised.value.reason is Why.IMAGE_MISSING


# --- places ---


def test_names_that_fit_stay_and_what_is_missing_is_added(gazetteer):
    bare = complete(gazetteer, *PARIS)
    assert (bare.country_code, bare.country, bare.city) == ("FR", "France", "Paris")
    assert bare.geoname_id == gazetteer.city("Paris", "FR").place.geoname_id
    named = complete(gazetteer, *PARIS, country="Frankreich", city="Lutetia Parisiorum")
    assert (named.country_code, named.city, named.geoname_id) == ("FR", "Lutetia Parisiorum", None)
    assert complete(gazetteer, *PARIS, country_code="fr", city="Paris").geoname_id == bare.geoname_id


def test_a_country_that_is_not_there_is_refused(gazetteer):
    with pytest.raises(NoPlace) as raised:
        complete(gazetteer, *PARIS, country="Japan", city="Tokyo")
    assert raised.value.reason is Why.COUNTRY_DISAGREES
    with pytest.raises(NoPlace) as raised:
        complete(gazetteer, 35.6, -40.0)
    assert raised.value.reason is Why.COUNTRY_UNKNOWN
    assert complete(gazetteer, 35.6, -40.0, country="Portugal").country_code == "PT"


def test_a_territory_may_be_filed_under_its_state_and_a_border_may_be_coarse(gazetteer):
    assert complete(gazetteer, -17.55, -149.56, country="France").country_code == "PF"
    over = complete(gazetteer, 47.59, 7.62, country="Switzerland", city="Basel")  # just in Germany
    assert (over.country_code, over.city) == ("CH", "Basel")


@settings(deadline=None)
@given(
    st.floats(allow_nan=True), st.floats(allow_nan=True), st.sampled_from([None, "France", "Nowhere", "NA", "CG"])
)
def test_a_place_is_complete_or_refused(gazetteer, lat, lon, country):
    try:
        place = complete(gazetteer, lat, lon, country=country)
    except NoPlace as none:
        assert none.reason in Why
        return
    assert -90 <= place.lat <= 90 and -180 <= place.lon <= 180
    assert gazetteer.country_name(place.country_code) == place.country


# --- folders ---


def test_a_folder_gives_a_subject_or_a_reason_for_each_row(tmp_path, gazetteer):
    first = picture(tmp_path / "pictures/a.jpg", 1)
    picture(tmp_path / "pictures/deep/b.jpg", 2)
    picture(tmp_path / "pictures/again.jpg", 1)
    (tmp_path / "pictures/text.jpg").write_text("no picture")
    (tmp_path / "outside.jpg").write_bytes((tmp_path / "pictures/deep/b.jpg").read_bytes() + b"x")
    (tmp_path / "pictures/link.jpg").symlink_to(tmp_path / "outside.jpg")
    header = ("image", "lat", "lon", "country", "city", "photographer", "licence")
    rows = [
        ("a", *PARIS, "France", "Paris", "Nadar", "CC BY 4.0"),
        ("b.jpg", 51.5, -0.12, "", "", "", ""),
        ("again.jpg", *PARIS, "", "", "", ""),
        ("text.jpg", *PARIS, "", "", "", ""),
        ("link.jpg", *PARIS, "", "", "", ""),
        ("gone.jpg", *PARIS, "", "", "", ""),
        ("../outside.jpg", *PARIS, "", "", "", ""),
        ("", *PARIS, "", "", "", ""),
        ("a", "", "", "", "", "", ""),
        ("a", "far", "2", "", "", "", ""),
        ("a", 0, 0, "", "", "", ""),
        ("a", 948.2, 2, "", "", "", ""),
        ("a", *PARIS, "Japan", "", "", ""),
        ("a", *PARIS, "Japan", "", "", "", ""),
    ]
    places = table(tmp_path / "pictures/places.csv", header, *rows)
    found = subjects_of_folder(tmp_path / "pictures")
    assert found.rows == len(rows)
    assert [subject.city for subject in found.subjects] == ["Paris", "London"]
    assert found.subjects[0] == Subject(
        first, file_uri(tmp_path / "pictures/a.jpg"), *PARIS, "FR", "France", found.subjects[0].region, "Paris",
        gazetteer.city("Paris", "FR").place.geoname_id, "Nadar", "CC BY 4.0",
    )  # fmt: skip
    assert found.counts == Counter({
        Why.DUPLICATE: 1, Why.UNREADABLE: 2, Why.IMAGE_MISSING: 1, Why.OUTSIDE_FOLDER: 1, Why.NO_IMAGE: 1,
        Why.NO_PLACE: 1, Why.NO_SUCH_PLACE: 3, Why.MALFORMED: 1, Why.COUNTRY_DISAGREES: 1,
    })  # fmt: skip
    assert all(str(places) in left.where or "again.jpg" in left.where for left in found.left_out)
    held = subjects_of_folder(tmp_path / "pictures", held_out=frozenset({first}))
    assert [subject.city for subject in held.subjects] == ["London"]
    assert held.counts[Why.HELD_OUT] == 2 and held.rows == len(rows)


def test_a_file_that_forbids_training_is_no_subject(tmp_path):
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" plus:DataMining='
        b'"http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-AIMLTRAINING"/></rdf:RDF></x:xmpmeta>'
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg", xmp=xmp)
    table(tmp_path / "t.csv", ("id", "LAT", "LON"), ("a", *PARIS))
    found = subjects_of_folder(tmp_path)
    assert not found.subjects and found.counts == {Why.RIGHTS_RESERVED: 1}


@pytest.mark.parametrize("flattened", [True, False])
@pytest.mark.parametrize("written", ["3f/2a/{}.jpg", "3f_2a_{}.jpg", "3f_2a_{}"])
def test_mp16_is_found_in_either_spelling(tmp_path, flattened, written):
    name = "3f_2a_{}.jpg" if flattened else "3f/2a/{}.jpg"
    expected = [picture(tmp_path / "mp-16-images" / name.format(n), n) for n in (11, 12)]
    header = ("IMG_ID", "AUTHOR", "LAT", "LON", "city", "state", "region", "country", "country_code")
    rows = [(written.format(n), "7@N02", *PARIS, "Paris", "", "", "France", "fr") for n in (11, 12, 13)]
    table(tmp_path / "metadata/MP16_Pro_filtered.csv", header, *rows)
    found = subjects_of_mp16(tmp_path)
    assert [subject.id for subject in found.subjects] == expected
    assert {subject.grouped_by for subject in found.subjects} == {"7@N02"}
    assert found.counts == {Why.IMAGE_MISSING: 1}


def test_what_is_drawn_does_not_depend_on_order_and_all_others_are_counted(tmp_path):
    rows = [(f"{n}.jpg", *PARIS) for n in range(30)]
    for n in range(30):
        picture(tmp_path / f"{n}.jpg", n)
    table(tmp_path / "t.csv", ("image", "lat", "lon"), *rows)
    once = subjects_of_folder(tmp_path, at_most=7, seed=3)
    table(tmp_path / "t.csv", ("image", "lat", "lon"), *reversed(rows))
    again = subjects_of_folder(tmp_path, at_most=7, seed=3)
    other = subjects_of_folder(tmp_path, at_most=7, seed=4)
    assert {s.id for s in once.subjects} == {s.id for s in again.subjects} != {s.id for s in other.subjects}
    assert once.counts == {Why.NOT_DRAWN: 23} and once.rows == 30


def test_a_folder_must_say_which_table(tmp_path):
    for fault in ("has 0 CSV files", "has 2 CSV files"):
        with pytest.raises(SetupError, match=fault):
            subjects_of_folder(tmp_path)
        for name in ("a.csv", "b.csv"):
            table(tmp_path / name, ("image", "lat", "lon"))
    with pytest.raises(SetupError, match="none of the tables"):
        subjects_of_mp16(tmp_path)
    with pytest.raises(SetupError, match="not a folder"):
        subjects_of_mp16(tmp_path / "gone")


entries = st.one_of(
    st.builds(Subject, st.sampled_from("abcdef"), st.just("file:///x"), st.just(1.0), st.just(2.0)),
    st.builds(LeftOut, st.just("t.csv, line 1"), st.sampled_from(Why), st.just("…")),
)


@given(st.lists(entries, max_size=30), st.frozensets(st.sampled_from("abcdef")))
def test_whatever_a_reader_yields_adds_up(given_entries, held_out):
    seen = []
    found = gather(given_entries, held_out=held_out, on_row=seen.append)
    assert found.rows == len(given_entries) == len(seen)
    assert len({subject.id for subject in found.subjects}) == len(found.subjects)
    assert not held_out & {subject.id for subject in found.subjects}
    assert Counter(left.reason for left in found.left_out) == found.counts
