"""What is written at the end: parquet that others and we can read, a card, a page; nothing that rights bar."""

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from sqlalchemy import text, update

from schema.tables import distilled_sample
from tests.distillations import POINTS, Distillation
from trainer.commands.curate import command
from trainer.curate.output.read import completion, examples, questions, read_rows
from trainer.curate.output.rows import read_kept
from trainer.curate.output.summary import summarise
from trainer.grpo.questions import check
from trainer.rewards.visual import VisualReward
from worker.reason.answer import parse
from worker.reason.prompt import build_prompt


@pytest.fixture
def atlas(database, tmp_path):
    return Distillation(database.engine, tmp_path / "pictures", count=24)


@pytest.fixture
def globetag(database, tmp_path, monkeypatch):
    monkeypatch.setenv("GLOBETAG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)

    def run(*words):
        return CliRunner().invoke(command, list(map(str, words)), catch_exceptions=False)

    return run


def kept_of(atlas):
    return [one for one in atlas.verified if one.kept]


def test_the_data_set_loads_with_datasets_and_says_what_was_verified(atlas, globetag, tmp_path, monkeypatch):
    folder = tmp_path / "out"
    told = globetag("export", "scenes", folder)
    assert told.exit_code == 0, told.output
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    files = [str(path) for path in sorted((folder / "data").glob("*.parquet"))]
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    whole = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    best = {one.subject_id for one in kept_of(atlas)}
    assert len(rows) == len(whole) == len(best) > 5
    by_id = {(one.subject_id, one.teacher): one for one in kept_of(atlas)}
    for row in rows:
        one, shown = by_id[row["sha256"], row["teacher"]], atlas.scenes[row["sha256"]]
        assert hashlib.sha256(row["images"][0]["bytes"]).hexdigest() == row["sha256"]
        assert row["solution"] == f"<country>{shown.city.country}</country><city>{shown.city.name}</city>"
        assert row["response"] == parse(atlas.texts[row["sha256"], row["teacher"]]).reasoning
        seen = {cue.text for cue in one.cues if cue.visible}
        assert seen <= {entity["text"] for entity in row["entities"]}
        assert {cue["text"]: cue["visible"] for cue in row["cues"]} == {cue.text: cue.visible for cue in one.cues}
        assert {each["name"]: each["value"] for each in row["measures"]} == one.measures
        assert {each["teacher"] for each in row["verdicts"]} == {"careful", "talkative", "careless", POINTS}
        assert row["teacher"] not in row["teachers_agreeing"]
        assert (row["country_code"], row["geoname_id"]) == (shown.city.country_code, shown.city.geoname_id)


def test_our_own_paths_read_it_back(atlas, globetag, tmp_path):
    globetag("export", "scenes", tmp_path / "out", "--all")
    prompt = build_prompt()
    learnt = examples(tmp_path / "out", prompt=prompt)
    assert len(learnt) == len(kept_of(atlas))
    for example in learnt:
        sha256, _, teacher = example.id.partition("-")
        said, told = parse(example.completion), parse(atlas.texts[sha256, teacher])
        assert said.reasoning == told.reasoning
        assert (said.region is None, said.city is None) == (
            told.region is None and told.city is None,
            told.city is None,
        )
        assert example.open().size == (160, 160)
    asked = questions(tmp_path / "out", prompt=prompt)
    assert len(asked) == len({one.subject_id for one in kept_of(atlas)})
    check(asked, ("lat", "lon", "country_code", "true_cues", "entities"))
    reward = VisualReward.of_phrases([question.columns["true_cues"] or [] for question in asked])
    for question in asked:
        cues = question.columns["true_cues"]
        columns = {name: [value] for name, value in question.columns.items()}
        said = f"<think>{'. '.join(cues)}.</think><answer>country: France</answer>"
        assert reward([said], id=[question.id], **columns) == [pytest.approx(1.0)]


def test_withdrawn_held_out_changed_and_gone_are_counted_not_written(atlas, globetag, tmp_path, database):
    ids = sorted({one.subject_id for one in kept_of(atlas)})
    paths = {subject.id: Path(subject.uri.removeprefix("file://")) for subject in atlas.subjects}
    paths[ids[0]].unlink()
    paths[ids[1]].write_bytes(paths[ids[1]].read_bytes() + b"x")
    told = globetag("export", str(atlas.id), tmp_path / "out")
    assert f"{len(ids) - 2:,} rows" in told.output
    assert "1 not_found" in told.output and "1 changed" in told.output
    assert {row.fields["sha256"] for row in read_rows(tmp_path / "out")} == set(ids[2:])
    barred = read_kept(database.engine, atlas.id, held_out=frozenset(ids[2:4]))
    assert {one.sha256 for one in barred if one.barred == "held_out"} == set(ids[2:4])
    assert "when written: not_found" in (tmp_path / "out/README.md").read_text().replace("\\", "")


def test_paths_instead_of_pictures(atlas, globetag, tmp_path):
    globetag("export", "scenes", tmp_path / "out", "--without-pictures")
    rows = list(read_rows(tmp_path / "out"))
    assert rows and all(row.picture.read() for row in rows)
    assert sum(path.stat().st_size for path in (tmp_path / "out/data").iterdir()) < 200_000
    assert "paths hold on the machine" in (tmp_path / "out/README.md").read_text()


def test_large_originals_are_written_smaller(atlas, globetag, tmp_path):
    told = globetag("export", "scenes", tmp_path / "out", "--reduce-above-mb", "0")
    assert "written smaller" in told.output
    for row in read_rows(tmp_path / "out"):
        assert row.picture().size == (160, 160)
        assert b"Exif" not in row.picture.read()[:200]


def test_the_card_says_what_is_in_it_and_cannot_be_broken_by_names(atlas, globetag, tmp_path, database):
    with database.engine.begin() as connection:
        connection.execute(
            text("UPDATE distilled SET licence = :licence"), {"licence": "CC | BY\n---\nlicense: mit <script>`"}
        )
    globetag("export", "scenes", tmp_path / "out")
    card = (tmp_path / "out/README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "other" and head["size_categories"] == ["n<1K"]
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    assert "<script>" not in card and card.count("\n---\n") == 1
    summary = summarise(database.engine, "scenes")
    for each in summary.filters:
        assert f"{each.after:,}" in card
    assert "max_unsupported_share" in card and "careful" in card
    from huggingface_hub import DatasetCard

    assert DatasetCard(card).data.task_categories == ["image-text-to-text"]


def test_an_export_is_whole_or_not_there(atlas, globetag, tmp_path):
    globetag("export", "scenes", tmp_path / "out")
    again = CliRunner().invoke(command, ["export", "scenes", str(tmp_path / "out")])
    assert again.exit_code == 1 and "is there already" in str(again.exception)
    nothing = CliRunner().invoke(command, ["export", "none", str(tmp_path / "other")])
    assert nothing.exit_code == 1 and "no distillation 'none'" in str(nothing.exception)
    assert not list(tmp_path.glob(".out*")) and not (tmp_path / "other").exists()


def test_figures_of_the_summary_are_those_of_verification(atlas, database):
    summary = summarise(database.engine, "scenes")
    assert (summary.samples, summary.kept) == (len(atlas.verified), len(kept_of(atlas)))
    assert summary.filters[0].before == summary.samples and summary.filters[-1].after == summary.kept
    for each in summary.filters:
        assert sum(each.why.values()) == each.before - each.after
        assert sum(one.dropped_by == each.step for one in atlas.verified) == each.before - each.after
    by_name = {teacher.name: teacher for teacher in summary.teachers}
    assert by_name["careful"].troubled.get("refused", 0) + by_name["careful"].answered == len(atlas.subjects)
    assert by_name[POINTS].samples == 0 and by_name[POINTS].answered == len(atlas.subjects)


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]


def test_the_page_asks_nobody_and_escapes_what_teachers_say(atlas, globetag, tmp_path, database):
    with database.engine.begin() as connection:
        connection.execute(
            update(distilled_sample).values(reasoning='<img src="http://evil/x"><script>alert(1)</script>')
        )
    told = globetag("report", "scenes", tmp_path / "page.html")
    assert told.exit_code == 0, told.output
    page = (tmp_path / "page.html").read_text()
    read = _Page()
    read.feed(page)
    assert "script" not in read.tags and "&lt;script&gt;" in page
    assert all(link.startswith(("data:image/", "#")) for link in read.links)
    summary = summarise(database.engine, "scenes")
    for word in (
        "not visible",
        "not judged",
        "visible",
        "is quarantined",
        "the same for every photograph",
        "refused",
    ):
        assert word in page
    assert f">{summary.kept}</dd>" in page
    assert page.count("data:image/jpeg") > 5
    assert json.dumps(str(atlas.folder)) not in page
    assert not re.search(r"src=\"http", page)


def test_what_is_not_finished_is_said_to_be_so(database, globetag, tmp_path):
    Distillation(database.engine, tmp_path / "pictures", count=4, name="half", state="interrupted")
    globetag("report", "half", tmp_path / "page.html")
    assert "Not finished: interrupted" in (tmp_path / "page.html").read_text()


def test_a_row_that_claims_the_country_alone_is_not_made_to_name_the_city(atlas, globetag, tmp_path):
    globetag("export", "scenes", tmp_path / "out", "--all")
    coarse = [row for row in read_rows(tmp_path / "out") if parse(row.fields["answer"]).city is None]
    for row in coarse:
        assert parse(completion(row)).city is None
