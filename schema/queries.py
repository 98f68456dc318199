"""Every SQL statement that the system runs, named and described. No SQL is built from strings anywhere.

Statements that handle many rows take one JSON array (`:rows`) and unpack it in Postgres: one round trip for a
group, whatever its size. Rows are always touched in a fixed order, so that two groups cannot deadlock.

The file is long on purpose: whoever asks what is run against the database reads one file.
"""

from sqlalchemy import BigInteger, Boolean, Integer, bindparam, text

# ---------------------------------------------------------------- collections and models

# The collection's id; creates it when it is new.
ENSURE_COLLECTION = text("""
    WITH made AS (
        INSERT INTO collection (name) VALUES (:name) ON CONFLICT (name) DO NOTHING RETURNING id
    )
    SELECT id FROM made UNION ALL SELECT id FROM collection WHERE name = :name LIMIT 1
""")

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

# ---------------------------------------------------------------- registry: what serves

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

# Hears of it.
LISTEN_MODELS = text("LISTEN globetag_model")

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

# ---------------------------------------------------------------- enqueueing

# Rows: id, uri, source_tag, hints, verify, priority. Makes new jobs; names known ones in this batch and queues
# them again where the source, the request or (when given) the pipeline has changed since they were settled.
# A running job keeps what it was started with, so that a change shows the next time. Returns the ids of each kind.
ENQUEUE = text("""
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
            id uuid, uri text, source_tag text, hints jsonb, verify boolean, priority smallint)
    ), before AS (
        SELECT j.id, j.state,
               j.source_tag IS DISTINCT FROM g.source_tag OR j.hints <> g.hints OR j.verify <> g.verify
               OR (CAST(:pipeline_version AS text) IS NOT NULL
                   AND j.pipeline_version IS DISTINCT FROM :pipeline_version
                   AND j.state IN ('done', 'failed')) AS changed
        FROM job j JOIN given g USING (id)
    ), written AS (
        INSERT INTO job (id, collection_id, uri, source_tag, hints, verify, priority, batch_id)
        SELECT id, :collection_id, uri, source_tag, hints, verify, priority, CAST(:batch_id AS uuid)
        FROM given ORDER BY id
        ON CONFLICT (id) DO UPDATE SET
            batch_id = excluded.batch_id,
            source_tag = CASE WHEN job.state = 'running' THEN job.source_tag ELSE excluded.source_tag END,
            hints = CASE WHEN job.state = 'running' THEN job.hints ELSE excluded.hints END,
            verify = CASE WHEN job.state = 'running' THEN job.verify ELSE excluded.verify END,
            priority = excluded.priority
        RETURNING id
    )
    SELECT coalesce(CASE
               WHEN b.state IN ('queued', 'running') THEN 'waiting'
               WHEN b.changed THEN 'changed'
               ELSE b.state END, 'new') AS kind,
           array_agg(w.id) AS ids
    FROM written w LEFT JOIN before b USING (id) GROUP BY 1
""")

# Puts settled jobs back into the queue, as if they had never been tried.
REQUEUE = text("""
    UPDATE job SET state = 'queued', outcome = NULL, reason = NULL, detail = NULL, reused = false, attempts = 0,
        losses = 0, due_at = now(), published_at = NULL, lease_until = NULL, worker = NULL, finished_at = NULL
    WHERE id = ANY(CAST(:ids AS uuid[])) AND state IN ('done', 'failed', 'dead')
""")

# The same for every failed or dead job of a collection (NULL: all) with a reason (NULL: any). Returns the count.
RETRY_FAILED = text("""
    WITH chosen AS (
        SELECT j.id FROM job j JOIN collection c ON c.id = j.collection_id
        WHERE j.state IN ('failed', 'dead')
          AND (CAST(:collection AS text) IS NULL OR c.name = :collection)
          AND (CAST(:reason AS text) IS NULL OR j.reason = :reason)
        ORDER BY j.id FOR UPDATE OF j
    ), again AS (
        UPDATE job SET state = 'queued', reason = NULL, detail = NULL, attempts = 0, losses = 0, due_at = now(),
            published_at = NULL, lease_until = NULL, worker = NULL, finished_at = NULL,
            batch_id = CAST(:batch_id AS uuid)
        FROM chosen WHERE job.id = chosen.id RETURNING job.id
    )
    SELECT count(*) FROM again
""")

# Wakes the dispatchers. Sent in the transaction that made rows due, so it arrives after the commit.
NOTIFY_JOBS = text("SELECT pg_notify(:channel, '')")

# ---------------------------------------------------------------- dispatching

# Rows whose worker broke its promise go back into the queue, or end as dead at the cap. Returns what became of
# each. The worker takes a lost row up with care: it probes the photograph in a child process first.
SWEEP_LEASES = text("""
    WITH lost AS (
        SELECT id FROM job WHERE state = 'running' AND lease_until < now() ORDER BY id
        FOR UPDATE SKIP LOCKED
    )
    UPDATE job SET
        losses = losses + 1,
        state = CASE WHEN losses + 1 >= :max_losses THEN 'dead' ELSE 'queued' END,
        reason = CASE WHEN losses + 1 >= :max_losses THEN 'worker_lost' END,
        detail = CASE WHEN losses + 1 >= :max_losses
                      THEN 'The worker died ' || (losses + 1) || ' times while it worked on this photograph.' END,
        finished_at = CASE WHEN losses + 1 >= :max_losses THEN now() END,
        due_at = now(), published_at = NULL, lease_until = NULL, worker = NULL
    FROM lost WHERE job.id = lost.id
    RETURNING job.id, job.state
""")

# Takes up to :room due rows that the broker was not told of lately, and marks them as told. Jobs that were lost
# :last_chance times go one at a time, so that the one that kills its worker takes none of the others along.
TAKE_DUE = text("""
    WITH due AS (
        SELECT id FROM job
        WHERE state = 'queued' AND due_at <= now()
          AND (published_at IS NULL OR published_at < now() - make_interval(secs => :republish_after_s))
          AND (losses < :last_chance OR id = (
              SELECT s.id FROM job s
              WHERE s.losses > 0 AND s.state IN ('queued', 'running') AND s.losses >= :last_chance
              ORDER BY s.state = 'running' DESC, s.published_at, s.due_at, s.id LIMIT 1))
        ORDER BY priority DESC, due_at LIMIT :room
        FOR UPDATE SKIP LOCKED
    )
    UPDATE job SET published_at = now() FROM due WHERE job.id = due.id
    RETURNING job.id, job.uri, job.priority
""")

# Rows that the broker was told of, that no worker has taken up since, although the broker has nothing left.
# (:grace_s covers messages on their way.) They are told again.
FORGET_PUBLISHED = text("""
    UPDATE job SET published_at = NULL
    WHERE state = 'queued' AND due_at <= now() AND published_at < now() - make_interval(secs => :grace_s)
""")

# Takes rows back whose message could not be handed to the broker.
UNPUBLISH = text("""
    UPDATE job SET published_at = NULL WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'queued'
""")

# ---------------------------------------------------------------- working

# Starts queued jobs (:ids) and counts the attempt, committed before any work is done. Jobs that are not returned
# are taken, settled or unknown. A job that was lost waits for the dispatcher, which decides when it may be tried
# again: a broker that redelivers a dead worker's messages would start all of them together.
CLAIM = text("""
    WITH wanted AS (
        SELECT j.id FROM job j
        WHERE j.id = ANY(CAST(:ids AS uuid[])) AND j.state = 'queued'
          AND (j.losses = 0 OR j.published_at IS NOT NULL)
        ORDER BY j.id FOR UPDATE
    )
    UPDATE job SET state = 'running', attempts = attempts + 1, worker = :worker, started_at = now(),
        lease_until = now() + make_interval(secs => :lease_s)
    FROM wanted, collection c WHERE job.id = wanted.id AND c.id = job.collection_id
    RETURNING job.id, job.uri, job.hints, job.verify, job.attempts, job.losses, c.name AS collection, c.region,
        c.max_radius_km
""")

# Rows: id, collection, uri, hints, verify, priority. Jobs that a foreign producer sent straight to the workers:
# made and started at once. Rows that are not returned exist already.
CLAIM_FOREIGN = text("""
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
            id uuid, collection text, uri text, hints jsonb, verify boolean, priority smallint)
    ), started AS (
        INSERT INTO job (id, collection_id, uri, hints, verify, priority, state, attempts, worker, started_at,
                         published_at, lease_until)
        SELECT g.id, c.id, g.uri, g.hints, g.verify, g.priority, 'running', 1, :worker, now(), now(),
               now() + make_interval(secs => :lease_s)
        FROM given g JOIN collection c ON c.name = g.collection ORDER BY g.id
        ON CONFLICT (id) DO NOTHING
        RETURNING id, uri, hints, verify, attempts, losses, collection_id
    )
    SELECT s.id, s.uri, s.hints, s.verify, s.attempts, s.losses, c.name AS collection, c.region, c.max_radius_km
    FROM started s JOIN collection c ON c.id = s.collection_id
""")

# Which of these job ids exist.
KNOWN_JOBS = text("SELECT id FROM job WHERE id = ANY(CAST(:ids AS uuid[]))")

# The worker is alive: the jobs that it has in work (:ids) keep their leases.
EXTEND_LEASES = text("""
    UPDATE job SET lease_until = now() + make_interval(secs => :lease_s)
    WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'running' AND worker = :worker
""")

# Workers that hold running jobs. A worker that starts on the same machine asks which of them still live.
BUSY_WORKERS = text("SELECT DISTINCT worker FROM job WHERE state = 'running'")

# The promises of workers that are known to be gone end at once.
EXPIRE_LEASES = text("UPDATE job SET lease_until = now() WHERE state = 'running' AND worker = ANY(:workers)")

# Jobs that this worker started and will not finish (told to stop at once) go back, attempt uncounted.
RELEASE = text("""
    UPDATE job SET state = 'queued', attempts = attempts - 1, worker = NULL, lease_until = NULL,
        published_at = NULL
    WHERE state = 'running' AND worker = :worker
""")

# Pairs of sha256 and request_hash: answers that this very pipeline gave before, and known places.
FIND_ANSWERS = text("""
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(sha256 text, request_hash text)
    )
    SELECT g.sha256, g.request_hash, i.id AS image_id, p.id AS prediction_id, p.status,
           i.embedding_model_id = :embedding_model_id AS embedded,
           EXISTS (SELECT FROM label l WHERE l.image_id = i.id) AS known
    FROM given g
    JOIN image i USING (sha256)
    LEFT JOIN prediction p ON p.image_id = i.id AND p.pipeline_version = :pipeline_version
        AND p.request_hash = g.request_hash AND p.status <> 'failed'
""")

# Rows: one settled job each, with its image, label, prediction and trace where there are such; :ids are their jobs
# (known apart, so that the planner finds them by index). Everything is written in one statement and so in one
# transaction; running it twice leaves the same rows.
SAVE = text("""
    WITH given AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
            n integer, job_id uuid, state text, outcome text, reason text, detail text, reused boolean,
            retry_in_s double precision, image_id bigint, prediction_id bigint, image jsonb, label jsonb,
            prediction jsonb, trace jsonb)
    ), images AS (
        INSERT INTO image (sha256, format, width_px, height_px, size_bytes, taken_at, caption, data_mining,
                           metadata_notes, embedding, embedding_model_id)
        SELECT DISTINCT ON (r.sha256) r.sha256, r.format, r.width_px, r.height_px, r.size_bytes, r.taken_at,
               r.caption, r.data_mining, r.metadata_notes, CAST(r.embedding AS halfvec),
               r.embedding_model_id
        FROM given g, jsonb_to_record(g.image) AS r(
            sha256 text, format text, width_px integer, height_px integer, size_bytes bigint, taken_at timestamp,
            caption text, data_mining text, metadata_notes jsonb, embedding text, embedding_model_id bigint)
        WHERE g.image IS NOT NULL
        ORDER BY r.sha256, r.embedding IS NULL
        ON CONFLICT (sha256) DO UPDATE SET
            embedding = coalesce(excluded.embedding, image.embedding),
            embedding_model_id = coalesce(excluded.embedding_model_id, image.embedding_model_id)
        RETURNING id, sha256
    ), labels AS (
        INSERT INTO label (image_id, source, lat, lon, accuracy_m, country_code, region, city, geoname_id)
        SELECT DISTINCT ON (i.id, r.source)
               i.id, r.source, r.lat, r.lon, r.accuracy_m, r.country_code, r.region, r.city, r.geoname_id
        FROM given g
        JOIN images i ON i.sha256 = g.image->>'sha256',
        jsonb_to_record(g.label) AS r(
            source text, lat double precision, lon double precision, accuracy_m double precision,
            country_code text, region text, city text, geoname_id bigint)
        WHERE g.label IS NOT NULL
        ORDER BY i.id, r.source, g.n
        ON CONFLICT (image_id, source) WHERE source IN ('exif', 'xmp') DO NOTHING
    ), predictions AS (
        INSERT INTO prediction (image_id, status, reason, detail, lat, lon, radius_km, coverage, granularity,
                                country_code, region, city, geoname_id, stated_place, confidence, gate_score,
                                alternatives, suggestions, notes, pipeline_version, request_hash, model_version_id,
                                gate_version_id, prompt_hash, sampling, gazetteer_version, code_version,
                                answers_version, difficulty, calibration_id)
        SELECT DISTINCT ON (i.id, r.request_hash, r.status = 'failed')
               i.id, r.status, r.reason, r.detail, r.lat, r.lon, r.radius_km, r.coverage, r.granularity,
               r.country_code, r.region, r.city, r.geoname_id, r.stated_place, r.confidence, r.gate_score,
               r.alternatives, r.suggestions, r.notes, :pipeline_version, r.request_hash, :model_version_id,
               :gate_version_id, :prompt_hash, CAST(:sampling AS jsonb), :gazetteer_version, :code_version,
               :answers_version, r.difficulty, r.calibration_id
        FROM given g
        JOIN images i ON i.sha256 = g.image->>'sha256',
        jsonb_to_record(g.prediction) AS r(
            status text, reason text, detail text, lat double precision, lon double precision,
            radius_km double precision, coverage double precision, granularity text, country_code text,
            region text, city text, geoname_id bigint, stated_place text, confidence double precision,
            gate_score double precision, alternatives jsonb, suggestions jsonb, notes jsonb, request_hash text,
            difficulty jsonb, calibration_id bigint)
        WHERE g.prediction IS NOT NULL
        ORDER BY i.id, r.request_hash, r.status = 'failed', g.n
        ON CONFLICT (image_id, pipeline_version, request_hash) WHERE status <> 'failed'
        DO UPDATE SET request_hash = excluded.request_hash
        RETURNING id, image_id, request_hash, status
    ), matched AS (
        SELECT g.n, g.job_id, i.id AS image_id, p.id AS prediction_id
        FROM given g
        LEFT JOIN images i ON i.sha256 = g.image->>'sha256'
        LEFT JOIN predictions p ON p.image_id = i.id AND p.request_hash = g.prediction->>'request_hash'
            AND (p.status = 'failed') = (g.prediction->>'status' = 'failed')
    ), traces AS (
        INSERT INTO trace (prediction_id, reasoning, answer, cues, tokens, mean_logprob, finish_reason, samples)
        SELECT DISTINCT ON (m.prediction_id)
               m.prediction_id, r.reasoning, r.answer, r.cues, r.tokens, r.mean_logprob, r.finish_reason, r.samples
        FROM given g JOIN matched m USING (n),
        jsonb_to_record(g.trace) AS r(
            reasoning text, answer text, cues jsonb, tokens integer, mean_logprob real, finish_reason text,
            samples jsonb)
        WHERE g.trace IS NOT NULL AND m.prediction_id IS NOT NULL
        ORDER BY m.prediction_id, g.n
        ON CONFLICT (prediction_id) DO NOTHING
    )
    UPDATE job SET
        state = g.state, outcome = g.outcome, reason = g.reason, detail = g.detail, reused = g.reused,
        image_id = coalesce(m.image_id, g.image_id),
        prediction_id = coalesce(m.prediction_id, g.prediction_id),
        pipeline_version = :pipeline_version,
        due_at = CASE WHEN g.state = 'queued' THEN now() + make_interval(secs => g.retry_in_s) ELSE due_at END,
        published_at = CASE WHEN g.state = 'queued' THEN NULL ELSE published_at END,
        finished_at = CASE WHEN g.state = 'queued' THEN NULL ELSE now() END,
        lease_until = NULL, worker = NULL
    FROM given g JOIN matched m USING (n)
    WHERE job.id = g.job_id AND job.id = ANY(CAST(:ids AS uuid[]))
""")

# ---------------------------------------------------------------- known places

# Sets a known place by hand or by import, for an image that was seen before (by sha256).
ADD_LABEL = text("""
    INSERT INTO label (image_id, source, lat, lon, accuracy_m, country_code, region, city, geoname_id, author,
                       note)
    SELECT id, :source, :lat, :lon, :accuracy_m, :country_code, :region, :city, :geoname_id, :author, :note
    FROM image WHERE sha256 = :sha256
    RETURNING id
""")

# The content hash of what a job's uri held when it was settled.
SHA256_OF_URI = text("""
    SELECT i.sha256 FROM job j JOIN image i ON i.id = j.image_id WHERE j.uri = :uri
    ORDER BY j.finished_at DESC NULLS LAST LIMIT 1
""")

# ---------------------------------------------------------------- reading

# How a batch (NULL: everything) stands, by state, outcome and reason.
BATCH_SUMMARY = text("""
    SELECT state, outcome, reason, reused, count(*) AS jobs
    FROM job WHERE (CAST(:batch_id AS uuid) IS NULL OR batch_id = :batch_id)
    GROUP BY state, outcome, reason, reused
""")

# How many jobs of a batch are settled, and how many wait for a later try.
BATCH_PROGRESS = text("""
    SELECT count(*) FILTER (WHERE state IN ('done', 'failed', 'dead')) AS settled, count(*) AS jobs,
           count(*) FILTER (WHERE state = 'done') AS done,
           count(*) FILTER (WHERE state = 'queued' AND due_at > now()) AS later,
           CAST(extract(epoch FROM min(due_at) FILTER (WHERE state = 'queued' AND due_at > now()) - now())
                AS double precision) AS next_due_s
    FROM job WHERE batch_id = CAST(:batch_id AS uuid)
""")

# Everything that a report or an export says of each job of a batch or a collection (NULL: all), streamed.
READ_JOBS = text("""
    SELECT j.id AS job_id, c.name AS collection, j.uri, j.state, j.outcome, j.reused,
           coalesce(j.reason, l.reason) AS reason, coalesce(j.detail, l.detail) AS detail, j.finished_at,
           l.sha256, l.taken_at, l.caption, l.width_px, l.height_px,
           l.source, l.lat, l.lon, l.radius_km, l.coverage, l.granularity, l.country_code, l.region, l.city,
           l.geoname_id, l.stated_place, l.confidence, l.gate_score, l.model, l.model_version, l.untrained,
           l.pipeline_version, l.reasoning, l.predicted_lat, l.predicted_lon
    FROM job j
    JOIN collection c ON c.id = j.collection_id
    LEFT JOIN job_place l ON l.job_id = j.id
    WHERE (CAST(:batch_id AS uuid) IS NULL OR j.batch_id = :batch_id)
      AND (CAST(:collection AS text) IS NULL OR c.name = :collection)
    ORDER BY j.uri, j.id
""")

# What may contradict each other about each photograph of a collection (NULL: all), by folder and time: the known
# place that counts, the prediction of a trained model, the records. A folder is an address up to the last slash.
READ_CONFLICTING = text("""
    SELECT j.uri, regexp_replace(j.uri, '[^/]*$', '') AS folder, j.finished_at, i.taken_at,
           coalesce(j.hints->>'text', i.caption) AS caption, c.region AS collection_region,
           j.hints->>'region' AS job_region, l.lat, l.lon, l.source,
           CASE WHEN NOT m.untrained THEN p.lat END AS predicted_lat,
           CASE WHEN NOT m.untrained THEN p.lon END AS predicted_lon, p.radius_km AS predicted_radius_km
    FROM job j
    JOIN collection c ON c.id = j.collection_id
    JOIN image i ON i.id = j.image_id
    LEFT JOIN prediction p ON p.id = j.prediction_id AND p.status = 'located'
    LEFT JOIN model_version m ON m.id = p.model_version_id
    LEFT JOIN LATERAL (
        SELECT * FROM label WHERE label.image_id = j.image_id
        ORDER BY CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC, id DESC
        LIMIT 1
    ) l ON true
    WHERE CAST(:collection AS text) IS NULL OR c.name = :collection
    ORDER BY c.id, folder, i.taken_at, j.uri
""")

# Collections with their counts.
LIST_PROGRESS = text("SELECT * FROM collection_progress ORDER BY collection")

# Failures by reason, with an example.
LIST_FAILURES = text("""
    SELECT reason, count(*) AS jobs, min(uri) AS example FROM failure GROUP BY reason ORDER BY count(*) DESC
""")

# Jobs settled in the last minute: the rate that `status` shows.
RATE = text("SELECT count(*) AS settled FROM job WHERE finished_at > now() - make_interval(secs => :window_s)")

# ---------------------------------------------------------------- the database as broker

# Is pgmq's SQL installed?
PGMQ_INSTALLED = text("SELECT to_regclass('pgmq.meta') IS NOT NULL")

# One process installs it, the others wait.
PGMQ_INSTALL_LOCK = text("SELECT pg_advisory_xact_lock(7453285197)")

# ---------------------------------------------------------------- the gallery: photographs with a known place

# Written into the statement instead of sent beside it: an index counts only where the planner sees these values.
_MODEL_ID = bindparam("model_id", type_=BigInteger, literal_execute=True)
_DIMENSIONS = bindparam("dimensions", type_=Integer, literal_execute=True)
_EVERYWHERE = bindparam("everywhere", type_=Boolean, literal_execute=True)

# The nearest in a collection (everywhere: in all) by their embeddings of one model, with the place that counts
# (manual > exif, xmp > import, then the latest). Never the image :sha256 itself. An image that several collections
# hold may come several times.
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

# A collection's id, if there is one of that name.
COLLECTION_ID = text("SELECT id FROM collection WHERE name = :collection")

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

# ---------------------------------------------------------------- judging: known places against predictions

# The pipelines with predictions of images in a collection (NULL: all) whose place is known, the latest first.
JUDGED_PIPELINES = text("""
    SELECT p.pipeline_version, m.name AS model, m.version AS model_version, m.untrained,
           count(*) AS predictions, max(p.created_at) AS latest
    FROM prediction p JOIN model_version m ON m.id = p.model_version_id
    WHERE EXISTS (SELECT FROM label l WHERE l.image_id = p.image_id)
      AND (CAST(:collection AS text) IS NULL OR EXISTS (
          SELECT FROM job j JOIN collection c ON c.id = j.collection_id
          WHERE j.image_id = p.image_id AND c.name = :collection))
    GROUP BY p.pipeline_version, m.name, m.version, m.untrained
    ORDER BY latest DESC, p.pipeline_version
""")

# Each image with a known place and a prediction of this pipeline: the place that counts (manual > exif, xmp >
# import, then the latest) beside the latest prediction, an answer before a failure.
LABELS_AGAINST_PREDICTIONS = text("""
    SELECT i.sha256, l.id AS label_id, l.lat AS true_lat, l.lon AS true_lon, l.country_code AS true_country_code,
           l.region AS true_region, l.city AS true_city, l.geoname_id AS true_geoname_id,
           p.id AS prediction_id, p.status, p.reason, p.detail, p.lat, p.lon, p.radius_km, p.coverage,
           p.granularity, p.country_code, p.region, p.city, p.geoname_id, p.confidence, t.answer, t.cues
    FROM (
        SELECT DISTINCT ON (image_id) * FROM prediction
        WHERE pipeline_version = :pipeline_version
        ORDER BY image_id, status = 'failed', created_at DESC, id DESC
    ) p
    JOIN image i ON i.id = p.image_id
    JOIN LATERAL (
        SELECT * FROM label WHERE label.image_id = p.image_id
        ORDER BY CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC, id DESC LIMIT 1
    ) l ON true
    LEFT JOIN trace t ON t.prediction_id = p.id
    WHERE CAST(:collection AS text) IS NULL OR EXISTS (
        SELECT FROM job j JOIN collection c ON c.id = j.collection_id
        WHERE j.image_id = p.image_id AND c.name = :collection)
    ORDER BY i.sha256
""")

# How many images have a known place but no prediction of this pipeline.
LABELS_NOT_ASKED = text("""
    SELECT count(*) FROM image i
    WHERE EXISTS (SELECT FROM label l WHERE l.image_id = i.id)
      AND NOT EXISTS (
          SELECT FROM prediction p WHERE p.image_id = i.id AND p.pipeline_version = :pipeline_version)
      AND (CAST(:collection AS text) IS NULL OR EXISTS (
          SELECT FROM job j JOIN collection c ON c.id = j.collection_id
          WHERE j.image_id = i.id AND c.name = :collection))
""")

# ---------------------------------------------------------------- calibrating: how far off an answer may be

# What workers use whose answers are of this version: of each collection (NULL: all others) the newest, unless it
# has expired.
CALIBRATIONS_IN_FORCE = text("""
    SELECT * FROM (
        SELECT DISTINCT ON (c.collection_id) c.id, c.version, n.name AS collection, c.parameters, c.expires_at
        FROM calibration c LEFT JOIN collection n ON n.id = c.collection_id
        WHERE c.answers_version = :answers_version
        ORDER BY c.collection_id, c.id DESC
    ) newest
    WHERE expires_at > now() ORDER BY id
""")

# Returns its id.
ADD_CALIBRATION = text("""
    INSERT INTO calibration (model_version_id, version, coverage, parameters, collection_id, answers_version,
                             photographs, clusters, figures, expires_at)
    VALUES (:model_version_id, :version, :coverage, CAST(:parameters AS jsonb),
            (SELECT id FROM collection WHERE name = :collection), :answers_version, :photographs, :clusters,
            CAST(:figures AS jsonb), now() + make_interval(days => :days))
    RETURNING id
""")

# All calibrations, with where they stand; the latest first.
LIST_CALIBRATIONS = text("SELECT * FROM calibration_standing ORDER BY calibration_id DESC LIMIT :limit")

# What could be calibrated: answers about images in a collection (NULL: all) whose place is known, by their
# version, the latest first.
CALIBRATABLE = text("""
    SELECT coalesce(p.answers_version, p.pipeline_version) AS answers_version, p.model_version_id, m.name AS model,
           m.version AS model_version, m.untrained, m.folder IS NOT NULL AS registered,
           count(*) AS answers, count(p.difficulty) AS with_difficulty, max(p.created_at) AS latest
    FROM prediction p JOIN model_version m ON m.id = p.model_version_id
    WHERE p.status <> 'failed' AND EXISTS (SELECT FROM label l WHERE l.image_id = p.image_id)
      AND (CAST(:collection AS text) IS NULL OR EXISTS (
          SELECT FROM job j JOIN collection c ON c.id = j.collection_id
          WHERE j.image_id = p.image_id AND c.name = :collection))
    GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY latest DESC, 1
""")

# The latest answer of this version for each image. A place that was chosen and then refused for its radius stands
# first among the alternatives: without it only easy photographs would be left.
ANSWERS_TO_CALIBRATE = text("""
    SELECT DISTINCT ON (image_id) image_id, difficulty,
           coalesce(lat, CAST(alternatives->0->>'lat' AS double precision)) AS lat,
           coalesce(lon, CAST(alternatives->0->>'lon' AS double precision)) AS lon
    FROM prediction
    WHERE coalesce(answers_version, pipeline_version) = :answers_version AND model_version_id = :model_version_id
      AND status <> 'failed'
    ORDER BY image_id, created_at DESC, id DESC
""")

# ---------------------------------------------------------------- curating: what may be learnt from

# One curation at a time; the lock ends with the transaction. False: another one is at work.
CURATION_LOCK = text("SELECT pg_try_advisory_xact_lock(7453285198)")

# Whoever waits for a lock holds up all who come after; so not for long. Ends with the transaction.
SHORT_LOCK_WAITS = text("SELECT set_config('lock_timeout', '10s', true)")

# Waits until every label that is being written is there, so that no id below the highest appears later.
LABELS_SETTLED = text("LOCK TABLE label IN SHARE MODE")

# The newest label; 0 where there is none.
NEWEST_LABEL = text("SELECT coalesce(max(id), 0) FROM label")

# How far the last curation of a collection (NULL: of everything) looked.
LAST_CURATION = text("""
    SELECT labels_until FROM curation WHERE collection IS NOT DISTINCT FROM CAST(:collection AS text)
    ORDER BY id DESC LIMIT 1
""")

# Each image with a known place: the label that counts (manual > exif, xmp > import, then the latest) among those
# up to :until; whether it came after :since_label and :since (NULL: always) and belongs to :collection (NULL: to
# any); its addresses; whether every collection that holds it has consented; and the side it had in earlier
# curations.
KNOWN_PLACES = text("""
    SELECT i.id AS image_id, i.sha256, i.taken_at, i.data_mining, l.id AS label_id, l.source, l.lat, l.lon,
           l.accuracy_m, l.country_code, l.region, l.city, l.geoname_id,
           (CAST(:since_label AS bigint) IS NULL OR l.id > :since_label)
               AND (CAST(:since AS timestamptz) IS NULL OR l.created_at >= :since) AS is_new,
           CAST(:collection AS text) IS NULL OR coalesce(h.inside, false) AS inside,
           coalesce(h.uris, '{}') AS uris, coalesce(h.consented, false) AS consented, b.side AS before
    FROM image i
    JOIN (
        SELECT DISTINCT ON (image_id) * FROM label WHERE id <= :until
        ORDER BY image_id, CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC,
                 id DESC
    ) l ON l.image_id = i.id
    LEFT JOIN (
        SELECT j.image_id, array_agg(DISTINCT j.uri) AS uris, bool_and(c.training_consent) AS consented,
               bool_or(c.name = :collection) AS inside
        FROM job j JOIN collection c ON c.id = j.collection_id WHERE j.image_id IS NOT NULL GROUP BY j.image_id
    ) h ON h.image_id = i.id
    LEFT JOIN (
        SELECT image_id, CASE WHEN bool_or(side = 'held_out') THEN 'held_out' ELSE 'train' END AS side
        FROM curation_member GROUP BY image_id
    ) b ON b.image_id = i.id
    ORDER BY i.sha256
""")

# The gate's embeddings of these images (:ids), with the gate that made each.
EMBEDDINGS = text("""
    SELECT id AS image_id, embedding_model_id, CAST(embedding AS text) AS embedding FROM image
    WHERE id = ANY(CAST(:ids AS bigint[])) AND embedding IS NOT NULL AND embedding_model_id IS NOT NULL
""")

# What a model (:model_version_id) last came to for each image, by this prompt; not where the gate kept it from
# being asked (:gate_reason), nor where it failed for a cause other than its own words (:own_failure).
GATE_OUTCOMES = text("""
    SELECT DISTINCT ON (image_id) image_id, lat, lon FROM prediction
    WHERE model_version_id = :model_version_id AND prompt_hash = :prompt_hash
        AND reason IS DISTINCT FROM :gate_reason AND (status <> 'failed' OR reason = :own_failure)
    ORDER BY image_id, created_at DESC, id DESC
""")

# How many images the gate kept from this model.
GATE_REFUSALS = text("""
    SELECT count(DISTINCT image_id) FROM prediction
    WHERE model_version_id = :model_version_id AND reason = :gate_reason
""")

# The version that a base model answered as last; nothing where it has not answered here.
BASE_VERSION = text("""
    SELECT id, version FROM model_version WHERE kind = 'lvlm' AND name = :base AND folder IS NULL
    ORDER BY id DESC LIMIT 1
""")

# The id of a model version, if it has a row.
FIND_MODEL_VERSION = text("""
    SELECT id FROM model_version WHERE kind = :kind AND name = :name AND version = :version
""")

# May models be trained on a collection's photographs? Returns nothing where there is no such collection.
SET_TRAINING_CONSENT = text("""
    UPDATE collection
    SET training_consent = :granted, training_consent_at = now(), training_consent_by = :granted_by
    WHERE name = :name RETURNING id
""")

# What a collection asks of its places (NULL: nothing). Returns nothing where there is no such collection.
SET_COLLECTION_RULES = text("""
    UPDATE collection SET region = :region, max_radius_km = :max_radius_km WHERE name = :name RETURNING id
""")

# What it asks.
COLLECTION_RULES = text("SELECT region, max_radius_km FROM collection WHERE name = :name")

# The names of all collections.
COLLECTION_NAMES = text("SELECT name FROM collection ORDER BY name")

# The curation with this hash, if it is stored.
CURATION_BY_HASH = text("SELECT id FROM curation WHERE hash = :hash")

ADD_CURATION = text("""
    INSERT INTO curation (hash, collection, labels_until, parameters, labels_in, train, held_out, dropped)
    VALUES (:hash, :collection, :labels_until, CAST(:parameters AS jsonb), :labels_in, :train, :held_out,
            CAST(:dropped AS jsonb))
    RETURNING id
""")

# Rows: the members of a curation.
ADD_CURATION_MEMBERS = text("""
    INSERT INTO curation_member (curation_id, image_id, side, sha256, label_id, source, lat, lon, country_code,
                                 region, city, geoname_id, cell, uri)
    SELECT :curation_id, r.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        image_id bigint, side text, sha256 text, label_id bigint, source text, lat double precision,
        lon double precision, country_code text, region text, city text, geoname_id bigint, cell text, uri text)
""")

# One curation, by :id or (NULL) the latest.
READ_CURATION = text("""
    SELECT id, hash, collection, labels_until, parameters, labels_in, train, held_out, dropped, created_at
    FROM curation WHERE CAST(:id AS bigint) IS NULL OR id = :id ORDER BY id DESC LIMIT 1
""")

# Its members, with what their rights are today: consent may have been withdrawn since.
READ_CURATION_MEMBERS = text("""
    SELECT m.image_id, m.side, m.sha256, m.label_id, m.source, m.lat, m.lon, m.country_code, m.region, m.city,
           m.geoname_id, m.cell, m.uri, i.data_mining,
           coalesce((SELECT bool_and(c.training_consent) FROM job j JOIN collection c ON c.id = j.collection_id
                     WHERE j.image_id = m.image_id), false) AS consented
    FROM curation_member m JOIN image i ON i.id = m.image_id
    WHERE m.curation_id = :id ORDER BY m.sha256
""")

# What is held out in any curation so far, each with the place of the latest one, with what its rights are today.
HELD_OUT_MEMBERS = text("""
    SELECT DISTINCT ON (m.sha256)
           m.image_id, m.side, m.sha256, m.label_id, m.source, m.lat, m.lon, m.country_code, m.region, m.city,
           m.geoname_id, m.cell, m.uri, i.data_mining,
           coalesce((SELECT bool_and(c.training_consent) FROM job j JOIN collection c ON c.id = j.collection_id
                     WHERE j.image_id = m.image_id), false) AS consented
    FROM curation_member m JOIN image i ON i.id = m.image_id
    WHERE m.side = 'held_out' ORDER BY m.sha256, m.curation_id DESC
""")

# ---------------------------------------------------------------- training runs

# One training at a time on this database. Held by a session of the run's own, so that it ends with the process.
TRAINING_LOCK = text("SELECT pg_try_advisory_lock(7453285199)")

TRAINING_UNLOCK = text("SELECT pg_advisory_unlock(7453285199)")

# Does any session hold it? (Postgres shows a 64-bit key in two halves.)
TRAINING_AT_WORK = text("""
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (CAST(classid AS bigint) << 32 | CAST(objid AS bigint)) = 7453285199)
""")

# The run that is queued or running; there is at most one.
OPEN_TRAINING_RUN = text("SELECT * FROM training_run WHERE state IN ('queued', 'running')")

# The run that a message started, whatever became of it.
TRAINING_RUN_OF_MESSAGE = text("SELECT * FROM training_run WHERE message_id = :message_id")

TRAINING_RUN = text("SELECT * FROM training_run WHERE id = :id")

ADD_TRAINING_RUN = text("""
    INSERT INTO training_run (asked_by, message_id, base, recipe, collection, settings)
    VALUES (:asked_by, :message_id, :base, :recipe, :collection, CAST(:settings AS jsonb))
    RETURNING id
""")

# Begins a queued run, or goes on with one; :lost says that its process had died.
START_TRAINING_RUN = text("""
    UPDATE training_run SET state = 'running', worker = :worker, losses = losses + CAST(:lost AS integer),
        started_at = coalesce(started_at, now()), heartbeat_at = now(), detail = NULL
    WHERE id = :id RETURNING *
""")

# Its process is alive and holds it. Returns nothing where it is another's by now.
TRAINING_HEARTBEAT = text("""
    UPDATE training_run SET heartbeat_at = now() WHERE id = :id AND state = 'running' AND worker = :worker
    RETURNING id
""")

# Has somebody asked to end it?
TRAINING_CANCEL_REQUESTED = text("SELECT cancel_requested_at IS NOT NULL FROM training_run WHERE id = :id")

# Where it stands. Keys that are not given stay.
TRAINING_PROGRESS = text("""
    UPDATE training_run SET progress = progress || CAST(:progress AS jsonb), heartbeat_at = now() WHERE id = :id
""")

# What has come of it so far. Keys and columns that are not given stay.
TRAINING_FOUND = text("""
    UPDATE training_run SET metrics = metrics || CAST(:metrics AS jsonb),
        curation_id = coalesce(:curation_id, curation_id),
        base_version_id = coalesce(:base_version_id, base_version_id),
        model_version_id = coalesce(:model_version_id, model_version_id)
    WHERE id = :id
""")

# Ends it, or (state queued) leaves it to whoever comes next.
END_TRAINING_RUN = text("""
    UPDATE training_run SET state = :state, outcome = :outcome, reason = :reason, detail = :detail,
        finished_at = CASE WHEN CAST(:state AS text) = 'queued' THEN NULL ELSE now() END
    WHERE id = :id AND state IN ('queued', 'running')
""")

# Of looks by the schedule that led to no training, one after the other, only the last is kept: no row an hour.
FORGET_EARLIER_LOOKS = text("""
    WITH look AS (
        SELECT id FROM training_run
        WHERE asked_by = 'schedule' AND curation_id IS NULL
          AND (outcome IS NOT DISTINCT FROM 'skipped' OR state = 'failed')
    )
    DELETE FROM training_run
    WHERE id < :id AND id IN (SELECT id FROM look) AND EXISTS (SELECT FROM look WHERE id = :id)
      AND id > coalesce((SELECT max(id) FROM training_run WHERE id < :id AND id NOT IN (SELECT id FROM look)), 0)
""")

# Asks the open run to end. Returns its id.
CANCEL_TRAINING = text("""
    UPDATE training_run SET cancel_requested_at = coalesce(cancel_requested_at, now())
    WHERE state IN ('queued', 'running') RETURNING id
""")

# The runs of a base, the latest first, with what they learnt from.
LIST_TRAINING_RUNS = text("""
    SELECT r.*, c.train AS labels, c.held_out FROM training_run r LEFT JOIN curation c ON c.id = r.curation_id
    ORDER BY r.id DESC LIMIT :limit
""")

# Up to which label a served model has learnt: that of its run or of the runs of those that it came from, in this
# collection (NULL: in all). NULL: it has learnt nothing here.
LEARNT_UNTIL = text("""
    WITH RECURSIVE line AS (
        SELECT r.id, r.base_version_id, r.curation_id FROM training_run r
        WHERE r.id = (SELECT max(id) FROM training_run WHERE model_version_id = :model_version_id)
        UNION ALL
        SELECT r.id, r.base_version_id, r.curation_id FROM line l JOIN training_run r
        ON r.id = (SELECT max(id) FROM training_run WHERE model_version_id = l.base_version_id AND id < l.id)
    )
    SELECT max(c.labels_until) FROM line JOIN curation c ON c.id = line.curation_id
    WHERE c.collection IS NULL OR c.collection = CAST(:collection AS text)
""")

# How many photographs got a label since the last run for this base that chose its photographs, however it ended.
NEW_LABELS = text("""
    SELECT count(DISTINCT l.image_id) FROM label l
    WHERE l.id > coalesce((
        SELECT max(c.labels_until) FROM training_run r JOIN curation c ON c.id = r.curation_id
        WHERE r.base = :base AND (c.collection IS NULL OR c.collection = CAST(:collection AS text))), 0)
      AND (CAST(:collection AS text) IS NULL OR EXISTS (
          SELECT FROM job j JOIN collection h ON h.id = j.collection_id
          WHERE j.image_id = l.image_id AND h.name = :collection))
""")
