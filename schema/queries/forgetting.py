"""Forgetting: what is erased, in which order, and what is kept so that it does not come back.

All of it runs in one transaction: the locks, then what is chosen (temporary tables), then counts, then deletions.
"""

from sqlalchemy import text

# Nobody writes jobs, images or questions to teachers until the end of the transaction. Waited for shortly: who
# waits longer than Postgres takes to look for deadlocks could be in one with a worker, and the worker must not be
# the one that loses.
SHORT_WAIT = text("SELECT set_config('lock_timeout', '500ms', true)")
HOLD_WRITERS = text("LOCK TABLE job, image, distilled IN SHARE ROW EXCLUSIVE MODE")

# What was chosen, until the end of the transaction.
MAKE_CHOICE = text("""
    CREATE TEMPORARY TABLE choice_image (id bigint PRIMARY KEY, sha256 text NOT NULL) ON COMMIT DROP
""")
MAKE_JOB_CHOICE = text("CREATE TEMPORARY TABLE choice_job (id uuid PRIMARY KEY) ON COMMIT DROP")

# Photographs by content hash (:hashes), by the address of a job (:uris) or by a job's id (:jobs).
CHOOSE_IMAGES = text("""
    INSERT INTO choice_image
    SELECT i.id, i.sha256 FROM image i WHERE i.sha256 = ANY(CAST(:hashes AS text[]))
    UNION
    SELECT i.id, i.sha256 FROM image i JOIN job j ON j.image_id = i.id
    WHERE j.uri = ANY(CAST(:uris AS text[])) OR j.id = ANY(CAST(:jobs AS uuid[]))
""")

# Their jobs in all collections, and those that were named but have no photograph yet.
CHOOSE_JOBS = text("""
    INSERT INTO choice_job
    SELECT j.id FROM job j
    WHERE j.image_id IN (SELECT id FROM choice_image)
       OR j.uri = ANY(CAST(:uris AS text[])) OR j.id = ANY(CAST(:jobs AS uuid[]))
""")

# All jobs of a collection.
CHOOSE_JOBS_OF_COLLECTION = text("INSERT INTO choice_job SELECT id FROM job WHERE collection_id = :collection_id")

# The photographs that a collection holds and (unless :everywhere) no other one, and with :everywhere the jobs of
# the others for them.
CHOOSE_IMAGES_OF_COLLECTION = text("""
    INSERT INTO choice_image
    SELECT i.id, i.sha256 FROM image i
    WHERE EXISTS (SELECT FROM job j WHERE j.image_id = i.id AND j.collection_id = :collection_id)
      AND (:everywhere OR NOT EXISTS (
          SELECT FROM job j WHERE j.image_id = i.id AND j.collection_id <> :collection_id))
""")
CHOOSE_JOBS_ELSEWHERE = text("""
    INSERT INTO choice_job SELECT j.id FROM job j WHERE j.image_id IN (SELECT id FROM choice_image)
    ON CONFLICT DO NOTHING
""")

# How many photographs of a collection stay because others hold them too.
SHARED_IMAGES = text("""
    SELECT count(DISTINCT j.image_id) FROM job j
    WHERE j.collection_id = :collection_id AND j.image_id IS NOT NULL
      AND j.image_id NOT IN (SELECT id FROM choice_image)
""")

# What teachers were asked about, by content; also photographs that are in no collection (:hashes, :uris).
MAKE_DISTILLED_CHOICE = text("CREATE TEMPORARY TABLE choice_distilled (sha256 text PRIMARY KEY) ON COMMIT DROP")
CHOOSE_DISTILLED = text("""
    INSERT INTO choice_distilled
    SELECT DISTINCT d.sha256 FROM distilled d
    WHERE d.sha256 IN (SELECT sha256 FROM choice_image) OR d.sha256 = ANY(CAST(:hashes AS text[]))
       OR d.uri = ANY(CAST(:uris AS text[]))
""")

# Which content is chosen.
CHOSEN_HASHES = text("SELECT sha256 FROM choice_image UNION SELECT sha256 FROM choice_distilled ORDER BY sha256")

# Rows that would go, by table. Dead messages are known by the address that they name, where it can be read.
COUNT_CHOSEN = text("""
    SELECT 'image' AS "table", count(*) AS rows FROM choice_image
    UNION ALL SELECT 'job', count(*) FROM choice_job
    UNION ALL SELECT 'label', count(*) FROM label WHERE image_id IN (SELECT id FROM choice_image)
    UNION ALL SELECT 'prediction', count(*) FROM prediction WHERE image_id IN (SELECT id FROM choice_image)
    UNION ALL SELECT 'trace', count(*) FROM trace t JOIN prediction p ON p.id = t.prediction_id
        WHERE p.image_id IN (SELECT id FROM choice_image)
    UNION ALL SELECT 'gallery', count(*) FROM gallery WHERE image_id IN (SELECT id FROM choice_image)
    UNION ALL SELECT 'curation_member', count(*) FROM curation_member
        WHERE image_id IN (SELECT id FROM choice_image)
    UNION ALL SELECT 'distilled', count(*) FROM distilled WHERE sha256 IN (SELECT sha256 FROM choice_distilled)
    UNION ALL SELECT 'teacher_answer', count(*) FROM teacher_answer
        WHERE sha256 IN (SELECT sha256 FROM choice_distilled)
    UNION ALL SELECT 'distilled_sample', count(*) FROM distilled_sample
        WHERE sha256 IN (SELECT sha256 FROM choice_distilled)
    UNION ALL SELECT 'suggestion', count(*) FROM prediction p, jsonb_array_elements(p.suggestions) s
        WHERE s->>'from_sha256' IN (SELECT sha256 FROM choice_image)
          AND p.image_id NOT IN (SELECT id FROM choice_image)
    UNION ALL SELECT 'outbox', count(*) FROM outbox WHERE subject IN (SELECT CAST(id AS text) FROM choice_job)
        OR image_id IN (SELECT id FROM choice_image)
    UNION ALL SELECT 'submission', count(*) FROM submission s WHERE s.job_id IN (SELECT id FROM choice_job)
        OR s.uri IN (SELECT j.uri FROM job j JOIN choice_job USING (id))
    UNION ALL SELECT 'dead_message', count(*) FROM dead_message d
        WHERE EXISTS (SELECT FROM job j JOIN choice_job USING (id)
                      WHERE position(convert_to(j.uri, 'UTF8') IN d.body) > 0)
    UNION ALL SELECT 'idempotency_key', count(*) FROM idempotency_key k
        WHERE EXISTS (SELECT FROM choice_job c WHERE position(CAST(c.id AS text) IN CAST(k.answer AS text)) > 0)
""")

# The model versions that learnt from a manifest with a chosen photograph in its training part, and those whose
# training went on from them. `photographs`: of the chosen ones in its own manifest.
TAUGHT_MODELS = text("""
    WITH RECURSIVE taught AS (
        SELECT v.id, count(*) AS photographs
        FROM model_version v JOIN curation_member m ON m.curation_id = v.curation_id AND m.side = 'train'
        WHERE m.image_id IN (SELECT id FROM choice_image) GROUP BY v.id
    ), line AS (
        SELECT id FROM taught UNION SELECT v.id FROM model_version v JOIN line ON v.parent_id = line.id
    )
    SELECT v.id, v.name, v.version, v.folder, coalesce(t.photographs, 0) AS photographs
    FROM line JOIN model_version v USING (id) LEFT JOIN taught t USING (id) ORDER BY v.id
""")

# Training runs that are learning from them now.
TEACHING_RUNS = text("""
    SELECT DISTINCT r.id FROM training_run r JOIN curation_member m ON m.curation_id = r.curation_id
    WHERE r.state IN ('queued', 'running') AND m.image_id IN (SELECT id FROM choice_image) ORDER BY r.id
""")

# Their places leave the suggestions of others.
FORGET_SUGGESTIONS = text("""
    UPDATE prediction SET suggestions = (
        SELECT coalesce(jsonb_agg(s ORDER BY n), '[]'::jsonb)
        FROM jsonb_array_elements(suggestions) WITH ORDINALITY AS e(s, n)
        WHERE s->>'from_sha256' IS NULL OR s->>'from_sha256' NOT IN (SELECT sha256 FROM choice_image))
    WHERE suggestions <> '[]'::jsonb AND EXISTS (
        SELECT FROM jsonb_array_elements(suggestions) s WHERE s->>'from_sha256' IN (SELECT sha256 FROM
        choice_image))
""")
# What was told or is to be told of them, and what asked for them.
FORGET_EVENTS = text("""
    DELETE FROM outbox WHERE subject IN (SELECT CAST(id AS text) FROM choice_job)
        OR image_id IN (SELECT id FROM choice_image)
""")
FORGET_SUBMISSIONS = text("""
    DELETE FROM submission s WHERE s.job_id IN (SELECT id FROM choice_job)
        OR s.uri IN (SELECT j.uri FROM job j JOIN choice_job USING (id))
""")
FORGET_DEAD_MESSAGES = text("""
    DELETE FROM dead_message d WHERE EXISTS (
        SELECT FROM job j JOIN choice_job USING (id) WHERE position(convert_to(j.uri, 'UTF8') IN d.body) > 0)
""")
FORGET_IDEMPOTENCY_KEYS = text("""
    DELETE FROM idempotency_key k WHERE EXISTS (
        SELECT FROM choice_job c WHERE position(CAST(c.id AS text) IN CAST(k.answer AS text)) > 0)
""")
FORGET_JOBS = text("DELETE FROM job WHERE id IN (SELECT id FROM choice_job)")

# What teachers said and what was kept of it goes with the photographs that they were asked about.
FORGET_DISTILLED = text("DELETE FROM distilled WHERE sha256 IN (SELECT sha256 FROM choice_distilled)")

# Labels, predictions, traces, gallery and manifests' entries go with their image.
FORGET_IMAGES = text("DELETE FROM image WHERE id IN (SELECT id FROM choice_image)")

# What may not come back: the chosen content, and :hashes that were never seen here.
REFUSE = text("""
    INSERT INTO forgotten (sha256, forgotten_by, reason)
    SELECT sha256, :forgotten_by, :reason FROM choice_image
    UNION SELECT sha256, :forgotten_by, :reason FROM choice_distilled
    UNION SELECT h, :forgotten_by, :reason FROM unnest(CAST(:hashes AS text[])) AS h
    ON CONFLICT (sha256) DO NOTHING
""")
