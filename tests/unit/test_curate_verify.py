"""Verification of what teachers say: each step on its own, and what holds for all of them together.

Long because the four steps share their cases, and what holds for all is tested on the same ones.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.curate.opinions import Case, CueSeen, Opinion, Step, Subject, Verified
from trainer.curate.verify import ALL_STEPS, Thresholds, Why, choose, count, remembering, verify
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer
from worker.reason.answer import Answer

PARIS = (48.8566, 2.3522)
BOULOGNE = (48.8352, 2.2410)
"""Boulogne-Billancourt: a town of its own, 8 km from the centre of Paris."""
LYON = (45.7485, 4.8467)
BERLIN = (52.5244, 13.4105)
ESSEN = (51.4566, 7.0123)
GAZETTEER = Gazetteer.load()


def answer(country=None, region=None, city=None, why="Blue plates, grey mansard roofs.", **more):
    return Answer(why, country, region, city, **more)


FRANCE = answer("France")
IN_PARIS = answer("France", None, "Paris")
ABSTAINS = answer(abstains=True)


def says(teacher, given, **more):
    return Opinion(teacher, given, **more)


def photograph(point=PARIS, **more):
    return Subject("a" * 64, "file:///a.jpg", *point, **more)


def verdicts(*opinions, subject=None, thresholds=None, similarity=None, visible=None, steps=ALL_STEPS):
    case = Case(subject or photograph(), tuple(opinions))
    found = verify([case], thresholds, similarity, visible, steps=steps, gazetteer=GAZETTEER)
    return {one.teacher: one for one in found}


def reason(*opinions, **more):
    """Why the first of these is dropped."""
    return verdicts(*opinions, **more)[opinions[0].teacher].reason


def alone(step):
    return {"steps": {step}}


# ------------------------------------------------------------ verdicts


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        ({"locatable": True}, [], None),
        ({"locatable": False}, [True, True], Why.SAYS_NOT_LOCATABLE),
        ({"locatable": True, "p_locatable": 0.49}, [True], Why.LOW_PROBABILITY),
        ({"locatable": True, "p_locatable": float("nan")}, [True], Why.LOW_PROBABILITY),
        ({"locatable": True}, [False], None),
        ({"locatable": True}, [False, False], Why.OUTVOTED),
        ({"locatable": True}, [False, None], None),
        ({}, [False], Why.OUTVOTED),
        ({}, [], None),
    ],
)
def test_own_verdict_then_probability_then_votes_decide(own, others, expected):
    rest = [Opinion(f"t{number}", locatable=vote) for number, vote in enumerate(others)]
    assert reason(says("me", IN_PARIS, **own), *rest, **alone(Step.LOCATABLE)) == expected


def test_an_answer_that_abstains_is_dropped_and_votes_no():
    found = verdicts(
        says("a", ABSTAINS, locatable=True), says("b", ABSTAINS), says("c", FRANCE, locatable=True),
        **alone(Step.LOCATABLE),
    )  # fmt: skip
    assert {name: one.reason for name, one in found.items()} == {
        "a": Why.ABSTAINS, "b": Why.ABSTAINS, "c": Why.OUTVOTED,
    }  # fmt: skip


def test_where_nobody_gave_a_verdict_that_is_counted_and_not_taken_for_a_yes():
    found = verify([Case(photograph(), (says("a", FRANCE),))], steps={Step.LOCATABLE}, gazetteer=GAZETTEER)
    assert found[0].kept
    assert "locatable_share" not in found[0].measures
    assert count(found).unjudged == {Step.LOCATABLE: 1}


# ------------------------------------------------------------ the known place


@pytest.mark.parametrize(
    ("said", "point", "expected"),
    [
        (FRANCE, PARIS, None),
        (FRANCE, LYON, None),
        (FRANCE, BERLIN, Why.OTHER_COUNTRY),
        (answer("France", "Île-de-France"), BOULOGNE, None),
        (answer("France", "Île-de-France"), LYON, Why.OTHER_REGION),
        (IN_PARIS, PARIS, None),
        (IN_PARIS, BOULOGNE, None),  # a suburb with an id of its own
        (IN_PARIS, LYON, Why.TOO_FAR),
        (IN_PARIS, BERLIN, Why.OTHER_COUNTRY),
        (answer("Germany", None, "Bochum"), ESSEN, Why.OTHER_CITY),  # 14 km away
        (answer("Germany", None, "Essen"), ESSEN, None),
        (answer("France", None, "Xyzzyville"), PARIS, Why.UNCHECKED),
        (answer("France", "Xyzzyland"), PARIS, Why.UNCHECKED),
        (answer("Freedonia"), PARIS, Why.UNRESOLVED),
        (ABSTAINS, PARIS, Why.UNRESOLVED),
        (FRANCE, (-21.115, 55.536), None),  # Réunion, which has a code of its own
        (FRANCE, (46.0, -30.0), Why.TOO_FAR),  # on the high seas
    ],
)
def test_the_known_place_is_judged_as_fine_as_the_sample_claims(said, point, expected):
    assert reason(says("a", said), subject=photograph(point), **alone(Step.PLACE)) == expected


def test_a_stated_id_decides_between_neighbouring_cities():
    bochum = GAZETTEER.city("Bochum", "DE").place
    said = says("a", answer("Germany", None, "Bochum"))
    labelled = photograph(ESSEN, country_code="DE", geoname_id=bochum.geoname_id)
    assert reason(said, subject=labelled, **alone(Step.PLACE)) is None
    assert reason(said, subject=photograph(ESSEN, city="Bochum"), **alone(Step.PLACE)) is None
    close = Thresholds(city_km=1)
    assert reason(said, subject=labelled, thresholds=close, **alone(Step.PLACE)) == Why.TOO_FAR


def test_unknown_names_may_be_let_through_where_the_country_is_right():
    said = says("a", answer("France", None, "Xyzzyville"))
    lenient = Thresholds(allow_unchecked=True)
    assert reason(said, thresholds=lenient, **alone(Step.PLACE)) is None
    assert reason(said, subject=photograph(BERLIN), thresholds=lenient, **alone(Step.PLACE)) == Why.OTHER_COUNTRY


# ------------------------------------------------------------ the other teachers


IN_LYON = answer("France", None, "Lyon")
IN_BERLIN = answer("Germany", None, "Berlin")


def gps(point, confidence):
    return Opinion("gps", lat=point[0], lon=point[1], confidence=confidence)


@pytest.mark.parametrize(
    ("own", "others", "expected"),
    [
        (IN_PARIS, [], Why.UNCORROBORATED),
        (IN_PARIS, [says("b", IN_PARIS)], None),
        (IN_PARIS, [says("b", IN_LYON)], Why.PLACES_DIFFER),
        (IN_PARIS, [says("b", IN_PARIS), says("c", IN_BERLIN)], None),  # one dissenter among three
        (IN_BERLIN, [says("b", IN_PARIS), says("c", IN_PARIS)], Why.PLACES_DIFFER),
        (IN_PARIS, [says("b", IN_PARIS), says("c", IN_BERLIN), says("d", IN_LYON)], Why.PLACES_DIFFER),
        (FRANCE, [says("b", IN_PARIS)], None),
        (IN_PARIS, [says("b", FRANCE)], None),  # half of an agreement
        (IN_PARIS, [says("b", FRANCE), says("c", IN_BERLIN)], Why.PLACES_DIFFER),
        (IN_PARIS, [says("b", ABSTAINS)], Why.UNCORROBORATED),
        (IN_PARIS, [gps(BOULOGNE, 0.6)], None),
        (IN_PARIS, [gps(BOULOGNE, 0.4)], Why.UNCORROBORATED),
        (IN_PARIS, [gps(LYON, 1.0)], Why.PLACES_DIFFER),
        (IN_PARIS, [gps(BOULOGNE, None)], Why.UNCORROBORATED),
        (IN_PARIS, [gps((float("nan"), 0.0), 1.0)], Why.UNCORROBORATED),
        (FRANCE, [gps(LYON, 0.9)], None),
        (answer("France", "Île-de-France"), [gps(LYON, 0.9)], Why.PLACES_DIFFER),
        (answer("France", "Île-de-France"), [says("b", IN_PARIS)], None),
        (answer("France", "Île-de-France"), [says("b", IN_LYON)], Why.PLACES_DIFFER),
        (IN_PARIS, [says("b", IN_PARIS), gps(LYON, 1.0)], None),
        (answer("France", None, "Paris", why=" "), [says("b", IN_PARIS)], Why.NO_REASONING),
    ],
)
def test_others_must_name_the_same_place(own, others, expected):
    strict = Thresholds(min_support=0.5, min_agreeing_share=0.5)
    assert reason(says("a", own), *others, thresholds=strict, **alone(Step.AGREEMENT)) == expected


def test_by_default_one_of_a_few_others_is_enough_and_nobody_to_ask_is_counted():
    five = [
        says(name, place)
        for name, place in zip("abcde", [IN_PARIS] * 2 + [IN_LYON] * 2 + [IN_BERLIN], strict=True)
    ]
    found = verdicts(*five, **alone(Step.AGREEMENT))
    assert {name: one.reason for name, one in found.items()} == {
        **dict.fromkeys("abcd"), "e": Why.PLACES_DIFFER,
    }  # fmt: skip
    single = verdicts(says("a", IN_PARIS), **alone(Step.AGREEMENT))
    assert single["a"].kept
    assert count(single.values()).unjudged == {Step.AGREEMENT: 1}


def by_words(pairs):
    """The share of words that two texts have in common."""
    bags = [(set(one.split()), set(other.split())) for one, other in pairs]
    return [len(one & other) / len(one | other) for one, other in bags]


def test_reasons_are_compared_with_those_who_agree_on_the_place():
    opinions = [
        says("a", answer("France", None, "Paris", why="grey roofs")),
        says("b", answer("France", None, "Paris", why="grey roofs")),
        says("c", answer("France", None, "Paris", why="a tall tower")),
        says("d", answer("Germany", None, "Berlin", why="a tall tower")),
    ]
    found = verdicts(*opinions, similarity=by_words, **alone(Step.AGREEMENT))
    assert found["a"].reason is None
    assert found["a"].measures["similarity"] == 1.0
    assert found["c"].reason == Why.REASONS_DIFFER
    assert found["d"].reason == Why.PLACES_DIFFER


def test_without_a_model_reasons_are_not_judged():
    opinions = [says("a", IN_PARIS), says("b", IN_PARIS)]
    for similarity in (None, lambda pairs: [float("nan")] * len(pairs)):
        found = verdicts(*opinions, similarity=similarity, **alone(Step.AGREEMENT))
        assert found["a"].kept
        assert count(found.values()).unjudged == {Step.AGREEMENT: 2}


# ------------------------------------------------------------ what is visible


def shows(**seen):
    """A `Visible` that finds the same in every photograph."""
    cues = [CueSeen(text, there) for text, there in seen.items()]
    return lambda samples: [list(cues) for _ in samples]


@pytest.mark.parametrize(
    ("seen", "thresholds", "expected"),
    [
        ({"taxi": True, "palm": True}, {}, None),
        ({"taxi": True, "palm": False}, {}, Why.NOT_VISIBLE),
        ({"taxi": True, "palm": False}, {"max_unsupported_share": 0.5}, None),
        ({"taxi": True, "palm": None}, {}, None),
        ({"taxi": True, "palm": None}, {"max_unjudged_share": 0.3}, Why.TOO_LITTLE_JUDGED),
        ({"taxi": None}, {}, None),
        ({}, {}, Why.NOTHING_NAMED),
        ({"taxi": True}, {"min_supported": 2}, Why.NOTHING_NAMED),
        ({}, {"min_supported": 0}, None),
    ],
)
def test_what_the_reasons_name_must_be_there(seen, thresholds, expected):
    given_ = {"visible": shows(**seen), "thresholds": Thresholds(**thresholds)}
    found = verdicts(says("a", IN_PARIS), **given_, **alone(Step.VISIBLE))["a"]
    assert found.reason == expected
    assert [cue.text for cue in found.cues] == list(seen)
    assert found.measures.get("unjudged_visible", 0.0) == float(bool(seen) and set(seen.values()) == {None})


def test_only_what_came_to_the_last_step_is_looked_at():
    looked = []

    def visible(samples):
        looked.extend(own.teacher for _, own in samples)
        return [[CueSeen("roof", True)] for _ in samples]

    found = verdicts(says("a", IN_PARIS), says("b", IN_PARIS), says("c", IN_BERLIN), visible=visible)
    assert looked == ["a", "b"]
    assert [found[name].reason for name in "abc"] == [None, None, Why.OTHER_COUNTRY]
    assert found["c"].cues == ()


# ------------------------------------------------------------ all together


ANSWERS = [
    *(FRANCE, IN_PARIS, IN_LYON, IN_BERLIN, ABSTAINS, answer("Germany"), answer("Freedonia")),
    *(answer("France", "Île-de-France"), answer("France", None, "Xyzzyville")),
]
REASONS = ["", "grey roofs", "grey roofs and blue plates", "a tall tower"]
probabilities = st.one_of(st.none(), st.floats(0, 1))
language = st.builds(
    Opinion,
    teacher=st.just(""),
    answer=st.builds(lambda a, why: replace(a, reasoning=why), st.sampled_from(ANSWERS), st.sampled_from(REASONS)),
    locatable=st.sampled_from([None, True, True, False]),
    p_locatable=probabilities,
)
points = st.sampled_from([PARIS, BOULOGNE, LYON, BERLIN])
coordinates = st.builds(
    lambda point, confidence: Opinion("", lat=point[0], lon=point[1], confidence=confidence), points, probabilities
)
cases_ = st.lists(
    st.tuples(points, st.lists(st.one_of(language, language, coordinates), max_size=5)), max_size=5
).map(
    lambda rows: [
        Case(
            Subject(f"{number:064d}", "file:///a.jpg", *point),
            tuple(replace(one, teacher=f"t{place}") for place, one in enumerate(opinions)),
        )
        for number, (point, opinions) in enumerate(rows)
    ]
)
bounds = st.builds(
    Thresholds,
    min_p_locatable=st.floats(0, 1),
    min_locatable_share=st.sampled_from([0, 0.5, 2 / 3, 1]),
    min_agreeing_share=st.sampled_from([0, 0.5, 2 / 3, 1]),
    min_support=st.sampled_from([0, 0.5, 1, 2]),
    coarser_counts=st.sampled_from([0, 0.5, 1]),
    min_similarity=st.sampled_from([0, 0.5, 1]),
    min_similar_others=st.integers(0, 2),
    max_unsupported_share=st.sampled_from([0, 0.5, 1]),
    allow_unchecked=st.booleans(),
)


def by_length(samples: Sequence[tuple[Case, Opinion]]) -> list[list[CueSeen]]:
    """Things seen that hang on the sample alone: each word of the reasons, by the length of the word."""
    return [
        [CueSeen(word, [True, False, None][len(word) % 3]) for word in own.answer.reasoning.split()]
        for _, own in samples
    ]


def run(cases, thresholds, steps=ALL_STEPS) -> list[Verified]:
    return verify(cases, thresholds, by_words, by_length, steps=steps, gazetteer=GAZETTEER)


@settings(max_examples=60, deadline=None)
@given(cases_, bounds, st.randoms())
def test_order_changes_nothing(cases, thresholds, random):
    shuffled = [replace(case, opinions=tuple(random.sample(case.opinions, len(case.opinions)))) for case in cases]
    random.shuffle(shuffled)
    assert run(shuffled, thresholds) == run(cases, thresholds)


@settings(max_examples=60, deadline=None)
@given(cases_, bounds)
def test_all_that_goes_in_comes_out(cases, thresholds):
    found = run(cases, thresholds)
    samples = {(case.subject.id, one.teacher) for case in cases for one in case.opinions if one.answer}
    assert {(one.subject_id, one.teacher) for one in found} == samples
    counts = count(found)
    assert counts.samples == len(found) == counts.kept + sum(sum(why.values()) for why in counts.dropped.values())
    assert counts.left_after(Step.VISIBLE) == counts.kept
    for one in found:
        assert one.kept == (one.reason is None) == (one.dropped_by is None)
        assert one.kept or Why(one.reason).step is one.dropped_by
    best = choose(found)
    assert best.keys() == {one.subject_id for one in found if one.kept}
    assert {(subject, teacher) for subject, teacher in best.items()} <= {
        (one.subject_id, one.teacher) for one in found if one.kept
    }


@settings(max_examples=60, deadline=None)
@given(cases_, bounds, st.sets(st.sampled_from(list(Step))), st.sampled_from(list(Step)))
def test_without_a_step_nothing_is_lost_that_was_kept(cases, thresholds, steps, left_out):
    def kept(applied):
        return {(one.subject_id, one.teacher) for one in run(cases, thresholds, applied) if one.kept}

    assert kept(steps) <= kept(steps - {left_out})
    assert not kept(set()) ^ {(one.subject_id, one.teacher) for one in run(cases, thresholds, set())}


@settings(max_examples=60, deadline=None)
@given(cases_, bounds, st.data())
def test_more_agreement_never_drops_a_sample(cases, thresholds, data):
    kept = [one for one in run(cases, thresholds) if one.kept]
    if not kept:
        return
    sample = data.draw(st.sampled_from(kept))
    case = next(case for case in cases if case.subject.id == sample.subject_id)
    own = next(one for one in case.opinions if one.teacher == sample.teacher)
    another = replace(own, teacher="one more", locatable=True, p_locatable=None)
    others = [one for one in case.opinions if one is not own]
    more = [replace(case, opinions=(*case.opinions, another))]
    more += [replace(case, opinions=(own, *others[:at], replace(another, teacher=others[at].teacher),
                                     *others[at + 1 :])) for at in range(len(others))]  # fmt: skip
    for changed in more:
        assert next(one for one in run([changed], thresholds) if one.teacher == own.teacher).kept


@settings(max_examples=40, deadline=None)
@given(cases_, bounds)
def test_a_sweep_asks_once(cases, thresholds):
    pairs, samples = [], []
    memory = remembering(
        lambda asked: pairs.extend(asked) or by_words(asked),
        lambda asked: samples.extend(asked) or by_length(asked),
    )
    for one in (thresholds, Thresholds(), thresholds):
        found = verify(cases, one, memory.similarity, memory.visible, gazetteer=GAZETTEER)
        assert found == run(cases, one)
    assert len(pairs) == len(set(pairs))
    assert len(samples) == len({(case.subject.id, own.teacher) for case, own in samples})


def test_what_comes_twice_is_refused():
    case = Case(photograph(), (says("a", FRANCE),))
    with pytest.raises(ValueError, match="comes 2 times"):
        verify([case, case], gazetteer=GAZETTEER)
    with pytest.raises(ValueError, match="teacher a has 2 opinions"):
        verify([replace(case, opinions=case.opinions * 2)], gazetteer=GAZETTEER)


def test_the_best_of_a_photograph_is_chosen():
    def sample(teacher, kept=True, subject="s", **measures):
        return Verified(subject, teacher, kept, measures=measures)

    fine = sample("fine", fineness=3.0, unsupported_share=0.0, cues_visible=2.0)
    rows = [
        sample("coarse", fineness=1.0, unsupported_share=0.0, cues_visible=9.0),
        sample("invents", fineness=3.0, unsupported_share=0.2, cues_visible=9.0),
        sample("unjudged", fineness=3.0),
        sample("dropped", kept=False, fineness=3.0, unsupported_share=0.0, cues_visible=9.0),
        fine,
        sample("other", subject="t"),
    ]
    assert choose(rows) == choose(reversed(rows)) == {"s": "fine", "t": "other"}


def test_thresholds_are_read_and_checked():
    assert Thresholds.of(asdict(Thresholds())) == Thresholds()
    assert Thresholds.of({"city_km": 10}).city_km == 10
    for wrong in (
        {"min_p_locatable": 1.5}, {"city_km": float("nan")}, {"speed": 1}, {"city_km": "25"}, {"city_km": True},
        {"allow_unchecked": 1}, {"min_supported": 1.5},
    ):  # fmt: skip
        with pytest.raises(SetupError):
            Thresholds.of(wrong)


def test_every_reason_has_a_step_and_a_sentence():
    assert {why.step for why in Why} == set(Step)
    assert len({why.sentence for why in Why}) == len(Why)
