"""The report of a distillation: what each filter kept and dropped, with pictures, for a person to judge it by.

One HTML file without scripts, as `worker.report.html`: a content security policy that allows its own style sheet
and inlined pictures and nothing else, and a template that escapes every text. What teachers say is strangers'
text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from schema import queries
from trainer.curate.opinions import CueSeen, Step
from trainer.curate.originals import Fetch, Original, OriginalChanged
from trainer.curate.output.rows import cues_of
from trainer.curate.output.summary import Agreement, Summary, agreements, sentence, summarise
from worker.errors import JobError
from worker.intake.limits import Limits
from worker.reason.answer import Answer, parse
from worker.report.page import policy, written_whole
from worker.report.thumbnail import Thumbnail, thumbnail_of
from worker.report.wording import distance, file_name, plain

if TYPE_CHECKING:
    from jinja2 import Template

KEPT_SHOWN = 12
DROPPED_SHOWN = 4
"""Examples of the kept ones, and of each reason for which samples were dropped."""
TROUBLES_SHOWN = 2
_MAX_REASONING_CHARS = 1200
_MAX_RAW_CHARS = 400

_TITLES = {
    Step.LOCATABLE: "Can it be located?",
    Step.PLACE: "Is it the known place?",
    Step.AGREEMENT: "Do the teachers agree?",
    Step.VISIBLE: "Is it to be seen?",
}
_DROPPED = {
    Step.LOCATABLE: "not to be located",
    Step.PLACE: "not the known place",
    Step.AGREEMENT: "the teachers do not agree",
    Step.VISIBLE: "not to be seen",
}
_LEADS = {
    Step.LOCATABLE: "A teacher that calls a photograph not locatable and names a place all the same is guessing.",
    Step.PLACE: "The place named is held against the one that metadata or a person gives, by distance and by the"
    " gazetteer's id, as fine as the teacher named it.",
    Step.AGREEMENT: "Teachers that were trained apart seldom make the same mistake: another must name the place"
    " too, and one that does must give similar reasons.",
    Step.VISIBLE: "Things that the reasoning names are looked for in the photograph. One that is not there makes"
    " the reasoning worth nothing, however right the place.",
}
_ORDER = {False: 0, True: 1, None: 2}
"""What is not there comes first: it is what a person looks for."""
_TROUBLES = {
    "unreachable": "could not be reached",
    "timeout": "took too long",
    "error": "answered with an error",
    "refused": "refused",
    "empty": "said nothing",
    "cut": "was cut off",
    "unreadable": "cannot be read",
    "other_language": "another language",
    "same_for_all": "the same for every photograph",
    "no_picture": "was not shown the picture",
}


@dataclass(frozen=True, slots=True)
class _Cue:
    """`standing`: visible, missing or unjudged. `by`: what looked, with its figure."""

    text: str
    standing: str
    by: str


@dataclass(frozen=True, slots=True)
class _Card:
    """One sample in words. Everything in it is escaped by the template."""

    teacher: str
    chosen: bool
    heading: str
    known: str
    figures: tuple[str, ...]
    reasoning: str
    cues: tuple[_Cue, ...]
    name: str
    thumbnail: Thumbnail


@dataclass(frozen=True, slots=True)
class _Group:
    """The samples of one fate: `count` in all, of which some are shown."""

    title: str
    count: int
    cards: tuple[_Card, ...]


@dataclass(frozen=True, slots=True)
class _Section:
    """One filter. `left`, `lost` are its parts of the bar in percent of all samples."""

    step: str
    title: str
    dropped: str
    lead: str
    before: int
    after: int
    unjudged: int
    left: float
    lost: float
    groups: tuple[_Group, ...]
    reasons: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class _Trouble:
    teacher: str
    trouble: str
    count: int
    detail: str
    raw: str
    name: str


def write_report(path: Path, engine: Engine, name: str | None, *, fetch: Fetch, made_at: datetime) -> Summary:
    """Writes the report of the distillation of this name (None: the newest) to `path`, whole or not at all.

    `fetch` gets the photographs that are shown; those that are gone or changed are shown without picture. Raises
    `SetupError` where there is no such distillation, `OSError` where the file cannot be written.
    """
    summary = summarise(engine, name)
    style = _style()
    page = _template().render(
        style=style,
        policy=policy(style),
        summary=summary,
        made_at=made_at,
        **_contents(engine, summary, fetch),
    )
    with written_whole(path) as file:
        file.write(page)
    return summary


def _contents(engine: Engine, summary: Summary, fetch: Fetch) -> dict[str, Any]:
    shown = {"id": summary.id, "kept": KEPT_SHOWN, "dropped": DROPPED_SHOWN}
    with engine.connect() as connection:
        rows = connection.execute(queries.distilled.EXAMPLES, shown).all()
        troubles = connection.execute(queries.distilled.TROUBLES, {"id": summary.id, "each": TROUBLES_SHOWN}).all()
    pictures = _Pictures(fetch)
    return {
        "sections": _sections(summary, rows, pictures),
        "kept": _Group("Kept", summary.kept, tuple(_card(row, pictures) for row in rows if row.kept)),
        "troubles": [_trouble(row, summary) for row in troubles],
        "pairs": agreements(engine, summary.id),
        "trouble_words": _TROUBLES,
        "quarantined": {each.name: _quarantined(each.quarantined) for each in summary.teachers},
        "table": _matrix,
    }


def _sections(summary: Summary, rows: Sequence[Any], pictures: "_Pictures") -> list[_Section]:
    total = max(1, summary.samples)
    found = []
    for each in summary.filters:
        groups = tuple(
            _Group(
                sentence(why),
                count,
                tuple(_card(row, pictures) for row in rows if row.dropped_by == each.step and row.reason == why),
            )
            for why, count in each.why.items()
        )
        found.append(
            _Section(
                step=str(each.step),
                title=_TITLES[each.step],
                dropped=_DROPPED[each.step],
                lead=_LEADS[each.step],
                before=each.before,
                after=each.after,
                unjudged=each.unjudged,
                left=round(100 * each.after / total, 3),
                lost=round(100 * (each.before - each.after) / total, 3),
                groups=groups,
                reasons=tuple((sentence(why), count) for why, count in each.why.items()),
            )
        )
    return found


class _Pictures:
    """Thumbnails, each photograph's once."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._made: dict[str, Thumbnail] = {}

    def of(self, sha256: str, uri: str) -> Thumbnail:
        if sha256 not in self._made:
            self._made[sha256] = self._make(sha256, uri)
        return self._made[sha256]

    def _make(self, sha256: str, uri: str) -> Thumbnail:
        try:
            return thumbnail_of(Original(uri, sha256, self._fetch, Limits()).read())
        except OriginalChanged:
            return Thumbnail(note="The file has changed since the teachers saw it.")
        except JobError as error:
            return Thumbnail(note=f"No picture: {error.reason.sentence}")


def _card(row: Any, pictures: _Pictures) -> _Card:
    read = parse(row.answer)
    answer = read if isinstance(read, Answer) else Answer(abstains=True)
    return _Card(
        teacher=plain(row.teacher, 80),
        chosen=row.chosen,
        heading=_place(answer.city, answer.region, answer.country) or "No place",
        known=_place(row.city, row.region, row.country) or f"{row.lat:.3f}, {row.lon:.3f}",
        figures=tuple(_figures(row.measures)),
        reasoning=plain(row.reasoning, _MAX_REASONING_CHARS),
        cues=tuple(_cue(cue) for cue in sorted(cues_of(row.cues), key=lambda cue: _ORDER[cue.visible])),
        name=file_name(row.uri),
        thumbnail=pictures.of(row.sha256, row.uri),
    )


def _cue(cue: CueSeen) -> _Cue:
    standing = {True: "visible", False: "missing", None: "unjudged"}[cue.visible]
    figure = "" if cue.score is None else f" {cue.score:.2f}"
    return _Cue(plain(cue.text, 120), standing, plain(f"{cue.by}{figure}".strip(), 80))


def _figures(measures: dict[str, float]) -> list[str]:
    """What the filters went by, in words; what has no words yet is left to the data."""
    said = []
    if "p_locatable" in measures:
        said.append(f"It gives {measures['p_locatable']:.0%} that the place can be told.")
    if "locatable_share" in measures:
        said.append(f"{measures['locatable_share']:.0%} of the verdicts say that it can be told.")
    if "distance_km" in measures:
        from_where = "" if measures.get("fineness", 3) >= 3 else ", counted from the point that stands for it"
        said.append(f"It lies {distance(measures['distance_km'])} from the known point{from_where}.")
    if "agreeing_share" in measures:
        said.append(f"{measures['agreeing_share']:.0%} of what the others say goes with it.")
    elif "support" in measures:
        said.append("No other teacher names a place.")
    if "similarity" in measures:
        said.append(f"Likeness of the reasons to those of others: {measures['similarity']:.2f}.")
    return said


def _trouble(row: Any, summary: Summary) -> _Trouble:
    teacher = next(each for each in summary.teachers if each.name == row.teacher)
    return _Trouble(
        teacher=plain(row.teacher, 80),
        trouble=_TROUBLES.get(row.trouble, row.trouble),
        count=teacher.troubled.get(row.trouble, 0) if row.place == 1 else 0,
        detail=plain(row.detail, 200),
        raw=plain(row.raw, _MAX_RAW_CHARS),
        name=file_name(row.uri),
    )


def _quarantined(told: str | None) -> str:
    """Why nothing of a teacher is used, in words."""
    word, _, detail = (told or "").partition(": ")
    return plain(f"{_TROUBLES.get(word, word)}. {detail}".strip(), 300)


def _matrix(pairs: Sequence[Agreement], one: str, other: str) -> str:
    """How often two teachers agree, as a cell of the table."""
    for pair in pairs:
        if {pair.one, pair.other} == {one, other}:
            return f"{pair.agree / pair.photographs:.0%}"
    return "–" if one != other else ""


def _place(*names: str | None) -> str:
    return ", ".join(dict.fromkeys(plain(name, 80) for name in names if name))


@cache
def _template() -> "Template":
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["thousands"] = "{:,}".format
    environment.filters["percent"] = "{:.0%}".format
    environment.filters["plain"] = plain
    return environment.from_string((files(__package__) / "report.html.j2").read_text(encoding="utf-8"))


@cache
def _style() -> str:
    """The report's style sheet, and what this page adds to it."""
    sheets = (files("worker.report") / "report.css", files(__package__) / "report.css")
    return "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets)
