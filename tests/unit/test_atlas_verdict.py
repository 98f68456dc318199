"""The verdict on the demo's scenes: each counted once, as the judge counts, and strangers' text stays text."""

import base64
import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.archive import TRUTH_NAME, write_split
from atlas.commands.demo import ODD_FILES, with_trained_models
from atlas.cues import KINDS
from atlas.language import cue_phrase, stated_cues, true_text
from atlas.photographs import write_photographs
from atlas.scenes import Scene, scene
from atlas.verdict import Judgement, Verdict, judge, judge_scene, read_claims
from atlas.verdict_page import MAX_CLAIMS, OddFile, write_page
from atlas.world import City, load_world
from trainer.judge.columns import make_columns
from trainer.judge.distance import Distance
from trainer.judge.matching import match
from trainer.judge.metrics import evaluate
from trainer.judge.read import read_truth
from trainer.judge.records import Truth
from worker.errors import SetupError
from worker.export.rows import ExportRow
from worker.intake.uri import file_uri
from worker.place.gazetteer import Gazetteer
from worker.place.resolve import resolve
from worker.reason.answer import Answer, parse, render
from worker.settings import Settings

NOW = datetime(2026, 5, 1, 9, 30, tzinfo=UTC)
COUNT = 40
HOSTILE = "\"'><script>alert(1)</script></style><img src=x onerror=alert(2)>{{ 7*7 }}&amp;\u202egpj"


def answered(uri: str, text: str, **columns: Any) -> ExportRow:
    """The row of a done job whose model printed `text`, through the worker's own grammar and gazetteer."""
    answer = parse(text)
    assert isinstance(answer, Answer)
    row: dict[str, Any] = {
        "job_id": uri, "collection": "demo", "uri": uri, "state": "done", "outcome": "not_locatable",
        "reasoning": answer.reasoning, "model": "tiny", "model_version": "a1", "untrained": False,
    }  # fmt: skip
    if answer.abstains:
        row["reason"] = "no_place_stated"
    else:
        place = resolve(answer, Gazetteer.load())
        row |= {"stated_place": place.stated_place, "reason": "place_unknown"}
        if place.lat is not None:
            names = ("lat", "lon", "radius_km", "granularity", "country_code", "region", "city", "geoname_id")
            row |= {name: getattr(place, name) for name in names}
            row |= {"outcome": "located", "source": "prediction", "reason": None}
    return ExportRow.from_row(row | columns)


def failed(uri: str, reason: str, **columns: Any) -> ExportRow:
    row = {"job_id": uri, "collection": "demo", "uri": uri, "state": "failed", "reason": reason}
    return ExportRow.from_row(row | columns)


def saying(city: City, level: str = "city", reasoning: str = "It looks so.") -> str:
    region = city.region if level != "country" else None
    return render(Answer(reasoning, city.country, region, city.name if level == "city" else None))


SILENT = render(Answer("Nothing visible tells the place.", abstains=True))


class Archive:
    """Forty test scenes on disk, none with a camera position."""

    def __init__(self, folder: Path) -> None:
        self.truth_file = write_split(folder, load_world(), "test", COUNT, gps_share=0.0, side_px=64)
        self.truths = {truth.id: truth for truth in read_truth(self.truth_file, Gazetteer.load())}
        self.scenes = [scene(load_world(), "test", index) for index in range(COUNT)]

    def uri(self, shown: Scene) -> str:
        return file_uri(self.truth_file.parent / f"{shown.id}.jpg")

    def first(self, level: str) -> Scene:
        return next(shown for shown in self.scenes if shown.placeable == level)

    def verdict(self, shown: Scene, text: str) -> Verdict:
        row = answered(self.uri(shown), text)
        return judge_scene(self.truths[shown.id], row, Gazetteer.load()).verdict

    def judge(self, rows: list[ExportRow]) -> Judgement:
        return judge(self.truth_file, rows, Gazetteer.load())


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return Archive(tmp_path_factory.mktemp("atlas"))


def other_city(shown: Scene, *, same_country: bool) -> City:
    return next(
        city
        for city in load_world().cities
        if city.name != shown.city.name and (city.country_code == shown.city.country_code) is same_country
    )


# --- one scene ---


def test_what_an_answer_is_worth(archive: Archive) -> None:
    shown = archive.first("city")
    assert archive.verdict(shown, saying(shown.city)) is Verdict.RIGHT
    assert archive.verdict(shown, saying(shown.city, "country")) is Verdict.COUNTRY
    assert archive.verdict(shown, saying(other_city(shown, same_country=True))) is Verdict.COUNTRY
    assert archive.verdict(shown, saying(other_city(shown, same_country=False))) is Verdict.WRONG
    assert archive.verdict(shown, SILENT) is Verdict.ABSTAINED
    assert archive.verdict(archive.first("none"), SILENT) is Verdict.ABSTAINED_RIGHTLY


def test_a_place_named_where_nothing_tells_one_is_a_guess(archive: Archive) -> None:
    shown = archive.first("none")
    for city in (shown.city, other_city(shown, same_country=False)):
        row = answered(archive.uri(shown), saying(city))
        assert judge_scene(archive.truths[shown.id], row, Gazetteer.load()).is_guess
    shown = archive.first("city")
    row = answered(archive.uri(shown), saying(shown.city))
    assert not judge_scene(archive.truths[shown.id], row, Gazetteer.load()).is_guess


def test_what_cannot_be_judged_is_no_answer_and_never_an_abstention(archive: Archive) -> None:
    shown = archive.first("none")
    truth, uri = archive.truths[shown.id], archive.uri(shown)
    place_unknown = answered(uri, "<think></think><answer>country: Atlantis</answer>")
    assert place_unknown.reason == "place_unknown"
    queued = ExportRow.from_row({"job_id": "1", "collection": "demo", "uri": uri, "state": "queued"})
    for row in (place_unknown, failed(uri, "unparsable", reasoning="The plate is"), failed(uri, "empty"), queued):
        assert judge_scene(truth, row, Gazetteer.load()).verdict is Verdict.NO_ANSWER
    assert judge_scene(truth, None, Gazetteer.load()).verdict is Verdict.NO_ANSWER


def test_a_recorded_place_is_known_whatever_a_model_says_beside_it(archive: Archive) -> None:
    shown = archive.first("city")
    row = answered(archive.uri(shown), saying(other_city(shown, same_country=False)), source="exif")
    verdict = judge_scene(archive.truths[shown.id], row, Gazetteer.load())
    assert verdict.verdict is Verdict.KNOWN
    assert verdict.km is None


# --- the reasons ---


def test_each_claim_is_held_against_the_picture() -> None:
    true_cues = frozenset({"plate=white", "taxi=black"})
    text = "The plate is yellow. There is a black taxi! No cars keep to the left. The roof is thatched; perhaps."
    claims = read_claims(text, true_cues)
    assert [(claim.standing, claim.shown) for claim in claims] == [
        ("invented", "The plate is white."),
        ("visible", None),
        ("", None),
        ("invented", None),
        ("", None),
    ]
    assert [claim.text for claim in claims][:2] == ["The plate is yellow.", "There is a black taxi!"]


def test_what_was_not_mentioned_is_told(archive: Archive) -> None:
    shown = next(each for each in archive.scenes if len(each.visible) >= 3)
    said, *silent = shown.visible
    row = answered(archive.uri(shown), saying(shown.city, reasoning=cue_phrase(said.kind, said.value, 1)))
    missed = judge_scene(archive.truths[shown.id], row, Gazetteer.load()).missed
    assert set(missed) == {cue_phrase(cue.kind, cue.value, 0) for cue in silent}


_PHRASES = [cue_phrase(kind.name, value, variant) for kind in KINDS for value in kind.values for variant in (0, 1)]
_PIECES = st.one_of(st.sampled_from(_PHRASES), st.text(alphabet=" .!?;<>\nabT", max_size=8))


@given(st.lists(_PIECES, max_size=8).map(" ".join))
def test_no_cue_is_lost_or_gained_sentence_by_sentence(text: str) -> None:
    claims = read_claims(text, frozenset())
    assert frozenset().union(*(stated_cues(claim.text) for claim in claims)) == stated_cues(text)
    assert all(bool(claim.standing) == bool(stated_cues(claim.text)) for claim in claims)


# --- all scenes ---


@pytest.fixture(scope="module")
def mixed(archive: Archive) -> Judgement:
    """The true texts for the first half; wrong, silent, broken and recorded ones after them; one is missing."""
    rows = [answered(archive.uri(shown), true_text(load_world(), shown)) for shown in archive.scenes[:20]]
    for number, shown in enumerate(archive.scenes[20:-1]):
        uri, elsewhere = archive.uri(shown), other_city(shown, same_country=False)
        rows.append(
            [
                answered(uri, saying(elsewhere, reasoning="The plate is red. The taxi is blue.")),
                answered(uri, SILENT),
                failed(uri, "unparsable", reasoning="The plate is red."),
                answered(uri, saying(shown.city), source="exif"),
            ][number % 4]
        )
    return archive.judge([*rows, answered("file:///elsewhere/test-000000.jpg", SILENT)])


def test_every_scene_has_one_verdict(mixed: Judgement) -> None:
    assert len(mixed.scenes) == COUNT
    assert sum(mixed.counts.values()) == COUNT
    assert all(mixed.counts.values()), "this mixture has some of each"
    assert mixed.asked == COUNT - mixed.counts[Verdict.KNOWN]


def test_truthful_texts_are_never_wrong_and_never_invent(archive: Archive) -> None:
    rows = [answered(archive.uri(shown), true_text(load_world(), shown)) for shown in archive.scenes]
    judgement = archive.judge(rows)
    assert {scene.verdict for scene in judgement.scenes} == {
        Verdict.RIGHT, Verdict.COUNTRY, Verdict.ABSTAINED_RIGHTLY
    }  # fmt: skip
    assert judgement.invented == 0
    assert judgement.stated == sum(len(shown.visible) for shown in archive.scenes)
    assert not any(scene.missed for scene in judgement.scenes)
    assert judgement.mark is not None
    assert (judgement.mark.country, judgement.mark.cue_precision, judgement.mark.cue_recall) == (1, 1, 1)


def test_the_counts_are_those_of_the_judge(mixed: Judgement) -> None:
    asked = [scene for scene in mixed.scenes if scene.verdict is not Verdict.KNOWN]
    run = match("x", [each.truth for each in asked], [each.prediction for each in asked], source="x")
    figures = evaluate(make_columns(run, Distance(), Gazetteer.load()), replicates=0)
    assert figures.figure("within_25_km").hits == mixed.counts[Verdict.RIGHT]
    # The judge also grants the country to answers without a point; here there are none.
    assert figures.figure("country_id").hits == mixed.counts[Verdict.RIGHT] + mixed.counts[Verdict.COUNTRY]
    assert figures.figure("none_refused").hits == mixed.counts[Verdict.ABSTAINED_RIGHTLY]
    assert figures.figure("placeable_refused").hits == mixed.counts[Verdict.ABSTAINED]
    assert figures.cues is not None
    assert figures.cues.precision.under == mixed.stated
    assert figures.cues.invented.over == mixed.invented
    assert mixed.mark is not None
    placeable = [each for each in asked if each.can_be_placed]
    assert len(placeable) == mixed.placeable_asked
    near = sum(each.verdict is Verdict.RIGHT for each in placeable)
    assert mixed.mark.city25 == pytest.approx(near / len(placeable))


# --- the page ---


class Page(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self) -> Iterator[tuple[str, str | None]]:
        for _, attrs in self.tags:
            yield from attrs.items()


def written(path: Path, judgement: Judgement, *odd: OddFile, comes_along: bool = True) -> str:
    write_page(path, judgement, odd, comes_along=comes_along, made_at=NOW)
    return path.read_text(encoding="utf-8")


def hostile(scene_id: str, truth: Truth) -> Judgement:
    row = answered(f"file:///{scene_id}.jpg", saying(load_world().cities[0]))
    row = replace(row, reasoning=HOSTILE, stated_place=HOSTILE, city=HOSTILE, model=HOSTILE, detail=HOSTILE)
    return Judgement((judge_scene(truth, row, Gazetteer.load()),), None)


def test_the_page_shows_every_scene_and_what_it_is_worth(mixed: Judgement, tmp_path: Path) -> None:
    page = Page(written(tmp_path / "verdict.html", mixed))
    assert [attrs.get("class") for tag, attrs in page.tags if tag == "article"].count("tile known") == (
        mixed.counts[Verdict.KNOWN]
    )
    for scene_ in mixed.scenes:
        assert f"{scene_.truth.id}.jpg" in page.text
    badges = page.text.count("Abstained: could be placed")
    assert badges == mixed.counts[Verdict.ABSTAINED] + 2, "each card, the heading and the figure"
    assert page.text.count("In the picture: The plate is") >= 1
    assert "None of these figures says how well" in page.text
    assert "claim, not evidence" in page.text


def test_strangers_text_stays_text(archive: Archive, tmp_path: Path) -> None:
    shown = archive.first("city")
    row = replace(failed("file:///odd/x.jpg", "unreadable"), detail=HOSTILE)
    odd = (OddFile("x.jpg", "odd", row), OddFile("y.jpg", "odd", None))
    html = written(tmp_path / "verdict.html", hostile(shown.id, archive.truths[shown.id]), *odd)
    page = Page(html)
    assert not {"script", "iframe", "object", "form", "link", "base"} & {tag for tag, _ in page.tags}
    assert not [name for name, _ in page.attributes() if name.startswith("on")]
    assert page.text.count("<script>alert(1)</script>") >= 5, "it is shown, as text"
    assert "{{ 7*7 }}" in page.text
    assert "\u202e" not in html
    assert all((value or "").startswith(("data:image/jpeg;base64,", "#")) for name, value in page.attributes()
               if name in ("src", "href"))  # fmt: skip


def test_the_policy_names_the_one_style_sheet_and_no_script(mixed: Judgement, tmp_path: Path) -> None:
    html = written(tmp_path / "verdict.html", mixed)
    [policy] = [attrs["content"] for tag, attrs in Page(html).tags if attrs.get("http-equiv")]
    [style] = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert not re.search(r" style=|url\(|@import", html)


def test_whose_models_they_were_is_said(mixed: Judgement, tmp_path: Path) -> None:
    ours = Page(written(tmp_path / "a.html", mixed)).text
    theirs = Page(written(tmp_path / "b.html", mixed, comes_along=False)).text
    assert "Globetag brings along" in ours
    assert "you have chosen" in theirs
    assert "UNTRAINED" not in ours
    untrained = tuple(replace(each, row=each.row and replace(each.row, untrained=True)) for each in mixed.scenes)
    assert "UNTRAINED" in Page(written(tmp_path / "c.html", replace(mixed, scenes=untrained))).text


def test_long_reasons_are_cut_and_the_card_says_so(archive: Archive, tmp_path: Path) -> None:
    shown = archive.first("city")
    row = answered(archive.uri(shown), saying(shown.city, reasoning="So it is. " * (MAX_CLAIMS + 7)))
    judgement = Judgement((judge_scene(archive.truths[shown.id], row, Gazetteer.load()),), None)
    text = Page(written(tmp_path / "verdict.html", judgement)).text
    assert text.count("So it is.") == MAX_CLAIMS
    assert "… and 7 sentences more" in text


# --- the command's own ---


def test_the_odd_files_are_there_and_their_kinds_are_kept(tmp_path: Path) -> None:
    names = {path.name for path in write_photographs(tmp_path)}
    assert ODD_FILES.keys() <= names
    assert {"harbour-cmyk.jpg", "snow-16bit.png", "road-turned.jpg", "coast-cutout.png"} <= ODD_FILES.keys()
    assert {name for name in names if name.startswith("broken")} <= ODD_FILES.keys()


def test_missing_weights_are_named_and_nothing_is_chosen(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    with pytest.raises(SetupError, match=r"vlm-best.*make atlas"):
        with_trained_models(settings, tmp_path / "weights")
    assert not (tmp_path / "home").exists()


def test_the_trained_models_are_used_for_the_demo_alone(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", threads=7)
    for name in ("vlm-best", "clip"):
        (tmp_path / "weights" / name).mkdir(parents=True)
    for_the_demo = with_trained_models(settings, tmp_path / "weights")
    assert for_the_demo.model == str(tmp_path / "weights" / "vlm-best")
    assert (for_the_demo.threads, for_the_demo.home) == (7, settings.home)
    assert not (tmp_path / "home").exists(), "nothing is chosen for the user's own photographs"


def test_the_truth_lies_beside_the_pictures(archive: Archive) -> None:
    assert archive.truth_file.name == TRUTH_NAME
    with archive.truth_file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            assert row["file"] == f"{row['id']}.jpg", "by this name `judge` finds the picture"
