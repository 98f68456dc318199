"""The visual reward: inventing costs, leaving out costs, repeating gains nothing; and the reader of free text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.language import cue_phrase, stated_cues
from trainer.rewards.base import RewardFailed
from trainer.rewards.cues import PhraseReader, phrase_key
from trainer.rewards.visual import VisualReward, f_beta
from worker.errors import SetupError

KNOWN = tuple(f"cue{number}" for number in range(8))
betas = st.floats(0.1, 10)
cue_sets = st.frozensets(st.sampled_from(KNOWN))
some_cues = st.frozensets(st.sampled_from(KNOWN), min_size=1)


def words(text):
    """A reader: the known words of a text."""
    return frozenset(text.split()) & frozenset(KNOWN)


def atlas_cues(text):
    """The Atlas's reader, in the words of its data."""
    return frozenset(f"{kind}={value}" for kind, value in stated_cues(text))


def score(stated, true, **fields):
    text = "<think>" + " ".join(stated) + "</think><answer>country: France</answer>"
    return VisualReward(reader=words, **fields)([text], id=["a"], true_cues=[true])[0]


def phrases(reasoning, true, vocabulary=()):
    reward = VisualReward.of_phrases([true, vocabulary])
    text = f"<think>{reasoning}</think><answer>country: France</answer>"
    return reward([text], id=["a"], true_cues=[true])[0]


# ---------------------------------------------------------------- the formula


@given(stated=cue_sets, true=cue_sets, beta=betas)
def test_the_figure_is_f_beta_of_precision_and_recall(stated, true, beta):
    found = score(sorted(stated), sorted(true), beta=beta)
    right = len(stated & true)
    if not stated and not true:
        assert found == 1.0
    elif right == 0:
        assert found == 0.0
    else:
        precision, recall = right / len(stated), right / len(true)
        assert found == pytest.approx((1 + beta**2) * precision * recall / (beta**2 * precision + recall))


@given(stated=cue_sets, true=cue_sets, invented=st.sampled_from(KNOWN), beta=betas)
def test_inventing_a_cue_never_raises_and_costs_whatever_there_was(stated, true, invented, beta):
    if invented in true or invented in stated:
        return
    before, after = f_beta(stated, true, beta), f_beta(stated | {invented}, true, beta)
    assert after < before or before == after == 0


@given(stated=cue_sets, true=some_cues, beta=betas)
def test_a_further_true_cue_always_helps(stated, true, beta):
    for cue in true - stated:
        assert f_beta(stated | {cue}, true, beta) > f_beta(stated, true, beta)


@given(true=st.frozensets(st.sampled_from(KNOWN), max_size=len(KNOWN) - 1), beta=betas)
def test_listing_everything_is_worse_than_listing_what_is_there(true, beta):
    assert score(KNOWN, sorted(true), beta=beta) < score(sorted(true), sorted(true), beta=beta) == 1.0


@given(stated=st.lists(st.sampled_from(KNOWN)), true=cue_sets, times=st.integers(2, 4))
def test_repeating_and_order_change_nothing(stated, true, times):
    assert score(stated * times, sorted(true) * times) == score(sorted(set(stated)), sorted(true))


@given(true=some_cues)
def test_saying_nothing_where_there_is_something_is_worth_nothing(true):
    assert score([], sorted(true)) == 0.0


def test_a_smaller_beta_makes_inventions_dearer():
    stated, true = KNOWN[:4], KNOWN[:3]
    rewards = [score(stated, true, beta=beta) for beta in (0.25, 0.5, 1, 2)]
    assert rewards == sorted(rewards)
    assert score(stated, true) == rewards[1] == pytest.approx(1.25 * 3 / (4 + 0.25 * 3))


def test_an_empty_list_is_a_verified_one_and_no_list_is_none():
    assert score([], []) == 1.0
    assert score(["cue1"], []) == 0.0
    assert score(["cue1"], None) is None
    assert score([], None) is None


def test_reasons_count_even_where_the_answer_cannot_be_read():
    reward = VisualReward(reader=words)
    texts = ["<think>cue1</think>", "<think>cue1</think><answer>country: cue2</answer>"]
    assert reward(texts, id=["a", "a"], true_cues=[["cue1"]] * 2) == [1.0, 1.0]


def test_the_atlas_reader():
    cues = [("taxi", "yellow"), ("roof", "red_gable"), ("kerb", "red_white")]
    true = [f"{kind}={value}" for kind, value in cues]
    reward = VisualReward(reader=atlas_cues)
    honest = " ".join(cue_phrase(kind, value, variant) for variant, (kind, value) in enumerate(cues))
    invented = honest + " " + cue_phrase("landmark", "twin_towers", 0)
    text = "<think>{}</think><answer>country: France</answer>"
    texts = [text.format(reasons) for reasons in (honest, invented, "Nothing visible tells the place.")]
    assert reward(texts, id=["a"] * 3, true_cues=[true] * 3) == [1.0, pytest.approx(3.75 / 4.75), 0.0]


# ---------------------------------------------------------------- columns


def test_entities_as_objects_and_another_column():
    reward = VisualReward(reader=words, column="entities")
    text = "<think>cue1 cue2</think><answer>country: France</answer>"
    assert reward.columns == ("id", "entities")
    assert reward([text], id=["a"], entities=[[{"text": "cue1"}, {"text": "cue2", "box": [1, 2]}]]) == [1.0]


@pytest.mark.parametrize("true", ["cue1", {"text": "cue1"}, 3, [3], [None], [{"name": "cue1"}]])
def test_a_list_that_is_none_stops_the_run(true):
    with pytest.raises(RewardFailed, match="reward visual, sample a: column true_cues"):
        score(["cue1"], true)


@pytest.mark.parametrize("beta", [0, -1, float("nan"), float("inf")])
def test_a_beta_that_is_none_is_refused(beta):
    with pytest.raises(SetupError, match="beta"):
        VisualReward(reader=words, beta=beta)


def test_a_reader_that_cannot_know_a_verified_cue_is_refused():
    reward = VisualReward.of_phrases([["palm tree"]])
    with pytest.raises(RewardFailed, match="does not know minaret; build it over the whole data set"):
        reward([""], id=["a"], true_cues=[["palm trees", "minaret"]])


# ---------------------------------------------------------------- the phrase reader

READER = PhraseReader.over([["palm tree", "Palm", "taxi"], ["Stop sign", "red roofs", "café", "glass", "!!"]])


@pytest.mark.parametrize(
    ("text", "claimed"),
    [
        ("A palm tree by the road.", {"palm tree"}),
        ("PALM TREES everywhere; palm trees!", {"palm tree"}),
        ("A palm, and a palm tree.", {"palm", "palm tree"}),
        ("The palm-tree stands there.", {"palm tree"}),
        ("A napalm treehouse.", set()),
        ("Red roof, red roofs.", {"red roof"}),
        ("Red and a roof.", set()),
        ("A cafe and a Café.", {"cafe"}),
        ("Glass and glasses.", {"glass"}),
        ("There are no palm trees.", set()),
        ("There are no palm trees, but a taxi waits.", {"taxi"}),
        ("There are no palm trees but a taxi waits.", {"taxi"}),
        ("No taxi. A stop sign.", {"stop sign"}),
        ("I do not see a taxi", set()),
        ("I don't see any taxis", set()),
        ("A street without a stop sign", set()),
        ("Neither palm trees nor taxis", set()),
        ("The lack of taxis is odd", set()),
        ("The stop sign is missing", set()),
        ("Taxis are not visible, a stop sign is", {"stop sign"}),
        ("The taxi isn't there", set()),
        ("The taxi is not new", {"taxi"}),
        ("Not only taxis", {"taxi"}),
        ("A taxi (no palm trees) waits", {"taxi"}),
        ("<think>taxi</think>palm", {"taxi", "palm"}),
        ("no</think>taxi", {"taxi"}),
        ("", set()),
    ],
)
def test_what_a_text_claims(text, claimed):
    assert READER(text) == claimed


@given(text=st.text(max_size=300))
def test_only_phrases_of_the_vocabulary_are_read_from_any_text(text):
    assert READER(text) <= READER.phrases


@given(chosen=st.lists(st.sampled_from(["a palm tree", "a taxi", "a red roof"]), max_size=6))
def test_what_is_plainly_said_is_read_and_what_is_denied_is_not(chosen):
    said = {phrase_key(phrase).removeprefix("a ") for phrase in chosen}
    assert READER(" ".join(f"I see {phrase}." for phrase in chosen)) == said
    assert READER(" ".join(f"There is not {phrase} here." for phrase in chosen)) == set()


def test_free_text_is_judged_by_the_vocabulary_of_all_pictures():
    vocabulary = ("palm tree", "taxi", "minaret")
    honest = phrases("A taxi waits by a palm tree.", ["Taxis", "palm trees"], vocabulary)
    invented = phrases("A taxi waits by a palm tree near a minaret.", ["Taxis", "palm trees"], vocabulary)
    denied = phrases("A taxi waits by a palm tree. There is no minaret.", ["Taxis", "palm trees"], vocabulary)
    assert honest == denied == 1.0
    assert invented == pytest.approx(1.25 * 2 / (3 + 0.25 * 2))
    assert phrases("A minaret.", ["Taxis"], vocabulary) == 0.0
