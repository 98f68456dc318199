"""What the HTTP interface asks: submissions that are sent again, how much waits, what became of one job."""

from sqlalchemy import text

# One request with a caller's key at a time, in all processes, until the transaction ends. False: another has it.
TRY_KEY = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:caller || chr(10) || :key, 7))")

# What was answered to a caller's key, unless that is too long ago.
FIND_ANSWER = text("""
    SELECT fingerprint, answer FROM idempotency_key
    WHERE caller = :caller AND key = :key AND created_at > now() - make_interval(hours => :kept_hours)
""")

# Keeps an answer, and clears some that are kept no longer.
KEEP_ANSWER = text("""
    WITH old AS (
        SELECT caller, key FROM idempotency_key
        WHERE created_at <= now() - make_interval(hours => :kept_hours) AND (caller, key) <> (:caller, :key)
        ORDER BY created_at LIMIT 100 FOR UPDATE SKIP LOCKED
    ), cleared AS (
        DELETE FROM idempotency_key k USING old WHERE (k.caller, k.key) = (old.caller, old.key)
    )
    INSERT INTO idempotency_key (caller, key, fingerprint, answer)
    VALUES (:caller, :key, :fingerprint, CAST(:answer AS jsonb))
    ON CONFLICT (caller, key) DO UPDATE SET
        fingerprint = excluded.fingerprint, answer = excluded.answer, created_at = now()
""")

# How many jobs are queued, counted up to :limit: the look at a full queue costs no more than one at a short one.
COUNT_QUEUED = text("SELECT count(*) FROM (SELECT FROM job WHERE state = 'queued' LIMIT :limit) AS queued")

# How jobs stand.
JOB_STATES = text("SELECT id, state FROM job WHERE id = ANY(CAST(:ids AS uuid[]))")

# What a caller is told of a job. Neither address nor detail: both may hold what is not the caller's.
READ_JOB = text("""
    SELECT j.id AS job_id, c.name AS collection, j.state, j.outcome,
           coalesce(j.reason, CASE WHEN j.state = 'done' THEN l.reason END) AS reason,
           j.created_at, j.finished_at, l.source, l.lat, l.lon, l.radius_km, l.coverage, l.granularity,
           l.country_code, l.region, l.city, l.geoname_id, l.confidence, l.untrained, j.pipeline_version
    FROM job j
    JOIN collection c ON c.id = j.collection_id
    LEFT JOIN job_place l ON l.job_id = j.id
    WHERE j.id = CAST(:job_id AS uuid)
""")
