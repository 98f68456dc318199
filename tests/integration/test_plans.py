"""What users ask goes by indexes: the planner says so, on enough rows for it to matter.

Rows are those of `benchmarks.sql`. Times are measured there; here only the plans are looked at, which do not
depend on what else the machine does.
"""

import json
import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from benchmarks.sql.fill import fill
from benchmarks.sql.questions import BOX, LATEST, REVIEW, REVIEW_OF, TEXT
from tests.integration.test_docs_sql import COOKBOOK

PREDICTIONS = 40_000
LARGE = {"image", "prediction", "trace", "job"}
READS_EVERYTHING = {
    "counts all jobs": "FROM collection_progress",
    "counts all places": "GROUP BY source, country_code",
    "a share of all traces": "percentile_cont(1.0 / 7)",
    "the best of all suggestions": "FROM suggestion s",
    "counts all clues": "FROM clue",
    "draws from all": "ORDER BY random()",
    "counts all that have no place": "FROM job_place p JOIN job j ON j.id = p.job_id\nWHERE j.outcome",
    "counts all failures": "FROM failure WHERE kind = 'job'",
    "compares all": "WHERE p.source IN ('exif', 'xmp')",
    "judges all": "FROM model_comparison",
    "compares with all": "FROM image_embedding a",
    "reads what each file says": "data_mining LIKE",
}
QUICK = [query for query in COOKBOOK if not any(words in query for words in READS_EVERYTHING.values())]


@pytest.fixture(scope="module")
def archive(postgres: str, template: str) -> Iterator[psycopg.Connection]:
    """A connection of the role that only reads, to a database with enough rows."""
    name = f"plans_{secrets.token_hex(4)}"
    with psycopg.connect(postgres, autocommit=True) as owner:
        names = (sql.Identifier(name), sql.Identifier(template))
        owner.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        try:
            url = make_url(postgres).set(database=name).render_as_string(hide_password=False)
            fill(url, PREDICTIONS, log=lambda _: None)
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("SET ROLE globetag_reader")
                yield connection
        finally:
            owner.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def plan_of(
    connection: psycopg.Connection, query: str, parameters: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The root of the plan, as EXPLAIN tells it."""
    [[found]] = connection.execute("EXPLAIN (FORMAT JSON) " + query, parameters).fetchall()
    [explained] = found if isinstance(found, list) else json.loads(found)
    return explained["Plan"]


def scanned(plan: dict[str, Any]) -> set[str]:
    """The large tables that are read from end to end."""
    return LARGE & {node["Relation Name"] for node in nodes(plan) if "Seq Scan" in node["Node Type"]}


def indexes(plan: dict[str, Any]) -> set[str]:
    return {node["Index Name"] for node in nodes(plan) if "Index Name" in node}


def test_each_query_that_reads_everything_is_a_documented_one():
    for words in READS_EVERYTHING.values():
        assert len([query for query in COOKBOOK if words in query]) == 1, words
    assert len(QUICK) >= 8


@pytest.mark.parametrize("query", QUICK, ids=lambda query: query.strip().partition("\n")[0])
def test_a_documented_query_reads_no_large_table_from_end_to_end(archive, query):
    assert scanned(plan_of(archive, query)) == set()


@pytest.mark.parametrize(
    ("query", "parameters", "index"),
    [
        (BOX, {"south": 47.0, "north": 47.2, "west": 15.3, "east": 15.6}, "ix_prediction_place"),
        (BOX, {"south": 47.0, "north": 47.2, "west": 15.3, "east": 15.6}, "ix_label_place"),
        (BOX, {"south": 36.0, "north": 60.0, "west": -10.0, "east": 30.0}, "ix_prediction_place"),
        (TEXT, {"words": '"kiosk lantern"'}, "ix_trace_search_shown"),
        (LATEST, {"sha256": ["a" * 64, "b" * 64]}, "uq_image_sha256"),
        (REVIEW, {"rows": 100}, "ix_prediction_review"),
        (REVIEW_OF, {"rows": 25, "collection": "archive-01"}, "ix_prediction_review"),
    ],
    ids=["town", "town, known", "continent", "text", "latest", "review", "review of a collection"],
)
def test_a_question_is_answered_by_its_index(archive, query, parameters, index):
    plan = plan_of(archive, query, parameters)
    assert scanned(plan) == set()
    assert index in indexes(plan)


def test_a_scan_would_be_noticed(archive):
    plan = plan_of(archive, "SELECT sha256 FROM image WHERE data_mining LIKE '%PROHIBITED%'")
    assert scanned(plan) == {"image"}
