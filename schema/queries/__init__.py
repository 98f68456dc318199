"""Every SQL statement that the system runs, named and described. No SQL is built from strings anywhere.

Statements that handle many rows take one JSON array (`:rows`) and unpack it in Postgres: one round trip for a
group, whatever its size. Rows are always touched in a fixed order, so that two groups cannot deadlock.
"""

from schema.queries import (
    broker,
    calibration,
    collections,
    curation,
    dead,
    distil,
    distilled,
    events,
    flow,
    forgetting,
    gallery,
    http,
    ingress,
    jobs,
    judging,
    labels,
    models,
    reading,
    renewal,
    scoring,
    stories,
    training,
    watching,
    webhooks,
)

__all__ = [
    "broker",
    "calibration",
    "collections",
    "curation",
    "dead",
    "distil",
    "distilled",
    "events",
    "flow",
    "forgetting",
    "gallery",
    "http",
    "ingress",
    "jobs",
    "judging",
    "labels",
    "models",
    "reading",
    "renewal",
    "scoring",
    "stories",
    "training",
    "watching",
    "webhooks",
]
