"""The HNSW index of the gallery: built when the gallery has outgrown the exact search, beside running workers.

A worker starts the build by itself, for an archive grows into needing it (10,000 photographs cost some
seconds), and `globetag db index-embeddings` does the same at once, say after a large import. From then on Postgres
keeps the index with each row. One for each embedding model, since a column of vectors has no fixed length and an
index must have one.
"""

import logging
import threading
import time
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from schema import queries
from worker.errors import SetupError
from worker.queue.patience import first_line

log = logging.getLogger(__name__)

M = 24
EF_CONSTRUCTION = 100
"""Edges of a node and width of the search while building (Malkov & Yashunin, arXiv 1603.09320). With pgvector's
own, 16 and 64, a search of the same width finds 4 points less among a million (`benchmarks/recall.py`)."""

_MAX_MEMORY_MB = 3072
_UNASKED_MEMORY_MB = 512
_AGAIN_AFTER_S = 600.0


@dataclass(frozen=True, slots=True)
class GalleryModel:
    """What the gallery holds of one embedding model. `size_bytes`: of its index, None without a whole one."""

    model_id: int
    model: str
    photographs: int
    dimensions: int
    untrained: bool
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Built:
    """One build: `memory_mb` is what it was allowed; with less than it needs Postgres goes on, but slowly."""

    seconds: float
    size_bytes: int
    memory_mb: int


def gallery_models(connection: Connection, model_id: int | None = None) -> list[GalleryModel]:
    """The embedding models (None: all) that the gallery has photographs of."""
    return [_model(row) for row in connection.execute(queries.gallery.GALLERY_MODELS, {"model_id": model_id})]


def memory_needed_mb(photographs: int, dimensions: int, m: int = M) -> int:
    """What a build holds: for each photograph two bytes a number, 2 m edges of 16 bytes and 200 bytes more."""
    return max(64, photographs * (2 * dimensions + 32 * m + 200) * 5 // 4 // 1_000_000)


def build_index(
    engine: Engine,
    model_id: int,
    *,
    rebuild: bool = False,
    m: int = M,
    ef_construction: int = EF_CONSTRUCTION,
    memory_mb: int | None = None,
    most_memory_mb: int = _MAX_MEMORY_MB,
    helpers: int = 0,
    building: "_Holder | None" = None,
) -> Built | None:
    """Builds the index of a model; returns None where it is there already, or another process is at it.

    Rows may be written meanwhile. `rebuild`: also where there is one. `memory_mb`: by default what it needs, up to
    `most_memory_mb`. `helpers`: parallel processes of Postgres beside the one that builds; they share memory
    through /dev/shm, which containers keep small. What a broken build has left is cleared first. Raises
    `SetupError` when the gallery holds nothing of this model.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not connection.execute(queries.gallery.GALLERY_INDEX_LOCK).scalar_one():
            return None
        try:
            if building is not None:
                building.hold(connection)
            row = connection.execute(queries.gallery.GALLERY_MODELS, {"model_id": model_id}).one_or_none()
            if row is None:
                raise SetupError(
                    f"the gallery holds nothing of embedding model {model_id}; there is nothing to index"
                )
            if row.valid and not rebuild:
                return None
            allowed_mb = memory_mb or min(memory_needed_mb(row.photographs, row.dimensions, m), most_memory_mb)
            size = {"dimensions": row.dimensions, "m": m, "ef_construction": ef_construction}
            started_s = time.perf_counter()
            connection.execute(queries.gallery.GALLERY_BUILD_EFFORT, {"memory_mb": allowed_mb, "helpers": helpers})
            if row.index_name:
                _run(connection, queries.gallery.GALLERY_UNINDEX_DDL, {"model_id": model_id})
            _run(connection, queries.gallery.GALLERY_INDEX_DDL, {"model_id": model_id, **size})
            [model] = gallery_models(connection, model_id)
            return Built(time.perf_counter() - started_s, model.size_bytes or 0, allowed_mb)
        finally:
            if building is not None:
                building.release()
            _give_back(connection)


def drop_idle_indexes(engine: Engine) -> list[int]:
    """Drops the indexes of models that the gallery holds nothing of any more; returns those models."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        idle = list(connection.execute(queries.gallery.GALLERY_IDLE_INDEXES).scalars())
        for model_id in idle:
            _run(connection, queries.gallery.GALLERY_UNINDEX_DDL, {"model_id": model_id})
        return idle


class BackgroundBuild:
    """Builds one model's index on a thread of its own, once it is asked to. Thread-safe.

    Nobody has ordered it, so that it takes no helpers and little memory.
    """

    def __init__(self, engine: Engine, model_id: int) -> None:
        self._engine = engine
        self._model_id = model_id
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._begun_s = 0.0
        self._closed = False
        self._building = _Holder()

    def start(self) -> None:
        """Starts the build, unless this process is at it or was so lately. Returns at once."""
        with self._lock:
            lately = self._thread is not None and time.monotonic() - self._begun_s < _AGAIN_AFTER_S
            if self._closed or lately or not self.wait(0):
                return
            self._begun_s = time.monotonic()
            self._thread = threading.Thread(target=self._build, name="gallery-index", daemon=True)
            self._thread.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits for the end of a build; False when it goes on still."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def close(self) -> None:
        """Breaks a running build off; whoever builds next clears what it leaves."""
        with self._lock:
            self._closed = True
        self._building.cancel()
        while not self.wait(0.5):  # between two statements there was nothing to cancel
            self._building.cancel()

    def _build(self) -> None:
        log.info("the gallery has outgrown the exact search: its index is being built")
        try:
            built = build_index(
                self._engine, self._model_id, most_memory_mb=_UNASKED_MEMORY_MB, building=self._building
            )
        except (SQLAlchemyError, SetupError) as error:
            if not self._closed:
                log.warning(
                    "the gallery's index could not be built, recall stays slow: %s; try"
                    " `globetag db index-embeddings`",
                    first_line(error),
                )
            return
        if built:
            log.info("the gallery's index is built: %.0f s, %.0f MB", built.seconds, built.size_bytes / 1e6)


class _Holder:
    """Holds the connection that builds, so that another thread can break it off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._driver: psycopg.Connection[Any] | None = None
        self._cancelled = False

    def hold(self, connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with self._lock:
            self._driver = driver
            if self._cancelled:
                raise SetupError("the build was broken off before it began")

    def release(self) -> None:
        with self._lock:
            self._driver = None

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            if self._driver is not None:
                self._driver.cancel_safe()


def _run(connection: Connection, definition: Any, parameters: dict[str, Any]) -> None:
    """Runs a definition that Postgres itself has written from parameters."""
    connection.exec_driver_sql(connection.execute(definition, parameters).scalar_one())


def _give_back(connection: Connection) -> None:
    if connection.invalidated:
        return
    connection.execute(queries.gallery.GALLERY_BUILD_DONE)
    connection.execute(queries.gallery.GALLERY_INDEX_UNLOCK)


def _model(row: Any) -> GalleryModel:
    return GalleryModel(
        row.model_id,
        row.model,
        row.photographs,
        row.dimensions,
        row.untrained,
        row.size_bytes if row.valid else None,
    )
