"""Reasons why a photograph was not placed; what a collection asks of its places; all answers in the trace

Rows keep what they said, under the new words. Workers of the previous release that still run write the old words,
and the constraint refuses them: their jobs end as `internal_error` and `globetag retry --failed` tries them again.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_RENAMED = {
    "below_threshold": "gate_below_threshold",
    "model_abstained": "no_place_stated",
    "unknown_place": "place_unknown",
}
_LISTED = (
    "reason IN ('unreachable', 'not_found', 'refused_address', 'forbidden', 'too_large', 'empty', 'not_an_image', "
    "'unsupported', 'unreadable', 'model_error', 'unparsable', 'timeout', 'worker_lost', 'internal_error', "
    "'unknown_region', 'gate_below_threshold', 'no_place_stated', 'place_unknown', 'samples_disagree', "
    "'too_uncertain', 'outside_region', 'only_text_evidence')"
)


def upgrade() -> None:
    for table in ("prediction", "job"):
        op.drop_constraint(op.f(f"ck_{table}_reason"), table, type_="check")
        for old, new in _RENAMED.items():
            op.execute(f"UPDATE {table} SET reason = '{new}' WHERE reason = '{old}'")  # noqa: S608 (fixed words)
        op.create_check_constraint(op.f(f"ck_{table}_reason"), table, _LISTED)
    op.add_column(
        "collection",
        sa.Column(
            "region", sa.Text(), nullable=True, comment="All its photographs were taken there; NULL = anywhere"
        ),
    )
    op.add_column(
        "collection",
        sa.Column(
            "max_radius_km", sa.Double(), nullable=True, comment="A place with a wider radius is no place for it"
        ),
    )
    op.create_check_constraint(op.f("ck_collection_max_radius_km"), "collection", "max_radius_km > 0")
    op.add_column(
        "trace",
        sa.Column(
            "samples",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'[]'::jsonb"),
            nullable=False,
            comment="The other answers of the same model to the same question, in the order in which they were drawn",
        ),
    )
