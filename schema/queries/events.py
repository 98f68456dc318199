"""Events: from the outbox to those who want them. Triggers write the outbox (migration 0008)."""

from sqlalchemy import text

# Whether events are made for everybody; with webhooks alone they are made for those.
SET_PUBLISHING = text("UPDATE outbox_state SET publish = :publish WHERE id = 1 AND publish <> :publish")

# Relays place events one after the other: whoever has this row may. Also says whether the exchange gets them.
LOCK_STATE = text("SELECT publish FROM outbox_state WHERE id = 1 FOR UPDATE SKIP LOCKED")

# Gives up to :most committed events their position, hands them to the webhooks that want them, and tells those who
# wait for events. Returns how many. The row of LOCK_STATE is held until the commit, so positions become visible in
# their order: who has read up to one has missed none below it.
PLACE = text("""
    WITH next AS (
        SELECT id, row_number() OVER (ORDER BY id) AS n
        FROM (SELECT id FROM outbox WHERE position IS NULL ORDER BY id LIMIT :most) oldest
    ), counted AS (
        UPDATE outbox_state SET last_position = last_position + (SELECT count(*) FROM next)
        WHERE id = 1 AND EXISTS (SELECT FROM next)
        RETURNING last_position - (SELECT count(*) FROM next) AS base, last_position
    ), placed AS (
        UPDATE outbox SET position = counted.base + next.n,
            sent_at = CASE WHEN :publish THEN NULL ELSE now() END
        FROM next, counted WHERE outbox.id = next.id
        RETURNING outbox.id, outbox.type, outbox.collection_id
    ), handed AS (
        INSERT INTO webhook_delivery (webhook_id, outbox_id)
        SELECT w.id, p.id FROM placed p JOIN webhook w
            ON w.enabled AND (w.types IS NULL OR w.types ? p.type)
            AND (w.collection_id IS NULL OR w.collection_id = p.collection_id)
        ORDER BY w.id, p.id
    )
    SELECT (SELECT count(*) FROM placed) AS placed, pg_notify('globetag_event', last_position::text) FROM counted
""")

# The oldest events that the exchange has not got, for this relay alone until its transaction ends.
LOCK_UNSENT = text("""
    SELECT id FROM outbox WHERE position IS NOT NULL AND sent_at IS NULL
    ORDER BY position LIMIT :most FOR UPDATE SKIP LOCKED
""")

# These events as they are sent. One whose photograph was erased meanwhile is no longer there.
READ_EVENTS = text("""
    SELECT outbox_id, id, type, subject, time, data FROM event
    WHERE outbox_id = ANY(CAST(:ids AS bigint[])) ORDER BY position
""")

MARK_SENT = text("UPDATE outbox SET sent_at = now() WHERE id = ANY(CAST(:ids AS bigint[]))")

# Drops up to :most events that were sent :keep_days ago and that no webhook still waits for. Returns the count.
PRUNE = text("""
    WITH old AS (
        SELECT o.id FROM outbox o
        WHERE o.sent_at < now() - make_interval(secs => :keep_days * 86400)
          AND NOT EXISTS (SELECT FROM webhook_delivery d WHERE d.outbox_id = o.id AND d.state = 'pending')
        ORDER BY o.id LIMIT :most FOR UPDATE SKIP LOCKED
    ), dropped AS (
        DELETE FROM outbox USING old WHERE outbox.id = old.id RETURNING outbox.id
    )
    SELECT count(*) FROM dropped
""")
