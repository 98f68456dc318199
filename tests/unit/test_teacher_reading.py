"""From what teachers print to opinions and troubles: nothing raises, nothing is kept that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.curate.distil.english import is_other_language
from trainer.curate.distil.prompt import PROMPT_HASH, teacher_prompt
from trainer.curate.distil.reading import (
    MAX_NAMED,
    MAX_NAMED_CHARS,
    Beside,
    Troubled,
    read_beside,
    read_said,
    same_words,
)
from trainer.curate.opinions import Opinion, Trouble
from worker.reason.answer import Answer, render
from worker.reason.prompt import build_prompt

GOOD = """<verdict>locatable: yes
probability: 0.85</verdict>
<think>The sign reads "Boulangerie". The plates are yellow.</think>
<visible>- a shop sign
- yellow number plates</visible>
<answer>country: France
city: Rennes</answer>"""

PIECES = st.lists(
    st.sampled_from(
        [
            "<verdict>", "</verdict>", "<visible>", "</visible>", "<think>", "</think>", "<answer>", "</answer>",
            "locatable: yes", "locatable: no", "probability: 0.9", "probability: 90 %", "probability:", "\n", "- ",
            "country: France", "city: Paris", "a red roof", "{", "}", '"country": ', "\x00", "\ud800", "…", "1.",
        ]
    )
    | st.text(max_size=20),
    max_size=40,
).map("".join)  # fmt: skip


def test_the_form_that_is_asked_for_is_read():
    said = read_said("t", GOOD, "stop")
    assert isinstance(said, Opinion)
    assert (said.locatable, said.p_locatable) == (True, 0.85)
    assert said.named == ("a shop sign", "yellow number plates")
    assert (said.answer.country, said.answer.city) == ("France", "Rennes")
    assert said.answer.reasoning == 'The sign reads "Boulangerie". The plates are yellow.'


def test_the_prompt_is_the_workers_with_more():
    base, prompt = build_prompt(), teacher_prompt()
    assert prompt.system == base.system
    assert prompt.user.startswith(base.user)
    assert len(PROMPT_HASH) == 16
    for word in ("<verdict>locatable:", "<visible>", "</visible>\n<answer>country:"):
        assert word in prompt.user
    # Whoever hands the form back has said nothing.
    form = prompt.user[prompt.user.rindex("<verdict>") :]
    assert isinstance(read_said("t", form, "stop"), Troubled)
    assert read_beside(form).named is None


@pytest.mark.parametrize(
    ("text", "locatable", "p_locatable"),
    [
        ("<verdict>locatable: no\nprobability: 0.1</verdict>", False, 0.1),
        ("<verdict>locatable: no\nprobability: 0.9</verdict>", False, 0.1),  # sure of its no
        ("<VERDICT>**Locatable**: Yes, probability: 85%</VERDICT>", True, 0.85),
        ("Localizability: yes. Probability = .75", True, 0.75),
        ("<verdict>localizable: true\nprobability: 80</verdict>", True, 0.8),
        ("<verdict>locatable: not locatable\nprobability: 0,2</verdict>", False, 0.2),
        ("<verdict>locatable: perhaps\nprobability: high</verdict>", None, None),
        ("<verdict>locatable: yes\nprobability: 850</verdict>", True, None),
        ("nothing of the kind", None, None),
        ("", None, None),
    ],
)
def test_verdicts_in_many_dresses(text, locatable, p_locatable):
    read = read_beside(text)
    assert (read.locatable, read.p_locatable) == (locatable, p_locatable)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("<visible>a bus; a tram\n2. palms\n\npalms</visible>", ("a bus", "a tram", "palms")),
        ("<visible>none</visible>", None),
        ("<visible></visible>", None),
        ("<visible>* **red roofs**,\n<answer>country: X</answer>", ("red roofs",)),
    ],
)
def test_visible_things_in_many_dresses(text, named):
    assert read_beside(text).named == named


@pytest.mark.parametrize(
    ("text", "finish_reason", "trouble"),
    [
        ("", "stop", Trouble.EMPTY),
        (" \n\x00", "stop", Trouble.EMPTY),
        ("<think>It is a house in", "length", Trouble.CUT),
        ("I'm sorry, but I can't help with that.", "stop", Trouble.REFUSED),
        ("I cannot assist with locating people.", "stop", Trouble.REFUSED),
        ("No image was provided. Please attach it.", "stop", Trouble.NO_PICTURE),
        ("I don't see any photo in your message.\ncountry: unknown", "stop", Trouble.NO_PICTURE),
        ('{"scene": {"vibe": "urban"}, "score": 7}', "stop", Trouble.UNREADABLE),
        ("A nice house with a garden.", "stop", Trouble.UNREADABLE),
        ("<think>這是一張在台北拍攝的照片，街道上有很多中文招牌和機車，建築物很典型，路邊有便利商店。</think>"
         "<answer>country: Taiwan</answer>",
         "stop", Trouble.OTHER_LANGUAGE),
        ("<think>Das Haus steht an der Straße und die Dächer sind rot, es ist nicht weit von dem See.</think>"
         "<answer>country: Germany</answer>", "stop", Trouble.OTHER_LANGUAGE),
    ],
)  # fmt: skip
def test_what_is_no_opinion_is_trouble(text, finish_reason, trouble):
    said = read_said("t", text, finish_reason)
    assert isinstance(said, Troubled)
    assert said.trouble is trouble
    assert said.detail.endswith(".")


def test_a_teacher_that_declines_has_an_opinion():
    said = read_said("t", "<think>Only sky is visible.</think><answer>country: unknown</answer>", "stop")
    assert isinstance(said, Opinion)
    assert said.answer.abstains
    assert said.locatable is False


@pytest.mark.parametrize(
    "text",
    [
        'The sign reads "Bäckerei und Konditorei zum goldenen Hirschen mit der schönen Aussicht" above the door.',
        "The plates are yellow and the side of driving is left, which suggests the United Kingdom or Cyprus.",
        "Rua de la Paz, El Paso, Los Angeles, Las Vegas and San Juan de la Cruz are written on the bus.",
        "Red roofs.",
        "",
    ],
)
def test_english_that_quotes_other_languages_is_english(text):
    assert not is_other_language(text)


@pytest.mark.parametrize(
    "text",
    [
        "La maison est dans une rue avec des arbres, et le toit est rouge comme dans les villages du sud.",
        "Дом стоит на улице, и крыша красная, похоже на небольшой город в России или в Беларуси.",
        "Na ulicy jest sklep i kościół, a tablice są białe, co oznacza że to nie jest duże miasto w Polsce.",
    ],
)
def test_other_languages_are_told(text):
    assert is_other_language(text)


@given(PIECES, st.sampled_from(["stop", "length", None]))
def test_nothing_raises_and_everything_is_in_bounds(text, finish_reason):
    said = read_said("t", text, finish_reason)
    assert isinstance(said, Opinion | Troubled)
    beside = read_beside(text)
    assert beside.p_locatable is None or 0 <= beside.p_locatable <= 1
    if beside.named is not None:
        assert 1 <= len(beside.named) <= MAX_NAMED
        assert all(0 < len(thing) <= MAX_NAMED_CHARS and "\n" not in thing for thing in beside.named)
    assert same_words(text) == same_words(same_words(text))


NAMES = st.text("abcdefghijklmnopqrstuvwxyz ", min_size=3, max_size=20).map(str.strip).filter(lambda s: len(s) > 2)


@given(st.booleans(), st.integers(0, 100), st.lists(NAMES, min_size=1, max_size=6, unique=True))
def test_what_is_written_in_the_form_is_read_back(locatable, percent, things):
    probability = percent / 100
    answer = render(Answer(reasoning="A wall stands there.", country="France"))
    head = f"<verdict>locatable: {'yes' if locatable else 'no'}\nprobability: {probability}</verdict>"
    body = "<visible>" + "\n".join(things) + "</visible>"
    said = read_said("t", head + answer.replace("<answer>", body + "<answer>"), "stop")
    assert isinstance(said, Opinion)
    assert said.locatable is locatable
    expected = 1 - probability if not locatable and probability > 0.5 else probability
    assert said.p_locatable == pytest.approx(expected)
    wanted = tuple(" ".join(thing.split()) for thing in things)
    kept = tuple(dict.fromkeys(thing for thing in wanted if thing not in {"none", "nothing", "unknown"}))
    assert said.named == (kept or None)


def test_long_texts_take_linear_time():
    """Each of these repeats what a pattern begins with; quadratic patterns would take minutes."""
    for piece in ("locatable ", "probability: ", "<visible>", "I can't ", "no image was ", '"', "« ", "<", "* "):
        read_said("t", piece * 40_000, "stop")
        is_other_language(piece * 40_000)


def test_no_verdict_is_none_and_not_no():
    assert read_beside("<answer>country: France</answer>") == Beside(None, None, None)
