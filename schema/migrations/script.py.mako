"""${message}

Rules: add before you remove (the previous release keeps running meanwhile); no long locks; big indexes
CONCURRENTLY in an autocommit block. Never edit a migration that has been released.
"""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
