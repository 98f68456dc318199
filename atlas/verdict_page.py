"""The page `verdict`: every scene of the demo with its truth, the model's claim, and what that claim is worth.

One HTML file without scripts, as `worker.report.html`: a content security policy that allows its own style sheet
and inlined pictures and nothing else, and a template that escapes every text. Model output is a stranger's text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.verdict import Claim, Judgement, SceneVerdict, Verdict, models_that_answered
from schema.reasons import JobState, Reason
from trainer.judge.records import Truth
from worker.export.remarks import KNOWN_BY, sentence_of
from worker.export.rows import ExportRow
from worker.report.page import policy, written_whole
from worker.report.thumbnail import Thumbnail, make_thumbnail
from worker.report.wording import coordinates, distance, place_name, plain

if TYPE_CHECKING:
    from jinja2 import Template

MAX_CLAIMS = 24
"""Sentences shown of one scene's reasons; the card says how many were left out."""

BADGES = {
    Verdict.RIGHT: "Right",
    Verdict.COUNTRY: "Right country",
    Verdict.WRONG: "Wrong",
    Verdict.ABSTAINED_RIGHTLY: "Abstained: nothing tells the place",
    Verdict.ABSTAINED: "Abstained: could be placed",
    Verdict.NO_ANSWER: "No usable answer",
    Verdict.KNOWN: "Known by the camera",
}
_LEADS = {
    Verdict.RIGHT: "The point that came out lies within 25 km of the true place.",
    Verdict.COUNTRY: "The country is right. No city was named, or another one of the same country.",
    Verdict.WRONG: "Another country, stated as firmly as the right ones. Without the truth beside it, nothing in"
    " the answer gives it away.",
    Verdict.ABSTAINED_RIGHTLY: "Nothing in these pictures tells where they are. To say so is the right answer.",
    Verdict.ABSTAINED: "No place was named, though the picture tells at least the country.",
    Verdict.NO_ANSWER: "The model said something that cannot be read as a place, or a place that nobody knows.",
    Verdict.KNOWN: "The camera recorded where it stood. Such a place is a record, not an inference; the model was"
    " not asked.",
}
_LEVELS = {"city": "enough to name the city", "region": "enough to name the region, not the city",
           "country": "enough to name the country, not the city", "none": "too little to name even the country",
           None: "unknown"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class OddFile:
    """A file of the demo that is no scene: what is odd about it, and its row (None where there is no job)."""

    name: str
    oddity: str
    row: ExportRow | None


@dataclass(frozen=True, slots=True)
class _Card:
    """One scene in words. Everything in it is escaped by the template."""

    name: str
    heading: str
    truth: str
    truth_point: str
    distance: str
    observer: str
    remark: str
    stated_place: str
    no_place: str
    claims: tuple[Claim, ...]
    left_out: int
    missed: tuple[str, ...]
    origin: str
    thumbnail: Thumbnail


@dataclass(frozen=True, slots=True)
class _Section:
    """All scenes of one verdict; `start` and `width` are its part of the bar in percent."""

    key: str
    badge: str
    lead: str
    cards: tuple[_Card, ...]
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class _OddRow:
    name: str
    oddity: str
    ending: str
    claim: str


def write_page(
    path: Path,
    judgement: Judgement,
    odd: Sequence[OddFile],
    *,
    comes_along: bool,
    made_at: datetime,
    file_roots: Sequence[Path] | None = None,
) -> None:
    """Writes the page to `path`, whole or not at all. `comes_along`: the models are those of this repository, not
    ones that the user chose. Pictures are read below `file_roots` where given. Raises `OSError`."""
    style = _style()
    page = _template().render(
        style=style,
        policy=policy(style),
        judgement=judgement,
        mark=judgement.mark,
        sections=_sections(judgement, file_roots),
        odd=[_odd_row(each) for each in odd],
        models=_models(judgement),
        comes_along=comes_along,
        give_or_take=_give_or_take(judgement.placeable_asked),
        guesses=sum(scene.is_guess for scene in judgement.scenes),
        made_at=made_at,
    )
    with written_whole(path) as file:
        file.write(page)


def _models(judgement: Judgement) -> list[tuple[str, str, bool]]:
    """Name, version and "untrained" of the models that answered; of a folder its last two names."""
    found = models_that_answered(judgement.scenes).items()
    return [
        ("/".join(Path(name).parts[-2:]) if Path(name).is_absolute() else name, version, untrained)
        for (name, version), untrained in found
    ]


def _sections(judgement: Judgement, file_roots: Sequence[Path] | None) -> list[_Section]:
    sections = []
    start, total = 0.0, max(1, len(judgement.scenes))
    for verdict in Verdict:
        scenes = [scene for scene in judgement.scenes if scene.verdict is verdict]
        width = 100 * len(scenes) / total
        cards = tuple(_card(scene, _picture(scene.row, file_roots)) for scene in scenes)
        sections.append(
            _Section(verdict.value, BADGES[verdict], _LEADS[verdict], cards, round(start, 3), round(width, 3))
        )
        start += width
    return sections


def _card(scene: SceneVerdict, thumbnail: Thumbnail) -> _Card:
    truth, row = scene.truth, scene.row
    has_place = scene.km is not None and row is not None
    heading = place_name(row) if row is not None and row.lat is not None else "No place"
    corrected = {claim.shown for claim in scene.claims}
    return _Card(
        name=f"{truth.id}.jpg",
        heading=heading,
        truth=_true_place(truth),
        truth_point=coordinates(truth.lat, truth.lon, 1.0),
        distance=_distance(scene),
        observer=_observer(truth),
        remark=_remark(scene),
        stated_place=_own_words(row, heading),
        no_place="" if has_place else _why_no_place(row),
        claims=tuple(replace(claim, text=plain(claim.text, 300)) for claim in scene.claims[:MAX_CLAIMS]),
        left_out=max(0, len(scene.claims) - MAX_CLAIMS),
        missed=tuple(cue for cue in scene.missed if cue not in corrected),
        origin=KNOWN_BY.get(row.source or "", "") if row is not None else "",
        thumbnail=thumbnail,
    )


def _picture(row: ExportRow | None, file_roots: Sequence[Path] | None) -> Thumbnail:
    if row is None:
        return Thumbnail(note="No job for this photograph.")
    if row.reason == Reason.UNPARSABLE:  # the picture was read without trouble: only the answer was not
        row = replace(row, state=JobState.DONE)
    return make_thumbnail(row, file_roots)


def _own_words(row: ExportRow | None, heading: str) -> str:
    """The place as the model named it, where that is not what the heading says already."""
    stated = plain(row.stated_place, 120) if row is not None else ""
    once = ", ".join(dict.fromkeys(part.strip() for part in stated.split(",")))
    return "" if once.casefold() == heading.casefold() else stated


def _true_place(truth: Truth) -> str:
    return ", ".join(dict.fromkeys(name for name in (truth.city, truth.region, truth.country) if name))


def _distance(scene: SceneVerdict) -> str:
    """How far off, and from which point where the answer is coarser than a city."""
    if scene.km is None or scene.row is None:
        return ""
    away = f"{distance(scene.km)} from the true place"
    if scene.prediction.granularity in ("country", "region"):
        return f"{away}, counted from the point that stands for the {scene.prediction.granularity}"
    return away


def _observer(truth: Truth) -> str:
    if truth.bayes_country is None or truth.bayes_city25 is None:
        return ""
    country, city = f"{truth.bayes_country:.0%} sure of the country", f"{truth.bayes_city25:.0%} of the city"
    return f"{country}, {city}: {_LEVELS[truth.placeable]}"


def _remark(scene: SceneVerdict) -> str:
    """What is to be said of this verdict in particular."""
    said, can = scene.prediction.granularity, scene.truth.placeable
    if scene.is_guess:
        luck = "It hit by luck" if scene.verdict is not Verdict.WRONG else "It should have abstained"
        return f"{luck}: the visible signs fit too many places."
    if scene.verdict is Verdict.COUNTRY:
        if said in ("country", "region"):
            fits = said == can
            return f"It named the {said} and no more" + (
                ", which is as fine as this picture can be told." if fits else f"; the picture tells the {can}."
            )
        return "It named another city" + (
            "." if can == "city" else f", though the picture tells no more than the {can}."
        )
    if scene.verdict is Verdict.RIGHT and can != "city":
        return f"The signs tell no more than the {can}: the city is a good guess, not a finding."
    return ""


def _why_no_place(row: ExportRow | None) -> str:
    if row is None:
        return "There is no job for this photograph."
    if row.state in (JobState.QUEUED, JobState.RUNNING):
        return "Not settled yet."
    said = plain(sentence_of(row.reason)) or "No place."
    return f"{said} ({plain(row.detail, 300)})" if row.detail else said


def _odd_row(odd: OddFile) -> _OddRow:
    row = odd.row
    if row is None:
        return _OddRow(odd.name, odd.oddity, "Not settled: there is no job for it.", "")
    if row.place_kind == "known":
        return _OddRow(odd.name, odd.oddity, f"Known: {place_name(row)}. {KNOWN_BY[str(row.source)]}", "")
    if row.state != JobState.DONE and row.reason != Reason.UNPARSABLE:
        return _OddRow(odd.name, odd.oddity, f"Failed ({row.reason}): {_why_no_place(row)}", "")
    said = f"“{plain(row.stated_place, 80)}”" if row.stated_place else _why_no_place(row)
    return _OddRow(odd.name, odd.oddity, "Read without trouble, and the model was asked.", said)


def _give_or_take(n: int) -> int:
    """Half the 95 % interval of a share near one half, in points: what chance alone may move."""
    return round(98 / math.sqrt(max(1, n)))


@cache
def _template() -> "Template":
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = plain
    environment.filters["percent"] = "{:.0%}".format
    return environment.from_string((files("atlas") / "verdict.html.j2").read_text(encoding="utf-8"))


@cache
def _style() -> str:
    """The report's style sheet, and what this page adds to it."""
    sheets = (files("worker.report") / "report.css", files("atlas") / "verdict.css")
    return "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets)
