"""From the known places of an archive to a manifest: rights, duplicates, balance, split, in one straight line.

Each photograph in scope passes the filters in the order of `trainer.curate.labels.Dropped` and ends on a side, or
at the first filter that drops it. Nothing depends on the order of rows or on the clock.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Literal

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from schema import queries
from trainer.curate.balance import over_caps
from trainer.curate.cells import Grid
from trainer.curate.duplicates import near_duplicates
from trainer.curate.labels import SOURCE_RANK, Dropped, Embed, Fate, Known, Side, read_embeddings, read_known
from trainer.curate.manifest import Manifest, Member, Parameters, store
from trainer.curate.rights import refusal
from trainer.curate.series import series
from trainer.curate.split import choose_sides, leaks, make_groups, near_other_side
from worker.errors import SetupError
from worker.place.countries import Countries

Since = Literal["last"] | datetime | None


@dataclass(frozen=True, slots=True)
class Curated:
    """`id` None: not stored (a dry run). `is_new` False: the very same manifest was stored before."""

    manifest: Manifest
    id: int | None
    is_new: bool


def curate_database(
    engine: Engine, parameters: Parameters, *, since: Since = None, dry_run: bool = False
) -> Curated:
    """Curates what the database holds and stores the manifest.

    `since` "last": labels that came after those that the last curation of this collection (or of everything)
    looked at; a moment: labels from then on. Raises `SetupError` with counts where there is too little to learn
    from or to judge by, and where another curation is at work.
    """
    with engine.begin() as guard:
        if not guard.execute(queries.curation.CURATION_LOCK).scalar_one():
            raise SetupError("another curation is at work on this database: wait until it has finished")
        until = _newest_label(engine)
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            if parameters.collection is not None:
                names = connection.execute(queries.collections.COLLECTION_NAMES).scalars().all()
                if parameters.collection not in names:
                    raise SetupError(unknown_collection(parameters.collection, names))
            if since == "last":
                given = {"collection": parameters.collection}
                last = connection.execute(queries.curation.LAST_CURATION, given).scalar_one_or_none()
                parameters = replace(parameters, since_label=last)
            elif since is not None:
                parameters = replace(parameters, since=since.isoformat())
            rows = read_known(
                connection,
                until=until,
                collection=parameters.collection,
                since_label=parameters.since_label,
                since=None if parameters.since is None else datetime.fromisoformat(parameters.since),
            )
            manifest = curate(rows, parameters, lambda ids: read_embeddings(connection, ids), labels_until=until)
        if dry_run:
            return Curated(manifest, None, False)
        with engine.begin() as connection:
            curation_id, is_new = store(connection, manifest)
        return Curated(manifest, curation_id, is_new)


def _newest_label(engine: Engine) -> int:
    try:
        with engine.begin() as connection:
            connection.execute(queries.curation.SHORT_LOCK_WAITS)
            connection.execute(queries.curation.LABELS_SETTLED)
            return int(connection.execute(queries.curation.NEWEST_LABEL).scalar_one())
    except OperationalError as error:
        said = " ".join(str(error.orig).split())[:200]
        raise SetupError(
            f"somebody is writing labels and does not finish ({said}): look for an open transaction in"
            " pg_stat_activity"
        ) from error


def unknown_collection(name: str, names: Sequence[str]) -> str:
    """What to tell who names a collection that is not there."""
    there = ", ".join(names[:10]) or "none"
    return f"there is no collection {name!r}; there is {there}"


def curate(rows: Sequence[Known], parameters: Parameters, embed: Embed, *, labels_until: int = 0) -> Manifest:
    """The manifest of these known places. Raises `SetupError` with counts where it would be of no use."""
    rows = sorted(rows, key=lambda row: row.sha256)
    grid = Grid(parameters.cell_km)
    cells = [grid.cell(row.lat, row.lon) for row in rows]
    fate: dict[int, Fate] = {}

    for index, row in enumerate(rows):
        if row.in_scope and (reason := _unusable(row, parameters)):
            fate[index] = reason

    left = _left(rows, fate)
    repeats = _repeats(rows, left, embed, parameters, fate)

    left = _left(rows, fate)
    over = over_caps(
        [rows[index] for index in left],
        [cells[index] for index in left],
        cell_cap=parameters.cell_cap,
        country_cap=parameters.country_cap,
        seed=parameters.seed,
    )
    fate.update({left[place]: reason for place, reason in over.items()})

    left = _left(rows, fate)
    runs = list(series(rows, gap_minutes=parameters.series_minutes, whole_folders=parameters.whole_folders))
    groups = make_groups(rows, cells, runs, repeats)
    learnt = sum(1 for row in rows if row.inside and not row.in_scope and row.before is Side.TRAIN)
    target = max(1, round(parameters.held_out_share * (len(left) + learnt)))
    fate.update(choose_sides(rows, groups, left, held_out=target, seed=parameters.seed))
    for index in near_other_side(rows, fate, buffer_km=parameters.buffer_km):
        fate[index] = Dropped.NEAR_OTHER_SIDE

    manifest = _manifest(rows, cells, fate, parameters, labels_until)
    _refuse_too_few(manifest)
    sizes = Counter(groups[index] for index in left)
    frozen = any(rows[index].before is Side.HELD_OUT for index in left)
    _refuse_without_held_out(manifest, 1 if frozen else target, list(sizes.values()))
    if count := leaks(rows, fate, [*_same(cells), *runs]):
        raise SetupError(f"{count:,} cells or series would be on both sides: nothing was stored, report this")
    return manifest


def _left(rows: Sequence[Known], fate: dict[int, Fate]) -> list[int]:
    return [index for index, row in enumerate(rows) if row.in_scope and index not in fate]


def _same(cells: Sequence[str]) -> Iterable[list[int]]:
    members: dict[str, list[int]] = defaultdict(list)
    for index, cell in enumerate(cells):
        members[cell].append(index)
    return members.values()


def _unusable(row: Known, parameters: Parameters) -> Dropped | None:
    if not row.uris:
        return Dropped.NO_SOURCE
    if reason := refusal(row.data_mining, consented=row.consented):
        return reason
    if row.country_code not in _country_codes():
        return Dropped.NO_COUNTRY
    if row.accuracy_m is not None and row.accuracy_m > 1000 * parameters.max_accuracy_km:
        return Dropped.IMPRECISE
    return None


@lru_cache(maxsize=1)
def _country_codes() -> frozenset[str]:
    return frozenset(Countries().by_code)


def _repeats(
    rows: Sequence[Known], left: list[int], embed: Embed, parameters: Parameters, fate: dict[int, Fate]
) -> dict[int, int]:
    """Drops what has no embedding and what repeats another; returns {repeat: what stands for it}.

    First comes what was held out, then what was learnt from and is not in scope, then the better sourced label,
    then the later one; last what was learnt from and may not be any more, so that it stands in nobody's way.
    """

    def preference(index: int) -> tuple[int, int, int]:
        row = rows[index]
        if row.before is Side.HELD_OUT:
            turn = 0
        elif not row.in_scope:
            turn = 1
        else:
            turn = 3 if index in fate else 2
        return turn, SOURCE_RANK[row.source], -row.label_id

    used = [index for index, row in enumerate(rows) if row.before is not None]
    candidates = sorted({*left, *used}, key=preference)
    index_of = {rows[index].image_id: index for index in candidates}
    embeddings = embed([rows[index].image_id for index in candidates])
    for index in left:
        if rows[index].image_id not in embeddings:
            fate[index] = Dropped.NO_EMBEDDING
    ids = [rows[index].image_id for index in candidates if rows[index].image_id in embeddings]
    fixed = {rows[index].image_id for index in candidates if preference(index)[0] < 2}
    found = near_duplicates(ids, embeddings, least_cosine=parameters.duplicate_cosine, fixed=fixed)
    repeats: dict[int, int] = {}
    for image_id, original in found.items():
        index = index_of[image_id]
        repeats[index] = index_of[original]
        fate.setdefault(index, Dropped.NEAR_DUPLICATE)
    return repeats


def _manifest(
    rows: Sequence[Known], cells: Sequence[str], fate: dict[int, Fate], parameters: Parameters, until: int
) -> Manifest:
    members: list[Member] = []
    dropped: dict[str, Dropped] = {}
    for index in sorted(fate):
        end = fate[index]
        if isinstance(end, Side):
            members.append(Member.of(rows[index], end, cells[index]))
        else:
            dropped[rows[index].sha256] = end
    return Manifest(parameters, tuple(members), Counter(dropped.values()), until, dropped)


def _refuse_too_few(manifest: Manifest) -> None:
    dropped, train = manifest.dropped, len(manifest.train)
    if train >= max(1, manifest.parameters.min_labels):
        return
    told = "; ".join(
        f"{dropped[reason]:,} {reason}: {reason.sentence}" for reason in Dropped if dropped.get(reason)
    )
    counts = f"{manifest.labels_in:,} in, {train:,} to train on, {len(manifest.held_out):,} held out"
    counts += f"; dropped {told}" if told else ""
    rightless = dropped.get(Dropped.NO_CONSENT, 0) + dropped.get(Dropped.RIGHTS_RESERVED, 0)
    if rightless == manifest.labels_in > 0:
        raise SetupError(
            f"nothing may be trained on ({counts}): `globetag curate consent COLLECTION --grant` where you may"
        )
    raise SetupError(f"too few labels, --min-labels is {manifest.parameters.min_labels:,} ({counts})")


def _refuse_without_held_out(manifest: Manifest, target: int, sizes: list[int]) -> None:
    held_out = len(manifest.held_out)
    if held_out >= max(1, target / 2):
        return
    raise SetupError(
        f"a held-out set would leak: {sum(sizes):,} photographs hang together in {len(sizes):,} groups (same cell"
        f" or series; the smallest of {min(sizes):,}, the largest of {max(sizes):,}), of which {held_out:,} can be"
        f" held out whole where {target:,} should be; choose smaller --cell-km or another --held-out-share"
    )
