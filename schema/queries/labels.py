"""Known places."""

from sqlalchemy import text

# Sets a known place by hand or by import, for an image that was seen before (by sha256).
ADD_LABEL = text("""
    INSERT INTO label (image_id, source, lat, lon, accuracy_m, country_code, region, city, geoname_id, author,
                       note)
    SELECT id, :source, :lat, :lon, :accuracy_m, :country_code, :region, :city, :geoname_id, :author, :note
    FROM image WHERE sha256 = :sha256
    RETURNING id
""")

# The content hash of what a job's uri held when it was settled.
SHA256_OF_URI = text("""
    SELECT i.sha256 FROM job j JOIN image i ON i.id = j.image_id WHERE j.uri = :uri
    ORDER BY j.finished_at DESC NULLS LAST LIMIT 1
""")
