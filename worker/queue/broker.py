"""The broker: RabbitMQ, or the database itself through pgmq. What differs between the two stands here alone."""

from typing import Any

import psycopg
from amqp.exceptions import AMQPError
from kombu import Connection, Exchange, Queue
from kombu.exceptions import KombuError
from sqlalchemy.engine import make_url

from schema.messages import DEAD_SUFFIX, LOCATE_QUEUE
from worker.settings import Settings

BROKER_ERRORS = (KombuError, AMQPError, psycopg.Error, OSError)
"""What a broker that is down, refuses or breaks off raises, whichever it is."""

_PGMQ_OPTIONS = {
    "init_extension": False,  # worker.database installs its SQL; no extension is needed
    # The transport waits for a notification also while its prefetch is full, when none can come: a worker would
    # idle for a whole interval after each batch. A short plain wait is quicker and costs 50 cheap reads a second.
    "use_notify": False,
    "polling_interval": 0.02,
    "wait_time_seconds": 0,
    "visibility_timeout": 1800,
}


def uses_pgmq(settings: Settings) -> bool:
    return settings.broker_url is None or settings.broker_url.startswith("pgmq")


def celery_options(settings: Settings, database_url: str) -> dict[str, Any]:
    """Returns Celery's settings for the broker: URL, transport options, queues."""
    if uses_pgmq(settings):
        return {
            "broker_url": "pgmq://localhost",  # the address that counts is conn_string
            "broker_transport": "worker.queue.transport:Transport",
            "broker_transport_options": _PGMQ_OPTIONS
            | {
                "conn_string": pgmq_conninfo(database_url),
                "pool_size": settings.threads + 4,
            },
            "task_queues": [Queue(LOCATE_QUEUE, Exchange("", type="direct"), routing_key=LOCATE_QUEUE)],
        }
    return {
        "broker_url": settings.broker_url,
        "broker_transport_options": {"confirm_publish": True},
        "task_default_queue_type": "quorum",
        "worker_detect_quorum_queues": True,
        "task_queues": [work_queue(LOCATE_QUEUE)],
    }


def work_queue(name: str) -> Queue:
    """A quorum queue on RabbitMQ whose refused messages go to its dead-letter queue.

    Its exchange has its name and is a topic exchange: Celery's delayed delivery on quorum queues wants one.
    Producers may as well use the default exchange, which reaches every queue by its name.
    """
    return Queue(
        name,
        Exchange(name, type="topic"),
        routing_key=name,
        durable=True,
        queue_arguments={
            "x-queue-type": "quorum",
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": name + DEAD_SUFFIX,
        },
    )


def dead_queue(name: str, settings: Settings) -> Queue:
    """The dead-letter queue of `name`: durable, read by people."""
    arguments = {} if uses_pgmq(settings) else {"x-queue-type": "quorum"}
    dead = name + DEAD_SUFFIX
    return Queue(dead, Exchange("", type="direct"), routing_key=dead, durable=True, queue_arguments=arguments)


def waiting(connection: Connection, queue: str) -> int:
    """How many messages wait in the broker for a worker, without those in work."""
    channel = connection.default_channel
    if connection.transport.driver_type == "pgmq":
        return int(channel.pgmq.metrics(channel.canonical_queue_name(queue)).queue_visible_length)
    return int(channel.queue_declare(queue, passive=True).message_count)


def pgmq_conninfo(database_url: str) -> str:
    """`key=value` form of a URL, which the pgmq client takes apart and puts together again without quoting.

    So each value is quoted twice: once for the client's parser, once for libpq's.
    """
    url = make_url(database_url)
    fields = {
        "host": url.host or url.query.get("host"),
        "port": url.port or url.query.get("port") or 5432,
        "user": url.username or "postgres",
        "password": url.password or "unset",  # the client insists on one; a trusting server ignores it
        "dbname": url.database,
    }
    return " ".join(f"{key}={_quoted(_quoted(str(value)))}" for key, value in fields.items() if value)


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
