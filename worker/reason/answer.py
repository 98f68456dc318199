"""The one answer grammar: serving, training and evaluation read and write model answers through this file.

Canonical form, with `region`, `city` and the pair `lat`, `lon` optional::

    <think>Yellow plates; a sign reads "boulangerie".</think><answer>country: France
    region: Brittany
    city: Rennes
    lat: 48.111700
    lon: -1.680200</answer>

An answer that declines to name a place is canonical too: ``<answer>country: unknown</answer>``.

`parse` is tolerant of what models print (see `worker.reason.fields`) and strict about what it takes for a place.
It never raises on text: an answer that cannot be read is a value, `Unparsable`. Its time is linear in the text,
of which at most `MAX_CHARS` are read.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from worker.reason.coordinates import checked
from worker.reason.fields import Fields, clean, read_fields

MAX_CHARS = 200_000
"""Longer text keeps its end, where the answer stands. Completions are some thousand tokens at most."""
MAX_CUES = 32
MAX_CUE_CHARS = 300

_TAG = re.compile(r"<\s{0,3}(/?)\s{0,3}(think|answer)\s{0,3}>", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:[-*•·#>]+|\(?\d{1,2}[.)])\s+")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+")
_MIN_CUE_CHARS = 8


class Unreadable(StrEnum):
    """Why a completion holds no answer."""

    EMPTY = "empty"
    CUT = "cut"
    NO_ANSWER = "no_answer"
    PLACEHOLDER = "placeholder"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model claims. Names are as printed, cleaned of markup; nothing is looked up here.

    `cues` are the stated reasons, one sentence or bullet each: the model's words, not evidence. `lat` and `lon`
    are both given or both None. `abstains` means that the model says the place cannot be told; all place fields
    are None then. `notes` name what had to be tolerated to read the answer.
    """

    reasoning: str = ""
    country: str | None = None
    region: str | None = None
    city: str | None = None
    lat: float | None = None
    lon: float | None = None
    abstains: bool = False
    cues: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unparsable:
    """No answer could be read. `detail` is a sentence for a person; `reasoning` is kept for the trace."""

    reason: Unreadable
    detail: str
    reasoning: str = ""


def parse(text: str, *, finish_reason: str = "stop") -> Answer | Unparsable:
    """Reads one completion. `finish_reason` is "length" when the token limit cut it."""
    notes: list[str] = []
    if len(text) > MAX_CHARS:
        text = text[-MAX_CHARS:]
        notes.append(f"only the last {MAX_CHARS} characters were read")
    text = clean(text)
    if not text.strip():
        return Unparsable(Unreadable.EMPTY, "The model printed nothing.")
    parts = _split(text, notes)
    if not parts.closed and finish_reason == "length":
        detail = "The token limit cut the text before the answer was complete."
        return Unparsable(Unreadable.CUT, detail, parts.thinking)
    fields = read_fields(parts.body, in_answer=parts.tagged)
    if fields is None:
        detail = "The text holds no country, city or other place line."
        return Unparsable(Unreadable.NO_ANSWER, detail, parts.thinking)
    return _answer(fields, parts.reasoning or ("" if parts.tagged else fields.before.strip()), notes)


def render(answer: Answer) -> str:
    """The canonical form. `parse(render(answer))` gives the same claims back; coordinates to six decimals."""
    lines: list[str] = []
    if not answer.abstains:
        names = (("country", answer.country), ("region", answer.region), ("city", answer.city))
        lines += [f"{label}: {_line(name)}" for label, name in names if name]
        if answer.lat is not None and answer.lon is not None:
            lines += [f"lat: {answer.lat:.6f}", f"lon: {answer.lon:.6f}"]
    reasoning = _TAG.sub(" ", clean(answer.reasoning)).strip()
    return f"<think>{reasoning}</think><answer>" + "\n".join(lines or ["country: unknown"]) + "</answer>"


def split_cues(reasoning: str) -> tuple[str, ...]:
    """The sentences and bullets of the reasoning, at most `MAX_CUES`, each at most `MAX_CUE_CHARS` long."""
    cues: list[str] = []
    for line in reasoning.split("\n"):
        for sentence in _SENTENCE_END.split(_BULLET.sub("", line.replace("**", ""))):
            cue = sentence.strip()[:MAX_CUE_CHARS].rstrip()
            if len(cue) >= _MIN_CUE_CHARS and cue not in cues:
                cues.append(cue)
            if len(cues) == MAX_CUES:
                return tuple(cues)
    return tuple(cues)


@dataclass(frozen=True, slots=True)
class _Tag:
    name: str
    closes: bool
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Parts:
    """`body` holds the answer; `tagged`: an answer tag opened it; `closed`: and one closed it."""

    reasoning: str
    body: str
    tagged: bool
    closed: bool

    @property
    def thinking(self) -> str:
        return self.reasoning or ("" if self.tagged else self.body.strip())


def _split(text: str, notes: list[str]) -> _Parts:
    tags = [_Tag(match[2].lower(), match[1] == "/", match.start(), match.end()) for match in _TAG.finditer(text)]
    blocks: list[tuple[_Tag, _Tag]] = []
    opened: _Tag | None = None
    for tag in tags:
        if tag.name == "answer" and not tag.closes:
            opened = tag
        elif tag.name == "answer" and opened is not None:
            blocks.append((opened, tag))
            opened = None
    thinking = [tag for tag in tags if tag.name == "think"]
    if blocks:
        if len(blocks) > 1:
            notes.append(f"{len(blocks)} answers, the last was taken")
        if opened is not None:
            notes.append("a further answer was not complete")
        first, last = blocks[-1]
        return _Parts(_reasoning(text, first.start, thinking, notes), text[first.end : last.start], True, True)
    if opened is not None:
        notes.append("missing </answer>")
        return _Parts(_reasoning(text, opened.start, thinking, notes), text[opened.end :], True, False)
    notes.append("no <answer> tags")
    closings = [tag for tag in thinking if tag.closes]
    if closings:
        return _Parts(_reasoning(text, closings[-1].end, thinking, notes), text[closings[-1].end :], False, False)
    if thinking:
        notes.append("missing </think>")
    return _Parts("", _TAG.sub("\n", text), False, False)


def _reasoning(text: str, end: int, thinking: list[_Tag], notes: list[str]) -> str:
    """What stands between <think> and </think> before `end`; either tag may be missing."""
    opens = [tag.end for tag in thinking if not tag.closes and tag.end <= end]
    begin = opens[0] if opens else 0
    closings = [tag.start for tag in thinking if tag.closes and begin <= tag.start < end]
    reasoning = _TAG.sub(" ", text[begin : closings[-1] if closings else end]).strip()
    if reasoning and not opens:
        notes.append("missing <think>")
    if reasoning and not closings:
        notes.append("missing </think>")
    return reasoning


def _answer(fields: Fields, reasoning: str, notes: list[str]) -> Answer | Unparsable:
    notes = [*notes, *fields.notes]
    if not reasoning and fields.reasons:
        reasoning = fields.reasons
    cues = split_cues("\n".join(filter(None, [reasoning, fields.reasons if fields.reasons != reasoning else ""])))
    lat = lon = None
    if fields.lat is not None and fields.lon is not None:
        point = checked(fields.lat, fields.lon)
        if point is None:
            notes.append("the coordinates are out of range or 0, 0 and were dropped")
        else:
            lat, lon = point
    elif fields.lat is not None or fields.lon is not None:
        notes.append("half a coordinate was dropped")
    if fields.country is None and fields.region is None and fields.city is None:
        if fields.abstains:
            return Answer(reasoning=reasoning, abstains=True, cues=cues, notes=tuple(notes))
        if lat is None:
            return Unparsable(
                Unreadable.PLACEHOLDER, "The answer has place lines, but no place stands in them.", reasoning
            )
    return Answer(reasoning, fields.country, fields.region, fields.city, lat, lon, cues=cues, notes=tuple(notes))


def _line(value: str | None) -> str:
    return " ".join(_TAG.sub(" ", clean(value or "")).split())
