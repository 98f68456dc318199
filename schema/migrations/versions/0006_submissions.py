"""Submissions by SQL

Rules: add before you remove (the previous release keeps running meanwhile); no long locks; big indexes
CONCURRENTLY in an autocommit block. Never edit a migration that has been released.

The trigger wakes `globetag ingress` once for each statement, not for each row: notifications take a lock on the
whole database while a transaction commits.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "job",
        sa.Column(
            "source_sequence",
            sa.Text(),
            nullable=True,
            comment="S3's sequencer of the newest event about the source",
        ),
    )
    op.create_table(
        "submission",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("collection", sa.Text(), server_default=sa.text("'default'"), nullable=False),
        sa.Column(
            "hints", JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False, comment="text, region, date"
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
            "source_tag",
            sa.Text(),
            nullable=True,
            comment="ETag or the like; a photograph whose tag has changed is queued again",
        ),
        sa.Column("source_sequence", sa.Text(), nullable=True, comment="As in job"),
        sa.Column(
            "job_id",
            UUID(as_uuid=False),
            nullable=True,
            comment="Chosen by the producer, else the job that it became",
        ),
        sa.Column("state", sa.Text(), server_default=sa.text("'new'"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it was refused, one of MessageReason"),
        sa.Column("detail", sa.Text(), nullable=True, comment="The same in words"),
        sa.Column(
            "submitted_by",
            sa.Text(),
            server_default=sa.text("SESSION_USER"),
            nullable=False,
            comment="Who logged in",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "settled_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was accepted or refused",
        ),
        sa.CheckConstraint("state IN ('new', 'accepted', 'refused')", name=op.f("ck_submission_state")),
        sa.CheckConstraint(
            "(state = 'refused') = (reason IS NOT NULL)", name=op.f("ck_submission_refusal_has_reason")
        ),
        sa.CheckConstraint("(state = 'new') = (settled_at IS NULL)", name=op.f("ck_submission_settled_has_time")),
        sa.CheckConstraint(
            "state <> 'accepted' OR job_id IS NOT NULL", name=op.f("ck_submission_accepted_has_job")
        ),
        sa.CheckConstraint(
            "char_length(uri) <= 8192 AND char_length(collection) <= 200 AND char_length(source_tag) <= 200"
            " AND octet_length(CAST(hints AS text)) <= 65536",
            name=op.f("ck_submission_bounded"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submission")),
        comment="Photographs that programs ask for with SQL. `globetag ingress` makes jobs of them, or says why not.",
    )
    op.create_index("ix_submission_due", "submission", ["due_at"], postgresql_where=sa.text("state = 'new'"))
    op.create_index("ix_submission_submitted_by", "submission", ["submitted_by", "id"])
    op.create_index(
        "ix_submission_settled", "submission", ["settled_at"], postgresql_where=sa.text("state = 'accepted'")
    )
    op.execute("""
        CREATE FUNCTION submission_wakes() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('globetag_submission', '');
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER submission_wakes AFTER INSERT ON submission FOR EACH STATEMENT
        EXECUTE FUNCTION submission_wakes()
    """)
