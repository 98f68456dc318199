"""Renewals: calibrations that the training worker makes anew

Rules: add before you remove (the previous release keeps running meanwhile); no long locks; big indexes
CONCURRENTLY in an autocommit block. Never edit a migration that has been released.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "calibration_renewal",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("base", sa.Text(), nullable=False, comment="The GLOBETAG_MODEL whose answers are calibrated"),
        sa.Column(
            "model_version_id", sa.BigInteger(), nullable=True, comment="What serves; NULL = the base itself"
        ),
        sa.Column("cause", sa.Text(), nullable=False, comment="promotion, expiry or settings"),
        sa.Column("state", sa.Text(), server_default=sa.text("'asking'"), nullable=False),
        sa.Column(
            "batch_id", postgresql.UUID(as_uuid=False), nullable=False, comment="Of the jobs that it has queued"
        ),
        sa.Column(
            "asked", sa.Integer(), nullable=False, comment="Photographs of known place that it has asked about"
        ),
        sa.Column(
            "times", sa.Integer(), server_default=sa.text("1"), nullable=False, comment="So often has it asked"
        ),
        sa.Column(
            "answers_version",
            sa.Text(),
            nullable=True,
            comment="As in prediction, when it ended; NULL = nothing was answered",
        ),
        sa.Column("detail", sa.Text(), nullable=True, comment="What came of it, in words"),
        sa.Column("labels_until", sa.BigInteger(), nullable=True, comment="The newest label when it ended"),
        sa.Column(
            "predictions_until", sa.BigInteger(), nullable=True, comment="The newest prediction when it ended"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "cause IN ('promotion', 'expiry', 'settings')", name=op.f("ck_calibration_renewal_cause")
        ),
        sa.CheckConstraint(
            "state IN ('asking', 'done', 'refused', 'superseded')", name=op.f("ck_calibration_renewal_state")
        ),
        sa.CheckConstraint(
            "(state = 'asking') = (finished_at IS NULL)", name=op.f("ck_calibration_renewal_final_is_finished")
        ),
        sa.ForeignKeyConstraint(
            ["model_version_id"], ["model_version.id"], name=op.f("fk_calibration_renewal_model_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibration_renewal")),
        comment="Calibrations that are made anew by the training worker. At most one of a base asks at a time.",
    )
    op.create_index("ix_calibration_renewal_base", "calibration_renewal", ["base", "id"])
    op.create_index(
        "uq_calibration_renewal_open",
        "calibration_renewal",
        ["base"],
        unique=True,
        postgresql_where=sa.text("state = 'asking'"),
    )
