"""The training worker: looks from time to time whether enough new labels have come, and trains when they have.

Celery's beat sends a message, one process at a time acts on it. As everywhere here, the message is a wake-up and
Postgres the truth: the lock of `trainer.cycle.runs` lets one training run at a time, and the row remembers which
message it came from. So a message that is delivered again because a training takes longer than any broker waits
(pgmq: the visibility time-out; RabbitMQ: consumer_timeout) finds its run at work or ended, and goes. It is
acknowledged when the run has ended. That of a killed process comes back, and the run is gone on with.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.beat import EmbeddedService, Scheduler
from celery.exceptions import Reject
from celery.schedules import crontab
from kombu import Exchange, Queue
from sqlalchemy import Engine as SqlEngine

from schema import queries
from schema.messages import TRAIN_QUEUE, TRAIN_TASK, TrainRequest
from schema.reasons import RunState
from trainer.cycle.runs import Asked, Busy, Run, RunInterrupted, take
from worker.errors import MessageError, SetupError
from worker.queue.app import make_app
from worker.queue.broker import uses_pgmq, work_queue
from worker.queue.consumer import Consumer
from worker.settings import Settings

log = logging.getLogger(__name__)

Work = Callable[[Run], None]
"""Works on a run until its row has an end, or says that it was left: `run_cycle` with its plan."""

_TICK_S = 0.25
_POLL_S = 1.0
_WORDS: dict[str, dict[str, Any]] = {
    "hourly": {"minute": 0},
    "nightly": {"minute": 0, "hour": 2},
    "weekly": {"minute": 0, "hour": 2, "day_of_week": "sunday"},
}


class TrainingService:
    """What a training worker does with a message. `handle` is called by its one thread."""

    def __init__(self, settings: Settings, engine: SqlEngine, work: Work) -> None:
        self.stopping = threading.Event()
        self._settings = settings
        self._engine = engine
        self._work = work
        self._idle = threading.Event()
        self._idle.set()

    def handle(self, message_id: str, fields: dict[str, Any]) -> None:
        """Begins a run, or goes on with one; returns when it has ended, or when there is nothing to do.

        Raises `MessageError` for fields that ask for nothing known, and `RunInterrupted` where the run was left
        since the process is to stop.
        """
        try:
            request = TrainRequest.read(fields)
        except ValueError as error:
            raise MessageError(str(error)) from None
        asked = Asked(
            asked_by="schedule",
            base=self._settings.model,
            recipe=request.recipe or self._settings.train_recipe,
            collection=request.collection,
            message_id=message_id,
            settings=training_settings(self._settings),
        )
        self._idle.clear()
        try:
            if self.stopping.is_set():
                raise RunInterrupted("the process is to stop")
            self._take(asked)
        finally:
            self._idle.set()

    def wait_until_idle(self, timeout_s: float) -> bool:
        """True once no run is in work, False after `timeout_s`."""
        return self._idle.wait(timeout_s)

    def _take(self, asked: Asked) -> None:
        try:
            with take(self._engine, asked, stopping=self.stopping) as run:
                if run is None:
                    log.info("message %s was dealt with before", asked.message_id)
                    return
                self._work(run)
                with self._engine.connect() as connection:
                    row = connection.execute(queries.training.TRAINING_RUN, {"id": run.id}).one()
        except Busy as busy:
            log.info("nothing to do: %s", busy)
            return
        log.info("run %d: %s %s", row.id, row.outcome or row.state, row.detail or "")
        if row.state == RunState.QUEUED:
            raise RunInterrupted(str(row.detail))


def training_settings(settings: Settings) -> dict[str, Any]:
    """What a run's row keeps of the settings."""
    return {name: value for name, value in settings.model_dump(mode="json").items() if name.startswith("train_")}


def make_training_app(
    settings: Settings, database_url: str, handle: Callable[[str, dict[str, Any]], None] | None = None
) -> Celery:
    """The worker's Celery application with the training queue and task in place of its own, and beat's schedule.

    Whoever only sends messages leaves `handle` away.
    """
    app = make_app(settings, database_url)
    pgmq = uses_pgmq(settings)
    queue = Queue(TRAIN_QUEUE, Exchange("", type="direct"), routing_key=TRAIN_QUEUE)
    app.conf.update(
        task_default_queue=TRAIN_QUEUE,
        task_queues=[queue if pgmq else work_queue(TRAIN_QUEUE)],
        worker_concurrency=1,
        beat_schedule=_beat_schedule(settings.train_every),
    )
    if pgmq:  # an hour's work may wait a second
        app.conf.broker_transport_options |= {"polling_interval": _POLL_S, "pool_size": 4}

    @app.task(  # type: ignore[untyped-decorator]
        name=TRAIN_TASK, bind=True, shared=False, acks_late=True, ignore_result=True
    )
    def train(self: Any, /, **fields: Any) -> None:
        if handle is None:
            raise Reject("this process is a producer", requeue=True)
        try:
            handle(self.request.id, fields)
        except MessageError as error:
            raise app.refusals.refuse(self.request, error) from error
        except RunInterrupted as interrupted:
            raise Reject(str(interrupted), requeue=True) from interrupted
        except Exception:
            # The row tells how the run stands, and the next look goes on with it: no message need come back.
            log.exception("a look for new labels failed")

    return app


def send_look(app: Celery, **fields: Any) -> str:
    """Asks the training worker to look now. Returns the message's id."""
    return str(app.send_task(TRAIN_TASK, kwargs=fields, queue=TRAIN_QUEUE, ignore_result=True).id)


class TrainingWorker:
    """Runs Celery's worker, with one thread that trains, and beat in threads of this process."""

    def __init__(self, app: Celery, service: TrainingService, *, beat: bool) -> None:
        self._app = app
        self._service = service
        self._beat = EmbeddedService(app, thread=True, scheduler_cls=Scheduler) if beat else None
        self._consumer = Consumer(app, name="training", queues=[TRAIN_QUEUE])

    @property
    def failure(self) -> BaseException | None:
        """What ended the consumer, if it ended by itself."""
        return self._consumer.failure

    def start(self, *, look: bool = True) -> None:
        """Returns when messages are consumed. `look`: looks for new labels, and for a run to go on with, at once.

        Raises `SetupError` where the consumer cannot start.
        """
        self._consumer.start()
        if self.failure is not None:
            raise SetupError(f"the training worker could not start: {self.failure}") from self.failure
        if look:
            send_look(self._app)
        if self._beat is not None and self._app.conf.beat_schedule:
            self._beat.start()

    def stop(self, at_once: threading.Event | None = None) -> bool:
        """Takes nothing more, lets the run stop at its next step and be left, and ends.

        So that whoever comes next goes on with it. Returns False where `at_once` was set before the run stopped.
        """
        if self._beat is not None and self._beat.is_alive():
            self._beat.stop()
        self._consumer.stop_taking()
        self._service.stopping.set()
        while not self._service.wait_until_idle(_TICK_S):
            if at_once is not None and at_once.is_set():
                return False
        self._consumer.end()
        return True


def _beat_schedule(every: str) -> dict[str, Any]:
    """Beat's timetable for the setting; empty for "off". Times of day are UTC."""
    if every == "off":
        return {}
    when = crontab(**_WORDS[every]) if every in _WORDS else float(every)
    return {"look": {"task": TRAIN_TASK, "schedule": when, "options": {"queue": TRAIN_QUEUE}}}
