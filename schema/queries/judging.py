"""Known places against predictions."""

from sqlalchemy import text

# The pipelines with predictions of images in a collection (NULL: all) whose place is known, the latest first.
JUDGED_PIPELINES = text("""
    SELECT p.pipeline_version, m.name AS model, m.version AS model_version, m.untrained,
           count(*) AS predictions, max(p.created_at) AS latest
    FROM prediction p JOIN model_version m ON m.id = p.model_version_id
    WHERE EXISTS (SELECT FROM label l WHERE l.image_id = p.image_id)
      AND (CAST(:collection AS text) IS NULL OR EXISTS (
          SELECT FROM job j JOIN collection c ON c.id = j.collection_id
          WHERE j.image_id = p.image_id AND c.name = :collection))
    GROUP BY p.pipeline_version, m.name, m.version, m.untrained
    ORDER BY latest DESC, p.pipeline_version
""")

# Each image with a known place and a prediction of this pipeline: the place that counts (manual > exif, xmp >
# import, then the latest) beside the latest prediction, an answer before a failure.
LABELS_AGAINST_PREDICTIONS = text("""
    SELECT i.sha256, l.id AS label_id, l.lat AS true_lat, l.lon AS true_lon, l.country_code AS true_country_code,
           l.region AS true_region, l.city AS true_city, l.geoname_id AS true_geoname_id,
           p.id AS prediction_id, p.status, p.reason, p.detail, p.lat, p.lon, p.radius_km, p.coverage,
           p.granularity, p.country_code, p.region, p.city, p.geoname_id, p.confidence, t.answer, t.cues
    FROM (
        SELECT DISTINCT ON (image_id) * FROM prediction
        WHERE pipeline_version = :pipeline_version
        ORDER BY image_id, status = 'failed', created_at DESC, id DESC
    ) p
    JOIN image i ON i.id = p.image_id
    JOIN LATERAL (
        SELECT * FROM label WHERE label.image_id = p.image_id
        ORDER BY CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC, id DESC LIMIT 1
    ) l ON true
    LEFT JOIN trace t ON t.prediction_id = p.id
    WHERE CAST(:collection AS text) IS NULL OR EXISTS (
        SELECT FROM job j JOIN collection c ON c.id = j.collection_id
        WHERE j.image_id = p.image_id AND c.name = :collection)
    ORDER BY i.sha256
""")

# How many images have a known place but no prediction of this pipeline.
LABELS_NOT_ASKED = text("""
    SELECT count(*) FROM image i
    WHERE EXISTS (SELECT FROM label l WHERE l.image_id = i.id)
      AND NOT EXISTS (
          SELECT FROM prediction p WHERE p.image_id = i.id AND p.pipeline_version = :pipeline_version)
      AND (CAST(:collection AS text) IS NULL OR EXISTS (
          SELECT FROM job j JOIN collection c ON c.id = j.collection_id
          WHERE j.image_id = i.id AND c.name = :collection))
""")
