"""Indexes for the views that people ask: places in a box, what to review first

A migration of its own, for an index that is built beside running workers cannot be part of a transaction. It can be
begun again as often as need be: one that was broken off is invalid and is dropped first.
"""

from alembic import op

revision = "0012b"
down_revision = "0012"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_prediction_place": "prediction (COALESCE(cell_lat, lat), COALESCE(cell_lon, lon)) WHERE status = 'located'",
    "ix_label_place": "label (COALESCE(cell_lat, lat), COALESCE(cell_lon, lon))",
    "ix_prediction_review": ("prediction (radius_km DESC NULLS FIRST, id) WHERE status <> 'failed' AND NOT known"),
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")  # it waits for older transactions, and keeps nobody waiting
        for name, definition in _INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")
        # Views show countries by a function of the cap, so that no query could use it.
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_prediction_country_code")
        op.execute("SET lock_timeout = '10s'")
