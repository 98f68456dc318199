"""The canonical form is worth 1, every tolerated deviation halves it, and what cannot be read is worth nothing."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainer.rewards.format import FormatReward, deviations
from worker.errors import SetupError
from worker.reason.answer import Answer, parse, render

names = st.sampled_from(["France", "Côte d'Ivoire", "日本", "Washington, D.C.", "St. John's", "Mumbai (Bombay)"])
answers = st.builds(
    Answer,
    reasoning=st.sampled_from(["", "Palms.", "A < B and 3 > 2.\nTwo lines.", "answer country: none"]),
    country=names,
    region=st.none() | names,
    city=st.none() | names,
)


def score(text):
    return FormatReward()([text], id=["a"])[0]


@given(answers)
def test_what_render_writes_is_canonical(answer):
    assert score(render(answer)) == 1.0


@given(st.floats(-89, 89), st.floats(-179, 179))
def test_coordinates_are_canonical_whatever_their_digits(lat, lon):
    assume(round(lat, 6) != 0 or round(lon, 6) != 0)  # 0, 0 is dropped by the parser
    assert score(render(Answer("Palms.", "France", lat=lat, lon=lon))) == 1.0
    assert score(f"<think>Palms.</think><answer>country: France\nlat: {lat:.3f}1\nlon: {lon:.2f}1</answer>") == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "<think>Palms.</think><answer>country: France</answer>",
        "<think></think><answer>country: France\nregion: Brittany\ncity: Rennes</answer>",
        "<think>Palms.</think>\n\n<answer>\n  country: France\n  city: Rennes\n</answer>\n",
        "<think>Nothing tells the place.</think><answer>country: unknown</answer>",
    ],
)
def test_canonical_forms(text):
    assert score(text) == 1.0


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("<think>A.</think><answer>country: France</answer> Bye!", 1),
        ("Hello! <think>A.</think><answer>country: France</answer>", 1),
        ("<think>A.</think> so <answer>country: France</answer>", 1),
        ("<THINK>A.</THINK><answer>country: France</answer>", 1),
        ("<think>A.</think><answer>Country: France</answer>", 1),
        ("<think>A.</think><answer>country: [France]</answer>", 1),
        ("<think>A.</think><answer>- country: France</answer>", 1),
        ("<think>A.</think><answer>country: France, city: Paris</answer>", 1),
        ("<think>A.</think><answer>city: Paris\ncountry: France</answer>", 1),
        ("<think>A.</think><answer>country: France\ncity: unknown</answer>", 1),
        ("<think>A.</think><answer>I think it is this.\ncountry: France</answer>", 1),
        ("<think>A.</think><answer>country: France\ncountry: Spain</answer>", 1),
        ("<think>A.</think><answer>country: unknown\ncity: unknown</answer>", 1),
        ("<think>A.</think><answer>cannot tell</answer>", 2),
        ('<think>A.</think><answer>{"country": "France"}</answer>', 2),
        ("<think>A.</think><answer>Paris, France</answer>", 2),
        ("<think>A.</think><answer>country: France", 2),
        ("A.</think><answer>country: France</answer>", 2),
        ("<think>A.</think><answer>country: France</answer><answer>country: Spain</answer>", 2),
        ("country: France", 2),
    ],
)  # fmt: skip
def test_each_deviation_halves(text, count):
    found = deviations(text, parse(text))
    assert len(found) == count, found
    assert score(text) == 0.5**count


@pytest.mark.parametrize(
    "text",
    ["", "  \n", "Lovely!", "<think>A.</think>", "<answer></answer>", "<answer>country: [country]</answer>"],
)
def test_what_cannot_be_read_is_worth_nothing(text):
    assert score(text) == 0.0


@given(answers, st.integers(1, 2000))
@settings(max_examples=30)
def test_length_changes_nothing(answer, times):
    padded = Answer("Palms. " * times, answer.country, answer.region, answer.city)
    assert score(render(padded)) == 1.0
    assert score("Hello! " * times + render(answer)) == 0.5


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "country: France", "\n", "A."])))
def test_any_pile_of_tags_is_judged_and_only_the_canonical_one_is_whole(pieces):
    text = "".join(pieces)
    value = score(text)
    assert 0 <= value <= 1
    if value == 1.0:
        assert text.count("<answer>") == text.count("</answer>") == 1
        assert text.strip().startswith("<think>")
        assert text.strip().endswith("</answer>")
        assert text.count("country: France") >= 1


def test_the_share_that_remains_is_a_setting():
    text = "<think>A.</think><answer>country: France</answer> Bye!"
    assert FormatReward(tolerated=0.9)([text], id=["a"]) == [0.9]
    for tolerated in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(SetupError):
            FormatReward(tolerated=tolerated)
