"""Models: their versions, which of them serves, and how they compare."""

from sqlalchemy import text

# The model version's id and name; records it when it is new. Weights that are registered keep that one row, under
# whatever name they are loaded.
ENSURE_MODEL_VERSION = text("""
    WITH registered AS (
        SELECT id, name FROM model_version WHERE kind = :kind AND version = :version AND folder IS NOT NULL
    ), made AS (
        INSERT INTO model_version (kind, name, version, untrained)
        SELECT :kind, :name, :version, :untrained WHERE NOT EXISTS (SELECT FROM registered)
        ON CONFLICT (kind, name, version) DO UPDATE SET untrained = excluded.untrained
        RETURNING id, name
    )
    SELECT id, name FROM made UNION ALL SELECT id, name FROM registered
""")

# All model versions, with how many predictions each has made.
LIST_MODEL_VERSIONS = text("""
    SELECT m.kind, m.name, m.version, m.untrained, m.created_at, count(p.id) AS predictions
    FROM model_version m LEFT JOIN prediction p ON m.id IN (p.model_version_id, p.gate_version_id)
    GROUP BY m.id ORDER BY m.kind, m.created_at
""")

# Whoever registers or records weights does so one after the other; ends with the transaction.
WEIGHTS_LOCK = text("SELECT pg_advisory_xact_lock(7453285, hashtext(:version))")

# The version with these weights, one that is registered before one that has only answered.
FIND_WEIGHTS = text("""
    SELECT id, base FROM model_version WHERE kind = 'lvlm' AND version = :version
    ORDER BY folder IS NULL, id LIMIT 1
""")

# A new version, not registered yet. Returns its id.
ADD_WEIGHTS = text("""
    INSERT INTO model_version (kind, name, version, untrained) VALUES ('lvlm', :name, :version, :untrained)
    RETURNING id
""")

# Registers a version. One that is registered may have moved; what was said of it before stays.
REGISTER_WEIGHTS = text("""
    UPDATE model_version SET
        base = :base, folder = :folder, files = CAST(:files AS jsonb), card = CAST(:card AS jsonb),
        metrics = CASE WHEN metrics = '{}'::jsonb THEN CAST(:metrics AS jsonb) ELSE metrics END,
        parent_id = coalesce(parent_id, nullif(CAST(:parent_id AS bigint), id)),
        training_run_id = coalesce(training_run_id, :training_run_id),
        curation_id = coalesce(curation_id, :curation_id)
    WHERE id = :id
""")

# One version (:id), registered or not.
READ_VERSION = text("SELECT * FROM model_version WHERE id = :id")

# The versions that are registered for a base, with how many predictions each has made.
LIST_REGISTERED = text("""
    SELECT m.*, (SELECT count(*) FROM prediction p WHERE p.model_version_id = m.id) AS predictions
    FROM model_version m WHERE m.base = :base ORDER BY m.id
""")

# Promotions and rollbacks of a base happen one after the other; ends with the transaction.
PROMOTION_LOCK = text("SELECT pg_advisory_xact_lock(7453286, hashtext(:base))")

# All promotions and rollbacks of a base, the oldest first.
PROMOTIONS = text("SELECT id, action, model_version_id FROM promotion WHERE base = :base ORDER BY id")

# The promotion that counts for a base, with its version where it is not the base itself.
SERVING = text("SELECT * FROM serving_model WHERE base = :base")

ADD_PROMOTION = text("""
    INSERT INTO promotion (base, model_version_id, previous_id, action, by, reason, evidence)
    VALUES (:base, :model_version_id, :previous_id, :action, :by, :reason, CAST(:evidence AS jsonb))
""")

# Tells running workers that something was promoted; heard after the commit. Losing it costs half a minute.
NOTIFY_MODELS = text("SELECT pg_notify('globetag_model', '')")

# A worker could not load what was promoted.
ADD_PROMOTION_FAILURE = text("""
    INSERT INTO promotion_failure (promotion_id, worker, detail) VALUES (:promotion_id, :worker, :detail)
""")

# Who could not load what this promotion promoted.
PROMOTION_FAILURES = text("""
    SELECT worker, detail, created_at FROM promotion_failure WHERE promotion_id = :promotion_id ORDER BY id
""")

# Two versions (:a, :b) on the photographs with a known place that both were asked about in the same words: the
# latest prediction of each, an answer before a failure, against the place that counts. One row for each measure:
# how many pairs it judges, and how many each has right, alone and together.
COMPARE_VERSIONS = text("""
    WITH answers AS (
        SELECT DISTINCT ON (model_version_id, image_id, request_hash) *
        FROM prediction WHERE model_version_id IN (:a, :b)
        ORDER BY model_version_id, image_id, request_hash, status = 'failed', created_at DESC, id DESC
    ), pairs AS (
        SELECT DISTINCT ON (a.image_id)
               a.image_id, a.status AS a_status, a.lat AS a_lat, a.lon AS a_lon, a.country_code AS a_country,
               b.status AS b_status, b.lat AS b_lat, b.lon AS b_lon, b.country_code AS b_country
        FROM answers a
        JOIN answers b ON b.image_id = a.image_id AND b.request_hash = a.request_hash
            AND b.model_version_id = :b
        WHERE a.model_version_id = :a
        ORDER BY a.image_id, greatest(a.id, b.id) DESC
    ), placed AS (
        SELECT p.*, l.country_code AS true_country,
               2 * 6371.0088 * asin(least(1, sqrt(sin(radians(p.a_lat - l.lat) / 2) ^ 2
                   + cos(radians(p.a_lat)) * cos(radians(l.lat)) * sin(radians(p.a_lon - l.lon) / 2) ^ 2
               ))) AS a_km,
               2 * 6371.0088 * asin(least(1, sqrt(sin(radians(p.b_lat - l.lat) / 2) ^ 2
                   + cos(radians(p.b_lat)) * cos(radians(l.lat)) * sin(radians(p.b_lon - l.lon) / 2) ^ 2
               ))) AS b_km
        FROM pairs p
        JOIN LATERAL (
            SELECT * FROM label WHERE label.image_id = p.image_id
            ORDER BY CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC, id DESC
            LIMIT 1
        ) l ON true
    ), judged AS (
        SELECT m.place, m.measure, m.a_right, m.b_right
        FROM placed p,
        LATERAL (VALUES
            (1, 'answered', p.a_status = 'located', p.b_status = 'located'),
            (2, 'within 25 km', coalesce(p.a_km <= 25, false), coalesce(p.b_km <= 25, false)),
            (3, 'within 200 km', coalesce(p.a_km <= 200, false), coalesce(p.b_km <= 200, false)),
            (4, 'within 750 km', coalesce(p.a_km <= 750, false), coalesce(p.b_km <= 750, false)),
            (5, 'country', coalesce(p.a_country = p.true_country, false),
                           coalesce(p.b_country = p.true_country, false))
        ) AS m(place, measure, a_right, b_right)
        WHERE m.place < 5 OR p.true_country IS NOT NULL
    )
    SELECT measure, count(*) AS photographs,
           count(*) FILTER (WHERE a_right) AS a_right, count(*) FILTER (WHERE b_right) AS b_right,
           count(*) FILTER (WHERE a_right AND NOT b_right) AS only_a,
           count(*) FILTER (WHERE b_right AND NOT a_right) AS only_b
    FROM judged GROUP BY place, measure ORDER BY place
""")
