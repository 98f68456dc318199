"""The flow of jobs: which rows are published when, and pausing and cancelling them."""

from sqlalchemy import text

# ---------------------------------------------------------------- publishing

# One dispatcher at a time counts what is out and takes rows, so that all of them together keep the bound: is it
# this one? The lock ends with the transaction, before anything is sent: one that hangs with the broker holds up
# nobody. The settings, for this transaction only, keep the planner to the index that was made for TAKE_DUE: until
# a bulk load has been analyzed, which may take a minute, it would sort all that waits in each round.
BEGIN_ROUND = text("""
    SELECT pg_try_advisory_xact_lock(7453285198) AS is_ours,
           set_config('enable_sort', 'off', true), set_config('enable_seqscan', 'off', true)
""")

# How many jobs of a lane the broker was told of that no worker has begun: in the broker, or on their way there.
COUNT_TOLD = text("""
    SELECT count(*) FROM job WHERE state = 'queued' AND published_at IS NOT NULL AND priority = :lane
""")

# Takes up to :room due rows of a lane (a priority) that the broker has not been told of, marks them as told and
# returns them in the order in which they are to be sent. Collections take turns, however much one of them has
# queued; a paused one has none. Each is asked for its share only (and :least rows at least), so that the work
# depends on :room and on how many collections there are, not on how many rows wait. What one has too little of,
# the next round fills. Jobs that were lost :last_chance times go one at a time, so that the one that kills its
# worker takes none of the others along.
TAKE_DUE = text("""
    WITH open AS MATERIALIZED (
        SELECT c.id FROM collection c, LATERAL (
            SELECT FROM job j
            WHERE j.collection_id = c.id AND j.priority = :lane AND j.due_at <= now()
              AND j.state = 'queued' AND j.published_at IS NULL
            ORDER BY j.due_at LIMIT 1
        ) first
        WHERE c.paused_at IS NULL
    ), turns AS MATERIALIZED (
        SELECT of_one.id, row_number() OVER (ORDER BY of_one.turn, of_one.due_at, of_one.id) AS place
        FROM open, LATERAL (
            SELECT first.id, first.due_at, row_number() OVER (ORDER BY first.due_at, first.id) AS turn
            FROM (
                SELECT j.id, j.due_at FROM job j
                WHERE j.collection_id = open.id AND j.priority = :lane AND j.due_at <= now()
                  AND j.state = 'queued' AND j.published_at IS NULL
                  AND (j.losses < :last_chance OR j.id = (
                      SELECT s.id FROM job s
                      WHERE s.losses > 0 AND s.state IN ('queued', 'running') AND s.losses >= :last_chance
                        AND (s.state = 'running' OR NOT EXISTS (
                            SELECT FROM collection p WHERE p.id = s.collection_id AND p.paused_at IS NOT NULL))
                      ORDER BY s.state = 'running' DESC, s.published_at, s.due_at, s.id LIMIT 1))
                ORDER BY j.due_at
                LIMIT greatest(:least, (SELECT (:room + count(*) - 1) / nullif(count(*), 0) FROM open))
            ) first
        ) of_one
        ORDER BY place LIMIT :room
    ), due AS (
        SELECT id, array_position(ARRAY(SELECT id FROM turns ORDER BY place), id) AS place FROM job
        WHERE id = ANY(ARRAY(SELECT id FROM turns)) AND state = 'queued'
          AND coalesce(published_at, '-infinity') = '-infinity'  -- so written that nothing but the key can find it
        FOR UPDATE SKIP LOCKED
    ), told AS (
        UPDATE job SET published_at = now() FROM due WHERE job.id = due.id RETURNING job.id, job.uri, due.place
    )
    SELECT id, uri FROM told ORDER BY place
""")

# Rows of a lane that the broker was told of :ago_s ago or longer and that no worker has begun: it is told again,
# after a short while where it has nothing left, else after a long one. What a worker is beginning is passed over.
FORGET_TOLD = text("""
    WITH forgotten AS (
        SELECT id FROM job
        WHERE state = 'queued' AND priority = :lane AND published_at < now() - make_interval(secs => :ago_s)
        FOR UPDATE SKIP LOCKED
    )
    UPDATE job SET published_at = NULL FROM forgotten WHERE job.id = forgotten.id
""")

# ---------------------------------------------------------------- pausing and cancelling

# From now on none of a collection's photographs is begun; those in work are finished. Keeps the time of the first
# pause. Returns nothing where there is no such collection.
PAUSE = text("UPDATE collection SET paused_at = coalesce(paused_at, now()) WHERE name = :name RETURNING paused_at")

# It goes on.
RESUME = text("UPDATE collection SET paused_at = NULL WHERE name = :name RETURNING id")

# Takes up to :most queued jobs of a collection or a batch (NULL: any) back. Messages that are out find them
# settled. Returns the count.
CANCEL = text("""
    WITH chosen AS (
        SELECT id FROM job
        WHERE state = 'queued'
          AND (CAST(:collection_id AS bigint) IS NULL OR collection_id = :collection_id)
          AND (CAST(:batch_id AS uuid) IS NULL OR batch_id = CAST(:batch_id AS uuid))
        LIMIT :most FOR UPDATE SKIP LOCKED
    ), cancelled AS (
        UPDATE job SET state = 'failed', reason = 'cancelled', detail = :detail, finished_at = now(),
            published_at = NULL, put_off_since = NULL
        FROM chosen WHERE job.id = chosen.id RETURNING job.id
    )
    SELECT count(*) FROM cancelled
""")

# How many jobs of a collection or a batch (NULL: any) are queued, and how many in work.
COUNT_OPEN = text("""
    SELECT count(*) FILTER (WHERE state = 'queued') AS queued, count(*) FILTER (WHERE state = 'running') AS running
    FROM job
    WHERE state IN ('queued', 'running')
      AND (CAST(:collection_id AS bigint) IS NULL OR collection_id = :collection_id)
      AND (CAST(:batch_id AS uuid) IS NULL OR batch_id = CAST(:batch_id AS uuid))
""")
