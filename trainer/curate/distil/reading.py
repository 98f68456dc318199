"""From what a teacher printed to an opinion, or to the trouble that it is.

The place and the reasons are read by the worker's own grammar. What teachers are asked beside it (verdict,
probability, visible things) is read here, as tolerantly: it may be missing, and then it is None. Nothing here
raises on text, and its time is linear in it.
"""

import re
from dataclasses import dataclass

from trainer.curate.distil.english import is_other_language
from trainer.curate.opinions import Opinion, Trouble
from worker.reason.answer import MAX_CHARS, Answer, Unparsable, Unreadable, parse
from worker.reason.fields import clean

MAX_NAMED = 32
MAX_NAMED_CHARS = 120

_MARKS = re.compile(r"[*`_\"'“”‘’]")
_LOCATABLE = re.compile(
    r"(?<!\w)(?:is_?)?locali[sz]?able|(?<!\w)(?:is[ _])?locat(?:e)?ab(?:le|ility)|(?<!\w)locali[sz]ability", re.I
)
_YES = re.compile(r"\s{0,3}[:=\-–—]?\s{0,3}\(?(yes|no|true|false|locatable|not[ _-]locatable|unlocatable)\b", re.I)
_PROBABILITY = re.compile(r"(?<!\w)(?:probability|p_locatable|likelihood)\s{0,3}[:=]\s{0,3}\(?", re.I)
_NUMBER = re.compile(r"([01]?[.,]\d{1,6}|\d{1,3}(?:[.,]\d{1,3})?)\s{0,2}(%?)")
_OPEN = re.compile(r"<\s{0,3}(visible|verdict)\s{0,3}>", re.I)
_TAG = re.compile(r"<\s{0,3}/?\s{0,3}[A-Za-z_]{1,20}\s{0,3}/?\s{0,3}>")
_HEADING = re.compile(r"^\s*(?:visible(?: things)?|entities)\s{0,3}:\s*", re.I)
_BULLET = re.compile(r"^\s*(?:[-*•·#>]+|\(?\d{1,2}[.)])\s+")
_NONE_SUCH = frozenset({
    "", "none", "nothing", "n/a", "na", "unknown", "...", "…",
    "the visible things that your reasoning rests upon, one a line",
})  # fmt: skip
_NO = frozenset({"no", "false", "unlocatable"})

_REFUSES = re.compile(
    r"\b(?:i(?:['’]m| am) (?:sorry|unable|not able)|i (?:can(?:not|['’]t)|won['’]t|must decline|am not allowed)"
    r"|as an ai\b|against (?:my|our|the) (?:policy|policies|guidelines)|i apologi[sz]e)",
    re.I,
)
_SHOWN = r"(?:image|picture|photo(?:graph)?)"
_NO_PICTURE = re.compile(
    rf"(?:no {_SHOWN} (?:was |is |has been |were )?(?:provided|attached|uploaded|included|given|visible|shared)"
    rf"|(?:do not|don['’]t|cannot|can['’]t|unable to) (?:actually )?(?:see|view|access|open)"
    rf" (?:the|any|an|your|this) {_SHOWN}"
    rf"|(?:please|kindly) (?:provide|upload|attach|share) (?:the|an|a|your) {_SHOWN}"
    rf"|{_SHOWN} (?:is|was) (?:missing|not (?:provided|attached|included)))",
    re.I,
)
_LOOKED_AT = 4000


@dataclass(frozen=True, slots=True)
class Troubled:
    """Why there is no opinion; `detail` is a sentence for a person."""

    trouble: Trouble
    detail: str


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside the answer."""

    locatable: bool | None = None
    p_locatable: float | None = None
    named: tuple[str, ...] | None = None


def read_said(teacher: str, raw: str, finish_reason: str | None) -> Opinion | Troubled:
    """What a language teacher's words come to."""
    text = clean(raw[-MAX_CHARS:])
    if not text.strip():
        return Troubled(Trouble.EMPTY, "The teacher said nothing.")
    read = parse(raw, finish_reason=finish_reason or "stop")
    if isinstance(read, Unparsable):
        return _no_answer(read, text)
    if (read.abstains or not read.reasoning) and _NO_PICTURE.search(text[:_LOOKED_AT]):
        return Troubled(Trouble.NO_PICTURE, "The teacher says that it was shown no picture.")
    if is_other_language(read.reasoning):
        return Troubled(Trouble.OTHER_LANGUAGE, "The reasons are not in English.")
    beside = read_beside(text)
    locatable = False if beside.locatable is None and read.abstains else beside.locatable
    return Opinion(teacher, read, locatable, beside.p_locatable, beside.named)


def read_beside(text: str) -> Beside:
    """Verdict, probability and visible things, each None where it cannot be read."""
    text = text[-MAX_CHARS:]
    verdicts = _OPEN.finditer(text)
    starts = {found[1].lower(): found for found in verdicts}  # of each the last
    verdict_at = starts["verdict"].end() if "verdict" in starts else 0
    head = _MARKS.sub("", text[verdict_at : verdict_at + _LOOKED_AT])
    locatable = _locatable(head)
    p_locatable = _probability(head)
    if locatable is False and p_locatable is not None and p_locatable > 0.5:
        # "no, 0.9" is how sure it is of its no.
        p_locatable = round(1.0 - p_locatable, 6)
    visible = starts.get("visible")
    return Beside(locatable, p_locatable, None if visible is None else _named(text, visible.end()))


def _locatable(head: str) -> bool | None:
    for label in _LOCATABLE.finditer(head):
        if (said := _YES.match(head, label.end())) is not None:
            word = said[1].lower()
            return not (word in _NO or word.startswith("not"))
    return None


def _probability(head: str) -> float | None:
    for label in _PROBABILITY.finditer(head):
        if (said := _NUMBER.match(head, label.end())) is not None:
            value = float(said[1].replace(",", "."))
            value = value / 100 if said[2] or 1 < value <= 100 else value
            return value if 0 <= value <= 1 else None
    return None


def _named(text: str, start: int) -> tuple[str, ...] | None:
    """The lines up to the next tag; None where there are none."""
    tag = _TAG.search(text, start)
    found: list[str] = []
    for line in text[start : tag.start() if tag else start + _LOOKED_AT].split("\n"):
        plain = _BULLET.sub("", _HEADING.sub("", line.replace("**", ""))).strip(" \t,;.")
        parts = plain.split(";") if ";" in plain else [plain]
        for part in parts:
            thing = " ".join(part.split())[:MAX_NAMED_CHARS].rstrip()
            if thing.casefold() not in _NONE_SUCH and any(map(str.isalpha, thing)) and thing not in found:
                found.append(thing)
            if len(found) == MAX_NAMED:
                return tuple(found)
    return tuple(found) or None


def _no_answer(read: Unparsable, text: str) -> Troubled:
    head = text[:_LOOKED_AT]
    if _NO_PICTURE.search(head):
        return Troubled(Trouble.NO_PICTURE, "The teacher says that it was shown no picture.")
    if read.reason is Unreadable.CUT:
        return Troubled(Trouble.CUT, read.detail)
    if _REFUSES.search(head):
        return Troubled(Trouble.REFUSED, "The teacher declines to answer.")
    if is_other_language(text):
        return Troubled(Trouble.OTHER_LANGUAGE, "The answer is not in English, and cannot be read.")
    return Troubled(Trouble.UNREADABLE, read.detail)


def same_words(raw: str) -> str:
    """The text as the canary compares it: without case, digits, marks and the amount of space."""
    words = re.sub(r"[^\w\s]|[\d_]", " ", clean(raw[-MAX_CHARS:]).casefold())
    return " ".join(words.split())


def place_said(answer: Answer) -> str:
    """The place as words, from the finest to the coarsest; empty where it names none."""
    return ", ".join(name for name in (answer.city, answer.region, answer.country) if name)
