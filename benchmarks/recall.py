"""Recall over an archive's own photographs: how fast, and how many of the true nearest it finds.

On an embedded Postgres of its own, through the real tables and their triggers, with the statements that a worker
runs. The embeddings are synthetic (`benchmarks/vectors.py` says what shape and why); what is true is found by
comparing all in numpy, in float32. `p95_ms` is the time of one `Recall.candidates` as a worker calls it, one after
the other, after a short warm-up; `recall_at_10` the share of the ten truly nearest that it returns, on average.

Three collections share the tables. The town holds most photographs; its figures are the ones above. The village
holds no more than are searched exactly (`n_exact`, `p95_ms_exact`). The district holds 3 %, and is searched by the
index that holds all (`n_filtered`, `p95_ms_filtered`): the scan goes on until enough of its own have come by.
`memory_mb` is what the build was allowed.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from benchmarks import harness, vectors
from benchmarks.vectors import BLOCK, DIMENSIONS, Archive
from schema import queries
from worker import embedded
from worker.database import Database, open_database
from worker.place import gallery_index
from worker.place.recall import EF_SEARCH, EXACT_UP_TO, Recall
from worker.queue.patience import PatientTransactions
from worker.settings import Settings

COLLECTIONS = ("town", "village", "district")
K = 10
_LID_NEIGHBOURS = 100
_WARM_UP = 30


def main() -> None:
    parser = harness.arguments(__doc__)
    parser.add_argument("--n", type=int, help="photographs  [default: 1,000,000, quick: 50,000]")
    parser.add_argument("--queries", type=int, help="[default: 1000, quick: 200]")
    parser.add_argument("--m", type=int, default=gallery_index.M)
    parser.add_argument("--ef-construction", type=int, default=gallery_index.EF_CONSTRUCTION)
    parser.add_argument(
        "--ef-search",
        type=int,
        nargs="+",
        default=[EF_SEARCH],
        help="several: each is measured, the first reported",
    )
    parser.add_argument("--helpers", type=int, default=1, help="parallel processes of the build beside the first")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.n = given.n or (50_000 if given.quick else 1_000_000)
    given.queries = given.queries or (200 if given.quick else 1000)
    with _database() as database:
        figures = _measure(database, given)
    units = {key: _unit(key) for key in figures}
    harness.report("recall", figures, units)


def _measure(database: Database, given: argparse.Namespace) -> dict[str, float | None]:
    archive = vectors.archive(given.n, given.seed)
    held_by_N = np.zeros(given.n, dtype=np.int64)
    held_by_N[1::33] = COLLECTIONS.index("district")
    held_by_N[:: max(5, given.n // EXACT_UP_TO)] = COLLECTIONS.index("village")
    load_s, gate_id = _load(database, archive, held_by_N)
    print(f"{given.n:,} photographs loaded in {load_s:.0f} s", flush=True)
    built = gallery_index.build_index(
        database.engine, gate_id, m=given.m, ef_construction=given.ef_construction, helpers=given.helpers
    )
    assert built is not None
    print(f"indexed in {built.seconds:.0f} s: {built.size_bytes / 1e6:.0f} MB", flush=True)

    asked_Q_D = archive.queries(given.queries)
    truth_Q_K, cosine_Q_K = vectors.nearest(archive, asked_Q_D, _LID_NEIGHBOURS, held_by_N != 0)
    village_Q_K, _ = vectors.nearest(archive, asked_Q_D, K, held_by_N != 1)
    district_Q_K, _ = vectors.nearest(archive, asked_Q_D, K, held_by_N != 2)
    transactions = PatientTransactions(database.engine)
    reported: dict[str, float | None] = {}
    for ef_search in reversed(given.ef_search):
        recall = Recall(transactions, gate_id, k=K, exact_up_to=0, ef_search=ef_search)
        took_ms, found = _ask(recall, asked_Q_D, truth_Q_K[:, :K], "town")
        print(
            f"m {given.m}, ef_construction {given.ef_construction}, ef_search {ef_search}: recall@10 {found:.4f},"
            f" p50 {statistics.median(took_ms):.1f} ms, p95 {_p95(took_ms):.1f} ms",
            flush=True,
        )
        reported = {"p95_ms": _p95(took_ms), "recall_at_10": found, "p50_ms": statistics.median(took_ms)}
    exact_ms, exact = _ask(Recall(transactions, gate_id, k=K), asked_Q_D, village_Q_K, "village")
    filtered = Recall(transactions, gate_id, k=K, exact_up_to=0, ef_search=given.ef_search[0])
    filtered_ms, filtered_found = _ask(filtered, asked_Q_D, district_Q_K, "district")
    return reported | {
        "n": given.n,
        "p95_ms_exact": _p95(exact_ms),
        "recall_at_10_exact": exact,
        "n_exact": int((held_by_N == 1).sum()),
        "p95_ms_filtered": _p95(filtered_ms),
        "recall_at_10_filtered": filtered_found,
        "n_filtered": int((held_by_N == 2).sum()),
        "build_s": built.seconds,
        "load_s": load_s,
        "index_mb": built.size_bytes / 1e6,
        "gallery_mb": _gallery_mb(database),
        "memory_mb": built.memory_mb,
        "lid_median": float(np.median(vectors.lid(cosine_Q_K))),
        "cosine_of_nearest": float(np.median(cosine_Q_K[:, 0])),
    }


def _ask(
    recall: Recall, asked_Q_D: vectors.Floats, truth_Q_K: NDArray[np.int64], held_by: str
) -> tuple[list[float], float]:
    """Milliseconds of each query, and the share of the true ones among what it returned."""
    took_ms: list[float] = []
    found = 0
    for embedding_D in asked_Q_D[:_WARM_UP]:
        recall.candidates(embedding_D, sha256="", collection=held_by, uri="", taken_at=None)
    for embedding_D, truth_K in zip(asked_Q_D, truth_Q_K, strict=True):
        started_s = time.perf_counter()
        answer = recall.candidates(embedding_D, sha256="", collection=held_by, uri="", taken_at=None)
        took_ms.append((time.perf_counter() - started_s) * 1e3)
        found += len({each.image_id - 1 for each in answer} & set(truth_K.tolist()))
    return took_ms, found / truth_Q_K.size


def _p95(took_ms: list[float]) -> float:
    return float(np.percentile(took_ms, 95))


def _unit(key: str) -> str:
    if "_ms" in key:
        return "ms"
    return {"_mb": "MB", "_s": "s"}.get(key[key.rfind("_") :], "1")


@contextmanager
def _database() -> Iterator[Database]:
    """A Postgres of this run's own, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="globetag-recall-"))
    try:
        with open_database(Settings(home=folder / "home")) as database:
            yield database
    finally:
        embedded.stop(folder / "home")
        shutil.rmtree(folder, ignore_errors=True)


def _load(database: Database, archive: Archive, held_by_N: NDArray[np.int64]) -> tuple[float, int]:
    """Fills the tables as workers would have; returns the seconds and the gate's id.

    Embeddings go by binary COPY; labels come last, so that the triggers put each block into the gallery.
    """
    started_s = time.perf_counter()
    with database.engine.begin() as connection:
        gate = {"kind": "gate", "name": "synthetic", "version": "1", "untrained": False}
        gate_id: int = connection.execute(queries.models.ENSURE_MODEL_VERSION, gate).one().id
        held = [
            connection.execute(queries.collections.ENSURE_COLLECTION, {"name": name}).scalar_one()
            for name in COLLECTIONS
        ]
    for number, block_N_D in enumerate(archive.blocks()):
        first = number * BLOCK
        with database.engine.begin() as connection:
            _copy_images(connection, first + 1, block_N_D, gate_id)
            places_N = archive.place_N[first : first + BLOCK]
            ids = list(range(first + 1, first + 1 + len(block_N_D)))
            collections = np.take(held, held_by_N[first : first + BLOCK]).tolist()
            connection.execute(_ADD_JOBS, {"ids": ids, "collections": collections})
            where = {"lats": archive.lat_P[places_N].tolist(), "lons": archive.lon_P[places_N].tolist()}
            connection.execute(_ADD_LABELS, {"ids": ids, **where})
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))
    return time.perf_counter() - started_s, gate_id


_ADD_JOBS = text("""
    INSERT INTO job (id, collection_id, uri, state, outcome, image_id)
    SELECT gen_random_uuid(), collection_id, 'file:///archive/' || image_id, 'done', 'known', image_id
    FROM unnest(CAST(:ids AS bigint[]), CAST(:collections AS bigint[])) AS r(image_id, collection_id)
""")

_ADD_LABELS = text("""
    INSERT INTO label (image_id, source, lat, lon)
    SELECT image_id, 'exif', lat, lon
    FROM unnest(CAST(:ids AS bigint[]), CAST(:lats AS double precision[]), CAST(:lons AS double precision[]))
        AS r(image_id, lat, lon)
""")


def _copy_images(connection: Connection, first_id: int, block_N_D: vectors.Floats, gate_id: int) -> None:
    """Postgres' binary COPY format: each field is its length and its bytes, all big-endian."""
    fields = [("id", ">i8"), ("sha256", "S16"), ("format", "S4"), ("width", ">i4"), ("height", ">i4")]
    fields += [("size", ">i8"), ("gate_id", ">i8")]
    layout: list[tuple[str, str] | tuple[str, str, tuple[int]]] = [("fields", ">i2")]
    for name, kind in fields:
        layout += [(f"{name}_length", ">i4"), (name, kind)]
    layout += [
        ("vector_length", ">i4"),
        ("dimensions", ">i2"),
        ("unused", ">i2"),
        ("vector", ">f2", (DIMENSIONS,)),
    ]
    rows = np.zeros(len(block_N_D), dtype=layout)
    rows["fields"] = len(fields) + 1
    for name, _ in fields:
        rows[f"{name}_length"] = rows.dtype[name].itemsize
    rows["id"] = np.arange(first_id, first_id + len(block_N_D))
    rows["sha256"] = np.char.mod("%016x", rows["id"].astype(np.int64)).astype("S16")
    rows["format"], rows["width"], rows["height"], rows["size"], rows["gate_id"] = b"JPEG", 4, 3, 9, gate_id
    rows["vector_length"], rows["dimensions"], rows["vector"] = 4 + 2 * DIMENSIONS, DIMENSIONS, block_N_D
    driver = connection.connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor, cursor.copy(_COPY_IMAGES) as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows.tobytes() + b"\xff\xff")


_COPY_IMAGES = """
    COPY image (id, sha256, format, width_px, height_px, size_bytes, embedding_model_id, embedding)
    FROM STDIN (FORMAT BINARY)
"""


def _gallery_mb(database: Database) -> float:
    with database.engine.connect() as connection:
        return float(connection.execute(text("SELECT pg_table_size('gallery') / 1e6")).scalar_one())


if __name__ == "__main__":
    main()
