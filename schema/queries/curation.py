"""Curations: what may be learnt from."""

from sqlalchemy import text

# One curation at a time; the lock ends with the transaction. False: another one is at work.
CURATION_LOCK = text("SELECT pg_try_advisory_xact_lock(7453285198)")

# Whoever waits for a lock holds up all who come after; so not for long. Ends with the transaction.
SHORT_LOCK_WAITS = text("SELECT set_config('lock_timeout', '10s', true)")

# Waits until every label that is being written is there, so that no id below the highest appears later.
LABELS_SETTLED = text("LOCK TABLE label IN SHARE MODE")

# The newest label; 0 where there is none.
NEWEST_LABEL = text("SELECT coalesce(max(id), 0) FROM label")

# How far the last curation of a collection (NULL: of everything) looked.
LAST_CURATION = text("""
    SELECT labels_until FROM curation WHERE collection IS NOT DISTINCT FROM CAST(:collection AS text)
    ORDER BY id DESC LIMIT 1
""")

# Each image with a known place: the label that counts (manual > exif, xmp > import, then the latest) among those
# up to :until; whether it came after :since_label and :since (NULL: always) and belongs to :collection (NULL: to
# any); its addresses; whether every collection that holds it has consented; and the side it had in earlier
# curations.
KNOWN_PLACES = text("""
    SELECT i.id AS image_id, i.sha256, i.taken_at, i.data_mining, l.id AS label_id, l.source, l.lat, l.lon,
           l.accuracy_m, l.country_code, l.region, l.city, l.geoname_id,
           (CAST(:since_label AS bigint) IS NULL OR l.id > :since_label)
               AND (CAST(:since AS timestamptz) IS NULL OR l.created_at >= :since) AS is_new,
           CAST(:collection AS text) IS NULL OR coalesce(h.inside, false) AS inside,
           coalesce(h.uris, '{}') AS uris, coalesce(h.consented, false) AS consented, b.side AS before
    FROM image i
    JOIN (
        SELECT DISTINCT ON (image_id) * FROM label WHERE id <= :until
        ORDER BY image_id, CASE source WHEN 'manual' THEN 1 WHEN 'import' THEN 3 ELSE 2 END, created_at DESC,
                 id DESC
    ) l ON l.image_id = i.id
    LEFT JOIN (
        SELECT j.image_id, array_agg(DISTINCT j.uri) AS uris, bool_and(c.training_consent) AS consented,
               bool_or(c.name = :collection) AS inside
        FROM job j JOIN collection c ON c.id = j.collection_id WHERE j.image_id IS NOT NULL GROUP BY j.image_id
    ) h ON h.image_id = i.id
    LEFT JOIN (
        SELECT image_id, CASE WHEN bool_or(side = 'held_out') THEN 'held_out' ELSE 'train' END AS side
        FROM curation_member GROUP BY image_id
    ) b ON b.image_id = i.id
    ORDER BY i.sha256
""")

# The gate's embeddings of these images (:ids), with the gate that made each.
EMBEDDINGS = text("""
    SELECT id AS image_id, embedding_model_id, CAST(embedding AS text) AS embedding FROM image
    WHERE id = ANY(CAST(:ids AS bigint[])) AND embedding IS NOT NULL AND embedding_model_id IS NOT NULL
""")

# What a model (:model_version_id) last came to for each image, by this prompt; not where the gate kept it from
# being asked (:gate_reason), nor where it failed for a cause other than its own words (:own_failure).
GATE_OUTCOMES = text("""
    SELECT DISTINCT ON (image_id) image_id, lat, lon FROM prediction
    WHERE model_version_id = :model_version_id AND prompt_hash = :prompt_hash
        AND reason IS DISTINCT FROM :gate_reason AND (status <> 'failed' OR reason = :own_failure)
    ORDER BY image_id, created_at DESC, id DESC
""")

# How many images the gate kept from this model.
GATE_REFUSALS = text("""
    SELECT count(DISTINCT image_id) FROM prediction
    WHERE model_version_id = :model_version_id AND reason = :gate_reason
""")

# The version that a base model answered as last; nothing where it has not answered here.
BASE_VERSION = text("""
    SELECT id, version FROM model_version WHERE kind = 'lvlm' AND name = :base AND folder IS NULL
    ORDER BY id DESC LIMIT 1
""")

# The id of a model version, if it has a row.
FIND_MODEL_VERSION = text("""
    SELECT id FROM model_version WHERE kind = :kind AND name = :name AND version = :version
""")

# The curation with this hash, if it is stored.
CURATION_BY_HASH = text("SELECT id FROM curation WHERE hash = :hash")

ADD_CURATION = text("""
    INSERT INTO curation (hash, collection, labels_until, parameters, labels_in, train, held_out, dropped)
    VALUES (:hash, :collection, :labels_until, CAST(:parameters AS jsonb), :labels_in, :train, :held_out,
            CAST(:dropped AS jsonb))
    RETURNING id
""")

# Rows: the members of a curation.
ADD_CURATION_MEMBERS = text("""
    INSERT INTO curation_member (curation_id, image_id, side, sha256, label_id, source, lat, lon, country_code,
                                 region, city, geoname_id, cell, uri)
    SELECT :curation_id, r.* FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        image_id bigint, side text, sha256 text, label_id bigint, source text, lat double precision,
        lon double precision, country_code text, region text, city text, geoname_id bigint, cell text, uri text)
""")

# One curation, by :id or (NULL) the latest.
READ_CURATION = text("""
    SELECT id, hash, collection, labels_until, parameters, labels_in, train, held_out, dropped, created_at
    FROM curation WHERE CAST(:id AS bigint) IS NULL OR id = :id ORDER BY id DESC LIMIT 1
""")

# Its members, with what their rights are today: consent may have been withdrawn since.
READ_CURATION_MEMBERS = text("""
    SELECT m.image_id, m.side, m.sha256, m.label_id, m.source, m.lat, m.lon, m.country_code, m.region, m.city,
           m.geoname_id, m.cell, m.uri, i.data_mining,
           coalesce((SELECT bool_and(c.training_consent) FROM job j JOIN collection c ON c.id = j.collection_id
                     WHERE j.image_id = m.image_id), false) AS consented
    FROM curation_member m JOIN image i ON i.id = m.image_id
    WHERE m.curation_id = :id ORDER BY m.sha256
""")

# What is held out in any curation so far, each with the place of the latest one, with what its rights are today.
HELD_OUT_MEMBERS = text("""
    SELECT DISTINCT ON (m.sha256)
           m.image_id, m.side, m.sha256, m.label_id, m.source, m.lat, m.lon, m.country_code, m.region, m.city,
           m.geoname_id, m.cell, m.uri, i.data_mining,
           coalesce((SELECT bool_and(c.training_consent) FROM job j JOIN collection c ON c.id = j.collection_id
                     WHERE j.image_id = m.image_id), false) AS consented
    FROM curation_member m JOIN image i ON i.id = m.image_id
    WHERE m.side = 'held_out' ORDER BY m.sha256, m.curation_id DESC
""")
