"""Training runs."""

from sqlalchemy import text

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
