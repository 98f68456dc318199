"""Messages that never became jobs

Rules: add before you remove (the previous release keeps running meanwhile); no long locks; big indexes
CONCURRENTLY in an autocommit block. Never edit a migration that has been released.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_REASONS = (
    "reason IN ('undecodable', 'wrong_content_type', 'unknown_task', 'unknown_type', 'bad_fields', "
    "'unsupported_option', 'too_large', 'expired', 'delivery_limit', 'undeliverable', 'dead_lettered', "
    "'internal_error')"
)


def upgrade() -> None:
    op.create_table(
        "dead_message",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False, comment="Where it came in; a replay puts it back there"),
        sa.Column(
            "source",
            sa.Text(),
            nullable=False,
            comment="By which way in or out: celery, ingress, s3, cloudevents, http, sql, webhook, …",
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False, comment="In words; may quote the message, so untrusted"),
        sa.Column("body", sa.LargeBinary(), nullable=True, comment="Its first 64 KiB, raw; NULL once dropped"),
        sa.Column("body_bytes", sa.BigInteger(), nullable=False, comment="Its true size"),
        sa.Column(
            "headers",
            JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="Bounded, without what looks like a secret",
        ),
        sa.Column(
            "properties",
            JSONB(),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
            comment="Of AMQP: content_type, content_encoding, message_id, …; bounded",
        ),
        sa.Column(
            "fingerprint",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of queue, headers, ids and whole body: delivered again, it is one row",
        ),
        sa.Column(
            "times",
            sa.Integer(),
            server_default=sa.text("1"),
            nullable=False,
            comment="How often it was refused: delivered again, or sent again word for word",
        ),
        sa.Column("last_refused_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("replayed_at", sa.DateTime(timezone=True), nullable=True, comment="When it was put back"),
        sa.Column("dropped_at", sa.DateTime(timezone=True), nullable=True, comment="When its body was erased"),
        sa.Column("by", sa.Text(), nullable=True, comment="Who replayed or dropped it"),
        sa.CheckConstraint(_REASONS, name=op.f("ck_dead_message_reason")),
        sa.CheckConstraint("octet_length(body) <= 65536", name=op.f("ck_dead_message_body_bounded")),
        sa.CheckConstraint("num_nonnulls(replayed_at, dropped_at) <= 1", name=op.f("ck_dead_message_closed_once")),
        sa.CheckConstraint(
            "(num_nonnulls(replayed_at, dropped_at) = 0) = (by IS NULL)", name=op.f("ck_dead_message_closed_by")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_message")),
        comment="Messages that never became jobs, raw, with the reason. `globetag dead` replays or drops them.",
    )
    op.create_index(
        "uq_dead_message_open",
        "dead_message",
        ["fingerprint"],
        unique=True,
        postgresql_where=sa.text("replayed_at IS NULL AND dropped_at IS NULL"),
    )
