"""The fuzz in small: what it accounts for, and that it would notice a loss."""

import pytest

from benchmarks.hostile.messages import _lost, measure
from benchmarks.hostile.mutants import mutants
from tests.support import AMQP_URL


def test_mutants_are_the_same_for_the_same_seed():
    first, second = (list(mutants(50, 7, canary="/c")) for _ in range(2))
    assert first == second
    assert first != list(mutants(50, 8, canary="/c"))
    assert len({mutant.tag for mutant in first}) == 50


def test_a_message_of_which_nobody_knows_is_lost(database):
    sent = list(mutants(20, 1, canary="/c"))
    assert _lost(database, sent) == [mutant.tag for mutant in sent]


@pytest.mark.rabbitmq
def test_none_is_lost_and_nothing_crashes(rabbitmq_vhost):
    assert measure(count=200, seed=3, amqp=AMQP_URL) == {"messages": 220, "lost_messages": 0, "crashes": 0}
