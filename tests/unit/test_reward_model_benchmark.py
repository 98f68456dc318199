"""The benchmark's figures from kept answers: what is kept comes back, and figures are those of the definitions."""

import math
import random

import numpy as np
import pytest

from benchmarks.reward_model.__main__ import unit
from benchmarks.reward_model.answers import Row, Study, read, write
from benchmarks.reward_model.figures import SCORERS, auroc, figures_of
from trainer.judge.ranking import Ranking
from trainer.rewards.calibration import Calibration


def studies(seeds=2, count=300):
    """Half of the answers name no place; P(yes) is a chance made three times too sure, the gate knows nothing."""
    made = []
    for seed in range(seeds):
        rng = random.Random(seed)
        rows = []
        for number in range(count):
            named, odds = rng.random() < 0.5, rng.gauss(0.3, 1.2)
            right = named and rng.random() < 1 / (1 + math.exp(-odds))
            p = 1 / (1 + math.exp(-3 * odds))
            rows.append(
                Row(f"s{seed}-{number}", number // 7, named, right, p if named else 0.01, 0.5, None,
                    rng.random(), -rng.random())
            )  # fmt: skip
        made.append(Study(seed, 1 / 3, 0.0, "t", "h", 1.0, {"test": rows, "shift": rows[: count // 2]}))
    return made


def test_answers_come_back_as_they_were_kept(tmp_path):
    kept = studies(count=20)
    write(tmp_path / "kept.json", "key", kept)
    back = read(tmp_path / "kept.json", "key")
    assert [each.seed for each in back] == [0, 1]
    for one, other in zip(kept, back, strict=True):
        assert other.calibration == Calibration(1 / 3, 0.0)
        for split, rows in one.rows.items():
            for row, again in zip(rows, other.rows[split], strict=True):
                assert (row.id, row.photographer, row.named, row.right, row.p_untrained) == (
                    again.id, again.photographer, again.named, again.right, again.p_untrained
                )  # fmt: skip
                assert again.p == pytest.approx(row.p, rel=1e-4)


def test_answers_of_other_weights_are_not_taken(tmp_path):
    assert read(tmp_path / "kept.json", "key") == []
    write(tmp_path / "kept.json", "key", studies(count=20))
    assert read(tmp_path / "kept.json", "other") == []


def test_the_order_is_the_mean_over_the_seeds():
    kept = studies()
    value, drawn_B = auroc(kept, "test", SCORERS["reward model"], named=True, replicates=50)
    each = [
        Ranking(np.array([row.p for row in study.rows["test"] if row.named]),
                np.array([row.right for row in study.rows["test"] if row.named])).auroc()
        for study in kept
    ]  # fmt: skip
    assert value == pytest.approx(np.mean(each))
    assert drawn_B.shape == (50,)
    assert drawn_B.min() < value < drawn_B.max()


def test_figures():
    figures = figures_of(studies(), "test", replicates=50)
    assert figures["auroc_model_test"] > 0.7
    assert figures["auroc_gate_test"] == pytest.approx(0.5, abs=0.08)
    assert figures["auroc_other_picture_test"] == figures["auroc_untrained_test"] == 0.5
    assert figures["auroc_gain_low_test"] > 0
    assert figures["auroc_model_all_test"] > figures["auroc_model_test"]
    assert figures["ece_calibrated_test"] < 0.09 < figures["ece_raw_test"]
    assert figures["brier_calibrated_test"] < figures["brier_raw_test"]
    assert figures["scenes_test"] == 600
    assert {unit(name) for name in figures} == {"1", "share"}
