"""What is sent: JSON of any shape becomes jobs, or a problem that names the place of each fault."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.messages import DEFAULT_COLLECTION, LocateRequest, job_id_for
from worker.http.body import MAX_JOBS, read_jobs
from worker.http.idempotency import read_key
from worker.http.problem import Problem

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
fields = st.fixed_dictionaries(
    {"uri": st.text(min_size=1)},
    optional={name: values for name in [*LocateRequest.model_fields, "colour"] if name != "uri"},
)


def _refused(body):
    with pytest.raises(Problem) as caught:
        read_jobs(body if isinstance(body, bytes) else json.dumps(body).encode())
    return caught.value


def test_one_and_many():
    one = read_jobs(b'{"uri": "s3://bucket/1.jpg"}')
    assert (one.is_list, one.requests[0].collection) == (False, DEFAULT_COLLECTION)
    many = read_jobs(b'[{"uri": "s3://bucket/1.jpg"}, {"uri": "s3://bucket/2.jpg", "hints": {"text": "Oslo"}}]')
    assert (many.is_list, len(many.requests), many.requests[1].hints.text) == (True, 2, "Oslo")


def test_each_fault_has_its_place():
    problem = _refused([{"uri": "s3://bucket/1.jpg"}, {"uri": "", "hints": {"a/b~c": 1}}, 7])
    assert problem.status == 422
    assert [error["pointer"] for error in problem.errors] == ["/1/uri", "/1/hints/a~1b~0c", "/2"]
    assert [error["pointer"] for error in _refused({"uri": "x", "priority": 9}).errors] == ["/priority"]


def test_what_was_given_is_not_repeated():
    problem = _refused({"uri": "x", "priority": "hunter2", "verify": "hunter2"})
    assert "hunter2" not in problem.response().body.decode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"uri": NaN}', 400),
        (b"\xff\xfe", 400),
        (b'{"uri": "\\ud800"}', 400),
        (b"[" * 100_000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"s3://bucket/1.jpg"', 422),
        (b'{"uri": "a\\u0000b"}', 422),
        (orjson.dumps([{"uri": "x"}] * (MAX_JOBS + 1)), 413),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_job_is_refused(body, status):
    assert _refused(body).status == status


def test_an_id_may_be_told_only_where_it_follows_from_the_photograph():
    right = str(job_id_for(DEFAULT_COLLECTION, "s3://bucket/1.jpg"))
    assert read_jobs(json.dumps({"uri": "s3://bucket/1.jpg", "job_id": right}).encode()).requests
    problem = _refused({"uri": "s3://bucket/2.jpg", "job_id": right})
    assert [error["pointer"] for error in problem.errors] == ["/job_id"]


@given(st.one_of(values, fields, st.lists(fields, max_size=3)))
def test_any_json_is_jobs_or_a_problem(given_):
    try:
        body = orjson.dumps(given_)
    except (TypeError, orjson.JSONEncodeError):  # what JSON cannot say is not sent
        return
    try:
        asked = read_jobs(body)
    except Problem as problem:
        assert problem.status in (400, 413, 422)
        assert orjson.loads(problem.response().body)["status"] == problem.status
    else:
        assert len(asked.requests) == (len(given_) if asked.is_list else 1)


def test_the_fingerprint_follows_the_meaning():
    same = {
        read_jobs(body).fingerprint
        for body in (b'{"uri":"/x.jpg","verify":true}', b'{ "verify": true, "uri": "/x.jpg" }')
    }
    assert len(same) == 1
    assert read_jobs(b'{"uri":"/x.jpg"}').fingerprint not in same


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (None, None),
        ('"8e03978e-40d5-43dd-bc93-6894a57f9324"', "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('  "a b"  ', "a b"),
        (r'"say \"a\\b\""', r'say "a\b"'),
    ],
)
def test_a_key_is_read(header, key):
    assert read_key(header) == key


@pytest.mark.parametrize(
    "header", ["", '""', '"', '"a', 'a"b', "a b", "a,b", "a;b", "é", '"\t"', "x" * 256, r'"\n"']
)
def test_what_is_no_key_is_refused(header):
    with pytest.raises(Problem) as caught:
        read_key(header)
    assert caught.value.status == 400


@given(st.text())
def test_any_header_is_a_key_or_a_problem(header):
    try:
        key = read_key(header)
    except Problem as problem:
        assert problem.status == 400
    else:
        assert key is not None
        assert 1 <= len(key) <= 255
        assert key.isascii()
        assert key.isprintable()
