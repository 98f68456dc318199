"""The locatability score of many photographs, a row for each; what cannot be scored is a row with its reason."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import IO

from PIL import Image
from sqlalchemy import Engine

from schema import queries
from schema.reasons import Reason
from trainer.curate.curate import unknown_collection
from trainer.curate.locatability import Score, Weights, score
from trainer.curate.originals import CHANGED, Fetch, Original, OriginalChanged
from trainer.curate.see.looker import Segments
from worker.checkpoints import one_line
from worker.errors import JobError, SetupError
from worker.intake.limits import Limits
from worker.intake.picture import decode
from worker.intake.sources import Problem, iter_submissions
from worker.intake.uri import shown

COLUMNS = ("key", "score", "locatable", "top_classes", "reason", "detail")
_AT_ONCE = 16
"""Photographs that are held in memory together."""


@dataclass(frozen=True, slots=True)
class Item:
    """A photograph to score. `open` gives it upright; it may raise `JobError` or `OriginalChanged`."""

    key: str
    open: Callable[[], Image.Image]


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a photograph has no score: a word of the closed lists, and a sentence for a person."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Row:
    key: str
    outcome: Score | Failed


def of_targets(targets: Sequence[str], fetch: Fetch, limits: Limits) -> Iterator[Item]:
    """What files, folders, patterns, manifests and addresses name. Raises `SetupError` for what does not exist."""
    for found in iter_submissions(targets):
        if isinstance(found, Problem):
            yield Item(found.where, partial(_refuse, found.message))
        else:
            yield Item(shown(found.uri), partial(_fetched, found.uri, fetch, limits))


def of_collection(engine: Engine, collection: str, fetch: Fetch, limits: Limits) -> list[Item]:
    """The photographs of a collection, each once. Raises `SetupError` for one that is not known."""
    with engine.connect() as connection:
        found = connection.execute(queries.scoring.PHOTOGRAPHS_OF_COLLECTION, {"collection": collection}).all()
        known = connection.execute(queries.collections.COLLECTION_NAMES).scalars().all()
    if collection not in known:
        raise SetupError(unknown_collection(collection, known))
    return [Item(shown(row.uri), Original(row.uri, row.sha256, fetch, limits)) for row in found]


def _fetched(uri: str, fetch: Fetch, limits: Limits) -> Image.Image:
    return decode(fetch(uri), limits).image


def _refuse(why: str) -> Image.Image:
    raise JobError(Reason.NOT_FOUND, why)


def score_all(items: Iterable[Item], segmenter: Segments, weights: Weights) -> Iterator[Row]:
    """A row for each item, in their order."""
    waiting = iter(items)
    while batch := list(islice(waiting, _AT_ONCE)):
        opened = [_open(item) for item in batch]
        areas = iter(_segment([one for one in opened if not isinstance(one, Failed)], segmenter))
        for item, one in zip(batch, opened, strict=True):
            found = one if isinstance(one, Failed) else next(areas)
            yield Row(item.key, found if isinstance(found, Failed) else score(found, weights))


def _open(item: Item) -> Image.Image | Failed:
    try:
        return item.open()
    except OriginalChanged as error:
        return Failed(CHANGED, str(error))
    except JobError as error:
        return Failed(str(error.reason), error.detail)


def _segment(pictures: list[Image.Image], segmenter: Segments) -> list[dict[str, float] | Failed]:
    """One by one where they fail together: one picture must not fail its neighbours."""
    try:
        return list(segmenter.shares(pictures))
    except Exception as error:  # a model may raise anything; it becomes a row
        if len(pictures) == 1:
            return [Failed(Reason.MODEL_ERROR, f"the segmentation model failed on it: {one_line(error)}")]
    return [one for picture in pictures for one in _segment([picture], segmenter)]


def write_rows(stream: IO[str], rows: Iterable[Row], threshold: float) -> Iterator[Row]:
    """Writes a CSV with `COLUMNS` as the rows come, and hands them on. `locatable`: the score is not below it."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(_cells(row, threshold))
        yield row


def _cells(row: Row, threshold: float) -> Sequence[str]:
    outcome = row.outcome
    if isinstance(outcome, Failed):
        return (row.key, "", "", "", outcome.reason, outcome.detail)
    top = "; ".join(f"{name} {share:.3f} gives {given:.3f}" for name, share, given in outcome.top)
    locatable = "yes" if outcome.value >= threshold else "no"
    return (row.key, f"{outcome.value:.4f}", locatable, top, "", "")
