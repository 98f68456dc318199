"""Foreign messages: what each shape asks for, and that no bytes lead to anything but a reading.

Long because each sender has shapes of its own, and all are read by one function.
"""

import base64
import json
import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schema.foreign import SubmittedEvent
from schema.messages import DEFAULT_COLLECTION, LOCATE_TASK, MAX_URI_CHARACTERS, SUBMITTED_TYPE
from schema.reasons import MessageReason
from worker.ingress import bounded_json
from worker.ingress.parts import Collections, Message, Reading
from worker.ingress.reading import read
from worker.ingress.s3_events import MAX_RECORDS

URI = "https://archive.example/1.jpg"
EVENT = {"specversion": "1.0", "id": "7", "source": "/shop", "type": SUBMITTED_TYPE, "data": {"uri": URI}}


def send(body, content_type=None, collections=None, encoding=None, **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read(Message(raw, headers, content_type, encoding), collections)


def uris(reading):
    assert reading.refusal is None, reading.refusal
    return [wanted.request.uri for wanted in reading.wanted]


def reason(reading):
    assert reading.wanted == ()
    return reading.refusal.reason


# ---------------------------------------------------------------- plain JSON


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "Application/JSON; charset=utf-8", "text/plain", "text/json"]
)
def test_plain_json_is_read_whatever_its_producer_called_it(content_type):
    assert uris(send({"uri": URI}, content_type)) == [URI]


def test_all_fields_of_the_task_are_fields_of_the_message():
    mine = str(uuid.uuid4())
    reading = send(
        {"uri": URI, "collection": "c", "job_id": mine, "hints": {"text": "t"}, "verify": True, "priority": 1}
    )
    [wanted] = reading.wanted
    request = wanted.request
    assert (request.collection, request.effective_job_id, request.hints.text) == ("c", mine, "t")
    assert (request.verify, request.priority, reading.source) == (True, 1, "ingress")


def test_a_message_that_names_no_collection_goes_where_the_operator_says():
    collections = Collections("elsewhere")
    for body in ({"uri": URI}, EVENT, [[], {"uri": URI}, {}]):
        [wanted] = send(body, collections=collections, task=LOCATE_TASK).wanted
        assert wanted.request.collection == "elsewhere"
    [wanted] = send({"uri": URI, "collection": DEFAULT_COLLECTION}, collections=collections).wanted
    assert wanted.request.collection == DEFAULT_COLLECTION


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("/a/b c.jpg", "file:///a/b%20c.jpg"),
        ("file:///a/b c.jpg", "file:///a/b%20c.jpg"),
        ("file:///a/b%20c.jpg", "file:///a/b%20c.jpg"),
        ("FILE://localhost/a//b/./c.jpg", "file:///a/b/c.jpg"),
        ("s3://bucket/a+b c.jpg", "s3://bucket/a+b c.jpg"),
        ("https://a.example/x.jpg?sig=1", "https://a.example/x.jpg?sig=1"),
    ],
)
def test_a_file_has_one_spelling(given, canonical):
    assert uris(send({"uri": given})) == [canonical]


@pytest.mark.parametrize(
    "uri",
    [
        "photos/1.jpg",
        "file:photos/1.jpg",
        "file://server/share/1.jpg",
        "/archive/../etc/passwd",
        "file:///archive/%2e%2e/etc/passwd",
        "file:///a%00b.jpg",
        "gopher://a.example/1.jpg",
        "data:image/png;base64,AAAA",
        "https://user:password@a.example/1.jpg",
        "https:///1.jpg",
        "s3://bucket",
        "s3://arn:aws:s3/x",
        "/" + "ä" * 2000,
        "x" * (MAX_URI_CHARACTERS + 1),
    ],
)
def test_what_will_never_be_an_address_is_refused(uri):
    assert reason(send({"uri": uri})) is MessageReason.BAD_FIELDS


def test_a_password_does_not_stand_in_the_reason():
    assert "hunter2" not in send({"uri": "https://user:hunter2@a.example/1.jpg"}).refusal.detail


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, MessageReason.BAD_FIELDS),
        ({"uri": URI, "colour": 1}, MessageReason.BAD_FIELDS),
        ([], MessageReason.UNKNOWN_TYPE),
        ("text", MessageReason.UNKNOWN_TYPE),
        (None, MessageReason.UNKNOWN_TYPE),
        (b"", MessageReason.UNDECODABLE),
        (b"\xff\xfe{", MessageReason.UNDECODABLE),
        (b'{"uri": NaN}', MessageReason.UNDECODABLE),
        (b'{"uri": "\\ud800"}', MessageReason.UNDECODABLE),
        (b'{"uri": "' + b"x" * bounded_json.MAX_BODY_BYTES + b'"}', MessageReason.TOO_LARGE),
        (b'{"hints": ' + b"[" * 40 + b"]" * 40 + b"}", MessageReason.BAD_FIELDS),
        (b"[" * 500_000, MessageReason.UNDECODABLE),
    ],
)
def test_other_bodies_are_refused_with_their_reason(body, expected):
    assert reason(send(body)) is expected


@pytest.mark.parametrize("content_type", ["application/x-python-serialize", "application/x-yaml", "image/jpeg"])
def test_only_json_is_looked_into(content_type):
    assert reason(send({"uri": URI}, content_type)) is MessageReason.WRONG_CONTENT_TYPE


def test_nothing_is_unpacked():
    assert reason(send({"uri": URI}, encoding="gzip")) is MessageReason.UNDECODABLE
    assert reason(send({"uri": URI}, compression="application/x-gzip")) is MessageReason.UNDECODABLE


# ---------------------------------------------------------------- CloudEvents


def test_the_known_type_is_the_one_of_the_contract():
    assert SubmittedEvent.model_json_schema()["properties"]["type"]["const"] == SUBMITTED_TYPE


@pytest.mark.parametrize("content_type", [None, "application/json", "application/cloudevents+json; charset=utf-8"])
def test_an_event_in_structured_mode(content_type):
    reading = send({**EVENT, "time": "2026-01-01T00:00:00Z", "traceparent": "x"}, content_type)
    assert (uris(reading), reading.source) == ([URI], "cloudevents")


def test_an_event_with_its_data_in_base64():
    event = {name: value for name, value in EVENT.items() if name != "data"}
    data = base64.b64encode(json.dumps({"uri": URI}).encode()).decode()
    assert uris(send({**event, "data_base64": data})) == [URI]
    assert reason(send({**EVENT, "data_base64": data})) is MessageReason.BAD_FIELDS
    assert reason(send({**event, "data_base64": "?"})) is MessageReason.UNDECODABLE


@pytest.mark.parametrize("prefix", ["cloudEvents:", "cloudEvents_", "ce-"])
def test_an_event_in_binary_mode(prefix):
    headers = {prefix + name: value for name, value in EVENT.items() if name != "data"}
    assert uris(read(Message(b'{"uri": "%s"}' % URI.encode(), headers, "application/json"))) == [URI]
    headers[prefix + "type"] = "other"
    assert reason(read(Message(b'{"uri": "x"}', headers))) is MessageReason.UNKNOWN_TYPE


def test_a_batch_of_events_gives_the_good_ones_and_names_the_bad_one():
    reading = send(
        [EVENT, {**EVENT, "id": ""}, {**EVENT, "data": {"uri": URI + "2"}}], "application/cloudevents-batch+json"
    )
    assert [wanted.request.uri for wanted in reading.wanted] == [URI, URI + "2"]
    assert reading.refusal.reason is MessageReason.BAD_FIELDS
    assert "event 2 of 3" in reading.refusal.detail


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": "geotag.image.submitted.v2"}, MessageReason.UNKNOWN_TYPE),
        ({"type": 7}, MessageReason.BAD_FIELDS),
        ({"specversion": "0.3"}, MessageReason.BAD_FIELDS),
        ({"id": ""}, MessageReason.BAD_FIELDS),
        ({"source": None}, MessageReason.BAD_FIELDS),
        ({"data": None}, MessageReason.BAD_FIELDS),
        ({"data": {"uri": URI, "x": 1}}, MessageReason.BAD_FIELDS),
        ({"datacontenttype": "text/xml"}, MessageReason.WRONG_CONTENT_TYPE),
    ],
)
def test_an_event_that_is_wrong_is_refused(change, expected):
    assert reason(send({**EVENT, **change})) is expected


# ---------------------------------------------------------------- Celery tasks


def test_a_task_that_came_here_is_read():
    reading = send([[], {"uri": URI}, {"callbacks": None, "chord": None}], task=LOCATE_TASK, eta=None)
    assert (uris(reading), reading.source) == ([URI], "celery")


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        ([[], {"uri": URI}, {}], {"task": "geotag.other"}, MessageReason.UNKNOWN_TASK),
        ([[], {"uri": URI}, {}], {"task": ["x"]}, MessageReason.UNKNOWN_TASK),
        ([[URI], {}, {}], {"task": LOCATE_TASK}, MessageReason.BAD_FIELDS),
        ([[], {"uri": URI}], {"task": LOCATE_TASK}, MessageReason.BAD_FIELDS),
        ([[], {"uri": URI}, {}], {"task": LOCATE_TASK, "eta": "2030-01-01"}, MessageReason.UNSUPPORTED_OPTION),
        ([[], {"uri": URI}, {"callbacks": [{}]}], {"task": LOCATE_TASK}, MessageReason.UNSUPPORTED_OPTION),
    ],
)
def test_a_task_that_is_wrong_is_refused(body, headers, expected):
    assert reason(send(body, **headers)) is expected


# ---------------------------------------------------------------- S3


def record(key="a%2Fred+flower.jpg", name="ObjectCreated:Put", source="aws:s3", bucket="pictures", **details):
    details = {"eTag": "0cc175b9c0f1b6a831c399e269772661", "sequencer": "0055AED6DCD90281E5", "size": 3, **details}
    return {
        "eventVersion": "2.3",
        "eventSource": source,
        "eventName": name,
        "s3": {"bucket": {"name": bucket, "arn": "arn"}, "object": {"key": key, **details}},
    }


def test_what_aws_sends():
    reading = send({"Records": [record(), record("b.jpg", eTag='"quoted"')]})
    first, second = reading.wanted
    assert first.request.uri == "s3://pictures/a/red flower.jpg"
    assert (first.source_tag, first.sequence) == ("0cc175b9c0f1b6a831c399e269772661", "0055AED6DCD90281E5")
    assert first.keeps_options
    assert second.source_tag == "quoted", "as globetag enqueue has it from a listing"
    assert reading.source == "s3"


def test_what_minio_sends():
    body = {
        "EventName": "s3:ObjectCreated:Put",
        "Key": "pictures/a/ä.jpg",
        "Records": [record("a%2F%C3%A4.jpg", "s3:ObjectCreated:Put", "minio:s3", sequencer="1640D3A7AE1B2C00")],
    }
    assert uris(send(body)) == ["s3://pictures/a/ä.jpg"]


def test_what_ceph_sends_is_taken_as_it_stands():
    body = {"Records": [record("a/100%25+1.jpg", "s3:ObjectCreated:Put", "ceph:s3", eTag=None, etag="e")]}
    body["Records"][0]["s3"]["object"].pop("eTag")
    [wanted] = send(body).wanted
    assert (wanted.request.uri, wanted.source_tag) == ("s3://pictures/a/100%25+1.jpg", "e")


def test_a_key_that_cannot_be_encoded_is_taken_as_it_stands():
    for key in ("a/100% sure.jpg", "a/ä+b.jpg", "50%.jpg"):
        assert uris(send({"Records": [record(key)]})) == [f"s3://pictures/{key}"]


def test_the_bucket_may_choose_the_collection():
    collections = Collections("rest", {"pictures": "glass negatives"})
    for bucket, name in (("pictures", "glass negatives"), ("other", "rest")):
        [wanted] = send({"Records": [record(bucket=bucket)]}, collections=collections).wanted
        assert wanted.request.collection == name


@pytest.mark.parametrize(
    "one",
    [
        record(name="ObjectRemoved:Delete"),
        record(name="s3:ObjectRemoved:DeleteMarkerCreated"),
        record(name="ObjectTagging:Put"),
        record(name="LifecycleExpiration:Delete"),
        record(name="s3:ObjectAccessed:Get"),
        record(name="ObjectRestore:Post"),
        record("a/1.jpg.xmp"),
        record("a/1.XMP"),
        record("exports/places.geojson.json"),
        record("a/"),
        record("a/.hidden.jpg"),
    ],
)
def test_events_that_ask_for_nothing_are_counted_and_left(one):
    reading = send({"Records": [one, record()]})
    assert (len(uris(reading)), reading.ignored) == (1, 1)


def test_what_comes_back_from_the_glacier_is_a_photograph():
    assert len(uris(send({"Records": [record(name="s3:ObjectRestore:Completed")]}))) == 1


def test_the_test_event_is_no_mistake():
    reading = send({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "pictures"})
    assert (uris(reading), reading.ignored) == ([], 1)


def test_one_bad_record_harms_no_other():
    reading = send({"Records": [record(), {"x": 1}, record("b.jpg"), record(name="Object:Eaten")]})
    assert len(reading.wanted) == 2
    assert "event 2 of 4" in reading.refusal.detail
    assert "event 4 of 4" in reading.refusal.detail


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"Records": {}}, MessageReason.BAD_FIELDS),
        ({"Records": [record()] * (MAX_RECORDS + 1)}, MessageReason.TOO_LARGE),
        ({"Records": [record("a%FF.jpg")]}, MessageReason.BAD_FIELDS),
        ({"Records": [record("a%00.jpg")]}, MessageReason.BAD_FIELDS),
        ({"Records": [record("a.jpg+")]}, MessageReason.BAD_FIELDS),
        ({"Records": [record(bucket="no bucket")]}, MessageReason.BAD_FIELDS),
        ({"Records": [record(name="Whatever:New")]}, MessageReason.UNKNOWN_TYPE),
        ({"Type": "SubscriptionConfirmation", "TopicArn": "arn", "SubscribeURL": "x"}, MessageReason.UNKNOWN_TYPE),
        ({"Type": "Notification", "TopicArn": "arn", "Message": "hello"}, MessageReason.UNDECODABLE),
        ({"Type": "Notification", "TopicArn": "arn", "Message": "{}"}, MessageReason.UNKNOWN_TYPE),
        ({"detail-type": "EC2 Started", "source": "aws.ec2", "detail": {}}, MessageReason.UNKNOWN_TYPE),
    ],
)
def test_a_notification_that_is_wrong_is_refused(body, expected):
    assert reason(send(body)) is expected


def test_a_notification_through_sns():
    body = {"Type": "Notification", "TopicArn": "arn", "Message": json.dumps({"Records": [record()]})}
    assert uris(send(body)) == ["s3://pictures/a/red flower.jpg"]


def test_an_event_through_eventbridge_has_its_key_as_it_is():
    detail = {"bucket": {"name": "pictures"}, "object": {"key": "a+b%20.jpg", "etag": "e", "sequencer": "61"}}
    event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
    [wanted] = send(event).wanted
    assert (wanted.request.uri, wanted.source_tag, wanted.sequence) == ("s3://pictures/a+b%20.jpg", "e", "61")
    assert send({**event, "detail-type": "Object Deleted"}) == Reading("s3", ignored=1)


# ---------------------------------------------------------------- anything at all

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)
content_types = st.sampled_from(
    [
        None,
        "application/json",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "x",
        "text/plain",
    ]
)
header_names = st.sampled_from(
    ["task", "eta", "compression", "ce-specversion", "ce-type", "cloudEvents:specversion"]
)
headers = st.dictionaries(header_names, anything | st.binary(), max_size=4)


def _mutate(value, draw):
    """`value` with one part of it, somewhere, replaced by anything."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        return {**value, key: _mutate(value[key], draw)}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], _mutate(value[place], draw), *value[place + 1 :]]
    return draw(anything)


def _check(reading):
    assert isinstance(reading, Reading)
    assert reading.wanted or reading.refusal or reading.ignored or reading.source in {"s3", "cloudevents"}
    if reading.refusal is not None:
        assert reading.refusal.detail
    for wanted in reading.wanted:
        assert len(wanted.request.uri) <= MAX_URI_CHARACTERS
        assert "\x00" not in wanted.request.model_dump_json()
        wanted.request.uri.encode()
        if wanted.source_tag is not None:
            assert wanted.source_tag.isprintable()
            assert len(wanted.source_tag) <= 200


@given(
    body=st.binary(max_size=300),
    content_type=content_types | st.text(),
    headers=headers,
    encoding=st.none() | st.text(),
)
@example(body=b'{"Records": [[[[]]]]}', content_type=None, headers={}, encoding=None)
def test_any_bytes_give_a_reading(body, content_type, headers, encoding):
    _check(read(Message(body, headers, content_type, encoding)))


@given(value=anything, content_type=content_types, headers=headers)
def test_any_json_gives_a_reading(value, content_type, headers):
    _check(read(Message(json.dumps(value).encode(), headers, content_type)))


SHAPES = [
    {"uri": URI, "hints": {"text": "t"}, "collection": "c", "priority": 0},
    EVENT,
    [EVENT, EVENT],
    [[], {"uri": URI}, {"chord": None}],
    {"Records": [record(), record("b.jpg", "s3:ObjectCreated:Copy", "minio:s3")]},
    {"Type": "Notification", "TopicArn": "arn", "Message": json.dumps({"Records": [record()]})},
    {"source": "aws.s3", "detail-type": "Object Created", "detail": record()["s3"]},
]


@given(data=st.data())
def test_a_known_shape_with_a_part_replaced_gives_a_reading(data):
    shape = _mutate(data.draw(st.sampled_from(SHAPES)), data.draw)
    task = data.draw(st.sampled_from([{}, {"task": LOCATE_TASK}]))
    _check(read(Message(json.dumps(shape).encode(), task, data.draw(content_types))))


@given(key=st.text(min_size=1, max_size=40))
def test_a_key_survives_its_encoding(key):
    from urllib.parse import quote_plus

    try:
        key.encode()
    except UnicodeEncodeError:
        return
    reading = send({"Records": [record(quote_plus(key, safe="/"))]})
    for wanted in reading.wanted:
        assert wanted.request.uri == f"s3://pictures/{key}"
