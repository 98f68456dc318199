"""How a distillation stands: what each filter left, and how the teachers compare. For the card and the report."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Connection, Engine

from schema import queries
from trainer.curate.claims import Stance, claim_of, stance
from trainer.curate.opinions import Opinion, Step
from trainer.curate.thresholds import Thresholds, Why
from trainer.curate.verify import UNJUDGED
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer
from worker.reason.answer import Unparsable, parse

COMPARED = 2000
"""The agreement of teachers with each other is worked out over at most so many photographs."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One step of verification: samples `before` it, dropped `why`, left `after` it. `unjudged`: it could not
    tell."""

    step: Step
    before: int
    after: int
    why: Mapping[str, int]
    unjudged: int = 0


@dataclass(frozen=True, slots=True)
class TeacherFigures:
    """One teacher. `asked` = `answered` + `troubled` + those that are on their way. `right_place` of `placed`
    samples, those that came to the step of the known place, passed it. `quarantined`: why nothing of it is
    used."""

    name: str
    kind: str
    model: str
    asked: int = 0
    answered: int = 0
    troubled: Mapping[str, int] = field(default_factory=dict)
    samples: int = 0
    kept: int = 0
    chosen: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    placed: int = 0
    right_place: int = 0
    median_s: float | None = None
    tokens: int = 0
    quarantined: str | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of `photographs` that both name a place for, on so many they `agree`; one coarser than the other counts."""

    one: str
    other: str
    photographs: int
    agree: int


@dataclass(frozen=True, slots=True)
class Summary:
    """`photographs` by state, left out ones by reason in `left_out`. `samples` in = `kept` + what `filters`
    dropped. `parameters` are those of verification, flat. `source` says in words where the photographs come
    from."""

    id: int
    name: str
    state: str
    detail: str | None
    source: str
    kind: str
    collection: str | None
    photographs: int
    left_out: Mapping[str, int]
    samples: int
    kept: int
    chosen: int
    filters: tuple[Filter, ...]
    teachers: tuple[TeacherFigures, ...]
    parameters: Mapping[str, Any]
    created_at: Any = None
    finished_at: Any = None


def find(connection: Connection, name: str | None) -> Any:
    """The row of the distillation of this name or number; None: the newest. Raises `SetupError` where none is."""
    row = connection.execute(queries.distil.READ_DISTILLATION, {"name": name}).one_or_none()
    if row is None and name is not None and name.isascii() and name.isdigit() and len(name) < 19:
        row = connection.execute(queries.distil.READ_DISTILLATION_BY_ID, {"id": int(name)}).one_or_none()
    if row is None:
        which = "there is no distillation yet" if name is None else f"there is no distillation {name!r}"
        raise SetupError(f"{which}: see `globetag curate status`, or plan one with `globetag curate plan`")
    return row


def summarise(engine: Engine, name: str | None = None) -> Summary:
    """The distillation as it stands now. Raises as `find`."""
    with engine.connect() as connection:
        row = find(connection, name)
        by_state = connection.execute(queries.distil.COUNT_DISTILLED, {"id": row.id}).all()
        answers = connection.execute(queries.distil.COUNT_ANSWERS, {"id": row.id}).all()
        fates = connection.execute(queries.distilled.FATES_BY_TEACHER, {"id": row.id}).all()
        unjudged = connection.execute(queries.distilled.UNJUDGED, {"id": row.id}).all()
    not_judged = {each.measure.removeprefix(UNJUDGED): int(each.samples) for each in unjudged}
    return Summary(
        id=row.id,
        name=row.name,
        state=row.state,
        detail=row.detail,
        source=source_words(row.source),
        kind=str(row.source.get("kind", "")),
        collection=row.collection,
        photographs=sum(each.photographs for each in by_state),
        left_out={each.reason: int(each.photographs) for each in by_state if each.state == "left_out"},
        samples=sum(each.samples for each in fates),
        kept=sum(each.samples for each in fates if each.kept),
        chosen=sum(each.chosen for each in fates),
        filters=_filters(fates, not_judged),
        teachers=tuple(_teacher(given, row.standing, answers, fates) for given in _named(row.teachers, answers)),
        parameters=flat(row.parameters),
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def agreements(engine: Engine, distillation_id: int, *, limit: int = COMPARED) -> list[Agreement]:
    """How often two teachers mean the same place, by the rules of verification with its default distances."""
    gazetteer, thresholds = Gazetteer.load(), Thresholds()
    said: dict[str, list[Opinion]] = defaultdict(list)
    with engine.connect() as connection:
        for row in connection.execute(queries.distilled.PLACES_SAID, {"id": distillation_id, "limit": limit}):
            answer = None if row.answer is None else parse(row.answer)
            if isinstance(answer, Unparsable):
                continue
            said[row.sha256].append(Opinion(row.teacher, answer=answer, lat=row.lat, lon=row.lon))
    both: Counter[tuple[str, str]] = Counter()
    agree: Counter[tuple[str, str]] = Counter()
    for opinions in said.values():
        for first, second in combinations(sorted(opinions, key=lambda opinion: opinion.teacher), 2):
            # The one that gives names is asked about: a point alone makes no claim.
            one, other = (first, second) if first.answer is not None else (second, first)
            if one.answer is None:
                continue
            found = stance(claim_of(one.answer, gazetteer), other, gazetteer, thresholds)
            if found is not Stance.SILENT:
                both[first.teacher, second.teacher] += 1
                agree[first.teacher, second.teacher] += found is not Stance.CONTRADICTS
    return [Agreement(one, other, count, agree[one, other]) for (one, other), count in sorted(both.items())]


def source_words(source: Mapping[str, Any]) -> str:
    """Where the photographs come from, without the paths of this machine."""
    kind = str(source.get("kind", "unknown"))
    if kind == "curation":
        return f"curation {source.get('curation') or ''}".strip()
    name = PurePosixPath(str(source.get("folder") or "")).name
    return {"folder": f"the folder {name}", "mp16": f"MP-16 in {name}"}.get(kind, f"{kind} {name}".strip())


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested values by names with dots."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def sentence(reason: str | None) -> str:
    """A reason of verification in words; the word itself where it is none of the list."""
    try:
        return Why(reason or "").sentence
    except ValueError:
        return reason or ""


def _filters(fates: Any, not_judged: Mapping[str, int]) -> tuple[Filter, ...]:
    dropped: dict[str, Counter[str]] = {step: Counter() for step in Step}
    for fate in fates:
        if fate.dropped_by is not None:
            dropped[fate.dropped_by][fate.reason] += fate.samples
    left = sum(fate.samples for fate in fates)
    found = []
    for step in Step:
        after = left - dropped[step].total()
        found.append(Filter(step, left, after, dict(dropped[step].most_common()), not_judged.get(step, 0)))
        left = after
    return tuple(found)


def _named(teachers: Any, answers: Any) -> list[dict[str, Any]]:
    """The teachers as they were configured, and those that were asked before and are not named any more."""
    given = {str(each.get("name")): dict(each) for each in teachers}
    for each in answers:
        given.setdefault(each.teacher, {"name": each.teacher})
    return [given[name] for name in sorted(given)]


def _teacher(given: Mapping[str, Any], standing: Any, answers: Any, fates: Any) -> TeacherFigures:
    name = str(given["name"])
    own = [each for each in answers if each.teacher == name]
    samples = [each for each in fates if each.teacher == name]
    answered = [each for each in own if each.state == "answered"]
    known = (standing or {}).get(name) or {}
    dropped: Counter[str] = Counter()
    for each in samples:
        if each.dropped_by is not None:
            dropped[each.dropped_by] += each.samples
    total = sum(each.samples for each in samples)
    placed = total - dropped[Step.LOCATABLE]
    return TeacherFigures(
        name=name,
        kind=str(given.get("kind") or ""),
        model=str(given.get("model") or ""),
        asked=sum(each.questions for each in own),
        answered=sum(each.questions for each in answered),
        troubled={each.trouble: int(each.questions) for each in own if each.state == "troubled"},
        samples=total,
        kept=sum(each.samples for each in samples if each.kept),
        chosen=sum(each.chosen for each in samples),
        dropped=dict(dropped),
        placed=placed,
        right_place=placed - dropped[Step.PLACE],
        median_s=next((each.median_s for each in answered if each.median_s is not None), None),
        tokens=int(sum(each.tokens_in + each.tokens_out for each in own)),
        quarantined=_quarantine(known),
    )


def _quarantine(known: Mapping[str, Any]) -> str | None:
    if not known.get("quarantined"):
        return None
    return f"{known['quarantined']}: {known.get('detail') or ''}".rstrip(": ")
