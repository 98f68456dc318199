"""Known places as curation sees them, and what can become of each.

One `Known` for each photograph whose place is known, by the label that counts: manual > exif, xmp > import, then
the latest. Each that is in scope ends on one side or is dropped by one filter: nothing is counted twice or not at
all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, Row

from schema import queries
from schema.reasons import LabelSource

_ROWS_PER_FETCH = 2000


class Side(StrEnum):
    """Where a photograph may be used. Held out: models are judged by it, and never learn from it."""

    TRAIN = "train"
    HELD_OUT = "held_out"


class Dropped(StrEnum):
    """Which filter dropped a photograph, in the order in which they are applied."""

    NO_SOURCE = "no_source"
    NO_CONSENT = "no_consent"
    RIGHTS_RESERVED = "rights_reserved"
    NO_COUNTRY = "no_country"
    IMPRECISE = "imprecise"
    NO_EMBEDDING = "no_embedding"
    NEAR_DUPLICATE = "near_duplicate"
    CELL_FULL = "cell_full"
    COUNTRY_FULL = "country_full"
    BETWEEN_SIDES = "between_sides"
    HELD_OUT_FULL = "held_out_full"
    NEAR_OTHER_SIDE = "near_other_side"

    @property
    def sentence(self) -> str:
        """Why, for a person."""
        return _SENTENCES[self]


_SENTENCES = {
    Dropped.NO_SOURCE: "no job says where the original is",
    Dropped.NO_CONSENT: "a collection that holds it has not consented to training",
    Dropped.RIGHTS_RESERVED: "plus:DataMining of the file forbids it, or cannot be understood",
    Dropped.NO_COUNTRY: "the label names no country that is known",
    Dropped.IMPRECISE: "the label's stated accuracy is too coarse",
    Dropped.NO_EMBEDDING: "the gate has not seen it, so that duplicates cannot be told",
    Dropped.NEAR_DUPLICATE: "another photograph with a better or an earlier used label shows the same",
    Dropped.CELL_FULL: "its place cell has as many as a cell may have",
    Dropped.COUNTRY_FULL: "its country has as many as a country may have",
    Dropped.BETWEEN_SIDES: "it ties what was held out to what was trained on",
    Dropped.HELD_OUT_FULL: "it belongs to held-out places or series, and enough is held out",
    Dropped.NEAR_OTHER_SIDE: "it lies just across the border of a cell from the other side",
}

Fate = Side | Dropped

SOURCE_RANK = {LabelSource.MANUAL: 0, LabelSource.EXIF: 1, LabelSource.XMP: 1, LabelSource.IMPORT: 2}
"""The smaller, the better sourced (see `schema.reasons.LabelSource`)."""


@dataclass(frozen=True, slots=True)
class Known:
    """A photograph with its known place. `lat`, `lon` degrees (WGS 84), `accuracy_m` metres.

    `is_new`: its label came since the last run; `inside`: it belongs to the chosen collection. `before` is its
    side in earlier curations. `consented`: each collection that holds it allows training.
    """

    image_id: int
    sha256: str
    label_id: int
    source: LabelSource
    lat: float
    lon: float
    country_code: str | None = None
    region: str | None = None
    city: str | None = None
    geoname_id: int | None = None
    accuracy_m: float | None = None
    taken_at: datetime | None = None
    data_mining: str | None = None
    uris: tuple[str, ...] = ()
    consented: bool = False
    is_new: bool = True
    inside: bool = True
    before: Side | None = None

    @property
    def in_scope(self) -> bool:
        """Is its fate decided now? What was held out comes along each time, so that a manifest is whole."""
        return self.inside and (self.is_new or self.before is Side.HELD_OUT)


@dataclass(frozen=True, slots=True)
class Embedding:
    """`vector_D` is L2-normalised. Only vectors of the same model compare."""

    model_id: int
    vector_D: NDArray[np.float32]


Embed = Callable[[Sequence[int]], dict[int, Embedding]]
"""The stored embeddings of images, by id; those that have none are missing."""


def read_known(
    connection: Connection,
    *,
    until: int,
    collection: str | None = None,
    since_label: int | None = None,
    since: datetime | None = None,
) -> list[Known]:
    """All photographs with a known place by labels up to the id `until`, by content hash.

    Those outside of the scope are there too: they tell which places and series belong together.
    """
    chosen = {"until": until, "collection": collection, "since_label": since_label, "since": since}
    result = connection.execute(
        queries.curation.KNOWN_PLACES, chosen, execution_options={"yield_per": _ROWS_PER_FETCH}
    )
    return sorted((_known(row) for row in result), key=lambda known: known.sha256)


def read_embeddings(connection: Connection, image_ids: Sequence[int]) -> dict[int, Embedding]:
    """What is stored; see `Embed`."""
    found: dict[int, Embedding] = {}
    for start in range(0, len(image_ids), _ROWS_PER_FETCH):
        chunk = list(image_ids[start : start + _ROWS_PER_FETCH])
        for row in connection.execute(queries.curation.EMBEDDINGS, {"ids": chunk}):
            vector_D = np.asarray(orjson.loads(row.embedding), dtype=np.float32)
            found[row.image_id] = Embedding(row.embedding_model_id, vector_D)
    return found


def _known(row: Row[Any]) -> Known:
    fields = dict(row._mapping)
    fields["source"] = LabelSource(row.source)
    fields["uris"] = tuple(sorted(row.uris))
    fields["before"] = None if row.before is None else Side(row.before)
    return Known(**fields)
