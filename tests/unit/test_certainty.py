"""How likely the model found the place that it names, from the pieces of its text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.place.gazetteer import Gazetteer
from worker.place.votes import read_sample
from worker.reason.answer import Answer
from worker.reason.certainty import place_logprob
from worker.reason.engines import Completion
from worker.reason.engines.pieces import cut

LYON = Answer(country="France", city="Lyon")
SAID = (
    ("<think>", 0.0),
    ("A river", -0.7),  # how it is worded
    (" in Ly", -2.0),  # where the place is decided
    ("on", -0.5),
    (".</think><answer>country: ", 0.0),
    ("France", -0.25),
    ("\ncity: ", 0.0),
    ("Lyon", -0.01),  # only repeats
    ("</answer>", 0.0),
)


def test_a_place_is_decided_where_it_is_first_named():
    assert place_logprob(SAID, LYON) == pytest.approx(-2.0 - 0.5 - 0.25)


def test_what_names_no_place_has_no_certainty():
    assert place_logprob(SAID, Answer(abstains=True)) is None
    assert place_logprob((), LYON) is None
    assert place_logprob(SAID, Answer(country="Peru")) is None  # as where markup was cleaned away


@given(st.lists(st.tuples(st.text(max_size=6), st.floats(-20, 0)), max_size=30), st.text(min_size=1, max_size=3))
def test_no_place_is_likelier_than_certain_or_worse_than_the_whole_text(pieces, name):
    found = place_logprob(pieces, Answer(country=name))
    text = "".join(said for said, _ in pieces)
    assert (found is None) == (name not in text)
    if found is not None:
        assert math.fsum(logprob for _, logprob in pieces) - 1e-9 <= found <= 0.0


@given(st.text(max_size=40), st.integers(1, 5))
def test_pieces_joined_are_the_text_though_tokens_end_within_characters(text, token_bytes):
    whole = text.encode("utf-8", "replace")
    tokens = [whole[start : start + token_bytes] for start in range(0, len(whole), token_bytes)]
    table = dict(enumerate(tokens))
    decode = lambda chosen: b"".join(table[each] for each in chosen).decode("utf-8", "replace")  # noqa: E731
    text = decode(range(len(tokens)))
    pieces = cut(text, range(len(tokens)), [-1.0] * len(tokens), decode)
    assert "".join(said for said, _ in pieces) == text
    assert math.fsum(logprob for _, logprob in pieces) == -len(tokens)


def test_a_tokenizer_that_writes_a_token_otherwise_in_company_gives_no_pieces():
    words = {0: "in", 1: " Lyon"}
    decode = lambda chosen: "".join(words[each] for each in chosen).strip()  # noqa: E731
    assert cut("in Lyon", [0, 1], [-1.0, -1.0], decode) == ()


def test_a_read_answer_carries_the_certainty_of_its_place():
    text = "".join(said for said, _ in SAID)
    completion = Completion(text, "stop", 9, -0.4, SAID)
    assert read_sample(completion, Gazetteer.load()).place_logprob == pytest.approx(-2.75)
    assert read_sample(Completion("", "stop", 0, None), Gazetteer.load()).place_logprob is None
