"""Weights by name, and what a part that cannot judge does to the sum."""

import math
import pickle
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.rewards.base import Reward, RewardFailed
from trainer.rewards.format import FormatReward
from trainer.rewards.globe import GlobeAccuracy, GlobeFormat, GlobeVisual
from trainer.rewards.weights import PRESETS, RewardSet, metrics
from worker.errors import SetupError


class Column(Reward):
    """A reward that stands in a column of its own name."""

    def score(self, sample):
        return sample.get(self.name)


class A(Column):
    name: ClassVar[str] = "a"


class B(Column):
    name: ClassVar[str] = "b"


class C(Column):
    name: ClassVar[str] = "c"


scores = st.none() | st.floats(0, 1)
tables = st.lists(st.tuples(st.sampled_from("xyz"), scores, scores, scores), max_size=10)
weights = st.tuples(*[st.floats(0.01, 10)] * 3)


def call(reward_set, table):
    columns = {name: [row[place] for row in table] for place, name in enumerate(("id", "a", "b", "c"))}
    return reward_set.score([""] * len(table), **columns)


def three(a=1.0, b=1.0, c=1.0):
    return RewardSet.of([A(), B(), C()], {"a": a, "b": b, "c": c})


# ---------------------------------------------------------------- the sum


@given(rows=st.lists(st.tuples(st.just("x"), *[st.floats(0, 1)] * 3)), weight=weights)
def test_where_all_can_judge_it_is_the_weighted_sum(rows, weight):
    found = call(three(*weight), rows)
    assert found.totals == pytest.approx(
        [sum(w * v for w, v in zip(weight, row[1:], strict=True)) for row in rows]
    )


@given(table=tables, weight=weights)
def test_totals_are_bounded_and_none_exactly_where_nothing_was_judged(table, weight):
    found = call(three(*weight), table)
    assert len(found.totals) == len(table)
    for row, total in zip(table, found.totals, strict=True):
        assert (total is None) == (row[1] is row[2] is row[3] is None)
        assert total is None or -1e-9 <= total <= sum(weight) + 1e-9
    assert found.parts == {name: [row[place] for row in table] for place, name in ((1, "a"), (2, "b"), (3, "c"))}


def test_a_part_that_is_none_counts_as_the_mean_of_its_siblings():
    found = call(three(1, 2, 1), [("x", 0.5, 0.2, 0.0), ("x", 0.5, 0.6, 0.0), ("x", 0.5, None, 0.0)])
    assert found.totals == pytest.approx([0.9, 1.7, 1.3])  # TRL's nansum would make of the last 0.5


def test_the_siblings_of_another_sample_do_not_count():
    found = call(three(1, 2, 1), [("x", 0.5, 0.2, 0.0), ("y", 0.5, None, 0.0), ("y", 0.1, None, 0.0)])
    assert found.totals == pytest.approx([0.9, 0.5 * 4 / 2, 0.1 * 4 / 2])


@given(a=st.floats(0, 1), others=st.lists(st.tuples(st.just("x"), st.floats(0, 1), st.floats(0, 1), st.just(0.0)),
       min_size=1))  # fmt: skip
def test_not_being_judged_moves_a_completion_neither_way(a, others):
    """The mean of a group does not change by the part of the one that was not judged."""
    mean_b = sum(row[2] for row in others) / len(others)
    with_none = call(three(), [*others, ("x", a, None, 0.0)]).totals
    with_mean = call(three(), [*others, ("x", a, mean_b, 0.0)]).totals
    assert with_none == pytest.approx(with_mean)


@given(table=tables, weight=weights)
def test_where_a_sample_cannot_be_judged_the_order_is_that_of_the_other_parts(table, weight):
    rows = [("x", row[1], None, row[3]) for row in table if row[1] is not None and row[3] is not None]
    totals = call(three(*weight), rows).totals
    rest = call(RewardSet.of([A(), C()], {"a": weight[0], "c": weight[2]}), rows).totals
    scale = sum(weight) / (weight[0] + weight[2])
    assert totals == pytest.approx([scale * value for value in rest])


def test_weight_0_measures_and_does_not_count():
    found = call(three(1, 0, 1), [("x", 0.5, 0.9, 0.5), ("x", None, 0.9, None)])
    assert found.totals == [1.0, None]
    assert found.statistics["b"].mean == pytest.approx(0.9)


# ---------------------------------------------------------------- figures to log


def test_statistics_of_each_part():
    statistics = call(three(), [("x", 0.0, None, 1.0), ("x", 1.0, None, None), ("y", 0.5, None, 0.5)]).statistics
    a, b, c = statistics["a"], statistics["b"], statistics["c"]
    assert (a.judged, a.cannot_judge, a.mean, a.low, a.high) == (3, 0, 0.5, 0.0, 1.0)
    assert a.std == pytest.approx(math.sqrt(1 / 6))
    assert (b.judged, b.cannot_judge, b.mean, b.std, b.low, b.high) == (0, 3, None, None, None, None)
    assert (c.judged, c.cannot_judge, c.mean) == (2, 1, 0.75)
    assert metrics({"b": b, "c": c}) == {
        "reward_part/b/cannot_judge": 1.0,
        "reward_part/c/cannot_judge": pytest.approx(1 / 3),
        "reward_part/c/mean": 0.75,
        "reward_part/c/std": 0.25,
    }


def test_called_as_trl_calls_it_it_logs_and_gives_the_totals():
    logged = {}
    table = {"id": ["x", "x"], "a": [1.0, None], "b": [0.0, 1.0], "c": [None, None]}
    totals = three(2, 1, 1)(
        ["", ""], prompts=["", ""], trainer_state=object(), log_metric=logged.__setitem__, **table
    )
    assert totals == pytest.approx([4 / 3 * 2, 4 / 3 * 3])
    assert logged["reward_part/a/cannot_judge"] == 0.5
    assert "reward_part/c/mean" not in logged
    assert three().__name__ == "reward_set"
    assert three()([], id=[], a=[], b=[], c=[]) == []


def test_a_set_can_be_pickled():
    table = [("x", 0.1, 0.2, 0.3)]
    assert call(pickle.loads(pickle.dumps(three())), table) == call(three(), table)


def test_a_failing_part_fails_the_set():
    with pytest.raises(RewardFailed, match="reward b, sample x"):
        call(three(), [("x", 0.1, 7.0, 0.3)])


# ---------------------------------------------------------------- weights by name


def test_the_published_presets_conflict_as_published():
    def published(name):
        order = ("globe_accuracy", "globe_locatability", "globe_visual", "globe_format")
        return tuple(PRESETS[name].get(part) for part in order)

    assert published("globe_readme") == (1.0, 0.2, 0.5, None)
    assert published("globe_script_all") == (1.0, 0.5, 0.2, 1.0)
    assert published("globe_script_two") == (1.0, None, 0.5, 1.0)
    assert published("globe_script_one") == (1.0, None, None, 1.0)


def test_ours_names_our_four_parts():
    assert set(PRESETS["globetag"]) == {"geo", "visual", "locatable", "format"}


def test_a_preset_by_name():
    found = RewardSet.of([GlobeFormat(), GlobeAccuracy(), GlobeVisual()], "globe_script_two")
    assert found.weights == (1.0, 1.0, 0.5)
    assert found.columns == ("id", "country", "city", "entities")
    text = "<think>A taxi.</think><answer>country: France\ncity: Nice</answer>"
    row = {"id": ["a"], "country": ["France"], "city": ["Lyon"], "entities": [["taxi", "palm"]]}
    assert found([text], **row) == [pytest.approx(1.0 + 0.2 + 0.25)]


@pytest.mark.parametrize(
    ("given_", "complaint"),
    [
        ("globe", "no preset of weights is named globe; there are globetag, globe_readme"),
        ({}, "the reward format has no weight"),
        ({"format": 1, "geo": 1}, "the weight geo belongs to no reward"),
        ({"format": -1}, "the weight of format is -1"),
        ({"format": math.nan}, "the weight of format is nan"),
        ({"format": math.inf}, "the weight of format is inf"),
        ({"format": 0}, "no weight is above 0"),
    ],
)
def test_wrong_weights_are_refused(given_, complaint):
    with pytest.raises(SetupError, match=complaint):
        RewardSet.of([FormatReward()], given_)


def test_all_faults_are_told_at_once():
    with pytest.raises(SetupError) as caught:
        RewardSet.of([FormatReward(), FormatReward(), A()], {"format": -1, "geo": 1})
    for fault in ("the reward a has no weight", "the weight geo", "the reward format comes twice", "is -1"):
        assert fault in str(caught.value)
