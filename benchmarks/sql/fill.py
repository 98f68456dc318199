"""Fills a database with photographs, predictions, traces, jobs and some labels, as an archive would have them.

Everything follows from a row's number by a hash, so that the same rows come out at any time and in any order.
Rows are made by INSERT ... SELECT with triggers and foreign keys off, and all indexes but keys are built
afterwards, as a restored dump does. What triggers would have kept (caps, known places) is filled in as they
would.
"""

import threading
import time
from collections.abc import Callable

import numpy as np
import psycopg
from psycopg import sql

from benchmarks.sql.words import sentences, vocabulary
from worker.place.cities import load_cities

_SENTENCES = 20_000
_VOCABULARY = 12_000
_SLOTS = 65_536
"""Places to be drawn from: cities, each as often as its inhabitants and the square root make it."""

COLLECTIONS = 24
CAPPED = 7
"""The collection with a precision cap of 25 km."""
ANSWERED_TWICE = 10
"""Every so manieth photograph was answered by a second pipeline too."""

_PARTS = """
CREATE SCHEMA fill;
CREATE TABLE fill.sentence (id integer PRIMARY KEY, words text NOT NULL);
CREATE TABLE fill.place (id integer PRIMARY KEY, city text, country_code text, lat double precision,
                         lon double precision, geoname_id bigint);
CREATE FUNCTION fill.share(n bigint, salt integer) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (hashint8extended(n, salt) & 9007199254740991)::double precision / 9007199254740992;
CREATE FUNCTION fill.pick(n bigint, salt integer, below integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (hashint8extended(n, salt) & 9007199254740991) % below;
-- Sizes of collections fall by the cube: the largest has a third of all, the smallest one in some hundred.
CREATE FUNCTION fill.collection(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 1 + floor(fill.share(n, 1) ^ 3 * {collections});
CREATE FUNCTION fill.job_id(n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN md5('job ' || n)::uuid;
CREATE FUNCTION fill.sha256(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN md5('a' || n) || md5('b' || n);
CREATE FUNCTION fill.is_known(n bigint) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN fill.share(n, 2) < 0.04;
-- Of each hundred predictions 87 have a place, 12 have none and say why, one failed.
CREATE FUNCTION fill.status(n bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN fill.share(n, 3) < 0.87 THEN 'located' WHEN fill.share(n, 3) < 0.99 THEN 'not_locatable'
            ELSE 'failed' END;
INSERT INTO collection (name, precision_km)
SELECT 'archive-' || to_char(n, 'FM00'), CASE WHEN n = {capped} THEN 25 END
FROM generate_series(1, {collections}) n;
INSERT INTO model_version (kind, name, version) VALUES ('lvlm', 'benchmark', '1'), ('lvlm', 'benchmark', '2'),
    ('gate', 'benchmark', '1');
"""

# Prediction p belongs to image p; those beyond the images are the second answers.
_IMAGES = """
INSERT INTO image (id, sha256, format, width_px, height_px, size_bytes, taken_at, precision_km, created_at)
OVERRIDING SYSTEM VALUE
SELECT n, fill.sha256(n), 'JPEG', 4000, 3000, 3000000 + fill.pick(n, 4, 2000000),
       timestamp '1990-01-01' + fill.share(n, 5) * interval '35 years',
       CASE WHEN fill.collection(n) = {capped} THEN 25 END, timestamptz '2026-01-01' + n * interval '50 ms'
FROM generate_series(1, {images}) n
"""
_LABELS = """
INSERT INTO label (image_id, source, lat, lon, accuracy_m, country_code, city, geoname_id, cell_lat, cell_lon)
SELECT n, CASE WHEN fill.share(n, 6) < 0.7 THEN 'exif' ELSE 'manual' END, g.lat, g.lon, 10, s.country_code, s.city,
       s.geoname_id, c.cell[1], c.cell[2]
FROM generate_series(1, {images}) n JOIN fill.place s ON s.id = fill.pick(n, 7, {slots}),
LATERAL (SELECT s.lat + (fill.share(n, 8) - 0.5) * 0.2 AS lat, s.lon + (fill.share(n, 9) - 0.5) * 0.2 AS lon) g,
LATERAL (SELECT CASE WHEN fill.collection(n) = {capped} THEN precision_cell(g.lat, g.lon, 25) END AS cell) c
WHERE fill.is_known(n)
"""
_PREDICTIONS = """
INSERT INTO prediction (id, image_id, status, reason, lat, lon, radius_km, granularity, country_code, city,
    geoname_id, stated_place, confidence, gate_score, pipeline_version, request_hash, model_version_id,
    gate_version_id, prompt_hash, sampling, gazetteer_version, code_version, created_at, cell_lat, cell_lon, known)
OVERRIDING SYSTEM VALUE
SELECT n, i.id, t.status,
       CASE t.status WHEN 'located' THEN NULL WHEN 'failed' THEN 'unparsable' ELSE 'samples_disagree' END,
       g.lat, g.lon, CASE WHEN t.status = 'located' THEN 0.5 * exp(fill.share(n, 10) * 6) END,
       CASE WHEN t.status = 'located'
            THEN (ARRAY['street', 'city', 'region', 'country'])[1 + fill.pick(n, 11, 4)] END,
       s.country_code, s.city, s.geoname_id, s.city || ', ' || s.country_code,
       fill.share(n, 12), fill.share(n, 13),
       CASE WHEN n > {images} THEN 'b7e1c0d2f3a49586' ELSE 'a1b2c3d4e5f60718' END, '0000000000000000',
       CASE WHEN n > {images} THEN 2 ELSE 1 END, 3, 'prompt', '{{"temperature": 0}}', 'gazetteer', '1',
       timestamptz '2026-01-01' + n * interval '50 ms', c.cell[1], c.cell[2], fill.is_known(i.id)
FROM generate_series(1, {predictions}) n
JOIN fill.place s ON s.id = fill.pick(n, 7, {slots}),
LATERAL (SELECT CASE WHEN n > {images} THEN 1 + ((n - {images}) * {twice}) % {images} ELSE n END AS id) i,
LATERAL (SELECT fill.status(n) AS status) t,
LATERAL (SELECT CASE WHEN t.status = 'located' THEN s.lat + (fill.share(n, 8) - 0.5) * 0.2 END AS lat,
                CASE WHEN t.status = 'located' THEN s.lon + (fill.share(n, 9) - 0.5) * 0.2 END AS lon) g,
LATERAL (SELECT CASE WHEN fill.collection(i.id) = {capped} THEN precision_cell(g.lat, g.lon, 25) END AS cell) c
"""
_TRACES = """
INSERT INTO trace (prediction_id, reasoning, answer, cues, tokens, mean_logprob, finish_reason, withheld)
SELECT n, a.words || ' ' || b.words || ' ' || c.words || ' ' || d.words || ' The signs point to ' || s.city || '.',
       '<think>...</think><answer>country: ' || s.country_code || ' city: ' || s.city || '</answer>',
       jsonb_build_array(jsonb_build_object('text', a.words, 'supported', NULL)), 60, -fill.share(n, 14), 'stop',
       fill.collection(CASE WHEN n > {images} THEN 1 + ((n - {images}) * {twice}) % {images} ELSE n END) = {capped}
FROM generate_series(1, {predictions}) n
JOIN fill.place s ON s.id = fill.pick(n, 7, {slots})
JOIN fill.sentence a ON a.id = fill.pick(n, 15, {sentences})
JOIN fill.sentence b ON b.id = fill.pick(n, 16, {sentences})
JOIN fill.sentence c ON c.id = fill.pick(n, 17, {sentences})
JOIN fill.sentence d ON d.id = fill.pick(n, 18, {sentences})
"""
_JOBS = """
INSERT INTO job (id, collection_id, uri, state, outcome, reason, attempts, published_at, worker, image_id,
                 prediction_id, pipeline_version, started_at, finished_at)
SELECT fill.job_id(n), fill.collection(n), 'file:///archive/' || fill.collection(n) || '/' || n || '.jpg',
       CASE WHEN k.known OR t.status <> 'failed' THEN 'done' ELSE 'failed' END,
       CASE WHEN k.known THEN 'known' WHEN t.status <> 'failed' THEN t.status END,
       CASE WHEN k.known OR t.status <> 'failed' THEN NULL ELSE 'unparsable' END, 1, now(), 'host/1', n, p.id,
       'a1b2c3d4e5f60718', now(), now()
FROM generate_series(1, {images}) n,
LATERAL (SELECT CASE WHEN n % {twice} = 1 AND {images} + n / {twice} BETWEEN {images} + 1 AND {predictions}
                     THEN {images} + n / {twice} ELSE n END AS id) p,
LATERAL (SELECT fill.is_known(n) AS known) k, LATERAL (SELECT fill.status(p.id) AS status) t
"""
_TABLES = ("image", "label", "prediction", "trace", "job")
_SMALL = ("collection", "model_version")


def images_of(predictions: int) -> int:
    """How many photographs have so many predictions."""
    return predictions - predictions // (ANSWERED_TWICE + 1)


def fill(url: str, predictions: int, *, seed: int = 7, log: Callable[[str], None] = print) -> float:
    """Fills an empty, migrated database with so many predictions, vacuumed and analyzed; returns seconds."""
    began_s = time.perf_counter()
    images = images_of(predictions)
    given = {
        name: sql.Literal(value)
        for name, value in {
            "images": images, "predictions": predictions, "slots": _SLOTS, "sentences": _SENTENCES,
            "capped": CAPPED, "collections": COLLECTIONS, "twice": ANSWERED_TWICE,
        }.items()
    }  # fmt: skip
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(_PARTS).format(**given))
        _copy_parts(connection, seed)
        dropped = _drop_indexes(connection)
        steps = ((_IMAGES, _LABELS, _PREDICTIONS, _JOBS), (_TRACES,))
        _beside([_running(url, [sql.SQL(each).format(**given) for each in some]) for some in steps])
        log(f"{predictions:,} predictions after {time.perf_counter() - began_s:.0f} s")
        _beside([_running(url, [sql.SQL(each) for each in some]) for some in _halves(dropped)])
        log(f"indexes after {time.perf_counter() - began_s:.0f} s")
        for table in _TABLES + _SMALL:
            connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
            if table in ("image", "prediction", "label"):
                connection.execute(
                    "SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [table, 10 * predictions]
                )
        connection.execute("CHECKPOINT")
    return time.perf_counter() - began_s


def _copy_parts(connection: psycopg.Connection, seed: int) -> None:
    random = np.random.default_rng(seed)
    cities = load_cities()
    weight_N = np.sqrt(cities.population_N.astype(float))
    by_size = [cities.name[row] for row in np.argsort(-cities.population_N).tolist()]
    made = sentences(vocabulary(by_size, _VOCABULARY), _SENTENCES, random)
    with connection.cursor() as cursor:
        with cursor.copy("COPY fill.sentence FROM STDIN") as copy:
            for row in enumerate(made):
                copy.write_row(row)
        with cursor.copy("COPY fill.place FROM STDIN") as copy:
            drawn = random.choice(len(weight_N), _SLOTS, p=weight_N / weight_N.sum()).tolist()
            for slot, n in enumerate(drawn):
                place = (float(cities.lat_N[n]), float(cities.lon_N[n]), int(cities.geoname_id_N[n]))
                copy.write_row((slot, cities.name[n], cities.country_code[n], *place))
    connection.execute("ANALYZE fill.sentence; ANALYZE fill.place")


def _drop_indexes(connection: psycopg.Connection) -> list[str]:
    """Drops what no constraint needs; returns the statements that make it again, the dearest first."""
    found = connection.execute(
        """
        SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
        WHERE x.indrelid = ANY(%s::regclass[])
          AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid)
        ORDER BY pg_get_indexdef(c.oid) LIKE '%% gin %%' DESC, c.relname
        """,
        [list(_TABLES)],
    ).fetchall()
    for name, _ in found:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    return [definition for _, definition in found]


def _halves(statements: list[str]) -> tuple[list[str], list[str]]:
    """The first (full text) takes as long as all others together."""
    return statements[:1], statements[1:]


def _running(url: str, statements: list[sql.SQL | sql.Composed]) -> Callable[[], None]:
    def run() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
            connection.execute("SET maintenance_work_mem = '1GB'; SET work_mem = '64MB'; SET jit = off")
            for statement in statements:
                connection.execute(statement)

    return run


def _beside(works: list[Callable[[], None]]) -> None:
    """Runs all at the same time; raises what the first of them raised."""
    failures: list[BaseException] = []

    def watched(work: Callable[[], None]) -> None:
        try:
            work()
        except psycopg.Error as error:
            failures.append(error)

    threads = [threading.Thread(target=watched, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
