"""How the renewals of calibrations stand, for people."""

from typing import Any

from sqlalchemy import Engine, Row

from schema import queries

_CAUSES = {
    "promotion": "something else serves",
    "expiry": "a calibration is about to expire",
    "settings": "gate, prompt or settings have changed",
}


def renewals(engine: Engine, base: str, limit: int = 1) -> list[str]:
    """The newest renewals of a base, a line each, the newest first."""
    with engine.connect() as connection:
        rows = connection.execute(queries.renewal.LIST_RENEWALS, {"base": base, "limit": limit}).all()
    return [_line(row) for row in rows]


def _line(row: Row[Any]) -> str:
    asked = f"{row.asked:,} photographs of known place were asked about"
    began = f"renewal {row.id}, begun {row.created_at:%Y-%m-%d %H:%M} since {_CAUSES[row.cause]}"
    if row.state == "asking":
        return f"{began}: {asked}, {row.pending:,} are still in the queue"
    return f"{began}: {row.state}; {asked}. {row.detail}"
