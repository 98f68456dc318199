"""Which photographs of known place are asked about: those that no model has learnt from, spread over places."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from schema import queries
from trainer.calibrate.archive import groups_learnt, groups_of
from trainer.curate.balance import chance
from trainer.curate.labels import read_known
from trainer.renew.due import Due, Serves


def choose_jobs(connection: Connection, serves: Serves, due: Sequence[Due], count: int) -> list[str]:
    """Ids of settled jobs, one for each photograph, at most `count`: each collection's share first, then all's.

    Left out is what `trainer.calibrate.archive` would leave out as learnt, what this version has answered, and
    what has failed before: nothing is asked twice of the same version.
    """
    until = int(connection.execute(queries.curation.NEWEST_LABEL).scalar_one())
    known = read_known(connection, until=until)
    group_N = groups_of(known)
    registered = serves.standing.registered if serves.standing else None
    learnt = groups_learnt(known, group_N, registered)
    group_of = {row.image_id: group for row, group in zip(known, group_N, strict=True) if group not in learnt}
    sha_of = {row.image_id: row.sha256 for row in known}
    chosen: dict[int, str] = {}
    ordered = sorted(due, key=lambda each: (each.collection is None, each.collection or ""))
    for place, each in enumerate(ordered):
        given = {
            "images": sorted(group_of.keys() - chosen.keys()),
            "collection": each.collection,
            "model_version_id": serves.model_version_id,
            "answers_version": serves.answers_version,
        }
        job_of = {
            row.image_id: str(row.job_id) for row in connection.execute(queries.renewal.ASKABLE, given).all()
        }
        share = (count - len(chosen)) // (len(ordered) - place)
        for image_id in spread({image: group_of[image] for image in job_of}, sha_of, share):
            chosen[image_id] = job_of[image_id]
    return list(chosen.values())


def spread(group_of: Mapping[int, int], sha_of: Mapping[int, str], count: int, *, seed: int = 0) -> list[int]:
    """At most `count` of the images: one of each group, then a second of each that has one, and so on.

    A calibration counts places, not photographs. Between equals chance decides, the same each time.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for image_id in sorted(group_of, key=lambda image_id: chance(seed, sha_of[image_id])):
        members[group_of[image_id]].append(image_id)
    return _in_turns(list(members.values()), count)


def _in_turns(groups: Sequence[Sequence[int]], count: int) -> list[int]:
    """The first of each group, then the second of each, up to `count`."""
    taken: list[int] = []
    for turn in range(max(map(len, groups), default=0)):
        taken += [group[turn] for group in groups if turn < len(group)]
        if len(taken) >= count:
            break
    return taken[: max(0, count)]
