-- The surface for people who ask with SQL. Applied after every migration; CREATE OR REPLACE keeps grants and
-- whatever users have built upon it. Only add columns at the end.
--
-- Whatever could tell a place more finely than the image's precision cap goes through the functions of
-- precision.sql (or was stored by triggers that use them: cell_lat, cell_lon), in the list of columns: a condition on rows would not hold against functions that betray what they
-- are given before it is looked at.

-- Two lists without a common sort, so that a condition on the place or the photograph goes down to the indexes of both.
CREATE OR REPLACE VIEW current_location AS
SELECT i.id AS image_id, i.sha256, l.source, coalesce(l.cell_lat, l.lat) AS lat, coalesce(l.cell_lon, l.lon) AS lon,
       shown_radius_km(l.accuracy_m / 1000, l.lat, l.lon, i.precision_km) AS radius_km,
       NULL::double precision AS coverage, shown_granularity('street', i.precision_km) AS granularity,
       shown_country(l.country_code, i.precision_km) AS country_code, shown_region(l.region, i.precision_km) AS region,
       shown_city(l.city, i.precision_km) AS city, shown_geoname(l.geoname_id, i.precision_km) AS geoname_id,
       false AS untrained, l.created_at AS since, i.precision_km
FROM label l JOIN image i ON i.id = l.image_id
WHERE l.id = (
    SELECT o.id FROM label o WHERE o.image_id = l.image_id
    ORDER BY CASE o.source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, o.created_at DESC, o.id DESC LIMIT 1)
UNION ALL
SELECT i.id, i.sha256, 'prediction', coalesce(p.cell_lat, p.lat), coalesce(p.cell_lon, p.lon),
       shown_radius_km(p.radius_km, p.lat, p.lon, i.precision_km), p.coverage,
       shown_granularity(p.granularity, i.precision_km), shown_country(p.country_code, i.precision_km),
       shown_region(p.region, i.precision_km), shown_city(p.city, i.precision_km),
       shown_geoname(p.geoname_id, i.precision_km), m.untrained, p.created_at, i.precision_km
FROM prediction p JOIN image i ON i.id = p.image_id JOIN model_version m ON m.id = p.model_version_id
WHERE p.status = 'located' AND NOT EXISTS (SELECT FROM label l WHERE l.image_id = p.image_id)
  AND NOT EXISTS (
    SELECT FROM prediction o JOIN model_version n ON n.id = o.model_version_id
    WHERE o.image_id = p.image_id AND o.status = 'located' AND o.id <> p.id
      AND (NOT n.untrained, o.created_at, o.id) > (NOT m.untrained, p.created_at, p.id));

COMMENT ON VIEW current_location IS
    'The one place that counts for each image: manual > exif, xmp > import > prediction, then the latest';
COMMENT ON COLUMN current_location.source IS 'manual, exif, xmp, import: known. prediction: inferred by a model';
COMMENT ON COLUMN current_location.radius_km IS 'How far off it may be; NULL = the source does not say';
COMMENT ON COLUMN current_location.coverage IS
    'Share of true places inside radius_km for predictions; NULL = the radius is nominal, not calibrated';
COMMENT ON COLUMN current_location.precision_km IS
    'The cap on the precision: the point is the middle of a grid cell of this size; NULL = in full';
COMMENT ON COLUMN current_location.untrained IS 'true: random weights, the place means nothing';

CREATE OR REPLACE VIEW reasoning_trace AS
SELECT c.name AS collection, j.uri, i.sha256, p.id AS prediction_id, p.status, p.reason,
       shown_country(p.country_code, i.precision_km) AS country_code, shown_region(p.region, i.precision_km) AS region,
       shown_city(p.city, i.precision_km) AS city, shown_lat(p.lat, p.lon, i.precision_km) AS lat,
       shown_lon(p.lat, p.lon, i.precision_km) AS lon,
       CASE WHEN p.lat IS NULL THEN p.radius_km
            ELSE shown_radius_km(p.radius_km, p.lat, p.lon, i.precision_km) END AS radius_km,
       p.coverage, shown_granularity(p.granularity, i.precision_km) AS granularity, p.gate_score,
       unless_capped(t.reasoning, i.precision_km) AS stated_reasons, unless_capped(t.answer, i.precision_km) AS answer,
       CASE WHEN t.withheld THEN NULL ELSE t.search END AS search, t.mean_logprob, t.tokens,
       m.name AS model, m.version AS model_version, m.untrained, p.pipeline_version, p.created_at,
       unless_capped(p.alternatives, i.precision_km) AS alternatives,
       unless_capped(t.samples, i.precision_km) AS other_answers,
       jsonb_array_length(t.injected_text) > 0 AS injected_text, i.precision_km
FROM prediction p
JOIN image i ON i.id = p.image_id
JOIN trace t ON t.prediction_id = p.id
JOIN model_version m ON m.id = p.model_version_id
LEFT JOIN job j ON j.prediction_id = p.id
LEFT JOIN collection c ON c.id = j.collection_id;

COMMENT ON VIEW reasoning_trace IS
    'What the model said for each prediction and job. Stated reasons are the model''s claims, not evidence';
COMMENT ON COLUMN reasoning_trace.search IS
    'Full text over stated_reasons: WHERE search @@ websearch_to_tsquery(''simple'', ''red roofs'')';
COMMENT ON COLUMN reasoning_trace.alternatives IS 'Other places that something speaks for: weight (0..1) and sources';
COMMENT ON COLUMN reasoning_trace.injected_text IS
    'true: the model''s words hold what reads like an instruction, perhaps from the picture. A heuristic';
COMMENT ON COLUMN reasoning_trace.precision_km IS 'The cap on the precision; the model''s words are withheld then';
COMMENT ON COLUMN reasoning_trace.untrained IS 'true: random weights, the text means nothing';

CREATE OR REPLACE VIEW clue AS
SELECT p.id AS prediction_id, p.image_id, n.ordinality AS position,
       unless_capped(n.cue->>'text', i.precision_km) AS clue,
       CAST(n.cue->>'supported' AS boolean) AS supported, shown_country(p.country_code, i.precision_km) AS country_code,
       shown_city(p.city, i.precision_km) AS city, m.untrained
FROM prediction p
JOIN image i ON i.id = p.image_id
JOIN trace t ON t.prediction_id = p.id
JOIN model_version m ON m.id = p.model_version_id,
jsonb_array_elements(t.cues) WITH ORDINALITY AS n(cue, ordinality);

COMMENT ON VIEW clue IS 'One row for each reason that a model stated';
COMMENT ON COLUMN clue.supported IS
    'Does the picture show it? NULL = nobody has checked; false = stated, but not in the picture';

CREATE OR REPLACE VIEW review_queue AS
SELECT i.id AS image_id, i.sha256, j.uri, c.name AS collection, p.id AS prediction_id, p.status,
       shown_lat(p.lat, p.lon, i.precision_km) AS lat, shown_lon(p.lat, p.lon, i.precision_km) AS lon,
       CASE WHEN p.lat IS NULL THEN p.radius_km
            ELSE shown_radius_km(p.radius_km, p.lat, p.lon, i.precision_km) END AS radius_km,
       shown_granularity(p.granularity, i.precision_km) AS granularity,
       unless_capped(p.stated_place, i.precision_km) AS stated_place, p.gate_score,
       unless_capped(t.reasoning, i.precision_km) AS stated_reasons, p.created_at,
       coalesce(jsonb_array_length(t.injected_text) > 0, false) AS injected_text, i.precision_km
FROM prediction p
JOIN image i ON i.id = p.image_id
JOIN job j ON j.prediction_id = p.id
JOIN collection c ON c.id = j.collection_id
JOIN model_version m ON m.id = p.model_version_id
LEFT JOIN trace t ON t.prediction_id = p.id
WHERE p.status <> 'failed' AND NOT m.untrained
  AND NOT p.known AND NOT EXISTS (SELECT FROM label l WHERE l.image_id = i.id)
ORDER BY p.radius_km DESC NULLS FIRST, p.id;

COMMENT ON VIEW review_queue IS 'Inferred places that no known place confirms, the widest first';
COMMENT ON COLUMN review_queue.injected_text IS
    'true: look twice, the model''s words hold what reads like an instruction, perhaps from the picture';

CREATE OR REPLACE VIEW failure AS
SELECT j.id AS job_id, c.name AS collection, j.uri, j.state, j.reason,
       shown_detail(j.detail, j.reason, greatest(c.precision_km, i.precision_km)) AS detail, j.attempts, j.losses,
       j.finished_at, 'job' AS kind, NULL::bigint AS message_id, NULL::text AS queue, NULL::text AS source
FROM job j JOIN collection c ON c.id = j.collection_id LEFT JOIN image i ON i.id = j.image_id
WHERE j.state IN ('failed', 'dead')
UNION ALL
SELECT NULL, NULL, NULL, 'dead', d.reason, d.detail, d.times, NULL, d.received_at, 'message', d.id, d.queue, d.source
FROM dead_message d
WHERE d.replayed_at IS NULL AND d.dropped_at IS NULL;

COMMENT ON VIEW failure IS
    'Every job that ended without an answer and every message that became no job, and why. `globetag retry` tries the '
    'jobs again, `globetag dead` replays or drops the messages';
COMMENT ON COLUMN failure.kind IS 'job, or message: never became a job, so has no job_id, collection, uri and losses';
COMMENT ON COLUMN failure.attempts IS 'Tries of a job; times that a message was refused';
COMMENT ON COLUMN failure.message_id IS 'Its row in dead_message, with the raw message';

CREATE OR REPLACE VIEW collection_progress AS
SELECT c.name AS collection, count(j.id) AS jobs,
       count(*) FILTER (WHERE j.state = 'queued') AS queued,
       count(*) FILTER (WHERE j.state = 'running') AS running,
       count(*) FILTER (WHERE j.outcome = 'known') AS known,
       count(*) FILTER (WHERE j.outcome = 'located') AS located,
       count(*) FILTER (WHERE j.outcome = 'not_locatable') AS not_locatable,
       count(*) FILTER (WHERE j.state = 'failed') AS failed,
       count(*) FILTER (WHERE j.state = 'dead') AS dead,
       max(j.finished_at) AS last_settled,
       c.paused_at AS paused_since
FROM collection c LEFT JOIN job j ON j.collection_id = c.id
GROUP BY c.name, c.paused_at;

COMMENT ON VIEW collection_progress IS 'How far each collection is: what came in is the sum of what stands here';

CREATE OR REPLACE VIEW model_comparison AS
SELECT m.name AS model, m.version AS model_version, m.untrained, p.pipeline_version,
       count(*) AS predictions,
       count(*) FILTER (WHERE p.status = 'located') AS located,
       count(*) FILTER (WHERE p.status = 'not_locatable') AS not_locatable,
       count(*) FILTER (WHERE p.status = 'failed') AS failed,
       count(e.km) AS judged,
       avg((e.km <= 25)::integer) AS within_25_km,
       avg((e.km <= 200)::integer) AS within_200_km,
       avg((e.km <= 750)::integer) AS within_750_km,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY e.km) AS median_km
FROM prediction p
JOIN model_version m ON m.id = p.model_version_id
LEFT JOIN LATERAL (
    SELECT 2 * 6371.0088 * asin(least(1, sqrt(
               sin(radians(p.lat - l.lat) / 2) ^ 2
               + cos(radians(p.lat)) * cos(radians(l.lat)) * sin(radians(p.lon - l.lon) / 2) ^ 2))) AS km
    FROM label l WHERE l.image_id = p.image_id AND p.status = 'located'
    ORDER BY (l.source = 'manual') DESC, (l.source = 'import'), l.created_at DESC LIMIT 1
) e ON true
GROUP BY m.name, m.version, m.untrained, p.pipeline_version;

COMMENT ON VIEW model_comparison IS
    'Each pipeline against known places, where an image has both: shares of located images within a distance';

CREATE OR REPLACE VIEW serving_model AS
SELECT DISTINCT ON (p.base)
       p.base, p.model_version_id, m.name AS model, m.version AS model_version, m.folder, p.previous_id, p.action, p.by,
       p.reason, p.evidence, p.created_at AS since, p.id AS promotion_id
FROM promotion p LEFT JOIN model_version m ON m.id = p.model_version_id
ORDER BY p.base, p.id DESC;

COMMENT ON VIEW serving_model IS
    'What workers with each GLOBETAG_MODEL (base) answer with, since when, by whom and why; no row: the base itself';
COMMENT ON COLUMN serving_model.model_version_id IS 'NULL = the base itself, after a rollback';

CREATE OR REPLACE VIEW calibration_standing AS
SELECT c.id AS calibration_id, n.name AS collection, m.name AS model, m.version AS model_version, c.coverage,
       c.photographs, c.clusters, c.created_at, c.expires_at,
       CASE
           WHEN c.expires_at IS NULL OR c.expires_at <= now() THEN 'expired'
           WHEN EXISTS (
               SELECT FROM calibration later
               WHERE later.answers_version = c.answers_version AND later.id > c.id
                 AND later.collection_id IS NOT DISTINCT FROM c.collection_id) THEN 'superseded'
           WHEN (SELECT coalesce(p.answers_version, p.pipeline_version) FROM prediction p ORDER BY p.id DESC LIMIT 1)
               IS DISTINCT FROM c.answers_version THEN 'other answers'
           ELSE 'in force'
       END AS standing,
       (SELECT count(*) FROM prediction p WHERE p.calibration_id = c.id) AS predictions,
       c.figures, c.answers_version, c.version
FROM calibration c JOIN model_version m ON m.id = c.model_version_id LEFT JOIN collection n ON n.id = c.collection_id;

COMMENT ON VIEW calibration_standing IS
    'Each calibration of the radius: what it promises, from how many photographs, and whether workers use it';
COMMENT ON COLUMN calibration_standing.standing IS
    'in force; superseded by a newer one; expired; other answers = model, gate or settings have changed since';

CREATE OR REPLACE VIEW job_place AS
SELECT j.id AS job_id, i.sha256, i.taken_at, unless_capped(i.caption, k.cap) AS caption, i.width_px, i.height_px,
       coalesce(l.source, CASE WHEN p.status = 'located' THEN 'prediction' END) AS source,
       shown_lat(coalesce(l.lat, p.lat), coalesce(l.lon, p.lon), k.cap) AS lat,
       shown_lon(coalesce(l.lat, p.lat), coalesce(l.lon, p.lon), k.cap) AS lon,
       CASE WHEN l.id IS NOT NULL THEN shown_radius_km(l.accuracy_m / 1000, l.lat, l.lon, k.cap)
            WHEN p.lat IS NULL THEN p.radius_km
            ELSE shown_radius_km(p.radius_km, p.lat, p.lon, k.cap) END AS radius_km,
       CASE WHEN l.id IS NULL THEN p.coverage END AS coverage,
       shown_granularity(CASE WHEN l.id IS NULL THEN p.granularity ELSE 'street' END, k.cap) AS granularity,
       shown_country(CASE WHEN l.id IS NULL THEN p.country_code ELSE l.country_code END, k.cap) AS country_code,
       shown_region(CASE WHEN l.id IS NULL THEN p.region ELSE l.region END, k.cap) AS region,
       shown_city(CASE WHEN l.id IS NULL THEN p.city ELSE l.city END, k.cap) AS city,
       shown_geoname(CASE WHEN l.id IS NULL THEN p.geoname_id ELSE l.geoname_id END, k.cap) AS geoname_id,
       p.reason, shown_detail(p.detail, p.reason, k.cap) AS detail, unless_capped(p.stated_place, k.cap) AS stated_place,
       p.confidence, p.gate_score, p.pipeline_version,
       shown_lat(p.lat, p.lon, k.cap) AS predicted_lat, shown_lon(p.lat, p.lon, k.cap) AS predicted_lon,
       m.name AS model, m.version AS model_version, m.untrained, unless_capped(t.reasoning, k.cap) AS reasoning,
       coalesce(jsonb_array_length(t.injected_text) > 0, false) AS injected_text, k.cap AS precision_km
FROM job j
LEFT JOIN image i ON i.id = j.image_id
LEFT JOIN prediction p ON p.id = j.prediction_id
LEFT JOIN model_version m ON m.id = p.model_version_id
LEFT JOIN trace t ON t.prediction_id = p.id
LEFT JOIN LATERAL (
    SELECT * FROM label WHERE label.image_id = j.image_id
    ORDER BY CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC, id DESC LIMIT 1
) l ON true
LEFT JOIN LATERAL (
    SELECT greatest(i.precision_km, c.precision_km) AS cap FROM collection c WHERE c.id = j.collection_id
) k ON true;

COMMENT ON VIEW job_place IS 'What is known or inferred for the photograph of each job; exports and reports read it';

CREATE OR REPLACE VIEW suggestion AS
SELECT p.id AS prediction_id, p.image_id, i.sha256, s.source, shown_lat(s.lat, s.lon, k.cap) AS lat,
       shown_lon(s.lat, s.lon, k.cap) AS lon, shown_country(s.country_code, k.cap) AS country_code,
       shown_region(s.region, k.cap) AS region, shown_city(s.city, k.cap) AS city,
       shown_geoname(s.geoname_id, k.cap) AS geoname_id,
       s.from_image_id, s.from_sha256, s.from_source, s.cosine, s.minutes_apart, p.created_at, k.cap AS precision_km
FROM prediction p JOIN image i ON i.id = p.image_id
CROSS JOIN LATERAL jsonb_to_recordset(p.suggestions) AS s(
    source text, lat double precision, lon double precision, country_code text, region text, city text,
    geoname_id bigint, from_image_id bigint, from_sha256 text, from_source text, cosine double precision,
    minutes_apart double precision)
JOIN image f ON f.id = s.from_image_id
CROSS JOIN LATERAL (SELECT greatest(i.precision_km, f.precision_km) AS cap) k
WHERE s.source IN ('near_duplicate', 'series')
  AND NOT EXISTS (SELECT FROM label l WHERE l.image_id = p.image_id);

COMMENT ON VIEW suggestion IS
    'Places that photographs without a known one could take over from others of the archive: offers, never labels';
COMMENT ON COLUMN suggestion.source IS
    'near_duplicate: both show the same scene. series: the same folder at nearly the same time';
COMMENT ON COLUMN suggestion.precision_km IS 'The stricter cap of both photographs';
COMMENT ON COLUMN suggestion.from_image_id IS 'The photograph whose known place it is; from_source says who knows it';

CREATE OR REPLACE VIEW my_submission AS
SELECT s.id, s.uri, s.collection, s.hints, s.verify, s.priority, s.source_tag, s.state, s.reason, s.detail, s.job_id,
       s.created_at, s.settled_at, j.state AS job_state, j.reason AS job_reason
FROM submission s LEFT JOIN job j ON j.id = s.job_id AND s.state = 'accepted'
WHERE s.submitted_by = SESSION_USER;

COMMENT ON VIEW my_submission IS
    'What the asking user has inserted into submission, what became of it, and how far its jobs are';

-- Events read their places here and nowhere else. A known place (label) only where the job ended as known.
CREATE OR REPLACE VIEW event_place AS
SELECT o.id AS outbox_id, o.collection_id, coalesce(l.source, 'prediction') AS source,
       shown_lat(coalesce(l.lat, p.lat), coalesce(l.lon, p.lon), k.cap) AS lat,
       shown_lon(coalesce(l.lat, p.lat), coalesce(l.lon, p.lon), k.cap) AS lon,
       CASE WHEN l.id IS NULL THEN shown_radius_km(p.radius_km, p.lat, p.lon, k.cap)
            ELSE shown_radius_km(l.accuracy_m / 1000, l.lat, l.lon, k.cap) END AS radius_km,
       CASE WHEN l.id IS NULL THEN p.coverage END AS coverage,
       shown_granularity(CASE WHEN l.id IS NULL THEN p.granularity ELSE 'street' END, k.cap) AS granularity,
       shown_country(CASE WHEN l.id IS NULL THEN p.country_code ELSE l.country_code END, k.cap) AS country_code,
       shown_region(CASE WHEN l.id IS NULL THEN p.region ELSE l.region END, k.cap) AS region,
       shown_city(CASE WHEN l.id IS NULL THEN p.city ELSE l.city END, k.cap) AS city,
       shown_geoname(CASE WHEN l.id IS NULL THEN p.geoname_id ELSE l.geoname_id END, k.cap) AS geoname_id,
       CASE WHEN l.id IS NULL THEN p.confidence END AS confidence
FROM outbox o
LEFT JOIN prediction p ON p.id = o.prediction_id AND p.status = 'located' AND o.data->>'outcome' = 'located'
LEFT JOIN LATERAL (
    SELECT * FROM label WHERE label.image_id = o.image_id AND o.data->>'outcome' = 'known'
    ORDER BY CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC, id DESC LIMIT 1
) l ON true
LEFT JOIN image i ON i.id = o.image_id
LEFT JOIN collection c ON c.id = o.collection_id
CROSS JOIN LATERAL (SELECT greatest(i.precision_km, c.precision_km) AS cap) k
WHERE o.type = 'geotag.image.located.v1' AND num_nulls(p.id, l.id) < 2;

COMMENT ON VIEW event_place IS 'The place that each event of a located photograph tells';

-- One pass over the outbox in the order of its positions, so that a reader's LIMIT ends it early.
CREATE OR REPLACE VIEW event AS
SELECT o.position, o.event_id AS id, o.type, o.subject, o.created_at AS time, c.name AS collection,
       CASE WHEN j.id IS NULL THEN o.data ELSE jsonb_strip_nulls(
           jsonb_build_object(
               'job_id', j.id, 'collection', c.name, 'uri', event_uri(j.uri),
               'uri_shortened', event_uri(j.uri) <> j.uri, 'sha256', i.sha256, 'prediction_id', p.id,
               'model', m.name, 'model_version', m.version,
               'untrained', coalesce(m.untrained, false) AND o.data->>'outcome' IS DISTINCT FROM 'known')
           || CASE WHEN o.type = 'geotag.image.not_locatable.v1'
                   THEN jsonb_build_object('reason', p.reason, 'detail', left(shown_detail(
                            p.detail, p.reason, greatest(i.precision_km, c.precision_km)), 500)) ELSE '{}' END
           || o.data
           || CASE WHEN o.data ? 'detail'
                   THEN jsonb_build_object('detail', shown_detail(o.data->>'detail', o.data->>'reason',
                                                                  greatest(i.precision_km, c.precision_km)))
                   ELSE '{}' END
           || CASE WHEN o.type = 'geotag.image.located.v1'
                   THEN to_jsonb(e) - ARRAY['outbox_id', 'collection_id'] ELSE '{}' END) END AS data,
       o.id AS outbox_id
FROM outbox o
LEFT JOIN job j ON j.id = CASE WHEN o.type LIKE 'geotag.image.%' THEN CAST(o.subject AS uuid) END
LEFT JOIN collection c ON c.id = j.collection_id
LEFT JOIN image i ON i.id = o.image_id
LEFT JOIN prediction p ON p.id = o.prediction_id
LEFT JOIN model_version m ON m.id = p.model_version_id
LEFT JOIN event_place e ON e.outbox_id = o.id
WHERE o.position IS NOT NULL
  AND CASE WHEN o.type = 'geotag.image.located.v1' THEN j.id IS NOT NULL AND e.outbox_id IS NOT NULL
           WHEN o.type LIKE 'geotag.image.%' THEN j.id IS NOT NULL
           ELSE true END;

COMMENT ON VIEW event IS
    'Settled jobs and promotions as events, while they are kept. Read on from the last position that you have seen';
COMMENT ON COLUMN event.position IS
    'Events become visible in this order, so none appears later below one that was seen; gaps are erased ones';
COMMENT ON COLUMN event.id IS 'The same each time that this event is sent; drop what you have seen';

CREATE OR REPLACE VIEW webhook_standing AS
SELECT w.id AS webhook_id, substring(event_uri(w.url) FROM '^[^:/]+://[^/]+') AS receiver, w.types, c.name AS collection, w.enabled, w.disabled_reason,
       w.failing_since,
       count(d.outbox_id) FILTER (WHERE d.state = 'pending') AS pending,
       count(d.outbox_id) FILTER (WHERE d.state = 'delivered') AS delivered,
       count(d.outbox_id) FILTER (WHERE d.state = 'dead') AS dead,
       max(d.finished_at) FILTER (WHERE d.state = 'delivered') AS last_delivered_at,
       (array_agg(d.problem ORDER BY d.due_at DESC) FILTER (WHERE d.problem IS NOT NULL))[1] AS last_problem
FROM webhook w
LEFT JOIN collection c ON c.id = w.collection_id
LEFT JOIN webhook_delivery d ON d.webhook_id = w.id
GROUP BY w.id, c.name;

COMMENT ON VIEW webhook_standing IS 'Each webhook: what it wants, whether it works, how its deliveries stand';
COMMENT ON COLUMN webhook_standing.dead IS 'Given up after all attempts; `globetag webhook enable` tries them again';

CREATE OR REPLACE VIEW image_embedding AS
SELECT id AS image_id, sha256, embedding_model_id, unless_capped(embedding, precision_km) AS embedding, precision_km
FROM image;

COMMENT ON VIEW image_embedding IS
    'The gate''s embedding of each image; withheld under a precision cap, for what looks alike is often near';

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'globetag_reader') THEN
        CREATE ROLE globetag_reader NOLOGIN;
    END IF;
EXCEPTION WHEN insufficient_privilege OR unique_violation OR duplicate_object THEN
    RAISE WARNING 'role globetag_reader was not created (%): ask a superuser, then run db upgrade again', SQLERRM;
END $$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'globetag_reader') THEN
        GRANT USAGE ON SCHEMA public TO globetag_reader;
        GRANT SELECT ON collection, model_version, calibration, training_run, curation, promotion, promotion_failure,
            outbox_state, webhook_delivery, my_submission, calibration_renewal, distillation,
            current_location, reasoning_trace, clue, review_queue, failure, collection_progress, model_comparison,
            job_place, serving_model, calibration_standing, suggestion, image_embedding, event, event_place,
            webhook_standing TO globetag_reader;
    END IF;
END $$;
