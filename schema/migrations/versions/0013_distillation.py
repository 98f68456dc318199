"""Distillation: photographs of known place, what teachers say of them, what verification keeps

Rules: add before you remove (the previous release keeps running meanwhile); no long locks; big indexes
CONCURRENTLY in an autocommit block. Never edit a migration that has been released.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "distillation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "source",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="{kind: curation, folder or mp16, ...}: whose photographs",
        ),
        sa.Column(
            "collection",
            sa.Text(),
            nullable=True,
            comment="The name of the one collection that was drawn from; NULL = all, or none",
        ),
        sa.Column(
            "curation_id", sa.BigInteger(), nullable=True, comment="The manifest that the photographs come from"
        ),
        sa.Column(
            "teachers",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="[{name, kind, model, url, prompt_hash, sampling, prices, ...}] without secrets",
        ),
        sa.Column(
            "parameters",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="Of verification",
        ),
        sa.Column("state", sa.Text(), server_default=sa.text("'planned'"), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True, comment="In words: why it stands as it does"),
        sa.Column(
            "counts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="Of the last run",
        ),
        sa.Column(
            "standing",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="{teacher: {quarantined: trouble or null, detail, control: what it said of a grey picture}}",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), nullable=True, comment="When its first question went out"
        ),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was last done, failed or interrupted",
        ),
        sa.Column(
            "heartbeat_at", sa.DateTime(timezone=True), nullable=True, comment="When its process was last heard of"
        ),
        sa.CheckConstraint(
            "state IN ('planned', 'running', 'verifying', 'done', 'failed', 'interrupted')",
            name=op.f("ck_distillation_state"),
        ),
        sa.ForeignKeyConstraint(["curation_id"], ["curation.id"], name=op.f("fk_distillation_curation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_distillation")),
        sa.UniqueConstraint("name", name=op.f("uq_distillation_name")),
        comment="Questions to teachers about photographs of known place: whose, by whom, how far they are.",
    )
    op.create_index("ix_distillation_curation_id", "distillation", ["curation_id"], unique=False)
    op.create_table(
        "distilled",
        sa.Column("distillation_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "sha256",
            sa.Text(),
            nullable=False,
            comment="Of the photograph's bytes; a changed file is not asked about",
        ),
        sa.Column("image_id", sa.BigInteger(), nullable=True, comment="Its row, where it is of the archive"),
        sa.Column("label_id", sa.BigInteger(), nullable=True, comment="The label that its place comes from"),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("lat", sa.Double(), nullable=False),
        sa.Column("lon", sa.Double(), nullable=False),
        sa.Column("country_code", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=True),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("city", sa.Text(), nullable=True),
        sa.Column("geoname_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "grouped_by", sa.Text(), nullable=True, comment="Photographer or series: a split keeps these together"
        ),
        sa.Column("licence", sa.Text(), nullable=True, comment="As its source states it"),
        sa.Column("state", sa.Text(), server_default=sa.text("'open'"), nullable=False),
        sa.Column(
            "reason", sa.Text(), nullable=True, comment="Why it was left out: changed, or as a job's reason"
        ),
        sa.CheckConstraint(
            "(state = 'left_out') = (reason IS NOT NULL)", name=op.f("ck_distilled_left_out_has_reason")
        ),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_distilled_sha256")),
        sa.CheckConstraint("state IN ('open', 'done', 'left_out')", name=op.f("ck_distilled_state")),
        sa.CheckConstraint("(lat IS NULL) = (lon IS NULL)", name=op.f("ck_distilled_lat_with_lon")),
        sa.CheckConstraint("lat BETWEEN -90 AND 90", name=op.f("ck_distilled_lat_range")),
        sa.CheckConstraint("lon BETWEEN -180 AND 180", name=op.f("ck_distilled_lon_range")),
        sa.ForeignKeyConstraint(
            ["distillation_id"], ["distillation.id"], name=op.f("fk_distilled_distillation_id")
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_distilled_image_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("distillation_id", "sha256", name=op.f("pk_distilled")),
        comment="The photographs of a distillation, with their known place.",
    )
    op.create_index("ix_distilled_image_id", "distilled", ["image_id"], unique=False)
    op.create_index("ix_distilled_sha256", "distilled", ["sha256"], unique=False)
    op.create_table(
        "teacher_answer",
        sa.Column("distillation_id", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("teacher", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Text(),
            server_default=sa.text("'asked'"),
            nullable=False,
            comment="asked: committed before the question goes out",
        ),
        sa.Column(
            "trouble", sa.Text(), nullable=True, comment="Why it is no opinion, as it was judged when it came"
        ),
        sa.Column(
            "detail", sa.Text(), nullable=True, comment="The same in words; may quote the teacher, so untrusted"
        ),
        sa.Column(
            "raw",
            sa.Text(),
            nullable=True,
            comment="Word for word what a language teacher said; NULL = nothing came",
        ),
        sa.Column(
            "finish_reason", sa.Text(), nullable=True, comment="stop, or length where the token limit cut it"
        ),
        sa.Column("lat", sa.Double(), nullable=True, comment="What a coordinate teacher said"),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column("confidence", sa.Double(), nullable=True, comment="Its own, 0..1"),
        sa.Column(
            "asks",
            sa.Integer(),
            server_default=sa.text("1"),
            nullable=False,
            comment="How often the question went out",
        ),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "took_s",
            sa.Double(),
            nullable=True,
            comment="From question to answer, retries and waits for the teacher left out",
        ),
        sa.Column("model", sa.Text(), nullable=True, comment="What the server says that it is"),
        sa.Column("prompt_hash", sa.Text(), nullable=True),
        sa.Column("sampling", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("tokens_in", sa.Integer(), nullable=True),
        sa.Column("tokens_out", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(state = 'troubled') = (trouble IS NOT NULL)", name=op.f("ck_teacher_answer_trouble_is_named")
        ),
        sa.CheckConstraint("finish_reason IN ('stop', 'length')", name=op.f("ck_teacher_answer_finish_reason")),
        sa.CheckConstraint(
            "state <> 'answered' OR num_nonnulls(raw, lat) >= 1",
            name=op.f("ck_teacher_answer_answered_says_something"),
        ),
        sa.CheckConstraint("state IN ('asked', 'answered', 'troubled')", name=op.f("ck_teacher_answer_state")),
        sa.CheckConstraint(
            "trouble IN ('unreachable', 'timeout', 'error', 'refused', 'empty', 'cut', 'unreadable', 'other_language', 'same_for_all', 'no_picture')",
            name=op.f("ck_teacher_answer_trouble"),
        ),
        sa.CheckConstraint("(lat IS NULL) = (lon IS NULL)", name=op.f("ck_teacher_answer_lat_with_lon")),
        sa.CheckConstraint("asks >= 1", name=op.f("ck_teacher_answer_asks")),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name=op.f("ck_teacher_answer_confidence")),
        sa.CheckConstraint("lat BETWEEN -90 AND 90", name=op.f("ck_teacher_answer_lat_range")),
        sa.CheckConstraint("lon BETWEEN -180 AND 180", name=op.f("ck_teacher_answer_lon_range")),
        sa.ForeignKeyConstraint(
            ["distillation_id", "sha256"],
            ["distilled.distillation_id", "distilled.sha256"],
            name=op.f("fk_teacher_answer_distillation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("distillation_id", "sha256", "teacher", name=op.f("pk_teacher_answer")),
        comment="What each teacher said of each photograph, word for word. It is read anew each time it is used.",
    )
    op.create_table(
        "distilled_sample",
        sa.Column("distillation_id", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("teacher", sa.Text(), nullable=False),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column(
            "chosen",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="The best kept one of its photograph, which is learnt from",
        ),
        sa.Column("dropped_by", sa.Text(), nullable=True, comment="The step of verification that dropped it"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why, one of the step's own list"),
        sa.Column(
            "reasoning", sa.Text(), nullable=False, comment="The teacher's stated reasons: claims, not evidence"
        ),
        sa.Column("answer", sa.Text(), nullable=False, comment="Its place in the worker's answer grammar"),
        sa.Column(
            "cues",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
            comment="[{text, visible: true, false or null, by, score}]",
        ),
        sa.Column(
            "measures",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="{name: number}",
        ),
        sa.Column("verified_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "dropped_by IN ('locatable', 'place', 'agreement', 'visible')",
            name=op.f("ck_distilled_sample_dropped_by"),
        ),
        sa.CheckConstraint(
            "kept = (dropped_by IS NULL) AND kept = (reason IS NULL)",
            name=op.f("ck_distilled_sample_dropped_has_reason"),
        ),
        sa.CheckConstraint("kept OR NOT chosen", name=op.f("ck_distilled_sample_chosen_is_kept")),
        sa.ForeignKeyConstraint(
            ["distillation_id", "sha256", "teacher"],
            ["teacher_answer.distillation_id", "teacher_answer.sha256", "teacher_answer.teacher"],
            name="fk_distilled_sample_answer",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("distillation_id", "sha256", "teacher", name=op.f("pk_distilled_sample")),
        comment="What became of each language teacher's reasons and place in verification. Made anew by each.",
    )
    op.create_index(
        "uq_distilled_sample_chosen",
        "distilled_sample",
        ["distillation_id", "sha256"],
        unique=True,
        postgresql_where=sa.text("chosen"),
    )
