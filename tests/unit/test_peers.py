"""Figures and table of the comparison with peers."""

import pytest

from benchmarks.peers.__main__ import Killed, figures_of, table, unit
from benchmarks.peers.turns import Contender
from worker.errors import SetupError

SPEEDS = {"ours": [10.0, 20.0, 30.0], "celery": [5.0, 40.0, 10.0]}


def test_ratios_are_taken_round_by_round():
    figures = figures_of(SPEEDS, {"ours": Killed(0.9, 0, 6.0), "celery": Killed(0.4, 2, 4.0)})
    assert figures["speedup_celery"] == 2.0  # of 2, 0.5 and 3; the medians' ratio is 2 too: see the next
    assert figures_of({"ours": [1.0, 9.0, 9.0], "celery": [1.0, 1.0, 9.0]}, {})["speedup_celery"] == 1.0
    assert (figures["kept_celery"], figures["lost_celery"], figures["speedup_killed_celery"]) == (0.4, 2, 1.5)


def test_what_was_not_measured_is_none_and_says_so():
    figures = figures_of(SPEEDS, {})
    assert figures["speedup_llm_chat"] is None and figures["images_per_s_llm_chat"] is None
    lines = table(figures, "vllm").splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert "not measured" in next(line for line in lines if "LLM.chat" in line)
    assert "2.00" in next(line for line in lines if "Celery" in line)


@pytest.mark.parametrize(
    ("figure", "expected"), [("images_per_s_ours", "1/s"), ("speedup_celery", "1"), ("lost_ours", "images")]
)
def test_units(figure, expected):
    assert unit(figure) == expected


def test_a_contender_that_ends_at_once_says_why(tmp_path):
    with pytest.raises(SetupError, match="No module named"):
        Contender("nobody_has_written_this", tmp_path / "home", {}).wait_until_ready()
