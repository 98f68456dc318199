"""The canary, the pace, the estimates, the votes of the archive: rules that need no teacher."""

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from schema.reasons import LabelSource, Reason
from trainer.curate.distil.canary import LEAST, WINDOW, Canary, control_picture, judge_control
from trainer.curate.distil.estimate import (
    ASSUMED_S,
    ASSUMED_TOKENS_OUT,
    Known,
    estimate,
    picture_tokens,
)
from trainer.curate.distil.geoclip import GeoclipAsker, densest
from trainer.curate.distil.lane import Pace
from trainer.curate.distil.ledger import Came, Question
from trainer.curate.distil.pictures import Gone, Pictures
from trainer.curate.distil.recall import vote
from trainer.curate.opinions import Subject, Trouble
from trainer.curate.teachers import GeoclipTeacher, LanguageTeacher, RecallTeacher
from worker.errors import JobError, SetupError, Transient
from worker.place.candidates import Candidate

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


def said(number):
    return f"{WORDS[number % 10]} {WORDS[number // 10 % 10]} roofs"


# --- canary ---


def test_the_same_words_for_all_are_quarantined_as_soon_as_there_are_enough():
    canary = Canary()
    judged = [canary.see(str(number), f"Red roofs, {number}.", None) for number in range(LEAST)]
    assert judged[:-1] == [None] * (LEAST - 1)
    assert judged[-1].trouble is Trouble.SAME_FOR_ALL


def test_different_words_are_believed_for_ever():
    canary = Canary()
    assert not any(canary.see(str(number), said(number), None) for number in range(100))


def test_a_teacher_that_says_half_of_the_time_that_it_cannot_tell_is_believed():
    canary = Canary()
    for number in range(100):
        text = "<answer>country: unknown</answer>" if number % 2 else said(number)
        assert canary.see(str(number), text, None) is None


def test_the_same_photograph_again_counts_once():
    canary = Canary()
    assert not any(canary.see("one", "Red roofs.", None) for _ in range(3 * LEAST))


def test_mostly_bad_answers_are_named_by_the_commonest_trouble():
    canary = Canary()
    troubles = [Trouble.REFUSED, Trouble.REFUSED, Trouble.EMPTY, None, Trouble.REFUSED]
    judged = None
    for number in range(LEAST):
        judged = canary.see(str(number), said(number), troubles[number % 5])
    assert judged.trouble is Trouble.REFUSED
    assert f"{LEAST * 4 // 5} of its newest {LEAST}" in judged.detail


def test_only_the_newest_answers_count():
    canary = Canary((str(number), said(number), Trouble.EMPTY) for number in range(15))
    for number in range(15, 15 + WINDOW):
        assert canary.see(str(number), said(number), None) is None


def test_what_is_said_of_a_picture_of_nothing():
    picture = control_picture()
    assert picture.getextrema() == ((128, 128),) * 3
    guess = judge_control("t", "<think>Fog.</think><answer>country: United Kingdom\ncity: London</answer>", "stop")
    assert guess == {"says": "London, United Kingdom", "names_city": True, "locatable": None}
    honest = judge_control("t", "<think>Plain grey.</think><answer>country: unknown</answer>", "stop")
    assert honest == {"says": "no place", "names_city": False, "locatable": False}
    assert judge_control("t", "", "stop")["says"] == "empty"


# --- pace ---


@given(st.integers(1, 600), st.lists(st.floats(0, 3), min_size=1, max_size=40))
def test_no_minute_has_more_questions_than_it_may(per_minute, gaps):
    now = [0.0]
    pace = Pace(per_minute, clock=lambda: now[0])
    turns = []
    for gap in gaps:
        now[0] += gap
        turns.append(now[0] + pace.turn_in_s())
    assert turns == sorted(turns)
    assert all(later - sooner >= 60 / per_minute - 1e-9 for sooner, later in itertools.pairwise(turns))


def test_without_a_limit_nobody_waits():
    pace = Pace(None)
    assert [pace.turn_in_s() for _ in range(5)] == [0.0] * 5


# --- estimates ---


def language(**how):
    return LanguageTeacher(name="t", kind="openai", url="http://h/v1", model="m", **how)


def test_a_hand_made_estimate():
    teacher = language(price_in=2.0, price_out=10.0, concurrency=4)
    one = estimate(teacher, 1000, picture_tokens=0, known=Known(50, 700.0, 60.0, 8.0))
    assert (one.tokens_in, one.tokens_out, one.measured) == (700_000, 60_000, True)
    assert one.time_s == 1000 * 8.0 / 4
    assert one.cost == pytest.approx(0.7 * 2 + 0.06 * 10)


def test_what_is_not_known_is_assumed_and_said_to_be():
    one = estimate(language(concurrency=1), 10, picture_tokens=1280)
    assert not one.measured
    assert one.cost is None
    assert one.tokens_in > 10 * 1280
    assert one.tokens_out == 10 * ASSUMED_TOKENS_OUT
    assert one.time_s == 10 * ASSUMED_S
    assert estimate(language(max_tokens=100), 10, picture_tokens=0).tokens_out == 1000


def test_a_rate_limit_makes_it_longer_and_nothing_left_takes_no_time():
    limited = estimate(language(concurrency=64, requests_per_minute=6), 60, picture_tokens=0)
    assert limited.time_s == 600
    nothing = estimate(language(price_in=1, price_out=1), 0, picture_tokens=0)
    assert (nothing.time_s, nothing.cost, nothing.tokens_in) == (0, 0, 0)
    archive = estimate(RecallTeacher(name="a", kind="recall"), 100, picture_tokens=0)
    assert (archive.tokens_in, archive.cost, archive.speaks) == (0, 0, False)


@given(st.integers(1, 30_000), st.integers(1, 30_000), st.integers(784, 4_000_000))
def test_pictures_take_no_more_tokens_than_their_pixels_allow(width, height, most):
    tokens = picture_tokens(width, height, most)
    assert 1 <= tokens <= (max(width, height) / 28 + 1) * (min(width, height) / 28 + 1)
    long = max(width, height) / min(width, height)
    if long <= 4 and most >= 100_352:
        assert tokens <= 1.2 * most / 784


def test_a_picture_of_qwens_size_has_its_tokens():
    assert picture_tokens(28 * 40, 28 * 32, 1280 * 784) == 1280


# --- the archive's vote, and GeoCLIP's ---


def candidate(number, lat, lon, cosine, share_nearby=0.0):
    place, seen = (lat, lon, None, None, None, None), (False, False, None, share_nearby)
    return Candidate(number, "0" * 64, cosine, *place, LabelSource.EXIF, *seen)


def test_where_most_of_the_likeness_is():
    near_oslo = [candidate(1, 59.91, 10.74, 0.80), candidate(2, 59.95, 10.80, 0.79)]
    lima = [candidate(3, -12.0, -77.0, 0.81)]
    lat, lon, confidence = vote([*lima, *near_oslo])
    assert (lat, lon) == (59.91, 10.74)
    assert 0.5 < confidence < 0.7
    assert vote(near_oslo)[2] == pytest.approx(1.0)
    assert vote([]) is None


def test_a_gallery_in_one_place_says_little():
    here = [candidate(number, 59.9, 10.7, 0.8, share_nearby=0.95) for number in range(5)]
    assert vote(here)[2] == pytest.approx(0.05)
    assert vote([candidate(1, 59.9, 10.7, 0.8, share_nearby=1.0)]) is None


def test_geoclips_likeliest_point_has_the_weight_of_what_is_near():
    points = [[48.85, 2.35], [48.86, 2.34], [40.7, -74.0]]
    lat, lon, confidence = densest(points, [0.4, 0.2, 0.4 - 1e-9])
    assert (lat, lon) == (48.85, 2.35)
    assert confidence == pytest.approx(0.6)
    for wrong in (([], []), ([[0, 0]], [0.0]), ([[0, 0]], [0.5, 0.5]), ([[100, 0]], [1.0])):
        with pytest.raises(ValueError, match="point"):
            densest(*wrong)


def test_geoclip_that_is_not_installed_says_what_to_do(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SetupError, match="pip install geoclip"):
        GeoclipAsker(GeoclipTeacher(name="g", kind="geoclip"))


# --- pictures ---


def subject(data, number):
    import hashlib

    return Subject(hashlib.sha256(data).hexdigest(), f"file:///{number}.png", 0.0, 0.0)


def test_a_picture_is_fetched_once_for_all_who_want_it_at_once():
    from tests.support import number_of, picture

    data = {f"file:///{number}.png": picture(number) for number in range(6)}
    subjects = [subject(picture(number), number) for number in range(6)]
    pictures = Pictures(data.__getitem__, max_pixels=10_000, keep=3)
    seen = []
    threads = [
        threading.Thread(target=lambda: seen.extend(number_of(pictures(one)) for one in subjects[:2]))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [0] * 8 + [1] * 8
    assert pictures.fetched == 2
    for one in subjects:
        pictures(one)
    assert len(pictures._kept) == 3  # bounded
    pictures(subjects[0])
    assert pictures.fetched == 7  # the oldest had gone


def test_large_pictures_are_kept_small():
    import io

    file = io.BytesIO()
    Image.new("RGB", (900, 600)).save(file, "PNG")
    pictures = Pictures(lambda _: file.getvalue(), max_pixels=10_000, keep=3)
    image = pictures(subject(file.getvalue(), 1))
    assert image.width * image.height <= 10_000


@pytest.mark.parametrize(
    ("error", "reason", "may_return"),
    [
        (JobError(Reason.NOT_FOUND, "gone"), "not_found", False),
        (Transient(Reason.UNREACHABLE, "away"), "unreachable", True),
        (None, "changed", False),
    ],
)
def test_a_picture_that_cannot_be_shown_says_why(error, reason, may_return):
    def fetch(_uri):
        if error is not None:
            raise error
        return b"another"

    pictures = Pictures(fetch, max_pixels=100, keep=3)
    for _ in range(2):  # nothing is remembered of a failure
        with pytest.raises(Gone) as told:
            pictures(subject(b"the one", 1))
        assert (told.value.reason, told.value.may_return) == (reason, may_return)
    assert pictures.fetched == 2


def test_what_postgres_cannot_store_is_replaced():
    row = Came(Question("a", "t"), raw="a\x00b\ud800c").row()
    assert row["raw"] == "a\ufffdb?c"
    assert (row["sha256"], row["state"]) == ("a", "answered")
    assert Came(Question("a", "t"), trouble=Trouble.EMPTY).row()["state"] == "troubled"
