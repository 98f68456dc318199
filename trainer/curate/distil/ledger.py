"""What was asked and what came, in Postgres: a question before it goes out, its answer as soon as it arrives.

Threads wait until their row is committed; those that come together are committed together. So a process that is
killed has at most as many questions under way as it has threads, and only these may be asked again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from types import TracebackType
from typing import Any, Self

import orjson
from sqlalchemy import Connection, Engine

from schema import queries
from trainer.curate.distil.canary import AWAY
from trainer.curate.opinions import Subject, Trouble
from worker.batcher import Batcher
from worker.queue.patience import PatientTransactions

PATIENCE_S = 60.0
_GROUP = 256
_PAGE = 500
_ROWS_PER_INSERT = 5000
AGAIN = sorted(map(str, AWAY))
"""Troubles after which a question is asked again in the next run."""


@dataclass(frozen=True, slots=True)
class Question:
    """One teacher about one photograph."""

    sha256: str
    teacher: str


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a question. `raw`: the words of a language teacher, or what a coordinate teacher rests upon."""

    question: Question
    raw: str | None = None
    trouble: Trouble | None = None
    detail: str | None = None
    finish_reason: str | None = None
    lat: float | None = None
    lon: float | None = None
    confidence: float | None = None
    took_s: float | None = None
    model: str | None = None
    prompt_hash: str | None = None
    sampling: dict[str, Any] | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None

    def row(self) -> dict[str, Any]:
        """The row's fields. NUL, which Postgres cannot store, becomes what stands for it."""
        said = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "question"}
        said |= {"raw": _storable(self.raw), "detail": _storable(self.detail)}
        return asdict(self.question) | {"state": "troubled" if self.trouble else "answered"} | said


def _storable(text: str | None) -> str | None:
    """The text as Postgres takes it."""
    if text is None:
        return None
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


class Ledger:
    """The rows of one distillation. Thread-safe. At most one process has it open (`locked`)."""

    def __init__(self, engine: Engine, distillation_id: int) -> None:
        self.id = distillation_id
        self._engine = engine
        self._transactions = PatientTransactions(engine, patience_s=PATIENCE_S)
        self._asking: Batcher[Question, bool] = Batcher(
            self._ask, max_size=_GROUP, isolate_failures=False, name="asked"
        )
        self._answering: Batcher[Came, bool] = Batcher(
            self._answer, max_size=_GROUP, isolate_failures=True, name="answered"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._transactions.give_up()
        self._asking.close()
        self._answering.close()

    def ask(self, question: Question) -> bool:
        """Blocks until it is committed that the question goes out. False: it must not (answered, or erased)."""
        return self._asking.submit(question)

    def answer(self, came: Came) -> bool:
        """Blocks until the answer is committed. False: its photograph was erased meanwhile."""
        return self._answering.submit(came)

    def to_ask(self, teacher: str) -> Iterator[Subject]:
        """The photographs that this teacher has yet to be asked about, by content hash, a page at a time."""
        after = ""
        while True:
            rows = self.run(
                lambda connection: connection.execute(
                    queries.distil.TO_ASK,
                    {"id": self.id, "teachers": [teacher], "after": after, "again": AGAIN, "limit": _PAGE},  # noqa: B023
                ).all()
            )
            if not rows:
                return
            yield from map(subject_of, rows)
            after = rows[-1].sha256

    def leave_out(self, sha256: str, reason: str) -> None:
        """This photograph cannot be asked about."""
        self._rows(queries.distil.LEAVE_OUT, [{"sha256": sha256, "reason": reason}])

    def unask(self, questions: Sequence[Question]) -> None:
        """These never went out after all."""
        self._rows(queries.distil.UNASK, [asdict(question) for question in questions])

    def run(self, work: Any) -> Any:
        """`work(connection)` in a transaction, again while the database is away."""
        return self._transactions.run(work)

    def _rows(self, statement: Any, rows: list[dict[str, Any]]) -> None:
        given = {"id": self.id, "rows": _json(rows)}
        self.run(lambda connection: connection.execute(statement, given))

    def _ask(self, questions: list[Question]) -> list[bool]:
        given = {"id": self.id, "again": AGAIN, "rows": _json([asdict(question) for question in questions])}
        found = self.run(lambda connection: connection.execute(queries.distil.ASK, given).all())
        out = {(row.sha256, row.teacher) for row in found}
        return [(question.sha256, question.teacher) in out for question in questions]

    def _answer(self, came: list[Came]) -> list[bool]:
        given = {"id": self.id, "rows": _json([each.row() for each in came])}
        found = self.run(lambda connection: connection.execute(queries.distil.ANSWER, given).all())
        stored = {(row.sha256, row.teacher) for row in found}
        return [(each.question.sha256, each.question.teacher) in stored for each in came]


def add_subjects(connection: Connection, distillation_id: int, subjects: Sequence[Subject]) -> int:
    """Stores the photographs that are not there yet; returns how many. What was erased does not come back."""
    added = 0
    for start in range(0, len(subjects), _ROWS_PER_INSERT):
        rows = [_row(subject) for subject in subjects[start : start + _ROWS_PER_INSERT]]
        given = {"id": distillation_id, "rows": _json(rows)}
        added += len(connection.execute(queries.distil.ADD_DISTILLED, given).all())
    return added


def subject_of(row: Any, *, lat: float | None = None, lon: float | None = None) -> Subject:
    """The photograph of a row of `distilled`; `lat`, `lon` where they have other names in it."""
    return Subject(
        id=row.sha256,
        uri=row.uri,
        lat=row.lat if lat is None else lat,
        lon=row.lon if lon is None else lon,
        country_code=row.country_code,
        country=row.country,
        region=row.region,
        city=row.city,
        geoname_id=row.geoname_id,
        grouped_by=row.grouped_by,
        licence=row.licence,
        image_id=row.image_id,
        label_id=row.label_id,
    )


def _row(subject: Subject) -> dict[str, Any]:
    said = asdict(subject)
    return {"sha256": said.pop("id"), **said}


def _json(rows: list[dict[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
