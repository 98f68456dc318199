"""The answer grammar: what real models print, what is no place, and hostile text."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.reason.answer import MAX_CUE_CHARS, MAX_CUES, Answer, Unparsable, Unreadable, parse, render

PARIS = ("France", None, "Paris")


def place(text, **options):
    answer = parse(text, **options)
    assert isinstance(answer, Answer), answer
    return answer.country, answer.region, answer.city


@pytest.mark.parametrize(
    "text",
    [
        "<think>Signs.</think><answer>country: France\ncity: Paris</answer>",
        "<think>Signs.</think>\n<answer>\nCountry: [France]\nCity: [Paris]\n</answer>",
        "Signs.</think><answer>**Country:** France\n**City**: Paris</answer>",
        "<answer>- Country: France\n- City: Paris.</answer>",
        "<answer>Country: France, City: Paris</answer> I hope this helps!",
        "<answer>1. Country: 'France'; 2. City: 'Paris'</answer>",
        "<answer>country： France\ncity： Paris</answer>",
        "<answer>city: Paris\ncountry: France</answer>",
        "<answer>```\ncountry: France\ncity: Paris\n```</answer>",
        "<ANSWER>COUNTRY: France\nCITY: Paris</ANSWER>",
        "<answer><country>France</country><city>Paris</city></answer>",
        "<answer>Paris, France</answer>",
        "<answer>Location: Paris, France</answer>",
        "<think>Signs.</think>Paris, France",
        "<think>Signs.\nCountry: France\nCity: Paris",
        "The country: could be Italy. No.\n\nCity: Paris\nCountry: France",
        '```json\n{"country": "France", "city": "Paris"}\n```',
        "{'country': 'France', 'city': 'Paris' ,'reasons':'It's in French.'}",
        '<answer>{"answer": {"country": "France", "city": "Paris"}}</answer>',
        "<answer>country: Spain</answer><answer>country: France\ncity: Paris</answer>",
    ],
)
def test_tolerated_forms(text):
    assert place(text) == PARIS


def test_reasons_of_pseudo_json_become_reasoning_and_cues():
    answer = parse(
        "{'country': 'Côte d'Ivoire', 'city': 'Abidjan', 'reasons': ['Red soil', 'Shops say d'Abidjan']}"
    )
    assert (answer.country, answer.city) == ("Côte d'Ivoire", "Abidjan")
    assert answer.cues == ("Red soil", "Shops say d'Abidjan")
    assert answer.reasoning == "Red soil\nShops say d'Abidjan"


def test_an_empty_line_does_not_take_the_next_one():
    assert place("<answer>country:\ncity: Paris</answer>") == (None, None, "Paris")
    assert place("<answer>country: \n\nregion: Texas\ncity:</answer>") == (None, "Texas", None)


@pytest.mark.parametrize("word", ["[country]", "X", "N/A", "...", "", "-", "none", "the country's English name"])
def test_placeholders_are_no_places(word):
    answer = parse(f"<answer>country: {word}\ncity: {word}</answer>")
    assert isinstance(answer, Unparsable)
    assert answer.reason is Unreadable.PLACEHOLDER


@pytest.mark.parametrize(
    "body",
    [
        "country: unknown",
        "country: Cannot tell",
        "country: not sure\ncity: unknown",
        "country: Unknown (could be Spain)",
        "country: cannot be determined from the image",
        "I cannot determine the location of this photograph.",
        "country: unknown\nlat: 10\nlon: 10",
    ],
)
def test_abstentions(body):
    answer = parse(f"<think>A white wall.</think><answer>{body}</answer>")
    assert answer.abstains
    assert (answer.country, answer.region, answer.city, answer.lat) == (None, None, None, None)


@pytest.mark.parametrize(
    ("lines", "point"),
    [
        ("lat: 48.85\nlon: 2.35", (48.85, 2.35)),
        ("Latitude: 33.9° S, Longitude: 18.4° E", (-33.9, 18.4)),
        ("Coordinates: 48.85° N, 2.35° E", (48.85, 2.35)),
        ("coordinates: (−33.45, −70.66)", (-33.45, -70.66)),
        ("GPS: 2.35 E, 48.85 N", (48.85, 2.35)),
        ("coordinates: 48°51'24\"N 2°21'03\"E", (48.85667, 2.35083)),
        ("lat: 48,85\nlon: 2,35", (48.85, 2.35)),
        ("coordinates: -33.9 S, 18.4 E", (-33.9, 18.4)),
        ("lat: 0.0\nlon: 0.0", None),
        ("lat: 91\nlon: 2", None),
        ("lat: 12\nlon: 200", None),
        ("lat: 48.85", None),
        ("lon: 2.35", None),
        ("lat: 48.85 E\nlon: 2.35", None),
        ("lat: nan\nlon: inf", None),
        ("lat: 1234567.5\nlon: 2", None),
        ("coordinates: 48°75'N 2°21'E", None),
        ("coordinates: 48.85", None),
        ("coordinates: 1, 2, 3", None),
    ],
)
def test_coordinates(lines, point):
    answer = parse(f"<answer>country: France\n{lines}</answer>")
    assert answer.country == "France"
    got = None if answer.lat is None else (answer.lat, answer.lon)
    assert got == (None if point is None else pytest.approx(point, abs=1e-4))
    assert (answer.lat is None) == (answer.lon is None)


@pytest.mark.parametrize("text", ["<think>On and on", "<think>a</think><answer>country: Fra", "<think>a</think>"])
def test_cut_text_is_no_answer(text):
    answer = parse(text, finish_reason="length")
    assert isinstance(answer, Unparsable)
    assert answer.reason is Unreadable.CUT


def test_a_complete_answer_survives_the_cut_of_what_follows():
    text = "<answer>country: France\ncity: Paris</answer> wait <answer>country: Spa"
    assert place(text, finish_reason="length") == PARIS
    assert "a further answer was not complete" in parse(text).notes


def test_what_was_tolerated_is_noted():
    assert parse("<think>Signs.</think><answer>country: France</answer>").notes == ()
    assert parse("Signs.</think><answer>country: France").notes == ("missing </answer>", "missing <think>")
    assert "missing </think>" in parse("<think>Signs.<answer>country: France</answer>").notes


@pytest.mark.parametrize("text", ["", " \n\x00 ", "\u200b"])
def test_nothing_printed(text):
    assert parse(text).reason is Unreadable.EMPTY


@pytest.mark.parametrize(
    "text",
    [
        "A street with shops.",
        "Hello, this is a nice picture",
        "<answer>a sunny day at a beach with many people</answer>",
    ],
)
def test_prose_is_no_answer(text):
    assert parse(text).reason is Unreadable.NO_ANSWER


def test_names_keep_what_belongs_to_them():
    body = "country: Korea, Republic of\nregion: Castilla-La Mancha\ncity: Washington, D.C."
    assert place(f"<answer>{body}</answer>") == ("Korea, Republic of", "Castilla-La Mancha", "Washington, D.C.")
    assert place("<answer>country: India\ncity: Mumbai (Bombay)</answer>")[2] == "Mumbai (Bombay)"
    assert place("<answer>country: Canada\ncity: St. John's</answer>")[2] == "St. John's"


def test_cues_are_sentences_and_bullets_and_bounded():
    answer = parse("<think>- Blue street signs.\n- **Plane trees** line the road. Cars drive right.</think>"
                   "<answer>country: France</answer>")  # fmt: skip
    assert answer.cues == ("Blue street signs.", "Plane trees line the road.", "Cars drive right.")
    many = "".join(f"Reason number {n} {'x' * 400}. " for n in range(100))
    cues = parse(f"<think>{many}</think><answer>country: France</answer>").cues
    assert len(cues) == MAX_CUES
    assert max(map(len, cues)) == MAX_CUE_CHARS


def test_nothing_that_postgres_refuses_comes_through():
    escaped = json.dumps({"country": "Fra\x00nce", "city": "P\ud800aris", "reasons": "a\x00 sign in French"})
    for text in ("<think>\x00a</think><answer>country: Fra\x00nce\ncity: P\ud800aris</answer>", escaped):
        answer = parse(text)
        assert (answer.country, answer.city) == ("France", "Paris")
        repr(answer).encode("utf-8")
        assert "\\x00" not in repr(answer)


names = st.from_regex(r"[A-ZÀ-Ý][a-zà-ÿ'-]{2,12}[a-z]( [A-Z][a-z]{2,9}){0,2}", fullmatch=True).filter(
    lambda name: isinstance(parse(f"<answer>city: {name}</answer>"), Answer)
)
sentences = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"], exclude_characters="<>"))


@given(
    reasoning=sentences.map(str.strip),
    country=names,
    region=st.none() | names,
    city=st.none() | names,
    point=st.none()
    | st.tuples(st.floats(-90, 90), st.floats(-180, 180)).filter(lambda p: max(map(abs, p)) > 1e-3),
)
def test_the_canonical_form_survives_the_round_trip(reasoning, country, region, city, point):
    lat, lon = point or (None, None)
    back = parse(render(Answer(reasoning, country, region, city, lat, lon)))
    assert (back.reasoning, back.country, back.region, back.city) == (reasoning, country, region, city)
    assert back.notes == ()
    if point:
        assert (back.lat, back.lon) == pytest.approx(point, abs=1e-6)


def test_an_abstention_survives_the_round_trip():
    answer = Answer(reasoning="A white wall fills the picture.", abstains=True)
    assert parse(render(answer)) == Answer(answer.reasoning, abstains=True, cues=(answer.reasoning,))


pieces = st.sampled_from(
    ["<think>", "</think>", "<answer>", "</answer>", "country:", "city:", "region: ", " Paris", "France", "\n",
     "{",
     "}", "'country': '", "'", '"', "lat: ", "48.85", "°", " N", ",", "*", "**", "```", "unknown", "[", "]",
     "(", ")",
     "\x00", "：", "- ", "0.0", "Location: ", "reasons", ": "]
)  # fmt: skip
hostile = st.lists(pieces | st.text(max_size=5), max_size=40).map("".join)


@settings(max_examples=500)
@given(hostile, st.sampled_from(["stop", "length"]))
def test_any_text_gives_a_value_and_reading_is_stable(text, finish_reason):
    answer = parse(text, finish_reason=finish_reason)
    if isinstance(answer, Answer):
        again = parse(render(answer))
        assert isinstance(again, Answer)
        assert (again.country, again.region, again.city) == (answer.country, answer.region, answer.city)
        assert again.abstains == answer.abstains
        assert (answer.country or answer.region or answer.city or answer.abstains or answer.lat) is not None


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    ["<think>", "<answer>", "</answer>", "country: ", "country:\n", "{'country': '", "{", "}", "(", " ", "\n", "-",
     "*", "a. ", "1 ", "9", "°", "' ", "<", "< ", "cannot ", "country: France\n",
     "<answer>country: x</answer>", "\\",
     "["],
)  # fmt: skip
def test_a_megabyte_of_anything_ends(unit):
    """Quadratic reading of a megabyte would take hours; the timeout is minutes away from the linear case."""
    text = unit * (1_000_000 // len(unit))
    parse(text)
    parse("<think>" + text + "</think><answer>country: France</answer>")
    parse("<answer>country: " + text)
    parse("{'country': '" + text + "}")
