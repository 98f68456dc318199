"""A database and a broker with an intake on them, and the ways to send it something."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu import Connection, Exchange, Producer
from sqlalchemy import func, select, text

from schema.messages import DEAD_SUFFIX, INGRESS_QUEUE
from schema.session import make_engine
from schema.tables import collection, dead_message, job, submission
from tests.support import wait_for
from worker.database import Database
from worker.ingress.ingress import Ingress, broker_ready
from worker.ingress.parts import Collections
from worker.queue.broker import uses_pgmq
from worker.settings import Settings

DEAD_QUEUE = INGRESS_QUEUE + DEAD_SUFFIX


class IngressLine:
    """What a test needs of `geotag.ingress`, the same on both brokers."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings = settings
        self.database = database
        self.on_pgmq = uses_pgmq(settings)
        broker_ready(settings, database.url)

    def send(self, *bodies: Any, content_type: str = "application/json", headers: Any = None) -> None:
        """Sends messages; bytes as they are, all else as JSON. On pgmq in kombu's envelope."""
        if self.on_pgmq:
            self._send_rows(bodies, content_type, headers or {})
            return
        # Unconfirmed, some would be lost: a quorum queue that was just made does not take all that it is handed.
        with Connection(self.settings.broker_url, transport_options={"confirm_publish": True}) as connection:
            producer = Producer(connection.default_channel, Exchange(INGRESS_QUEUE, type="topic"))
            for body in bodies:
                producer.publish(
                    raw(body),
                    content_type=content_type,
                    content_encoding="utf-8",
                    headers=headers or {},
                    routing_key="whatever",
                    message_id=str(uuid.uuid4()),
                )

    def _send_rows(self, bodies: Any, content_type: str, headers: Any) -> None:
        with self.database.engine.begin() as connection:
            for body in bodies:
                envelope = {
                    "body": raw(body).decode("latin-1"),
                    "content-type": content_type,
                    "headers": headers,
                    "properties": {"message_id": str(uuid.uuid4())},
                }
                self.send_row(connection, json.dumps(envelope))

    def send_row(self, connection: Any, message: str) -> None:
        """Puts a JSON value into the embedded broker's queue, as any program with SQL can."""
        connection.execute(
            text("SELECT pgmq.send('geotag_ingress', CAST(:message AS jsonb))"), {"message": message}
        )

    @contextmanager
    def taking_in(self, collections: Collections | None = None) -> Iterator[Ingress]:
        """An intake that runs; stopped at the end."""
        engine = make_engine(self.database.url)
        ingress = Ingress(self.settings, engine, collections or Collections())
        ingress.start()
        try:
            yield ingress
        finally:
            ingress.stop()
            engine.dispose()
            assert not ingress.failed.is_set()

    def waiting(self, queue: str = INGRESS_QUEUE) -> int:
        """How many messages the broker holds, on RabbitMQ without those that were delivered and not settled."""
        if self.on_pgmq:
            name = queue.replace(".", "_")
            with self.database.engine.connect() as connection:
                return int(connection.execute(text(f"SELECT count(*) FROM pgmq.q_{name}")).scalar_one())
        with Connection(self.settings.broker_url) as connection:
            return int(connection.default_channel.queue_declare(queue, passive=True).message_count)

    def jobs(self) -> dict[str, Any]:
        """The jobs by uri, with the names of their collections."""
        joined = select(job, collection.c.name.label("collection")).join_from(job, collection)
        with self.database.engine.connect() as connection:
            return {row.uri: row for row in connection.execute(joined)}

    def dead(self) -> list[Any]:
        """What was refused, the oldest first."""
        with self.database.engine.connect() as connection:
            return list(connection.execute(select(dead_message).order_by(dead_message.c.id)))

    def submissions(self) -> list[Any]:
        """The rows of `submission`."""
        with self.database.engine.connect() as connection:
            return list(connection.execute(select(submission).order_by(submission.c.id)))

    def execute(self, statement: str, **parameters: Any) -> None:
        """Runs a statement as the owner of the database."""
        with self.database.engine.begin() as connection:
            connection.execute(text(statement), parameters)

    def wait_for_jobs(self, count: int) -> dict[str, Any]:
        """Returns the jobs by uri once there are so many."""
        wait_for(lambda: self.job_count() >= count, f"{count} jobs")
        return self.jobs()

    def job_count(self) -> int:
        """How many jobs there are."""
        with self.database.engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(job)).scalar_one())


def raw(body: Any) -> bytes:
    """A body as it goes out."""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def s3_record(
    key: str, *, etag: str = "aa", sequencer: str = "0001", name: str = "ObjectCreated:Put"
) -> dict[str, Any]:
    """One event of S3, as AWS writes it."""
    return {
        "eventSource": "aws:s3",
        "eventName": name,
        "s3": {"bucket": {"name": "pictures"}, "object": {"key": key, "eTag": etag, "sequencer": sequencer}},
    }
