"""All figures against plain Python that counts with its fingers, and the identities that hold for every run.

Long because all of it shares the recount.
"""

import math
import random
import statistics

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.judge.columns import THRESHOLDS_KM, make_columns
from trainer.judge.compare import compare, mcnemar_p
from trainer.judge.distance import Distance
from trainer.judge.intervals import Resampling, bootstrap_medians
from trainer.judge.matching import match
from trainer.judge.metrics import evaluate
from trainer.judge.records import Outcome, Prediction, Truth
from trainer.judge.selective import radius_groups, risk_coverage
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer
from worker.place.sphere import destination

CITIES = {
    "Paris": ("France", "FR", 48.85341, 2.3488, "Europe"),
    "Osaka": ("Japan", "JP", 34.69379, 135.50107, "Asia"),
    "Nairobi": ("Kenya", "KE", -1.28333, 36.81667, "Africa"),
    "Recife": ("Brazil", "BR", -8.05389, -34.88111, "South America"),
}
HAVERSINE = Distance()


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


def haversine_km(lat1, lon1, lat2, lon2, radius_km=6371.0):
    """Through the chord between unit vectors, so by another formula than the one under test."""

    def unit(lat, lon):
        phi, lam = math.radians(lat), math.radians(lon)
        return (math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi))

    chord = math.dist(unit(lat1, lon1), unit(lat2, lon2))
    return radius_km * 2 * math.asin(min(1.0, chord / 2))


def make_run(seed, n=120, name="run"):
    """A run with every outcome, known photographers for some, and a radius and sureness for the located."""
    rng = random.Random(seed)
    truths, predictions = [], []
    for number in range(n):
        city = rng.choice(list(CITIES))
        country, _, lat, lon, _ = CITIES[city]
        at = destination(lat, lon, rng.uniform(0, 360), rng.expovariate(0.2))
        truths.append(
            Truth(
                f"i{number:03}",
                *at,
                country=country,
                city=city,
                photographer=f"p{rng.randrange(12)}" if rng.random() < 0.8 else None,
                placeable=rng.choice(["city", "region", "country", "none"]),
                bayes_country=rng.random(),
                bayes_city25=rng.random(),
                true_cues=frozenset(rng.sample("abcdef", 3)),
            )
        )
        outcome = rng.choices(list(Outcome), [12, 2, 1, 1, 1, 1])[0]
        guess = city if rng.random() < 0.5 else rng.choice(list(CITIES))
        common = {"stated_cues": frozenset(rng.sample("abcdef", rng.randrange(4)))}
        if outcome is Outcome.LOCATED:
            there = destination(*CITIES[guess][2:4], rng.uniform(0, 360), rng.expovariate(0.02))
            common |= {"lat": there[0], "lon": there[1], "country": CITIES[guess][0], "city": guess}
            common |= {"radius_km": rng.choice([25.0, 300.0, 2000.0]), "coverage": rng.choice([0.5, 0.9])}
            common |= {"confidence": rng.choice([0.1, 0.3, 0.6, 0.9])}
            common |= {"strict": rng.random() < 0.7}
        if outcome is Outcome.UNRESOLVED:
            common |= {"country": "Freedonia", "unresolved": ("country",)}
        if outcome is not Outcome.MISSING:
            predictions.append(Prediction(f"i{number:03}", outcome, **common))
    return match(name, truths, predictions, source="test")


def kilometres(run):
    """Plain list: distance of each row, None without an answer."""
    return [
        None
        if row.prediction.lat is None
        else haversine_km(row.truth.lat, row.truth.lon, row.prediction.lat, row.prediction.lon)
        for row in run.rows
    ]


@pytest.mark.parametrize("seed", range(4))
def test_all_counts_are_those_of_plain_python(gazetteer, seed):
    run = make_run(seed)
    found = evaluate(make_columns(run, HAVERSINE, gazetteer), replicates=20)
    km = kilometres(run)
    located = [each for each in km if each is not None]
    n = len(run.rows)
    assert found.n == n
    assert sum(found.outcomes.values()) == n
    for outcome in Outcome:
        assert found.outcomes[outcome] == sum(row.prediction.outcome is outcome for row in run.rows)
    for threshold in THRESHOLDS_KM:
        figure = found.figure(f"within_{threshold}_km")
        hits = sum(each is not None and each <= threshold for each in km)
        assert (figure.hits, figure.of, figure.left_out) == (hits, n, 0)
        assert figure.value == hits / n
    strict = sum(
        each is not None and each <= 25 and row.prediction.strict is True
        for each, row in zip(km, run.rows, strict=True)
    )
    assert found.figure("within_25_km_strict").hits == strict
    assert found.figure("answer_rate").hits == len(located)
    assert found.figure("mean_km").value == pytest.approx(statistics.fmean(located))
    assert found.figure("mean_km").of + found.figure("mean_km").left_out == n
    assert found.figure("median_km").value == pytest.approx(statistics.median(located))
    everyone = sorted(each if each is not None else math.inf for each in km)
    middle = (everyone[(n - 1) // 2] + everyone[n // 2]) / 2
    assert found.figure("median_km_all").value == (pytest.approx(middle) if middle < math.inf else None)
    score = sum(0 if each is None else 5000 * math.exp(-each / 1492.7) for each in km) / n
    assert found.figure("geoscore").value == pytest.approx(score)
    assert found.figure("bayes_country").value == pytest.approx(
        statistics.fmean(row.truth.bayes_country for row in run.rows)
    )
    names = [row.prediction.country == row.truth.country for row in run.rows]
    assert found.figure("country_name").hits == sum(names)
    assert found.figure("country_globe").hits == sum(names)
    assert found.unresolved_answers == found.unresolved["country"] == found.outcomes[Outcome.UNRESOLVED]
    assert (
        sum((found.reading.strict, found.reading.tolerated, found.reading.unparsable, found.reading.unknown)) == n
    )


@pytest.mark.parametrize("seed", range(3))
def test_groups_add_up_to_all_images(gazetteer, seed):
    run = make_run(seed)
    found = evaluate(make_columns(run, HAVERSINE, gazetteer), replicates=0)
    assert sum(group.n for group in found.continents) == found.n
    assert {group.name for group in found.continents} <= {city[4] for city in CITIES.values()}
    for group in found.continents:
        assert group.n == sum(CITIES[row.truth.city][4] == group.name for row in run.rows)
    for name in ("within_25_km", "within_2500_km", "country_id"):
        assert sum(group.figure(name).hits for group in found.continents) == found.figure(name).hits
    by_level = {group.name: group for group in found.placeable}
    assert sum(group.n for name, group in by_level.items() if name != "something") == found.n
    assert by_level["something"].n + by_level["none"].n == found.n


def test_what_cannot_be_told_is_judged_by_refusals(gazetteer):
    run = make_run(7)
    found = evaluate(make_columns(run, HAVERSINE, gazetteer), replicates=0)
    hopeless = [row.prediction.outcome for row in run.rows if row.truth.placeable == "none"]
    refused, answered = found.figure("none_refused"), found.figure("none_answered")
    assert (refused.hits, refused.of) == (hopeless.count(Outcome.REFUSED), len(hopeless))
    assert (answered.hits, answered.of) == (hopeless.count(Outcome.LOCATED), len(hopeless))
    others = [row.prediction.outcome for row in run.rows if row.truth.placeable != "none"]
    assert found.figure("placeable_refused").hits == others.count(Outcome.REFUSED)
    assert found.figure("placeable_refused").left_out == len(hopeless)
    level = 0
    for row, km in zip(run.rows, kilometres(run), strict=True):
        if row.truth.placeable == "country":
            level += row.prediction.country == row.truth.country
        elif row.truth.placeable != "none":
            level += km is not None and km <= {"city": 25, "region": 200}[row.truth.placeable]
    assert found.figure("level_right").hits == level


def test_cues_are_counted_as_sets(gazetteer):
    run = make_run(5)
    cues = evaluate(make_columns(run, HAVERSINE, gazetteer), replicates=50).cues
    answers = [
        row for row in run.rows if row.prediction.outcome in (Outcome.LOCATED, Outcome.REFUSED, Outcome.UNRESOLVED)
    ]
    stated = [row.prediction.stated_cues for row in answers]
    true = [row.truth.true_cues for row in answers]
    right = sum(len(one & other) for one, other in zip(stated, true, strict=True))
    invented = [len(one - other) for one, other in zip(stated, true, strict=True)]
    assert cues.images + cues.left_out == len(run.rows)
    assert cues.images == len(answers)
    assert (cues.precision.over, cues.precision.under) == (right, sum(map(len, stated)))
    assert (cues.recall.over, cues.recall.under) == (right, sum(map(len, true)))
    assert (cues.invented.over, cues.invented.under) == (sum(invented), len(answers))
    assert cues.honest.over == invented.count(0)
    assert cues.f1 == pytest.approx(
        2 * cues.precision.value * cues.recall.value / (cues.precision.value + cues.recall.value)
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_identities_of_every_run(gazetteer, seed, n):
    run = make_run(seed, n)
    found = evaluate(make_columns(run, HAVERSINE, gazetteer), replicates=10)
    assert sum(found.outcomes.values()) == found.n == n
    shares = [found.figure(f"within_{threshold}_km").value for threshold in THRESHOLDS_KM]
    assert shares == sorted(shares)
    assert shares[-1] <= found.figure("answer_rate").value
    assert all(figure.of + figure.left_out == n for figure in found.figures)
    assert all(0 <= figure.value <= 1 for figure in found.figures if figure.unit == "share")
    for group in (*found.continents, *found.placeable):
        assert all(figure.of + figure.left_out == group.n for figure in group.figures)


def test_the_order_of_rows_changes_nothing(gazetteer):
    run = make_run(1)
    rng = random.Random(9)
    truths = [row.truth for row in run.rows]
    said = [row.prediction for row in run.rows if row.prediction.outcome is not Outcome.MISSING]
    rng.shuffle(truths)
    rng.shuffle(said)
    shuffled = match(run.name, truths, said, source="test")
    one, other = (evaluate(make_columns(each, HAVERSINE, gazetteer), replicates=60) for each in (run, shuffled))
    assert one == other


# --- intervals ---


def test_photographers_not_images_are_drawn(gazetteer):
    """Ten photographers of whom each is always or never right: by image the interval would be far too narrow."""
    truths = [Truth(f"{number:04}", 48.85, 2.35, photographer=f"p{number % 10}") for number in range(400)]
    said = [
        Prediction(truth.id, Outcome.LOCATED, lat=48.85 if number % 10 < 5 else -40.0, lon=2.35)
        for number, truth in enumerate(truths)
    ]
    found = evaluate(make_columns(match("r", truths, said, source="t"), HAVERSINE, gazetteer), replicates=800)
    figure = found.figure("within_25_km")
    assert figure.value == 0.5
    assert found.clusters == 10
    by_cluster = 1.96 * math.sqrt(0.25 / 10)
    assert figure.high - figure.low == pytest.approx(2 * by_cluster, rel=0.25)
    alone = [Truth(truth.id, truth.lat, truth.lon) for truth in truths]
    by_image = evaluate(make_columns(match("r", alone, said, source="t"), HAVERSINE, gazetteer), replicates=800)
    narrow = by_image.figure("within_25_km")
    assert narrow.high - narrow.low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 400), rel=0.25)


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30), st.integers(0, 99))
def test_a_resampled_median_is_the_median_of_the_repeated_rows(values, seed):
    cluster_N = np.arange(len(values)) // 2
    resampling = Resampling(cluster_N, replicates=5, seed=seed)
    medians = bootstrap_medians(np.array(values), resampling)
    for weight_C, median in zip(resampling.weights(), medians.tolist(), strict=True):
        assert weight_C.sum() == resampling.clusters
        repeated = np.repeat(values, weight_C[cluster_N].astype(int))
        assert median == pytest.approx(np.median(repeated))


def test_one_photographer_gives_no_interval(gazetteer):
    truths = [Truth(f"{number}", 48.85, 2.35, photographer="p") for number in range(9)]
    found = evaluate(make_columns(match("r", truths, [], source="t"), HAVERSINE, gazetteer))
    assert found.figure("answer_rate").low is None
    assert found.replicates == 0


# --- sureness and radius ---


def plain_aurc(pairs, n):
    """Mean over the ranks of the expected share of wrong ones so far; ties in any order; unanswered last."""
    total = wrong_before = rank_before = 0
    for sureness in sorted({sureness for sureness, _ in pairs}, reverse=True):
        tied = [wrong for each, wrong in pairs if each == sureness]
        for place in range(1, len(tied) + 1):
            total += (wrong_before + sum(tied) * place / len(tied)) / (rank_before + place)
        wrong_before += sum(tied)
        rank_before += len(tied)
    for _ in range(n - len(pairs)):
        wrong_before += 1
        rank_before += 1
        total += wrong_before / rank_before
    return total / n


@pytest.mark.parametrize("seed", range(4))
def test_risk_and_coverage_against_plain_python(gazetteer, seed):
    run = make_run(seed)
    columns = make_columns(run, HAVERSINE, gazetteer)
    km = kilometres(run)
    for curve in risk_coverage(columns):
        pairs = [
            (row.prediction.confidence, each > curve.threshold_km)
            for row, each in zip(run.rows, km, strict=True)
            if each is not None
        ]
        assert curve.aurc == pytest.approx(plain_aurc(pairs, len(run.rows)))
        assert curve.aurc_answered == pytest.approx(plain_aurc(pairs, len(pairs)))
        assert curve.aurc_best <= curve.aurc + 1e-12
        assert curve.coverage[-1] == len(pairs) / len(run.rows)
        for cover, risk, sure in zip(curve.coverage, curve.risk, (0.9, 0.6, 0.3, 0.1), strict=True):
            kept = [wrong for sureness, wrong in pairs if sureness >= sure]
            assert cover == pytest.approx(len(kept) / len(run.rows))
            assert risk == pytest.approx(sum(kept) / len(kept))
        right = [sureness for sureness, wrong in pairs if not wrong]
        wrong = [sureness for sureness, wrong in pairs if wrong]
        wins = sum((one > other) + (one == other) / 2 for one in right for other in wrong)
        assert curve.auroc == pytest.approx(wins / (len(right) * len(wrong)))


def test_the_radius_is_judged_by_the_coverage_that_it_states(gazetteer):
    run = make_run(2)
    km, groups = kilometres(run), radius_groups(make_columns(run, HAVERSINE, gazetteer))
    for group in groups:
        rows = [
            (row.prediction.radius_km, each <= row.prediction.radius_km)
            for row, each in zip(run.rows, km, strict=True)
            if each is not None and row.prediction.coverage == group.stated_coverage
        ]
        assert (group.count, group.inside) == (len(rows), sum(inside for _, inside in rows))
        assert group.median_km == statistics.median(radius for radius, _ in rows)
        assert sum(part.count for part in group.bins) == group.count
        # Three different radii make three bins: equal ones are never parted into good and bad ones.
        found = {(part.mean_radius_km, part.count, part.inside) for part in group.bins}
        radii = {radius for radius, _ in rows}
        assert found == {
            (radius, len(held := [inside for each, inside in rows if each == radius]), sum(held))
            for radius in radii
        }
        assert sum(part.inside for part in group.bins) == group.inside
    assert sum(group.count for group in groups) == sum(each is not None for each in km)


def test_without_sureness_there_is_no_curve(gazetteer):
    truths = [Truth("a", 1, 50), Truth("b", 2, 50)]
    said = [Prediction("a", Outcome.LOCATED, lat=1, lon=50)]
    assert risk_coverage(make_columns(match("r", truths, said, source="t"), HAVERSINE, gazetteer)) == ()


# --- two runs ---


def test_comparison_is_antisymmetric_and_counts_all_images(gazetteer):
    one = make_columns(make_run(1, name="a"), HAVERSINE, gazetteer)
    # The same images, answered otherwise.
    truths = [row.truth for row in one.run.rows]
    said = [row.prediction for row in make_run(2).rows if row.prediction.outcome is not Outcome.MISSING]
    other = make_columns(match("b", truths, said, source="t"), HAVERSINE, gazetteer)
    there, back = compare(one, other, replicates=200), compare(other, one, replicates=200)
    for forth, reverse in zip(there.differences, back.differences, strict=True):
        assert forth.name == reverse.name
        assert forth.value == -reverse.value
        assert (forth.low, forth.high) == (pytest.approx(-reverse.high), pytest.approx(-reverse.low))
        assert (forth.only_a, forth.only_b) == (reverse.only_b, reverse.only_a)
        assert forth.p_value == reverse.p_value
        if forth.unit == "share":
            assert forth.both + forth.only_a + forth.only_b + forth.neither == forth.of
            assert forth.value == pytest.approx((forth.only_a - forth.only_b) / forth.of)


def test_a_run_against_itself_differs_in_nothing(gazetteer):
    columns = make_columns(make_run(3), HAVERSINE, gazetteer)
    for difference in compare(columns, columns, replicates=50).differences:
        assert difference.value == 0
        assert (difference.low, difference.high) == (0, 0)
        assert not difference.is_clear


def test_runs_over_other_images_are_not_compared(gazetteer):
    one, other = (make_columns(make_run(seed), HAVERSINE, gazetteer) for seed in (1, 2))
    with pytest.raises(SetupError, match="not over the same truth"):
        compare(one, other)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b):
    n, fewer = only_a + only_b, min(only_a, only_b)
    tail = sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
    assert mcnemar_p(only_a, only_b) == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_of_many_images_stays_a_number():
    assert mcnemar_p(20_000, 20_000) == 1.0
    assert mcnemar_p(19_000, 21_000) < 1e-20


# --- answers that have nothing to do with their images ---


def test_answers_that_fit_any_image_are_noticed(gazetteer):
    rng = random.Random(4)
    run = make_run(6, n=200)
    truths = [row.truth for row in run.rows]

    def judged(points):
        said = [
            Prediction(truth.id, Outcome.LOCATED, lat=lat, lon=lon)
            for truth, (lat, lon) in zip(truths, points, strict=True)
        ]
        return evaluate(make_columns(match("r", truths, said, source="t"), HAVERSINE, gazetteer), replicates=0)

    blind = [CITIES[rng.choice(list(CITIES))][2:4] for _ in truths]
    assert judged(blind).pairing.suspicious
    constant = [CITIES["Paris"][2:4] for _ in truths]
    assert judged(constant).pairing.suspicious
    told = zip(truths, blind, strict=True)
    seeing = [CITIES[truth.city][2:4] if rng.random() < 0.3 else point for truth, point in told]
    assert not judged(seeing).pairing.suspicious
