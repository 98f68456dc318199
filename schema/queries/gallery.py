"""The gallery: embedded photographs with a known place, and the searches in it."""

from sqlalchemy import BigInteger, Boolean, Integer, bindparam, text

# Written into the statement instead of sent beside it: an index counts only where the planner sees these values.
_MODEL_ID = bindparam("model_id", type_=BigInteger, literal_execute=True)

_DIMENSIONS = bindparam("dimensions", type_=Integer, literal_execute=True)

_EVERYWHERE = bindparam("everywhere", type_=Boolean, literal_execute=True)

# The nearest in a collection (everywhere: in all) by their embeddings of one model, with the place that counts
# (manual > exif, xmp > import, then the latest). Never the image :sha256 itself. An image that several
# collections hold may come several times. Among them none with a stricter precision cap than :collection_id has:
# its place would be told by the places that are inferred from it.
_NEAREST = """
    WITH near AS MATERIALIZED (
        SELECT g.image_id, {distance} AS distance
        FROM gallery g
        WHERE g.embedding_model_id = :model_id AND (:everywhere OR g.collection_id = :collection_id)
          AND g.image_id IS DISTINCT FROM (SELECT id FROM image WHERE sha256 = :sha256)
        ORDER BY distance LIMIT :rows
    )
    SELECT n.image_id, i.sha256, 1 - n.distance AS cosine, l.source, l.lat, l.lon,
           l.country_code, l.region, l.city, l.geoname_id, CAST(NULL AS double precision) AS minutes_apart
    FROM near n JOIN image i ON i.id = n.image_id
        AND (i.precision_km IS NULL
             OR i.precision_km <= (SELECT precision_km FROM collection WHERE id = CAST(:collection_id AS bigint)))
    JOIN LATERAL (
        SELECT * FROM label WHERE label.image_id = n.image_id
        ORDER BY CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC, id DESC LIMIT 1
    ) l ON true
    ORDER BY n.distance, n.image_id
"""

# Each compared, so exactly: the bare column, which no HNSW index fits.
NEAREST_EXACT = text(_NEAREST.format(distance="g.embedding <=> CAST(:embedding AS halfvec)")).bindparams(
    _MODEL_ID, _EVERYWHERE
)

# By the HNSW index of this model (see GALLERY_INDEX_DDL), so nearly.
NEAREST_INDEXED = text(
    _NEAREST.format(
        distance="CAST(g.embedding AS halfvec(:dimensions)) <=> CAST(:embedding AS halfvec(:dimensions))"
    )
).bindparams(_MODEL_ID, _DIMENSIONS, _EVERYWHERE)

# How an HNSW scan goes on, until the end of the transaction: with how many candidates, and that it goes on beyond
# them until enough rows have passed the conditions.
HNSW_EFFORT = text("""
    SELECT set_config('hnsw.ef_search', CAST(:ef_search AS text), true),
           set_config('hnsw.iterative_scan', 'relaxed_order', true)
""")

# Photographs of the same collection and folder (:folder with its last slash) that were taken within :gap_minutes
# of :taken_at, the nearest in time first. A clock that shows midnight sharp knows the day alone. At most :seen
# photographs of that time are looked at, whatever their folder.
SAME_SERIES = text("""
    WITH about AS MATERIALIZED (
        SELECT g.image_id, g.embedding,
               abs(extract(epoch FROM g.taken_at - CAST(:taken_at AS timestamp))) / 60 AS minutes_apart
        FROM gallery g
        WHERE g.collection_id = :collection_id AND g.embedding_model_id = :model_id
          AND g.taken_at BETWEEN CAST(:taken_at AS timestamp) - make_interval(secs => 60 * :gap_minutes)
                             AND CAST(:taken_at AS timestamp) + make_interval(secs => 60 * :gap_minutes)
          AND g.taken_at <> date_trunc('day', g.taken_at)
          AND g.image_id IS DISTINCT FROM (SELECT id FROM image WHERE sha256 = :sha256)
        LIMIT :seen
    )
    SELECT t.image_id, i.sha256, 1 - (t.embedding <=> CAST(:embedding AS halfvec)) AS cosine, l.source,
           l.lat, l.lon, l.country_code, l.region, l.city, l.geoname_id,
           CAST(t.minutes_apart AS double precision) AS minutes_apart
    FROM about t JOIN image i ON i.id = t.image_id
        AND (i.precision_km IS NULL
             OR i.precision_km <= (SELECT precision_km FROM collection WHERE id = CAST(:collection_id AS bigint)))
    JOIN LATERAL (
        SELECT * FROM label WHERE label.image_id = t.image_id
        ORDER BY CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC, id DESC LIMIT 1
    ) l ON true
    WHERE EXISTS (
        SELECT FROM job j
        WHERE j.image_id = t.image_id AND j.collection_id = :collection_id AND starts_with(j.uri, :folder)
          AND strpos(split_part(split_part(substr(j.uri, length(:folder) + 1), '?', 1), '#', 1), '/') = 0)
    ORDER BY t.minutes_apart, t.image_id LIMIT :rows
""")

# The gate whose embeddings are searched: is it recorded, and trained?
EMBEDDING_MODEL = text("SELECT untrained FROM model_version WHERE id = :model_id AND kind = 'gate'")

# How many photographs a collection's (everywhere: the whole) gallery holds, counted up to :most.
GALLERY_SIZE = text("""
    SELECT count(*) FROM (
        SELECT FROM gallery
        WHERE embedding_model_id = :model_id AND (:everywhere OR collection_id = :collection_id)
        LIMIT :most
    ) counted
""").bindparams(_MODEL_ID, _EVERYWHERE)

# The known places of up to :places photographs of it, spread evenly over the ids.
GALLERY_SAMPLE = text("""
    WITH ends AS (
        SELECT min(image_id) AS first, max(image_id) AS last FROM gallery
        WHERE embedding_model_id = :model_id AND (:everywhere OR collection_id = :collection_id)
    ), drawn AS (
        SELECT DISTINCT s.image_id
        FROM ends, generate_series(0, CAST(:places AS integer) - 1) AS step,
        LATERAL (
            SELECT g.image_id FROM gallery g
            WHERE g.embedding_model_id = :model_id AND (:everywhere OR g.collection_id = :collection_id)
              AND g.image_id >= ends.first + (ends.last - ends.first) * step / greatest(:places - 1, 1)
            ORDER BY g.image_id LIMIT 1
        ) s
    )
    SELECT l.lat, l.lon FROM drawn d
    JOIN LATERAL (
        SELECT * FROM label WHERE label.image_id = d.image_id
        ORDER BY CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC, id DESC LIMIT 1
    ) l ON true
    ORDER BY d.image_id
""").bindparams(_MODEL_ID, _EVERYWHERE)

# The models that the gallery has embeddings of, with how many photographs and dimensions, and their HNSW index:
# NULL where there is none, not valid where its build was broken off.
GALLERY_MODELS = text("""
    SELECT m.id AS model_id, m.name AS model, m.version, m.untrained, n.photographs, d.dimensions,
           x.name AS index_name, x.valid, x.size_bytes
    FROM model_version m
    JOIN (SELECT embedding_model_id, count(*) AS photographs FROM gallery GROUP BY 1) n
        ON n.embedding_model_id = m.id
    JOIN LATERAL (
        SELECT vector_dims(embedding) AS dimensions FROM gallery g WHERE g.embedding_model_id = m.id LIMIT 1
    ) d ON true
    LEFT JOIN LATERAL (
        SELECT c.relname AS name, i.indisvalid AS valid, pg_relation_size(c.oid) AS size_bytes
        FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
        WHERE i.indrelid = CAST('gallery' AS regclass) AND c.relname = 'ix_gallery_hnsw_' || m.id
    ) x ON true
    WHERE CAST(:model_id AS bigint) IS NULL OR m.id = :model_id
    ORDER BY m.id
""")

# Is there a whole HNSW index of this model?
GALLERY_IS_INDEXED = text("""
    SELECT EXISTS (
        SELECT FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
        WHERE i.indrelid = CAST('gallery' AS regclass) AND i.indisvalid AND i.indisready
          AND c.relname = 'ix_gallery_hnsw_' || CAST(:model_id AS bigint))
""")

# The statement that builds it, for Postgres puts no parameters into definitions. Beside running workers, outside
# of any transaction. A half vector takes two bytes a number and loses less than the index itself.
GALLERY_INDEX_DDL = text("""
    SELECT format('CREATE INDEX CONCURRENTLY %I ON gallery'
                  ' USING hnsw ((CAST(embedding AS halfvec(%s))) halfvec_cosine_ops)'
                  ' WITH (m = %s, ef_construction = %s) WHERE embedding_model_id = %s',
                  'ix_gallery_hnsw_' || CAST(:model_id AS bigint), CAST(:dimensions AS integer),
                  CAST(:m AS integer), CAST(:ef_construction AS integer), CAST(:model_id AS bigint))
""")

# The statement that drops it.
GALLERY_UNINDEX_DDL = text("""
    SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %I', 'ix_gallery_hnsw_' || CAST(:model_id AS bigint))
""")

# HNSW indexes of models that the gallery has nothing of any more.
GALLERY_IDLE_INDEXES = text("""
    SELECT CAST(substr(c.relname, length('ix_gallery_hnsw_') + 1) AS bigint) AS model_id
    FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
    WHERE i.indrelid = CAST('gallery' AS regclass) AND starts_with(CAST(c.relname AS text), 'ix_gallery_hnsw_')
      AND NOT EXISTS (
          SELECT FROM gallery WHERE embedding_model_id = CAST(substr(c.relname, length('ix_gallery_hnsw_') + 1)
                                                              AS bigint))
""")

# One process builds; held by its session, so that it ends with the process. False: another one is at work.
GALLERY_INDEX_LOCK = text("SELECT pg_try_advisory_lock(7453285200)")

GALLERY_INDEX_UNLOCK = text("SELECT pg_advisory_unlock(7453285200)")

# How much memory a build may take, and how many helpers, for this session. It waits for transactions that began
# before it, however long they take.
GALLERY_BUILD_EFFORT = text("""
    SELECT set_config('maintenance_work_mem', CAST(:memory_mb AS text) || 'MB', false),
           set_config('max_parallel_maintenance_workers', CAST(:helpers AS text), false),
           set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)
""")

# Takes GALLERY_BUILD_EFFORT back.
GALLERY_BUILD_DONE = text("RESET ALL")
