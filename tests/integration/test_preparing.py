"""The recorder's connection keeps its prepared statements, whatever others do with theirs."""

from sqlalchemy import text

from schema.session import make_preparing_engine

_WORK = text("SELECT count(*) FROM job WHERE state = :state")
_PREPARED = text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM job WHERE state%'")


def _work(engine, *, commits):
    with engine.connect() as connection:
        connection.execute(_WORK, {"state": "queued"})
        if commits:
            connection.commit()


def _prepared(engine):
    with engine.begin() as connection:
        return connection.execute(_PREPARED).scalar_one()


def test_what_is_run_over_and_over_is_prepared_and_stays_so(database):
    engine = make_preparing_engine(database.url)
    try:
        for _ in range(10):
            _work(engine, commits=True)
            _work(database.engine, commits=False)  # a look, as status and watchers take it
        assert _prepared(engine) == 1
        _work(engine, commits=False)
        _work(engine, commits=True)
        assert _prepared(engine) == 0, "a look over this connection would have cost it all: hence one of its own"
    finally:
        engine.dispose()
