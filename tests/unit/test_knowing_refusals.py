"""Abstention in the study of knowing: what is refused and why, by the worker's own verdict."""

import numpy as np

from benchmarks.knowing.refusals import LOCATED, refused
from benchmarks.knowing.scenes import ALL, ONE
from schema.reasons import Reason
from tests.unit.knowing_cases import case, scenes

SCATTERED = ["Lyon", "Lyon", "Paris", "Berlin", "Madrid", "Rome", "Oslo", "Vienna"]


def made():
    """Two right, one wrong, one that names nothing where nothing tells, one of scattered answers."""
    return scenes(
        [
            case(0, "Lyon", ["Lyon"] * 8, photographer=0),
            case(1, "Berlin", ["Berlin"] * 8, photographer=1),
            case(2, "Lyon", ["Berlin"] * 8, photographer=2),
            case(3, "Lyon", ["unknown"] * 8, photographer=3, placeable="none"),
            case(4, "Lyon", SCATTERED, photographer=4),
        ]
    )


def test_every_scene_is_located_or_has_a_reason():
    found = refused(made(), ALL)
    assert found.reasons == {LOCATED: 3, Reason.NO_PLACE_STATED: 1, Reason.SAMPLES_DISAGREE: 1}
    assert (found.located.value, found.wrong.value, found.generations) == (0.6, 1 / 3, 8.0)
    assert (found.right.value, found.right.n) == (0.5, 4)
    assert found.rightly.value == 1.0


def test_what_the_gate_refuses_costs_nothing():
    chance_N = np.array([0.9, 0.2, 0.1, 0.8, 0.9])
    found = refused(made(), ONE, chance_N=chance_N, threshold=0.5)
    assert found.reasons == {Reason.GATE_BELOW_THRESHOLD: 2, LOCATED: 2, Reason.NO_PLACE_STATED: 1}
    assert found.generations == 3 / 5
    assert found.wrong.value == 0.0


def test_where_all_is_refused_nothing_is_wrong():
    found = refused(made(), ONE, chance_N=np.zeros(5), threshold=0.5)
    assert found.wrong is None
    assert found.located.value == 0.0
