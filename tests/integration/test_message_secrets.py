"""What the broker holds of an address with a signature: its name, and nothing that lets anybody in."""

from schema.messages import LOCATE_QUEUE
from tests.support import wait_for
from worker.intake.sources import Submission
from worker.queue.dispatch import Dispatcher
from worker.queue.enqueue import enqueue


def test_messages_carry_no_signature(line):
    uri = "https://anna:hunter2@host.test/a.jpg?id=7&X-Amz-Signature=hunter2"
    enqueue(line.database.engine, [Submission(uri)])
    with line.producer.connection_for_write() as broker:
        assert Dispatcher(line.database.engine, line.producer, depth=8).step(broker) == 1
        channel = broker.default_channel
        message = wait_for(lambda: channel.basic_get(LOCATE_QUEUE), "the message")
        told = f"{message.body!r} {message.headers} {message.properties}"
        channel.basic_ack(message.delivery_tag)
    assert "host.test/a.jpg?id=7" in told
    assert "hunter2" not in told
    [row] = line.jobs().values()
    assert row.uri == uri, "the row keeps what the worker needs"
