"""S3 event notifications, as AWS, MinIO and Ceph send them: directly, through SNS or through EventBridge.

Delivery is at least once and in any order. So an event is no more than "look at this object": the ETag tells
whether it is a new state of it, and the sequencer whether a later event was here already.
"""

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from pydantic import ValidationError

from schema.foreign import S3BridgedEvent, S3Entity, S3Record
from schema.messages import faults_of
from schema.reasons import MessageReason
from worker.ingress.bounded_json import parse
from worker.ingress.parts import Collections, Reading, Refusal, Refused, Wanted
from worker.ingress.requests import read_request
from worker.intake.sources.names import may_be_photograph

MAX_RECORDS = 1000
"""More events in one notification are refused. AWS sends one, rarely a few."""

_MAX_FAULTS = 5

# After one of these the object is there to be read. Glacier brings it back with ObjectRestore:Completed.
_ARRIVES = re.compile(r"ObjectCreated:|ObjectRestore:Completed$")
# These are known and ask for nothing. What is neither is refused, so that a person sees it.
_ASKS_NOTHING = re.compile(
    r"TestEvent$|Object(Removed|Restore|Tagging|Acl|Accessed|Lifecycle|Synced|Expiration|Transitioned)\b|"
    r"Lifecycle(Expiration|Transition)\b|Replication:|ReducedRedundancyLostObject$|IntelligentTiering$|"
    r"Bucket(Created|Removed):|Scanner:"
)
_BRIDGED_ARRIVES = {"Object Created", "Object Restore Completed"}

# Encoded keys consist of these alone. A store that sends others does not encode.
_ENCODED = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;:@=/-]|%[0-9A-Fa-f]{2})*")
_SEQUENCER = re.compile(r"[0-9A-Fa-f]{1,64}")


def looks_like_s3(fields: dict[str, Any]) -> bool:
    """Whether a JSON object is one of the shapes that `read_notification` knows."""
    return (
        "Records" in fields
        or fields.get("Event") == "s3:TestEvent"
        or ("Type" in fields and "TopicArn" in fields)
        or ("detail-type" in fields and "detail" in fields)
    )


def read_notification(fields: dict[str, Any], collections: Collections) -> Reading:
    """All events of a notification. One that cannot be read stands in the refusal, the others are wanted."""
    if "Type" in fields and "TopicArn" in fields:
        fields = _out_of_sns(fields)
    if fields.get("Event") == "s3:TestEvent":
        return Reading("s3", ignored=1)
    if "detail-type" in fields:
        wanted = _bridged(fields, collections)
        return Reading("s3", (wanted,) if wanted else (), ignored=int(wanted is None))
    return _records(fields.get("Records"), collections)


def _out_of_sns(envelope: dict[str, Any]) -> dict[str, Any]:
    if envelope["Type"] != "Notification":
        # A SubscriptionConfirmation wants an address in it fetched. An operator confirms, this program does not.
        raise Refused(MessageReason.UNKNOWN_TYPE, f"an SNS message of type {envelope['Type']!r:.100}")
    text = envelope.get("Message")
    inner = parse(text.encode()) if isinstance(text, str) else None
    if not isinstance(inner, dict) or not looks_like_s3(inner) or "TopicArn" in inner:
        raise Refused(MessageReason.UNKNOWN_TYPE, "an SNS message that holds no S3 event")
    return inner


def _records(records: Any, collections: Collections) -> Reading:
    if not isinstance(records, list):
        raise Refused(MessageReason.BAD_FIELDS, "Records: not a list")
    if len(records) > MAX_RECORDS:
        raise Refused(MessageReason.TOO_LARGE, f"{len(records):,} events; the limit is {MAX_RECORDS:,}")
    wanted: list[Wanted] = []
    faults: list[Refused] = []
    for number, fields in enumerate(records, start=1):
        try:
            one = _record(fields, collections)
        except Refused as fault:
            faults.append(Refused(fault.reason, f"event {number} of {len(records)}: {fault.detail}"))
            continue
        if one is not None:
            wanted.append(one)
    refusal = None
    if faults:
        more = f"; and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
        refusal = Refusal(faults[0].reason, "; ".join(fault.detail for fault in faults[:_MAX_FAULTS]) + more)
    return Reading("s3", tuple(wanted), refusal, ignored=len(records) - len(wanted) - len(faults))


def _record(fields: Any, collections: Collections) -> Wanted | None:
    try:
        record = S3Record.model_validate(fields)
    except ValidationError as error:
        raise Refused(MessageReason.BAD_FIELDS, faults_of(error)) from None
    name = record.eventName.removeprefix("s3:")
    if not _ARRIVES.match(name):
        if _ASKS_NOTHING.match(name):
            return None
        raise Refused(MessageReason.UNKNOWN_TYPE, f"an event {name!r:.100}")
    key = record.s3.object.key
    # Ceph's source (rgw_pubsub.cc) writes the key as it is.
    if not record.eventSource.startswith("ceph:") and _ENCODED.fullmatch(key):
        try:
            key = unquote_to_bytes(key.replace("+", " ")).decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(MessageReason.BAD_FIELDS, f"the key {key!r:.200} is not UTF-8") from None
    return _wanted(record.s3, key, collections)


def _bridged(fields: dict[str, Any], collections: Collections) -> Wanted | None:
    try:
        event = S3BridgedEvent.model_validate(fields)
    except ValidationError as error:
        raise Refused(
            MessageReason.UNKNOWN_TYPE, f"an EventBridge event that is none of S3: {faults_of(error)}"
        ) from None
    if event.detail_type in _BRIDGED_ARRIVES:
        return _wanted(event.detail, event.detail.object.key, collections)
    if event.detail_type.startswith("Object "):
        return None
    raise Refused(MessageReason.UNKNOWN_TYPE, f"an event {event.detail_type!r:.100}")


def _wanted(entity: S3Entity, key: str, collections: Collections) -> Wanted | None:
    name = key.rpartition("/")[2]
    if not (name and may_be_photograph(name)):  # "" stands for a folder; sidecars would lead round in a circle
        return None
    bucket = entity.bucket.name
    uri = f"s3://{bucket}/{key}"
    if uri.strip() != uri:
        raise Refused(MessageReason.BAD_FIELDS, f"the key {key!r:.200} ends with a blank, which no address can")
    fields = {"uri": uri, "collection": collections.of_bucket.get(bucket, collections.otherwise)}
    sequence = entity.object.sequencer
    if sequence is not None and not _SEQUENCER.fullmatch(sequence):
        sequence = None
    etag = (entity.object.eTag or "").strip('"')[:200]
    tag = etag or (f"sequencer:{sequence}" if sequence else None)
    return Wanted(
        read_request(fields, collections),
        source_tag=tag if tag and tag.isprintable() else None,
        sequence=sequence.upper() if sequence else None,
        keeps_options=True,
    )
