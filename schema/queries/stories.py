"""One job's whole story, from its row to the models that answered."""

from sqlalchemy import text

# The jobs of an id or of an address, the latest first; an address may stand in several collections.
FIND_JOBS = text("""
    SELECT j.id FROM job j JOIN collection c ON c.id = j.collection_id
    WHERE (j.id = CAST(:job_id AS uuid) OR j.uri = :uri)
      AND (CAST(:collection AS text) IS NULL OR c.name = :collection)
    ORDER BY j.created_at DESC, j.id LIMIT :limit
""")

# The job's own row.
TELL_JOB = text("""
    SELECT j.id AS job_id, c.name AS collection, j.uri, j.hints, j.verify, j.priority, j.batch_id, j.state,
           j.outcome, j.reused, j.reason, j.detail, j.attempts, j.losses, j.worker, j.created_at, j.due_at,
           j.published_at, j.started_at, j.lease_until, j.finished_at, j.pipeline_version, j.image_id,
           j.prediction_id,
           c.region AS collection_region, c.max_radius_km AS collection_max_radius_km,
           j.lease_until < now() AS lease_is_over, j.due_at > now() AS is_due_later
    FROM job j JOIN collection c ON c.id = j.collection_id WHERE j.id = CAST(:job_id AS uuid)
""")

# The photograph, as it was read.
TELL_IMAGE = text("""
    SELECT i.sha256, i.format, i.width_px, i.height_px, i.size_bytes, i.taken_at, i.caption, i.data_mining,
           i.metadata_notes, i.embedding IS NOT NULL AS is_embedded, i.created_at
    FROM image i WHERE i.id = :image_id
""")

# Its known places, the one that counts first.
TELL_LABELS = text("""
    SELECT source, lat, lon, accuracy_m, country_code, region, city, author, note, created_at FROM label
    WHERE image_id = :image_id
    ORDER BY CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC, id DESC
""")

# What was inferred, with all versions that took part.
TELL_PREDICTION = text("""
    SELECT p.id AS prediction_id, p.status, p.reason, p.detail, p.lat, p.lon, p.radius_km, p.coverage,
           p.granularity, p.country_code, p.region, p.city, p.geoname_id, p.stated_place, p.confidence,
           p.gate_score, p.alternatives, p.suggestions, p.notes, p.difficulty, p.created_at, p.pipeline_version,
           p.answers_version, p.request_hash, p.prompt_hash, p.sampling, p.gazetteer_version, p.code_version,
           m.name AS model, m.version AS model_version, m.untrained, g.name AS gate, g.version AS gate_version,
           k.version AS calibration_version, k.created_at AS calibrated_at
    FROM prediction p
    JOIN model_version m ON m.id = p.model_version_id
    JOIN model_version g ON g.id = p.gate_version_id
    LEFT JOIN calibration k ON k.id = p.calibration_id
    WHERE p.id = :prediction_id
""")

# What the model printed.
TELL_TRACE = text("""
    SELECT reasoning, answer, cues, tokens, mean_logprob, finish_reason, samples FROM trace
    WHERE prediction_id = :prediction_id
""")
