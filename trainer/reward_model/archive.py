"""Samples out of the archive's database: a distillation, or stored predictions of photographs of known place.

The rights of today count, and what any curation has held out is never learnt from. Originals are fetched when
their turn comes, and are then byte for byte those that were labelled.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from sqlalchemy import Engine

from schema import queries
from trainer.curate.distil.store import Distillation, find, named
from trainer.curate.distil.verifying import cases_of
from trainer.curate.labels import Known, Side, read_known
from trainer.curate.opinions import Subject
from trainer.curate.originals import Fetch, Original
from trainer.curate.rights import refusal
from trainer.curate.sources.archive import held_out_hashes
from trainer.judge.from_database import read_database
from trainer.judge.records import Judged
from trainer.reward_model.curated import from_cases
from trainer.reward_model.data import Labelled, LeftOut, Picture, Target
from trainer.reward_model.judged import from_judged
from worker.intake.limits import Limits
from worker.place.gazetteer import Gazetteer

_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Usable:
    """What may be learnt from today, of photographs that the archive knows by content hash."""

    known: dict[str, Known]
    held_out: frozenset[str]
    fetch: Fetch
    limits: Limits

    def picture(self, sha256: str, uri: str | None = None) -> Picture | LeftOut:
        """Where it is opened, or why it is not. `uri` is for those that the archive does not know."""
        known = self.known.get(sha256)
        if sha256 in self.held_out or (known is not None and known.before is Side.HELD_OUT):
            return LeftOut.HELD_OUT
        if known is not None and refusal(known.data_mining, consented=known.consented) is not None:
            return LeftOut.NO_RIGHTS
        where = uri or (known.uris[0] if known is not None and known.uris else None)
        return LeftOut.NO_PICTURE if where is None else Original(where, sha256, self.fetch, self.limits)


def usable(engine: Engine, fetch: Fetch, limits: Limits) -> Usable:
    """Reads who may be learnt from."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        until = int(connection.execute(queries.curation.NEWEST_LABEL).scalar_one())
        known = {row.sha256: row for row in read_known(connection, until=until)}
    return Usable(known, held_out_hashes(engine), fetch, limits)


def from_predictions(
    engine: Engine, fetch: Fetch, limits: Limits, target: Target, *, collection: str | None = None
) -> Labelled:
    """The stored answers of the pipeline that answered last. Raises `SetupError` where there are none."""
    allowed, found = usable(engine, fetch, limits), read_database(engine, collection=collection)
    left_out: Counter[LeftOut] = Counter()
    rows: list[tuple[str, Judged]] = []
    pictures: dict[str, Picture] = {}
    for row in found.run.rows:
        picture = allowed.picture(row.truth.id)
        if isinstance(picture, LeftOut):
            left_out[picture] += 1
        else:
            pictures[row.truth.id] = picture
            rows.append((found.run.name, row))
    return from_judged(rows, target, pictures=pictures, left_out=left_out)


def from_distillation(engine: Engine, name: str, fetch: Fetch, limits: Limits, target: Target) -> Labelled:
    """What teachers said in the distillation of this name or number. Raises `SetupError` where there is none."""
    cases = chain.from_iterable(cases_of(engine, _distillation(engine, name)))
    return from_cases(cases, opener(usable(engine, fetch, limits)), target, Gazetteer.load())


def _distillation(engine: Engine, name: str) -> Distillation:
    """By name, or by number where none has the name."""
    if find(engine, name) is None and name.isdecimal():
        with engine.connect() as connection:
            given = {"id": min(int(name), _LARGEST_ID)}
            row = connection.execute(queries.distil.READ_DISTILLATION_BY_ID, given).one_or_none()
        if row is not None:
            return Distillation.of(row)
    return named(engine, name)


def opener(allowed: Usable) -> Callable[[Subject], Picture | LeftOut]:
    """Opens a subject at its own address."""
    return lambda subject: allowed.picture(subject.id, subject.uri)
