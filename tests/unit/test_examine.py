"""A Celery message is one call of one of our tasks, or it is refused with a reason. Nothing else comes through."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.messages import LOCATE_TASK
from schema.reasons import MessageReason
from worker.errors import MessageError
from worker.queue.delivery import Delivery
from worker.queue.examine import MAX_BODY_BYTES, cleaned, examine

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS = {"uri": "file:///a.jpg"}
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def _delivery(*, body=None, **changes):
    headers = {"task": LOCATE_TASK, "id": "7", **changes.pop("headers", {})}
    properties = {"content_type": "application/json", "content_encoding": "utf-8", **changes}
    raw = json.dumps([[], FIELDS, EMBED]) if body is None else body
    return Delivery("geotag.locate", raw if isinstance(raw, bytes) else raw.encode(), headers, properties)


def _examine(delivery):
    return examine(delivery, {LOCATE_TASK}, now=NOW)


@pytest.mark.parametrize(
    "delivery",
    [
        _delivery(),
        _delivery(content_type="application/json; charset=utf-8", content_encoding=None),
        _delivery(body=json.dumps([[], FIELDS, None])),
        _delivery(headers={"eta": "2025-12-31T23:59:59"}),
        _delivery(headers={"expires": "2026-01-01T00:00:01+00:00"}),
        _delivery(
            headers={"group": "g", "retries": "many", "timelimit": "x", "shadow": 7, "stamps": [], "utc": {}}
        ),
    ],
)
def test_a_call_is_read(delivery):
    call = _examine(delivery)
    assert (call.task, call.id, call.fields) == (LOCATE_TASK, "7", FIELDS)


_FORBIDDEN = [{name: [{"task": "celery.chain"}]} for name in ("callbacks", "errbacks", "chain", "chord")]


@pytest.mark.parametrize(
    ("delivery", "reason"),
    [
        (_delivery(content_type="application/x-python-serialize", body=b"cos\nsystem\n."), "wrong_content_type"),
        (_delivery(content_type=None), "wrong_content_type"),
        (_delivery(content_type="application/x-yaml"), "wrong_content_type"),
        (_delivery(content_encoding="utf-16"), "undecodable"),
        (_delivery(headers={"compression": "gzip"}), "undecodable"),
        (_delivery(body=b""), "undecodable"),
        (_delivery(body=b'[[], {"uri": "\xff"}, null]'), "undecodable"),
        (_delivery(body='[[], {"uri": NaN}, null]'), "undecodable"),
        (_delivery(body='[[], {"uri": "\\ud800"}, null]'), "undecodable"),
        (_delivery(body="[" * 100_000), "undecodable"),
        (_delivery(body=b" " * (MAX_BODY_BYTES + 1)), "too_large"),
        (_delivery(body="{}"), "unknown_type"),
        (_delivery(body="[[], []]"), "unknown_type"),
        (_delivery(body="[{}, {}, {}]"), "unknown_type"),
        (_delivery(body=json.dumps([[], FIELDS, "embed"])), "unknown_type"),
        (_delivery(headers={"task": None}), "unknown_type"),
        (_delivery(headers={"task": ["x"]}), "unknown_type"),
        (_delivery(headers={"task": "celery.backend_cleanup"}), "unknown_task"),
        (_delivery(body=json.dumps([["file:///a"], {}, EMBED])), "bad_fields"),
        (_delivery(headers={"id": None}), "bad_fields"),
        (_delivery(headers={"id": "\x00"}), "bad_fields"),
        (_delivery(headers={"id": "x" * 300}), "bad_fields"),
        (_delivery(headers={"eta": 5}), "bad_fields"),
        (_delivery(headers={"expires": "soon"}), "bad_fields"),
        (_delivery(headers={"eta": "9999-12-31T23:59:59"}), "unsupported_option"),
        (_delivery(headers={"expires": "2025-12-31T23:59:59"}), "expired"),
        *((_delivery(body=json.dumps([[], FIELDS, EMBED | each])), "unsupported_option") for each in _FORBIDDEN),
        *((_delivery(headers=each), "unsupported_option") for each in _FORBIDDEN),
    ],
)
def test_everything_else_is_refused_with_a_reason(delivery, reason):
    with pytest.raises(MessageError) as refused:
        _examine(delivery)
    assert refused.value.reason == MessageReason(reason)
    assert str(refused.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
_NAMES = st.sampled_from(["task", "id", "eta", "expires", "callbacks", "chain", "timelimit", "group"]) | st.text()


@given(
    body=st.binary() | _JSON.map(lambda value: json.dumps(value).encode()),
    headers=st.dictionaries(_NAMES, _JSON | st.binary() | st.datetimes(), max_size=4),
    content_type=_JSON,
    encoding=_JSON,
)
def test_whatever_comes_is_a_call_or_a_refusal(body, headers, content_type, encoding):
    delivery = _delivery(body=body, headers=headers, content_type=content_type, content_encoding=encoding)
    try:
        call = _examine(delivery)
    except MessageError as error:
        assert isinstance(error.reason, MessageReason)
    else:
        assert call.task == LOCATE_TASK
        assert isinstance(call.fields, dict)


@given(headers=st.dictionaries(_NAMES, _JSON), embed=st.dictionaries(st.text(min_size=1), _JSON))
def test_celery_sees_nothing_of_a_strangers_headers(headers, embed):
    delivery = _delivery(headers=headers, body=json.dumps([[], FIELDS, embed]))
    try:
        call = _examine(delivery)
    except MessageError:
        return
    clean, body = cleaned(call, delivery)
    assert set(clean) == {"task", "id", "lang", "argsrepr", "kwargsrepr", "delivery"}
    assert body == {"task": LOCATE_TASK, "id": call.id, "args": [], "kwargs": FIELDS}


def test_a_countdown_that_has_run_out_is_none():
    past = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    assert examine(_delivery(headers={"eta": past}), {LOCATE_TASK}).fields == FIELDS
