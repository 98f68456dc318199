"""The quick way to a row of the table job, and the one that says what is valid."""

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.messages import MAX_TEXT_CHARACTERS, MAX_URI_CHARACTERS, LocateRequest, job_id_for
from worker.intake.sources import Submission
from worker.queue.rows import job_id_text, read_row, row_of

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
BLANKS = st.sampled_from(["", " ", "\t", "\u00a0", "\u2003", "\u3000", "\x1f", "\x85", "\0", "\ud800"])
URI = st.builds(lambda before, text, after: before + text + after, BLANKS, ANY_TEXT, BLANKS)
HINTS = st.dictionaries(st.sampled_from(["text", "region", "date", "other"]), URI, max_size=3)


def slowly(item, collection, verify, priority):
    fields = {"uri": item.uri, "collection": item.collection or collection, "hints": dict(item.hints)}
    request = LocateRequest.read(fields | {"verify": item.verify or verify, "priority": priority})
    return request.collection, row_of(request, item.source_tag)


@settings(max_examples=500)
@given(URI, HINTS, st.one_of(st.none(), URI), st.booleans(), st.booleans(), st.integers(0, 2))
def test_a_row_is_what_the_message_would_have_become(uri, hints, collection, verify, of_all, priority):
    item = Submission(uri, "tag", hints, collection, verify)
    try:
        expected = slowly(item, "default", of_all, priority)
    except ValueError as error:
        with pytest.raises(ValueError) as refused:
            read_row(item, "default", verify=of_all, priority=priority)
        assert str(refused.value) == str(error)
    else:
        assert read_row(item, "default", verify=of_all, priority=priority) == expected


@pytest.mark.parametrize("too_long", [0, 1])
def test_lengths_are_bounded_alike(too_long):
    uri = "x" * (MAX_URI_CHARACTERS + too_long)
    text = "x" * (MAX_TEXT_CHARACTERS + too_long)
    for item in (Submission(uri), Submission("https://example.org/1.jpg", hints={"text": text})):
        if too_long:
            with pytest.raises(ValueError, match="at most"):
                read_row(item, "default", verify=False, priority=0)
        else:
            assert read_row(item, "default", verify=False, priority=0)[1]["uri"] == item.uri


@given(st.text(), st.text())
def test_the_id_is_the_one_that_messages_have(collection, uri):
    assert job_id_text(collection, uri) == str(job_id_for(collection, uri))
    assert uuid.UUID(job_id_text(collection, uri)).version == 5
