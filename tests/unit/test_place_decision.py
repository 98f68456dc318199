"""From several answers and other signs to a row: asking again, weighing, the radius, and each reason to refuse.

Long because every reason to refuse is shown on the same small line.
"""

import hashlib
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.null_models import NullEngine, NullGate
from schema.messages import Hints
from schema.reasons import Granularity, Reason, Status
from tests.support import picture
from worker.outcome import Job, Rules
from worker.pipeline import Pipeline, Policy, request_hash
from worker.place.doubt import Doubt
from worker.place.evidence import Evidence
from worker.place.gazetteer import Gazetteer
from worker.place.recalled import Recalled
from worker.place.verdict import Limits
from worker.place.votes import evidence_opinions, read_sample, sample_weights
from worker.place.weighing import Ground, weigh
from worker.reason.engines import Completion
from worker.reason.text_cues import rests_on_text

PLAIN = picture(1)
JOB = Job("job", "file:///archive/1.png")
LYON, PARIS, BERLIN, BRAZIL = (
    f"<think>Red roofs.</think><answer>{place}</answer>"
    for place in (
        "country: France\ncity: Lyon",
        "country: France\ncity: Paris",
        "country: Germany\ncity: Berlin",
        "country: Brazil",
    )
)
FRANCE = "<think>A plate.</think><answer>country: France</answer>"
NOWHERE = "<think>A wall.</think><answer>country: unknown</answer>"
ATLANTIS = "<think>Towers.</think><answer>country: Atlantis</answer>"
SIGN = '<think>A sign reads "Lyon". So this is Lyon.</think><answer>country: France\ncity: Lyon</answer>'
UNSURE, SURE = -1.0, -0.001
MEASURED = Doubt(min_logprob=-0.2)


class Scripted(NullEngine):
    """Says one answer after the other, the last one for ever, each with the same log-probability."""

    def __init__(self, *texts, logprob=UNSURE):
        super().__init__()
        self._texts, self._logprob = texts, logprob
        self.samplings = []

    def generate(self, prompt, image, sampling, n=1):
        drawn = len(self.samplings)
        self.samplings += [replace(sampling, seed=sampling.seed + number) for number in range(n)]
        texts = [self._texts[min(drawn + number, len(self._texts) - 1)] for number in range(n)]
        return [Completion(text, "stop", 10, self._logprob) for text in texts]


@dataclass
class Archive:
    """Similar photographs that are always found; keeps what it was asked."""

    evidence: tuple = ()
    nearest_cosine: float | None = 0.9
    asked: list = field(default_factory=list)

    def __call__(self, embedding_D, **asked):
        self.asked.append(asked)
        return Recalled(self.evidence, self.nearest_cosine)


@dataclass(frozen=True)
class Promise:
    radius_km: float
    coverage: float = 0.9
    confidence_by_km: dict = field(default_factory=lambda: {25: 0.7, 200: 0.8, 750: 0.95})
    calibration_id: int | None = 5
    keeps_risk: bool | None = None


@dataclass
class Calibrated:
    """Promises the same radius for everything; keeps the difficulties."""

    promise: Promise | None
    difficulties: list = field(default_factory=list)

    def radius(self, difficulty):
        self.difficulties.append(difficulty)
        return self.promise


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


@pytest.fixture
def settle(gazetteer):
    def settle(*texts, job=JOB, logprob=UNSURE, engine=None, recall=None, radius_model=None, score=1.0, **policy):
        pipeline = Pipeline(
            fetch=lambda _: PLAIN,
            answers=type("Nothing", (), {"find": staticmethod(lambda *_: None)})(),
            gate=NullGate(score),
            engine=engine or Scripted(*texts, logprob=logprob),
            gazetteer=gazetteer,
            policy=Policy(gate_threshold=0.0, **({"doubt": MEASURED} | policy)),
            recall=recall,
            radius_model_of=lambda _: radius_model,
        )
        return pipeline.settle(job)

    return settle


def at_lyon(weight=1.0, source="recall", image_id=3):
    return Evidence(45.76, 4.84, weight, source, image_id, None)


# --- asking again ---


def test_a_sure_answer_is_not_doubted(settle):
    engine = Scripted(LYON, PARIS, logprob=SURE)
    settled = settle(engine=engine)
    assert (settled.prediction.city, len(engine.samplings), settled.trace.samples) == ("Lyon", 1, ())


def test_an_unsure_answer_is_asked_for_again_until_enough_agree(settle):
    engine = Scripted(LYON)
    settled = settle(engine=engine)
    assert [sampling.temperature for sampling in engine.samplings] == [0.0, 0.7, 0.7]
    assert [sampling.seed for sampling in engine.samplings] == [0, 1, 2], "each answer is a draw of its own"
    assert settled.prediction.city == "Lyon"


def test_answers_that_go_on_to_disagree_end_at_the_most(settle):
    engine = Scripted(LYON, PARIS, BERLIN, FRANCE, BRAZIL, NOWHERE, ATLANTIS, LYON, LYON, LYON)
    settle(engine=engine, doubt=replace(MEASURED, most_answers=6, step=4))
    assert len(engine.samplings) == 6


def test_without_a_measured_threshold_low_probabilities_raise_no_doubt(settle):
    engine = Scripted(LYON, logprob=-9.0)
    settle(engine=engine, doubt=Doubt())
    assert len(engine.samplings) == 1


def test_one_answer_at_most_is_one_answer(settle):
    engine = Scripted(LYON)
    settle(engine=engine, doubt=replace(MEASURED, most_answers=1))
    assert len(engine.samplings) == 1


def test_similar_photographs_elsewhere_raise_doubt_and_such_nearby_do_not(settle):
    here, elsewhere = Scripted(LYON, logprob=SURE), Scripted(BERLIN, logprob=SURE)
    settle(engine=here, recall=Archive((at_lyon(),)))
    settle(engine=elsewhere, recall=Archive((at_lyon(),)))
    assert (len(here.samplings), len(elsewhere.samplings)) == (1, 8)


def test_a_low_gate_score_raises_doubt(settle):
    engine = Scripted(LYON, logprob=SURE)
    settle(engine=engine, score=0.4, doubt=replace(MEASURED, min_gate_score=0.5))
    assert len(engine.samplings) > 1


def test_an_answer_that_cannot_be_read_is_asked_for_again(settle):
    settled = settle("gibberish", LYON, logprob=SURE)
    assert (settled.state, settled.prediction.city) == ("done", "Lyon")
    assert settled.trace.samples[0]["answer"] == "gibberish"


# --- what they come to ---


def test_most_of_the_weight_decides_and_the_others_are_kept(settle):
    settled = settle(BERLIN, LYON, LYON, LYON, LYON, LYON, PARIS, LYON)
    prediction, trace = settled.prediction, settled.trace
    assert prediction.city == "Lyon"
    assert prediction.alternatives[0]["place"].startswith("Berlin")
    assert sum(each["weight"] for each in prediction.alternatives) < 0.5
    assert trace.answer == LYON, "what is shown speaks for the place"
    assert [each["number"] for each in trace.samples][:2] == [0, 2]
    assert trace.samples[0]["answer"] == BERLIN


def test_a_place_needs_more_weight_than_all_that_decline(settle):
    refused = settle(NOWHERE, LYON, NOWHERE, LYON, doubt=replace(MEASURED, most_answers=4))
    assert (refused.prediction.reason, refused.prediction.lat) == (Reason.NO_PLACE_STATED, None)
    assert refused.trace.answer == NOWHERE
    assert settle(NOWHERE, LYON, LYON, LYON, doubt=replace(MEASURED, most_answers=4)).prediction.city == "Lyon"


def test_a_place_needs_more_weight_than_what_nobody_knows(settle):
    refused = settle(ATLANTIS, LYON, ATLANTIS, doubt=replace(MEASURED, most_answers=3)).prediction
    assert (refused.reason, refused.stated_place) == (Reason.PLACE_UNKNOWN, "Atlantis")
    assert "Atlantis" in refused.detail


def test_a_near_duplicate_overrules_the_model_and_says_so(settle):
    archive = Archive((at_lyon(2.0, "near_duplicate", 42),))
    prediction = settle(BERLIN, recall=archive).prediction
    assert prediction.country_code == "FR"
    assert (prediction.lat, prediction.lon) == (45.76, 4.84)
    assert any("alone by near duplicate (images 42)" in note for note in prediction.notes)
    [job] = archive.asked
    assert (job["collection"], job["uri"]) == ("default", JOB.uri)
    assert job["sha256"] == hashlib.sha256(PLAIN).hexdigest()


def test_what_is_shown_can_be_read_also_where_no_answer_speaks_for_the_place(settle):
    settled = settle("gibberish", BERLIN, recall=Archive((at_lyon(2.0, "near_duplicate"),)))
    assert (settled.state, settled.prediction.country_code, settled.trace.answer) == ("done", "FR", BERLIN)


def test_the_same_roll_of_film_does_not_overrule_the_model(settle):
    archive = Archive(tuple(at_lyon(1.0, "series", number) for number in range(9)))
    prediction = settle(BERLIN, recall=archive).prediction
    assert prediction.city == "Berlin"
    assert prediction.alternatives[0]["sources"] == ["series"]
    assert prediction.alternatives[0]["images"] == list(range(9))


def test_evidence_that_is_no_place_on_earth_says_nothing(gazetteer):
    broken = [replace(at_lyon(), lat=lat, weight=weight) for lat, weight in [(float("nan"), 1), (91, 1), (45, -1)]]
    assert evidence_opinions([*broken, replace(at_lyon(), weight=float("nan"))], gazetteer) == []


def test_a_caption_tips_a_balance(settle):
    texts = (BERLIN, LYON, BERLIN, LYON)
    doubt = replace(MEASURED, most_answers=4)
    for caption, city in (("Lyon, France", "Lyon"), ("Berlin, Germany", "Berlin")):
        job = replace(JOB, hints=Hints(text=caption))
        assert settle(*texts, job=job, doubt=doubt).prediction.city == city


def test_a_caption_that_contradicts_lowers_the_agreement_and_so_widens_a_radius(settle):
    model = Calibrated(None)
    settle(LYON, job=replace(JOB, hints=Hints(text="Berlin, Germany")), radius_model=model, logprob=SURE)
    settle(LYON, job=replace(JOB, hints=Hints(text="Lyon, France")), radius_model=model, logprob=SURE)
    against, beside = model.difficulties
    assert (against.agreement, beside.agreement) == (pytest.approx(0.8), 1.0)
    assert against.spread_km > 100 > beside.spread_km


some_samples = st.lists(
    st.tuples(
        st.sampled_from([LYON, PARIS, BERLIN, FRANCE, BRAZIL, NOWHERE, ATLANTIS, "gibberish"]),
        st.sampled_from([None, -0.1, -0.5, -2.0]),
    ),
    min_size=1,
    max_size=8,
)


def _outcome(drawn):
    gazetteer = Gazetteer.load()
    samples = [read_sample(Completion(text, "stop", 9, logprob), gazetteer) for text, logprob in drawn]
    weighed = weigh(samples, Ground(), gazetteer)
    place = weighed.place.chosen.place if weighed.place else None
    return place and (place.lat, place.lon), weighed.refusal, pytest.approx(weighed.agreement, abs=1e-6)


@given(some_samples, st.randoms())
def test_the_order_of_answers_does_not_matter(drawn, chance):
    shuffled = drawn.copy()
    chance.shuffle(shuffled)
    assert _outcome(shuffled) == _outcome(drawn)


@given(some_samples, st.integers(2, 4))
def test_getting_every_answer_several_times_changes_nothing(drawn, times):
    assert _outcome(drawn * times) == _outcome(drawn)


@given(st.sampled_from([LYON, PARIS, BERLIN, FRANCE, BRAZIL]), st.sampled_from([None, -0.1, -9.0]))
def test_one_answer_is_itself_with_full_agreement(text, logprob):
    point, refusal, agreement = _outcome([(text, logprob)])
    place = read_sample(Completion(text, "stop", 9, logprob), Gazetteer.load()).place
    assert (point, refusal) == ((place.lat, place.lon), None)
    assert agreement == 1.0


def test_likelier_answers_weigh_more_and_all_together_one(gazetteer):
    samples = [read_sample(Completion(LYON, "stop", 9, logprob), gazetteer) for logprob in (-0.1, -0.1, -2.0)]
    weights = sample_weights(samples)
    assert sum(weights) == pytest.approx(1.0)
    assert weights[0] == weights[1] > weights[2] > 0
    unknown = [replace(samples[0], completion=Completion(LYON, "stop", 9, None)), *samples]
    assert sample_weights(unknown) == [0.25] * 4


# --- regions ---


def test_a_place_outside_the_region_is_refused(settle):
    prediction = settle(LYON, job=replace(JOB, rules=Rules(region="Germany"))).prediction
    assert (prediction.reason, prediction.lat) == (Reason.OUTSIDE_REGION, None)
    assert "Lyon" in prediction.detail
    assert "Germany" in prediction.detail


def test_answers_outside_the_region_do_not_count_against_those_inside_alone(settle):
    job = replace(JOB, hints=Hints(region="Germany"))
    located = settle(LYON, BERLIN, BERLIN, BERLIN, job=job, doubt=replace(MEASURED, most_answers=4))
    assert located.prediction.city == "Berlin"


@pytest.mark.parametrize(("source", "reason"), [("recall", None), ("near_duplicate", Reason.OUTSIDE_REGION)])
def test_the_same_scene_outside_the_region_contradicts_and_what_looks_alike_does_not(settle, source, reason):
    job = replace(JOB, hints=Hints(region="Germany"))
    prediction = settle(BERLIN, job=job, recall=Archive((at_lyon(1.0, source),))).prediction
    assert prediction.reason is reason
    assert (prediction.city == "Berlin") == (reason is None)


def test_a_country_is_narrowed_to_the_region_that_was_given(settle):
    prediction = settle(FRANCE, job=replace(JOB, hints=Hints(region="Brittany"))).prediction
    assert (prediction.region, prediction.granularity) == ("Brittany", Granularity.REGION)


def test_a_region_that_nobody_knows_fails_the_job_and_the_model_is_not_asked(settle):
    engine = Scripted(LYON)
    settled = settle(engine=engine, job=replace(JOB, hints=Hints(region="Ruritania")))
    assert (settled.state, settled.reason) == ("failed", Reason.UNKNOWN_REGION)
    assert "Ruritania" in settled.detail
    assert engine.samplings == []
    assert settled.image.embedding_D is not None, "what was worked out is kept"


def test_regions_that_contradict_each_other_are_refused(settle):
    engine = Scripted(LYON)
    job = replace(JOB, hints=Hints(region="France"), rules=Rules(region="Spain"))
    settled = settle(engine=engine, job=job)
    assert settled.prediction.reason is Reason.OUTSIDE_REGION
    assert engine.samplings == []


def test_other_rules_are_another_question():
    assert request_hash(Hints()) == request_hash(Hints(), Rules())
    hashes = {request_hash(Hints(), Rules(*given)) for given in [(), ("France",), (None, 25.0), ("France", 25.0)]}
    assert len(hashes) == 4
    assert request_hash(Hints(), collection="a") != request_hash(Hints(), collection="b")


# --- radius, granularity, refusals ---


def test_without_a_calibration_the_radius_is_nominal_and_promises_nothing(settle):
    prediction = settle(LYON, radius_model=Calibrated(None)).prediction
    assert (prediction.coverage, prediction.confidence, prediction.calibration_id) == (None, None, None)
    assert prediction.radius_km > 0
    assert prediction.granularity is Granularity.CITY


@pytest.mark.parametrize(
    ("radius_km", "granularity", "names"),
    [
        (0.5, Granularity.CITY, ("FR", "Auvergne-Rhône-Alpes", "Lyon")),
        (25.0, Granularity.CITY, ("FR", "Auvergne-Rhône-Alpes", "Lyon")),
        (25.1, Granularity.REGION, ("FR", "Auvergne-Rhône-Alpes", None)),
        (200.1, Granularity.COUNTRY, ("FR", None, None)),
    ],
)
def test_names_are_given_no_finer_than_the_radius(settle, radius_km, granularity, names):
    prediction = settle(LYON, radius_model=Calibrated(Promise(radius_km))).prediction
    assert prediction.granularity is granularity
    assert (prediction.country_code, prediction.region, prediction.city) == names
    assert (prediction.radius_km, prediction.coverage, prediction.confidence) == (radius_km, 0.9, 0.7)
    assert prediction.calibration_id == 5
    assert (prediction.lat, prediction.lon) == pytest.approx((45.75, 4.85), abs=0.05)
    assert (prediction.geoname_id is None) == (granularity is Granularity.REGION)


def test_wider_than_any_country_is_too_uncertain(settle):
    prediction = settle(LYON, radius_model=Calibrated(Promise(750.1))).prediction
    assert (prediction.status, prediction.reason) == (Status.NOT_LOCATABLE, Reason.TOO_UNCERTAIN)
    assert prediction.lat is None
    assert prediction.alternatives[0]["city"] == "Lyon"


def test_a_place_at_more_than_the_proven_risk_is_too_uncertain(settle):
    def ended(keeps_risk):
        model = Calibrated(Promise(10.0, keeps_risk=keeps_risk))
        prediction = settle(LYON, radius_model=model).prediction
        return prediction.status, prediction.reason

    assert ended(True) == ended(None) == (Status.LOCATED, None)
    assert ended(False) == (Status.NOT_LOCATABLE, Reason.TOO_UNCERTAIN)


@pytest.mark.parametrize("radius_model", [None, Calibrated(Promise(30.0))])
def test_wider_than_the_collection_allows_is_too_uncertain(settle, radius_model):
    job = replace(JOB, rules=Rules(max_radius_km=5.0))
    prediction = settle(LYON, job=job, radius_model=radius_model).prediction
    assert prediction.reason is Reason.TOO_UNCERTAIN
    assert "5 km" in prediction.detail
    narrower = Limits(max_radius_km=2.0)
    assert "2 km" in settle(LYON, job=job, radius_model=radius_model, place_limits=narrower).prediction.detail


def test_answers_that_disagree_are_refused_where_agreement_is_asked_for(settle):
    texts = (LYON, PARIS, BERLIN, BRAZIL)
    doubt, limits = replace(MEASURED, most_answers=4), Limits(min_agreement=0.5)
    prediction = settle(*texts, doubt=doubt, place_limits=limits).prediction
    assert (prediction.reason, prediction.lat) == (Reason.SAMPLES_DISAGREE, None)
    assert len(prediction.alternatives) == 4
    assert settle(LYON, doubt=doubt, place_limits=limits).prediction.city == "Lyon"


def test_text_alone_is_flagged_or_refused(settle):
    flagged = settle(SIGN).prediction
    assert flagged.city == "Lyon"
    assert any("rest on text" in note for note in flagged.notes)
    refused = settle(SIGN, place_limits=Limits(only_text="refuse")).prediction
    assert (refused.reason, refused.lat) == (Reason.ONLY_TEXT_EVIDENCE, None)
    supported = settle(SIGN, place_limits=Limits(only_text="refuse"), recall=Archive((at_lyon(),))).prediction
    assert supported.city == "Lyon"


def test_the_difficulty_says_what_was_seen(settle):
    model = Calibrated(None)
    settled = settle(LYON, recall=Archive((at_lyon(0.5), Evidence(52.5, 13.4, 0.5, "recall", 4, None))),
                     radius_model=model, score=0.8, doubt=replace(MEASURED, most_answers=3))  # fmt: skip
    [difficulty] = model.difficulties
    assert settled.prediction.difficulty == difficulty
    assert (difficulty.gate_score, difficulty.samples, difficulty.nearest_cosine) == (0.8, 3, 0.9)
    assert difficulty.mean_logprob == UNSURE
    assert difficulty.candidate_agreement == pytest.approx(0.5)
    assert difficulty.agreement == pytest.approx(0.75)
    assert difficulty.spread_km > 100
    assert difficulty.stated is Granularity.CITY


# --- text ---


@pytest.mark.parametrize(
    "cues",
    [
        ('A sign reads "Lyon".',),
        ("The writing is in Portuguese.", "So this is Brazil."),
        ("A poster says Beach Road in English.".replace("Beach Road", '"Beach Road"'),),
    ],
)
def test_reasons_that_rest_on_text(cues):
    assert rests_on_text(cues)


@pytest.mark.parametrize(
    "cues",
    [
        (),
        ("So this is France.",),
        ("Red tiled roofs.",),
        ('A sign reads "Lyon".', "The roofs are red."),
        ("White houses stand behind a sign in Greek.",),
        ("Kangaroos graze.", 'A sign reads "Perth".'),
    ],
)
def test_reasons_that_rest_on_more_than_text(cues):
    assert not rests_on_text(cues)
