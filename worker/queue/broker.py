"""The broker: RabbitMQ, or the database itself through pgmq. What differs between the two stands here alone."""

from typing import Any

import psycopg
from amqp.exceptions import AMQPError
from kombu import Connection, Exchange, Queue
from kombu.exceptions import KombuError
from sqlalchemy.engine import make_url

from schema.messages import DEAD_SUFFIX, INGRESS_QUEUE, LANES, LOCATE_QUEUE
from schema.session import NOTICE_A_DEAD_CABLE
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

_MOST_SETTLING = 32
"""So many threads settle their messages at once, each on a connection; others wait some milliseconds. A worker
with hundreds of threads would use up the hundred connections that Postgres allows by default."""


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
                "pool_size": min(settings.threads, _MOST_SETTLING) + 4,
            },
            "task_queues": [Queue(name, Exchange("", type="direct"), routing_key=name) for name in LANES.values()],
        }
    return {
        "broker_url": settings.broker_url,
        "broker_transport_options": {"confirm_publish": True},
        "task_default_queue_type": "quorum",
        "worker_detect_quorum_queues": True,
        "task_queues": [work_queue(name) for name in LANES.values()],
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
            "x-dead-letter-routing-key": dead_name(name),
        },
    )


def sending_queue(name: str, settings: Settings) -> Queue:
    """The work queue `name`, for whoever puts a message into it by its name."""
    if uses_pgmq(settings):
        return Queue(name, Exchange("", type="direct"), routing_key=name)
    return work_queue(name)


def ingress_queue(settings: Settings) -> Queue:
    """The queue of foreign messages. On RabbitMQ whatever comes to its exchange gets in, by any routing key.

    So a producer needs no more than the right to write to that exchange, and reaches no other queue.
    """
    queue = sending_queue(INGRESS_QUEUE, settings)
    if not uses_pgmq(settings):
        queue.routing_key = "#"
    return queue


def dead_name(name: str) -> str:
    """The name of the dead-letter queue of `name`. Both lanes have one together."""
    return (LOCATE_QUEUE if name in LANES.values() else name) + DEAD_SUFFIX


def dead_queue(name: str, settings: Settings) -> Queue:
    """The dead-letter queue of `name`: durable, read by people."""
    arguments = {} if uses_pgmq(settings) else {"x-queue-type": "quorum"}
    dead = dead_name(name)
    return Queue(dead, Exchange("", type="direct"), routing_key=dead, durable=True, queue_arguments=arguments)


def waiting(connection: Connection, queue: str) -> int:
    """How many messages wait in the broker for a worker, without those in work."""
    channel = connection.default_channel
    if connection.transport.driver_type == "pgmq":
        return int(channel.pgmq.metrics(channel.canonical_queue_name(queue)).queue_visible_length)
    return int(channel.queue_declare(queue, passive=True).message_count)


def pgmq_conninfo(database_url: str) -> str:
    """`key=value` form of a URL, which the pgmq client takes apart and puts together again without quoting.

    So each value is quoted twice: once for the client's parser, once for libpq's. The client keeps the five fields
    of an address and loses all others (time-outs, `sslmode`); so these ride in the last of the five.
    """
    url = make_url(database_url)
    others = {key: value for key, value in url.query.items() if key not in {"host", "port"}}
    fields = {
        "host": url.host or url.query.get("host"),
        "port": url.port or url.query.get("port") or 5432,
        "user": url.username or "postgres",
        "password": url.password or "unset",  # the client insists on one; a trusting server ignores it
    }
    last = {"dbname": url.database or "", **NOTICE_A_DEAD_CABLE, **others}
    libpq = {key: _quoted(str(value)) for key, value in fields.items() if value}
    libpq["dbname"] = " ".join(f"{key}={_quoted(str(value))}" for key, value in last.items()).removeprefix(
        "dbname="
    )
    return " ".join(f"{key}={_quoted(value)}" for key, value in libpq.items())


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
