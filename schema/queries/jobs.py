"""Jobs: enqueueing, dispatching, working. The life of a photograph in the queue."""

from sqlalchemy import text

# ---------------------------------------------------------------- enqueueing

# Rows: id, uri, source_tag, hints, verify, priority. Makes new jobs; names known ones in this batch and queues
# them again where the source, the request or (when given) the pipeline has changed since they were settled.
# A running job keeps what it was started with, so that a change shows the next time. A sender that gives no tag
# does not know the source's state, and says nothing of a change. Returns the ids of each kind but `new`, which is
# all the rest. `taken`: the job is another photograph's, and is not touched.
ENQUEUE = text("""
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
            id uuid, uri text, source_tag text, hints jsonb, verify boolean, priority smallint)
    ), before AS (
        SELECT j.id, j.state,
               (g.source_tag IS NOT NULL AND j.source_tag IS DISTINCT FROM g.source_tag)
               OR j.hints <> g.hints OR j.verify <> g.verify
               OR (CAST(:pipeline_version AS text) IS NOT NULL
                   AND j.pipeline_version IS DISTINCT FROM :pipeline_version
                   AND j.state IN ('done', 'failed')) AS changed
        FROM given g, LATERAL (SELECT * FROM job WHERE job.id = g.id LIMIT 1) j  -- one by one, by the key
    ), written AS (
        INSERT INTO job (id, collection_id, uri, source_tag, hints, verify, priority, batch_id)
        SELECT id, :collection_id, uri, source_tag, hints, verify, priority, CAST(:batch_id AS uuid)
        FROM given ORDER BY id
        ON CONFLICT (id) DO UPDATE SET
            batch_id = coalesce(excluded.batch_id, job.batch_id),
            source_tag = CASE WHEN job.state = 'running' THEN job.source_tag
                              ELSE coalesce(excluded.source_tag, job.source_tag) END,
            hints = CASE WHEN job.state = 'running' THEN job.hints ELSE excluded.hints END,
            verify = CASE WHEN job.state = 'running' THEN job.verify ELSE excluded.verify END,
            priority = excluded.priority
        WHERE job.uri = excluded.uri AND job.collection_id = excluded.collection_id
        RETURNING id
    )
    SELECT CASE WHEN w.id IS NULL THEN 'taken'
                WHEN b.state IN ('queued', 'running') THEN 'waiting'
                WHEN b.changed THEN 'changed'
                ELSE b.state END AS kind,
           array_agg(CAST(g.id AS text)) AS ids
    FROM given g LEFT JOIN written w USING (id) LEFT JOIN before b USING (id)
    WHERE w.id IS NULL OR b.id IS NOT NULL GROUP BY 1
""")

# Puts settled jobs back into the queue, as if they had never been tried.
REQUEUE = text("""
    UPDATE job SET state = 'queued', outcome = NULL, reason = NULL, detail = NULL, reused = false, attempts = 0,
        losses = 0, due_at = now(), published_at = NULL, lease_until = NULL, worker = NULL, finished_at = NULL,
        put_off_since = NULL
    WHERE id = ANY(CAST(:ids AS uuid[])) AND state IN ('done', 'failed', 'dead')
""")

# The same for every failed or dead job of a collection (NULL: all) with a reason (NULL: any but `cancelled`, which
# a person meant). Returns the count.
RETRY_FAILED = text("""
    WITH chosen AS (
        SELECT j.id FROM job j JOIN collection c ON c.id = j.collection_id
        WHERE j.state IN ('failed', 'dead')
          AND (CAST(:collection AS text) IS NULL OR c.name = :collection)
          AND (j.reason = :reason OR CAST(:reason AS text) IS NULL AND j.reason <> 'cancelled')
        ORDER BY j.id FOR UPDATE OF j
    ), again AS (
        UPDATE job SET state = 'queued', reason = NULL, detail = NULL, attempts = 0, losses = 0, due_at = now(),
            published_at = NULL, lease_until = NULL, worker = NULL, finished_at = NULL, put_off_since = NULL,
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

# Takes rows back whose message could not be handed to the broker.
UNPUBLISH = text("""
    UPDATE job SET published_at = NULL WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'queued'
""")

# ---------------------------------------------------------------- working

# Starts queued jobs (:ids) and counts the attempt, committed before any work is done. Jobs that are not returned
# are taken, settled, unknown, or suspects: jobs that were lost are started only for a worker that has none but
# such in work (:suspects), and only once the dispatcher has published them again. Or their collection is paused:
# those are handed back, suspects too, to be published again when it goes on.
CLAIM = text("""
    WITH wanted AS (
        SELECT j.id, c.paused_at IS NOT NULL AS held FROM job j JOIN collection c ON c.id = j.collection_id
        WHERE j.id = ANY(CAST(:ids AS uuid[])) AND j.state = 'queued'
          AND (j.losses = 0 OR (j.published_at IS NOT NULL AND (:suspects OR c.paused_at IS NOT NULL)))
        ORDER BY j.id FOR UPDATE OF j
    ), handed_back AS (
        UPDATE job SET published_at = NULL FROM wanted WHERE job.id = wanted.id AND wanted.held
    )
    UPDATE job SET state = 'running', attempts = attempts + 1, worker = :worker, started_at = now(),
        lease_until = now() + make_interval(secs => :lease_s)
    FROM wanted, collection c WHERE job.id = wanted.id AND NOT wanted.held AND c.id = job.collection_id
    RETURNING job.id, job.uri, job.hints, job.verify, job.attempts, job.losses, c.name AS collection, c.region,
        c.max_radius_km,
        CAST(coalesce(extract(epoch FROM now() - job.put_off_since), 0) AS double precision) AS put_off_s
""")

# Rows: id, collection, uri, hints, verify, priority. Jobs that a foreign producer sent straight to the workers:
# made and started at once, or only made where their collection is paused. What is not returned is not started.
CLAIM_FOREIGN = text("""
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
            id uuid, collection text, uri text, hints jsonb, verify boolean, priority smallint)
    ), started AS (
        INSERT INTO job (id, collection_id, uri, hints, verify, priority, state, attempts, worker, started_at,
                         published_at, lease_until)
        SELECT g.id, c.id, g.uri, g.hints, g.verify, g.priority, t.state, CASE WHEN t.begins THEN 1 ELSE 0 END,
               CASE WHEN t.begins THEN :worker END, CASE WHEN t.begins THEN now() END,
               CASE WHEN t.begins THEN now() END,
               CASE WHEN t.begins THEN now() + make_interval(secs => :lease_s) END
        FROM given g JOIN collection c ON c.name = g.collection,
        LATERAL (SELECT c.paused_at IS NULL AS begins,
                        CASE WHEN c.paused_at IS NULL THEN 'running' ELSE 'queued' END AS state) t
        ORDER BY g.id
        ON CONFLICT (id) DO NOTHING
        RETURNING id, uri, hints, verify, attempts, losses, collection_id, state
    )
    SELECT s.id, s.uri, s.hints, s.verify, s.attempts, s.losses, c.name AS collection, c.region, c.max_radius_km,
           CAST(0 AS double precision) AS put_off_s
    FROM started s JOIN collection c ON c.id = s.collection_id
    WHERE s.state = 'running'
""")

# Which of these job ids exist, and which of them wait to be tried apart, since a worker died with them.
KNOWN_JOBS = text("""
    SELECT id, uri, losses, state = 'queued' AND losses > 0 AND published_at IS NOT NULL AS is_suspect
    FROM job WHERE id = ANY(CAST(:ids AS uuid[]))
""")

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

# Pairs of sha256 and request_hash: answers that this very pipeline gave before, known places, and what was erased
# and may not come back.
FIND_ANSWERS = text("""
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(sha256 text, request_hash text)
    )
    SELECT g.sha256, g.request_hash, i.id AS image_id, p.id AS prediction_id, p.status,
           i.embedding_model_id = :embedding_model_id AS embedded,
           EXISTS (SELECT FROM label l WHERE l.image_id = i.id) AS known, f.sha256 IS NOT NULL AS forgotten
    FROM given g
    LEFT JOIN forgotten f USING (sha256)
    LEFT JOIN image i ON i.sha256 = g.sha256
    LEFT JOIN prediction p ON p.image_id = i.id AND p.pipeline_version = :pipeline_version
        AND p.request_hash = g.request_hash AND p.status <> 'failed'
    WHERE i.id IS NOT NULL OR f.sha256 IS NOT NULL
""")

# Rows: one settled job each, with its image, label, prediction and trace where there are such; :ids are their jobs
# (known apart, so that the planner finds them by index). Everything is written in one statement and so in one
# transaction; running it twice leaves the same rows. The job keeps the worker's name: it says who settled it. What
# was erased while it was in work ends as forgotten: whoever erases holds the tables, so that this sees either the
# hash or nothing of the erasure. The images that jobs get and those that they had (a trigger locks them: they may
# leave the gallery) are held beforehand, in one order for all, so that no two groups wait for each other.
SAVE = text("""
    WITH sent AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
            n integer, job_id uuid, state text, outcome text, reason text, detail text, reused boolean,
            retry_in_s double precision, untried boolean, image_id bigint, prediction_id bigint, image jsonb,
            label jsonb, prediction jsonb, trace jsonb)
    ), given AS MATERIALIZED (
        SELECT s.* FROM sent s
        WHERE NOT EXISTS (SELECT FROM forgotten f WHERE f.sha256 = s.image->>'sha256')
          AND (s.image_id IS NULL OR EXISTS (SELECT FROM image i WHERE i.id = s.image_id))
        UNION ALL
        SELECT s.n, s.job_id, 'failed', NULL, 'forgotten', '`globetag forget` erased it while it was in work.',
               false, 0, false, NULL, NULL, NULL, NULL, NULL, NULL
        FROM sent s
        WHERE EXISTS (SELECT FROM forgotten f WHERE f.sha256 = s.image->>'sha256')
           OR (s.image_id IS NOT NULL AND NOT EXISTS (SELECT FROM image i WHERE i.id = s.image_id))
    ), held AS MATERIALIZED (
        SELECT id FROM image
        WHERE id = ANY(ARRAY(
            SELECT i.id FROM image i WHERE i.sha256 = ANY(ARRAY(SELECT g.image->>'sha256' FROM given g))
            UNION SELECT j.image_id FROM job j WHERE j.id = ANY(CAST(:ids AS uuid[])) AND j.image_id IS NOT NULL))
        ORDER BY sha256 FOR NO KEY UPDATE
    ), images AS (
        INSERT INTO image (sha256, format, width_px, height_px, size_bytes, taken_at, caption, data_mining,
                           metadata_notes, embedding, embedding_model_id)
        SELECT DISTINCT ON (r.sha256) r.sha256, r.format, r.width_px, r.height_px, r.size_bytes, r.taken_at,
               r.caption, r.data_mining, r.metadata_notes, CAST(r.embedding AS halfvec),
               r.embedding_model_id
        FROM given g, jsonb_to_record(g.image) AS r(
            sha256 text, format text, width_px integer, height_px integer, size_bytes bigint, taken_at timestamp,
            caption text, data_mining text, metadata_notes jsonb, embedding text, embedding_model_id bigint)
        WHERE g.image IS NOT NULL AND (SELECT count(*) FROM held) >= 0
        ORDER BY r.sha256, r.embedding IS NULL
        ON CONFLICT (sha256) DO UPDATE SET
            embedding = coalesce(excluded.embedding, image.embedding),
            embedding_model_id = coalesce(excluded.embedding_model_id, image.embedding_model_id)
        RETURNING id, sha256, precision_km
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
                                answers_version, difficulty, calibration_id, cell_lat, cell_lon, known)
        SELECT DISTINCT ON (i.id, r.request_hash, r.status = 'failed')
               i.id, r.status, r.reason, r.detail, r.lat, r.lon, r.radius_km, r.coverage, r.granularity,
               r.country_code, r.region, r.city, r.geoname_id, r.stated_place, r.confidence, r.gate_score,
               r.alternatives, r.suggestions, r.notes, :pipeline_version, r.request_hash, :model_version_id,
               :gate_version_id, :prompt_hash, CAST(:sampling AS jsonb), :gazetteer_version, :code_version,
               :answers_version, r.difficulty, r.calibration_id,
               CASE WHEN i.precision_km IS NOT NULL THEN (precision_cell(r.lat, r.lon, i.precision_km))[1] END,
               CASE WHEN i.precision_km IS NOT NULL THEN (precision_cell(r.lat, r.lon, i.precision_km))[2] END,
               EXISTS (SELECT FROM label l WHERE l.image_id = i.id)
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
        INSERT INTO trace (prediction_id, reasoning, answer, cues, tokens, mean_logprob, finish_reason, samples,
                           injected_text)
        SELECT DISTINCT ON (m.prediction_id)
               m.prediction_id, r.reasoning, r.answer, r.cues, r.tokens, r.mean_logprob, r.finish_reason,
               r.samples, coalesce(r.injected_text, '[]'::jsonb)
        FROM given g JOIN matched m USING (n),
        jsonb_to_record(g.trace) AS r(
            reasoning text, answer text, cues jsonb, tokens integer, mean_logprob real, finish_reason text,
            samples jsonb, injected_text jsonb)
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
        attempts = CASE WHEN g.untried THEN greatest(attempts - 1, 0) ELSE attempts END,
        put_off_since = CASE WHEN g.state = 'queued'
                             THEN coalesce(put_off_since, CASE WHEN g.untried THEN now() END) END,
        published_at = CASE WHEN g.state = 'queued' THEN NULL ELSE published_at END,
        finished_at = CASE WHEN g.state = 'queued' THEN NULL ELSE now() END,
        lease_until = NULL
    FROM given g JOIN matched m USING (n)
    WHERE job.id = g.job_id AND job.id = ANY(CAST(:ids AS uuid[]))
""")
