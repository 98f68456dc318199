"""The full-text index of traces, without what a precision cap withholds

A migration of its own, for an index that is built beside running workers cannot be part of a transaction: what was
done before it would stay if it failed. It can be begun again as often as need be.
"""

from alembic import op

revision = "0010b"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")  # it waits for older transactions, and keeps nobody waiting
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_trace_search_shown")  # one that was broken off is invalid
        op.execute(
            "CREATE INDEX CONCURRENTLY ix_trace_search_shown ON trace"
            " USING gin ((CASE WHEN withheld THEN NULL ELSE search END))"
        )
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_trace_search")
        op.execute("SET lock_timeout = '10s'")
