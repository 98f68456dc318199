"""What the head is made of: folds, the regression, its calibration, the threshold. And that it learns."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.gate.fit import NoSignal, cross_fit, fit_head, within
from trainer.gate.folds import folds_by_cell
from trainer.gate.logistic import fit_logistic
from trainer.gate.measures import calibration_error, reliability
from trainer.gate.risk import binomial_upper, choose_threshold, risk_steps, upper_bound
from trainer.judge.ranking import Ranking
from trainer.judge.selective import _auroc, _curve
from worker.gate.head import sigmoid

RADII = (25, 200, 750)


def made(seed: int, n: int = 400, d: int = 12, cells: int = 40, signal: float = 2.0):
    """Embeddings, outcomes and cells: the first direction says how likely a place is, cells add their own."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) + 3
    cell = rng.integers(0, cells, n)
    ease = signal * (x[:, 0] - 3) + 0.5 * rng.normal(size=cells)[cell]
    km = np.where(
        rng.random(n) < sigmoid(ease),
        10.0,
        np.where(rng.random(n) < 0.5, rng.choice([100.0, 500.0, 3000.0], n), np.inf),
    )
    return x, km, [f"c{number}" for number in cell]


# ------------------------------------------------------------ folds


@given(st.lists(st.sampled_from("abcdefghij"), min_size=1), st.integers(1, 5), st.integers(0, 9))
def test_a_cell_is_in_one_fold_and_every_fold_has_some(cells, count, seed):
    if len(set(cells)) < count:
        with pytest.raises(ValueError, match="cells"):
            folds_by_cell(cells, count, seed=seed)
        return
    folds = folds_by_cell(cells, count, seed=seed)
    assert len({(cell, fold) for cell, fold in zip(cells, folds, strict=True)}) == len(set(cells))
    assert set(folds) == set(range(count))
    order = np.random.default_rng(seed).permutation(len(cells))
    assert (folds_by_cell([cells[i] for i in order], count, seed=seed) == folds[order]).all()


# ------------------------------------------------------------ regression


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([1e-3, 1.0, 100.0]), st.integers(1, 60))
def test_the_optimum_is_one_and_its_biases_never_fall(seed, precision, n):
    x, km, _ = made(seed, n=n, d=4)
    x = x - x.mean(axis=0)
    y = within(km, RADII)
    fit = fit_logistic(x, y, precision=precision)
    assert (np.diff(fit.bias_R) >= 0).all()
    more_x, more_y = np.vstack([x, np.zeros((2, 4))]), np.vstack([y, np.zeros((1, 3)), np.ones((1, 3))])
    gap = sigmoid(fit.logits(more_x)) - more_y
    assert np.abs(gap.sum(axis=0)).max() < 1e-4
    assert np.abs(more_x.T @ gap.sum(axis=1) + precision * fit.weight_D).max() < 1e-3


def test_a_radius_that_all_or_none_reach_has_a_finite_bias():
    x = np.zeros((50, 2))
    fit = fit_logistic(x, np.tile([False, True, True], (50, 1)), precision=1.0)
    chances = sigmoid(fit.logits(np.zeros((1, 2))))[0]
    assert chances == pytest.approx([1 / 52, 51 / 52, 51 / 52], abs=1e-6)


def test_nested_outcomes_that_are_not_nested_are_refused():
    with pytest.raises(ValueError, match="larger one"):
        fit_logistic(np.zeros((1, 1)), np.array([[True, False]]), precision=1.0)


# ------------------------------------------------------------ the head


def test_it_finds_the_signal_and_its_chances_hold_at_new_places():
    x, km, cells = made(0, n=1500)
    y = within(km, RADII)
    chance = cross_fit(x, y, cells, seed=0)
    assert (np.diff(chance, axis=1) >= 0).all()
    for radius in range(3):
        assert Ranking(chance[:, radius], y[:, radius]).auroc() > 0.75
        assert calibration_error(chance[:, radius], y[:, radius]) < 0.06
    fresh_x, fresh_km, _ = made(1, n=4000)
    told = fit_head(x, y, cells, seed=0).chances(fresh_x)
    assert abs(told[:, 0].mean() - (fresh_km <= 25).mean()) < 0.05
    assert calibration_error(told[:, 0], fresh_km <= 25) < 0.06


def test_the_same_seed_gives_the_same_head_and_the_order_of_rows_does_not_matter():
    x, km, cells = made(2)
    y = within(km, RADII)
    first = fit_head(x, y, cells, seed=4)
    order = np.random.default_rng(0).permutation(len(cells))
    other = fit_head(x[order], y[order], [cells[i] for i in order], seed=4)
    assert other.precision == first.precision
    assert other.fit.weight_D == pytest.approx(first.fit.weight_D, abs=1e-6)


def test_a_place_has_no_part_in_its_own_chances():
    """What a cell's outcomes are changes nothing at all for that cell's own chances."""
    x, km, cells = made(3)
    here = np.array([cell == "c0" for cell in cells])
    chance = cross_fit(x, within(km, RADII), cells, seed=0)
    turned = np.where(here, np.where(km <= 25, np.inf, 1.0), km)
    assert cross_fit(x, within(turned, RADII), cells, seed=0)[here] == pytest.approx(chance[here], abs=1e-12)


def test_constant_embeddings_are_no_signal():
    _, km, cells = made(5)
    with pytest.raises(NoSignal):
        fit_head(np.ones((len(cells), 3)), within(km, RADII), cells, seed=0)


# ------------------------------------------------------------ measures and ranking


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60))
def test_ranking_agrees_with_the_judge(rows):
    score = np.array([float(value) for value, _ in rows])
    right = np.array([is_right for _, is_right in rows])
    curve = _curve(score, np.ones(len(rows), dtype=bool), right, 25, "")
    ranking = Ranking(score, right)
    assert ranking.aurc() == pytest.approx(curve.aurc)
    expected = _auroc(np.sort(score)[::-1], (~right[np.argsort(-score, kind="stable")]).astype(float))
    if expected is None:
        assert np.isnan(ranking.auroc())
    else:
        assert ranking.auroc() == pytest.approx(expected)
    for coverage, accuracy in curve.accuracy_at.items():
        if accuracy is not None:
            assert ranking.accuracy_at(coverage) == pytest.approx(accuracy)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=1, max_size=30))
def test_a_weight_is_as_many_rows(rows):
    score, right, weight = (np.array(column) for column in zip(*rows, strict=True))
    many = np.repeat(np.arange(len(rows)), weight)
    if many.size == 0:
        return
    one = Ranking(score.astype(float), right)
    other = Ranking(score[many].astype(float), right[many])
    assert one.auroc(weight.astype(float)) == pytest.approx(other.auroc(), nan_ok=True)
    assert one.aurc(weight.astype(float)) == pytest.approx(other.aurc())


def test_scores_without_order_are_refused():
    with pytest.raises(ValueError, match="not a number"):
        Ranking(np.array([np.nan]), np.array([True]))


def test_reliability_parts_no_equal_chances_and_a_wrong_chance_shows():
    chance = np.repeat([0.2, 0.8], 500)
    hit = np.random.default_rng(0).random(1000) < chance
    assert [each.count for each in reliability(chance, hit)] == [500, 500]
    assert calibration_error(chance, hit) < 0.05
    assert calibration_error(np.full(1000, 0.9), hit) == pytest.approx(0.9 - hit.mean())


# ------------------------------------------------------------ the threshold


@pytest.mark.parametrize(
    ("wrong", "n", "expected"), [(0, 10, 0.2057), (1, 20, 0.1810), (5, 100, 0.0908), (3, 3, 1.0)]
)
def test_the_binomial_bound_is_clopper_and_pearsons(wrong, n, expected):
    """Quantiles of the Beta(wrong + 1, n - wrong) distribution at 0.9, as tables have them."""
    assert binomial_upper(wrong, n, confidence=0.9) == pytest.approx(expected, abs=1e-4)


def test_points_of_one_place_prove_less_than_points_of_many():
    wrong = np.zeros(200)
    wrong[:8] = 1
    spread, heaped = np.arange(200) % 50, np.repeat(np.arange(50), 4)
    assert upper_bound(wrong, heaped, confidence=0.9) > upper_bound(wrong, spread, confidence=0.9) > 0.04
    assert upper_bound(wrong, np.zeros(200, dtype=int), confidence=0.9) == 1.0


def test_the_promise_is_kept_about_as_often_as_is_said():
    """Over many archives of 60 places: the true risk above the chosen threshold exceeds the target in few."""
    rng = np.random.default_rng(0)
    broken = chosen = 0
    for _ in range(200):
        cell = rng.integers(0, 60, 600)
        p_wrong = np.clip(rng.random(600) * 0.5 + 0.1 * rng.normal(size=60)[cell], 0, 1)
        wrong = rng.random(600) < p_wrong
        chance = 1 - p_wrong + 0.05 * rng.normal(size=600)
        choice = choose_threshold(chance, np.ones(600, dtype=bool), wrong, [str(c) for c in cell], max_risk=0.15)
        if choice is not None:
            chosen += 1
            broken += p_wrong[chance >= choice.threshold].mean() > 0.15
    assert chosen > 150
    assert broken <= 0.1 * 200


def test_refusals_are_no_wrong_points_and_equal_chances_stay_together():
    chance = np.repeat([0.9, 0.5, 0.1], 100)
    located = np.concatenate([np.ones(200, dtype=bool), np.zeros(100, dtype=bool)])
    wrong = np.concatenate([np.zeros(100), np.ones(200)]).astype(bool)
    cells = [str(i % 30) for i in range(300)]
    assert [step.points for step in risk_steps(chance, located, wrong, cells)] == [100, 200]
    choice = choose_threshold(chance, located, wrong, cells, max_risk=0.1)
    assert choice is not None
    assert (choice.threshold, choice.coverage, choice.risk) == (0.9, pytest.approx(1 / 3), 0.0)
    assert choose_threshold(chance, located, ~wrong, cells, max_risk=0.1) is None
