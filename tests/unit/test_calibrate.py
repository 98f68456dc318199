"""How a calibration is made, on photographs whose law of errors is known beforehand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema.reasons import Granularity
from trainer.calibrate.check import cross_validate, kept, matched_radius_km
from trainer.calibrate.conformal import clustered_level, least_clusters
from trainer.calibrate.fit import Parameters, fit, plain_radius_km
from trainer.calibrate.hardness import fit_hardness
from trainer.calibrate.risk import DELTA, hardest_within_risk
from trainer.calibrate.sample import Sample, deal_clusters, make_sample
from trainer.calibrate.shares import falling, fit_shares
from worker.errors import SetupError
from worker.place.difficulty import Difficulty
from worker.place.radius import RADII_KM

PARAMETERS = Parameters()


def world(n, seed, *, worse=0.0):
    """Right answers are some km off, wrong ones hundreds; how likely which is shows, dimly, in two signs.

    Nine photographs to a place; a place has its own ease. `worse` makes the photographs of a shifted world.
    """
    rng = np.random.default_rng(seed)
    cluster_N = rng.integers(0, max(1, n // 9), n)
    ease_N = 1.2 + rng.normal(0, 0.6, n)[cluster_N] + rng.normal(0, 1.5, n) - worse
    right_N = rng.random(n) < 1 / (1 + np.exp(-2.5 * ease_N))
    error_N = np.where(right_N, rng.uniform(0, 4, n), np.exp(rng.normal(6.8, 0.9, n)).clip(50, 19_000))
    signs = {
        "disagreement": np.clip(0.4 - 0.25 * ease_N + rng.normal(0, 0.1, n), 0, 1).round(1),
        "improbable": np.clip(0.6 - 0.2 * ease_N + rng.normal(0, 0.1, n), 0, None),
        "useless": rng.random(n),
    }
    return Sample(signs, error_N, cluster_N)


def inside(model, sample):
    return float((sample.error_km_N <= model.radii_km(model.hardness.of(sample.signs))).mean())


# ---------------------------------------------------------------- the parts


def test_a_level_for_single_photographs_is_that_of_split_conformal_prediction():
    score_N = np.arange(1.0, 20.0)  # 19 of them: the 18th of 20 places is the first to reach 90 %
    assert clustered_level(score_N, np.arange(19), 0.9) == 18.0


@given(st.integers(1, 200), st.floats(0.5, 0.99))
def test_a_finite_level_needs_so_many_clusters(clusters, coverage):
    level = clustered_level(np.arange(float(clusters)), np.arange(clusters), coverage)
    assert math.isnan(level) == (clusters < least_clusters(coverage))


def test_a_hundred_photographs_of_one_place_are_one_witness():
    many = np.concatenate([np.full(500, 1000.0), np.arange(39.0)])
    cluster_N = np.concatenate([np.zeros(500, dtype=int), np.arange(1, 40)])
    assert clustered_level(many, cluster_N, 0.9) < 40.0
    assert math.isnan(clustered_level(many[:500], cluster_N[:500], 0.9))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 10)), min_size=1, max_size=30))
def test_pooling_gives_the_nearest_sequence_that_does_not_rise(pairs):
    value_L, weight_L = (np.array(each) for each in zip(*pairs, strict=True))
    found_L = falling(value_L, weight_L)
    assert (np.diff(found_L) <= 1e-12).all()
    assert found_L @ weight_L == pytest.approx(value_L @ weight_L)
    assert falling(found_L, weight_L) == pytest.approx(found_L)
    flat = np.full(value_L.size, value_L @ weight_L / weight_L.sum())
    assert weight_L @ (value_L - found_L) ** 2 <= weight_L @ (value_L - flat) ** 2 + 1e-9


@given(st.lists(st.tuples(st.floats(-2, 5), st.floats(0, 20_000)), min_size=1, max_size=120), st.integers(1, 40))
def test_shares_are_distributions_that_fall_with_the_hardness(pairs, per_level):
    hardness_N, error_N = (np.array(each) for each in zip(*pairs, strict=True))
    found = fit_shares(hardness_N, error_N, per_level=per_level)  # refuses by itself what is none
    assert found.share_L_Z[:, -1] == pytest.approx(1.0)


def test_hardness_follows_what_tells_and_not_what_does_not():
    hardness = fit_hardness(world(1500, 1))
    worth = {name: curve.decades[-1] for name, curve in hardness.curves.items()}
    assert worth["disagreement"] + worth["improbable"] > 1.0
    assert worth["useless"] < 0.2
    assert all((np.diff(curve.decades) >= 0).all() for curve in hardness.curves.values())


def test_a_sign_that_points_the_wrong_way_is_left_flat():
    sample = world(800, 2)
    turned = Sample({"turned": -sample.signs["disagreement"]}, sample.error_km_N, sample.cluster_N)
    assert fit_hardness(turned).curves["turned"].decades[-1] < 0.1


def test_signs_that_never_differ_or_are_never_known_get_no_curve():
    sample = world(200, 3)
    signs = {"same": np.ones(200), "unknown": np.full(200, np.nan)}
    hardness = fit_hardness(Sample(signs, sample.error_km_N, sample.cluster_N))
    assert not hardness.curves
    assert hardness.base == pytest.approx(np.log10(1 + sample.error_km_N).mean())


@given(st.integers(2, 60), st.integers(2, 5), st.integers(0, 99))
def test_clusters_are_dealt_whole(clusters, parts, seed):
    cluster_N = np.repeat(np.arange(clusters), np.arange(clusters) % 4 + 1)
    part_N = deal_clusters(cluster_N, parts, seed=seed)
    assert all(np.unique(part_N[cluster_N == name]).size == 1 for name in range(clusters))
    sizes = np.bincount(part_N, minlength=parts)
    assert sizes.max() - sizes.min() <= 4


@pytest.mark.parametrize("error_km", [math.nan, math.inf, -1.0])
def test_an_error_that_is_no_distance_is_refused(error_km):
    known = Difficulty(0.5, 1.0, 0.0, 1, None, None, None, None, Granularity.CITY)
    with pytest.raises(ValueError, match="must be a distance"):
        make_sample([known], np.array([error_km]), np.array([0]))


# ---------------------------------------------------------------- the promise


def test_the_radius_keeps_its_promise_on_average_over_calibrations():
    found = [inside(fit(world(700, seed), PARAMETERS), world(2000, 1000 + seed)) for seed in range(12)]
    assert 0.89 <= np.mean(found) <= 0.94
    assert min(found) > 0.84


def test_it_keeps_its_promise_in_each_group_of_hardness():
    by_group = {}
    for seed in range(12):
        model, new = fit(world(1500, seed), PARAMETERS), world(2000, 500 + seed)
        hardness_N = model.hardness.of(new.signs)
        inside_N = new.error_km_N <= model.radii_km(hardness_N)
        for g in range(model.level_G.size):
            by_group.setdefault(g, []).append(inside_N[model.groups(hardness_N) == g].mean())
    assert len(by_group) == 2, "errors of this world are of a city or of a continent"
    assert all(0.87 <= np.mean(shares) <= 0.95 for shares in by_group.values()), by_group


def test_groups_are_those_to_which_a_name_can_be_given():
    rng = np.random.default_rng(3)
    kind_N = rng.integers(0, 4, 4000)
    most_km_N = np.array([20.0, 150.0, 600.0, 9000.0])[kind_N]
    error_N = np.where(rng.random(4000) < 0.95, rng.uniform(0.5, 1.0, 4000) * most_km_N, 15_000.0)
    model = fit(Sample({"kind": kind_N.astype(float)}, error_N, np.arange(4000) // 8), PARAMETERS)
    radius_G = model.radii_km(model.hardness.of({"kind": np.arange(4.0)}))
    assert (radius_G <= most_km_N[[np.flatnonzero(kind_N == kind)[0] for kind in range(4)]]).all()
    assert (np.diff(radius_G) > 0).all()


def test_where_signs_tell_nothing_there_is_one_radius_for_all():
    told = world(1500, 4)
    model = fit(Sample({"useless": told.signs["useless"]}, told.error_km_N, told.cluster_N), PARAMETERS)
    assert model.level_G.size == 1


def test_it_is_far_narrower_than_one_radius_for_all():
    checked = cross_validate(world(1500, 5), PARAMETERS)
    assert checked.ratio < 0.5
    assert 0.88 <= checked.radius.coverage <= 0.94
    assert checked.confidence_error < 0.06


def test_it_holds_where_signs_tell_of_the_shift():
    found = [inside(fit(world(900, seed), PARAMETERS), world(2000, 2000 + seed, worse=1.0)) for seed in range(8)]
    plain = [
        float((world(2000, 2000 + seed, worse=1.0).error_km_N <= plain_radius_km(world(900, seed), 0.9)).mean())
        for seed in range(8)
    ]
    assert np.mean(found) > 0.86
    assert np.mean(found) > np.mean(plain) + 0.02


def test_what_is_stranger_than_what_was_seen_gets_the_widest_radius():
    """Where strangeness says nothing within the calibration, and all in the shifted world."""

    def with_strangeness(sample, seed, share):
        rng = np.random.default_rng(seed)
        strange_N = np.where(rng.random(sample.n) < share, 0.9, rng.uniform(0.1, 0.5, sample.n))
        error_N = np.where(strange_N > 0.6, 800.0, sample.error_km_N)
        return Sample(sample.signs | {"unlike_archive": strange_N}, error_N, sample.cluster_N)

    seen, new = with_strangeness(world(900, 1), 2, 0.0), with_strangeness(world(2000, 3), 4, 0.3)
    model = fit(seen, PARAMETERS)
    hardness_N = model.hardness.of(new.signs)
    strange_N = new.signs["unlike_archive"] > 0.6
    assert model.edge_G.size
    assert set(model.groups(hardness_N[strange_N])) == {model.edge_G.size}
    assert set(model.groups(hardness_N[~strange_N])) > {0}
    unfloored = replace(model, hardness=replace(model.hardness, floors={}))
    assert inside(model, new) > inside(unfloored, new) + 0.05


def test_useless_signs_cost_width_and_not_the_promise():
    def blind(sample):
        return Sample({"useless": sample.signs["useless"]}, sample.error_km_N, sample.cluster_N)

    found = [inside(fit(blind(world(700, seed)), PARAMETERS), blind(world(2000, 300 + seed))) for seed in range(8)]
    assert 0.88 <= np.mean(found) <= 0.95


def test_signs_that_tell_nothing_are_not_followed():
    wider = []
    for seed in range(10):
        sample, new = world(700, seed), world(1000, 300 + seed)
        blind = Sample({"useless": sample.signs["useless"]}, sample.error_km_N, sample.cluster_N)
        model = fit(blind, PARAMETERS)
        radius_N = model.radii_km(model.hardness.of({"useless": new.signs["useless"]}))
        wider.append(float(np.median(radius_N)) / plain_radius_km(blind, 0.9))
    assert 0.8 < np.median(wider) < 1.2, wider


def test_the_same_seed_gives_the_same_calibration():
    assert fit(world(400, 6), PARAMETERS).to_json() == fit(world(400, 6), PARAMETERS).to_json()


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_whatever_the_photographs_radii_are_radii(seed):
    sample = world(300, seed)
    model = fit(sample, PARAMETERS)
    radius_N = model.radii_km(model.hardness.of(sample.signs))
    assert (radius_N >= 0).all()
    assert not np.isnan(radius_N).any()


# ---------------------------------------------------------------- the risk


def test_a_proven_threshold_keeps_to_the_risk_as_often_as_promised():
    broken = chosen = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        hardness_N = rng.random(600)
        wrong_N = rng.random(600) < hardness_N * 0.4  # up to hardness h the risk is 0.2 h: kept to until 0.5
        hardest = hardest_within_risk(
            hardness_N,
            wrong_N,
            np.arange(600) // 5,
            candidates=np.linspace(0.2, 1.0, 41),
            max_risk=0.1,
            seed=seed,
        )
        chosen += hardest is not None
        broken += hardest is not None and hardest > 0.5
    assert chosen >= 20
    assert broken <= 40 * DELTA + 4


def test_where_everything_is_wrong_no_threshold_is_chosen():
    hardness_N = np.linspace(0, 1, 300)
    found = hardest_within_risk(
        hardness_N,
        np.ones(300, dtype=bool),
        np.arange(300),
        candidates=np.array([0.2, 1.0]),
        max_risk=0.1,
        seed=0,
    )
    assert found is None


# ---------------------------------------------------------------- refusals and figures


def test_too_few_photographs_are_refused_with_counts():
    with pytest.raises(SetupError, match=r"60 located photographs of \d+ places .* are too few .* 100 of 30"):
        fit(world(60, 7), PARAMETERS)


def test_photographs_of_one_town_are_refused_with_counts():
    sample = world(500, 8)
    one_town = Sample(sample.signs, sample.error_km_N, np.zeros(500, dtype=np.int64))
    with pytest.raises(SetupError, match="500 located photographs of 1 places or series are too few"):
        fit(one_town, PARAMETERS)


def test_a_higher_coverage_needs_more_places():
    with pytest.raises(SetupError, match="of 198 are needed"):
        fit(world(700, 9), Parameters(coverage=0.99))


def test_errors_that_are_all_the_same_are_refused():
    sample = world(400, 10)
    with pytest.raises(SetupError, match="equally far off"):
        fit(Sample(sample.signs, np.full(400, 12.0), sample.cluster_N), PARAMETERS)


def test_what_is_kept_is_counted():
    found = kept(np.array([1.0, 5.0, math.inf]), np.array([2.0, 5.0, 9.0]), np.array([0, 1, 2]))
    assert (found.n, found.clusters, found.infinite) == (3, 3, 1)
    assert found.coverage == pytest.approx(2 / 3)
    assert found.median_km == 5.0


def test_the_matched_radius_holds_as_many():
    error_N = np.array([1.0, 2.0, 3.0, 100.0])
    matched_km = matched_radius_km(np.array([5.0, 5.0, 1.0, 200.0]), error_N)
    assert matched_km == 3.0
    assert (error_N <= matched_km).sum() == 3


def test_radii_start_at_nothing_and_end_at_the_other_side_of_the_earth():
    assert RADII_KM[0] == 0.0
    assert tuple(sorted(RADII_KM)) == RADII_KM
