"""CloudEvents 1.0 of the type `geotag.image.submitted.v1`.

Structured mode has all in the body (`application/cloudevents+json`), batched mode a list of such. In binary mode
the body is the data and the attributes are headers. The specification binds them to AMQP 1.0 alone; a broker that
speaks both protocols hands them on as headers named `cloudEvents:id` or `cloudEvents_id`, others write `ce-id`.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from schema.foreign import SubmittedEvent
from schema.messages import SUBMITTED_TYPE, faults_of
from schema.reasons import MessageReason
from worker.ingress.bounded_json import parse
from worker.ingress.parts import Collections, Reading, Refusal, Refused, Wanted
from worker.ingress.requests import read_request

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
MAX_EVENTS = 1000
_PREFIXES = ("cloudEvents:", "cloudEvents_", "ce-", "ce_")


def attributes_in(headers: Mapping[str, object]) -> dict[str, str] | None:
    """The attributes of an event in binary mode; None where there is none."""
    for prefix in _PREFIXES:
        if f"{prefix}specversion" in headers:
            return {
                name.removeprefix(prefix): value
                for name, value in headers.items()
                if name.startswith(prefix) and isinstance(value, str)
            }
    return None


def read_event(event: Any, collections: Collections) -> Reading:
    """The photograph that one event asks for. Raises `Refused`."""
    return Reading("cloudevents", (_wanted(event, collections),))


def read_batch(events: Any, collections: Collections) -> Reading:
    """Those of a list of events. One that cannot be read stands in the refusal, the others are wanted."""
    if not isinstance(events, list):
        raise Refused(MessageReason.BAD_FIELDS, "a batch that is not a list")
    if len(events) > MAX_EVENTS:
        raise Refused(MessageReason.TOO_LARGE, f"{len(events):,} events; the limit is {MAX_EVENTS:,}")
    wanted: list[Wanted] = []
    refusal = None
    for number, event in enumerate(events, start=1):
        try:
            wanted.append(_wanted(event, collections))
        except Refused as fault:
            refusal = refusal or Refusal(fault.reason, f"event {number} of {len(events)}: {fault.detail}")
    return Reading("cloudevents", tuple(wanted), refusal)


def _wanted(event: Any, collections: Collections) -> Wanted:
    if not isinstance(event, dict):
        raise Refused(MessageReason.BAD_FIELDS, "an event that is not a JSON object")
    kind = event.get("type")
    if isinstance(kind, str) and kind != SUBMITTED_TYPE:
        raise Refused(MessageReason.UNKNOWN_TYPE, f"an event of type {kind!r:.200}; known is {SUBMITTED_TYPE}")
    content_type = event.get("datacontenttype")
    if isinstance(content_type, str) and not is_json(content_type):
        raise Refused(MessageReason.WRONG_CONTENT_TYPE, f"datacontenttype {content_type!r:.200} is not JSON")
    if "data_base64" in event:
        if "data" in event:
            raise Refused(MessageReason.BAD_FIELDS, "an event with both data and data_base64")
        event = {**event, "data": _from_base64(event["data_base64"])}
    data = event.get("data")
    if isinstance(data, dict):
        event = {**event, "data": {"collection": collections.otherwise} | data}
    try:
        found = SubmittedEvent.model_validate(event)
    except ValidationError as error:
        raise Refused(MessageReason.BAD_FIELDS, faults_of(error)) from None
    return Wanted(read_request(found.data.model_dump(mode="json", exclude_none=True), collections))


def _from_base64(text: Any) -> Any:
    try:
        return parse(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, TypeError):
        raise Refused(MessageReason.UNDECODABLE, "data_base64 is not base64") from None


def is_json(content_type: str) -> bool:
    """Whether a media type says JSON, whatever its parameters and upper case."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in {"application/json", "text/json"} or kind.endswith("+json")
