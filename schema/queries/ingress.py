"""What comes in from other programs: rows of `submission`, messages of the embedded broker, and their jobs."""

from sqlalchemy import text

# ---------------------------------------------------------------- jobs that messages name

# The jobs with these ids that exist, kept from changing until the group is written.
HOLD_JOBS = text("""
    SELECT j.id, j.uri, c.name AS collection, j.source_tag, j.source_sequence, j.hints, j.verify, j.priority,
           j.state
    FROM job j JOIN collection c ON c.id = j.collection_id
    WHERE j.id = ANY(CAST(:ids AS uuid[])) ORDER BY j.id FOR UPDATE OF j
""")

# Rows: id, sequence. The newest event about each job's source.
SET_SEQUENCES = text("""
    UPDATE job SET source_sequence = g.sequence
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(id uuid, sequence text)
    WHERE job.id = g.id AND job.source_sequence IS DISTINCT FROM g.sequence
""")

# ---------------------------------------------------------------- submissions

# Up to :most rows that are due, the oldest first; another process gets others.
TAKE_SUBMISSIONS = text("""
    SELECT id, uri, collection, hints, verify, priority, source_tag, source_sequence, job_id, submitted_by
    FROM submission WHERE state = 'new' AND due_at <= now()
    ORDER BY due_at, id LIMIT :most FOR UPDATE SKIP LOCKED
""")

# Rows: id, state, reason, detail, job_id. What became of them.
SETTLE_SUBMISSIONS = text("""
    UPDATE submission s
    SET state = g.state, reason = g.reason, detail = g.detail, job_id = coalesce(g.job_id, s.job_id),
        settled_at = now()
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS g(
        id bigint, state text, reason text, detail text, job_id uuid)
    WHERE s.id = g.id
""")

# Their jobs are in work with what was known before: looked at again later.
POSTPONE_SUBMISSIONS = text("""
    UPDATE submission SET due_at = now() + make_interval(secs => :wait_s) WHERE id = ANY(CAST(:ids AS bigint[]))
""")

# Rows as in submission. The same for messages, which have no row: they get one.
POSTPONE_MESSAGES = text("""
    INSERT INTO submission (uri, collection, hints, verify, priority, source_tag, source_sequence, job_id, due_at)
    SELECT uri, collection, hints, verify, priority, source_tag, source_sequence, job_id,
           now() + make_interval(secs => :wait_s)
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        uri text, collection text, hints jsonb, verify boolean, priority smallint, source_tag text,
        source_sequence text, job_id uuid)
""")

# What was accepted long ago. What was refused stays until somebody has seen it.
FORGET_ACCEPTED = text("""
    DELETE FROM submission WHERE id = ANY(ARRAY(
        SELECT id FROM submission
        WHERE state = 'accepted' AND settled_at < now() - make_interval(days => :days)
        ORDER BY settled_at LIMIT :most FOR UPDATE SKIP LOCKED))
""")

# Is the database there?
IS_THERE = text("SELECT 1")

# ---------------------------------------------------------------- the database as broker

# Up to :most messages; another process gets others. What is not deleted in this transaction was never taken.
TAKE_MESSAGES = text("SELECT msg_id, CAST(message AS text) AS message FROM pgmq.read(:queue, 1, :most)")

DELETE_MESSAGES = text("SELECT pgmq.delete(:queue, CAST(:ids AS bigint[]))")

SEND_MESSAGE = text("SELECT pgmq.send(:queue, CAST(:message AS jsonb))")
