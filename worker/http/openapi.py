"""The interface's own description: OpenAPI 3.1, at `/openapi.json`. Bodies are those that the code reads."""

import functools
from typing import Any

from pydantic.json_schema import models_json_schema

from schema.messages import LocateRequest
from schema.reasons import Granularity, JobState, LabelSource, Outcome, Reason
from worker.http.body import MAX_JOBS
from worker.http.problem import MEDIA_TYPE

_TIME = {"type": "string", "format": "date-time"}
_ID = {"type": "string", "format": "uuid"}
_STATE = {"type": "string", "enum": [*JobState]}
_RETRY = {
    "Retry-After": {"description": "Seconds after which it may be tried again", "schema": {"type": "integer"}}
}


@functools.cache
def document() -> dict[str, Any]:
    """The description, ready for JSON."""
    _, bodies = models_json_schema([(LocateRequest, "validation")], ref_template="#/components/schemas/{model}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Globetag",
            "version": "1",
            "description": "Photographs in; where they were taken, how sure, or why that cannot be told, out.",
        },
        "security": [{"bearer": []}],
        "paths": {
            "/v1/jobs": {"post": _post_jobs()},
            "/v1/jobs/{job_id}": {"get": _get_job()},
            "/healthz": {"get": _open("Is the process alive?", {"200": _text("It is")})},
            "/readyz": {
                "get": _open(
                    "Do database and broker answer, and is the schema up to date?",
                    {"200": _text("They do"), "503": _text("What is missing")},
                )
            },
            "/metrics": {
                "get": {
                    "summary": "Figures for Prometheus",
                    "responses": {
                        "200": {"description": "The figures", "content": {"text/plain": {}}},
                        **_problems(401, 403),
                    },
                }
            },
            "/openapi.json": {"get": _open("This description", {"200": _text("It")})},
        },
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {**bodies["$defs"], "Accepted": _accepted(), "Job": _job(), "Problem": _problem()},
        },
    }


def _post_jobs() -> dict[str, Any]:
    one, accepted = _ref("LocateRequest"), _ref("Accepted")
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_JOBS}
    told = {"type": "object", "required": ["jobs"], "properties": {"jobs": {"type": "array", "items": accepted}}}
    return {
        "summary": "Queue one photograph, or a list of them",
        "description": "The same photograph in the same collection is one job, however often it is sent.",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The same key with the same body gets the same answer, for a day.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 257},
            }
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"oneOf": [one, many]}}}},
        "responses": {
            "202": {
                "description": "Stored; it will be worked on",
                "headers": {
                    "Location": {"description": "The job, where one was sent", "schema": {"type": "string"}}
                },
                "content": {"application/json": {"schema": {"oneOf": [accepted, told]}}},
            },
            **_problems(400, 401, 403, 408, 409, 413, 415, 421, 422, 429, 503),
        },
    }


def _get_job() -> dict[str, Any]:
    return {
        "summary": "What became of a job",
        "parameters": [{"name": "job_id", "in": "path", "required": True, "schema": _ID}],
        "responses": {
            "200": {"description": "The job", "content": {"application/json": {"schema": _ref("Job")}}},
            **_problems(401, 404, 421, 503),
        },
    }


_WHY = {
    400: "No JSON, or no Idempotency-Key",
    401: "No token, or an unknown one",
    403: "The token does not stand for this",
    404: "No such job among the caller's",
    408: "The body did not come in time",
    409: "A request with this Idempotency-Key is in work",
    413: "Too many bytes or jobs in one request",
    415: "Something other than plain application/json",
    421: "No token is configured, and the caller is not on this machine",
    422: "Faulty fields, or an Idempotency-Key that was used for another request",
    429: "Too many jobs are waiting",
    503: "The database does not answer",
}


def _problems(*statuses: int) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": _ref("Problem")}}
    told: dict[str, Any] = {}
    for status in statuses:
        told[str(status)] = {"description": _WHY[status], "content": content}
        if status in (409, 429, 503):
            told[str(status)]["headers"] = _RETRY
    return told


def _open(summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "security": [], "responses": responses}


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": {"type": "object"}}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _maybe(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _accepted() -> dict[str, Any]:
    return _object({"job_id": _ID, "state": _STATE})


def _job() -> dict[str, Any]:
    number, words = {"type": "number"}, {"type": "string"}
    reason = _object({"code": {"type": "string", "enum": [*Reason]}, "sentence": words})
    place = _object(
        {
            "source": {
                "description": "prediction: inferred; all others: known",
                "type": "string",
                "enum": [*LabelSource, "prediction"],
            },
            "lat": number | {"description": "Degrees, WGS 84", "minimum": -90, "maximum": 90},
            "lon": number | {"description": "Degrees, WGS 84", "minimum": -180, "maximum": 180},
            "radius_km": _maybe(number),
            "coverage": _maybe(number | {"description": "Share of true places inside radius_km; null: nominal"}),
            "granularity": _maybe({"type": "string", "enum": [*Granularity]}),
            "country_code": _maybe(words | {"description": "ISO 3166-1 alpha-2"}),
            "region": _maybe(words),
            "city": _maybe(words),
            "geoname_id": _maybe({"type": "integer"}),
            "confidence": _maybe(number | {"description": "Chance that the true place is within 25 km"}),
            "untrained": {"type": "boolean", "description": "true: random weights, the place means nothing"},
        }
    )
    return _object(
        {
            "job_id": _ID,
            "collection": words,
            "state": _STATE,
            "outcome": _maybe({"type": "string", "enum": [*Outcome]}),
            "reason": _maybe(reason),
            "place": _maybe(place),
            "submitted_at": _TIME,
            "settled_at": _maybe(_TIME),
            "pipeline_version": _maybe(words),
        }
    )


def _problem() -> dict[str, Any]:
    """RFC 9457, section 3.1."""
    fault = {"type": "object", "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}}}
    known: dict[str, Any] = {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    }
    return {
        "type": "object",
        "required": list(known),
        "properties": known | {"errors": {"type": "array", "items": fault}},
    }


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}
