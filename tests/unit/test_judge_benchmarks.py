"""Benchmark folders in the form in which they are distributed, made here; and the numbers they must have."""

import csv
import random

import pytest

from trainer.judge.benchmarks import BENCHMARKS, find_images, open_benchmark
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def im2gps3k(folder, n, *, pictures=None):
    rng = random.Random(0)
    ids = [f"{1000 + i}_5ea72a1e2a_{1043 + i}_{50_000 + i % 198:08}@N00.jpg" for i in range(n)]
    rows = [[id_, f"author{i % 198}", 40 + rng.random(), 2 + rng.random(), 0, 3, 120] for i, id_ in enumerate(ids)]
    header = ["IMG_ID", "AUTHOR", "LAT", "LON", "S3_Label", "S16_Label", "S365_Label"]
    write(folder / "im2gps3k_places365.csv", header, rows)
    (folder / "im2gps3ktest").mkdir()
    for id_ in ids[: n if pictures is None else pictures]:
        (folder / "im2gps3ktest" / id_).touch()
    return ids


def yfcc4k(folder, n):
    """YFCC100M's own rows: no header, tabs, longitude before latitude, lone quotation marks, many more columns."""
    lines = [
        "\t".join(
            [str(i), str(7_000 + i), "hash", f"{i % 5:08}@N01", "nick", "2010", "2011", "Canon", 'A 5" lens', "",
             "a,b", "", "2.35", "48.85", "16", f"http://example.org/{i}", "", "CC", "",
             "3", "4", "s", "o", "jpg", "0"]
        )
        for i in range(n)
    ]  # fmt: skip
    (folder / "yfcc4k.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("name", "n"),
    [("im2gps3k", 2997), ("yfcc4k", 4536), ("gws15k", 15000), ("mp16-reason-test", 12000), ("osv5m", 210122)],
)
def test_each_benchmark_has_its_number(name, n):
    assert BENCHMARKS[name].n == n


def test_im2gps3k_with_all_its_images(tmp_path, gazetteer):
    im2gps3k(tmp_path, 2997)
    opened = open_benchmark("im2gps3k", tmp_path, gazetteer, need_images=True)
    assert len(opened.truths) == 2997
    assert len({truth.photographer for truth in opened.truths}) == 198
    assert all(truth.image.name == truth.id for truth in opened.truths)
    assert opened.notes == ()


def test_another_number_is_refused_and_the_missing_rows_are_named(tmp_path, gazetteer):
    im2gps3k(tmp_path, 2912)
    for stranger in ("x1@N00.jpg", "x2@N00.jpg"):
        (tmp_path / "im2gps3ktest" / stranger).touch()
    with pytest.raises(SetupError, match=r"2,912 rows, and 2,997 are expected \(85 missing\).*x1@N00, x2@N00"):
        open_benchmark("im2gps3k", tmp_path, gazetteer, need_images=False)
    opened = open_benchmark("im2gps3k", tmp_path, gazetteer, need_images=False, expect_n=2912)
    assert "2,912 of the 2,997" in opened.notes[0]


def test_missing_pictures_are_counted_and_named(tmp_path, gazetteer):
    ids = im2gps3k(tmp_path, 40, pictures=33)
    with pytest.raises(SetupError) as caught:
        open_benchmark("im2gps3k", tmp_path, gazetteer, need_images=True, expect_n=40)
    assert f"7 of 40 pictures are missing, such as {ids[33]}, {ids[34]}, {ids[35]} and 4 more" in str(caught.value)
    assert "im2gps3k_places365.csv, line 35" in str(caught.value)
    opened = open_benchmark(
        "im2gps3k", tmp_path, gazetteer, need_images=True, expect_n=40, allow_missing_images=True
    )
    assert sum(truth.image is None for truth in opened.truths) == 7
    assert len(opened.truths) == 40
    assert "count as misses" in opened.notes[1]


def test_a_folder_without_any_picture_is_refused_in_any_case(tmp_path, gazetteer):
    im2gps3k(tmp_path, 4, pictures=0)
    with pytest.raises(SetupError, match="4 of 4 pictures are missing"):
        open_benchmark("im2gps3k", tmp_path, gazetteer, need_images=True, expect_n=4, allow_missing_images=True)


def test_yfcc4k_is_read_without_a_header(tmp_path, gazetteer):
    yfcc4k(tmp_path, 4536)
    truths = open_benchmark("yfcc4k", tmp_path, gazetteer, need_images=False).truths
    assert (truths[0].id, truths[0].lat, truths[0].lon) == ("7000", 48.85, 2.35)
    assert len({truth.photographer for truth in truths}) == 5


def test_mp16_reason_test(tmp_path, gazetteer):
    rows = [["aa_bb_81639.jpg", 48.85, 2.35, "France", "Paris"], ["aa_bc_2.jpg", 35.68, 139.69, "Japan", "Tokyo"]]
    write(tmp_path / "data" / "mp16-reason-test-12k.csv", ["IMG_ID", "LAT", "LON", "country", "city"], rows)
    (tmp_path / "data" / "eval_images").mkdir()
    for row in rows:
        (tmp_path / "data" / "eval_images" / row[0]).touch()
    opened = open_benchmark("mp16-reason-test", tmp_path, gazetteer, need_images=True, expect_n=2)
    assert [truth.city for truth in opened.truths] == ["Paris", "Tokyo"]


def test_osv5m_with_its_sub_folders(tmp_path, gazetteer):
    header = ["id", "latitude", "longitude", "thumb_original_url", "country", "sequence", "captured_at",
              "lon_bin", "lat_bin", "region", "sub-region", "city", "unique_country", "creator_username",
              "creator_id"]  # fmt: skip
    row = ["3859149887465501", -43.80, -176.61, "", "NZ", "", "8", 0, 8, "Chatham Islands", "", "Waitangi", "NZ",
           "roadroid", "111336221091714.0"]  # fmt: skip
    write(tmp_path / "test.csv", header, [row])
    (tmp_path / "images" / "test" / "00").mkdir(parents=True)
    (tmp_path / "images" / "test" / "00" / f"{row[0]}.jpg").touch()
    [truth] = open_benchmark("osv5m", tmp_path, gazetteer, need_images=True, expect_n=1).truths
    assert (truth.country_code, truth.city, truth.photographer) == ("NZ", "Waitangi", "111336221091714.0")
    assert truth.image.parent.name == "00"


def test_gws15k_has_places_but_no_pictures(tmp_path, gazetteer):
    write(
        tmp_path / "gws15k.csv", ["IMG_ID", "LAT", "LON"], [[f"{i}.jpg", 10 + i / 1000, 20] for i in range(15_000)]
    )
    assert len(open_benchmark("gws15k", tmp_path, gazetteer, need_images=False).truths) == 15_000
    with pytest.raises(SetupError, match="15,000 of 15,000 pictures are missing"):
        open_benchmark("gws15k", tmp_path, gazetteer, need_images=True)


def test_what_is_no_benchmark_folder(tmp_path, gazetteer):
    with pytest.raises(SetupError, match="is not a folder"):
        open_benchmark("im2gps3k", tmp_path / "none", gazetteer, need_images=False)
    with pytest.raises(SetupError, match="no truth file of IM2GPS3k, which is called im2gps3k_"):
        open_benchmark("im2gps3k", tmp_path, gazetteer, need_images=False)


def test_pictures_are_found_below_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("a/x.JPG", "y.png", "z.txt"):
        (tmp_path / name).touch()
    assert sorted(find_images(tmp_path)) == ["x", "y"]
