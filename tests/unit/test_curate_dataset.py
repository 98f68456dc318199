"""The data set as files: whatever is written is read back, and other people's in the same shape are read too."""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from schema.reasons import Reason
from trainer.curate.opinions import CueSeen
from trainer.curate.output.read import completion, examples, questions, read_rows
from trainer.curate.output.rows import Fate, Kept, visible
from trainer.curate.output.write import solution, write_dataset
from trainer.rewards.cues import phrase_key
from worker.errors import JobError, SetupError
from worker.reason.answer import Answer, parse, render
from worker.reason.prompt import build_prompt

PROMPT = build_prompt()


def picture(shade=0, side=8):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (shade % 256, shade // 256, 7)).save(buffer, "PNG")
    return buffer.getvalue()


def kept(data=b"", **more):
    given = {
        "uri": "mem://x",
        "lat": 48.85,
        "lon": 2.35,
        "country_code": "FR",
        "country": "France",
        "region": "Île-de-France",
        "city": "Paris",
        "geoname_id": 2988507,
        "grouped_by": None,
        "licence": None,
        "label_id": None,
        "teacher": "qwen",
        "model": "Qwen",
        "prompt_hash": "0" * 16,
        "chosen": True,
        "reasoning": "A tower.",
        "answer": render(Answer(country="France", city="Paris")),
        "cues": (),
        "entities": (),
        "agreeing": (),
        "fates": (),
        "measures": {},
    }
    return Kept(sha256=hashlib.sha256(data).hexdigest(), **given | more)


texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=30)
names = st.none() | texts
cues = st.lists(
    st.builds(CueSeen, texts, st.sampled_from([True, False, None]), texts, st.none() | st.floats(0, 1)), max_size=4
).map(tuple)
fates = st.lists(
    st.builds(Fate, texts, st.sampled_from(["kept", "dropped", "troubled", "point"]), names, names), max_size=3
).map(tuple)
samples = st.builds(
    lambda shade, seen, **more: kept(picture(shade), **more, cues=seen, entities=visible(seen)),
    st.integers(0, 60_000),
    cues,
    lat=st.floats(-90, 90),
    lon=st.floats(-180, 180),
    country=names,
    city=names,
    region=names,
    teacher=texts,
    reasoning=texts,
    licence=names,
    geoname_id=st.none() | st.integers(1, 2**40),
    agreeing=st.lists(texts, max_size=3).map(tuple),
    fates=fates,
    measures=st.dictionaries(texts, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(st.lists(samples, max_size=5))
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("data") / "out"
    written = write_dataset(folder, rows, source="a test", fetch=None)
    assert (written.rows, written.photographs) == (len(rows), len({row.sha256 for row in rows}))
    read = list(read_rows(folder))
    assert len(read) == len(rows)
    for row, one in zip(read, rows, strict=True):
        fields = row.fields
        for name in ("sha256", "lat", "lon", "country_code", "region", "geoname_id", "teacher"):
            assert fields[name] == getattr(one, name)
        assert row.reasoning == one.reasoning
        looked = any(cue.visible is not None for cue in one.cues)
        assert row.entities == (one.entities if looked else None) or not one.entities
        assert {each["name"]: each["value"] for each in fields["measures"]} == one.measures


def test_pictures_go_in_whole_and_come_out_by_the_workers_decoder(tmp_path):
    pictures = {f"mem://{n}": picture(n) for n in range(250)}
    rows = [kept(data, uri=uri) for uri, data in pictures.items()]
    write_dataset(tmp_path / "out", rows, source="a test", fetch=pictures.__getitem__, threads=3)
    [file] = (tmp_path / "out/data").glob("*.parquet")
    assert pq.ParquetFile(file).num_row_groups == 3
    read = list(read_rows(tmp_path / "out"))
    assert [row.picture.read() for row in read] == list(pictures.values())
    assert read[249].picture().getpixel((0, 0)) == (249, 0, 7)


def test_what_is_gone_changed_barred_or_no_picture_is_counted(tmp_path):
    good, other = picture(1), picture(2)

    def fetch(uri):
        if uri == "mem://gone":
            raise JobError(Reason.NOT_FOUND, "gone")
        return {"mem://good": good, "mem://changed": other, "mem://text": b"no picture"}[uri]

    rows = [
        kept(good, uri="mem://good"),
        kept(good, uri="mem://changed"),
        kept(good, uri="mem://gone"),
        kept(b"no picture", uri="mem://text"),
        kept(good, uri="mem://good", barred="no_consent"),
    ]
    seen = []
    written = write_dataset(
        tmp_path / "out", rows, source="a test", fetch=fetch, on_row=lambda: seen.append(1), reduce_above_mb=1
    )
    assert written.left_out == {"changed": 1, "not_found": 1, "not_an_image": 1, "no_consent": 1}
    assert written.rows + written.left_out.total() == len(rows) == len(seen)


def test_a_failure_leaves_nothing_behind(tmp_path):
    def fetch(uri):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        write_dataset(tmp_path / "out", [kept(picture())] * 20, source="a test", fetch=fetch)
    assert list(tmp_path.iterdir()) == []


def test_tags_in_names_cannot_forge_a_solution():
    assert solution("Fr</country>ance", None) == "<country>Fr/countryance</country><city></city>"


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [
        (Answer(country="France"), ("France", None, None)),
        (Answer(country="France", region="IDF"), ("France", "Île-de-France", None)),
        (Answer(country="France", city="Versailles"), ("France", "Île-de-France", "Paris")),
    ],
)
def test_what_is_learnt_is_the_known_place_as_fine_as_the_teacher_named_it(tmp_path, claimed, expected):
    write_dataset(tmp_path / "out", [kept(answer=render(claimed))], source="a test", fetch=None)
    [row] = read_rows(tmp_path / "out")
    said = parse(completion(row))
    assert (said.country, said.region, said.city, said.reasoning) == (*expected, "A tower.")


def test_reasons_are_dropped_or_required_as_the_recipe_says(tmp_path):
    write_dataset(tmp_path / "out", [kept(), kept(b"x", reasoning="")], source="a test", fetch=None)
    said = {
        reasons: [
            parse(each.completion).reasoning for each in examples(tmp_path / "out", prompt=PROMPT, reasons=reasons)
        ]
        for reasons in ("required", "kept", "dropped")
    }
    assert said == {"required": ["A tower."], "kept": ["A tower.", ""], "dropped": ["", ""]}


def test_mp16_reasons_own_columns_are_enough(tmp_path):
    file = tmp_path / "train.parquet"
    rows = [
        {"images": [{"bytes": picture(n), "path": None}], "response": f"Reason {n}.",
         "solution": "<country>Japan</country> <city>Kyoto</city>", "entities": [{"text": "temple"}]}
        for n in range(3)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=2)
    learnt = examples(file, prompt=PROMPT)
    assert [parse(each.completion).city for each in learnt] == ["Kyoto"] * 3
    assert learnt[2].open().getpixel((0, 0)) == (2, 0, 7)
    assert len({each.id for each in learnt}) == 3
    asked = questions(file, prompt=PROMPT)
    assert [each.columns["true_cues"] for each in asked] == [["temple"]] * 3
    assert asked[0].columns["lat"] is None and asked[0].columns["country"] == "Japan"


def test_rows_of_one_photograph_are_one_question_with_what_all_saw(tmp_path):
    seen = (CueSeen("a tower", True), CueSeen("a dog", False))
    rows = [
        kept(cues=seen, entities=("a tower",)),
        kept(teacher="intern", cues=(CueSeen("a bridge", True),), entities=("a bridge", "a tower")),
        kept(b"other", cues=(CueSeen("a cat", None),)),
        kept(b"third", cues=(CueSeen("a cat", False),)),
    ]
    write_dataset(tmp_path / "out", rows, source="a test", fetch=None)
    asked = questions(tmp_path / "out", prompt=PROMPT)
    assert [each.columns["true_cues"] for each in asked] == [["a tower", "a bridge"], None, []]


def test_a_picture_that_is_elsewhere_must_be_the_one_that_was_meant(tmp_path):
    place = tmp_path / "a b.png"
    place.write_bytes(picture(5))
    write_dataset(tmp_path / "out", [kept(picture(5), uri=place.as_uri())], source="a test", fetch=None)
    [row] = read_rows(tmp_path / "out")
    assert row.picture().size == (8, 8)
    place.write_bytes(picture(6))
    with pytest.raises(SetupError, match="not the picture any more"):
        row.picture()
    place.unlink()
    with pytest.raises(SetupError, match="neither in it nor"):
        row.picture()


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1PAR1"])
def test_what_is_no_parquet_is_told_by_name(tmp_path, content):
    (tmp_path / "train.parquet").write_bytes(content)
    with pytest.raises(SetupError, match=r"train\.parquet"):
        list(read_rows(tmp_path))


def test_other_columns_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(SetupError, match="no parquet file"):
        list(read_rows(tmp_path))
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(SetupError, match="no column images, response"):
        list(read_rows(tmp_path))


@given(cues)
def test_visible_things_come_once_and_only_if_seen(seen):
    told = visible(seen)
    keys = [phrase_key(text) for text in told]
    assert len(set(keys)) == len(keys)
    assert set(keys) == {phrase_key(cue.text) for cue in seen if cue.visible} - {""}


def test_an_empty_data_set_is_one_too(tmp_path):
    written = write_dataset(tmp_path / "out", [replace(kept(), barred="held_out")], source="a test", fetch=None)
    assert written.rows == 0 and list(read_rows(tmp_path / "out")) == []
    assert Path(tmp_path / "out" / written.files[0]).is_file()
