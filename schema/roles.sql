-- Who may read and write what. Applied after the views, each time; roles have no login of their own, and a superuser
-- gives them to somebody. Where this role may not make roles, they are made by a superuser, then `db upgrade` again.

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['globetag_precise', 'globetag_producer', 'globetag_worker'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION WHEN insufficient_privilege OR unique_violation OR duplicate_object THEN
            RAISE WARNING 'role % was not created (%): ask a superuser, then run db upgrade again', wanted, SQLERRM;
        END;
    END LOOP;
END $$;

-- Readers: views, and of the tables behind them only the columns that tell no place. What is not named here (hints,
-- captions, notes, embeddings, all that a model wrote) stays closed.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'globetag_reader') THEN
        REVOKE ALL ON image, job, prediction, trace, label, gallery, curation_member, forgotten, position_read,
            dead_message, submission, webhook, idempotency_key, outbox, distilled, teacher_answer, distilled_sample
            FROM globetag_reader;
        GRANT SELECT (id, sha256, format, width_px, height_px, size_bytes, taken_at, data_mining, embedding_model_id,
                      created_at, precision_km) ON image TO globetag_reader;
        GRANT SELECT (id, collection_id, uri, source_tag, verify, priority, batch_id, state, outcome, reused, reason,
                      attempts, losses, due_at, published_at, lease_until, worker, image_id, prediction_id,
                      pipeline_version, created_at, started_at, finished_at) ON job TO globetag_reader;
        GRANT SELECT (id, image_id, status, reason, coverage, confidence, gate_score, pipeline_version, request_hash,
                      model_version_id, gate_version_id, calibration_id, prompt_hash, sampling, gazetteer_version,
                      code_version, created_at, answers_version) ON prediction TO globetag_reader;
        GRANT SELECT (prediction_id, tokens, mean_logprob, finish_reason, withheld) ON trace TO globetag_reader;
        GRANT SELECT (id, image_id, source, author, created_at) ON label TO globetag_reader;
        GRANT SELECT (image_id, collection_id, embedding_model_id, taken_at) ON gallery TO globetag_reader;
        GRANT SELECT (id, event_id, type, subject, collection_id, image_id, prediction_id, created_at, position, sent_at)
            ON outbox TO globetag_reader;
        GRANT SELECT (curation_id, image_id, side, sha256, label_id, source, uri) ON curation_member
            TO globetag_reader;
        GRANT SELECT (distillation_id, sha256, image_id, label_id, uri, licence, state, reason) ON distilled
            TO globetag_reader;
        GRANT SELECT (distillation_id, sha256, teacher, state, trouble, finish_reason, asks, asked_at, answered_at, took_s,
                      model, prompt_hash, sampling, tokens_in, tokens_out) ON teacher_answer TO globetag_reader;
        GRANT SELECT (distillation_id, sha256, teacher, kept, chosen, dropped_by, reason, verified_at)
            ON distilled_sample TO globetag_reader;
    END IF;
END $$;

-- Precise positions are had in two steps, in two transactions: a request that is committed, then the answer to it.
-- In one step, whoever reads could take the row back that says so.
CREATE OR REPLACE FUNCTION request_positions(photographs text[], stated_purpose text)
RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    request uuid := gen_random_uuid();
BEGIN
    IF stated_purpose IS NULL OR length(btrim(stated_purpose)) < 5 THEN
        RAISE EXCEPTION 'say what the positions are wanted for' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO position_read (request_id, sha256, read_by, purpose, transaction)
    SELECT DISTINCT request, i.sha256, session_user, stated_purpose, pg_current_xact_id()::text::bigint
    FROM image i WHERE i.sha256 = ANY(photographs);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'none of these photographs is known' USING ERRCODE = 'no_data_found';
    END IF;
    RETURN request;
END $$;

COMMENT ON FUNCTION request_positions(text[], text) IS
    'Records that the precise positions of these photographs (sha256) are wanted, and what for. Commit, then ask '
    'precise_positions with what it returns, within the hour';

CREATE OR REPLACE FUNCTION precise_positions(request uuid)
RETURNS TABLE (sha256 text, source text, lat double precision, lon double precision, radius_km double precision,
               coverage double precision, granularity text, country_code text, region text, city text, geoname_id bigint,
               stated_place text, stated_reasons text, untrained boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM position_read r
        WHERE r.request_id = request AND r.read_by = session_user AND r.read_at > now() - interval '1 hour'
          AND r.transaction <> coalesce(pg_current_xact_id_if_assigned()::text::bigint, 0))
    THEN
        RAISE EXCEPTION 'there is no such request of yours, younger than an hour and committed'
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY
    SELECT i.sha256, coalesce(l.source, 'prediction'), coalesce(l.lat, p.lat), coalesce(l.lon, p.lon),
           CASE WHEN l.id IS NULL THEN p.radius_km ELSE l.accuracy_m / 1000 END,
           CASE WHEN l.id IS NULL THEN p.coverage END, CASE WHEN l.id IS NULL THEN p.granularity ELSE 'street' END,
           CASE WHEN l.id IS NULL THEN p.country_code ELSE l.country_code END,
           CASE WHEN l.id IS NULL THEN p.region ELSE l.region END,
           CASE WHEN l.id IS NULL THEN p.city ELSE l.city END,
           CASE WHEN l.id IS NULL THEN p.geoname_id ELSE l.geoname_id END,
           p.stated_place, p.reasoning, p.untrained
    FROM position_read r
    JOIN image i ON i.sha256 = r.sha256
    LEFT JOIN LATERAL (
        SELECT * FROM label WHERE label.image_id = i.id
        ORDER BY CASE label.source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, label.created_at DESC,
                 label.id DESC LIMIT 1
    ) l ON true
    LEFT JOIN LATERAL (
        SELECT q.*, m.untrained, t.reasoning
        FROM prediction q JOIN model_version m ON m.id = q.model_version_id LEFT JOIN trace t ON t.prediction_id = q.id
        WHERE q.image_id = i.id AND q.status = 'located'
        ORDER BY m.untrained, q.created_at DESC, q.id DESC LIMIT 1
    ) p ON true
    WHERE r.request_id = request AND (l.id IS NOT NULL OR p.id IS NOT NULL);
END $$;

COMMENT ON FUNCTION precise_positions(uuid) IS
    'The positions of a request of one''s own, in full, with the model''s words: once its record is committed';

REVOKE ALL ON FUNCTION request_positions(text[], text), precise_positions(uuid) FROM PUBLIC;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'globetag_precise') THEN
        GRANT USAGE ON SCHEMA public TO globetag_precise;
        GRANT EXECUTE ON FUNCTION request_positions(text[], text), precise_positions(uuid) TO globetag_precise;
    END IF;
END $$;

-- Whoever may hand in photographs with SQL, and see what became of his own. Nothing else.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'globetag_producer') THEN
        GRANT USAGE ON SCHEMA public TO globetag_producer;
        GRANT INSERT (uri, collection, hints, verify, priority, source_tag, job_id), SELECT (id)
            ON submission TO globetag_producer;
        GRANT SELECT ON my_submission TO globetag_producer;
    END IF;
END $$;

-- Workers and dispatchers: rows of photographs and jobs, no tables of their own making, no deleting of labels or
-- predictions (they are append-only), no promotions, and nothing of who reads what.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'globetag_worker') THEN
        GRANT USAGE ON SCHEMA public TO globetag_worker;
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO globetag_worker;
        REVOKE ALL ON position_read FROM globetag_worker;
        GRANT INSERT ON collection, image, job, label, prediction, trace, gallery, model_version, promotion_failure,
            dead_message, submission, idempotency_key, outbox, webhook_delivery TO globetag_worker;
        GRANT UPDATE ON job, gallery, dead_message, submission, idempotency_key, outbox, outbox_state, webhook,
            webhook_delivery TO globetag_worker;
        GRANT DELETE ON submission, idempotency_key, outbox, webhook_delivery TO globetag_worker;
        GRANT UPDATE (embedding, embedding_model_id, precision_km) ON image TO globetag_worker;
        GRANT UPDATE (request_hash, cell_lat, cell_lon, known) ON prediction TO globetag_worker;
        GRANT UPDATE (cell_lat, cell_lon) ON label TO globetag_worker;
        GRANT UPDATE (withheld) ON trace TO globetag_worker;
        GRANT UPDATE (untrained) ON model_version TO globetag_worker;
        GRANT DELETE ON gallery TO globetag_worker;
    END IF;
END $$;
