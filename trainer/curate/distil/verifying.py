"""Stored answers become cases, the four steps judge them, and what comes of it is stored: as often as one likes.

What teachers said is parsed here, each time, so that a better parser needs no new question. Verification is made
anew as a whole: with the same answers and thresholds the same rows come out.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

import orjson
from sqlalchemy import Connection, Engine

from schema import queries
from trainer.curate.distil.ledger import subject_of
from trainer.curate.distil.reading import Troubled, read_said
from trainer.curate.distil.store import Distillation, get
from trainer.curate.opinions import Case, Opinion, Trouble, Verified
from trainer.curate.thresholds import Thresholds
from trainer.curate.verify import Counts, Similarity, Visible, choose, count, verify
from worker.reason.answer import render

_CASES_AT_ONCE = 500
_ROWS_PER_INSERT = 2000


@dataclass(frozen=True, slots=True)
class Judged:
    """What verification came to. `troubled`: {teacher: {trouble: answers}}, which were not judged."""

    counts: Counts
    photographs: int
    chosen: int
    troubled: Mapping[str, Mapping[str, int]]

    def to_json(self) -> dict[str, Any]:
        """For `distillation.counts`."""
        return {
            **self.counts.to_json(),
            "photographs": self.photographs,
            "chosen": self.chosen,
            "troubled": {teacher: dict(by) for teacher, by in self.troubled.items()},
        }


def verify_distillation(
    engine: Engine,
    distillation_id: int,
    *,
    thresholds: Thresholds | None = None,
    similarity: Similarity | None = None,
    visible: Visible | None = None,
    parameters: Mapping[str, Any] | None = None,
    on_photographs: Callable[[int], None] = lambda _: None,
) -> Judged:
    """Judges all that was said, and replaces the rows of `distilled_sample` in one transaction.

    `parameters`: what else is stored with the thresholds, such as the names of the models behind `similarity` and
    `visible`. `on_photographs` is told how many more were judged. Who calls holds `run_lock`.
    """
    thresholds = thresholds or Thresholds()
    distillation = get(engine, distillation_id)
    with engine.begin() as connection:
        connection.execute(queries.distil.BEGIN_VERIFYING, {"id": distillation_id})
    rows: list[dict[str, Any]] = []
    judged: list[Verified] = []
    troubled: dict[str, Counter[str]] = {}
    photographs = 0
    for cases in cases_of(engine, distillation):
        verified = verify(cases, thresholds, similarity, visible)
        rows += _rows(cases, verified)
        judged += [replace(one, cues=()) for one in verified]
        for case in cases:
            for teacher, trouble in case.troubled.items():
                troubled.setdefault(teacher, Counter())[str(trouble)] += 1
        photographs += len(cases)
        on_photographs(len(cases))
    stored = {"thresholds": asdict(thresholds), **(parameters or {})}
    with engine.begin() as connection:
        _store(connection, distillation_id, rows)
        connection.execute(queries.distil.SET_PARAMETERS, {"id": distillation_id, "parameters": _json(stored)})
    return Judged(count(judged), photographs, sum(row["chosen"] for row in rows), troubled)


def cases_of(engine: Engine, distillation: Distillation) -> Iterator[list[Case]]:
    """All photographs with what was said of them, some hundreds at a time, by content hash.

    A quarantined teacher has no opinion, whatever it said. One that has not been heard about a photograph has
    none of it either.
    """
    quarantined = {name: Trouble(trouble) for name, trouble in distillation.quarantined().items()}
    names = {teacher.name for teacher in distillation.teachers}
    after = ""
    while True:
        given = {"id": distillation.id, "after": after, "limit": _CASES_AT_ONCE}
        with engine.connect() as connection:
            found = connection.execute(queries.distil.READ_ANSWERS, given).all()
        if not found:
            return
        yield [_case(list(rows), quarantined, names) for _, rows in groupby(found, key=lambda row: row.sha256)]
        after = found[-1].sha256


def _case(rows: Sequence[Any], quarantined: Mapping[str, Trouble], names: set[str]) -> Case:
    opinions: list[Opinion] = []
    troubled: dict[str, Trouble] = {}
    for row in rows:
        if row.teacher is None or row.teacher not in names:
            continue
        if row.teacher in quarantined:
            troubled[row.teacher] = quarantined[row.teacher]
            continue
        said = opinion_of(row)
        if isinstance(said, Opinion):
            opinions.append(said)
        elif said is not None:
            troubled[row.teacher] = said
    return Case(subject_of(rows[0], lat=rows[0].known_lat, lon=rows[0].known_lon), tuple(opinions), troubled)


def opinion_of(row: Any) -> Opinion | Trouble | None:
    """What an answer of `READ_ANSWERS` comes to; None where there is none yet, or no point."""
    if row.state == "asked":
        return None
    if row.lat is not None:
        return Opinion(row.teacher, lat=row.lat, lon=row.lon, confidence=row.confidence)
    if row.raw is None:
        return Trouble(row.trouble)
    if row.prompt_hash is None:
        return None  # a coordinate teacher without a point
    read = read_said(row.teacher, row.raw, row.finish_reason)
    return read.trouble if isinstance(read, Troubled) else read


def _rows(cases: Sequence[Case], verified: Sequence[Verified]) -> list[dict[str, Any]]:
    said = {(case.subject.id, opinion.teacher): opinion.answer for case in cases for opinion in case.opinions}
    best = choose(verified)
    rows = []
    for one in verified:
        answer = said[one.subject_id, one.teacher]
        assert answer is not None
        rows.append(
            {
                "sha256": one.subject_id,
                "teacher": one.teacher,
                "kept": one.kept,
                "chosen": best.get(one.subject_id) == one.teacher,
                "dropped_by": one.dropped_by,
                "reason": one.reason,
                "reasoning": answer.reasoning,
                "answer": render(replace(answer, reasoning="")),
                "cues": [asdict(cue) for cue in one.cues],
                "measures": one.measures,
            }
        )
    return rows


def _store(connection: Connection, distillation_id: int, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute(queries.distil.DROP_SAMPLES, {"id": distillation_id})
    for start in range(0, len(rows), _ROWS_PER_INSERT):
        given = {"id": distillation_id, "rows": _json(list(rows[start : start + _ROWS_PER_INSERT]))}
        connection.execute(queries.distil.ADD_SAMPLES, given)


def _json(what: Any) -> str:
    return orjson.dumps(what).decode()
