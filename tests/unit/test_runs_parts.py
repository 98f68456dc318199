"""What of a training run needs no database: reasons, words, settings, messages, and which rewards cannot judge."""

import errno

import pytest
from celery.schedules import crontab

from schema.messages import TrainRequest
from schema.reasons import RunReason
from tests.support import number_of, write_pictures
from tests.unit.test_judge_model import PixelEngine, answer
from trainer.cycle.cycle import TooLittle, cannot_judge, no_cues, reason_of
from trainer.cycle.examine import ModelUnusable, examine, judge_both, part_of, quick_figures
from trainer.cycle.runs import _json
from trainer.cycle.schedule import _beat_schedule
from trainer.cycle.sources import HeldOut
from trainer.grpo.questions import Question, columns_of
from trainer.grpo.recipe import load_grpo_recipe
from trainer.judge.records import Outcome, Truth
from trainer.rewards.base import RewardFailed
from worker.errors import JobError, SetupError
from worker.intake.picture import decode
from worker.reason.engines import Sampling
from worker.reason.prompt import build_prompt
from worker.settings import load


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


def caused(error, cause):
    try:
        raise error from cause
    except type(error) as raised:
        return raised


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OutOfMemoryError("CUDA"), RunReason.OUT_OF_MEMORY),
        (caused(SetupError("lower batch_size"), OutOfMemoryError("CUDA")), RunReason.OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), RunReason.OUT_OF_MEMORY),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), RunReason.DISK_FULL),
        (Exception("I/O error: No space left on device (os error 28)"), RunReason.DISK_FULL),
        (caused(SetupError("make room"), OSError(errno.ENOSPC, "full")), RunReason.DISK_FULL),
        (OSError(errno.EACCES, "Permission denied"), RunReason.INTERNAL_ERROR),
        (TooLittle("3 in"), RunReason.TOO_LITTLE),
        (SetupError("no such recipe"), RunReason.WRONG_SETUP),
        (ModelUnusable("x"), RunReason.MODEL_UNUSABLE),
        (RewardFailed("a", "geo", "x"), RunReason.REWARD_FAILED),
        (KeyError("x"), RunReason.INTERNAL_ERROR),
    ],
    ids=repr,
)
def test_each_error_has_its_reason(error, reason):
    assert reason_of(error) is reason
    assert reason.sentence.endswith(".")


def test_figures_that_postgres_does_not_know_become_null():
    said = {"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": float("-inf")}, "e": "x\x00y"}
    assert _json(said) == '{"a": null, "b": [null, 1.5], "c": {"d": null}, "e": "x\\ufffdy"}'


@pytest.mark.parametrize(
    ("said", "ok"),
    [(said, True) for said in ("off", "hourly", "nightly", "weekly", "3600")]
    + [(said, False) for said in ("0", "-5", "1.5", "daily", "1h")],
)
def test_how_often_it_looks_is_a_word_or_seconds(said, ok):
    if not ok:
        with pytest.raises(SetupError, match="GLOBETAG_TRAIN_EVERY"):
            load({"GLOBETAG_TRAIN_EVERY": said})
        return
    settings, _ = load({"GLOBETAG_TRAIN_EVERY": said})
    timetable = _beat_schedule(settings.train_every)
    assert (timetable == {}) is (said == "off")
    if timetable:
        when = timetable["look"]["schedule"]
        assert when == float(said) if said.isdigit() else isinstance(when, crontab)


@pytest.mark.parametrize(("said", "ok"), [("25", True), ("2500", True), ("30", False), ("near", False)])
def test_the_radius_is_one_that_is_judged(said, ok):
    if ok:
        assert load({"GLOBETAG_TRAIN_RADIUS_KM": said})[0].train_radius_km == int(said)
    else:
        with pytest.raises(SetupError, match="GLOBETAG_TRAIN_RADIUS_KM"):
            load({"GLOBETAG_TRAIN_RADIUS_KM": said})


def test_a_message_may_name_recipe_and_collection_and_nothing_else():
    assert TrainRequest.read({}).recipe is None
    assert TrainRequest.read({"recipe": "atlas_cpu", "collection": "press"}).collection == "press"
    for wrong in ({"colour": "blue"}, {"recipe": 7}, {"collection": ""}, {"recipe": "a\x00"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TrainRequest.read(wrong)


def question(**columns):
    return Question("a", lambda: None, build_prompt(), columns_of(Truth("a", 1.0, 2.0)) | columns)


def test_rewards_that_no_question_feeds_are_named():
    recipe = load_grpo_recipe("atlas_cpu")
    known = {"visual": "true_cues", "locatable": "p_placeable"}
    weighed = [name for name, weight in recipe.rewards.by_name.items() if weight > 0]
    silent = [name for name in weighed if name in known]
    assert cannot_judge(recipe, [question(), question()]) == silent
    assert cannot_judge(recipe, [question(), question(true_cues=[], p_placeable=0.5)]) == []
    assert no_cues("<think>A red tram.</think>") == frozenset()


# --- examining ---


class Files(dict):
    """Pictures by id, each opened through the worker's decoder."""

    def __init__(self, paths):
        super().__init__({path.name: (lambda path=path: self._open(path)) for path in paths})

    def _open(self, path):
        if not path.exists():
            raise JobError("not_found", "gone")
        return decode(path.read_bytes()).image


def held_out(folder, count, **more):
    paths = write_pictures(folder, count)
    truths = tuple(Truth(path.name, 48.85, 2.35, country_code="FR") for path in paths)
    return HeldOut(truths, Files(paths), **more), paths


def ask(held, say=lambda number: answer(0), **more):
    return examine("m", held, lambda name: PixelEngine(say), Sampling(), threads=2, **more)


def test_what_could_not_be_opened_counts_for_neither_model(tmp_path):
    held, paths = held_out(tmp_path, 10)
    new = ask(held)
    paths[3].unlink()
    serving = ask(held)
    assert (new.unread, serving.unread) == (frozenset(), {"0003.png"})
    a, b = judge_both(held, new, serving)
    assert a.n == b.n == 9
    assert quick_figures(held, serving, 25) == {"accuracy": 1.0, "answer_rate": 1.0}
    for path in paths:
        path.unlink(missing_ok=True)
    with pytest.raises(SetupError, match="not one of 10"):
        judge_both(held, new, ask(held))


def test_a_model_that_fails_on_most_is_unusable_and_on_some_is_just_wrong(tmp_path):
    held, _ = held_out(tmp_path, 10)
    some = ask(held, lambda number: None if number < 4 else answer(0))
    assert sum(said.outcome is Outcome.FAILED for said in some.predictions) == 4
    with pytest.raises(ModelUnusable, match=r"m failed on 6 of 10 photographs: .*out of memory"):
        ask(held, lambda number: None if number < 6 else answer(0))

    def cannot(name):
        raise SetupError("no weights")

    with pytest.raises(ModelUnusable, match="no weights"):
        examine("m", held, cannot, Sampling(), threads=1)


def test_a_test_worlds_own_reader_tells_the_cues(tmp_path):
    held, _ = held_out(tmp_path, 2, read_cues=lambda raw: frozenset({f"length={len(raw)}"}))
    for said in ask(held).predictions:
        assert said.stated_cues == {f"length={len(said.raw)}"}


def test_an_examination_can_be_ended(tmp_path):
    held, _ = held_out(tmp_path, 10)
    told = []

    def on_done(said):
        told.append(said)
        if len(told) == 3:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        ask(held, on_done=on_done)


def test_a_part_is_drawn_by_chance_and_the_same_each_time(tmp_path):
    held, _ = held_out(tmp_path, 10)
    parts = [{truth.id for truth in part_of(held, 4, seed=seed).truths} for seed in (1, 1, 2)]
    assert [len(part) for part in parts] == [4, 4, 4]
    assert parts[0] == parts[1] != parts[2]
    assert part_of(held, 50, seed=1).truths == held.truths
    assert number_of(held.pictures["0007.png"]()) == 7
