"""What is measured of the whole: how many jobs stand where, and how old the oldest of them is."""

from sqlalchemy import text

# Nobody waits long for figures.
BOUND_LOOK = text("SET LOCAL statement_timeout = '5s'")

# Jobs by state and reason: one pass over the rows.
JOBS_BY_STATE = text("SELECT state, reason, count(*) AS jobs FROM job GROUP BY state, reason")

# Of each lane: for how many seconds the longest waiting of the queued jobs has been due.
OLDEST_DUE = text("""
    SELECT lane.priority, CAST(extract(epoch FROM now() - j.due_at) AS double precision) AS age_s
    FROM (VALUES (0), (1)) AS lane(priority)
    CROSS JOIN LATERAL (
        SELECT due_at FROM job WHERE state = 'queued' AND priority = lane.priority AND due_at <= now()
        ORDER BY due_at LIMIT 1
    ) j
""")

# Refused messages that nobody has replayed or dropped.
OPEN_DEAD_MESSAGES = text("""
    SELECT queue, reason, count(*) AS messages FROM dead_message
    WHERE replayed_at IS NULL AND dropped_at IS NULL GROUP BY queue, reason
""")

# The schema's revision. A database without this table has no schema at all.
REVISION = text("SELECT version_num FROM alembic_version")
