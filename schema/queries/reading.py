"""What people read: progress, failures, rows for reports and exports."""

from sqlalchemy import text

# How a batch (NULL: everything) stands, by state, outcome and reason.
BATCH_SUMMARY = text("""
    SELECT state, outcome, reason, reused, count(*) AS jobs
    FROM job WHERE (CAST(:batch_id AS uuid) IS NULL OR batch_id = :batch_id)
    GROUP BY state, outcome, reason, reused
""")

# How many jobs of a batch are settled, and how many wait for a later try.
BATCH_PROGRESS = text("""
    SELECT count(*) FILTER (WHERE state IN ('done', 'failed', 'dead')) AS settled, count(*) AS jobs,
           count(*) FILTER (WHERE state = 'done') AS done,
           count(*) FILTER (WHERE state = 'queued' AND due_at > now()) AS later,
           CAST(extract(epoch FROM min(due_at) FILTER (WHERE state = 'queued' AND due_at > now()) - now())
                AS double precision) AS next_due_s
    FROM job WHERE batch_id = CAST(:batch_id AS uuid)
""")

# Everything that a report or an export says of each job of a batch or a collection (NULL: all), streamed.
READ_JOBS = text("""
    SELECT j.id AS job_id, c.name AS collection, j.uri, j.state, j.outcome, j.reused,
           coalesce(j.reason, l.reason) AS reason,
           coalesce(shown_detail(j.detail, j.reason, l.precision_km), l.detail) AS detail, j.finished_at,
           l.sha256, l.taken_at, l.caption, l.width_px, l.height_px,
           l.source, l.lat, l.lon, l.radius_km, l.coverage, l.granularity, l.country_code, l.region, l.city,
           l.geoname_id, l.stated_place, l.confidence, l.gate_score, l.model, l.model_version, l.untrained,
           l.pipeline_version, l.reasoning, l.predicted_lat, l.predicted_lon, l.injected_text, l.precision_km
    FROM job j
    JOIN collection c ON c.id = j.collection_id
    LEFT JOIN job_place l ON l.job_id = j.id
    WHERE (CAST(:batch_id AS uuid) IS NULL OR j.batch_id = :batch_id)
      AND (CAST(:collection AS text) IS NULL OR c.name = :collection)
    ORDER BY j.uri, j.id
""")

# What may contradict each other about each photograph of a collection (NULL: all), by folder and time: the known
# place that counts, the prediction of a trained model, the records. A folder is an address up to the last slash.
READ_CONFLICTING = text("""
    SELECT j.uri, regexp_replace(j.uri, '[^/]*$', '') AS folder, j.finished_at, i.taken_at,
           coalesce(j.hints->>'text', i.caption) AS caption, c.region AS collection_region,
           j.hints->>'region' AS job_region, l.lat, l.lon, l.source,
           CASE WHEN NOT m.untrained THEN p.lat END AS predicted_lat,
           CASE WHEN NOT m.untrained THEN p.lon END AS predicted_lon, p.radius_km AS predicted_radius_km
    FROM job j
    JOIN collection c ON c.id = j.collection_id
    JOIN image i ON i.id = j.image_id
    LEFT JOIN prediction p ON p.id = j.prediction_id AND p.status = 'located'
    LEFT JOIN model_version m ON m.id = p.model_version_id
    LEFT JOIN LATERAL (
        SELECT * FROM label WHERE label.image_id = j.image_id
        ORDER BY CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC, id DESC
        LIMIT 1
    ) l ON true
    WHERE CAST(:collection AS text) IS NULL OR c.name = :collection
    ORDER BY c.id, folder, i.taken_at, j.uri
""")

# Collections with their counts.
LIST_PROGRESS = text("SELECT * FROM collection_progress ORDER BY collection")

# Failures of jobs by reason, with an example.
LIST_FAILURES = text("""
    SELECT reason, count(*) AS jobs, min(uri) AS example FROM failure WHERE kind = 'job'
    GROUP BY reason ORDER BY count(*) DESC
""")

# Jobs settled in the last minute: the rate that `status` shows.
RATE = text("SELECT count(*) AS settled FROM job WHERE finished_at > now() - make_interval(secs => :window_s)")
