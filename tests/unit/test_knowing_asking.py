"""Rules of doubt played over stored answers: what they cost, and the threshold that keeps to a budget."""

import pytest

from benchmarks.knowing.asking import play, within_budget, worth
from benchmarks.knowing.scenes import ALL, ONE
from tests.unit.knowing_cases import case, scenes
from worker.place.doubt import Doubt


@pytest.fixture(scope="module")
def drawn():
    """Ten scenes of Lyon. The five least sure first answers are wrong, all further ones right."""
    return [
        case(n, "Lyon", ["Berlin" if n < 5 else "Lyon", *["Lyon"] * 7], logprob=-1.0 + n / 10, photographer=n // 2)
        for n in range(10)
    ]


def test_one_answer_costs_one_and_all_cost_all(drawn):
    one, most = play(drawn, ONE), play(drawn, ALL)
    assert (one.country, one.city25, one.generations) == (0.5, 0.5, 1.0)
    assert (most.country, most.city25, most.generations) == (1.0, 1.0, 8.0)


def test_doubt_asks_where_it_helps_and_stops_early(drawn):
    asked = play(drawn, Doubt(min_logprob=-0.55))
    assert (asked.city25, asked.generations) == (1.0, pytest.approx(1 + 0.5 * 2))


@pytest.mark.parametrize("budget", [1.0, 1.2, 1.5, 2.0, 9.0])
def test_a_threshold_keeps_to_its_budget_and_uses_it(drawn, budget):
    rule = within_budget(drawn, Doubt(), budget)
    assert play(drawn, rule).generations <= budget
    assert play(drawn, rule).generations > budget - 0.2 or budget == 9.0


def test_a_budget_below_one_answer_asks_once(drawn):
    assert play(drawn, within_budget(drawn, Doubt(), 0.5)).generations == 1.0


def test_scenes_that_tell_nothing_cost_answers_and_count_for_no_share(drawn):
    nothing = [case(10 + n, "Lyon", ["unknown"] * 8, placeable="none", photographer=9) for n in range(10)]
    found = worth(scenes([*drawn, *nothing]), Doubt(min_logprob=-0.55))
    assert (found.city25["one"].value, found.city25["one"].n) == (0.5, 10)
    assert found.over_one["doubt"].value == pytest.approx(0.5)
    assert found.generations["doubt"] == pytest.approx(1.5)
