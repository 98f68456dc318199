"""What a database refuses while it is brought up to date is one line for the operator, whoever meets it."""

import psycopg
import pytest

from worker.database import open_database
from worker.errors import SetupError
from worker.settings import Settings


def test_a_view_that_cannot_be_made_is_one_line(empty_database_url):
    """The driver itself makes the views: its errors are not SQLAlchemy's. A full disk shows there first."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE clue (theirs text)")
    settings = Settings(database_url=empty_database_url)
    with pytest.raises(SetupError, match=r'^the database of GLOBETAG_DATABASE_URL .*"clue" is not a view[^\n]*$'):
        open_database(settings)
