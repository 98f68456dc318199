"""The SQL that the documentation prints runs, as printed."""

import re
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from worker.place.sphere import distance_km

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"```sql\n(.*?)```", re.DOTALL)
COOKBOOK = FENCED.findall((ROOT / "docs/sql.md").read_text(encoding="utf-8"))
ON_THE_COMMAND_LINE = re.findall(
    r"psql .*? -c '(.*?)'", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
)

ADD_PHOTOGRAPH = """
    WITH made AS (
        INSERT INTO image (sha256, format, width_px, height_px, size_bytes) VALUES (%(sha256)s, 'JPEG', 4, 3, 9)
        RETURNING id
    ), known AS (
        INSERT INTO label (image_id, source, lat, lon) SELECT id, 'exif', %(lat)s, 10 + %(east)s FROM made
    ), held AS (
        INSERT INTO collection (name) VALUES (%(sha256)s) RETURNING id
    )
    INSERT INTO job (id, collection_id, uri, state, outcome, image_id)
    SELECT gen_random_uuid(), held.id, 'file:///archive/1.jpg', 'done', 'known', made.id FROM made, held
"""


def test_the_documents_hold_queries():
    assert len(COOKBOOK) >= 15
    assert len(ON_THE_COMMAND_LINE) >= 3


@pytest.mark.parametrize(
    "query", COOKBOOK + ON_THE_COMMAND_LINE, ids=lambda query: query.strip().partition("\n")[0]
)
def test_query_runs_as_the_role_that_only_reads(database, query):
    with psycopg.connect(database.url) as connection:
        connection.execute("SET ROLE globetag_reader")
        assert connection.execute(query).description is not None


def test_queries_find_what_is_there(database):
    with psycopg.connect(database.url, row_factory=dict_row) as connection:
        connection.execute(ADD_PHOTOGRAPH, {"sha256": "a" * 64, "lat": 60, "east": 0})
        connection.execute(ADD_PHOTOGRAPH, {"sha256": "b" * 64, "lat": 47, "east": 6})
        [box] = [query for query in COOKBOOK if "57.9" in query]
        [found] = connection.execute(box).fetchall()
        assert (found["uri"], found["source"]) == ("file:///archive/1.jpg", "exif")
        [nearest] = [query for query in COOKBOOK if "47.0707" in query]
        [found] = connection.execute(nearest).fetchall()
        assert found["km"] == pytest.approx(distance_km(47, 16, 47.0707, 15.4395), abs=0.001)
