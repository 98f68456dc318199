"""Rules of doubt played over drawn answers: what they cost, and the threshold that keeps to a budget."""

import math
from dataclasses import replace

import pytest

from benchmarks.doubt import Drawn, play, within_budget
from trainer.judge.records import Truth
from worker.place.doubt import Doubt
from worker.place.gazetteer import Gazetteer
from worker.place.votes import read_sample
from worker.reason.engines import Completion

LYON, BERLIN = (
    f"<think></think><answer>country: {country}\ncity: {city}</answer>"
    for country, city in (("France", "Lyon"), ("Germany", "Berlin"))
)


@pytest.fixture(scope="module")
def drawn():
    """Ten scenes of Lyon. The five least sure first answers are wrong, all further ones right."""
    gazetteer = Gazetteer.load()
    scenes = []
    for number in range(10):
        first = Completion(BERLIN if number < 5 else LYON, "stop", 9, -1.0 + number / 10)
        further = [Completion(LYON, "stop", 9, -0.2)] * 7
        samples = tuple(read_sample(each, gazetteer) for each in (first, *further))
        scenes.append(Drawn(Truth(str(number), 45.76, 4.84, country_code="FR", placeable="city"), samples))
    return scenes


def test_one_answer_costs_one_and_all_cost_all(drawn):
    one = play(drawn, Doubt(most_answers=1))
    most = play(drawn, Doubt(min_logprob=math.inf, enough_agreement=2.0))
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
    assert play(drawn, within_budget(drawn, replace(Doubt()), 0.5)).generations == 1.0
