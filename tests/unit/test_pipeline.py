"""Every way in which a photograph can end, with models that cost nothing and answers kept in memory."""

import hashlib
import io
import threading
from dataclasses import replace

import pytest
from PIL import Image

from benchmarks.null_models import ANSWER, NullEngine, NullGate
from schema.messages import Hints
from schema.reasons import FAILURE_REASONS, Granularity, JobState, LabelSource, Reason, Status
from tests.support import picture
from worker.backoff import Backoff
from worker.errors import JobError, Transient
from worker.outcome import Job, Remembered
from worker.pipeline import Pipeline, Policy, request_hash
from worker.place.gazetteer import Gazetteer

PLAIN = picture(1)
WITH_POSITION = picture(2, position=(-34, 18))
URI = "file:///archive/1.png"
JOB = Job("job", URI)


class Memory:
    """Earlier answers, kept in memory."""

    def __init__(self, remembered=None):
        self._remembered = remembered or {}

    def find(self, sha256, request):
        return self._remembered.get((sha256, request))


class Recording(NullEngine):
    """Keeps the prompts that it was given."""

    def __init__(self, say=lambda _: ANSWER):
        super().__init__(say)
        self.prompts = []

    def generate(self, prompt, image, sampling, n=1):
        self.prompts.append(prompt)
        return super().generate(prompt, image, sampling, n)


@pytest.fixture(scope="module")
def gazetteer():
    return Gazetteer.load()


@pytest.fixture
def make(gazetteer):
    def make(data=PLAIN, *, answer=ANSWER, score=1.0, answers=None, engine=None, gate=None, **policy):
        def fetch(_uri):
            if isinstance(data, BaseException):
                raise data
            return data

        return Pipeline(
            fetch=fetch,
            answers=answers or Memory(),
            gate=gate or NullGate(score),
            engine=engine or Recording(lambda _: answer),
            gazetteer=gazetteer,
            policy=Policy(gate_threshold=0.5, **policy),
        )

    return make


def _raising(error):
    def say(_image):
        raise error

    return Recording(say)


# --- its bytes ---


def test_while_the_model_answers_its_picture_alone_is_counted_and_nothing_afterwards(make):
    seen = []

    def say(image):
        seen.append((pipeline.in_flight.held_bytes, image.width * image.height * 3))
        return ANSWER

    pipeline = make(engine=Recording(say))
    assert pipeline.settle(JOB).outcome == "located"
    [(held_bytes, picture_bytes)] = seen
    assert held_bytes == picture_bytes > 0
    assert pipeline.in_flight.held_bytes == 0
    assert pipeline.in_flight.peak_bytes > len(PLAIN)


@pytest.mark.parametrize("data", [b"", b"not a picture"])
def test_a_photograph_that_cannot_be_read_holds_nothing_afterwards(make, data):
    pipeline = make(data)
    assert pipeline.settle(JOB).state == "failed"
    assert pipeline.in_flight.held_bytes == 0


# --- a place ---


def test_a_place_that_the_gazetteer_knows_is_located(make):
    settled = make().settle(JOB)
    assert (settled.job_id, settled.state, settled.outcome, settled.reason) == ("job", "done", "located", None)
    prediction = settled.prediction
    assert (prediction.status, prediction.country_code, prediction.city) == (Status.LOCATED, "FR", "Paris")
    assert prediction.granularity is Granularity.CITY
    assert (prediction.lat, prediction.lon) == pytest.approx((48.85, 2.35), abs=0.05)
    assert prediction.radius_km > 0
    assert prediction.coverage is None, "a nominal radius promises nothing"
    assert prediction.stated_place == "Paris, France"
    assert settled.trace.answer == ANSWER
    assert settled.trace.cues == ({"text": "A tall iron tower stands beyond the bridge.", "supported": None},)
    image = settled.image
    assert (image.sha256, image.format, image.size_bytes) == (hashlib.sha256(PLAIN).hexdigest(), "png", len(PLAIN))
    assert image.embedding_D is not None
    assert settled.label is None


def test_hints_reach_the_prompt(make):
    engine = Recording()
    make(engine=engine).settle(replace(JOB, hints=Hints(text="Le pont", region="Île-de-France", date="1911")))
    [prompt] = engine.prompts
    assert all(words in prompt.user for words in ("Le pont", "Île-de-France", "1911"))


def test_a_camera_position_is_known_and_the_model_is_not_asked(make):
    engine = Recording()
    settled = make(WITH_POSITION, engine=engine).settle(JOB)
    assert (settled.state, settled.outcome, settled.prediction, settled.trace) == ("done", "known", None, None)
    label = settled.label
    assert (label.source, label.lat, label.lon) == (LabelSource.EXIF, pytest.approx(-34), pytest.approx(18))
    assert engine.prompts == []
    assert settled.image.embedding_D is not None, "known places are the archive's gallery"


def test_verify_asks_the_model_beside_the_camera(make):
    settled = make(WITH_POSITION).settle(replace(JOB, verify=True))
    assert (settled.state, settled.outcome) == ("done", "known")
    assert settled.label.source is LabelSource.EXIF
    assert settled.prediction.status is Status.LOCATED


# --- no place, with a reason ---


def test_below_the_threshold_the_model_is_not_asked(make):
    engine = Recording()
    settled = make(score=0.49, engine=engine).settle(JOB)
    assert (settled.state, settled.outcome, settled.trace) == ("done", "not_locatable", None)
    prediction = settled.prediction
    assert (prediction.status, prediction.reason) == (Status.NOT_LOCATABLE, Reason.GATE_BELOW_THRESHOLD)
    assert prediction.gate_score == 0.49
    assert "0.490" in prediction.detail
    assert "0.500" in prediction.detail
    assert engine.prompts == []


def test_at_the_threshold_the_model_is_asked(make):
    assert make(score=0.5).settle(JOB).outcome == "located"


def test_a_model_that_cannot_tell_gets_no_point(make):
    settled = make(answer="<think>A wall.</think><answer>country: unknown</answer>").settle(JOB)
    assert (settled.state, settled.outcome) == ("done", "not_locatable")
    assert (settled.prediction.reason, settled.prediction.lat) == (Reason.NO_PLACE_STATED, None)
    assert settled.trace.reasoning == "A wall."


def test_a_place_that_nobody_knows_keeps_its_words_and_gets_no_point(make):
    settled = make(answer="<think>Towers.</think><answer>country: Ruritania\ncity: Streslau</answer>").settle(JOB)
    assert (settled.state, settled.outcome) == ("done", "not_locatable")
    prediction = settled.prediction
    assert (prediction.reason, prediction.lat, prediction.lon) == (Reason.PLACE_UNKNOWN, None, None)
    assert prediction.stated_place == "Streslau, Ruritania"
    assert "Streslau" in prediction.detail


@pytest.mark.parametrize("answer", ["", "I am a language model.", "\x00", "<answer></answer>"])
def test_an_answer_that_cannot_be_read_fails_and_keeps_what_was_printed(make, answer):
    settled = make(answer=answer).settle(JOB)
    assert (settled.state, settled.outcome, settled.reason) == ("failed", None, Reason.UNPARSABLE)
    assert settled.detail
    assert settled.prediction.status is Status.FAILED
    assert settled.prediction.lat is None
    assert settled.trace.answer == answer.replace("\x00", "")


def test_a_known_place_stays_known_to_the_label_when_the_model_fails_to_verify_it(make):
    settled = make(WITH_POSITION, answer="no idea").settle(replace(JOB, verify=True))
    assert (settled.state, settled.reason) == ("failed", Reason.UNPARSABLE)
    assert settled.label is not None


# --- answered already ---


def _remembering(job, **remembered):
    known = {"image_id": 7, "prediction_id": None, "status": None, "has_label": False, "is_embedded": True}
    key = (hashlib.sha256(PLAIN).hexdigest(), request_hash(job.hints))
    return Memory({key: Remembered(**(known | remembered))})


@pytest.mark.parametrize(
    ("job", "remembered", "expected"),
    [
        pytest.param(JOB, {"prediction_id": 9, "status": Status.LOCATED}, ("located", 9), id="located"),
        pytest.param(
            JOB, {"prediction_id": 9, "status": Status.NOT_LOCATABLE}, ("not_locatable", 9), id="not locatable"
        ),
        pytest.param(JOB, {"has_label": True}, ("known", None), id="known"),
        pytest.param(
            replace(JOB, verify=True),
            {"has_label": True, "prediction_id": 9, "status": Status.LOCATED},
            ("known", 9),
            id="known and verified",
        ),
    ],
)
def test_what_was_answered_before_is_used_again_and_said_so(make, job, remembered, expected):
    engine = Recording()
    settled = make(engine=engine, answers=_remembering(job, **remembered)).settle(job)
    assert (settled.state, settled.reused, settled.image_id) == ("done", True, 7)
    assert (settled.outcome, settled.prediction_id) == expected
    assert (settled.image, engine.prompts) == (None, [])


@pytest.mark.parametrize(
    ("job", "remembered"),
    [
        pytest.param(JOB, {}, id="seen but not answered"),
        pytest.param(replace(JOB, verify=True), {"has_label": True}, id="known but not verified"),
        pytest.param(JOB, {"has_label": True, "is_embedded": False}, id="known to another gate"),
    ],
)
def test_what_was_not_fully_answered_is_worked_on(make, job, remembered):
    settled = make(answers=_remembering(job, **remembered)).settle(job)
    assert (settled.state, settled.reused) == ("done", False)
    assert settled.image is not None


def test_other_hints_are_another_question(make):
    memory = _remembering(JOB, prediction_id=9, status=Status.LOCATED)
    assert not make(answers=memory).settle(replace(JOB, hints=Hints(text="a bridge"))).reused
    assert request_hash(Hints()) != request_hash(Hints(text="a bridge"))
    assert request_hash(Hints(text="a", region="b")) == request_hash(Hints(region="b", text="a"))


# --- failures ---


def test_a_cause_that_may_pass_is_tried_again_later_and_later(make):
    backoff = Backoff(max_attempts=3, first_s=30.0, draw=lambda: 0.5)
    pipeline = make(Transient(Reason.UNREACHABLE, "HTTP 500."), backoff=backoff)
    first, second, last = (pipeline.settle(replace(JOB, attempts=attempts)) for attempts in (1, 2, 3))
    assert [settled.state for settled in (first, second, last)] == ["queued", "queued", "failed"]
    assert [first.retry_in_s, second.retry_in_s] == [15.0, 30.0]
    assert {settled.reason for settled in (first, second, last)} == {Reason.UNREACHABLE}
    assert last.detail == "HTTP 500."


@pytest.mark.parametrize("reason", sorted(FAILURE_REASONS))
def test_a_job_error_ends_the_job_with_its_reason(make, reason):
    settled = make(JobError(reason, "So it is.")).settle(JOB)
    dead = reason is Reason.WORKER_LOST
    assert settled.state is (JobState.DEAD if dead else JobState.FAILED)
    assert (settled.outcome, settled.reason, settled.detail) == (None, reason, "So it is.")


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", Reason.EMPTY), (b"Dear archive,\n", Reason.NOT_AN_IMAGE), (PLAIN[:60], Reason.UNREADABLE)],
)
def test_bytes_that_are_no_picture_end_with_their_reason(make, data, reason):
    settled = make(data).settle(JOB)
    assert (settled.state, settled.reason) == ("failed", reason)
    assert settled.detail


def test_a_model_that_fails_on_a_picture_ends_its_job(make):
    settled = make(engine=_raising(JobError(Reason.MODEL_ERROR, "CUDA says no."))).settle(JOB)
    assert (settled.state, settled.reason) == ("failed", Reason.MODEL_ERROR)


@pytest.mark.parametrize("where", ["fetch", "engine"])
def test_too_little_memory_ends_the_job_and_not_the_worker(make, where):
    pipeline = make(MemoryError()) if where == "fetch" else make(engine=_raising(MemoryError()))
    settled = pipeline.settle(JOB)
    assert (settled.state, settled.reason) == ("failed", Reason.TOO_LARGE)


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), KeyError("x"), RecursionError(), OSError("disk"), AssertionError()]
)
def test_a_defect_ends_the_job_as_one_and_its_text_stays_in_the_log(make, error, caplog):
    settled = make(engine=_raising(error)).settle(JOB)
    assert (settled.state, settled.reason) == ("failed", Reason.INTERNAL_ERROR)
    assert type(error).__name__ in settled.detail
    assert "/archive/1.png" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_process_is_no_outcome(make, error):
    with pytest.raises(error):
        make(engine=_raising(error())).settle(JOB)


def test_a_photograph_that_a_worker_died_with_is_probed_first(make):
    assert make().settle(replace(JOB, losses=1)).outcome == "located"


# --- many at once ---


def test_it_is_used_by_many_threads(make):
    pictures = {f"file:///{number}": picture(number) for number in range(24)}
    pipeline = replace(make(), fetch=pictures.__getitem__)
    settled = {}

    def work(uri):
        settled[uri] = pipeline.settle(Job(uri, uri))

    threads = [threading.Thread(target=work, args=(uri,)) for uri in pictures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {outcome.job_id for outcome in settled.values()} == set(pictures)
    for uri, data in pictures.items():
        assert settled[uri].image.sha256 == hashlib.sha256(data).hexdigest()


def test_a_rotated_picture_reaches_the_gate_upright(make):
    seen = []

    class Looking(NullGate):
        def score(self, image):
            seen.append(image.size)
            return super().score(image)

    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20)).save(buffer, "JPEG", exif=exif.tobytes())
    settled = make(buffer.getvalue(), gate=Looking()).settle(JOB)
    assert seen == [(20, 40)]
    assert (settled.image.width_px, settled.image.height_px) == (20, 40)
