"""The four questions, as docs/sql.md asks them, with the parameters of one user after another."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import psycopg

from benchmarks.sql.fill import COLLECTIONS

# Everything in a part of the map, as much as a page shows.
BOX = """
SELECT j.uri, l.lat, l.lon, l.source, l.radius_km
FROM (SELECT * FROM current_location
      WHERE lat BETWEEN %(south)s AND %(north)s AND lon BETWEEN %(west)s AND %(east)s LIMIT 500) l
JOIN job j ON j.image_id = l.image_id
"""
# The stated reasons that hold these words.
TEXT = """
SELECT uri, city, stated_reasons
FROM reasoning_trace
WHERE search @@ websearch_to_tsquery('simple', %(words)s) AND NOT untrained
LIMIT 50
"""
# What counts now for each photograph of a page.
LATEST = """
SELECT sha256, source, lat, lon, radius_km, country_code, city, since
FROM current_location WHERE sha256 = ANY(%(sha256)s)
"""
# What a person is to look at first.
REVIEW = """
SELECT uri, stated_place, granularity, radius_km, stated_reasons FROM review_queue LIMIT %(rows)s
"""
REVIEW_OF = """
SELECT uri, stated_place, granularity, radius_km, stated_reasons FROM review_queue
WHERE collection = %(collection)s LIMIT %(rows)s
"""

_PAGE = 25
_HALF_SIDE_DEG = (0.02, 8.0)
_FREQUENT = 500
"""So many of the most frequent words are asked for in company only, as people do."""
_WORD = re.compile(r"[a-z]{3,}")


@dataclass(frozen=True, slots=True)
class Asked:
    """One query with its parameters."""

    statement: str
    parameters: dict[str, Any]


def questions(connection: psycopg.Connection, count: int, images: int, seed: int) -> dict[str, list[Asked]]:
    """`count` different ones of each kind: box, text, latest, review."""
    random = np.random.default_rng(seed)
    kinds = {"box": _boxes, "text": _texts, "latest": _latest, "review": _reviews}
    return {kind: list(islice(make(connection, images, random), count)) for kind, make in kinds.items()}


def _boxes(connection: psycopg.Connection, images: int, random: np.random.Generator) -> Iterator[Asked]:  # noqa: ARG001
    """Around places of the archive, from a quarter of a town to a country; one in ten in the middle of nowhere."""
    places = connection.execute("SELECT lat, lon FROM fill.place ORDER BY id LIMIT 4000").fetchall()
    low, high = np.log(_HALF_SIDE_DEG)
    while True:
        lat, lon = places[random.integers(len(places))]
        if random.random() < 0.1:
            lat, lon = random.uniform(-60, 70), random.uniform(-180, 180)
        half = float(np.exp(random.uniform(low, high)))
        box = {"south": lat - half, "north": lat + half, "west": lon - 1.5 * half, "east": lon + 1.5 * half}
        yield Asked(BOX, {name: float(value) for name, value in box.items()})


def _texts(connection: psycopg.Connection, images: int, random: np.random.Generator) -> Iterator[Asked]:  # noqa: ARG001
    """In turn: one rarer word; two words; two words that stand beside each other; two words without a third."""
    pool = [row[0].lower() for row in connection.execute("SELECT words FROM fill.sentence ORDER BY id").fetchall()]
    seen: dict[str, int] = {}
    for sentence in pool:
        for word in _WORD.findall(sentence):
            seen[word] = seen.get(word, 0) + 1
    ranked = sorted(seen, key=lambda word: (-seen[word], word))
    rarer = ranked[_FREQUENT:]
    while True:
        words = _WORD.findall(pool[random.integers(len(pool))])
        if len(words) < 3:
            continue
        at = int(random.integers(len(words) - 2))
        yield Asked(TEXT, {"words": rarer[random.integers(len(rarer))]})
        yield Asked(TEXT, {"words": f"{words[at]} {words[at + 2]}"})
        yield Asked(TEXT, {"words": f'"{words[at]} {words[at + 1]}"'})
        yield Asked(TEXT, {"words": f"{words[0]} {words[-1]} -{ranked[random.integers(200)]}"})


def _latest(connection: psycopg.Connection, images: int, random: np.random.Generator) -> Iterator[Asked]:
    while True:
        numbers = random.integers(1, images + 1, _PAGE).tolist()
        found = connection.execute("SELECT fill.sha256(n) FROM unnest(%s::bigint[]) n", [numbers]).fetchall()
        yield Asked(LATEST, {"sha256": [row[0] for row in found]})


def _reviews(connection: psycopg.Connection, images: int, random: np.random.Generator) -> Iterator[Asked]:  # noqa: ARG001
    """In turn of everything, 25 to 100 of it, and the first 25 of one collection, large or small."""
    while True:
        yield Asked(REVIEW, {"rows": int(random.integers(25, 101))})
        yield Asked(REVIEW_OF, {"rows": 25, "collection": f"archive-{random.integers(1, COLLECTIONS + 1):02}"})
