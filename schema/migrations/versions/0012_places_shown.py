"""Places as readers see them, stored and indexed; the review queue in its order

Rules: add before you remove (the previous release keeps running meanwhile); no long locks; big indexes
CONCURRENTLY in an autocommit block. Never edit a migration that has been released.

`cell_lat`, `cell_lon` are what a precision cap leaves of a point, worked out once instead of in each query; NULL
where nothing caps it. `prediction.known` says that its image has a label, which takes it out of the index of the
review queue: otherwise whoever reviews from the top would leave ever more rows there to be passed over. Views ask the
labels all the same, so it may be false too long, and must not be true too long.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("label", "prediction"):
        for axis in ("lat", "lon"):
            comment = "The middle of the grid cell that readers see under a precision cap. Kept by triggers"
            op.add_column(table, sa.Column(f"cell_{axis}", sa.Double(), nullable=True, comment=comment))
    op.add_column(
        "prediction",
        sa.Column(
            "known",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Its image has a label: nothing to review. Kept by triggers",
        ),
    )
    # So few rows that autovacuum would never look at them, and each question joins them: without figures the planner
    # takes one of a few collections for one of hundreds.
    for table in ("collection", "model_version"):
        op.execute(f"ALTER TABLE {table} SET (autovacuum_analyze_threshold = 1)")
    _caps()
    _labels()
    # Nobody caps, settles or labels until the rows that are there are right, too.
    op.execute("LOCK TABLE job, label IN SHARE MODE")
    op.execute(
        "UPDATE prediction p SET known = true WHERE EXISTS (SELECT FROM label l WHERE l.image_id = p.image_id)"
    )
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM image WHERE precision_km IS NOT NULL) THEN
                PERFORM precision_cells(ARRAY(SELECT id FROM image WHERE precision_km IS NOT NULL));
            END IF;
        END $$
    """)


def _caps() -> None:
    op.execute("""
        CREATE FUNCTION precision_cells(changed bigint[]) RETURNS void LANGUAGE plpgsql
        SET plan_cache_mode = force_custom_plan AS $$
        BEGIN
            UPDATE prediction p SET cell_lat = c.cell[1], cell_lon = c.cell[2]
            FROM image i, prediction q, LATERAL (SELECT precision_cell(q.lat, q.lon, i.precision_km) AS cell) c
            WHERE i.id = ANY(changed) AND q.image_id = i.id AND p.id = q.id
              AND (p.cell_lat, p.cell_lon) IS DISTINCT FROM (c.cell[1], c.cell[2]);
            UPDATE label l SET cell_lat = c.cell[1], cell_lon = c.cell[2]
            FROM image i, label q, LATERAL (SELECT precision_cell(q.lat, q.lon, i.precision_km) AS cell) c
            WHERE i.id = ANY(changed) AND q.image_id = i.id AND l.id = q.id
              AND (l.cell_lat, l.cell_lon) IS DISTINCT FROM (c.cell[1], c.cell[2]);
        END $$
    """)
    op.execute("""
        CREATE OR REPLACE FUNCTION precision_refresh(changed bigint[]) RETURNS void LANGUAGE plpgsql
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
            PERFORM precision_cells(changed);
        END $$
    """)
    op.execute("""
        CREATE FUNCTION precision_of_label() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE
            cap double precision := (SELECT precision_km FROM image WHERE id = NEW.image_id);
            cell double precision[] := CASE WHEN cap IS NULL THEN NULL
                                            ELSE precision_cell(NEW.lat, NEW.lon, cap) END;
        BEGIN
            NEW.cell_lat := cell[1];
            NEW.cell_lon := cell[2];
            RETURN NEW;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER precision_of_label BEFORE INSERT ON label FOR EACH ROW EXECUTE FUNCTION precision_of_label()
    """)


def _labels() -> None:
    op.execute("""
        CREATE FUNCTION prediction_hears_of_labels() RETURNS trigger LANGUAGE plpgsql
        SET plan_cache_mode = force_custom_plan AS $$
        DECLARE
            images bigint[] := ARRAY(SELECT DISTINCT image_id FROM changed);
        BEGIN
            UPDATE prediction p SET known = (TG_OP = 'INSERT')
            WHERE p.image_id = ANY(images) AND p.known <> (TG_OP = 'INSERT')
              AND (TG_OP = 'INSERT' OR NOT EXISTS (
                  SELECT FROM label l WHERE l.image_id = p.image_id AND l.image_id = ANY(images)));
            RETURN NULL;
        END $$
    """)
    for event, rows in (("INSERT", "NEW"), ("DELETE", "OLD")):
        op.execute(f"""
            CREATE TRIGGER known_{event.lower()} AFTER {event} ON label REFERENCING {rows} TABLE AS changed
            FOR EACH STATEMENT EXECUTE FUNCTION prediction_hears_of_labels()
        """)
