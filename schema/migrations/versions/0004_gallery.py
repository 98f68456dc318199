"""The gallery: embedded photographs with a known place, by collection

Rules: add before you remove (the previous release keeps running meanwhile); no long locks; big indexes
CONCURRENTLY in an autocommit block. Never edit a migration that has been released.

A row belongs here as long as a job of the collection holds the image, the image has a label, and its embedding has a
length. Whatever changes one of these calls `gallery_refresh`, in the same transaction. That function reads the
images under a share lock: a label and an embedding that two transactions bring at the same moment do not miss each
other. Plans are made anew each time: a session would keep those that were made while the tables were empty, and read
whole tables by them for each photograph once they are full.
"""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "prediction",
        sa.Column(
            "suggestions",
            JSONB(),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
            comment="Known places of near-duplicates and of the same series; the view suggestion shows them",
        ),
    )
    op.create_table(
        "gallery",
        sa.Column("image_id", sa.BigInteger(), nullable=False),
        sa.Column("collection_id", sa.BigInteger(), nullable=False),
        sa.Column("embedding_model_id", sa.BigInteger(), nullable=False),
        sa.Column("embedding", HALFVEC(), nullable=False, comment="As in image; never of length zero"),
        sa.Column("taken_at", sa.DateTime(), nullable=True, comment="As in image"),
        sa.ForeignKeyConstraint(["collection_id"], ["collection.id"], name=op.f("fk_gallery_collection_id")),
        sa.ForeignKeyConstraint(
            ["embedding_model_id"], ["model_version.id"], name=op.f("fk_gallery_embedding_model_id")
        ),
        sa.ForeignKeyConstraint(["image_id"], ["image.id"], name=op.f("fk_gallery_image_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("image_id", "collection_id", name=op.f("pk_gallery")),
        comment="Embedded photographs with a known place, by collection: what recall searches. Kept by triggers.",
    )
    # Beside the row, not in a side table of large values: the exact search reads every vector of a collection.
    op.execute("ALTER TABLE gallery ALTER COLUMN embedding SET STORAGE PLAIN")
    op.create_index(
        "ix_gallery_model", "gallery", ["embedding_model_id", "collection_id", "image_id"], unique=False
    )
    op.create_index(
        "ix_gallery_taken_at",
        "gallery",
        ["collection_id", "taken_at"],
        unique=False,
        postgresql_where=sa.text("taken_at IS NOT NULL"),
    )
    op.execute("""
        CREATE FUNCTION gallery_refresh(changed bigint[]) RETURNS void LANGUAGE plpgsql
        SET plan_cache_mode = force_custom_plan AS $$
        BEGIN
            PERFORM FROM image WHERE id = ANY(changed) ORDER BY id FOR SHARE;
            DELETE FROM gallery g WHERE g.image_id = ANY(changed) AND NOT EXISTS (
                SELECT FROM image i JOIN job j ON j.image_id = i.id JOIN label l ON l.image_id = i.id
                WHERE i.id = g.image_id AND j.collection_id = g.collection_id AND l2_norm(i.embedding) > 0
                  AND i.embedding_model_id IS NOT NULL
                  AND i.id = ANY(changed) AND j.image_id = ANY(changed) AND l.image_id = ANY(changed));
            INSERT INTO gallery (collection_id, image_id, embedding_model_id, embedding, taken_at)
            SELECT DISTINCT ON (i.id, j.collection_id)
                   j.collection_id, i.id, i.embedding_model_id, i.embedding, i.taken_at
            FROM (SELECT DISTINCT id FROM unnest(changed) AS id) c
            JOIN image i ON i.id = c.id JOIN job j ON j.image_id = c.id
            WHERE l2_norm(i.embedding) > 0 AND i.embedding_model_id IS NOT NULL
              AND EXISTS (SELECT FROM label l WHERE l.image_id = c.id)
            ORDER BY i.id, j.collection_id
            ON CONFLICT (image_id, collection_id) DO UPDATE SET
                embedding_model_id = excluded.embedding_model_id, embedding = excluded.embedding,
                taken_at = excluded.taken_at
            WHERE (gallery.embedding_model_id, gallery.embedding, gallery.taken_at)
                IS DISTINCT FROM (excluded.embedding_model_id, excluded.embedding, excluded.taken_at);
        END $$
    """)
    op.execute("""
        CREATE FUNCTION gallery_hears_of_labels() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM gallery_refresh(ARRAY(SELECT DISTINCT image_id FROM changed));
            RETURN NULL;
        END $$
    """)
    for event, rows in (("INSERT", "NEW"), ("DELETE", "OLD")):
        op.execute(f"""
            CREATE TRIGGER gallery_{event.lower()} AFTER {event} ON label REFERENCING {rows} TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION gallery_hears_of_labels()
        """)
    op.execute("""
        CREATE FUNCTION gallery_hears_of_image() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT FROM label WHERE image_id = NEW.id) THEN
                PERFORM gallery_refresh(ARRAY[NEW.id]);
            END IF;
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER gallery_embedding AFTER UPDATE OF embedding, embedding_model_id ON image FOR EACH ROW
        WHEN ((OLD.embedding_model_id, OLD.embedding) IS DISTINCT FROM (NEW.embedding_model_id, NEW.embedding))
        EXECUTE FUNCTION gallery_hears_of_image()
    """)
    op.execute("""
        CREATE FUNCTION gallery_hears_of_job() RETURNS trigger LANGUAGE plpgsql
        SET plan_cache_mode = force_custom_plan AS $$
        DECLARE
            changed bigint[] := ARRAY[
                CASE WHEN TG_OP <> 'DELETE' THEN NEW.image_id END, CASE WHEN TG_OP <> 'INSERT' THEN OLD.image_id END];
        BEGIN
            IF EXISTS (SELECT FROM label WHERE image_id = ANY(changed)) THEN
                PERFORM gallery_refresh(changed);
            END IF;
            RETURN NULL;
        END $$
    """)
    for event, condition in (
        ("INSERT", "NEW.image_id IS NOT NULL"),
        ("UPDATE", "(OLD.image_id, OLD.collection_id) IS DISTINCT FROM (NEW.image_id, NEW.collection_id)"),
        ("DELETE", "OLD.image_id IS NOT NULL"),
    ):
        columns = " OF image_id, collection_id" if event == "UPDATE" else ""
        op.execute(f"""
            CREATE TRIGGER gallery_{event.lower()} AFTER {event}{columns} ON job FOR EACH ROW WHEN ({condition})
            EXECUTE FUNCTION gallery_hears_of_job()
        """)
    op.execute("SELECT gallery_refresh(ARRAY(SELECT DISTINCT image_id FROM label))")
