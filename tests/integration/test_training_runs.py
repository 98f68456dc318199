"""Training runs on a real database, and their schedule on real brokers: one at a time, none lost, none twice.

Long because all of it shares the helpers that hold a run at work.
"""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from click.testing import CliRunner
from kombu import Connection, Queue
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from schema.messages import DEAD_SUFFIX, TRAIN_QUEUE, TRAIN_TASK
from schema.reasons import RunOutcome, RunReason
from schema.tables import training_run
from tests.support import ROOT, wait_for
from trainer.commands import train_runs
from trainer.cycle.runs import (
    MAX_LOSSES,
    Asked,
    Busy,
    RunCancelled,
    RunInterrupted,
    RunTaken,
    cancel,
    history,
    look,
    take,
)
from trainer.cycle.schedule import TrainingService, TrainingWorker, make_training_app, send_look
from worker.assemble import broker_ready
from worker.errors import SetupError
from worker.queue.broker import uses_pgmq

PERSON = Asked("person", "base", "tiny")


def scheduled(message_id="m1"):
    return Asked("schedule", "base", "tiny", message_id=message_id)


def rows(database):
    with database.engine.connect() as connection:
        return connection.execute(select(training_run).order_by(training_run.c.id)).all()


def row(database):
    [only] = rows(database)
    return only


HOLD = """
import sys, time
from schema.session import make_engine
from trainer.cycle.runs import Asked, take
with take(make_engine(sys.argv[1]), Asked("schedule", "base", "tiny", message_id=sys.argv[2])) as run:
    run.progress(stage="training", step=40, steps=200)
    print(run.id, flush=True)
    time.sleep(600)
"""


@contextmanager
def held_by_a_process(database, message_id="m1"):
    """A run at work in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, database.url, message_id], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline().strip()
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def lose(database, message_id="m1"):
    """Kills a process in the middle of a run, and waits until Postgres has noticed."""
    with held_by_a_process(database, message_id) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: not look(database.engine).at_work, "the lock of the killed process to be free")


# --- a run and its row ---


def test_a_run_says_at_each_moment_how_it_stands(database):
    assert look(database.engine).open is None
    with take(database.engine, PERSON) as run:
        assert row(database).state == "running"
        assert look(database.engine).at_work
        run.stage("training")
        run.progress(step=3, steps=10, figures={"reward": 0.5, "kl": float("nan"), "high": float("inf")})
        assert row(database).progress == {
            "stage": "training",
            "step": 3,
            "steps": 10,
            "figures": {"reward": 0.5, "kl": None, "high": None},
        }
        run.found(first={"a": 1})
        run.found(second=[2])
        assert run.row.metrics == {"first": {"a": 1}, "second": [2]}
        run.finish(RunOutcome.REFUSED, "no better")
    assert not look(database.engine).at_work
    ended = row(database)
    assert (ended.state, ended.outcome, ended.detail, ended.losses) == ("done", "refused", "no better", 0)
    assert ended.started_at <= ended.heartbeat_at <= ended.finished_at
    assert [each.id for each in history(database.engine)] == [ended.id]


def test_a_run_that_failed_has_its_reason(database):
    with take(database.engine, PERSON) as run:
        run.fail(RunReason.OUT_OF_MEMORY, "CUDA out of memory")
    assert (row(database).state, row(database).reason) == ("failed", "out_of_memory")


def test_the_database_itself_holds_two_open_runs_for_wrong(database):
    open_run = {"asked_by": "person", "base": "b", "recipe": "r"}
    with database.engine.begin() as connection:
        connection.execute(insert(training_run).values(**open_run, state="queued"))
    with pytest.raises(IntegrityError, match="uq_training_run_open"), database.engine.begin() as connection:
        connection.execute(insert(training_run).values(**open_run, state="running"))


# --- one at a time ---


def test_a_second_run_is_refused_and_told_where_the_first_stands(database):
    with take(database.engine, PERSON) as run:
        run.progress(stage="training", step=40, steps=200)
        told = rf"run {run.id} is at work \(at step 40 of 200\): wait, or end it with `globetag train cancel`"
        with pytest.raises(Busy, match=told), take(database.engine, PERSON):
            pass
        run.finish(RunOutcome.REFUSED, "")
    assert len(rows(database)) == 1


def test_of_many_that_come_at_once_one_gets_it(database):
    at_once, done = threading.Barrier(6), threading.Event()

    def come(_):
        at_once.wait(20)
        try:
            with take(database.engine, PERSON) as run:
                done.wait(20)
                run.finish(RunOutcome.REFUSED, "")
                return "ran"
        except Busy:
            return "busy"

    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(come, number) for number in range(6)]
        wait_for(lambda: sum(future.done() for future in futures) == 5, "five to be sent away")
        done.set()
        assert sorted(future.result(20) for future in futures) == ["busy"] * 5 + ["ran"]
    assert len(rows(database)) == 1


def test_a_process_of_its_own_keeps_others_out_as_well(database):
    with held_by_a_process(database), pytest.raises(Busy), take(database.engine, PERSON):
        pass


# --- lost, left, gone on with ---


def test_a_run_whose_process_was_killed_is_gone_on_with(database):
    lose(database)
    before = row(database)
    assert (before.state, look(database.engine).at_work) == ("running", False)
    with take(database.engine, PERSON) as run:
        assert (run.id, run.row.losses, run.row.progress["step"]) == (before.id, 1, 40)
        assert run.row.worker != before.worker
        assert run.is_scheduled, "it stays the run that was asked for"
        run.finish(RunOutcome.REFUSED, "")


def test_a_run_that_loses_its_process_each_time_ends_as_lost(database):
    for number in range(MAX_LOSSES):
        lose(database, f"m{number}")
    assert row(database).losses == MAX_LOSSES - 1
    with take(database.engine, PERSON) as run:
        lost, new = rows(database)
        assert (lost.state, lost.reason) == ("failed", "worker_lost")
        assert lost.detail == f"Its process died {MAX_LOSSES} times, the last time at step 40 of 200."
        assert run.id == new.id
        run.finish(RunOutcome.REFUSED, "")


def test_a_run_that_was_left_is_gone_on_with_and_nothing_is_counted_against_it(database):
    with take(database.engine, PERSON) as run:
        run.leave("interrupted")
        first = run.id
    assert (row(database).state, row(database).finished_at) == ("queued", None)
    with take(database.engine, scheduled()) as run:
        assert (run.id, run.row.losses) == (first, 0)
        run.finish(RunOutcome.REFUSED, "")


def test_who_insists_on_another_recipe_is_told_of_the_run_that_waits(database):
    with take(database.engine, PERSON) as run:
        run.leave("interrupted")
    other = Asked("person", "base", "other", insists=True)
    with (
        pytest.raises(SetupError, match=rf"run {run.id} \(recipe tiny\) is not finished"),
        take(database.engine, other),
    ):
        pass
    assert not look(database.engine).at_work, "the lock was given back"
    with take(database.engine, Asked("person", "base", "tiny", insists=True)) as again:
        assert again.id == run.id
        again.finish(RunOutcome.REFUSED, "")


def test_a_run_for_another_model_is_not_gone_on_with(database):
    with take(database.engine, PERSON) as run:
        run.leave("interrupted")
    with take(database.engine, Asked("person", "other-base", "tiny")) as run:
        run.finish(RunOutcome.REFUSED, "")
    old, new = rows(database)
    assert (old.state, old.reason) == ("failed", "wrong_setup")
    assert "GLOBETAG_MODEL=base" in old.detail
    assert new.base == "other-base"


# --- messages that come again ---


def test_a_message_that_comes_again_starts_nothing(database):
    with take(database.engine, scheduled("m1")) as run:
        with pytest.raises(Busy), take(database.engine, scheduled("m1")):
            pass
        run.fail(RunReason.OUT_OF_MEMORY, "")
    with take(database.engine, scheduled("m1")) as nothing:
        assert nothing is None
    assert len(rows(database)) == 1
    with take(database.engine, scheduled("m2")) as run:
        run.fail(RunReason.OUT_OF_MEMORY, "")


def test_the_message_of_a_killed_process_goes_on_with_its_run(database):
    lose(database, "m1")
    with take(database.engine, scheduled("m1")) as run:
        assert run.row.losses == 1
        run.finish(RunOutcome.REFUSED, "")


def test_looks_that_led_to_nothing_leave_one_row(database):
    with take(database.engine, PERSON) as run:
        run.finish(RunOutcome.REFUSED, "a real one")
    for number in range(4):
        with take(database.engine, scheduled(f"m{number}")) as run:
            run.finish(RunOutcome.SKIPPED, f"skipped: {number} new labels of 100 wanted")
    with take(database.engine, PERSON) as run:
        run.finish(RunOutcome.REFUSED, "another")
    assert [each.detail for each in rows(database)] == [
        "a real one",
        "skipped: 3 new labels of 100 wanted",
        "another",
    ]


# --- cancelling ---


def test_a_run_at_work_is_asked_to_end(database):
    with take(database.engine, PERSON) as run:
        assert not run.is_cancelled()
        stood = cancel(database.engine)
        assert (stood.open.id, stood.at_work) == (run.id, True)
        wait_for(run.is_cancelled, "the flag to be seen")
        with pytest.raises(RunCancelled):
            run.check()
        run.cancelled("cancelled at step 3")
    assert row(database).state == "cancelled"
    assert row(database).cancel_requested_at is not None


def test_a_run_that_nobody_works_on_is_cancelled_at_once(database):
    assert cancel(database.engine).open is None
    lose(database)
    assert cancel(database.engine).at_work is False
    assert row(database).state == "cancelled"
    with take(database.engine, PERSON) as run:
        run.finish(RunOutcome.REFUSED, "")
    assert len(rows(database)) == 2


def test_a_process_that_is_to_stop_interrupts_its_run(database):
    stopping = threading.Event()
    with take(database.engine, PERSON, stopping=stopping) as run:
        run.check()
        stopping.set()
        with pytest.raises(RunInterrupted):
            run.check()
        run.leave("interrupted")


# --- the lock ---


def break_lock(database):
    """Ends the session that holds the lock, as a restart of Postgres does."""
    with database.engine.begin() as connection:
        holders = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1"
        assert connection.execute(text(holders)).all()


def test_a_lock_that_was_lost_with_its_connection_is_taken_again(database):
    with take(database.engine, PERSON, heartbeat_s=0.1) as run:
        break_lock(database)
        wait_for(lambda: look(database.engine).at_work, "the lock to be held again")
        beat = row(database).heartbeat_at
        wait_for(lambda: row(database).heartbeat_at > beat, "another heartbeat")
        run.check()
        with pytest.raises(Busy), take(database.engine, PERSON):
            pass
        run.finish(RunOutcome.REFUSED, "")


def test_a_run_that_another_took_over_in_between_ends_without_touching_it(database):
    with take(database.engine, PERSON, heartbeat_s=2.0) as run:
        break_lock(database)
        wait_for(lambda: not look(database.engine).at_work, "the lock to be free")
        with take(database.engine, PERSON, heartbeat_s=60.0) as other:
            assert other.id == run.id
            wait_for(run.is_cancelled, "the first to notice")
            with pytest.raises(RunTaken):
                run.check()
            other.finish(RunOutcome.REFUSED, "by the other")
    assert (row(database).detail, row(database).losses) == ("by the other", 1)


# --- commands ---


@pytest.fixture
def command(database, tmp_path, monkeypatch):
    """Runs one of the commands on this test's database."""
    monkeypatch.setenv("GLOBETAG_DATABASE_URL", database.url)
    monkeypatch.setenv("GLOBETAG_HOME", str(tmp_path))
    monkeypatch.setenv("GLOBETAG_MODEL", "base")
    monkeypatch.setenv("COLUMNS", "220")

    def call(name, *arguments):
        return CliRunner().invoke(getattr(train_runs, name), arguments)

    return call


def test_status_tells_each_state(command, database):
    assert "there was none yet" in command("status").output
    with held_by_a_process(database) as process:
        said = command("status").output
        assert "run 1: at work" in said
        assert "stage: training, step 40 of 200" in said
        process.kill()
        process.wait()
        wait_for(lambda: not look(database.engine).at_work, "the lock to be free")
    assert "its process is gone; the next training goes on with it" in command("status").output
    with take(database.engine, PERSON) as run:
        run.leave("interrupted")
    assert "left, to be gone on with" in command("status").output
    assert command("cancel").output == "run 1 is cancelled\n"
    assert "the last: run 1, cancelled at " in command("status").output


def test_cancel_without_a_run_is_one_line(command):
    refused = command("cancel")
    assert isinstance(refused.exception, SetupError)
    assert str(refused.exception).startswith("there is no training to cancel")


def test_cancel_tells_a_run_at_work(command, database):
    with take(database.engine, PERSON) as run:
        assert command("cancel").output.startswith("run 1 ends after its current step")
        wait_for(run.is_cancelled, "the flag to be seen")
        assert "asked to end at" in command("status").output
        run.cancelled("")


def test_history_has_one_row_for_each_run(command, database):
    gain = {"value": 0.125, "low": 0.0251, "high": 0.22}
    with take(database.engine, PERSON) as run:
        run.found(verdict={"gain": gain})
        run.finish(RunOutcome.REFUSED, "may be chance")
    with take(database.engine, PERSON) as run:
        run.fail(RunReason.DISK_FULL, "No space left on device")
    said = command("history").output
    assert "+12.5 (+2.5 to +22.0)" in said
    assert "failed: disk_full" in said
    assert said.index("disk_full") < said.index("may be chance"), "the latest first"


def test_now_is_refused_while_another_is_at_work(command, database):
    with held_by_a_process(database):
        refused = command("now")
    assert isinstance(refused.exception, Busy)
    assert "run 1 is at work (at step 40 of 200)" in str(refused.exception)


# --- the schedule, on both brokers ---


class Desk:
    """A training worker whose work is `work(run)`."""

    def __init__(self, settings, database, work):
        self.settings = settings
        self.database = database
        self.service = TrainingService(settings, database.engine, work)
        self.app = make_training_app(settings, database.url, self.service.handle)
        broker_ready(self.app, settings)

    @contextmanager
    def working(self, *, beat=False, look=False):
        worker = TrainingWorker(self.app, self.service, beat=beat)
        worker.start(look=look)
        try:
            yield worker
        finally:
            worker.stop()

    def messages(self, queue=TRAIN_QUEUE):
        """How many the broker holds; on pgmq also those in work."""
        with self.app.connection_for_write() as connection:
            channel = connection.default_channel
            if uses_pgmq(self.settings):
                return int(channel.pgmq.metrics(channel.canonical_queue_name(queue)).queue_length)
            return int(channel.queue_declare(queue, passive=True).message_count)


@pytest.fixture
def training_settings(settings, request):
    """The settings, with the training queues removed from RabbitMQ at the end."""
    yield settings.model_copy(update={"model": "base", "train_recipe": "tiny"})
    if settings.broker_url is not None:
        with Connection(settings.broker_url) as connection:
            for name in (TRAIN_QUEUE, TRAIN_QUEUE + DEAD_SUFFIX):
                Queue(name, channel=connection.default_channel).delete()


def refuse(run):
    run.finish(RunOutcome.REFUSED, "no better")


def test_a_message_starts_a_run_and_is_gone_when_it_has_ended(training_settings, database):
    desk = Desk(training_settings, database, refuse)
    with desk.working():
        message_id = send_look(desk.app, recipe="other", collection="press")
        wait_for(lambda: [each for each in rows(database) if each.state == "done"], "the run to be done")
        wait_for(lambda: desk.messages() == 0, "the message to be acknowledged")
    ended = row(database)
    assert (ended.asked_by, ended.message_id, ended.recipe, ended.collection) == (
        "schedule",
        message_id,
        "other",
        "press",
    )
    assert ended.settings["train_after_labels"] == 500


def test_the_worker_looks_at_its_start(training_settings, database):
    desk = Desk(training_settings, database, refuse)
    with desk.working(look=True):
        wait_for(lambda: [each for each in rows(database) if each.state == "done"], "a run")
    assert row(database).recipe == "tiny"


def test_beat_asks_again_and_again(training_settings, database):
    often = training_settings.model_copy(update={"train_every": "1"})
    desk = Desk(often, database, refuse)
    with desk.working(beat=True):
        wait_for(lambda: len([each for each in rows(database) if each.state == "done"]) >= 3, "three runs")
    starts = [each.started_at for each in rows(database)]
    assert starts[2] - starts[0] > timedelta(seconds=1.5)
    assert len({each.message_id for each in rows(database)}) == len(starts)


def test_beat_asks_nothing_when_it_is_off(training_settings, database):
    off = training_settings.model_copy(update={"train_every": "off"})
    assert make_training_app(off, database.url).conf.beat_schedule == {}
    hourly = training_settings.model_copy(update={"train_every": "hourly"})
    timetable = make_training_app(hourly, database.url).conf.beat_schedule
    assert timetable["look"]["task"] == TRAIN_TASK


def test_messages_that_ask_for_nothing_known_go_to_the_dead_letter_queue(training_settings, database):
    desk = Desk(training_settings, database, refuse)
    with desk.working():
        send_look(desk.app, colour="blue")
        desk.app.send_task(TRAIN_TASK, args=("tiny",), queue=TRAIN_QUEUE)
        wait_for(lambda: desk.messages(TRAIN_QUEUE + DEAD_SUFFIX) == 2, "two dead letters")
        send_look(desk.app)
        wait_for(lambda: [each for each in rows(database) if each.state == "done"], "the worker to go on")
    assert desk.messages() == 0


def test_a_defect_in_a_look_harms_no_later_one(training_settings, database):
    came = []

    def work(run):
        came.append(run.id)
        if len(came) == 1:
            raise RuntimeError("a defect outside of the cycle")
        run.finish(RunOutcome.REFUSED, "")

    desk = Desk(training_settings, database, work)
    with desk.working():
        send_look(desk.app)
        wait_for(lambda: came, "the first look")
        send_look(desk.app)
        wait_for(lambda: [each for each in rows(database) if each.state == "done"], "the second look")
        wait_for(lambda: desk.messages() == 0, "both messages to be acknowledged")
    assert (came, row(database).losses) == ([1, 1], 1)


class Slow:
    """Work that lasts until it is released or told to end."""

    def __init__(self):
        self.release = threading.Event()
        self.runs = []

    def __call__(self, run):
        self.runs.append(run.id)
        while not self.release.wait(0.05):
            try:
                run.check()
            except RunInterrupted:
                run.leave("interrupted at step 7")
                return
            except RunCancelled:
                run.cancelled("cancelled at step 7")
                return
        run.finish(RunOutcome.REFUSED, "")


def test_a_message_that_is_delivered_again_in_mid_training_starts_no_second_one(training_settings, database):
    """As when the visibility time-out of pgmq or the consumer_timeout of RabbitMQ runs out."""
    slow = Slow()
    desk = Desk(training_settings, database, slow)
    with desk.working():
        message_id = send_look(desk.app)
        wait_for(lambda: slow.runs, "the run to be at work")
        second = TrainingService(training_settings, database.engine, slow)
        second.handle(message_id, {})  # another worker gets it: it finds the run at work, and goes
        desk.app.send_task(TRAIN_TASK, task_id=message_id, queue=TRAIN_QUEUE)  # and so does this one, later
        slow.release.set()
        wait_for(lambda: row(database).state == "done", "the run to be done")
        wait_for(lambda: desk.messages() == 0, "both deliveries to be acknowledged")
        second.handle(message_id, {})
    assert len(slow.runs) == 1
    assert len(rows(database)) == 1


@pytest.mark.parametrize("broker_url", [None], ids=["pgmq"])
def test_a_training_outlasts_the_visibility_time_out(training_settings, database):
    slow = Slow()
    desk = Desk(training_settings, database, slow)
    desk.app.conf.broker_transport_options |= {"visibility_timeout": 1}
    with desk.working():
        send_look(desk.app)
        wait_for(lambda: slow.runs, "the run to be at work")
        with database.engine.connect() as connection:
            visible = text("SELECT count(*) FROM pgmq.q_geotag_train WHERE vt <= clock_timestamp()")
            wait_for(lambda: connection.execute(visible).scalar_one() == 1, "the message to be visible again")
        slow.release.set()
        wait_for(lambda: row(database).state == "done", "the run to be done")
        wait_for(lambda: desk.messages() == 0, "no message to be left")
    assert len(slow.runs) == 1
    assert len(rows(database)) == 1


def test_a_worker_that_is_told_to_stop_leaves_its_run_to_the_next(training_settings, database):
    first = Slow()
    desk = Desk(training_settings, database, first)
    with desk.working():
        send_look(desk.app)
        wait_for(lambda: first.runs, "the run to be at work")
    left = row(database)
    assert (left.state, left.detail) == ("queued", "interrupted at step 7")
    assert desk.messages() == 1, "its message waits for the next worker"
    second = Slow()
    second.release.set()
    desk = Desk(training_settings, database, second)
    with desk.working():
        wait_for(lambda: row(database).state == "done", "the next worker to go on with it")
        wait_for(lambda: desk.messages() == 0, "its message to be acknowledged")
    assert (second.runs, row(database).losses) == (first.runs, 0)


def test_a_scheduled_run_is_cancelled_by_a_person(training_settings, database):
    slow = Slow()
    desk = Desk(training_settings, database, slow)
    with desk.working():
        send_look(desk.app)
        wait_for(lambda: slow.runs, "the run to be at work")
        assert cancel(database.engine).at_work
        wait_for(lambda: row(database).state == "cancelled", "the run to end")
        wait_for(lambda: desk.messages() == 0, "its message to be acknowledged")
    assert row(database).detail == "cancelled at step 7"


def test_a_look_while_a_person_trains_finds_it_busy_and_goes(training_settings, database):
    desk = Desk(training_settings, database, refuse)
    with take(database.engine, Asked("person", "base", "tiny")) as run, desk.working():
        send_look(desk.app)
        wait_for(lambda: desk.messages() == 0, "the look to be over")
        run.finish(RunOutcome.REFUSED, "by hand")
    assert row(database).detail == "by hand"
