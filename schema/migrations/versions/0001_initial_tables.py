"""Initial tables

Rules: add before you remove (the previous release keeps running meanwhile); no long locks; big indexes
CONCURRENTLY in an autocommit block. Never edit a migration that has been released.

Long because it makes every table of the first release.
"""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "collection",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "training_consent",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="May models be trained on its photographs? Nobody has agreed until somebody says so",
        ),
        sa.Column(
            "training_consent_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was last granted or withdrawn",
        ),
        sa.Column("training_consent_by", sa.Text(), nullable=True, comment="Who did"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection")),
        sa.UniqueConstraint("name", name=op.f("uq_collection_name")),
        comment="A named set of photographs: an archive, a fonds, one customer.",
    )
    op.create_table(
        "model_version",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="lvlm or gate"),
        sa.Column(
            "name", sa.Text(), nullable=False, comment="Hub id, folder or open_clip name, as the operator chose it"
        ),
        sa.Column(
            "version", sa.Text(), nullable=False, comment="Hash of the weights and of all that changes an output"
        ),
        sa.Column(
            "untrained",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Random weights: its output is plumbing and says nothing about the photograph",
        ),
        sa.Column(
            "card", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "base",
            sa.Text(),
            nullable=True,
            comment="The GLOBETAG_MODEL that it may be promoted for; NULL = not registered",
        ),
        sa.Column(
            "folder", sa.Text(), nullable=True, comment="Where its weights lie, for those that were trained here"
        ),
        sa.Column(
            "files",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="{file name: SHA-256 of the file} as it was registered",
        ),
        sa.Column(
            "metrics",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="As it was judged",
        ),
        sa.Column("parent_id", sa.BigInteger(), nullable=True, comment="The version that its training began from"),
        sa.Column("training_run_id", sa.BigInteger(), nullable=True, comment="The run that made it"),
        sa.Column("curation_id", sa.BigInteger(), nullable=True, comment="What it has learnt from"),
        sa.CheckConstraint(
            "num_nulls(base, folder, files) IN (0, 3)", name=op.f("ck_model_version_registered_whole")
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["model_version.id"], name=op.f("fk_model_version_parent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_version")),
        sa.UniqueConstraint("kind", "name", "version", name=op.f("uq_model_version_kind_name_version")),
        comment="Every model that has ever answered here or was registered to.",
    )
    op.create_table(
        "promotion",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("base", sa.Text(), nullable=False, comment="The GLOBETAG_MODEL whose workers it counts for"),
        sa.Column(
            "model_version_id", sa.BigInteger(), nullable=True, comment="What serves; NULL = the base itself"
        ),
        sa.Column(
            "previous_id", sa.BigInteger(), nullable=True, comment="What served before; NULL = the base itself"
        ),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False, comment="Who did it: a person, or the trainer"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "evidence",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="What it rests upon",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("action IN ('promote', 'rollback')", name=op.f("ck_promotion_action")),
        sa.CheckConstraint(
            "action = 'rollback' OR model_version_id IS NOT NULL", name=op.f("ck_promotion_promotes_something")
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_promotion_model_version_id")
        ),
        sa.ForeignKeyConstraint(["previous_id"], ["model_version.id"], name=op.f("fk_promotion_previous_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotion")),
        comment="What serves, since when and why: the newest row of each base counts. Append-only.",
    )
    op.create_index("ix_promotion_base", "promotion", ["base", "id"], unique=False)
    op.execute("""
        CREATE FUNCTION promotion_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'promotions are only added: % is refused; promote or roll back instead', TG_OP
                USING ERRCODE = 'restrict_violation';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON promotion
        FOR EACH STATEMENT EXECUTE FUNCTION promotion_is_append_only()
    """)
    op.create_table(
        "promotion_failure",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("promotion_id", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False, comment="It goes on with the version that it had"),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["promotion_id"], ["promotion.id"], name=op.f("fk_promotion_failure_promotion_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotion_failure")),
        comment="Promoted models that a running worker could not load.",
    )
    op.create_index("ix_promotion_failure_promotion_id", "promotion_failure", ["promotion_id"], unique=False)
    op.create_table(
        "calibration",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("model_version_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column(
            "coverage", sa.Double(), nullable=False, comment="Share of true places promised inside radius_km"
        ),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_calibration_model_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibration")),
        sa.UniqueConstraint("version", name=op.f("uq_calibration_version")),
        comment="What turns a model's agreement into a radius with a stated coverage.",
    )
    op.create_table(
        "image",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False, comment="Of the file's bytes, hexadecimal"),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("width_px", sa.Integer(), nullable=False, comment="As shown, after the EXIF turn"),
        sa.Column("height_px", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "taken_at", sa.DateTime(), nullable=True, comment="Camera clock, local time of the place; often wrong"
        ),
        sa.Column("caption", sa.Text(), nullable=True, comment="What the file says of itself: untrusted text"),
        sa.Column(
            "data_mining",
            sa.Text(),
            nullable=True,
            comment="plus:DataMining (IPTC 2023.1); the trainer honours it",
        ),
        sa.Column(
            "metadata_notes",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "embedding", HALFVEC(), nullable=True, comment="L2-normalised CLIP embedding of embedding_model_id"
        ),
        sa.Column("embedding_model_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["embedding_model_id"], ["model_version.id"], name=op.f("fk_image_embedding_model_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("sha256", name=op.f("uq_image_sha256")),
        comment="One row for each distinct file content that was ever decoded.",
    )
    op.create_table(
        "training_run",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False, comment="schedule or person"),
        sa.Column(
            "message_id",
            sa.Text(),
            nullable=True,
            comment="Of the message that asked; a second delivery finds its run",
        ),
        sa.Column("base", sa.Text(), nullable=False, comment="The value of GLOBETAG_MODEL that it trains for"),
        sa.Column("recipe", sa.Text(), nullable=False),
        sa.Column(
            "collection",
            sa.Text(),
            nullable=True,
            comment="The one collection whose labels are learnt from; NULL = all",
        ),
        sa.Column("state", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True, comment="For done runs: promoted, refused or skipped"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it failed"),
        sa.Column(
            "detail", sa.Text(), nullable=True, comment="In words: what was wrong, or why it ended as it did"
        ),
        sa.Column(
            "settings",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("curation_id", sa.BigInteger(), nullable=True, comment="What it learnt from"),
        sa.Column(
            "base_version_id",
            sa.BigInteger(),
            nullable=True,
            comment="The served version that it started from; NULL = the base itself",
        ),
        sa.Column("model_version_id", sa.BigInteger(), nullable=True, comment="What the run produced"),
        sa.Column(
            "progress",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="{stage, step, steps, figures}: where it stands, and the newest figures",
        ),
        sa.Column(
            "metrics",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("worker", sa.Text(), nullable=True, comment="The process that runs it, or did last"),
        sa.Column(
            "losses",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Times its process died with it",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "heartbeat_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When its process was last heard of",
        ),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name=op.f("ck_training_run_state")
        ),
        sa.CheckConstraint("outcome IN ('promoted', 'refused', 'skipped')", name=op.f("ck_training_run_outcome")),
        sa.CheckConstraint(
            "reason IN ('wrong_setup', 'too_little', 'out_of_memory', 'disk_full', 'worker_lost', 'entropy_collapse', 'reward_hacking', 'no_variance', 'reward_failed', 'model_unusable', 'internal_error')",
            name=op.f("ck_training_run_reason"),
        ),
        sa.CheckConstraint("asked_by IN ('schedule', 'person')", name=op.f("ck_training_run_asked_by")),
        sa.CheckConstraint(
            "(state = 'done') = (outcome IS NOT NULL)", name=op.f("ck_training_run_done_has_outcome")
        ),
        sa.CheckConstraint(
            "(state = 'failed') = (reason IS NOT NULL)", name=op.f("ck_training_run_failure_has_reason")
        ),
        sa.CheckConstraint(
            "(state IN ('done', 'failed', 'cancelled')) = (finished_at IS NOT NULL)",
            name=op.f("ck_training_run_final_is_finished"),
        ),
        sa.CheckConstraint(
            "outcome <> 'promoted' OR model_version_id IS NOT NULL",
            name=op.f("ck_training_run_promoted_has_model"),
        ),
        sa.ForeignKeyConstraint(
            ["base_version_id"], ["model_version.id"], name=op.f("fk_training_run_base_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_training_run_model_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_training_run")),
        sa.UniqueConstraint("message_id", name=op.f("uq_training_run_message_id")),
        comment="Runs of the trainer, with their settings and metrics. At most one is queued or running.",
    )
    op.execute(
        "CREATE UNIQUE INDEX uq_training_run_open ON training_run ((true)) WHERE state IN ('queued', 'running')"
    )
    op.create_table(
        "label",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("image_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("lat", sa.Double(), nullable=False),
        sa.Column("lon", sa.Double(), nullable=False),
        sa.Column(
            "accuracy_m", sa.Double(), nullable=True, comment="GPSHPositioningError, or as the author states"
        ),
        sa.Column("country_code", sa.Text(), nullable=True),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("geoname_id", sa.BigInteger(), nullable=True),
        sa.Column("author", sa.Text(), nullable=True, comment="Who set it, for manual and imported labels"),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("source IN ('manual', 'exif', 'xmp', 'import')", name=op.f("ck_label_source")),
        sa.CheckConstraint("(lat IS NULL) = (lon IS NULL)", name=op.f("ck_label_lat_with_lon")),
        sa.CheckConstraint("lat BETWEEN -90 AND 90", name=op.f("ck_label_lat_range")),
        sa.CheckConstraint("lon BETWEEN -180 AND 180", name=op.f("ck_label_lon_range")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_label_image_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label")),
        comment="Known places: truth, by source. Append-only; the latest of the highest source counts.",
    )
    op.create_index("ix_label_image_id", "label", ["image_id"], unique=False)
    op.create_index(
        "uq_label_from_file",
        "label",
        ["image_id", "source"],
        unique=True,
        postgresql_where=sa.text("source IN ('exif', 'xmp')"),
    )
    op.create_table(
        "prediction",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("image_id", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why there is no place"),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("lat", sa.Double(), nullable=True),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column("radius_km", sa.Double(), nullable=True),
        sa.Column(
            "coverage",
            sa.Double(),
            nullable=True,
            comment="Share of true places inside radius_km; NULL = nominal, not calibrated",
        ),
        sa.Column("granularity", sa.Text(), nullable=True),
        sa.Column("country_code", sa.Text(), nullable=True, comment="ISO 3166-1 alpha-2"),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("geoname_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "stated_place",
            sa.Text(),
            nullable=True,
            comment="The place in the model's own words, known to the gazetteer or not",
        ),
        sa.Column("confidence", sa.Double(), nullable=True, comment="NULL until a calibration exists"),
        sa.Column("gate_score", sa.Double(), nullable=True),
        sa.Column(
            "alternatives",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
        ),
        sa.Column(
            "notes", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'::jsonb"), nullable=False
        ),
        sa.Column(
            "pipeline_version", sa.Text(), nullable=False, comment="Hash over all versions and settings below"
        ),
        sa.Column(
            "request_hash", sa.Text(), nullable=False, comment="Hash of the hints and options of the request"
        ),
        sa.Column("model_version_id", sa.BigInteger(), nullable=False),
        sa.Column("gate_version_id", sa.BigInteger(), nullable=False),
        sa.Column("calibration_id", sa.BigInteger(), nullable=True),
        sa.Column("prompt_hash", sa.Text(), nullable=False),
        sa.Column("sampling", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("gazetteer_version", sa.Text(), nullable=False),
        sa.Column("code_version", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "granularity IN ('street', 'city', 'region', 'country')", name=op.f("ck_prediction_granularity")
        ),
        sa.CheckConstraint(
            "reason IN ('unreachable', 'not_found', 'refused_address', 'forbidden', 'too_large', 'empty', 'not_an_image', 'unsupported', 'unreadable', 'model_error', 'unparsable', 'timeout', 'worker_lost', 'internal_error', 'below_threshold', 'model_abstained', 'unknown_place')",
            name=op.f("ck_prediction_reason"),
        ),
        sa.CheckConstraint("status <> 'located' OR lat IS NOT NULL", name=op.f("ck_prediction_located_has_point")),
        sa.CheckConstraint("status = 'located' OR lat IS NULL", name=op.f("ck_prediction_only_located_has_point")),
        sa.CheckConstraint(
            "status = 'located' OR reason IS NOT NULL", name=op.f("ck_prediction_refusal_has_reason")
        ),
        sa.CheckConstraint("status IN ('located', 'not_locatable', 'failed')", name=op.f("ck_prediction_status")),
        sa.CheckConstraint("(lat IS NULL) = (lon IS NULL)", name=op.f("ck_prediction_lat_with_lon")),
        sa.CheckConstraint("lat BETWEEN -90 AND 90", name=op.f("ck_prediction_lat_range")),
        sa.CheckConstraint("lon BETWEEN -180 AND 180", name=op.f("ck_prediction_lon_range")),
        sa.ForeignKeyConstraint(["calibration_id"], ["calibration.id"], name=op.f("fk_prediction_calibration_id")),
        sa.ForeignKeyConstraint(
            ["gate_version_id"], ["model_version.id"], name=op.f("fk_prediction_gate_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_prediction_image_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_prediction_model_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prediction")),
        comment="What a model said of an image. Append-only; never truth.",
    )
    op.create_index("ix_prediction_country_code", "prediction", ["country_code"], unique=False)
    op.create_index("ix_prediction_image_id", "prediction", ["image_id"], unique=False)
    op.create_index(
        "uq_prediction_answer",
        "prediction",
        ["image_id", "pipeline_version", "request_hash"],
        unique=True,
        postgresql_where=sa.text("status <> 'failed'"),
    )
    op.create_table(
        "job",
        sa.Column(
            "id", sa.UUID(as_uuid=False), nullable=False, comment="By default derived from collection and uri"
        ),
        sa.Column("collection_id", sa.BigInteger(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column(
            "source_tag",
            sa.Text(),
            nullable=True,
            comment="Size and time or ETag of the source when it was enqueued",
        ),
        sa.Column(
            "hints", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("verify", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "priority",
            sa.SmallInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="0 bulk, 1 interactive",
        ),
        sa.Column(
            "batch_id", sa.UUID(as_uuid=False), nullable=True, comment="The submission that named this job last"
        ),
        sa.Column("state", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True, comment="For done jobs: known, located or not_locatable"),
        sa.Column(
            "reused",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Answered from an earlier row",
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Counted before the work",
        ),
        sa.Column(
            "losses",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Times the worker died with it",
        ),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "published_at", sa.DateTime(timezone=True), nullable=True, comment="When the broker was last told"
        ),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="The worker's promise to be alive, while running",
        ),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("image_id", sa.BigInteger(), nullable=True),
        sa.Column("prediction_id", sa.BigInteger(), nullable=True),
        sa.Column("pipeline_version", sa.Text(), nullable=True, comment="The pipeline that settled it"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'done') = (outcome IS NOT NULL)", name=op.f("ck_job_done_has_outcome")),
        sa.CheckConstraint("outcome IN ('known', 'located', 'not_locatable')", name=op.f("ck_job_outcome")),
        sa.CheckConstraint(
            "reason IN ('unreachable', 'not_found', 'refused_address', 'forbidden', 'too_large', 'empty', 'not_an_image', 'unsupported', 'unreadable', 'model_error', 'unparsable', 'timeout', 'worker_lost', 'internal_error', 'below_threshold', 'model_abstained', 'unknown_place')",
            name=op.f("ck_job_reason"),
        ),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'dead')", name=op.f("ck_job_state")),
        sa.CheckConstraint(
            "state NOT IN ('failed', 'dead') OR reason IS NOT NULL", name=op.f("ck_job_failure_has_reason")
        ),
        sa.ForeignKeyConstraint(["collection_id"], ["collection.id"], name=op.f("fk_job_collection_id")),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_job_image_id"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["prediction_id"], ["prediction.id"], name=op.f("fk_job_prediction_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        comment="One request to place one photograph. Postgres is the truth, the broker is a wake-up.",
    )
    op.create_index("ix_job_batch", "job", ["batch_id", "state"], unique=False)
    op.create_index("ix_job_collection_id", "job", ["collection_id", "state"], unique=False)
    op.create_index(
        "ix_job_due",
        "job",
        [sa.literal_column("priority DESC"), "due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index("ix_job_image_id", "job", ["image_id"], unique=False)
    op.create_index(
        "ix_job_lease", "job", ["lease_until"], unique=False, postgresql_where=sa.text("state = 'running'")
    )
    op.create_index("ix_job_prediction_id", "job", ["prediction_id"], unique=False)
    op.create_index(
        "ix_job_suspect",
        "job",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("losses > 0 AND state IN ('queued', 'running')"),
    )
    op.create_table(
        "trace",
        sa.Column("prediction_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "reasoning", sa.Text(), nullable=False, comment="The model's stated reasons: a claim, not evidence"
        ),
        sa.Column("answer", sa.Text(), nullable=False, comment="The raw completion, as printed"),
        sa.Column(
            "cues",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
            comment="[{text, supported}]; supported is null where nobody has checked the picture",
        ),
        sa.Column("tokens", sa.Integer(), nullable=True),
        sa.Column("mean_logprob", sa.REAL(), nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column(
            "search",
            postgresql.TSVECTOR(),
            sa.Computed("to_tsvector('simple', left(reasoning, 200000))", persisted=True),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["prediction_id"], ["prediction.id"], name=op.f("fk_trace_prediction_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("prediction_id", name=op.f("pk_trace")),
        comment="What the model printed, one-to-one with its prediction.",
    )
    op.create_index("ix_trace_search", "trace", ["search"], unique=False, postgresql_using="gin")
    op.create_table(
        "curation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False, comment="SHA-256 over parameters, seed, members and counts"),
        sa.Column(
            "collection",
            sa.Text(),
            nullable=True,
            comment="The name of the one collection that was drawn from; NULL = all",
        ),
        sa.Column("labels_until", sa.BigInteger(), nullable=False, comment="The newest label that was looked at"),
        sa.Column(
            "parameters",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="All that was chosen, the seed included",
        ),
        sa.Column("labels_in", sa.Integer(), nullable=False, comment="= train + held_out + the sum of dropped"),
        sa.Column("train", sa.Integer(), nullable=False),
        sa.Column("held_out", sa.Integer(), nullable=False),
        sa.Column(
            "dropped",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="{filter: photographs that it dropped}",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "train >= 0 AND held_out >= 0 AND labels_in >= train + held_out", name=op.f("ck_curation_adds_up")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_curation")),
        sa.UniqueConstraint("hash", name=op.f("uq_curation_hash")),
        comment="Manifests of training data: what was learnt from and what was held out. Immutable.",
    )
    for column, table in (("training_run_id", "training_run"), ("curation_id", "curation")):
        op.create_foreign_key(op.f(f"fk_model_version_{column}"), "model_version", table, [column], ["id"])
    op.create_foreign_key(op.f("fk_training_run_curation_id"), "training_run", "curation", ["curation_id"], ["id"])
    op.create_table(
        "curation_member",
        sa.Column("curation_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "image_id", sa.BigInteger(), nullable=False, comment="An erased photograph leaves its manifests too"
        ),
        sa.Column("side", sa.Text(), nullable=False, comment="train or held_out. Once held out, always held out"),
        sa.Column(
            "sha256",
            sa.Text(),
            nullable=False,
            comment="Of the original that was labelled; a changed one is not used",
        ),
        sa.Column("label_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False, comment="The label's: manual, exif, xmp or import"),
        sa.Column("lat", sa.Double(), nullable=False),
        sa.Column("lon", sa.Double(), nullable=False),
        sa.Column("country_code", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("geoname_id", sa.BigInteger(), nullable=True),
        sa.Column("cell", sa.Text(), nullable=False, comment="Of the grid of cell_km: both sides never share one"),
        sa.Column("uri", sa.Text(), nullable=False, comment="Where the original was"),
        sa.CheckConstraint(
            "source IN ('manual', 'exif', 'xmp', 'import')", name=op.f("ck_curation_member_source")
        ),
        sa.CheckConstraint("side IN ('train', 'held_out')", name=op.f("ck_curation_member_side")),
        sa.CheckConstraint("(lat IS NULL) = (lon IS NULL)", name=op.f("ck_curation_member_lat_with_lon")),
        sa.CheckConstraint("lat BETWEEN -90 AND 90", name=op.f("ck_curation_member_lat_range")),
        sa.CheckConstraint("lon BETWEEN -180 AND 180", name=op.f("ck_curation_member_lon_range")),
        sa.ForeignKeyConstraint(["curation_id"], ["curation.id"], name=op.f("fk_curation_member_curation_id")),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_curation_member_image_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("curation_id", "image_id", name=op.f("pk_curation_member")),
        comment="The photographs of a manifest, with the known place that each was taken in with. Immutable.",
    )
    op.create_index("ix_curation_member_image_id", "curation_member", ["image_id"], unique=False)
    op.execute("""
        CREATE FUNCTION curation_is_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'curations are immutable: % on % is refused', TG_OP, TG_TABLE_NAME
                USING ERRCODE = 'restrict_violation';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON curation
        FOR EACH STATEMENT EXECUTE FUNCTION curation_is_immutable()
    """)
    op.execute("""
        CREATE TRIGGER immutable BEFORE UPDATE OR TRUNCATE ON curation_member
        FOR EACH STATEMENT EXECUTE FUNCTION curation_is_immutable()
    """)
    # Erasing a photograph takes its memberships along: the foreign key's own trigger deletes them, at depth 1.
    op.execute("""
        CREATE TRIGGER only_with_the_image BEFORE DELETE ON curation_member
        FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION curation_is_immutable()
    """)
