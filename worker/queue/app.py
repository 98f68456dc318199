"""The Celery application and its one task. One image, one message, one task on the threads pool."""

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.exceptions import Reject
from sqlalchemy import Engine

from schema.messages import LOCATE_QUEUE, LOCATE_TASK
from schema.reasons import MessageReason
from worker.errors import Draining, MessageError
from worker.events.publisher import events_exchange
from worker.queue.broker import celery_options, dead_queue
from worker.queue.refusals import Refusals
from worker.settings import Settings

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], None]


def make_app(
    settings: Settings, database_url: str, handle: Handler | None = None, *, engine: Engine | None = None
) -> Celery:
    """Returns the application. Producers leave `handle` away; a worker gives what does the work.

    `engine`: for keeping refused messages; without it each is kept over a connection of its own.

    `handle(fields)` gets the message's keyword arguments and returns when the outcome is committed. It raises
    `MessageError` for a message that can never become a job, and `Draining` when it begins none any more; anything
    else that it raises returns the message to the broker, too.
    """
    app = Celery("globetag", set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        result_serializer="json",
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_default_queue=LOCATE_QUEUE,
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_pool="threads",
        worker_consumer="worker.queue.careful:CarefulConsumer",
        worker_concurrency=settings.threads,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_enable_soft_shutdown_on_idle=False,
        broker_connection_retry_on_startup=False,
        broker_connection_max_retries=None,
        # Whoever may write to the broker could shut workers down; two on one machine would quarrel about the queue
        # of that name, as would a worker with its own broken connection; and pgmq would get a table for each.
        worker_enable_remote_control=False,
        event_queue_exclusive=True,
        **celery_options(settings, database_url),
    )

    app.refusals = Refusals(app, settings, database_url if engine is None else engine)

    @app.task(  # type: ignore[untyped-decorator]
        name=LOCATE_TASK, bind=True, shared=False, acks_late=True, ignore_result=True
    )
    def locate(self: Any, /, **fields: Any) -> None:
        try:
            try:
                if handle is None:
                    raise MessageError(f"{LOCATE_TASK} is not worked on here", MessageReason.UNKNOWN_TASK)
                handle(fields)
            except MessageError as error:
                raise app.refusals.refuse(self.request, error) from error
        except Reject:
            raise
        except Draining as error:
            raise Reject("the worker stops", requeue=True) from error
        except Exception as error:
            log.exception("the outcome could not be stored; the message goes back to the broker")
            raise Reject(str(error), requeue=True) from error

    return app


def declare_queues(app: Celery, settings: Settings) -> None:
    """Makes the queues, their dead-letter queues and the exchange for events, where they do not exist yet."""
    with app.connection_for_write() as connection:
        events_exchange(connection.default_channel).declare()
        for dead in {dead_queue(queue.name, settings).name: queue for queue in app.conf.task_queues}.values():
            dead_queue(dead.name, settings).bind(connection.default_channel).declare()
        for queue in app.conf.task_queues:
            queue.bind(connection.default_channel).declare()
