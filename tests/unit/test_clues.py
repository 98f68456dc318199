"""Game clues: GeoReasoner's published form, plain CSV, and rows that are no good."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.curate.clues import ClueFile, WhyUnusable, examples, read_clues, read_literal
from worker.errors import SetupError
from worker.reason.answer import Answer, parse
from worker.reason.prompt import build_prompt

POLES = "{'country': 'Chile', 'reasons': ['The poles are of concrete.', 'The Andes rise in the east.']}"


def turns(answer, image="images/1.jpg", name="identity_0"):
    asked = f"Picture 1: <img>{image}</img>\nIn which country is this?"
    said = [{"from": "user", "value": asked}, {"from": "assistant", "value": answer}]
    return {"id": name, "conversations": said}


@pytest.fixture
def read(tmp_path):
    """Reads rows of the published form or the text of a CSV, beside a folder with two pictures."""
    for name in ("1.jpg", "2.jpg"):
        tmp_path.joinpath("images").mkdir(exist_ok=True)
        tmp_path.joinpath("images", name).write_bytes(b"picture")

    def _read(content, **options) -> ClueFile:
        path = tmp_path / ("rows.csv" if isinstance(content, str) else "georeasoner_sft.json")
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return read_clues(path, **options)

    return _read


def reasons_why(file: ClueFile):
    return [row.reason for row in file.unusable]


# --- the pseudo-JSON of answers ---


@pytest.mark.parametrize(
    ("text", "country", "city", "reasoning"),
    [
        (POLES, "Chile", None, "The poles are of concrete.\nThe Andes rise in the east."),
        ('{"country": "Chile", "reasons": "Concrete poles."}', "Chile", None, "Concrete poles."),
        ("{'country': 'Chile', 'city': 'Arica' ,'reasons':''}", "Chile", "Arica", ""),
        ("{'country': \"Côte d'Ivoire\", 'reasons': 'Red soil'}", "Côte d'Ivoire", None, "Red soil"),
        ("{'country': 'Côte d'Ivoire', 'reasons': 'To d'Abidjan'}", "Côte d'Ivoire", None, "To d'Abidjan"),
        (r"{'country': 'Chile', 'reasons': 'It\'s dry.'}", "Chile", None, "It's dry."),
        ("{'country': 'Chile', 'reasons': 'This country: blue signs'}", "Chile", None, "This country: blue signs"),
        ("Sure! {'Country': 'Chile', 'Reasons': ('a b', 'c d')} Done.", "Chile", None, "a b\nc d"),
        ("{'country': 'Chile', 'reasons': None, 'city': None}", "Chile", None, ""),
    ],
)  # fmt: skip
def test_literals_are_read(text, country, city, reasoning):
    answer = read_literal(text)
    assert answer is not None
    assert (answer.country, answer.city, answer.reasoning) == (country, city, reasoning)


@pytest.mark.parametrize("text", ["", "{}", "[1, 2]", "{'reasons': 'Poles.'}", "{'country': ''}", "I like Chile."])
def test_what_names_no_place_is_no_answer(text):
    assert read_literal(text) is None


@pytest.mark.parametrize("text", ["{'a':" * 5000, "{" + "(" * 500 + "}", "{'a': \0}"])
def test_hostile_literals_are_read_without_harm(text):
    assert read_literal(text) is None


def test_literals_are_not_evaluated():
    answer = read_literal("{'country': 'x' * 10**9}")
    assert answer is None or len(answer.country or "") < 20


@given(st.text(max_size=400))
def test_any_text_is_an_answer_or_none(text):
    assert read_literal(text) is None or isinstance(read_literal(text), Answer)


@given(
    st.sampled_from(["Chile", "Japan"]),
    st.lists(st.text(max_size=40), max_size=4),
    st.sampled_from([repr, json.dumps]),
)
def test_every_literal_comes_back(country, reasons, write):
    answer = read_literal(write({"country": country, "reasons": reasons}))
    assert answer is not None
    assert answer.country == country
    assert answer.reasoning == "\n".join(one.strip() for one in reasons if one.strip())


# --- files ---


def test_the_published_form(read, tmp_path):
    file = read(
        [turns(POLES), turns("{'country': 'USA', 'reasons': 'Yellow lines.'}", "images/2.jpg", "identity_1")]
    )
    assert not file.unusable
    first, second = file.clues
    assert (first.id, first.image, first.country) == ("identity_0", tmp_path / "images" / "1.jpg", "Chile")
    assert first.reasons == "The poles are of concrete.\nThe Andes rise in the east."
    assert (second.country, second.image.name) == ("United States", "2.jpg")


def test_the_authors_folders_are_looked_up_in_ours(read, tmp_path):
    rows = [turns(POLES, "/mnt/data/game/images/1.jpg"), turns(POLES, "C:\\game\\images\\2.jpg")]
    found = [clue.image for clue in read(rows, pictures=tmp_path).clues]
    assert found == [tmp_path / "images" / "1.jpg", tmp_path / "images" / "2.jpg"]
    found = [clue.image for clue in read(rows, pictures=tmp_path / "images").clues]
    assert found == [tmp_path / "images" / "1.jpg", tmp_path / "images" / "2.jpg"]


def test_plain_csv(read):
    text = (
        "\ufeffimage,clue,country,city\n"
        'images/1.jpg,"Concrete poles, ""postes"".",Chile,Arica\n'
        "images/2.jpg,Kanji.,JP,\n"
    )
    first, second = read(text).clues
    assert (first.country, first.city, first.reasons) == ("Chile", "Arica", 'Concrete poles, "postes".')
    assert (second.country, second.city) == ("Japan", "")
    assert first.id != second.id


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (turns(POLES) | {"conversations": "none"}, WhyUnusable.MALFORMED),
        (7, WhyUnusable.MALFORMED),
        ({"conversations": [{"from": "user", "value": "<img>images/1.jpg</img>"}]}, WhyUnusable.MALFORMED),
        ({"id": "a", "conversations": [{"from": "assistant", "value": POLES}]}, WhyUnusable.MALFORMED),
        ({"id": "a", "conversations": [{"from": "user", "value": None}]}, WhyUnusable.MALFORMED),
        (turns(POLES, image=""), WhyUnusable.NO_IMAGE),
        (turns(POLES, image="images/3.jpg"), WhyUnusable.IMAGE_MISSING),
        (turns(POLES, image="x" * 900), WhyUnusable.IMAGE_MISSING),
        (turns(POLES, image="\0"), WhyUnusable.IMAGE_MISSING),
        (turns("A lovely road."), WhyUnusable.NO_ANSWER),
        (turns("{'country': 'unknown', 'reasons': 'Fog.'}"), WhyUnusable.NO_COUNTRY),
        (turns("{'city': 'Arica', 'reasons': 'Poles.'}"), WhyUnusable.NO_COUNTRY),
        (turns("{'country': 'Atlantis', 'reasons': 'Wet.'}"), WhyUnusable.UNKNOWN_COUNTRY),
        (turns("{'country': 'Congo', 'reasons': 'River.'}"), WhyUnusable.UNKNOWN_COUNTRY),
        (turns("{'country': 'Chile', 'reasons': ' '}"), WhyUnusable.NO_REASONS),
        (turns(POLES, name="identity_9"), WhyUnusable.DUPLICATE),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_used_is_a_value_with_a_reason(read, row, why):
    file = read([turns(POLES), row, turns(POLES, "images/2.jpg")])
    assert len(file.clues) == 2
    assert [(one.row, one.reason) for one in file.unusable] == [(2, why)]
    assert file.unusable[0].detail.endswith(".")
    assert file.counts == {why: 1}


def test_rows_of_a_csv_that_cannot_be_used(read):
    text = (
        "country,image,clue\nChile,images/1.jpg,Poles.\nChile\n,images/1.jpg,Poles.\nChile,,Poles.\nChile,a,b,c\n"
    )
    file = read(text)
    assert len(file.clues) == 1
    assert reasons_why(file) == [
        WhyUnusable.MALFORMED,
        WhyUnusable.NO_COUNTRY,
        WhyUnusable.NO_IMAGE,
        WhyUnusable.MALFORMED,
    ]


def test_places_without_clues_serve_the_second_stage(read):
    text = "image,country,city\nimages/1.jpg,Chile,Arica\nimages/2.jpg,Chile,Arica\n"
    assert reasons_why(read(text)) == [WhyUnusable.NO_REASONS] * 2
    assert len(read(text, reasons="dropped").clues) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.json", "no json"),
        ("rows.json", '{"id": 1}'),
        ("rows.json", "[" * 100_000),
        ("rows.csv", ""),
        ("rows.csv", "picture,country\na,b\n"),
        ("rows.csv", "image,country,Country\na,b,c\n"),
        ("rows.csv", 'image,country\n"open,b\n'),
        ("rows.parquet", "PAR1"),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(SetupError) as refused:
        read_clues(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


# --- what is learnt ---


def test_completions_are_canonical_and_reasons_can_be_left_out(read):
    clues = read(
        [turns("{'country': 'UK', 'city': 'Leeds', 'reasons': ['Signs say <answer>.', 'Left side.']}")]
    ).clues
    (with_reasons,) = examples(clues, prompt=build_prompt())
    (place_alone,) = examples(clues, prompt=build_prompt(), reasons="dropped")
    first, second = parse(with_reasons.completion), parse(place_alone.completion)
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert (first.country, first.city, first.notes) == ("United Kingdom", "Leeds", ())
    assert (second.country, second.city) == ("United Kingdom", "Leeds")
    assert "Left side." in first.reasoning
    assert second.reasoning == ""
    assert with_reasons.prompt == build_prompt()
