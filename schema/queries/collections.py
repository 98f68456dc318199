"""Collections, and what they ask of their places."""

from sqlalchemy import text

# The collection's id; creates it when it is new.
ENSURE_COLLECTION = text("""
    WITH made AS (
        INSERT INTO collection (name) VALUES (:name) ON CONFLICT (name) DO NOTHING RETURNING id
    )
    SELECT id FROM made UNION ALL SELECT id FROM collection WHERE name = :name LIMIT 1
""")

# A collection's id, if there is one of that name.
COLLECTION_ID = text("SELECT id FROM collection WHERE name = :collection")

# May models be trained on a collection's photographs? Returns nothing where there is no such collection.
SET_TRAINING_CONSENT = text("""
    UPDATE collection
    SET training_consent = :granted, training_consent_at = now(), training_consent_by = :granted_by
    WHERE name = :name RETURNING id
""")

# What a collection asks of its places (NULL: nothing). Returns nothing where there is no such collection.
SET_COLLECTION_RULES = text("""
    UPDATE collection SET region = :region, max_radius_km = :max_radius_km WHERE name = :name RETURNING id
""")

# What it asks, whether it is paused, and how precisely it is shown.
COLLECTION_RULES = text("SELECT region, max_radius_km, paused_at, precision_km FROM collection WHERE name = :name")

# How precisely a collection is shown (NULL: in full). Triggers tell its images, while nobody writes jobs.
SET_PRECISION = text("UPDATE collection SET precision_km = :precision_km WHERE name = :name")

# The names of all collections.
COLLECTION_NAMES = text("SELECT name FROM collection ORDER BY name")
