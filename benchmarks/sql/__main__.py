"""How fast users' four questions are answered, and rows stored, at 100,000 and at millions of predictions.

Three databases of the project's own schema in one embedded Postgres (its settings as they come, but for
`--shared-buffers-mb`): a small, a middle and, with `--rows`, a large one, filled with made-up predictions whose
words and places are as unevenly spread as real ones. Then each is asked the questions of `questions.py`, with 200
different parameters, as the role `globetag_reader`, and stores groups of 32 outcomes through the recorder's
statement, each group in one transaction. A question is asked twice in a row: the second time is warm; the first
reads from disk what memory does not hold.

Figures: `p50_ms_<question>`, `p95_ms_<question>` in the middle database (1 million), `large_p95_ms_<question>` in
the large one, all warm; `first_p95_ms_<question>` in the largest that there is. `growth_10x`: the largest of the
four `growth_<question>`, ratios of p95 with ten times the rows, `growth_to_rows` of them: large to middle where
that is a tenfold, else middle to small. `insert_ratio`: rows stored in a second in the largest over those in the
smallest, the median of rounds that took turns; `disk_gb` of the largest.

Photographs in the fill have no embeddings (1 KB each), those that are stored have.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from benchmarks.harness import arguments, report
from benchmarks.sql.fill import fill, images_of
from benchmarks.sql.inserts import GROUP, Groups
from benchmarks.sql.questions import Asked, questions
from worker import embedded
from worker.database import Database, open_database
from worker.settings import Settings

_KINDS = ("box", "text", "latest", "review")
_Times = dict[str, list[float]]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, help="predictions of the large database  [default: none]")
    parser.add_argument("--times", type=int, help="parameters of each question  [default: 200, quick: 40]")
    parser.add_argument("--rounds", type=int, help="rounds of stored rows  [default: 7, quick: 3]")
    parser.add_argument("--home", type=Path, help="keep the databases here, and use those that are there")
    parser.add_argument("--fill", action="store_true", help="only fill them, into --home")
    parser.add_argument(
        "--shared-buffers-mb", type=int, default=128, help="of Postgres  [default: 128, as the embedded one comes]"
    )
    given = parser.parse_args()
    sizes = [5_000, 50_000] if given.quick else [100_000, 1_000_000]
    sizes += [given.rows] if given.rows else []
    with tempfile.TemporaryDirectory(prefix="globetag-sql-") as folder:
        home = given.home or Path(folder, "home")
        try:
            for size in sizes:
                _fill(home, size)
            _set_buffers(home, given.shared_buffers_mb)
            databases = [_opened(home, size) for size in sizes]
            if given.fill:
                return
            times, rounds = given.times or (40 if given.quick else 200), given.rounds or (3 if given.quick else 7)
            figures = _measure(databases, sizes, times, rounds, groups=10 if given.quick else 60)
            figures["shared_buffers_mb"] = given.shared_buffers_mb
        finally:
            embedded.stop(home)
    report("sql", figures, {name: _unit(name) for name in figures})


def _set_buffers(home: Path, megabytes: int) -> None:
    with psycopg.connect(embedded.start(home), autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER SYSTEM SET shared_buffers = {}").format(sql.Literal(f"{megabytes}MB")))
    embedded.stop(home)


def _name(predictions: int) -> str:
    return f"globetag_{predictions}"


def _opened(home: Path, predictions: int) -> Database:
    url = make_url(embedded.start(home)).set(database=_name(predictions)).render_as_string(hide_password=False)
    return open_database(Settings(home=home, database_url=url, broker_url="amqp://unused"))


def _fill(home: Path, predictions: int) -> None:
    """Makes the database of this size, unless it was left in `home`."""
    name = _name(predictions)
    url = embedded.start(home)
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
        if found is None:
            connection.execute("ALTER SYSTEM SET max_wal_size = '4GB'")  # a fill of millions; back when it is done
            connection.execute("SELECT pg_reload_conf()")
            draft = sql.Identifier("filling_" + name)
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(draft))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(draft))
    if found is None:
        draft_url = make_url(url).set(database="filling_" + name).render_as_string(hide_password=False)
        with open_database(Settings(home=home, database_url=draft_url, broker_url="amqp://unused")):
            pass
        took_s = fill(draft_url, predictions)
        with psycopg.connect(url, autocommit=True) as connection:
            renamed = (sql.Identifier("filling_" + name), sql.Identifier(name))
            connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*renamed))
            connection.execute("ALTER SYSTEM RESET max_wal_size")
            connection.execute("SELECT pg_reload_conf()")
        print(f"{predictions:,} predictions were filled in within {took_s:.0f} s", flush=True)


def _measure(
    databases: list[Database], sizes: list[int], times: int, rounds: int, *, groups: int
) -> dict[str, float | None]:
    asked = [_ask(database, size, times) for database, size in zip(databases, sizes, strict=True)]
    took_ms = [warm_ms for _, warm_ms in asked]
    p95_ms = [{kind: float(np.percentile(each[kind], 95)) for kind in _KINDS} for each in took_ms]
    for size, (first_ms, each) in zip(sizes, asked, strict=True):
        for kind in _KINDS:
            print(f"{size:,}: {kind}, first: p50, p95, most: {_spread(first_ms[kind])} ms", flush=True)
            print(f"{size:,}: {kind}: p50, p95, most: {_spread(each[kind])} ms", flush=True)
    figures: dict[str, float | None] = {"rows": sizes[1], "large_rows": sizes[2] if len(sizes) > 2 else None}
    figures |= {f"p50_ms_{kind}": float(np.median(took_ms[1][kind])) for kind in _KINDS}
    figures |= {f"p95_ms_{kind}": p95_ms[1][kind] for kind in _KINDS}
    figures |= {f"large_p95_ms_{kind}": p95_ms[2][kind] if len(sizes) > 2 else None for kind in _KINDS}
    figures |= {f"first_p95_ms_{kind}": float(np.percentile(asked[-1][0][kind], 95)) for kind in _KINDS}
    after = 2 if len(sizes) > 2 and sizes[2] == 10 * sizes[1] else 1
    growth = {kind: p95_ms[after][kind] / p95_ms[after - 1][kind] for kind in _KINDS}
    figures |= {"growth_10x": max(growth.values()), "growth_to_rows": sizes[after]}
    figures |= {f"growth_{kind}": growth[kind] for kind in _KINDS}
    figures |= _insert([databases[0], databases[-1]], rounds, groups)
    with databases[-1].engine.connect() as connection:
        size_bytes = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
    return figures | {"disk_gb": int(size_bytes) / 1e9}


def _ask(database: Database, predictions: int, times: int) -> tuple[_Times, _Times]:
    """Milliseconds that each question took, asked for the first time and again right after that."""
    first_ms: _Times = {kind: [] for kind in _KINDS}
    warm_ms: _Times = {kind: [] for kind in _KINDS}
    with psycopg.connect(database.url, autocommit=True) as connection:
        asked = questions(connection, times, images_of(predictions), seed=predictions)
        connection.execute("SET ROLE globetag_reader")
        for kind in _KINDS:
            for each in asked[kind]:
                first_ms[kind].append(_took_ms(connection, each))
                warm_ms[kind].append(_took_ms(connection, each))
    return first_ms, warm_ms


def _took_ms(connection: psycopg.Connection, asked: Asked) -> float:
    began_s = time.perf_counter()
    connection.execute(asked.statement, asked.parameters, prepare=False).fetchall()
    return (time.perf_counter() - began_s) * 1000


def _insert(databases: list[Database], rounds: int, groups: int) -> dict[str, float | None]:
    """Rounds in the smallest and the largest, in turns; the first of each warms up and does not count."""
    per_s: list[list[float]] = [[], []]
    for round_ in range(rounds + 1):
        for rates, database in zip(per_s, databases, strict=True):
            rates.append(Groups(database.url, groups, seed=1000 + 10 * round_).save(database.engine))
        print(f"stored, small and large: {per_s[0][-1]:,.0f}/s, {per_s[1][-1]:,.0f}/s", flush=True)
    small, large = per_s[0][1:], per_s[1][1:]
    ratios = [after / before for before, after in zip(small, large, strict=True)]
    print(f"each round: {groups} groups of {GROUP}", flush=True)
    return {
        "insert_ratio": statistics.median(ratios),
        "insert_small_per_s": statistics.median(small),
        "insert_large_per_s": statistics.median(large),
    }


def _spread(took_ms: list[float]) -> str:
    return ", ".join(f"{np.percentile(took_ms, q):.1f}" for q in (50, 95, 100))


def _unit(name: str) -> str:
    if name.endswith("per_s"):
        return "1/s"
    return "ms" if "_ms_" in name else "GB" if name.endswith("_gb") else "MB" if name.endswith("_mb") else "1"


if __name__ == "__main__":
    main()
