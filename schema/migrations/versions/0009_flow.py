"""The flow of jobs: pause and cancel, lanes that share fairly, hosts that are waited for

Rules: add before you remove (the previous release keeps running meanwhile); no long locks; big indexes
CONCURRENTLY in an autocommit block. Never edit a migration that has been released.

The two indexes are made under a lock: of a million queued rows each takes a second or two. Processes that wait for
their turn to migrate hold a snapshot, and CONCURRENTLY would wait for them for ever. Dispatchers of the previous
release go on without `ix_job_due`, with a sort in each round.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_LISTED = (
    "reason IN ('unreachable', 'not_found', 'refused_address', 'forbidden', 'too_large', 'empty', 'not_an_image', "
    "'unsupported', 'unreadable', 'model_error', 'unparsable', 'timeout', 'worker_lost', 'internal_error', "
    "'unknown_region', 'cancelled', 'gate_below_threshold', 'no_place_stated', 'place_unknown', 'samples_disagree', "
    "'too_uncertain', 'outside_region', 'only_text_evidence')"
)


def upgrade() -> None:
    for table in ("prediction", "job"):
        op.drop_constraint(op.f(f"ck_{table}_reason"), table, type_="check")
        op.create_check_constraint(op.f(f"ck_{table}_reason"), table, _LISTED)
    op.add_column(
        "collection",
        sa.Column(
            "paused_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Since when none of its photographs is begun; NULL = it is worked on",
        ),
    )
    op.add_column(
        "job",
        sa.Column(
            "put_off_since",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Since when it waits, untried, for a host or server that answers nobody",
        ),
    )
    op.drop_index("ix_job_due", table_name="job")
    op.create_index(
        "ix_job_due",
        "job",
        ["collection_id", "priority", "due_at"],
        unique=False,
        postgresql_where=sa.text("state = 'queued' AND published_at IS NULL"),
    )
    op.create_index(
        "ix_job_told",
        "job",
        ["priority", "published_at"],
        unique=False,
        postgresql_where=sa.text("state = 'queued' AND published_at IS NOT NULL"),
    )
    for column in ("image_id", "prediction_id"):
        op.drop_index(f"ix_job_{column}", table_name="job")
        op.create_index(
            f"ix_job_{column}",
            "job",
            [column],
            unique=False,
            postgresql_where=sa.text(f"{column} IS NOT NULL"),
        )
