"""What other programs may send, and what they are told when it is wrong."""

import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.messages import DEFAULT_COLLECTION, Hints, LocateRequest, job_id_for

URI = "https://archive.example/1.jpg"

plain_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=200)
uris = plain_text.map(str.strip).filter(bool)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


def test_a_uri_is_enough():
    request = LocateRequest.read({"uri": URI})
    assert (request.collection, request.verify, request.priority) == (DEFAULT_COLLECTION, False, 0)
    assert request.hints == Hints()
    assert request.effective_job_id == str(job_id_for(DEFAULT_COLLECTION, URI))


def test_the_callers_job_id_counts():
    mine = uuid.uuid4()
    assert LocateRequest.read({"uri": URI, "job_id": str(mine)}).effective_job_id == str(mine)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "uri"),
        ({"uri": ""}, "uri"),
        ({"uri": "  \t"}, "uri"),
        ({"uri": None}, "uri"),
        ({"uri": ["a", "b"]}, "uri"),
        ({"uri": "x" * 8193}, "uri"),
        ({"uri": "a\x00b"}, "uri"),
        ({"uri": "a\ud800b"}, "uri"),
        ({"uri": URI, "collection": ""}, "collection"),
        ({"uri": URI, "collection": "c" * 201}, "collection"),
        ({"uri": URI, "collection": "c\x00"}, "collection"),
        ({"uri": URI, "job_id": "7"}, "job_id"),
        ({"uri": URI, "hints": "a bridge"}, "hints"),
        ({"uri": URI, "hints": {"text": "x" * 2001}}, "hints.text"),
        ({"uri": URI, "hints": {"text": "\udfff"}}, "hints.text"),
        ({"uri": URI, "hints": {"colour": "red"}}, "hints.colour"),
        ({"uri": URI, "verify": "perhaps"}, "verify"),
        ({"uri": URI, "priority": 2}, "priority"),
        ({"uri": URI, "priority": -1}, "priority"),
        ({"uri": URI, "url": URI}, "url"),
    ],
)
def test_a_bad_field_is_named_in_one_line(fields, named):
    with pytest.raises(ValueError, match=rf"(^|; ){named.replace('.', r'[.]')}: ") as refusal:
        LocateRequest.read(fields)
    assert "\n" not in str(refusal.value)


def test_every_bad_field_is_named_at_once():
    with pytest.raises(ValueError, match=r"uri: .*priority: .*extra: "):
        LocateRequest.read({"priority": 9, "extra": 1})


@given(fields=anything | st.dictionaries(st.sampled_from([*LocateRequest.model_fields, "x"]), anything))
def test_whatever_is_sent_it_is_read_or_refused_with_one_line(fields):
    try:
        request = LocateRequest.read(fields)
    except ValueError as error:
        assert type(error) is ValueError
        assert str(error)
    else:
        assert request.uri
        assert "\x00" not in request.model_dump_json()


@given(uri=uris, collection=uris, text=plain_text, verify=st.booleans(), priority=st.integers(0, 1))
def test_what_is_read_survives_the_wire(uri, collection, text, verify, priority):
    request = LocateRequest.read(
        {"uri": uri, "collection": collection, "hints": {"text": text}, "verify": verify, "priority": priority}
    )
    again = LocateRequest.read(json.loads(json.dumps(request.model_dump(mode="json"))))
    assert again == request
    assert again.effective_job_id == request.effective_job_id


@given(first=st.tuples(uris, uris), second=st.tuples(uris, uris))
def test_two_photographs_share_an_id_only_if_they_are_one(first, second):
    same = job_id_for(*first) == job_id_for(*second)
    assert same == (first == second) or any("\n" in name for name in (first[0], second[0]))


def test_the_ids_are_public_and_do_not_change():
    namespace = uuid.UUID("5b8ad0c6-3f5e-5a1e-9d39-6d1c7f1d8a55")
    assert job_id_for("default", URI) == uuid.uuid5(namespace, f"default\n{URI}")
