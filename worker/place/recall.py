"""Recall: which photographs of the archive itself, with a known place, a photograph resembles.

The gallery (table `gallery`) is searched by the gate's embeddings, exactly where few enough are visible, else by
an HNSW index. Candidates come from the collection of the photograph that asks, so that no collection learns what
another holds, unless the operator has opened the whole archive to all.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from datetime import time as clock
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, Row
from sqlalchemy.exc import DataError

from schema import queries
from schema.reasons import LabelSource
from worker.intake.uri import folder
from worker.place.candidates import SERIES_MINUTES, Candidate
from worker.place.recalled import Recalled, recalled
from worker.place.sphere import distances_km
from worker.queue.patience import PatientTransactions

log = logging.getLogger(__name__)

EXACT_UP_TO = 10_000
"""So many photographs are compared one by one; beyond that an index is asked (`benchmarks/recall.py`)."""

EF_SEARCH = 200
"""How many candidates an HNSW scan keeps. Of the true ten nearest among a million synthetic photographs 200 found
96.4 %, 95 % of the searches within 40 ms on two cores; 140 found 94.9 % within 29 ms and 300 97.5 % within 51 ms
(`benchmarks/recall.py`)."""

NEAR_DUPLICATE_COSINE = 0.97
"""As in the curation of training data, and as measured with the small CLIP of the Atlas on 59 real photographs: at
0.97 stand 98 % of re-encoded copies, 92 % of crops to 95 %, 80 % of simulated rescans (turned by 1.5 degrees,
paler) and 54 % of crops to 90 %, and none of 1,710 pairs of different photographs, whose highest is 0.90. Deeper
crops, grey copies and mirrored ones are mostly missed. Other gates lie differently: an untrained ViT-B-32 puts
different photographs at 0.99. Of 2,000 scenes of the Atlas 4,444 pairs by different photographers reach 0.97;
99 % of these show nothing but interiors, sky, fog or the like, and 2 % stand within 25 km."""

NEARBY_KM = 25.0
_SURVEY_PLACES = 256
_SURVEY_AGE_S = 20.0
_SERIES_SEEN = 5_000
_SPARE_ROWS = 6
"""Read beyond `k`, since the whole archive may hold an image in several collections."""


@dataclass(frozen=True, slots=True)
class _Survey:
    """A gallery as it was at `taken_s` (monotonic): its size up to a limit, a sample of its places."""

    size: int
    lat_P: NDArray[np.float64]
    lon_P: NDArray[np.float64]
    is_indexed: bool
    taken_s: float


class Recall:
    """Finds candidates for one gate. Thread-safe; each call is one transaction of a few milliseconds."""

    def __init__(
        self,
        transactions: PatientTransactions,
        embedding_model_id: int,
        *,
        everywhere: bool = False,
        k: int = 10,
        near_duplicate_cosine: float = NEAR_DUPLICATE_COSINE,
        series_minutes: float = SERIES_MINUTES,
        exact_up_to: int = EXACT_UP_TO,
        ef_search: int = EF_SEARCH,
        on_unindexed: Callable[[], object] | None = None,
    ) -> None:
        """`everywhere`: all collections are searched, whichever asks. `k`: how many candidates at most.

        `on_unindexed` is called, possibly often and by any thread, when more than `exact_up_to` photographs are to
        be searched and no index is there; until there is one they are searched exactly, which is slow.

        Raises `ValueError` when `embedding_model_id` is no gate that was recorded.
        """
        row = transactions.run(
            lambda connection: connection.execute(
                queries.gallery.EMBEDDING_MODEL, {"model_id": embedding_model_id}
            ).one_or_none()
        )
        if row is None:
            raise ValueError(f"no gate is recorded with the id {embedding_model_id}")
        self.is_untrained: bool = row.untrained
        self._transactions = transactions
        self._model_id = embedding_model_id
        self._everywhere = everywhere
        self._k = k
        self._near_duplicate_cosine = near_duplicate_cosine
        self._series_minutes = series_minutes
        self._exact_up_to = exact_up_to
        self._ef_search = ef_search
        self._on_unindexed = on_unindexed
        self._surveys: dict[int | None, _Survey] = {}
        self._collections: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(
        self,
        embedding_D: NDArray[np.float32],
        *,
        sha256: str,
        collection: str | None,
        uri: str,
        taken_at: datetime | None,
    ) -> Recalled:
        """What the `candidates` say."""
        found = self.candidates(embedding_D, sha256=sha256, collection=collection, uri=uri, taken_at=taken_at)
        return recalled(found)

    def candidates(
        self,
        embedding_D: NDArray[np.float32],
        *,
        sha256: str,
        collection: str | None,
        uri: str,
        taken_at: datetime | None,
    ) -> tuple[Candidate, ...]:
        """At most `k` photographs with a known place: near-duplicates first, then the series, then the most alike.

        `sha256` is the content that asks, which is never its own candidate. None are found for an untrained gate,
        whose embeddings mean nothing; for an embedding of length zero, which is like nothing; for a collection
        that is not known (or None), unless the whole archive is open; and in an empty gallery.

        Raises `ValueError` where the embedding is not finite, or has another number of dimensions than those of
        the same gate in the gallery: either is a defect.
        """
        if embedding_D.ndim != 1 or not np.isfinite(embedding_D).all():
            raise ValueError("an embedding must be one row of finite numbers")
        if self.is_untrained or not embedding_D.any():
            return ()
        asked = {
            "embedding": orjson.dumps(embedding_D, option=orjson.OPT_SERIALIZE_NUMPY).decode(),
            "dimensions": embedding_D.size,
            "sha256": sha256,
            "model_id": self._model_id,
        }
        try:
            return self._transactions.run(
                lambda connection: self._find(connection, asked, collection, uri, taken_at)
            )
        except DataError as error:
            said = str(error.orig).partition("\n")[0]
            raise ValueError(f"the gallery cannot be searched by this embedding: {said}") from error

    def _find(
        self,
        connection: Connection,
        asked: dict[str, Any],
        collection: str | None,
        uri: str,
        taken_at: datetime | None,
    ) -> tuple[Candidate, ...]:
        collection_id = self._collection_id(connection, collection)
        if collection_id is None and not self._everywhere:
            return ()
        searched = None if self._everywhere else collection_id
        asked |= {"everywhere": self._everywhere, "collection_id": collection_id}
        survey = self._survey(connection, searched, asked)
        if survey.size == 0:
            return ()
        rows = self._series(connection, asked, uri, taken_at) + self._nearest(connection, asked, survey)
        found: dict[int, Candidate] = {}
        for row in rows:  # the series first: an image that is nearest too keeps its minutes
            found.setdefault(row.image_id, _candidate(row, self._near_duplicate_cosine))
        chosen = sorted(found.values(), key=_rank)[: self._k]
        return _with_share_nearby(chosen, survey)

    def _nearest(self, connection: Connection, asked: dict[str, Any], survey: _Survey) -> list[Row[Any]]:
        asked = asked | {"rows": self._k + (_SPARE_ROWS if self._everywhere else 0)}
        if survey.size <= self._exact_up_to or not survey.is_indexed:
            return list(connection.execute(queries.gallery.NEAREST_EXACT, asked))
        connection.execute(queries.gallery.HNSW_EFFORT, {"ef_search": self._ef_search})
        return list(connection.execute(queries.gallery.NEAREST_INDEXED, asked))

    def _series(
        self, connection: Connection, asked: dict[str, Any], uri: str, taken_at: datetime | None
    ) -> list[Row[Any]]:
        """Its folder is its own collection's, also where the whole archive is open."""
        within = folder(uri)
        if not within or taken_at is None or taken_at.time() == clock() or asked["collection_id"] is None:
            return []
        series = {
            "taken_at": taken_at.replace(tzinfo=None),
            "gap_minutes": self._series_minutes,
            "folder": within + "/",
            "seen": _SERIES_SEEN,
            "rows": self._k // 2,
        }
        return list(connection.execute(queries.gallery.SAME_SERIES, asked | series))

    def _collection_id(self, connection: Connection, name: str | None) -> int | None:
        if name is None:
            return None
        if name not in self._collections:
            found = connection.execute(
                queries.collections.COLLECTION_ID, {"collection": name}
            ).scalar_one_or_none()
            if found is None:
                return None
            self._collections[name] = found
        return self._collections[name]

    def _survey(self, connection: Connection, searched: int | None, asked: dict[str, Any]) -> _Survey:
        """The gallery as it was at most `_SURVEY_AGE_S` ago. Threads that ask at the same moment may both look."""
        with self._lock:
            survey = self._surveys.get(searched)
        if survey is None or time.monotonic() - survey.taken_s > _SURVEY_AGE_S:
            survey = self._look(connection, asked)
            with self._lock:
                self._surveys[searched] = survey
        if survey.size > self._exact_up_to and not survey.is_indexed and self._on_unindexed is not None:
            self._on_unindexed()
        return survey

    def _look(self, connection: Connection, asked: dict[str, Any]) -> _Survey:
        size = connection.execute(
            queries.gallery.GALLERY_SIZE, asked | {"most": self._exact_up_to + 1}
        ).scalar_one()
        places = (
            connection.execute(queries.gallery.GALLERY_SAMPLE, asked | {"places": _SURVEY_PLACES}).all()
            if size
            else []
        )
        return _Survey(
            size=size,
            lat_P=np.array([place.lat for place in places], dtype=np.float64),
            lon_P=np.array([place.lon for place in places], dtype=np.float64),
            is_indexed=connection.execute(queries.gallery.GALLERY_IS_INDEXED, asked).scalar_one(),
            taken_s=time.monotonic(),
        )


def _candidate(row: Row[Any], near_duplicate_cosine: float) -> Candidate:
    return Candidate(
        image_id=row.image_id,
        sha256=row.sha256,
        cosine=row.cosine,
        lat=row.lat,
        lon=row.lon,
        country_code=row.country_code,
        region=row.region,
        city=row.city,
        geoname_id=row.geoname_id,
        source=LabelSource(row.source),
        near_duplicate=row.cosine >= near_duplicate_cosine,
        same_series=row.minutes_apart is not None,
        minutes_apart=row.minutes_apart,
    )


def _rank(candidate: Candidate) -> tuple[bool, bool, float, float, int]:
    return (
        not candidate.near_duplicate,
        not candidate.same_series,
        0.0 if candidate.near_duplicate else candidate.minutes_apart or 0.0,
        -candidate.cosine,
        candidate.image_id,
    )


def _with_share_nearby(chosen: Sequence[Candidate], survey: _Survey) -> tuple[Candidate, ...]:
    if not chosen or not survey.lat_P.size:
        return tuple(chosen)
    lat_C = np.array([candidate.lat for candidate in chosen])
    lon_C = np.array([candidate.lon for candidate in chosen])
    km_C_P = distances_km(lat_C[:, None], lon_C[:, None], survey.lat_P[None, :], survey.lon_P[None, :])
    share_C = (km_C_P <= NEARBY_KM).mean(axis=1)
    return tuple(
        replace(candidate, share_nearby=float(share)) for candidate, share in zip(chosen, share_C, strict=True)
    )
