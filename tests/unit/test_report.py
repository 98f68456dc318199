"""The report: counts that add up, a map that is right, and strangers' text that stays text.

Long because each part of the page is tried with the same rows.
"""

import base64
import hashlib
import io
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from worker.errors import GlobetagError
from worker.export.rows import ExportRow
from worker.identity import ModelIdentity
from worker.intake.uri import file_uri
from worker.report import entries, marks, projection
from worker.report.html import RunInfo, write_report
from worker.report.outline import world_outline
from worker.report.summary import UNTRAINED_WARNING, Summary, print_summary
from worker.report.thumbnail import make_thumbnail
from worker.report.wording import coordinates, distance, duration, file_name, place_name, plain, precision

BEGAN = datetime(2026, 5, 1, 9, 30, tzinfo=UTC)
HOSTILE = "\"'><script>alert(1)</script></style></title><img src=x onerror=alert(2)>{{ 7*7 }}&amp;\u202egpj"


def run_info(*, untrained: bool = False) -> RunInfo:
    model = ModelIdentity("lvlm", "globe", "a1", untrained)
    return RunInfo(BEGAN, BEGAN + timedelta(seconds=75), model, ModelIdentity("gate", "clip", "b2"), "3f2a")


def job(number: int, **columns: Any) -> ExportRow:
    row = {"job_id": f"job-{number}", "collection": "c", "uri": f"file:///nowhere/{number}.jpg", "state": "done"}
    return ExportRow.from_row(row | columns)


def predicted(number: int, **columns: Any) -> ExportRow:
    place = {
        "outcome": "located", "source": "prediction", "lat": 48.2, "lon": 16.4, "radius_km": 25.0,
        "granularity": "city", "country_code": "AT", "city": "Vienna", "reasoning": "A red tram.",
    }  # fmt: skip
    return job(number, **(place | columns))


class Page(HTMLParser):
    """Every tag with its attributes, every text with the tag that it stands in."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tags[-1][0] if self.tags else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(data for tag, data in self.texts if tag not in ("style", "script"))


def report(tmp_path: Path, *rows: ExportRow, summary: Summary | None = None, untrained: bool = False) -> str:
    path = tmp_path / "report.html"
    counted = summary or Summary(jobs=len(rows), located=len(rows))
    write_report(path, title="A run", rows=iter(rows), summary=counted, run=run_info(untrained=untrained))
    return path.read_text(encoding="utf-8")


# ---------------------------------------------------------------- summary


SUMMARY_ROWS = [
    {"state": "done", "outcome": "known", "reason": None, "reused": False, "jobs": 8},
    {"state": "done", "outcome": "located", "reason": None, "reused": False, "jobs": 5},
    {"state": "done", "outcome": "located", "reason": None, "reused": True, "jobs": 2},
    {"state": "done", "outcome": "not_locatable", "reason": None, "reused": False, "jobs": 3},
    {"state": "failed", "outcome": None, "reason": "empty", "reused": False, "jobs": 1},
    {"state": "failed", "outcome": None, "reason": "unreadable", "reused": False, "jobs": 2},
    {"state": "dead", "outcome": None, "reason": "worker_lost", "reused": False, "jobs": 1},
    {"state": "queued", "outcome": None, "reason": "unreachable", "reused": False, "jobs": 4},
    {"state": "running", "outcome": None, "reason": None, "reused": False, "jobs": 1},
]


def test_summary_counts_every_job_once() -> None:
    summary = Summary.of(SUMMARY_ROWS)
    assert (summary.jobs, summary.done, summary.failed, summary.open) == (27, 18, 4, 5)
    assert (summary.known, summary.located, summary.not_locatable, summary.reused) == (8, 7, 3, 2)
    assert list(summary.failed_by_reason.items()) == [("unreadable", 2), ("empty", 1), ("worker_lost", 1)]


def test_summary_that_loses_a_job_is_an_error() -> None:
    with pytest.raises(GlobetagError, match="27 jobs went in, but only 26"):
        Summary(jobs=27, known=26)
    odd = {"state": "done", "outcome": "a word of tomorrow", "reason": None, "reused": False, "jobs": 3}
    with pytest.raises(GlobetagError):
        Summary.of([*SUMMARY_ROWS, odd])


@pytest.mark.parametrize("untrained", [True, False])
def test_terminal_table_says_when_models_are_untrained(untrained: bool) -> None:
    console = Console(file=io.StringIO(), width=100)
    print_summary(console, Summary.of(SUMMARY_ROWS), untrained=untrained)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert (UNTRAINED_WARNING in printed) == untrained
    assert "unreadable: The image is damaged" in printed
    assert "27" in printed


def test_empty_batch_has_a_summary_and_a_report(tmp_path: Path) -> None:
    assert "No photograph of this run has a place" in report(tmp_path, summary=Summary.of([]))


# ---------------------------------------------------------------- the page


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    texts = {"caption": HOSTILE, "reasoning": HOSTILE, "city": HOSTILE, "stated_place": HOSTILE, "region": HOSTILE}
    html = report(
        tmp_path,
        predicted(1, uri=f"https://user:secret@example.org/{HOSTILE}?token=abc", **texts),
        predicted(2, country_code=HOSTILE, granularity="country", **texts),
        job(3, outcome="known", source="exif", lat=1.0, lon=2.0, **texts),
        job(4, outcome="not_locatable", reason=HOSTILE, detail=HOSTILE),
        job(5, state="failed", reason=HOSTILE, detail=HOSTILE, uri=f"file:///x/{HOSTILE}"),
        summary=Summary(jobs=5, located=4, failed_by_reason={HOSTILE: 1}),
    )
    page = Page(html)
    assert len(page.all("script")) == 1
    assert len(page.all("style")) == 1
    assert not page.all("img")
    for tag, attributes in page.tags:
        assert tag in ALLOWED_TAGS
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert page.text.count("<script>alert(1)</script>") >= 10
    assert "{{ 7*7 }}" in page.text
    assert "49" not in page.text
    assert "\u202e" not in html
    assert "secret" not in html
    assert "token=abc" not in html


TEXTS = sorted(name for name, field in ExportRow.__dataclass_fields__.items() if "str" in str(field.type))
KINDS = {
    "known": {"state": "done", "outcome": "known", "source": "exif", "lat": 1.0, "lon": 2.0},
    "predicted": {"state": "done", "outcome": "located", "source": "prediction", "lat": 1.0, "lon": 2.0},
    "verified": {
        "state": "done",
        "source": "exif",
        "lat": 1.0,
        "lon": 2.0,
        "predicted_lat": 3.0,
        "predicted_lon": 4.0,
    },
    "unplaced": {"state": "done", "outcome": "not_locatable", "reason": "place_unknown"},
    "failed": {"state": "failed", "reason": "empty"},
}


@pytest.mark.parametrize("name", TEXTS)
def test_hostile_text_stays_text_in_every_field(tmp_path: Path, name: str) -> None:
    """Each text of a row alone, in each kind of row: also those that a vocabulary should hold."""
    # Any other state or source would make another kind of row, or none.
    kinds = {"failed": KINDS["failed"]} if name in ("state", "source") else KINDS
    rows = [job(n, **(columns | {name: HOSTILE})) for n, columns in enumerate(kinds.values())]
    page = Page(report(tmp_path, *rows, summary=Summary(jobs=len(rows), located=len(rows))))
    assert {tag for tag, _ in page.tags} <= ALLOWED_TAGS
    assert (len(page.all("script")), len(page.all("style")), len(page.all("img"))) == (1, 1, 0)
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on") or key == "style"]
    for _, attributes in page.tags:
        assert not (attributes.get("href") or "").lower().startswith(("javascript:", "data:", "http"))


def test_hostile_names_of_models_and_runs_stay_text(tmp_path: Path) -> None:
    model = ModelIdentity("lvlm", HOSTILE, HOSTILE)
    run = RunInfo(BEGAN, BEGAN, model, ModelIdentity("gate", HOSTILE, HOSTILE), HOSTILE)
    path = tmp_path / "report.html"
    write_report(path, title=HOSTILE, rows=iter([predicted(1)]), summary=Summary(jobs=1, located=1), run=run)
    page = Page(path.read_text(encoding="utf-8"))
    assert {tag for tag, _ in page.tags} <= ALLOWED_TAGS
    assert (len(page.all("script")), len(page.all("img"))) == (1, 0)


def test_what_is_made_coarser_and_what_may_steer_is_said(tmp_path: Path) -> None:
    html = report(tmp_path, predicted(1, injected_text=True), predicted(2, precision_km=25.0, reasoning=None))
    assert "Look twice: the picture may hold text that gives orders to a model" in html
    assert "Shown to 25 km on purpose" in html
    assert "Look twice" not in report(tmp_path, predicted(1, injected_text=False))


ALLOWED_TAGS = {
    "html", "head", "meta", "title", "style", "body", "a", "header", "p", "h1", "time", "svg", "rect", "dl", "div",
    "dt", "dd", "main", "section", "h2", "h3", "figure", "defs", "clippath", "path", "g", "circle", "use", "ul",
    "li", "figcaption", "span", "article", "bdi", "blockquote", "code", "strong", "table", "thead", "tbody", "tr",
    "th", "td", "footer", "script",
}  # fmt: skip


def test_nothing_is_requested_and_only_named_code_may_run(tmp_path: Path) -> None:
    html = report(tmp_path, predicted(1))
    page = Page(html)
    [policy] = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        [text] = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    for _, attributes in page.tags:
        assert attributes.get("href", "#").startswith("#")
        assert attributes.get("src", "data:").startswith("data:")
    assert not re.search(r"url\(\s*['\"]?(?!#)", html)
    assert "@import" not in html


def test_links_lead_to_entries_and_ids_are_unique(tmp_path: Path) -> None:
    page = Page(report(tmp_path, *(predicted(n, lat=n * 10.0) for n in range(5))))
    assert len(page.ids) == len(set(page.ids))
    targets = {str(a["href"])[1:] for a in page.all("a")} | {str(u["href"])[1:] for u in page.all("use")}
    assert targets <= set(page.ids)
    assert len(page.all("use")) == 5


def test_known_and_predicted_have_their_own_shape_and_section(tmp_path: Path) -> None:
    known = job(2, outcome="known", source="exif", lat=-33.9, lon=18.4, predicted_lat=-30.0, predicted_lon=20.0)
    page = Page(report(tmp_path, predicted(1), known, summary=Summary(jobs=2, known=1, located=1)))
    shapes = sorted(str(use["href"]) for use in page.all("use"))
    assert shapes == ["#known", "#predicted", "#predicted"]  # one of them beside the known place
    classes = {str(a["id"]): a["class"] for a in page.all("article")}
    assert classes == {"p-job-1": "entry predicted", "p-job-2": "tile known"}
    assert "Asked to verify, the model said" in page.text
    assert "a claim, not evidence" in page.text


def test_untrained_is_said_at_the_top_and_at_each_entry(tmp_path: Path) -> None:
    assert UNTRAINED_WARNING not in report(tmp_path, predicted(1))
    assert UNTRAINED_WARNING in report(tmp_path, job(1, outcome="known"), untrained=True)
    page = Page(report(tmp_path, predicted(1, untrained=True)))
    assert UNTRAINED_WARNING in page.text
    assert "UNTRAINED: means nothing" in page.text


def test_failures_are_grouped_with_sentence_and_detail(tmp_path: Path) -> None:
    rows = [job(n, state="failed", reason="empty", detail=f"no bytes {n}") for n in range(3)]
    rows.append(job(9, state="dead", reason="worker_lost", detail="died twice"))
    summary = Summary(jobs=4, failed_by_reason={"empty": 3, "worker_lost": 1})
    text = Page(report(tmp_path, *rows, summary=summary)).text
    assert text.index("The file is empty.") < text.index("The worker process died")
    assert all(f"no bytes {n}" in text for n in range(3))


def test_large_batches_are_capped_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MAX_FAILED", 3)
    placed = [predicted(n, lat=n / 10) for n in range(entries.MAX_PREDICTED + 7)]
    failed = [job(1000 + n, state="failed", reason=("empty", "timeout")[n % 2], detail="") for n in range(8)]
    summary = Summary(jobs=len(placed) + 8, located=len(placed), failed_by_reason={"empty": 4, "timeout": 4})
    page = Page(report(tmp_path, *placed, *failed, summary=summary))
    assert len(page.all("article")) == entries.MAX_PREDICTED
    assert f"The first {entries.MAX_PREDICTED} of {entries.MAX_PREDICTED + 7} are shown" in page.text
    assert len([row for row in page.all("tr") if "id" in row]) == 3
    assert len(page.all("use")) == len(placed)  # the map has them all


def test_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    arguments: dict[str, Any] = {"title": "t", "summary": Summary(jobs=1, located=1), "run": run_info()}
    write_report(path, rows=iter([predicted(1)]), **arguments)
    before = path.read_bytes()

    def broken() -> Iterator[ExportRow]:
        yield predicted(2)
        raise ConnectionError("the database went away")

    with pytest.raises(ConnectionError):
        write_report(path, rows=broken(), **arguments)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


# ---------------------------------------------------------------- thumbnails


@pytest.fixture
def photograph(tmp_path: Path) -> ExportRow:
    path = tmp_path / "été #1?.png"
    Image.fromarray(np.full((300, 900, 3), 120, dtype=np.uint8)).save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return predicted(1, uri=file_uri(path), sha256=digest)


def test_thumbnail_is_small_and_inlined(photograph: ExportRow, tmp_path: Path) -> None:
    made = make_thumbnail(photograph)
    assert made.data_uri is not None
    head, _, body = made.data_uri.partition(",")
    assert head == "data:image/jpeg;base64"
    image = Image.open(io.BytesIO(base64.b64decode(body)))
    assert image.size == (made.width_px, made.height_px) == (400, 133)
    [shown] = Page(report(tmp_path, photograph)).all("img")
    assert shown["src"] == made.data_uri
    assert shown["alt"] == "été #1?.png"


def test_no_thumbnail_of_changed_missing_foreign_or_forbidden_files(photograph: ExportRow, tmp_path: Path) -> None:
    def note(row: ExportRow, **options: Any) -> str:
        made = make_thumbnail(row, **options)
        assert made.data_uri is None
        return made.note

    other = tmp_path / "elsewhere"
    other.mkdir()
    assert "not allowed" in note(photograph, file_roots=[other])
    assert "not on this machine" in note(predicted(2, uri="https://example.org/a.jpg", sha256="0"))
    assert "nothing at this path" in note(predicted(3, sha256="0"))
    assert note(job(4, state="failed", reason="unreadable", uri=photograph.uri, sha256="0")) == "No picture."
    next(tmp_path.glob("*.png")).write_bytes(b"something else")
    assert "has changed" in note(photograph)


# ---------------------------------------------------------------- the map


@given(st.floats(-88, 88), st.floats(-178, 178))
def test_projection_keeps_areas(lat: float, lon: float) -> None:
    """The determinant of the projection's derivative is the same multiple of cos(lat) everywhere."""
    step = 1e-3
    (x1, y1), (x2, y2) = projection.project(lat, lon - step), projection.project(lat, lon + step)
    (x3, y3), (x4, y4) = projection.project(lat - step, lon), projection.project(lat + step, lon)
    area = abs((x2 - x1) * (y4 - y3) - (x4 - x3) * (y2 - y1)) / (4 * step * step)
    world = projection.project(0, 1e-3)[0] - projection.project(0, -1e-3)[0]
    height = projection.project(-1e-3, 0)[1] - projection.project(1e-3, 0)[1]
    assert area == pytest.approx(world * height / (4e-6) * math.cos(math.radians(lat)), rel=1e-4)


def test_projection_fills_its_frame() -> None:
    assert projection.project(0, -180)[0] == pytest.approx(0)
    assert projection.project(0, 180)[0] == pytest.approx(projection.WIDTH)
    assert projection.project(90, 0)[1] == pytest.approx(0)
    assert projection.project(-90, 0)[1] == pytest.approx(projection.HEIGHT)
    aspect = projection.WIDTH / projection.HEIGHT
    assert aspect == pytest.approx(2.05458, abs=1e-4)  # as published


@pytest.mark.parametrize(
    ("lat", "lon", "is_land"),
    [
        (48.2, 16.4, True), (-23.7, 133.9, True), (66.8, 178.9, True), (66.5, -174.0, True), (-89.0, 10.0, True),
        (64.9, -18.6, True), (30.0, -40.0, False), (-40.0, 100.0, False), (0.0, -170.0, False), (86.0, 0.0, False),
        (42.0, 51.0, False),
    ],
)  # fmt: skip
def test_land_is_where_it_is(lat: float, lon: float, is_land: bool) -> None:
    x, y = projection.project(lat, lon)
    crossings = 0
    for ring in re.findall(r"M([^Z]+)Z", world_outline().land):
        points = [tuple(map(float, point.split())) for point in ring.split("L")]
        for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True):
            if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
                crossings += 1
    assert (crossings % 2 == 1) == is_land


def test_photographs_at_one_place_share_a_mark() -> None:
    spots = marks.Marks()
    for number in range(5):
        spots.add(predicted(number), f"p-{number}")
    spots.add(job(9, outcome="not_locatable", reason="gate_below_threshold"), None)
    [mark] = spots.drawn()
    assert mark.title.startswith("0.jpg, 1.jpg, 2.jpg and 2 more\nVienna")
    assert mark.anchor == "p-0"
    assert mark.size > 1
    assert mark.circle is not None
    assert mark.circle.startswith("M")


def test_too_many_places_are_drawn_by_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "MAX_MARKS", 50)
    spots = marks.Marks()
    for number in range(300):
        spots.add(predicted(number, lat=40 + number / 100, lon=-180.0), None)
    drawn = spots.drawn()
    assert spots.is_aggregated
    assert len(drawn) == 3
    assert not any(mark.circle for mark in drawn)
    assert sum(3 + int(re.findall(r"and (\d+) more", mark.title)[0]) for mark in drawn) == 300


@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(1, 20_000))
def test_any_radius_is_drawn_inside_the_frame(lat: float, lon: float, radius_km: float) -> None:
    spots = marks.Marks()
    spots.add(predicted(1, lat=lat, lon=lon, radius_km=radius_km), None)
    [mark] = spots.drawn()
    numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", mark.circle or "")]
    assert min(numbers) >= -0.1
    assert max(numbers[0::2]) <= projection.WIDTH + 0.1
    assert max(numbers[1::2]) <= projection.HEIGHT + 0.1


# ---------------------------------------------------------------- wording


def test_coarse_places_get_coarse_names_and_few_digits() -> None:
    row = {"region": "Styria", "city": "Graz"}
    assert place_name(predicted(1, **row)) == "Graz, Styria, Austria"
    assert place_name(predicted(1, granularity="region", **row)) == "Styria, Austria"
    assert place_name(predicted(1, granularity="country", **row)) == "Austria"
    assert place_name(predicted(1, city=None, country_code=None)) == "A place without a name"
    assert coordinates(48.20817, 16.37382, 25) == "48.2° N, 16.4° E"
    assert coordinates(-33.90684, -18.42011) == "33.90684° S, 18.42011° W"
    assert coordinates(-13.5, 2.0, 1800) == "14° S, 2° E"


def test_precision_says_whether_it_is_calibrated() -> None:
    assert precision(predicted(1)) == "within 25 km (nominal)"
    assert precision(predicted(1, coverage=0.9)) == "within 25 km (90% coverage)"
    assert precision(predicted(1, radius_km=None)) == "radius unknown"


def test_quantities_are_readable() -> None:
    assert [distance(km) for km in (0.0081, 0.5, 2.5, 25.0, 1800.4)] == [
        "8 m",
        "500 m",
        "2.5 km",
        "25 km",
        "1,800 km",
    ]
    spans = [timedelta(seconds=seconds) for seconds in (0.4, 59, 250, 11_100)]
    assert [duration(span) for span in spans] == ["0 s", "59 s", "4 min 10 s", "3 h 05 min"]
    assert file_name("file:///a/b%20c.jpg") == "b c.jpg"
    assert plain("a\x07b\u2066c", 10) == "a\ufffdb\ufffdc"
    assert plain("x" * 20, 10) == "x" * 9 + "…"
