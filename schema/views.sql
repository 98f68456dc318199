-- The surface for people who ask with SQL. Applied after every migration; CREATE OR REPLACE keeps grants and
-- whatever users have built upon it. Only add columns at the end.

CREATE OR REPLACE VIEW current_location AS
WITH places AS (
    SELECT l.image_id, l.source, l.lat, l.lon, l.accuracy_m / 1000 AS radius_km, NULL::double precision AS coverage,
           'street' AS granularity, l.country_code, l.region, l.city, l.geoname_id,
           CASE l.source WHEN 'manual' THEN 1 WHEN 'exif' THEN 2 WHEN 'xmp' THEN 2 ELSE 3 END AS rank,
           l.created_at, l.id, false AS untrained
    FROM label l
    UNION ALL
    SELECT p.image_id, 'prediction', p.lat, p.lon, p.radius_km, p.coverage,
           p.granularity, p.country_code, p.region, p.city, p.geoname_id,
           4, p.created_at, p.id, m.untrained
    FROM prediction p JOIN model_version m ON m.id = p.model_version_id
    WHERE p.status = 'located'
)
SELECT DISTINCT ON (i.id)
       i.id AS image_id, i.sha256, p.source, p.lat, p.lon, p.radius_km, p.coverage, p.granularity,
       p.country_code, p.region, p.city, p.geoname_id, p.untrained, p.created_at AS since
FROM image i JOIN places p ON p.image_id = i.id
ORDER BY i.id, p.rank, p.untrained, p.created_at DESC, p.id DESC;

COMMENT ON VIEW current_location IS
    'The one place that counts for each image: manual > exif, xmp > import > prediction, then the latest';
COMMENT ON COLUMN current_location.source IS 'manual, exif, xmp, import: known. prediction: inferred by a model';
COMMENT ON COLUMN current_location.radius_km IS 'How far off it may be; NULL = the source does not say';
COMMENT ON COLUMN current_location.coverage IS
    'Share of true places inside radius_km for predictions; NULL = the radius is nominal, not calibrated';
COMMENT ON COLUMN current_location.untrained IS 'true: random weights, the place means nothing';

CREATE OR REPLACE VIEW reasoning_trace AS
SELECT c.name AS collection, j.uri, i.sha256, p.id AS prediction_id, p.status, p.reason, p.country_code, p.region,
       p.city, p.lat, p.lon, p.radius_km, p.coverage, p.granularity, p.gate_score,
       t.reasoning AS stated_reasons, t.answer, t.search, t.mean_logprob, t.tokens,
       m.name AS model, m.version AS model_version, m.untrained, p.pipeline_version, p.created_at,
       p.alternatives, t.samples AS other_answers
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
COMMENT ON COLUMN reasoning_trace.untrained IS 'true: random weights, the text means nothing';

CREATE OR REPLACE VIEW clue AS
SELECT p.id AS prediction_id, p.image_id, n.ordinality AS position, n.cue->>'text' AS clue,
       CAST(n.cue->>'supported' AS boolean) AS supported, p.country_code, p.city, m.untrained
FROM prediction p
JOIN trace t ON t.prediction_id = p.id
JOIN model_version m ON m.id = p.model_version_id,
jsonb_array_elements(t.cues) WITH ORDINALITY AS n(cue, ordinality);

COMMENT ON VIEW clue IS 'One row for each reason that a model stated';
COMMENT ON COLUMN clue.supported IS
    'Does the picture show it? NULL = nobody has checked; false = stated, but not in the picture';

CREATE OR REPLACE VIEW review_queue AS
SELECT i.id AS image_id, i.sha256, j.uri, c.name AS collection, p.id AS prediction_id, p.status, p.lat, p.lon,
       p.radius_km, p.granularity, p.stated_place, p.gate_score, t.reasoning AS stated_reasons, p.created_at
FROM prediction p
JOIN image i ON i.id = p.image_id
JOIN job j ON j.prediction_id = p.id
JOIN collection c ON c.id = j.collection_id
JOIN model_version m ON m.id = p.model_version_id
LEFT JOIN trace t ON t.prediction_id = p.id
WHERE p.status <> 'failed' AND NOT m.untrained
  AND NOT EXISTS (SELECT FROM label l WHERE l.image_id = i.id)
ORDER BY p.radius_km DESC NULLS FIRST, p.id;

COMMENT ON VIEW review_queue IS 'Inferred places that no known place confirms, the widest first';

CREATE OR REPLACE VIEW failure AS
SELECT j.id AS job_id, c.name AS collection, j.uri, j.state, j.reason, j.detail, j.attempts, j.losses, j.finished_at
FROM job j JOIN collection c ON c.id = j.collection_id
WHERE j.state IN ('failed', 'dead');

COMMENT ON VIEW failure IS 'Every job that ended without an answer, and why. `globetag retry` tries them again';

CREATE OR REPLACE VIEW collection_progress AS
SELECT c.name AS collection, count(j.id) AS jobs,
       count(*) FILTER (WHERE j.state = 'queued') AS queued,
       count(*) FILTER (WHERE j.state = 'running') AS running,
       count(*) FILTER (WHERE j.outcome = 'known') AS known,
       count(*) FILTER (WHERE j.outcome = 'located') AS located,
       count(*) FILTER (WHERE j.outcome = 'not_locatable') AS not_locatable,
       count(*) FILTER (WHERE j.state = 'failed') AS failed,
       count(*) FILTER (WHERE j.state = 'dead') AS dead,
       max(j.finished_at) AS last_settled
FROM collection c LEFT JOIN job j ON j.collection_id = c.id
GROUP BY c.name;

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
SELECT j.id AS job_id, i.sha256, i.taken_at, i.caption, i.width_px, i.height_px,
       coalesce(l.source, CASE WHEN p.status = 'located' THEN 'prediction' END) AS source,
       coalesce(l.lat, p.lat) AS lat, coalesce(l.lon, p.lon) AS lon,
       CASE WHEN l.id IS NULL THEN p.radius_km ELSE l.accuracy_m / 1000 END AS radius_km,
       CASE WHEN l.id IS NULL THEN p.coverage END AS coverage,
       CASE WHEN l.id IS NULL THEN p.granularity ELSE 'street' END AS granularity,
       CASE WHEN l.id IS NULL THEN p.country_code ELSE l.country_code END AS country_code,
       CASE WHEN l.id IS NULL THEN p.region ELSE l.region END AS region,
       CASE WHEN l.id IS NULL THEN p.city ELSE l.city END AS city,
       CASE WHEN l.id IS NULL THEN p.geoname_id ELSE l.geoname_id END AS geoname_id,
       p.reason, p.detail, p.stated_place, p.confidence, p.gate_score, p.pipeline_version,
       p.lat AS predicted_lat, p.lon AS predicted_lon,
       m.name AS model, m.version AS model_version, m.untrained, t.reasoning
FROM job j
LEFT JOIN image i ON i.id = j.image_id
LEFT JOIN prediction p ON p.id = j.prediction_id
LEFT JOIN model_version m ON m.id = p.model_version_id
LEFT JOIN trace t ON t.prediction_id = p.id
LEFT JOIN LATERAL (
    SELECT * FROM label WHERE label.image_id = j.image_id
    ORDER BY CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC, id DESC LIMIT 1
) l ON true;

COMMENT ON VIEW job_place IS 'What is known or inferred for the photograph of each job; exports and reports read it';

CREATE OR REPLACE VIEW suggestion AS
SELECT p.id AS prediction_id, p.image_id, i.sha256, s.source, s.lat, s.lon, s.country_code, s.region, s.city,
       s.geoname_id, s.from_image_id, s.from_sha256, s.from_source, s.cosine, s.minutes_apart, p.created_at
FROM prediction p JOIN image i ON i.id = p.image_id
CROSS JOIN LATERAL jsonb_to_recordset(p.suggestions) AS s(
    source text, lat double precision, lon double precision, country_code text, region text, city text,
    geoname_id bigint, from_image_id bigint, from_sha256 text, from_source text, cosine double precision,
    minutes_apart double precision)
JOIN image f ON f.id = s.from_image_id
WHERE s.source IN ('near_duplicate', 'series')
  AND NOT EXISTS (SELECT FROM label l WHERE l.image_id = p.image_id);

COMMENT ON VIEW suggestion IS
    'Places that photographs without a known one could take over from others of the archive: offers, never labels';
COMMENT ON COLUMN suggestion.source IS
    'near_duplicate: both show the same scene. series: the same folder at nearly the same time';
COMMENT ON COLUMN suggestion.from_image_id IS 'The photograph whose known place it is; from_source says who knows it';

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
        GRANT SELECT ON collection, image, job, prediction, trace, label, model_version, calibration, training_run,
            gallery, curation, curation_member, promotion, promotion_failure, calibration_renewal,
            current_location, reasoning_trace, clue, review_queue, failure, collection_progress, model_comparison,
            job_place, serving_model, calibration_standing, suggestion TO globetag_reader;
    END IF;
END $$;
