"""Known places against predictions, out of the archive's own database.

Judged are the images that were asked about: known places of which no model was asked (a camera position, without
`--verify`) are no misses, and are told apart. One pipeline at a time: a mean over several is nobody's figure.
"""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, Row

from schema import queries
from schema.reasons import Reason, Status
from trainer.judge.read import fold_cue
from trainer.judge.records import Judged, Outcome, Prediction, Run, Truth
from worker.errors import SetupError
from worker.reason.answer import Unparsable, parse

_ROWS_PER_FETCH = 1000


@dataclass(frozen=True, slots=True)
class FromDatabase:
    """`run` is over the asked images; `not_asked` known places had no prediction of this pipeline."""

    run: Run
    not_asked: int
    untrained: bool = field(default=False)


def read_database(
    engine: Engine, *, collection: str | None = None, pipeline_version: str | None = None
) -> FromDatabase:
    """The labels and predictions of one pipeline, by default the one that answered last.

    Raises `SetupError` where nothing can be judged, with what to do.
    """
    with engine.connect() as connection:
        pipelines = connection.execute(queries.judging.JUDGED_PIPELINES, {"collection": collection}).all()
        where = f"the collection {collection!r}" if collection else "the database"
        if not pipelines:
            raise SetupError(
                f"{where} has no image with both a known place and a prediction: `globetag label` known places, or"
                " `globetag run --verify` photographs whose camera recorded one"
            )
        chosen = pipeline_version or pipelines[0].pipeline_version
        if chosen not in {row.pipeline_version for row in pipelines}:
            known = ", ".join(row.pipeline_version for row in pipelines[:5])
            raise SetupError(f"{where} has no judged prediction of the pipeline {chosen}; there are {known}")
        given = {"collection": collection, "pipeline_version": chosen}
        result = connection.execution_options(yield_per=_ROWS_PER_FETCH).execute(
            queries.judging.LABELS_AGAINST_PREDICTIONS, given
        )
        rows = sorted((_judged(row) for row in result), key=lambda judged: judged.truth.id)
        not_asked = connection.execute(queries.judging.LABELS_NOT_ASKED, given).scalar_one()
    pipeline = next(row for row in pipelines if row.pipeline_version == chosen)
    return FromDatabase(
        Run(
            f"{pipeline.model} {pipeline.model_version}, pipeline {chosen}", tuple(rows), _notes(pipelines, chosen)
        ),
        int(not_asked),
        bool(pipeline.untrained),
    )


def _notes(pipelines: Any, chosen: str) -> tuple[str, ...]:
    others = [row for row in pipelines if row.pipeline_version != chosen]
    notes = []
    if others:
        listed = ", ".join(f"{row.pipeline_version} ({row.predictions:,})" for row in others[:5])
        notes.append(f"Other pipelines have judged predictions too: {listed}.")
    if any(row.pipeline_version == chosen and row.untrained for row in pipelines):
        notes.append("UNTRAINED test models: the figures mean nothing.")
    return tuple(notes)


def _judged(row: Row[Any]) -> Judged:
    where = f"label {row.label_id}"
    truth = Truth(
        id=row.sha256,
        lat=row.true_lat,
        lon=row.true_lon,
        country_code=row.true_country_code,
        region=row.true_region,
        city=row.true_city,
        geoname_id=row.true_geoname_id,
        where=where,
    )
    outcome = _outcome(row.status, row.reason)
    strict, unresolved = _reading(row)
    cues = None if row.cues is None else frozenset(fold_cue(cue) for cue in row.cues)
    prediction = Prediction(
        id=row.sha256,
        outcome=outcome,
        lat=row.lat,
        lon=row.lon,
        radius_km=row.radius_km,
        coverage=row.coverage,
        confidence=row.confidence,
        granularity=row.granularity,
        country_code=row.country_code,
        region=row.region,
        city=row.city,
        geoname_id=row.geoname_id if row.city is not None else None,
        unresolved=unresolved,
        strict=strict,
        stated_cues=cues,
        detail=row.detail,
        raw=row.answer,
        where=f"prediction {row.prediction_id}",
    )
    return Judged(truth, prediction)


def _reading(row: Row[Any]) -> tuple[bool | None, tuple[str, ...]]:
    """Whether the raw answer kept to its form, and the levels whose stated name was not found."""
    if not row.answer:
        return None, ()
    answer = parse(row.answer)
    if isinstance(answer, Unparsable):
        return False, ()
    stated = {"country": answer.country, "region": answer.region, "city": answer.city}
    found = {"country": row.country_code, "region": row.region or row.city, "city": row.city}
    return not answer.notes, tuple(level for level, name in stated.items() if name and not found[level])


def _outcome(status: str, reason: str | None) -> Outcome:
    if status == Status.LOCATED:
        return Outcome.LOCATED
    if reason == Reason.PLACE_UNKNOWN:
        return Outcome.UNRESOLVED
    if reason == Reason.UNPARSABLE:
        return Outcome.UNPARSABLE
    return Outcome.REFUSED if status == Status.NOT_LOCATABLE else Outcome.FAILED
