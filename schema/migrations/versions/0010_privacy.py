"""Precision caps, the hashes of what was forgotten, who read precise positions, text that gives orders

Rules: add before you remove (the previous release keeps running meanwhile); no long locks; big indexes
CONCURRENTLY in an autocommit block. Never edit a migration that has been released.

`image.precision_km` and `trace.withheld` are kept by triggers, so that views need not look for the collections that
hold an image. A cap that is set waits for all who write jobs and keeps them waiting until it is in force: nobody can
slip a photograph in between. An image that no collection holds any more is as coarse as the strictest collection asks.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_LISTED = (
    "reason IN ('unreachable', 'not_found', 'refused_address', 'forbidden', 'too_large', 'empty', 'not_an_image', "
    "'unsupported', 'unreadable', 'model_error', 'unparsable', 'timeout', 'worker_lost', 'internal_error', "
    "'unknown_region', 'cancelled', 'forgotten', 'gate_below_threshold', 'no_place_stated', 'place_unknown', "
    "'samples_disagree', 'too_uncertain', 'outside_region', 'only_text_evidence')"
)


def upgrade() -> None:
    for table in ("prediction", "job"):
        op.drop_constraint(op.f(f"ck_{table}_reason"), table, type_="check")
        op.create_check_constraint(op.f(f"ck_{table}_reason"), table, _LISTED)
    _forgotten()
    _position_read()
    op.add_column(
        "collection",
        sa.Column(
            "precision_km",
            sa.Double(),
            nullable=True,
            comment="Readers see its places no finer than this; NULL = in full",
        ),
    )
    op.create_check_constraint(
        op.f("ck_collection_precision_km"), "collection", "precision_km BETWEEN 0.1 AND 5000"
    )
    op.add_column(
        "image",
        sa.Column(
            "precision_km",
            sa.Double(),
            nullable=True,
            comment="The strictest cap of the collections that hold it (of all, where none does). Kept by triggers",
        ),
    )
    op.add_column(
        "trace",
        sa.Column(
            "injected_text",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
            comment="Passages that read like instructions to a model: the picture may try to steer it. A heuristic",
        ),
    )
    op.add_column(
        "trace",
        sa.Column(
            "withheld",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="The image has a precision cap, so that views show no text. Kept by triggers",
        ),
    )
    _triggers()


def _forgotten() -> None:
    op.create_table(
        "forgotten",
        sa.Column(
            "sha256", sa.Text(), nullable=False, comment="Of the content that was erased and may not come back"
        ),
        sa.Column("forgotten_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("forgotten_by", sa.Text(), nullable=False, comment="Who had it erased"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "reason IN ('erasure_request', 'rights', 'retention', 'mistake', 'other')",
            name=op.f("ck_forgotten_reason"),
        ),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name=op.f("ck_forgotten_sha256")),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_forgotten")),
        comment="Photographs that were erased. Nothing is kept of them but the hash that they are refused by.",
    )


def _position_read() -> None:
    op.create_table(
        "position_read",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "request_id",
            postgresql.UUID(as_uuid=False),
            nullable=False,
            comment="Photographs that were asked for together",
        ),
        sa.Column("sha256", sa.Text(), nullable=False, comment="Of the photograph whose position was asked for"),
        sa.Column("read_by", sa.Text(), nullable=False, comment="The login, whatever role it had put on"),
        sa.Column("purpose", sa.Text(), nullable=False, comment="In the reader's own words"),
        sa.Column("read_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "transaction",
            sa.BigInteger(),
            nullable=False,
            comment="In which it was asked; answered is only in a later one",
        ),
        sa.CheckConstraint("length(btrim(purpose)) >= 5", name=op.f("ck_position_read_purpose")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_position_read")),
        comment="Who asked for which precise position, when and what for. Append-only.",
    )
    op.create_index("ix_position_read_request_id", "position_read", ["request_id"])
    op.create_index("ix_position_read_sha256", "position_read", ["sha256"])


def _triggers() -> None:
    op.execute("""
        CREATE FUNCTION precision_refresh(changed bigint[]) RETURNS void LANGUAGE plpgsql
        SET plan_cache_mode = force_custom_plan AS $$
        BEGIN
            WITH caps AS MATERIALIZED (
                SELECT i.id, CASE WHEN EXISTS (SELECT FROM job j WHERE j.image_id = i.id)
                    THEN (SELECT max(c.precision_km) FROM job j JOIN collection c ON c.id = j.collection_id
                          WHERE j.image_id = i.id)
                    ELSE (SELECT max(c.precision_km) FROM collection c) END AS cap
                FROM image i WHERE i.id = ANY(changed)
            )
            UPDATE image SET precision_km = caps.cap FROM caps
            WHERE image.id = caps.id AND image.precision_km IS DISTINCT FROM caps.cap;
            UPDATE trace SET withheld = i.precision_km IS NOT NULL
            FROM prediction p JOIN image i ON i.id = p.image_id
            WHERE trace.prediction_id = p.id AND p.image_id = ANY(changed)
              AND trace.withheld <> (i.precision_km IS NOT NULL);
        END $$
    """)
    op.execute("""
        CREATE FUNCTION precision_hears_of_job() RETURNS trigger LANGUAGE plpgsql
        SET plan_cache_mode = force_custom_plan AS $$
        DECLARE
            changed bigint[] := ARRAY[
                CASE WHEN TG_OP <> 'DELETE' THEN NEW.image_id END, CASE WHEN TG_OP <> 'INSERT' THEN OLD.image_id END];
        BEGIN
            IF EXISTS (SELECT FROM collection WHERE precision_km IS NOT NULL) THEN
                PERFORM precision_refresh(changed);
            END IF;
            RETURN NULL;
        END $$
    """)
    for event, condition in (
        ("INSERT", "NEW.image_id IS NOT NULL"),
        (
            "UPDATE",
            "(OLD.image_id, OLD.collection_id, OLD.prediction_id)"
            " IS DISTINCT FROM (NEW.image_id, NEW.collection_id, NEW.prediction_id)",
        ),
        ("DELETE", "OLD.image_id IS NOT NULL"),
    ):
        columns = " OF image_id, collection_id, prediction_id" if event == "UPDATE" else ""
        op.execute(f"""
            CREATE TRIGGER precision_{event.lower()} AFTER {event}{columns} ON job FOR EACH ROW WHEN ({condition})
            EXECUTE FUNCTION precision_hears_of_job()
        """)
    op.execute("""
        CREATE FUNCTION precision_hears_of_collection() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            LOCK TABLE job IN SHARE MODE;
            PERFORM precision_refresh(ARRAY(
                SELECT j.image_id FROM job j WHERE j.collection_id = NEW.id AND j.image_id IS NOT NULL
                UNION SELECT i.id FROM image i WHERE NOT EXISTS (SELECT FROM job j WHERE j.image_id = i.id)));
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER precision_cap AFTER UPDATE OF precision_km ON collection FOR EACH ROW
        WHEN (OLD.precision_km IS DISTINCT FROM NEW.precision_km)
        EXECUTE FUNCTION precision_hears_of_collection()
    """)
