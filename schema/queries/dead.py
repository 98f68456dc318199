"""Messages that never became jobs."""

from sqlalchemy import text

# Keeps a refused message. The same one again, while it is open, is the same row; :again says whether it counts as
# refused once more (1) or is only met once more (0).
BURY = text("""
    INSERT INTO dead_message (queue, source, reason, detail, body, body_bytes, headers, properties, fingerprint)
    VALUES (:queue, :source, :reason, :detail, :body, :body_bytes, CAST(:headers AS jsonb),
            CAST(:properties AS jsonb), :fingerprint)
    ON CONFLICT (fingerprint) WHERE replayed_at IS NULL AND dropped_at IS NULL
    DO UPDATE SET times = dead_message.times + :again, last_refused_at = now()
    RETURNING id
""")

# What is open, the oldest first; with :closed also what was replayed or dropped.
LIST = text("""
    SELECT id, received_at, queue, source, reason, detail, body_bytes, times, replayed_at, dropped_at, by
    FROM dead_message
    WHERE (:closed OR (replayed_at IS NULL AND dropped_at IS NULL))
      AND (CAST(:queue AS text) IS NULL OR queue = :queue)
      AND (CAST(:reason AS text) IS NULL OR reason = :reason)
      AND (CAST(:older_than_s AS double precision) IS NULL
           OR received_at < now() - make_interval(secs => :older_than_s))
      AND (CAST(:newer_than_s AS double precision) IS NULL
           OR received_at >= now() - make_interval(secs => :newer_than_s))
    ORDER BY id LIMIT CAST(:most AS bigint)
""")

# One message, whole.
SHOW = text("SELECT * FROM dead_message WHERE id = :id")

# One open message, for whoever is to close it; nobody else can meanwhile.
HOLD = text("""
    SELECT * FROM dead_message WHERE id = :id AND replayed_at IS NULL AND dropped_at IS NULL FOR UPDATE
""")

# It was put back where it came from.
REPLAYED = text("UPDATE dead_message SET replayed_at = now(), by = :by WHERE id = :id")

# Nobody wants it: what was in it is erased, that it was there is not.
DROP = text("""
    UPDATE dead_message
    SET dropped_at = now(), by = :by, body = NULL, headers = '{}'::jsonb, properties = '{}'::jsonb
    WHERE id = :id AND replayed_at IS NULL AND dropped_at IS NULL
    RETURNING id
""")
