"""The published formulas, value for value, and where ours must differ from them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.rewards.geo import GeoReward
from trainer.rewards.globe import GlobeAccuracy, GlobeFormat, GlobeVisual
from trainer.rewards.visual import VisualReward


def accuracy(body, country, city):
    return GlobeAccuracy()(
        [f"<think>A.</think><answer>{body}</answer>"], id=["a"], country=[country], city=[city]
    )[0]


def visual(text, entities):
    return GlobeVisual()([text], id=["a"], entities=[entities])[0]


def form(text):
    return GlobeFormat()([text], id=["a"])[0]


# ---------------------------------------------------------------- accuracy


@pytest.mark.parametrize(
    ("body", "country", "city", "expected"),
    [
        ("country: France\ncity: Lyon", "France", "Lyon", 1.0),
        ("country: france\ncity: LYON", "France", "Lyon", 1.0),
        ("\ncountry:   France  \n\ncity:Lyon\n", "France", "Lyon", 1.0),
        ("country: France\ncity: Paris", "France", "Lyon", 0.2),
        ("country: France", "France", "Lyon", 0.2),
        ("country: Spain\ncity: Lyon", "France", "Lyon", 0.0),
        ("city: Lyon", "France", "Lyon", 0.0),
        ("", "France", "Lyon", 0.0),
        ("Lyon, France", "France", "Lyon", 0.0),
        # Look-alikes pass: five of seven letters are 0.71.
        ("country: Niger\ncity: Niamey", "Nigeria", "Niamey", 1.0),
        ("country: Nigeria\ncity: Niamey", "Niger", "Niamey", 1.0),
        ("country: Guinea\ncity: Bissau", "Guinea-Bissau", "Bissau", 0.0),
        ("country: Dominica\ncity: Roseau", "Dominican Republic", "Roseau", 0.0),
        ("country: Mali\ncity: Bamako", "Somalia", "Bamako", 0.0),
        ("country: Oman\ncity: Muscat", "Romania", "Muscat", 0.0),
        # Aliases, accents and other languages do not.
        ("country: USA\ncity: Austin", "United States", "Austin", 0.0),
        ("country: United States of America\ncity: Austin", "United States", "Austin", 0.0),
        ("country: The United States\ncity: Austin", "United States", "Austin", 1.0),
        ("country: Brazil\ncity: Sao Paulo", "Brazil", "São Paulo", 0.2),
        ("country: Germany\ncity: München", "Germany", "Munich", 0.2),
        ("country: Czechia\ncity: Prague", "Czech Republic", "Prague", 0.0),
        # The length rule at its edge: 7 of 10, and 9 of 13.
        ("country: France\ncity: abcdefg", "France", "abcdefghij", 1.0),
        ("country: France\ncity: abcdefghi", "France", "abcdefghijklm", 0.2),
        ("country: France\ncity: New York City", "France", "New York", 0.2),
        # Markup is part of the name; the first line counts; the label must be lower case.
        ("country: [France]\ncity: [Lyon]", "France", "Lyon", 0.2),
        ("country: France\ncountry: Spain\ncity: Lyon", "France", "Lyon", 1.0),
        ("Country: France\nCity: Lyon", "France", "Lyon", 0.0),
        ("country: France, city: Lyon", "France", "Lyon", 0.0),
        # An empty country runs on into the next line.
        ("country:\ncity: Lyon", "city: Lyon", "Lyon", 1.0),
        # Without a city in the truth, 0.2 is the most.
        ("country: France\ncity: Lyon", "France", None, 0.2),
        ("country: France\ncity: Lyon", "France", "", 0.2),
    ],
)
def test_accuracy_as_published(body, country, city, expected):
    assert accuracy(body, country, city) == expected


def test_accuracy_reads_the_first_closed_answer():
    reward = GlobeAccuracy()
    row = {"id": ["a"], "country": ["France"], "city": ["Lyon"]}
    first = "<answer>country: France\ncity: Lyon</answer>"
    assert reward([first + "<answer>country: Spain</answer>"], **row) == [1.0]
    assert reward(["<answer>country: France\ncity: Lyon"], **row) == [0.0]
    assert reward(["country: France\ncity: Lyon"], **row) == [0.0]


def test_a_row_without_a_country_is_not_judged():
    assert accuracy("country: France\ncity: Lyon", None, "Lyon") is None


def test_where_the_published_rule_and_ours_part():
    niger = {"id": ["a"] * 2, "lat": [13.5137] * 2, "lon": [2.1098] * 2}
    texts = [f"<think>A.</think><answer>country: {name}\ncity: Niamey</answer>" for name in ("Niger", "Nigeria")]
    assert GlobeAccuracy()(texts, id=["a"] * 2, country=["Niger"] * 2, city=["Niamey"] * 2) == [1.0, 1.0]
    right, wrong = GeoReward()(texts, **niger)
    assert right > 0.95
    assert wrong < 0.4
    austin = {"id": ["a"], "lat": [30.2672], "lon": [-97.7431]}
    text = "<think>A.</think><answer>country: USA\ncity: Austin</answer>"
    assert GlobeAccuracy()([text], id=["a"], country=["United States"], city=["Austin"]) == [0.0]
    assert GeoReward()([text], **austin)[0] > 0.95


# ---------------------------------------------------------------- visual


@pytest.mark.parametrize(
    ("text", "entities", "expected"),
    [
        ("<think>A Palm Tree and a taxi.</think>", ["palm tree", "Taxi"], 1.0),
        ("<think>A palm tree.</think>", ["palm tree", "taxi"], 0.5),
        ("<think>A palm tree.</think>", ["palm tree", "Palm Tree", "PALM TREE"], 1.0),
        ("<think>A napalm treehouse.</think>", ["palm tree"], 1.0),
        ("<think>There are no palm trees.</think>", ["palm tree"], 1.0),
        ("<think>A road.</think><answer>country: taxi</answer>", ["taxi"], 0.0),
        ("A taxi, untagged.", ["taxi"], 1.0),
        ("<think>A taxi.</think> <think>A palm.</think>", ["taxi", "palm"], 0.5),
        ("pal<think>m", ["palm"], 1.0),
        ("<think>A taxi.</think>", [], 0.0),
        ("<think>A taxi.</think>", None, None),
        ("", ["taxi"], 0.0),
    ],
)
def test_visual_as_published(text, entities, expected):
    assert visual(text, entities) == expected


def test_entities_are_objects_with_a_text_in_the_published_data():
    assert visual("<think>A taxi.</think>", [{"text": "taxi"}, {"text": "palm"}]) == 0.5


@given(
    true=st.lists(st.sampled_from(["taxi", "palm", "bus", "kerb"]), min_size=1, unique=True),
    stated=st.lists(st.sampled_from(["taxi", "palm", "bus", "kerb"]), unique=True),
)
def test_in_the_published_form_naming_more_never_costs_and_in_ours_it_does(true, stated):
    everything = ["taxi", "palm", "bus", "kerb"]
    texts = ["<think>" + " ".join(f"A {cue}." for cue in cues) + "</think>" for cues in (stated, everything)]
    published = GlobeVisual()(texts, id=["a", "a"], entities=[true] * 2)
    assert published[1] == 1.0 >= published[0]
    ours = VisualReward.of_phrases([everything])(texts, id=["a", "a"], true_cues=[true] * 2)
    if len(true) < len(everything):
        assert ours[1] < 1.0
    assert (ours[0] == 1.0) == (set(stated) == set(true))


# ---------------------------------------------------------------- format


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>A.</think><answer>B.</answer>", 1.0),
        ("<think>A.\n</think>\n \n<answer>\nB.</answer>", 1.0),
        ("<think></think><answer></answer>", 1.0),
        ("<think>A.</think><answer>B.</answer><answer>C.</answer>", 1.0),
        ("<think>A.</think>x<answer>B.</answer>", 0.0),
        ("<think>A.</think>x</think><answer>B.</answer>", 1.0),
        ("<think>A.</think><answer>B.</answer>\n", 0.0),
        ("<think>A.</think><answer>B.</answer> Bye", 0.0),
        (" <think>A.</think><answer>B.</answer>", 0.0),
        ("\n<think>A.</think><answer>B.</answer>", 0.0),
        ("<Think>A.</Think><Answer>B.</Answer>", 0.0),
        ("<answer>B.</answer><think>A.</think>", 0.0),
        ("<think>A.</think>", 0.0),
        ("<think><answer>B.</answer>", 0.0),
        ("", 0.0),
    ],
)
def test_format_as_published(text, expected):
    assert form(text) == expected


@given(st.lists(st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "\n", " ", "A"]), max_size=12))
def test_format_is_think_space_answer_and_nothing_else(pieces):
    text = "".join(pieces)
    cuts = [match.start() for match in re.finditer("</think>", text)]
    rests = [text[cut + len("</think>") :].lstrip() for cut in cuts if cut >= len("<think>")]
    is_whole = text.startswith("<think>") and any(
        rest.startswith("<answer>") and rest[len("<answer>") :].endswith("</answer>") for rest in rests
    )
    assert form(text) == float(is_whole)
