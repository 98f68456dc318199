"""Distillations: questions to teachers about photographs of known place, their answers, and what is kept of them.

Who asks holds the distillation's lock, so that one process alone writes its rows. A photograph may be erased
meanwhile: then its rows are gone, and what was to be written of it is left out without an error.
"""

from sqlalchemy import text

# One process works on a distillation (:id) at a time; held by its session. False: another one does.
RUN_LOCK = text(
    "SELECT pg_try_advisory_lock(hashtextextended('distillation ' || CAST(:id AS bigint), 7453285212))"
)

RUN_UNLOCK = text(
    "SELECT pg_advisory_unlock(hashtextextended('distillation ' || CAST(:id AS bigint), 7453285212))"
)

# Does somebody hold it? The two halves of the key are as pg_locks shows them.
IS_RUN_LOCKED = text("""
    WITH key AS (SELECT hashtextextended('distillation ' || CAST(:id AS bigint), 7453285212) AS k)
    SELECT EXISTS (
        SELECT FROM pg_locks l, key
        WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
          AND (CAST(l.classid AS bigint) << 32 | CAST(l.objid AS bigint)) = key.k
          AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
""")

# Returns the row's id; nothing where the name is taken.
ADD_DISTILLATION = text("""
    INSERT INTO distillation (name, source, collection, curation_id, teachers, parameters)
    VALUES (:name, CAST(:source AS jsonb), :collection, :curation_id, CAST(:teachers AS jsonb),
            CAST(:parameters AS jsonb))
    ON CONFLICT (name) DO NOTHING RETURNING id
""")

# By :name, or (NULL) the newest.
READ_DISTILLATION = text("""
    SELECT * FROM distillation WHERE CAST(:name AS text) IS NULL OR name = :name ORDER BY id DESC LIMIT 1
""")

READ_DISTILLATION_BY_ID = text("SELECT * FROM distillation WHERE id = :id")

# The newest, with how many photographs, answers and kept samples each has.
LIST_DISTILLATIONS = text("""
    SELECT d.*, (SELECT count(*) FROM distilled p WHERE p.distillation_id = d.id) AS photographs,
           (SELECT count(*) FROM teacher_answer a
            WHERE a.distillation_id = d.id AND a.state <> 'asked') AS answers,
           (SELECT count(*) FROM distilled_sample s WHERE s.distillation_id = d.id AND s.kept) AS kept
    FROM distillation d ORDER BY d.id DESC LIMIT :limit
""")

# The teachers as they are asked from now on.
SET_TEACHERS = text("UPDATE distillation SET teachers = CAST(:teachers AS jsonb) WHERE id = :id")

BEGIN_RUN = text("""
    UPDATE distillation SET state = 'running', detail = NULL, started_at = coalesce(started_at, now()),
        finished_at = NULL, heartbeat_at = now() WHERE id = :id
""")

HEARTBEAT = text("UPDATE distillation SET heartbeat_at = now() WHERE id = :id")

BEGIN_VERIFYING = text("UPDATE distillation SET state = 'verifying', heartbeat_at = now() WHERE id = :id")

END_RUN = text("""
    UPDATE distillation SET state = :state, detail = :detail, counts = CAST(:counts AS jsonb), finished_at = now(),
        heartbeat_at = now() WHERE id = :id
""")

SET_PARAMETERS = text("UPDATE distillation SET parameters = CAST(:parameters AS jsonb) WHERE id = :id")

# What is known of a teacher: quarantine, and what it said of the control picture.
SET_STANDING = text("""
    UPDATE distillation
    SET standing = standing || jsonb_build_object(CAST(:teacher AS text), CAST(:standing AS jsonb)),
        heartbeat_at = now()
    WHERE id = :id
""")

# Rows: photographs. Those that are there already stay as they are; none that was erased comes back.
ADD_DISTILLED = text("""
    INSERT INTO distilled (distillation_id, sha256, image_id, label_id, uri, lat, lon, country_code, country,
                           region, city, geoname_id, grouped_by, licence)
    SELECT :id, r.sha256, i.id, r.label_id, r.uri, r.lat, r.lon, r.country_code, r.country, r.region, r.city,
           r.geoname_id, r.grouped_by, r.licence
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        sha256 text, image_id bigint, label_id bigint, uri text, lat double precision, lon double precision,
        country_code text, country text, region text, city text, geoname_id bigint, grouped_by text, licence text)
    LEFT JOIN image i ON i.id = r.image_id
    WHERE NOT EXISTS (SELECT FROM forgotten f WHERE f.sha256 = r.sha256)
      AND (r.image_id IS NULL OR i.id IS NOT NULL)
    ORDER BY r.sha256
    ON CONFLICT DO NOTHING
    RETURNING sha256
""")

READ_DISTILLED = text("SELECT * FROM distilled WHERE distillation_id = :id ORDER BY sha256")

# What is yet to be asked, by photograph: never what has been answered. Questions that were on their way when a
# process died are among it, and those that came to nothing for a cause in :again. The next :limit after :after.
TO_ASK = text("""
    SELECT d.*, array_agg(t.teacher ORDER BY t.place) AS teachers
    FROM distilled d
    CROSS JOIN unnest(CAST(:teachers AS text[])) WITH ORDINALITY AS t(teacher, place)
    LEFT JOIN teacher_answer a
        ON a.distillation_id = d.distillation_id AND a.sha256 = d.sha256 AND a.teacher = t.teacher
    WHERE d.distillation_id = :id AND d.sha256 > :after AND d.state <> 'left_out'
      AND (a.state IS NULL OR a.state = 'asked'
           OR (a.state = 'troubled' AND a.raw IS NULL AND a.trouble = ANY(CAST(:again AS text[]))))
    GROUP BY d.distillation_id, d.sha256 ORDER BY d.sha256 LIMIT :limit
""")

# How many questions are yet to be asked of each teacher, and how many of these have been on their way before.
COUNT_TO_ASK = text("""
    SELECT t.teacher, count(*) AS questions, count(*) FILTER (WHERE a.state = 'asked') AS were_on_their_way
    FROM distilled d
    CROSS JOIN unnest(CAST(:teachers AS text[])) AS t(teacher)
    LEFT JOIN teacher_answer a
        ON a.distillation_id = d.distillation_id AND a.sha256 = d.sha256 AND a.teacher = t.teacher
    WHERE d.distillation_id = :id AND d.state <> 'left_out'
      AND (a.state IS NULL OR a.state = 'asked'
           OR (a.state = 'troubled' AND a.raw IS NULL AND a.trouble = ANY(CAST(:again AS text[]))))
    GROUP BY t.teacher
""")

# What the same teacher (:asked: its name, url and model) has said of the same photographs in other distillations,
# to the same prompt and drawn in the same way, counts here too; of several answers the newest.
TAKE_OVER = text("""
    INSERT INTO teacher_answer (distillation_id, sha256, teacher, state, detail, raw, finish_reason, asks,
                                asked_at, answered_at, took_s, model, prompt_hash, sampling, tokens_in, tokens_out)
    SELECT DISTINCT ON (p.sha256) :id, p.sha256, :teacher, 'answered',
           'Asked for the distillation ' || d.name || '.', a.raw, a.finish_reason, a.asks, a.asked_at,
           a.answered_at, a.took_s, a.model, a.prompt_hash, a.sampling, a.tokens_in, a.tokens_out
    FROM distilled p
    JOIN teacher_answer a ON a.sha256 = p.sha256 AND a.teacher = :teacher AND a.distillation_id <> :id
        AND a.state = 'answered' AND a.prompt_hash = :prompt_hash AND a.sampling = CAST(:sampling AS jsonb)
    JOIN distillation d ON d.id = a.distillation_id AND d.teachers @> CAST(:asked AS jsonb)
        AND (d.standing -> :teacher ->> 'quarantined') IS NULL
    WHERE p.distillation_id = :id
      AND NOT EXISTS (SELECT FROM teacher_answer own
                      WHERE own.distillation_id = :id AND own.sha256 = p.sha256 AND own.teacher = :teacher)
    ORDER BY p.sha256, a.answered_at DESC
    ON CONFLICT DO NOTHING
""")

# Of these photographs (:hashes) how many TAKE_OVER would find answered.
COUNT_ANSWERED_ELSEWHERE = text("""
    SELECT count(DISTINCT a.sha256) FROM teacher_answer a
    JOIN distillation d ON d.id = a.distillation_id AND d.teachers @> CAST(:asked AS jsonb)
        AND (d.standing -> :teacher ->> 'quarantined') IS NULL
    WHERE a.sha256 = ANY(CAST(:hashes AS text[])) AND a.teacher = :teacher AND a.state = 'answered'
      AND a.prompt_hash = :prompt_hash AND a.sampling = CAST(:sampling AS jsonb)
""")

# Rows (sha256, teacher): questions that go out now. Returns those that may: not where an answer is there already.
ASK = text("""
    INSERT INTO teacher_answer (distillation_id, sha256, teacher)
    SELECT d.distillation_id, d.sha256, r.teacher
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(sha256 text, teacher text)
    JOIN distilled d ON d.distillation_id = :id AND d.sha256 = r.sha256
    ORDER BY d.sha256, r.teacher FOR KEY SHARE OF d
    ON CONFLICT (distillation_id, sha256, teacher) DO UPDATE
    SET state = 'asked', trouble = NULL, detail = NULL, asks = teacher_answer.asks + 1, asked_at = now(),
        answered_at = NULL
    WHERE teacher_answer.state = 'asked'
       OR (teacher_answer.state = 'troubled' AND teacher_answer.raw IS NULL
           AND teacher_answer.trouble = ANY(CAST(:again AS text[])))
    RETURNING sha256, teacher
""")

# Rows: what came of questions that were out.
ANSWER = text("""
    WITH came AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
            sha256 text, teacher text, state text, trouble text, detail text, raw text, finish_reason text,
            lat double precision, lon double precision, confidence double precision, took_s double precision,
            model text, prompt_hash text, sampling jsonb, tokens_in integer, tokens_out integer)
    ), locked AS (
        SELECT a.sha256, a.teacher FROM teacher_answer a JOIN came c USING (sha256, teacher)
        WHERE a.distillation_id = :id AND a.state = 'asked' ORDER BY a.sha256, a.teacher FOR UPDATE OF a
    )
    UPDATE teacher_answer a
    SET state = c.state, trouble = c.trouble, detail = c.detail, raw = c.raw, finish_reason = c.finish_reason,
        lat = c.lat, lon = c.lon, confidence = c.confidence, took_s = c.took_s, model = c.model,
        prompt_hash = c.prompt_hash, sampling = c.sampling, tokens_in = c.tokens_in, tokens_out = c.tokens_out,
        answered_at = now()
    FROM came c JOIN locked l USING (sha256, teacher)
    WHERE a.distillation_id = :id AND a.sha256 = c.sha256 AND a.teacher = c.teacher
    RETURNING a.sha256, a.teacher
""")

# All that a teacher has said is thrown away, and it is asked anew.
ASK_ANEW = text("DELETE FROM teacher_answer WHERE distillation_id = :id AND teacher = :teacher")

# How large photographs of the archive (:hashes) are.
PICTURE_SIZES = text("""
    SELECT sha256, width_px, height_px FROM image WHERE sha256 = ANY(CAST(:hashes AS text[]))
""")

# The gate's embedding of a photograph, with a collection that holds it and where.
EMBEDDING = text("""
    SELECT i.embedding_model_id, CAST(i.embedding AS text) AS embedding, i.taken_at, j.uri, c.name AS collection
    FROM image i
    LEFT JOIN LATERAL (SELECT * FROM job WHERE job.image_id = i.id ORDER BY collection_id, id LIMIT 1) j ON true
    LEFT JOIN collection c ON c.id = j.collection_id
    WHERE i.sha256 = :sha256 AND i.embedding IS NOT NULL AND i.embedding_model_id IS NOT NULL
""")

# Questions that never went out after all (rows: sha256, teacher), such as when the run was stopped before.
UNASK = text("""
    WITH back AS (
        SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(sha256 text, teacher text)
    ), fewer AS (
        UPDATE teacher_answer a SET asks = a.asks - 1 FROM back b
        WHERE a.distillation_id = :id AND a.sha256 = b.sha256 AND a.teacher = b.teacher AND a.state = 'asked'
          AND a.asks > 1
    )
    DELETE FROM teacher_answer a USING back b
    WHERE a.distillation_id = :id AND a.sha256 = b.sha256 AND a.teacher = b.teacher AND a.state = 'asked'
      AND a.asks = 1
""")

# Photographs (rows: sha256, reason) that cannot be asked about.
LEAVE_OUT = text("""
    UPDATE distilled d SET state = 'left_out', reason = r.reason
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(sha256 text, reason text)
    WHERE d.distillation_id = :id AND d.sha256 = r.sha256
""")

# Photographs that were left out are looked for again: their originals may be back.
TAKE_BACK = text("""
    UPDATE distilled SET state = 'open', reason = NULL WHERE distillation_id = :id AND state = 'left_out'
""")

# Photographs of which every teacher of :teachers has said something, or never will.
SETTLE_DISTILLED = text("""
    UPDATE distilled d SET state = CASE WHEN s.settled THEN 'done' ELSE 'open' END
    FROM (
        SELECT p.sha256, bool_and(coalesce(a.state <> 'asked', false)) AS settled
        FROM distilled p
        CROSS JOIN unnest(CAST(:teachers AS text[])) AS t(teacher)
        LEFT JOIN teacher_answer a
            ON a.distillation_id = p.distillation_id AND a.sha256 = p.sha256 AND a.teacher = t.teacher
        WHERE p.distillation_id = :id GROUP BY p.sha256
    ) s
    WHERE d.distillation_id = :id AND d.sha256 = s.sha256 AND d.state <> 'left_out'
      AND (d.state = 'done') <> s.settled
""")

# How the photographs stand: by state and, where left out, reason.
COUNT_DISTILLED = text("""
    SELECT state, reason, count(*) AS photographs FROM distilled WHERE distillation_id = :id
    GROUP BY state, reason ORDER BY state, reason
""")

# How the questions stand, by teacher, state and trouble. `again`: asked more than once, so many times in all.
COUNT_ANSWERS = text("""
    SELECT teacher, state, trouble, count(*) AS questions, coalesce(sum(asks - 1), 0) AS again,
           coalesce(sum(tokens_in), 0) AS tokens_in, coalesce(sum(tokens_out), 0) AS tokens_out,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY took_s) AS median_s, max(answered_at) AS newest
    FROM teacher_answer WHERE distillation_id = :id GROUP BY teacher, state, trouble
    ORDER BY teacher, state, trouble
""")

# Answers in the last :within_s seconds, by teacher: how fast it goes.
PACE = text("""
    SELECT teacher, count(*) AS answers, extract(epoch FROM now() - min(answered_at)) AS within_s
    FROM teacher_answer
    WHERE distillation_id = :id AND answered_at > now() - make_interval(secs => :within_s) GROUP BY teacher
""")

# What answers have taken so far from these models (:models), in any distillation: for estimates.
ANSWERS_BEFORE = text("""
    SELECT model, count(*) AS answers, avg(tokens_in) AS tokens_in, avg(tokens_out) AS tokens_out,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY took_s) AS median_s
    FROM teacher_answer
    WHERE model = ANY(CAST(:models AS text[])) AND raw IS NOT NULL AND took_s IS NOT NULL GROUP BY model
""")

# The newest :limit answers of a teacher that have words, for the canary.
NEWEST_TEXTS = text("""
    SELECT sha256, raw, finish_reason FROM teacher_answer
    WHERE distillation_id = :id AND teacher = :teacher AND raw IS NOT NULL
    ORDER BY answered_at DESC, sha256 LIMIT :limit
""")

# All that was said about the next :limit photographs after :after, one row for each answer; a photograph of which
# nothing was said has one row without.
READ_ANSWERS = text("""
    WITH photographs AS (
        SELECT * FROM distilled WHERE distillation_id = :id AND sha256 > :after AND state <> 'left_out'
        ORDER BY sha256 LIMIT :limit
    )
    SELECT d.sha256, d.image_id, d.label_id, d.uri, d.lat AS known_lat, d.lon AS known_lon, d.country_code,
           d.country, d.region, d.city, d.geoname_id, d.grouped_by, d.licence, a.teacher, a.state, a.trouble,
           a.raw, a.finish_reason, a.lat, a.lon, a.confidence, a.model, a.prompt_hash, a.sampling
    FROM photographs d
    LEFT JOIN teacher_answer a ON a.distillation_id = d.distillation_id AND a.sha256 = d.sha256
    ORDER BY d.sha256, a.teacher
""")

# Verification begins anew.
DROP_SAMPLES = text("DELETE FROM distilled_sample WHERE distillation_id = :id")

# Rows: what became of samples. Those whose photograph was erased meanwhile are left out.
ADD_SAMPLES = text("""
    INSERT INTO distilled_sample (distillation_id, sha256, teacher, kept, chosen, dropped_by, reason, reasoning,
                                  answer, cues, measures)
    SELECT :id, r.sha256, r.teacher, r.kept, r.chosen, r.dropped_by, r.reason, r.reasoning, r.answer, r.cues,
           r.measures
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        sha256 text, teacher text, kept boolean, chosen boolean, dropped_by text, reason text, reasoning text,
        answer text, cues jsonb, measures jsonb)
    JOIN teacher_answer a ON a.distillation_id = :id AND a.sha256 = r.sha256 AND a.teacher = r.teacher
    ORDER BY r.sha256, r.teacher FOR KEY SHARE OF a
""")

# How the samples stand: kept, or by which step and why they were dropped.
COUNT_SAMPLES = text("""
    SELECT kept, dropped_by, reason, count(*) AS samples, count(*) FILTER (WHERE chosen) AS chosen,
           count(DISTINCT sha256) AS photographs
    FROM distilled_sample WHERE distillation_id = :id GROUP BY kept, dropped_by, reason
    ORDER BY kept DESC, dropped_by, reason
""")
