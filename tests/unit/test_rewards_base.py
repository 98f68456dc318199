"""What all rewards have in common: order, bounds, columns, failures that name their sample, pickling."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.rewards.base import Reward, RewardFailed, text_of
from trainer.rewards.format import FormatReward
from trainer.rewards.geo import GeoReward
from trainer.rewards.globe import GlobeAccuracy, GlobeFormat, GlobeVisual
from trainer.rewards.locatable import GivenLocatability, LocatableReward
from trainer.rewards.visual import VisualReward
from trainer.rewards.weights import RewardSet
from worker.errors import SetupError
from worker.reason.answer import Answer, render

CUES = ("red roof", "palm tree", "yellow plate", "bus")
REWARDS = (
    FormatReward(),
    GeoReward(),
    VisualReward.of_phrases([CUES]),
    LocatableReward(source=GivenLocatability()),
    GlobeAccuracy(),
    GlobeVisual(column="true_cues"),
    GlobeFormat(),
)
EVERYTHING = RewardSet.of(REWARDS, {reward.name: 1.0 for reward in REWARDS})
PLACES = (
    (48.8566, 2.3522, "France", "Paris"),
    (13.5137, 2.1098, "Niger", "Niamey"),
    (-33.8688, 151.2093, "Australia", "Sydney"),
)


class Broken(Reward):
    """Fails at the sample "b" in a way that nobody foresaw."""

    name = "broken"

    def score(self, sample):
        return 1 / (sample.id != "b")


class Constant(Reward):
    name = "constant"

    def score(self, sample):
        return sample.get("figure")


completions = st.one_of(
    st.text(max_size=60),
    st.sampled_from(["", "<answer>country: unknown</answer>", "<think>A bus.</think><answer>country: Fr"]),
    st.builds(
        lambda cues, country, city: render(
            Answer(" ".join(f"I see a {cue}." for cue in cues), country, None, city)
        ),
        st.lists(st.sampled_from(CUES), max_size=4),
        st.sampled_from(["France", "Niger", "Nigeria", "Australia", "Nowhere"]),
        st.sampled_from([None, "Paris", "Niamey", "Sydney", "Xyzzy"]),
    ),
)
rows = st.fixed_dictionaries(
    {
        "id": st.sampled_from("abc"),
        "place": st.sampled_from(PLACES),
        "true_cues": st.none() | st.lists(st.sampled_from(CUES), max_size=4),
        "p_placeable": st.none() | st.floats(0, 1),
        "placeable": st.sampled_from([None, "city", "region", "country", "none"]),
    }
)
batches = st.lists(st.tuples(completions, rows), max_size=8)


def call(reward, batch):
    columns = {name: [row[name] for _, row in batch] for name in ("id", "true_cues", "p_placeable", "placeable")}
    for place, name in enumerate(("lat", "lon", "country", "city")):
        columns[name] = [row["place"][place] for _, row in batch]
    return reward([text for text, _ in batch], **columns)


@pytest.mark.parametrize("reward", REWARDS, ids=lambda reward: reward.name)
@given(batch=batches)
@settings(max_examples=40)
def test_one_figure_in_0_to_1_or_none_for_each_completion(reward, batch):
    scores = call(reward, batch)
    assert len(scores) == len(batch)
    assert all(score is None or (isinstance(score, float) and 0 <= score <= 1) for score in scores)


@pytest.mark.parametrize("reward", [*REWARDS, EVERYTHING], ids=lambda reward: reward.__name__)
@given(data=st.data(), batch=batches)
@settings(max_examples=40)
def test_a_shuffled_batch_gives_the_shuffled_rewards(reward, data, batch):
    order = data.draw(st.permutations(range(len(batch))))
    straight = call(reward, batch)
    shuffled = call(reward, [batch[row] for row in order])
    assert shuffled == pytest.approx([straight[row] for row in order], abs=1e-12)


@pytest.mark.parametrize("reward", REWARDS, ids=lambda reward: reward.name)
@given(batch=batches)
@settings(max_examples=20)
def test_a_completion_is_judged_alike_alone_and_in_company(reward, batch):
    assert call(reward, batch) == [call(reward, [one])[0] for one in batch]


@pytest.mark.parametrize("reward", REWARDS, ids=lambda reward: reward.name)
@given(texts=st.tuples(completions, completions), row=rows)
@settings(max_examples=40)
def test_whether_a_sample_can_be_judged_does_not_depend_on_the_completion(reward, texts, row):
    one, other = call(reward, [(texts[0], row), (texts[1], row)])
    assert (one is None) == (other is None)


@pytest.mark.parametrize("reward", [*REWARDS, EVERYTHING], ids=lambda reward: reward.__name__)
def test_rewards_survive_pickling_and_cannot_be_changed(reward):
    batch = [
        (text, {"id": "a", "place": PLACES[0], "true_cues": ["bus"], "p_placeable": 0.7, "placeable": "city"})
        for text in ("<think>A bus.</think><answer>country: France\ncity: Paris</answer>", "Paris?")
    ]
    before = call(reward, batch)
    again = pickle.loads(pickle.dumps(reward))
    assert again == reward
    assert call(again, batch) == before
    assert again.__name__ == reward.__name__
    with pytest.raises(AttributeError):
        reward.weights = ()


def test_the_name_that_trl_logs():
    assert [reward.__name__ for reward in REWARDS] == [
        "format", "geo", "visual", "locatable", "globe_accuracy", "globe_visual", "globe_format",
    ]  # fmt: skip
    assert FormatReward.__name__ == "FormatReward"


@pytest.mark.parametrize(
    ("reward", "column"),
    [(reward, column) for reward in REWARDS for column in reward.columns],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_missing_column_is_named(reward, column):
    columns = {name: ["x"] for name in reward.columns if name != column}
    with pytest.raises(SetupError, match=rf"reward {reward.name}: the data set has no column {column};"):
        reward(["text"], **columns)


def test_all_missing_columns_are_named_at_once():
    with pytest.raises(SetupError, match="no column id and no column lat and no column lon"):
        GeoReward()(["text"])


def test_a_column_of_another_length_is_refused_also_where_it_is_optional():
    with pytest.raises(ValueError, match="column lat has 1 values for 2 completions"):
        GeoReward()(["", ""], id=["a", "b"], lat=[0.0], lon=[0.0, 0.0])
    with pytest.raises(ValueError, match="column placeable has 1 values for 2 completions"):
        GeoReward()(["", ""], id=["a", "b"], lat=[0.0, 0.0], lon=[0.0, 0.0], placeable=["none"])


def test_what_trl_passes_besides_the_columns_is_ignored():
    assert FormatReward()(
        ["<think>A.</think><answer>country: France</answer>"],
        prompts=["p"], completion_ids=[[1]], id=["a"], trainer_state=object(), log_extra=print, log_metric=print,
    ) == [1.0]  # fmt: skip


@pytest.mark.parametrize("column", ["lat", "lon"])
@pytest.mark.parametrize("value", ["north", float("nan"), float("inf"), 181, [1]])
def test_a_damaged_row_stops_the_run_and_names_the_sample(column, value):
    columns = {"lat": [1.0, 1.0], "lon": [2.0, 2.0]} | {column: [1.0, value]}
    with pytest.raises(RewardFailed, match=rf"reward geo, sample img-7: column {column} holds") as caught:
        GeoReward()(["", ""], id=["img-6", "img-7"], **columns)
    assert caught.value.sample_id == "img-7"


def test_a_bug_in_a_reward_names_the_sample_too():
    with pytest.raises(RewardFailed, match="reward broken, sample b: ZeroDivisionError"):
        Broken()(["", ""], id=["a", "b"])


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_figure_that_is_no_reward_is_never_passed_on(figure):
    with pytest.raises(RewardFailed, match=r"not in 0\.\.1"):
        Constant()([""], id=["a"], figure=[figure])


def test_rounding_is_forgiven():
    assert Constant()([""] * 3, id=["a"] * 3, figure=[1 + 1e-12, -1e-12, None]) == [1.0, 0.0, None]


def test_failures_survive_pickling():
    error = pickle.loads(pickle.dumps(RewardFailed("img-7", "geo", "because")))
    assert (error.sample_id, error.reward, error.detail) == ("img-7", "geo", "because")
    assert str(error) == "reward geo, sample img-7: because"


def test_conversations_are_read_like_texts():
    text = "<think>A.</think><answer>country: France</answer>"
    blocks = [{"type": "text", "text": text[:9]}, {"type": "image"}, {"type": "text", "text": text[9:]}]
    assert text_of([{"role": "assistant", "content": text}]) == text
    assert text_of([{"role": "user", "content": "Where?"}, {"role": "assistant", "content": blocks}]) == text
    assert FormatReward()([text, [{"role": "assistant", "content": text}]], id=["a", "b"]) == [1.0, 1.0]


def test_a_cut_completion_is_read_as_serving_reads_it():
    thought = "<think>It might be\ncountry: France\ncity: Paris"
    columns = {"id": ["a"], "lat": [48.8566], "lon": [2.3522], "completion_ids": [[0] * 20]}
    assert GeoReward(max_completion_tokens=20)([thought], **columns) == [0.0]
    assert GeoReward(max_completion_tokens=21)([thought], **columns)[0] > 0.9
    whole = "<think>A.</think><answer>country: France\ncity: Paris</answer>"
    assert GeoReward(max_completion_tokens=20)([whole], **columns)[0] > 0.9
    with pytest.raises(SetupError, match="no column completion_ids"):
        FormatReward(max_completion_tokens=20)([whole], id=["a"])
