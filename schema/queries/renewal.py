"""Renewals: calibrations that are made anew without a person."""

from sqlalchemy import text

# One process renews at a time; held by its session, so that it ends with the process. False: another one does.
RENEWAL_LOCK = text("SELECT pg_try_advisory_lock(7453285211)")

RENEWAL_UNLOCK = text("SELECT pg_advisory_unlock(7453285211)")

# The base itself, as the last that answered here under this name; nothing where it never has.
BASE_ITSELF = text("""
    SELECT id, untrained FROM model_version WHERE kind = 'lvlm' AND name = :base AND folder IS NULL
    ORDER BY id DESC LIMIT 1
""")

# The version of the newest answers of a model. Its rows are among the last ones where it serves.
NEWEST_ANSWERS = text("""
    SELECT coalesce(answers_version, pipeline_version) AS answers_version FROM prediction
    WHERE model_version_id = :model_version_id ORDER BY id DESC LIMIT 1
""")

# For each collection (NULL: all others) how its newest calibration was made, for whatever version of this base;
# and whether one for the answers :answers_version is in force that has more than a tenth of its time before it.
CALIBRATED_BEFORE = text("""
    SELECT DISTINCT ON (c.collection_id)
           n.name AS collection, c.coverage, CAST(c.figures->>'max_risk' AS double precision) AS max_risk,
           CAST(c.figures->>'seed' AS integer) AS seed, c.model_version_id,
           CAST(ceil(extract(epoch FROM c.expires_at - c.created_at) / 86400 - 0.1) AS integer) AS days,
           coalesce(s.expires_at > now(), false) AS in_force,
           coalesce(s.expires_at - now() > (s.expires_at - s.created_at) / 10, false) AS fresh
    FROM calibration c
    JOIN model_version m ON m.id = c.model_version_id
    LEFT JOIN collection n ON n.id = c.collection_id
    LEFT JOIN LATERAL (
        SELECT * FROM calibration a
        WHERE a.answers_version = :answers_version AND a.collection_id IS NOT DISTINCT FROM c.collection_id
        ORDER BY a.id DESC LIMIT 1
    ) s ON true
    WHERE m.base = :base OR (m.folder IS NULL AND m.name = :base)
    ORDER BY c.collection_id, c.id DESC
""")

# Of these images (:images, in a collection or NULL: any) those that this version of the answers has not been asked
# about, each with one settled job. Not where the image is in the queue already, nor where a job belongs to a
# submission that somebody may be waiting for.
ASKABLE = text("""
    SELECT DISTINCT ON (j.image_id) j.image_id, j.id AS job_id
    FROM job j JOIN collection c ON c.id = j.collection_id
    WHERE j.state = 'done' AND j.image_id = ANY(CAST(:images AS bigint[]))
      AND (CAST(:collection AS text) IS NULL OR c.name = :collection)
      AND NOT EXISTS (
          SELECT FROM prediction p
          WHERE p.image_id = j.image_id AND p.model_version_id = :model_version_id AND p.status <> 'failed'
            AND (CAST(:answers_version AS text) IS NULL
                 OR coalesce(p.answers_version, p.pipeline_version) = :answers_version))
      AND NOT EXISTS (
          SELECT FROM job o WHERE o.image_id = j.image_id AND o.state IN ('queued', 'running'))
      AND NOT EXISTS (
          SELECT FROM job b WHERE b.batch_id = j.batch_id AND b.state IN ('queued', 'running'))
    ORDER BY j.image_id, j.finished_at DESC NULLS LAST, j.id
""")

# Puts settled jobs back into the queue, as bulk work that asks also where the place is known. Returns their ids.
ASK = text("""
    UPDATE job SET state = 'queued', outcome = NULL, reason = NULL, detail = NULL, reused = false, attempts = 0,
        losses = 0, due_at = now(), published_at = NULL, lease_until = NULL, worker = NULL, finished_at = NULL,
        verify = true, priority = 0, batch_id = CAST(:batch_id AS uuid)
    WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'done'
    RETURNING id
""")

# What an earlier renewal has queued (:earlier) and nobody has begun counts for this one now. Returns their ids.
ADOPT = text("""
    UPDATE job SET batch_id = CAST(:batch_id AS uuid)
    WHERE batch_id = CAST(:earlier AS uuid) AND state = 'queued' AND verify
    RETURNING id
""")

# The renewal of a base that is asking; there is at most one.
OPEN_RENEWAL = text("SELECT * FROM calibration_renewal WHERE base = :base AND state = 'asking'")

# Returns the row.
ADD_RENEWAL = text("""
    INSERT INTO calibration_renewal (base, model_version_id, cause, batch_id, asked)
    VALUES (:base, :model_version_id, :cause, CAST(:batch_id AS uuid), :asked)
    RETURNING *
""")

# It has asked once more, about so many photographs. Returns the row.
RENEWAL_ASKED = text("""
    UPDATE calibration_renewal SET times = times + 1, asked = asked + :asked WHERE id = :id AND state = 'asking'
    RETURNING *
""")

# How its questions stand: in work, answered by the version that serves, answered by another one, and all.
RENEWAL_PROGRESS = text("""
    SELECT count(*) AS jobs, count(*) FILTER (WHERE j.state IN ('queued', 'running')) AS pending,
           count(*) FILTER (WHERE j.state = 'done' AND p.model_version_id = :model_version_id) AS answered,
           count(*) FILTER (WHERE j.state = 'done' AND p.model_version_id IS DISTINCT FROM :model_version_id)
               AS elsewhere
    FROM job j LEFT JOIN prediction p ON p.id = j.prediction_id
    WHERE j.batch_id = CAST(:batch_id AS uuid)
""")

# Ends it, with how far labels and answers went.
END_RENEWAL = text("""
    UPDATE calibration_renewal SET state = :state, detail = :detail, answers_version = :answers_version,
        labels_until = (SELECT coalesce(max(id), 0) FROM label),
        predictions_until = (SELECT coalesce(max(id), 0) FROM prediction), finished_at = now()
    WHERE id = :id AND state = 'asking'
""")

# The last renewal for this version and these answers, if it was refused.
LAST_REFUSAL = text("""
    SELECT * FROM (
        SELECT * FROM calibration_renewal
        WHERE base = :base AND model_version_id IS NOT DISTINCT FROM CAST(:model_version_id AS bigint)
          AND answers_version IS NOT DISTINCT FROM CAST(:answers_version AS text) AND state <> 'superseded'
        ORDER BY id DESC LIMIT 1
    ) last WHERE state = 'refused'
""")

# What has come since a renewal ended: labels, and photographs of known place that this version answered.
COME_SINCE = text("""
    SELECT (SELECT count(*) FROM label WHERE id > :labels_until)
         + (SELECT count(DISTINCT p.image_id) FROM prediction p
            WHERE p.id > :predictions_until AND p.model_version_id = :model_version_id AND p.status <> 'failed'
              AND EXISTS (SELECT FROM label l WHERE l.image_id = p.image_id)) AS come
""")

# The newest renewals of a base, with how many of their questions are still in the queue.
LIST_RENEWALS = text("""
    SELECT r.*, (SELECT count(*) FROM job j WHERE j.batch_id = r.batch_id AND j.state IN ('queued', 'running'))
        AS pending
    FROM calibration_renewal r WHERE r.base = :base ORDER BY r.id DESC LIMIT :limit
""")
