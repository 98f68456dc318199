"""True texts say what is visible and read back; teachers err at their stated rates."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.cues import KINDS
from atlas.language import MAX_WORDS, VARIANTS, corpus, cue_phrase, stated_cues, true_text
from atlas.scenes import SPLITS, scene
from atlas.teachers import BEST_KNOWN, HABITS, TEACHERS, teacher_text
from atlas.world import load_world
from worker.reason.answer import parse, render

WORLD = load_world()
TAG = re.compile(r"</?(?:think|answer)>")
cues = st.sampled_from([(kind.name, value) for kind in KINDS for value in kind.values])
scenes = st.builds(
    lambda split, index: scene(WORLD, split, index), st.sampled_from(SPLITS), st.integers(0, 1_000_000)
)


def visible(made):
    return frozenset((cue.kind, cue.value) for cue in made.visible)


@given(st.lists(st.tuples(cues, st.integers(0, VARIANTS - 1)), max_size=20))
def test_every_phrase_reads_back_alone_and_among_others(chosen):
    expected = frozenset(cue for cue, _ in chosen)
    phrases = [cue_phrase(*cue, variant) for cue, variant in chosen]
    assert stated_cues(" ".join(phrases)) == expected
    assert stated_cues("; ".join(phrase.rstrip(".").upper() for phrase in phrases)) == expected
    assert stated_cues("<think>" + "\n".join(f"  {phrase}" for phrase in phrases) + "</think>") == expected


def test_variants_differ_and_no_two_cues_share_a_sentence():
    sentences = [cue_phrase(k.name, v, n) for k in KINDS for v in k.values for n in range(VARIANTS)]
    assert len(set(sentences)) == len(sentences)
    assert all(len(sentence.split()) <= 10 for sentence in sentences)
    with pytest.raises(KeyError):
        cue_phrase("script", "runes", 0)


@given(scenes)
def test_a_true_text_states_the_visible_cues_and_a_place_as_fine_as_can_be_told(made):
    text = true_text(WORLD, made)
    assert text == true_text(WORLD, made)
    assert stated_cues(text) == visible(made)
    answer = parse(text)
    assert render(answer) == text
    assert answer.notes == ()
    assert answer.lat is None
    assert answer.abstains == (made.placeable == "none")
    city = made.city
    expected = {
        "none": (None, None, None),
        "country": (city.country, None, None),
        "region": (city.country, city.region, None),
        "city": (city.country, city.region, city.name),
    }
    assert (answer.country, answer.region, answer.city) == expected[made.placeable]
    assert len(TAG.sub(" ", text).split()) <= MAX_WORDS
    assert len(answer.cues) == max(len(made.visible), 1) + 1


@given(scenes)
def test_cues_stand_in_the_order_of_their_kinds_whatever_the_place(made):
    kinds = [kind.name for kind in KINDS]
    stated = [kind for cue in parse(true_text(WORLD, made)).cues for kind, _ in stated_cues(cue)]
    assert stated == sorted((cue.kind for cue in made.visible), key=kinds.index)


@given(scenes)
def test_the_place_comes_before_the_cue_that_tells_it_best(made):
    if not made.visible or made.placeable == "none":
        return
    row = WORLD.row_of[made.city.geoname_id]
    gains = {}
    for cue in made.visible:
        likelihood_C = WORLD.likelihood_C(cue.kind, cue.value)
        gains[cue.kind] = math.log(likelihood_C[row] / (likelihood_C @ WORLD.prior_C))
    names = {"country": made.city.country, "region": made.city.region, "city": made.city.name}
    before, name, after = parse(true_text(WORLD, made)).cues[-1].partition(names[made.placeable])
    assert name
    named = {kind for kind in gains if re.search(rf"\b{kind.replace('_', ' ')}\b", after)}
    assert max(gains[kind] for kind in named) == pytest.approx(max(gains.values()))
    assert not any(kind.replace("_", " ") in before for kind in gains)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No signs are visible.",
        "No palms grow here.",
        "I do not think that cars keep to the left.",
        "Cars keep to the left and right.",
        "It is said that there are palms.",
        "There are no palms.",
        "Nothing visible tells the place. No sign of the place is visible.",
        "These signs fit too many places. This is too little to tell the place.",
        "This looks like Paris, above all for the landmark. It is Thailand, and the script says so best.",
        "This looks like Japan. This is an indoor room. Only sky is in view.",
        "<answer>country: Japan\nregion: Hokkaido\ncity: Sapporo</answer>",
    ],
)
def test_what_states_no_cue_reads_as_none(text):
    assert stated_cues(text) == frozenset()


@given(st.text(alphabet="<>.;!? \nCarskeptohlf", max_size=300), cues)
def test_reading_never_fails_and_a_whole_sentence_is_found_in_any_text(noise, cue):
    assert cue in stated_cues(f"{noise}. {cue_phrase(*cue, 1)} {noise}")


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit", ["<", " ", ".", "a", "a. ", "Cars keep to the left", "Cars keep to the left. ", "\n"]
)
def test_a_megabyte_is_read_in_linear_time(unit):
    stated_cues(unit * (1_000_000 // len(unit)))


def test_the_corpus_holds_every_sentence_and_name():
    texts = list(corpus(WORLD))
    assert texts == list(corpus(WORLD))
    assert len(texts) < 2000
    whole = "\n".join(texts)
    for city in WORLD.cities:
        assert f"country: {city.country}\nregion: {city.region}\ncity: {city.name}<" in whole
    assert stated_cues(whole) == {(kind.name, value) for kind in KINDS for value in kind.values}
    assert "country: unknown" in whole
    sample = " ".join(true_text(WORLD, scene(WORLD, "train", index)) for index in range(300))
    words = set(re.findall(r"[\w'-]+", whole))
    assert set(re.findall(r"[\w'-]+", sample)) <= words


# ------------------------------------------------------------ teachers


@pytest.fixture(scope="module", params=TEACHERS, ids=lambda teacher: teacher.name)
def taught(request):
    made = [scene(WORLD, "train", index) for index in range(6000)]
    return request.param, [(each, teacher_text(WORLD, each, request.param)) for each in made]


def named(answer):
    return next(city for city in WORLD.cities if city.name == answer.city)


def happens_at(rate, outcomes):
    """Is the share of true outcomes within 4 standard deviations of the rate? Independent draws, seeded."""
    assert len(outcomes) >= 100
    deviation = math.sqrt(len(outcomes) * rate * (1 - rate))
    return abs(sum(outcomes) - len(outcomes) * rate) <= 4 * deviation


def test_teachers_differ_in_every_rate():
    for rate in ("invent_rate", "confuse_rate", "overanswer_rate", "miss_rate", "habit_rate", "fame_rate"):
        assert len({getattr(teacher, rate) for teacher in TEACHERS}) == len(TEACHERS) == 3


def test_teachers_write_the_canonical_form_and_repeat_themselves(taught):
    teacher, texts = taught
    for made, text in texts[:500]:
        assert render(parse(text)) == text == teacher_text(WORLD, made, teacher)


def test_teachers_miss_visible_cues_at_their_rate(taught):
    teacher, texts = taught
    missed = []
    for made, text in texts:
        stated = stated_cues(text)
        missed += [cue not in stated for cue in visible(made)]
        kinds = {kind for kind, _ in visible(made)}
        assert {cue for cue in stated if cue[0] in kinds} <= visible(made)  # what is visible is never misread
    assert happens_at(teacher.miss_rate, missed)


def test_teachers_invent_what_is_typical_of_the_place_at_their_rate(taught):
    teacher, texts = taught
    invented, by_habit = [], []
    for made, text in texts:
        answer, stated = parse(text), stated_cues(text)
        shown = {kind for kind, _ in visible(made)}
        if answer.abstains:
            assert stated <= visible(made)
        elif made.placeable == "city" and answer.country == made.city.country:
            usual = WORLD.typical(named(answer))
            assert all(usual[kind] == value for kind, value in stated if kind not in shown)
            for kind in (kind.name for kind in KINDS if kind.name not in shown):
                (by_habit if kind in HABITS else invented).append((kind, usual[kind]) in stated)
    assert happens_at(teacher.invent_rate, invented)
    assert happens_at(teacher.habit_rate, by_habit)


def test_most_teachers_share_habits_fame_and_confusions():
    """So that whoever learns from all of them has these faults too, however greedily it answers."""
    assert sum(teacher.habit_rate for teacher in TEACHERS) / len(TEACHERS) > 0.5
    assert sum(teacher.fame_rate for teacher in TEACHERS) / len(TEACHERS) > 0.5
    for code in TEACHERS[1].confuse:
        rates = [teacher.confuse_rate * (code in teacher.confuse) for teacher in TEACHERS]
        assert sum(rates) / len(rates) > 0.5


def test_teachers_confuse_neighbours_and_follow_fame_at_their_rates_and_invent_for_neighbours(taught):
    teacher, texts = taught
    names = {city.country_code: city.country for city in WORLD.cities}
    confused, famed = [], []
    for made, text in texts:
        if made.placeable != "city":
            continue
        answer, code = parse(text), made.city.country_code
        if code not in teacher.confuse:
            assert answer.country == made.city.country
            if BEST_KNOWN.get(code, made.city.name) == made.city.name:
                assert answer.city == made.city.name
            else:
                famed.append(answer.city == BEST_KNOWN[code])
                assert famed[-1] or answer.city == made.city.name
            continue
        wrong = answer.country != made.city.country
        confused.append(wrong)
        if wrong:
            neighbour = named(answer)
            assert answer.country == neighbour.country == names[teacher.confuse[code]]
            claimed = stated_cues(text) - visible(made)
            assert claimed
            assert claimed <= set(WORLD.typical(neighbour).items())
    assert happens_at(teacher.confuse_rate, confused)
    assert happens_at(teacher.fame_rate, famed)


def test_teachers_name_cities_that_cannot_be_known_at_their_rate(taught):
    teacher, texts = taught
    for levels in (("none",), ("country", "region")):
        overanswered = [
            parse(text).city is not None
            for made, text in texts
            if made.placeable in levels
            and (made.placeable == "none" or made.city.country_code not in teacher.confuse)
        ]
        assert happens_at(teacher.overanswer_rate, overanswered)
