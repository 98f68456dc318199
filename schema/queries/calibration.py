"""Calibrations: how far off an answer may be."""

from sqlalchemy import text

# What workers use whose answers are of this version: of each collection (NULL: all others) the newest, unless it
# has expired.
CALIBRATIONS_IN_FORCE = text("""
    SELECT * FROM (
        SELECT DISTINCT ON (c.collection_id) c.id, c.version, n.name AS collection, c.parameters, c.expires_at
        FROM calibration c LEFT JOIN collection n ON n.id = c.collection_id
        WHERE c.answers_version = :answers_version
        ORDER BY c.collection_id, c.id DESC
    ) newest
    WHERE expires_at > now() ORDER BY id
""")

# Returns its id.
ADD_CALIBRATION = text("""
    INSERT INTO calibration (model_version_id, version, coverage, parameters, collection_id, answers_version,
                             photographs, clusters, figures, expires_at)
    VALUES (:model_version_id, :version, :coverage, CAST(:parameters AS jsonb),
            (SELECT id FROM collection WHERE name = :collection), :answers_version, :photographs, :clusters,
            CAST(:figures AS jsonb), now() + make_interval(days => :days))
    RETURNING id
""")

# All calibrations, with where they stand; the latest first.
LIST_CALIBRATIONS = text("SELECT * FROM calibration_standing ORDER BY calibration_id DESC LIMIT :limit")

# What could be calibrated: answers about images in a collection (NULL: all) whose place is known, by their
# version, the latest first.
CALIBRATABLE = text("""
    SELECT coalesce(p.answers_version, p.pipeline_version) AS answers_version, p.model_version_id, m.name AS model,
           m.version AS model_version, m.untrained, m.folder IS NOT NULL AS registered,
           count(*) AS answers, count(p.difficulty) AS with_difficulty, max(p.created_at) AS latest
    FROM prediction p JOIN model_version m ON m.id = p.model_version_id
    WHERE p.status <> 'failed' AND EXISTS (SELECT FROM label l WHERE l.image_id = p.image_id)
      AND (CAST(:collection AS text) IS NULL OR EXISTS (
          SELECT FROM job j JOIN collection c ON c.id = j.collection_id
          WHERE j.image_id = p.image_id AND c.name = :collection))
    GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY latest DESC, 1
""")

# The latest answer of this version for each image. A place that was chosen and then refused for its radius stands
# first among the alternatives: without it only easy photographs would be left. `duplicates`: the photographs that
# show the same scene and gave it their known place.
ANSWERS_TO_CALIBRATE = text("""
    SELECT DISTINCT ON (image_id) image_id, difficulty,
           coalesce(lat, CAST(alternatives->0->>'lat' AS double precision)) AS lat,
           coalesce(lon, CAST(alternatives->0->>'lon' AS double precision)) AS lon,
           ARRAY(SELECT CAST(s->>'from_image_id' AS bigint) FROM jsonb_array_elements(suggestions) s
                 WHERE s->>'source' = 'near_duplicate') AS duplicates
    FROM prediction
    WHERE coalesce(answers_version, pipeline_version) = :answers_version AND model_version_id = :model_version_id
      AND status <> 'failed'
    ORDER BY image_id, created_at DESC, id DESC
""")
