"""The outbox: events that triggers write in the transaction that settles a job or promotes a model; webhooks

Rules: add before you remove (the previous release keeps running meanwhile); no long locks; big indexes
CONCURRENTLY in an autocommit block. Never edit a migration that has been released.

Triggers write the rows, so that whoever settles a job, sweeps included, does so with its event. A row is made only
where somebody wants it: while nobody does, a settled job costs two looks into tables of a few rows. The trigger
reads no place and no name: that is done when the event is sent, by the view `event`.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB, UUID

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("event_id", UUID(as_uuid=False), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column(
            "subject",
            sa.Text(),
            nullable=False,
            comment="The job's id; of a promotion the base that it counts for",
        ),
        sa.Column(
            "collection_id",
            sa.BigInteger(),
            comment="No foreign keys here: the row is made while a job is settled",
        ),
        sa.Column("image_id", sa.BigInteger()),
        sa.Column(
            "prediction_id", sa.BigInteger(), comment="Places are read when an event is sent; none is kept here"
        ),
        sa.Column("data", JSONB(), nullable=False, comment="What changes when the job is tried again"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("position", sa.BigInteger(), comment="In the order in which they became visible; for cursors"),
        sa.Column(
            "sent_at", sa.DateTime(timezone=True), comment="When the exchange had it, or needed it no longer"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("position", name=op.f("uq_outbox_position")),
        comment="Events that were committed, for those who want them. Written by triggers, pruned after a while.",
    )
    op.create_index(
        "ix_outbox_unplaced", "outbox", ["id"], unique=False, postgresql_where=sa.text("position IS NULL")
    )
    op.create_index(
        "ix_outbox_unsent",
        "outbox",
        ["position"],
        unique=False,
        postgresql_where=sa.text("position IS NOT NULL AND sent_at IS NULL"),
    )
    op.create_table(
        "outbox_state",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "publish", sa.Boolean(), nullable=False, comment="Are events made for everybody (GLOBETAG_EVENTS)?"
        ),
        sa.Column("last_position", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_outbox_state_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox_state")),
        comment="One row: whether events are wanted, and the last position that one was given.",
    )
    op.execute("INSERT INTO outbox_state (id, publish) VALUES (1, false)")
    op.create_table(
        "webhook",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column(
            "secret",
            sa.Text(),
            nullable=False,
            comment="Signs what is sent, so it stands here in clear; no reader's",
        ),
        sa.Column(
            "previous_secret", sa.Text(), comment="Signs too until previous_until, while the receiver changes over"
        ),
        sa.Column("previous_until", sa.DateTime(timezone=True)),
        sa.Column("types", JSONB(), comment="The event types that it gets; NULL = all"),
        sa.Column("collection_id", sa.BigInteger(), comment="NULL = all collections"),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("disabled_reason", sa.Text()),
        sa.Column(
            "failures", sa.Integer(), server_default=sa.text("0"), nullable=False, comment="Since the last success"
        ),
        sa.Column("failing_since", sa.DateTime(timezone=True)),
        sa.Column(
            "not_before", sa.DateTime(timezone=True), comment="While it fails it is tried with one event at a time"
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("enabled OR disabled_reason IS NOT NULL", name=op.f("ck_webhook_disabled_has_reason")),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collection.id"], name=op.f("fk_webhook_collection_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
        comment="Addresses that events are posted to, signed (Standard Webhooks).",
    )
    op.create_table(
        "webhook_delivery",
        sa.Column("webhook_id", sa.BigInteger(), nullable=False),
        sa.Column("outbox_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column(
            "attempts",
            sa.Integer(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Counted before the request",
        ),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("status", sa.Integer(), comment="Of the last answer; NULL = there was none"),
        sa.Column("problem", sa.Text(), comment="Why the last attempt failed"),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'dead')", name=op.f("ck_webhook_delivery_state")),
        sa.CheckConstraint(
            "state <> 'dead' OR problem IS NOT NULL", name=op.f("ck_webhook_delivery_dead_has_problem")
        ),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhook.id"], name=op.f("fk_webhook_delivery_webhook_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["outbox_id"], ["outbox.id"], name=op.f("fk_webhook_delivery_outbox_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("webhook_id", "outbox_id", name=op.f("pk_webhook_delivery")),
        comment="Events on their way to webhooks, and what became of them.",
    )
    op.create_index(
        "ix_webhook_delivery_due",
        "webhook_delivery",
        ["webhook_id", "due_at", "outbox_id"],
        unique=False,
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index("ix_webhook_delivery_outbox_id", "webhook_delivery", ["outbox_id"], unique=False)
    op.execute("""
        CREATE FUNCTION event_is_wanted(kind text, in_collection bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
        BEGIN
            RETURN EXISTS (SELECT FROM outbox_state WHERE publish) OR EXISTS (
                SELECT FROM webhook w WHERE w.enabled AND (w.types IS NULL OR w.types ? kind)
                    AND (w.collection_id IS NULL OR w.collection_id = in_collection));
        END $$
    """)
    op.execute("""
        CREATE FUNCTION event_of_job() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            kind text := CASE
                WHEN NEW.state <> 'done' THEN 'geotag.image.failed.v1'
                WHEN NEW.outcome = 'not_locatable' THEN 'geotag.image.not_locatable.v1'
                ELSE 'geotag.image.located.v1' END;
        BEGIN
            IF event_is_wanted(kind, NEW.collection_id) THEN
                INSERT INTO outbox (type, subject, collection_id, image_id, prediction_id, data)
                VALUES (kind, NEW.id, NEW.collection_id, NEW.image_id, NEW.prediction_id,
                        jsonb_strip_nulls(jsonb_build_object(
                            'state', NEW.state, 'outcome', NEW.outcome, 'reason', NEW.reason,
                            'detail', left(NEW.detail, 500), 'attempts', NEW.attempts, 'reused', NEW.reused,
                            'pipeline_version', NEW.pipeline_version)));
                PERFORM pg_notify('globetag_outbox', '');
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER event_of_job AFTER UPDATE OF state ON job FOR EACH ROW
        WHEN (NEW.state IN ('done', 'failed', 'dead') AND OLD.state IS DISTINCT FROM NEW.state)
        EXECUTE FUNCTION event_of_job()
    """)
    op.execute("""
        CREATE FUNCTION event_of_promotion() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF event_is_wanted('geotag.model.promoted.v1', NULL) THEN
                INSERT INTO outbox (type, subject, data)
                SELECT 'geotag.model.promoted.v1', NEW.base, jsonb_strip_nulls(jsonb_build_object(
                    'base', NEW.base, 'action', NEW.action, 'reason', left(NEW.reason, 500),
                    'model_version_id', NEW.model_version_id, 'previous_id', NEW.previous_id,
                    'model', m.name, 'model_version', m.version, 'untrained', m.untrained))
                FROM (SELECT) one LEFT JOIN model_version m ON m.id = NEW.model_version_id;
                PERFORM pg_notify('globetag_outbox', '');
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER event_of_promotion AFTER INSERT ON promotion FOR EACH ROW
        EXECUTE FUNCTION event_of_promotion()
    """)
    # What of an address may be told to others: no user name, no password, and of web addresses neither query nor
    # fragment, because signed addresses carry their key there. Files and S3 keys may hold both signs in their names.
    op.execute(r"""
        CREATE FUNCTION event_uri(uri text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
            SELECT CASE
                WHEN uri ~* '^file:' OR uri !~ '^[A-Za-z][A-Za-z0-9+.-]*:' THEN uri
                WHEN uri ~* '^s3:' THEN regexp_replace(uri, '^([^:/]*:)?(/*)[^/]*@', '\1\2')
                ELSE regexp_replace(regexp_replace(uri, '^([^:/]*:)?([/\\]*)[^/]*@', '\1\2'), '[?#].*$', '') END
        $$
    """)
