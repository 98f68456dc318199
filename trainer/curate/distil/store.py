"""A distillation as a row: made once, found again by its name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Engine

from schema import queries
from trainer.curate.distil.ledger import add_subjects
from trainer.curate.distil.prompt import PROMPT_HASH
from trainer.curate.opinions import Subject
from trainer.curate.teachers import LanguageTeacher, Teacher, from_row
from worker.errors import SetupError


@dataclass(frozen=True, slots=True)
class Distillation:
    """A stored one. `standing`: {teacher: {quarantined, detail, control, anew}}, each where there is anything."""

    id: int
    name: str
    source: Mapping[str, Any]
    teachers: tuple[Teacher, ...]
    parameters: Mapping[str, Any]
    state: str
    detail: str | None
    standing: Mapping[str, Mapping[str, Any]]
    counts: Mapping[str, Any]

    @classmethod
    def of(cls, row: Any) -> "Distillation":
        """From a row of `distillation`."""
        return cls(
            id=row.id,
            name=row.name,
            source=row.source,
            teachers=tuple(map(from_row, row.teachers)),
            parameters=row.parameters,
            state=row.state,
            detail=row.detail,
            standing=row.standing,
            counts=row.counts,
        )

    def quarantined(self) -> dict[str, str]:
        """{teacher: trouble} of those that are not believed."""
        return {name: told["quarantined"] for name, told in self.standing.items() if told.get("quarantined")}


def find(engine: Engine, name: str | None = None) -> Distillation | None:
    """The one of this name, or (None) the newest."""
    with engine.connect() as connection:
        row = connection.execute(queries.distil.READ_DISTILLATION, {"name": name}).one_or_none()
    return None if row is None else Distillation.of(row)


def get(engine: Engine, distillation_id: int) -> Distillation:
    """The one with this id, which exists."""
    with engine.connect() as connection:
        return Distillation.of(
            connection.execute(queries.distil.READ_DISTILLATION_BY_ID, {"id": distillation_id}).one()
        )


def named(engine: Engine, name: str | None = None) -> Distillation:
    """As `find`. Raises `SetupError` where there is none."""
    found = find(engine, name)
    if found is None:
        which = "no teachers have been asked yet" if name is None else f"there is no distillation {name!r}"
        raise SetupError(f"{which}: begin with `globetag curate plan`")
    return found


def open_distillation(
    engine: Engine,
    name: str,
    *,
    source: Mapping[str, Any],
    subjects: Sequence[Subject],
    teachers: Sequence[Teacher],
    collection: str | None = None,
    curation_id: int | None = None,
) -> tuple[Distillation, int]:
    """The distillation of this name, made where it is new, with these teachers from now on; and how many of the
    `subjects` are new to it. Raises `SetupError` where the name stands for another source."""
    rows = _json([teacher.row() for teacher in teachers])
    with engine.begin() as connection:
        given = {
            "name": name,
            "source": _json(dict(source)),
            "collection": collection,
            "curation_id": curation_id,
            "teachers": rows,
            "parameters": "{}",
        }
        connection.execute(queries.distil.ADD_DISTILLATION, given)
        row = connection.execute(queries.distil.READ_DISTILLATION, {"name": name}).one()
        if dict(row.source) != orjson.loads(_json(dict(source))):
            raise SetupError(
                f"the distillation {name!r} asks about another source ({told_source(row.source)}); give this one"
                " another --name"
            )
        connection.execute(queries.distil.SET_TEACHERS, {"id": row.id, "teachers": rows})
        added = add_subjects(connection, row.id, subjects)
        return Distillation.of(
            connection.execute(queries.distil.READ_DISTILLATION_BY_ID, {"id": row.id}).one()
        ), added


@contextmanager
def run_lock(engine: Engine, distillation: Distillation) -> Iterator[None]:
    """While this is held no other process asks or verifies. Raises `SetupError` where one does."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.execute(queries.distil.RUN_LOCK, {"id": distillation.id}).scalar_one():
            raise SetupError(f"another process is at work on the distillation {distillation.name!r}; wait for it")
        try:
            yield
        finally:
            connection.execute(queries.distil.RUN_UNLOCK, {"id": distillation.id})


def set_standing(engine: Engine, distillation_id: int, teacher: str, **what: Any) -> None:
    """Adds to what is known of a teacher."""

    def merged(connection: Connection) -> None:
        row = connection.execute(queries.distil.READ_DISTILLATION_BY_ID, {"id": distillation_id}).one()
        standing = {**row.standing.get(teacher, {}), **what}
        given = {"id": distillation_id, "teacher": teacher, "standing": _json(standing)}
        connection.execute(queries.distil.SET_STANDING, given)

    _in_transaction(engine, merged)


def ask_anew(engine: Engine, distillation: Distillation, teacher: str) -> int:
    """Throws away all that a teacher has said, and its quarantine; returns how many answers went."""
    if teacher not in {each.name for each in distillation.teachers} | set(distillation.standing):
        known = ", ".join(each.name for each in distillation.teachers)
        raise SetupError(f"the distillation {distillation.name!r} has no teacher {teacher!r}; it has {known}")
    anew = int(distillation.standing.get(teacher, {}).get("anew", 0)) + 1
    with engine.begin() as connection:
        given = {"id": distillation.id, "teacher": teacher}
        gone = connection.execute(queries.distil.ASK_ANEW, given).rowcount
        connection.execute(queries.distil.SET_STANDING, given | {"standing": _json({"anew": anew})})
    return int(gone)


def same_question(teacher: LanguageTeacher) -> dict[str, str]:
    """What makes a question about a photograph the same one in any distillation, for queries."""
    return {
        "teacher": teacher.name,
        "prompt_hash": PROMPT_HASH,
        "sampling": _json(asdict(teacher.sampling)),
        "asked": _json([{"name": teacher.name, "url": teacher.url, "model": teacher.model}]),
    }


def told_source(source: Mapping[str, Any]) -> str:
    """A source, for a person."""
    return " ".join(f"{name} {value}" if name != "kind" else str(value) for name, value in source.items() if value)


def _in_transaction(engine: Engine, work: Callable[[Connection], None]) -> None:
    with engine.begin() as connection:
        work(connection)


def _json(what: Any) -> str:
    return orjson.dumps(what).decode()
