"""Rows through the recorder's own statement, a group in a transaction."""

import secrets
import time
import uuid
from itertools import chain
from typing import Any

import orjson
import psycopg
from sqlalchemy import Engine, text

from schema import queries

GROUP = 32
"""As many jobs as a worker has threads by default."""

_PIPELINE = {
    "pipeline_version": "a1b2c3d4e5f60718",
    "model_version_id": 1,
    "gate_version_id": 3,
    "prompt_hash": "prompt",
    "sampling": '{"temperature": 0}',
    "gazetteer_version": "gazetteer",
    "code_version": "1",
    "answers_version": "a1b2c3d4e5f60718",
}
_JOBS = text("""
    INSERT INTO job (id, collection_id, uri, state, attempts, worker, published_at, started_at, lease_until)
    SELECT CAST(id AS uuid), 1, 'file:///archive/new/' || id || '.jpg', 'running', 1, 'host/1', now(), now(), now()
    FROM unnest(CAST(:ids AS text[])) AS id
""")
_DRAWN = """
SELECT a.words || ' ' || b.words || ' ' || c.words || ' ' || d.words, s.lat, s.lon, s.city, s.country_code
FROM generate_series(1, %(count)s) n
JOIN fill.sentence a ON a.id = fill.pick(n, %(seed)s, 20000)
JOIN fill.sentence b ON b.id = fill.pick(n, %(seed)s + 1, 20000)
JOIN fill.sentence c ON c.id = fill.pick(n, %(seed)s + 2, 20000)
JOIN fill.sentence d ON d.id = fill.pick(n, %(seed)s + 3, 20000)
JOIN fill.place s ON s.id = fill.pick(n, %(seed)s + 4, 65536)
"""


class Groups:
    """Outcomes of jobs that are in work, ready to be saved. Each has image, embedding, prediction and trace."""

    def __init__(self, url: str, count: int, seed: int) -> None:
        """`count` groups, with sentences of the database that they are for."""
        with psycopg.connect(url) as connection:
            rows = connection.execute(_DRAWN, {"count": count * GROUP, "seed": seed}).fetchall()
        settled = [_settled(*row) for row in rows]
        self._groups = [settled[at : at + GROUP] for at in range(0, len(settled), GROUP)]
        self._sent = [
            orjson.dumps([row | {"n": n} for n, row in enumerate(group)]).decode() for group in self._groups
        ]

    def save(self, engine: Engine) -> float:
        """Makes their jobs, then saves them; returns the rows that were stored in a second."""
        ids = [[row["job_id"] for row in group] for group in self._groups]
        with engine.begin() as connection:
            connection.execute(_JOBS, {"ids": list(chain(*ids))})
        began_s = time.perf_counter()
        for sent, of_group in zip(self._sent, ids, strict=True):
            with engine.begin() as connection:
                saved = connection.execute(queries.jobs.SAVE, {"rows": sent, "ids": of_group, **_PIPELINE})
                if saved.rowcount != GROUP:
                    raise RuntimeError(f"{saved.rowcount} of {GROUP} outcomes were stored")
        return GROUP * len(ids) / (time.perf_counter() - began_s)


_EMBEDDING = "[" + ",".join(["0.044194"] * 512) + "]"


def _settled(words: str, lat: float, lon: float, city: str, country_code: str) -> dict[str, Any]:
    """One row of `queries.jobs.SAVE`."""
    answer = f"<think>{words}</think><answer>country: {country_code}\ncity: {city}</answer>"
    return {
        "job_id": str(uuid.uuid4()),
        "state": "done",
        "outcome": "located",
        "reused": False,
        "retry_in_s": 0,
        "untried": False,
        "image": {
            "sha256": secrets.token_hex(32),
            "format": "JPEG",
            "width_px": 4000,
            "height_px": 3000,
            "size_bytes": 3_000_000,
            "metadata_notes": [],
            "embedding": _EMBEDDING,
            "embedding_model_id": 3,
        },
        "prediction": {
            "status": "located",
            "lat": lat,
            "lon": lon,
            "radius_km": 10 + abs(lon),
            "granularity": "city",
            "country_code": country_code,
            "city": city,
            "stated_place": f"{city}, {country_code}",
            "gate_score": 0.9,
            "alternatives": [],
            "suggestions": [],
            "notes": [],
            "request_hash": "0000000000000000",
        },
        "trace": {
            "reasoning": words,
            "answer": answer,
            "cues": [{"text": words[:60], "supported": None}],
            "tokens": 60,
            "mean_logprob": -0.2,
            "finish_reason": "stop",
            "samples": [],
        },
    }
