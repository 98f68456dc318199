"""The Celery application and its one task. One image, one message, one task on the threads pool."""

import logging
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.exceptions import Reject

from schema.messages import LOCATE_QUEUE, LOCATE_TASK
from worker.errors import MessageError
from worker.queue.broker import celery_options, dead_queue, uses_pgmq
from worker.settings import Settings

log = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], None]


def make_app(settings: Settings, database_url: str, handle: Handler | None = None) -> Celery:
    """Returns the application. Producers leave `handle` away; a worker gives what does the work.

    `handle(fields)` gets the message's keyword arguments and returns when the outcome is committed. It raises
    `MessageError` for a message that can never become a job; anything else that it raises returns the message
    to the broker.
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

    @app.task(name=LOCATE_TASK, shared=False, acks_late=True, ignore_result=True)  # type: ignore[untyped-decorator]
    def locate(*args: Any, **fields: Any) -> None:
        if handle is None:
            raise Reject("this process is a producer", requeue=True)
        try:
            if args:
                raise MessageError(f"{LOCATE_TASK} takes keyword arguments only")
            handle(fields)
        except MessageError as error:
            log.error("message refused: %s", error)
            dead_letter(app, settings, LOCATE_QUEUE, LOCATE_TASK, args, fields, error)
            raise Reject(str(error), requeue=False) from error
        except Exception as error:
            log.exception("the outcome could not be stored; the message goes back to the broker")
            raise Reject(str(error), requeue=True) from error

    return app


def declare_queues(app: Celery, settings: Settings) -> None:
    """Makes the queues and their dead-letter queues, where they do not exist yet."""
    with app.connection_for_write() as connection:
        for queue in app.conf.task_queues:
            dead_queue(queue.name, settings).bind(connection.default_channel).declare()
            queue.bind(connection.default_channel).declare()


def dead_letter(
    app: Celery,
    settings: Settings,
    queue: str,
    task: str,
    args: tuple[Any, ...],
    fields: dict[str, Any],
    error: MessageError,
) -> None:
    """Keeps a refused message. RabbitMQ does it by itself; pgmq knows no dead-letter exchange."""
    if not uses_pgmq(settings):
        return
    dead = dead_queue(queue, settings)
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            {"task": task, "args": list(args), "kwargs": fields, "error": str(error)},
            serializer="json",
            routing_key=dead.routing_key,
            exchange="",
            declare=[dead],
        )
