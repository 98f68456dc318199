"""The database as broker."""

from sqlalchemy import text

# Is pgmq's SQL installed?
PGMQ_INSTALLED = text("SELECT to_regclass('pgmq.meta') IS NOT NULL")

# One process installs it, the others wait.
PGMQ_INSTALL_LOCK = text("SELECT pg_advisory_xact_lock(7453285197)")

# May this login make tables here, as an owner of the database may?
MAY_CHANGE_SCHEMA = text("SELECT has_schema_privilege('public', 'CREATE')")
