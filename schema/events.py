"""Events that other programs receive: CloudEvents 1.0 (https://github.com/cloudevents/spec), structured JSON.

Types and field names are public API: adding an optional field is allowed, anything else is another version. A
field that is absent is not known. `python -m schema.events FOLDER` writes the JSON Schemas.
"""

import json
import sys
import uuid
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from schema.reasons import Granularity, LabelSource, Reason

EVENTS_EXCHANGE = "geotag.events"
LOCATED = "geotag.image.located.v1"
NOT_LOCATABLE = "geotag.image.not_locatable.v1"
FAILED = "geotag.image.failed.v1"
PROMOTED = "geotag.model.promoted.v1"
WEBHOOK_TEST = "geotag.webhook.test.v1"
"""Sent by `globetag webhook test` alone, to one webhook."""

EVENT_SOURCE = "/globetag"
CLOUDEVENTS_JSON = "application/cloudevents+json"
OUTBOX_CHANNEL = "globetag_outbox"
"""LISTEN/NOTIFY: something was written to the outbox; wakes relays."""
EVENT_CHANNEL = "globetag_event"
"""LISTEN/NOTIFY: the view `event` has more rows; the payload is the last position. For everybody."""

Lat = Annotated[float, Field(ge=-90, le=90, description="Degrees, WGS 84")]
Lon = Annotated[float, Field(ge=-180, le=180, description="Degrees, WGS 84")]


def _is_open(schema: dict[str, Any]) -> None:
    """We send no other fields today; receivers must not mind those of tomorrow."""
    schema.pop("additionalProperties", None)


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), json_schema_extra=_is_open)


class _OfImage(_Data):
    job_id: uuid.UUID
    collection: str
    uri: str = Field(
        description="As it was submitted, without user name and password; of web addresses also without query"
    )
    uri_shortened: bool = Field(description="Something was left out of uri; job_id still names the photograph")
    sha256: str | None = Field(None, description="Of the file's bytes, where it could be read")
    attempts: int
    reused: bool = Field(description="Answered from an earlier row")
    pipeline_version: str | None = None
    prediction_id: int | None = None
    model: str | None = None
    model_version: str | None = None
    untrained: bool = Field(description="Random weights answered, and nobody knows better: it means nothing")


class Located(_OfImage):
    """The photograph has a place: known (a label, such as the camera's position) or inferred (a prediction)."""

    state: Literal["done"]
    outcome: Literal["known", "located"] = Field(description="known: nobody inferred it; source says who knows it")
    source: LabelSource | Literal["prediction"]
    lat: Lat
    lon: Lon
    radius_km: float | None = Field(None, description="How far off it may be; absent: the source does not say")
    coverage: float | None = Field(
        None, description="Share of true places inside radius_km; absent: the radius is nominal, not calibrated"
    )
    granularity: Granularity
    country_code: str | None = Field(None, description="ISO 3166-1 alpha-2")
    region: str | None = None
    city: str | None = None
    geoname_id: int | None = None
    confidence: float | None = Field(None, description="Chance that the true place is within 25 km")


class NotLocatable(_OfImage):
    """The work is done, and the photograph has no place, with the reason."""

    state: Literal["done"]
    outcome: Literal["not_locatable"]
    reason: Reason
    detail: str | None = Field(None, description="For people; may quote untrusted text")


class Failed(_OfImage):
    """The job ended without an answer, as failed or dead. It may be queued again: then another event follows."""

    state: Literal["failed", "dead"]
    reason: Reason
    detail: str | None = Field(None, description="For people; may quote untrusted text")


class Promoted(_Data):
    """Another model serves the workers of a base from now on, by promotion or rollback."""

    base: str = Field(description="The GLOBETAG_MODEL whose workers it counts for")
    action: Literal["promote", "rollback"]
    reason: str
    model_version_id: int | None = Field(None, description="What serves; absent: the base itself")
    previous_id: int | None = Field(None, description="What served before; absent: the base itself")
    model: str | None = None
    model_version: str | None = None
    untrained: bool = False


class WebhookTest(_Data):
    """Says nothing but that the webhook works."""

    webhook_id: int


DATA: dict[str, type[_Data]] = {
    LOCATED: Located,
    NOT_LOCATABLE: NotLocatable,
    FAILED: Failed,
    PROMOTED: Promoted,
    WEBHOOK_TEST: WebhookTest,
}
PUBLISHED = (LOCATED, NOT_LOCATABLE, FAILED, PROMOTED)
"""The types that the exchange carries and that a webhook may ask for."""


def cloud_event(
    event_id: uuid.UUID, type_: str, subject: str, time: datetime, data: dict[str, Any]
) -> dict[str, Any]:
    """The structured form of an event, to be written as JSON."""
    return {
        "specversion": "1.0",
        "id": str(event_id),
        "source": EVENT_SOURCE,
        "type": type_,
        "subject": subject,
        "time": time.isoformat(),
        "datacontenttype": "application/json",
        "dataschema": schema_uri(type_),
        "data": data,
    }


def schema_uri(type_: str) -> str:
    """The name of an event type's JSON Schema: an identifier, nothing that can be fetched."""
    return f"urn:globetag:event:{type_}"


def json_schema(type_: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of the whole event, envelope included."""
    data = DATA[type_].model_json_schema(mode="serialization", ref_template="#/$defs/{model}")
    definitions = data.pop("$defs", {})
    envelope = {
        "specversion": {"const": "1.0"},
        "id": {"type": "string", "format": "uuid", "description": "The same each time that the event is sent"},
        "source": {"const": EVENT_SOURCE},
        "type": {"const": type_},
        "subject": {"type": "string", "minLength": 1},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "dataschema": {"const": schema_uri(type_)},
        "data": data,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_uri(type_),
        "title": type_,
        "type": "object",
        "required": list(envelope),
        "properties": envelope,
        "$defs": definitions,
    }


def schema_text(type_: str) -> str:
    """The JSON Schema as it stands in a file."""
    return json.dumps(json_schema(type_), indent=2, ensure_ascii=False) + "\n"


def _write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for type_ in DATA:
        (folder / f"{type_}.json").write_text(schema_text(type_), encoding="utf-8")


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
