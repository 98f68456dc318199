"""The training worker: looks from time to time whether enough new labels have come, and trains when they have.

Celery's beat sends a message, one process at a time acts on it. As everywhere here, the message is a wake-up and
Postgres the truth: the lock of `trainer.runs` lets one training run at a time, and the row remembers which message
it came from. So a message that is delivered again because a training takes longer than any broker waits (pgmq: the
visibility time-out; RabbitMQ: consumer_timeout) finds its run at work or ended, and goes. It is acknowledged when
the run has ended. That of a killed process comes back, and the run is gone on with.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.app.trace import setup_worker_optimizations
from celery.beat import EmbeddedService, Scheduler
from celery.exceptions import Reject
from celery.schedules import crontab
from celery.worker import state as celery_state
from kombu import Exchange, Queue
from sqlalchemy import Engine as SqlEngine

from schema import queries
from schema.messages import TRAIN_QUEUE, TRAIN_TASK, TrainRequest
from schema.reasons import RunState
from trainer.runs import Asked, Busy, Run, RunInterrupted, take
from worker.errors import MessageError, SetupError
from worker.queue.app import make_app
from worker.queue.broker import dead_queue, uses_pgmq, work_queue
from worker.settings import Settings

log = logging.getLogger(__name__)

Work = Callable[[Run], None]
"""Works on a run until its row has an end, or says that it was left: `trainer.cycle.run_cycle` with its plan."""

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
                    row = connection.execute(queries.TRAINING_RUN, {"id": run.id}).one()
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
    def train(self: Any, *args: Any, **fields: Any) -> None:
        if handle is None:
            raise Reject("this process is a producer", requeue=True)
        try:
            if args:
                raise MessageError(f"{TRAIN_TASK} takes keyword arguments only")
            handle(self.request.id, fields)
        except MessageError as error:
            log.error("message refused: %s", error)
            _dead_letter(app, settings, args, fields, error)
            raise Reject(str(error), requeue=False) from error
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
        self._controller: Any = None
        self._thread = threading.Thread(target=self._consume, name="celery", daemon=True)
        self._ready = threading.Event()
        self.failure: BaseException | None = None
        """What ended the consumer, if it ended by itself."""

    def start(self, *, look: bool = True) -> None:
        """Returns when messages are consumed. `look`: looks for new labels, and for a run to go on with, at once.

        Raises `SetupError` where the consumer cannot start.
        """
        self._thread.start()
        self._ready.wait()
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
        consumer = self._controller.consumer if self._controller is not None else None
        if consumer is not None and self.failure is None:
            consumer.call_soon(consumer.cancel_task_queue, TRAIN_QUEUE)
        self._service.stopping.set()
        while not self._service.wait_until_idle(_TICK_S):
            if at_once is not None and at_once.is_set():
                return False
        celery_state.should_stop = 0
        self._thread.join()
        celery_state.should_stop = None
        return True

    def _on_ready(self, _: Any) -> None:
        hub = self._controller.hub
        if hub is not None:  # RabbitMQ: its loop may sleep ten seconds before it sees that it is to stop
            hub.call_repeatedly(_TICK_S, lambda: None)
        self._ready.set()

    def _consume(self) -> None:
        try:
            setup_worker_optimizations(self._app, "training")
            self._controller = self._app.WorkController(
                app=self._app,
                pool_cls="threads",
                ready_callback=self._on_ready,
                without_gossip=True,
                without_mingle=True,
                without_heartbeat=True,
                quiet=True,
            )
            self._controller.start()
        except BaseException as error:
            self.failure = error
            log.debug("the consumer ended", exc_info=True)
        finally:
            self._ready.set()


def _beat_schedule(every: str) -> dict[str, Any]:
    """Beat's timetable for the setting; empty for "off". Times of day are UTC."""
    if every == "off":
        return {}
    when = crontab(**_WORDS[every]) if every in _WORDS else float(every)
    return {"look": {"task": TRAIN_TASK, "schedule": when, "options": {"queue": TRAIN_QUEUE}}}


def _dead_letter(
    app: Celery, settings: Settings, args: tuple[Any, ...], fields: dict[str, Any], error: MessageError
) -> None:
    """Keeps a refused message. RabbitMQ does it by itself; pgmq knows no dead-letter exchange."""
    if not uses_pgmq(settings):
        return
    dead = dead_queue(TRAIN_QUEUE, settings)
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            {"task": TRAIN_TASK, "args": list(args), "kwargs": fields, "error": str(error)},
            serializer="json",
            routing_key=dead.routing_key,
            exchange="",
            declare=[dead],
        )
