"""What an archive's calibration is made of: stored answers about photographs whose place is known.

Photographs that a model which was trained here may have learnt from are left out, with all that share a place
cell or a series with them: their errors are smaller than a new photograph's will be. Any curation's training
side counts.

So are those that a near-duplicate of the same place or series told their place: a known place is not to be
promised by itself, and a photograph of a new place has no such help. What merely looks alike, and the rest of a
series, can only tip an answer; it is not left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, Row
from sqlalchemy import Engine as SqlEngine

from schema import queries
from trainer.calibrate.sample import Sample, make_sample
from trainer.curate.cells import Grid
from trainer.curate.curate import unknown_collection
from trainer.curate.labels import Known, Side, read_known
from trainer.curate.manifest import Parameters as Curation
from trainer.curate.series import series
from trainer.curate.split import make_groups
from worker.errors import SetupError
from worker.place.difficulty import Difficulty
from worker.place.sphere import distances_km
from worker.registry import Registered


@dataclass(frozen=True, slots=True, eq=False)
class FromArchive:
    """`sample` has the located photographs. The counts say what became of all others whose place is known:

    not asked by this version; learnt from, or of a place or series that was; told by a near-duplicate of the same
    place or series; stored before difficulties were; without a place in the answer.
    """

    sample: Sample
    answers_version: str
    model_version_id: int
    not_asked: int
    learnt: int
    helped: int
    without_difficulty: int
    not_located: int


def read_archive(
    engine: SqlEngine,
    *,
    base: str,
    serving: Registered | None,
    collection: str | None = None,
    answers_version: str | None = None,
) -> FromArchive:
    """The answers of what serves with GLOBETAG_MODEL=`base`, of this version or (None) of their latest.

    Raises `SetupError` where there are none, or only another model's.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        names = connection.scalars(queries.collections.COLLECTION_NAMES).all()
        if collection is not None and collection not in names:
            raise SetupError(unknown_collection(collection, names))
        chosen = _choose(connection, base, serving, collection, answers_version)
        until = int(connection.execute(queries.curation.NEWEST_LABEL).scalar_one())
        known = read_known(connection, until=until, collection=collection)
        given = {"answers_version": chosen.answers_version, "model_version_id": chosen.model_version_id}
        answers = {
            row.image_id: row for row in connection.execute(queries.calibration.ANSWERS_TO_CALIBRATE, given)
        }
    group_N = groups_of(known)
    learnt = groups_learnt(known, group_N, serving)
    inside = [(row, group) for row, group in zip(known, group_N, strict=True) if row.inside]
    asked = [(row, group) for row, group in inside if row.image_id in answers]
    new = [(row, group) for row, group in asked if group not in learnt]
    of_image = {row.image_id: group for row, group in zip(known, group_N, strict=True)}
    alone = [
        (row, group)
        for row, group in new
        if all(of_image.get(other) != group for other in answers[row.image_id].duplicates)
    ]
    located = [(row, group) for row, group in alone if answers[row.image_id].lat is not None]
    usable = [(row, group) for row, group in located if answers[row.image_id].difficulty is not None]
    return FromArchive(
        sample=_sample([row for row, _ in usable], [group for _, group in usable], answers),
        answers_version=chosen.answers_version,
        model_version_id=chosen.model_version_id,
        not_asked=len(inside) - len(asked),
        learnt=len(asked) - len(new),
        helped=len(new) - len(alone),
        without_difficulty=len(located) - len(usable),
        not_located=len(alone) - len(located),
    )


def _choose(
    connection: Connection,
    base: str,
    serving: Registered | None,
    collection: str | None,
    answers_version: str | None,
) -> Row[tuple[object, ...]]:
    """The version to calibrate: the given one, or the latest of the model that serves."""
    rows = connection.execute(queries.calibration.CALIBRATABLE, {"collection": collection}).all()
    where = f"the collection {collection!r}" if collection else "the archive"
    if not rows:
        raise SetupError(
            f"{where} has no photograph with both a known place and an answer: `globetag label` known places, or"
            " `globetag run --verify` photographs whose camera recorded one"
        )
    if serving is None:
        fitting = [row for row in rows if not row.registered and row.model == base]
        wanted = f"GLOBETAG_MODEL={base} itself"
    else:
        fitting = [row for row in rows if row.model_version_id == serving.id]
        wanted = f"model version {serving.id}"
    if not fitting:
        others = ", ".join(f"{row.answers:,} by {row.model} {row.model_version}" for row in rows[:3])
        raise SetupError(
            f"{wanted} serves, but {where} has answers about known places by others only ({others}): ask it with"
            " `globetag run --verify`, since another model's errors say nothing of its own"
        )
    if answers_version is not None:
        fitting = [row for row in fitting if row.answers_version == answers_version]
        if not fitting:
            raise SetupError(
                f"{wanted} has not answered about known places of {where} with the settings that it has now: ask"
                " it with `globetag run --verify`"
            )
    if fitting[0].untrained:
        raise SetupError(
            f"{fitting[0].model} is untrained: its answers mean nothing, and a radius would not either"
        )
    return fitting[0]


def groups_learnt(known: Sequence[Known], groups: Sequence[int], serving: Registered | None) -> set[int]:
    """The groups that what serves may have learnt from, by any curation's training side.

    The base itself (None) has seen nothing of the archive, whatever was curated since.
    """
    if serving is None:
        return set()
    return {group for row, group in zip(known, groups, strict=True) if row.before is Side.TRAIN}


def groups_of(known: Sequence[Known]) -> list[int]:
    """What stands or falls together: photographs of one place cell or one series, as the split ties them."""
    curation = Curation()
    grid = Grid(curation.cell_km)
    cells = [grid.cell(row.lat, row.lon) for row in known]
    return make_groups(known, cells, series(known, gap_minutes=curation.series_minutes), {})


def _sample(rows: Sequence[Known], groups: Sequence[int], answers: dict[int, Row[tuple[object, ...]]]) -> Sample:
    difficulties = []
    for row in rows:
        try:
            difficulties.append(Difficulty.from_json(answers[row.image_id].difficulty))
        except ValueError as error:
            raise SetupError(
                f"the answer about image {row.image_id} has an unreadable difficulty: {error}"
            ) from error
    lat_N = np.array([answers[row.image_id].lat for row in rows], dtype=np.float64)
    lon_N = np.array([answers[row.image_id].lon for row in rows], dtype=np.float64)
    error_km_N = distances_km(lat_N, lon_N, [row.lat for row in rows], [row.lon for row in rows])
    _, cluster_N = np.unique(np.array(groups, dtype=np.int64), return_inverse=True)
    return make_sample(difficulties, error_km_N, cluster_N.astype(np.int64))
