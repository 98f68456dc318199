"""Calibrated radius: difficulty of predictions, what calibrations are for and made from

Rules: add before you remove (the previous release keeps running meanwhile); no long locks; big indexes
CONCURRENTLY in an autocommit block. Never edit a migration that has been released.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "prediction",
        sa.Column(
            "answers_version",
            sa.Text(),
            nullable=True,
            comment="pipeline_version without calibrations; NULL = the same as that",
        ),
    )
    op.add_column(
        "prediction",
        sa.Column(
            "difficulty",
            postgresql.JSONB(),
            nullable=True,
            comment="The signs that the radius follows from; NULL = no place was chosen",
        ),
    )
    op.add_column(
        "calibration",
        sa.Column(
            "collection_id", sa.BigInteger(), nullable=True, comment="For its photographs; NULL = for all others"
        ),
    )
    op.create_foreign_key(
        op.f("fk_calibration_collection_id"), "calibration", "collection", ["collection_id"], ["id"]
    )
    op.add_column(
        "calibration",
        sa.Column(
            "answers_version",
            sa.Text(),
            nullable=True,
            comment="As in prediction: it is good for these answers and no others",
        ),
    )
    op.add_column(
        "calibration",
        sa.Column(
            "photographs",
            sa.Integer(),
            nullable=True,
            comment="Located ones with a known place that it was made from",
        ),
    )
    op.add_column(
        "calibration",
        sa.Column(
            "clusters",
            sa.Integer(),
            nullable=True,
            comment="Places and series that they come from: so many independent witnesses",
        ),
    )
    op.add_column(
        "calibration",
        sa.Column(
            "figures",
            postgresql.JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="As it was checked",
        ),
    )
    op.add_column(
        "calibration",
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True, comment="No worker uses it after that"),
    )
    op.create_index("ix_calibration_answers_version", "calibration", ["answers_version"])
    op.create_table_comment(
        "calibration",
        "What turns the difficulty of an answer into a radius with a stated coverage. Append-only.",
        existing_comment="What turns a model's agreement into a radius with a stated coverage.",
    )
