"""Webhooks: who gets events posted, and how each delivery stands."""

from sqlalchemy import text

# A webhook for a collection (:collection, NULL: all) and types (:types, NULL: all). Returns its id.
ADD_WEBHOOK = text("""
    INSERT INTO webhook (url, secret, types, collection_id)
    VALUES (:url, :secret, CAST(:types AS jsonb), :collection_id) RETURNING id
""")

# All webhooks and how they stand, without their secrets.
LIST_WEBHOOKS = text("SELECT * FROM webhook_standing ORDER BY webhook_id")

# What signs messages to a webhook, and where they go.
READ_WEBHOOK = text("""
    SELECT id, url, secret, CASE WHEN previous_until > now() THEN previous_secret END AS previous_secret
    FROM webhook WHERE id = :id
""")

REMOVE_WEBHOOK = text("DELETE FROM webhook WHERE id = :id RETURNING url")

# A new secret; the one before signs too for :overlap_s more.
ROTATE_SECRET = text("""
    UPDATE webhook SET previous_secret = secret, previous_until = now() + make_interval(secs => :overlap_s),
        secret = :secret
    WHERE id = :id RETURNING url
""")

# Gives a webhook another try.
ENABLE_WEBHOOK = text("""
    UPDATE webhook SET enabled = true, disabled_reason = NULL, failures = 0, failing_since = NULL,
        not_before = NULL
    WHERE id = :id RETURNING url
""")

# Its dead deliveries become due again. Returns how many.
REVIVE_DELIVERIES = text("""
    WITH revived AS (
        UPDATE webhook_delivery SET state = 'pending', attempts = 0, due_at = now(), finished_at = NULL
        WHERE webhook_id = :id AND state = 'dead' RETURNING outbox_id
    )
    SELECT count(*), pg_notify('globetag_event', '') FROM revived
""")

# Takes due deliveries of each webhook until it has :most under way, one where it fails; :busy names a webhook as
# often as it has some. The attempt is counted, and whoever dies with it leaves it due again after :lease_s.
TAKE_DUE = text("""
    WITH due AS (
        SELECT w.id AS webhook_id, d.outbox_id
        FROM (
            SELECT id, failures, (
                SELECT count(*) FROM unnest(CAST(:busy AS bigint[])) AS busy(webhook_id) WHERE busy.webhook_id = id
            ) AS under_way
            FROM webhook WHERE enabled AND (not_before IS NULL OR not_before <= now())
        ) w
        CROSS JOIN LATERAL (
            SELECT outbox_id FROM webhook_delivery
            WHERE webhook_id = w.id AND state = 'pending' AND due_at <= now()
            ORDER BY due_at, outbox_id
            LIMIT greatest(0, CASE WHEN w.failures > 0 THEN 1 ELSE :most END - w.under_way)
            FOR UPDATE SKIP LOCKED
        ) d
    )
    UPDATE webhook_delivery AS d SET attempts = attempts + 1, due_at = now() + make_interval(secs => :lease_s)
    FROM due JOIN webhook w ON w.id = due.webhook_id
    WHERE d.webhook_id = due.webhook_id AND d.outbox_id = due.outbox_id
    RETURNING d.webhook_id, d.outbox_id, d.attempts, w.url, w.secret,
        CASE WHEN w.previous_until > now() THEN w.previous_secret END AS previous_secret
""")

# The event of a delivery was erased: there is nothing to send any more.
DROP_DELIVERY = text("DELETE FROM webhook_delivery WHERE webhook_id = :webhook_id AND outbox_id = :outbox_id")

# The receiver has it.
DELIVERED = text("""
    WITH well AS (
        UPDATE webhook SET failures = 0, failing_since = NULL, not_before = NULL
        WHERE id = :webhook_id AND failures > 0
    )
    UPDATE webhook_delivery SET state = 'delivered', status = :status, problem = NULL, finished_at = now()
    WHERE webhook_id = :webhook_id AND outbox_id = :outbox_id
""")

# The receiver has it not: again in :retry_s, or (NULL) never. The webhook is left in peace for :pause_s.
NOT_DELIVERED = text("""
    WITH ill AS (
        UPDATE webhook SET failures = failures + 1, failing_since = coalesce(failing_since, now()),
            not_before = now() + make_interval(secs => :pause_s)
        WHERE id = :webhook_id
    )
    UPDATE webhook_delivery SET
        state = CASE WHEN CAST(:retry_s AS double precision) IS NULL THEN 'dead' ELSE 'pending' END,
        due_at = now() + make_interval(secs => coalesce(CAST(:retry_s AS double precision), 0)),
        status = :status, problem = :problem,
        finished_at = CASE WHEN CAST(:retry_s AS double precision) IS NULL THEN now() END
    WHERE webhook_id = :webhook_id AND outbox_id = :outbox_id
""")

# Disables a webhook (:webhook_id) that nothing was delivered to for :patience_s, or that said it is gone (:gone).
# Returns its id and the reason where it did.
DISABLE_FAILING = text("""
    WITH disabled AS (
        UPDATE webhook SET enabled = false, disabled_reason = CASE WHEN :gone
            THEN 'The receiver answered 410 (Gone): it wants no more events.'
            ELSE 'Nothing could be delivered since ' || to_char(failing_since AT TIME ZONE 'UTC',
                'YYYY-MM-DD HH24:MI "UTC"') || '. The last problem: ' || :problem END
        WHERE id = :webhook_id AND enabled
          AND (:gone OR failing_since < now() - make_interval(secs => :patience_s))
        RETURNING id, disabled_reason
    ), dead AS (
        UPDATE webhook_delivery d SET state = 'dead', finished_at = now(),
            problem = coalesce(d.problem, 'The webhook was disabled before this was sent.')
        FROM disabled WHERE d.webhook_id = disabled.id AND d.state = 'pending'
    )
    SELECT id, disabled_reason FROM disabled
""")
