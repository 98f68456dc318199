"""What a worker's threads wait for never keeps its end waiting."""

import threading
import time

import pytest

from schema.messages import JOB_CHANNEL, LOCATE_QUEUE
from worker.queue.listening import hears, listening

LONG_S = 120.0


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_a_wait_for_messages_on_pgmq_is_never_so_long_that_a_stop_is_not_seen(line):
    """Celery's loop asks to wait for two seconds, and is asked to stop only between two waits."""
    queue = line.producer.amqp.queues[LOCATE_QUEUE]
    with (
        line.producer.connection_for_read() as connection,
        connection.Consumer([queue], callbacks=[lambda _body, _message: None]),
    ):
        began_s = time.monotonic()
        with pytest.raises(TimeoutError):
            connection.drain_events(timeout=LONG_S)
    assert time.monotonic() - began_s < LONG_S / 4


@pytest.mark.parametrize("broker_url", ["pgmq"], indirect=True)
def test_who_listens_hears_a_notification_a_stop_and_nothing_else(line):
    stopping = threading.Event()
    with listening(line.database.engine, JOB_CHANNEL) as notifications:
        assert not hears(notifications, stopping, 0.01)
        with line.database.engine.begin() as connection:
            connection.exec_driver_sql(f'NOTIFY "{JOB_CHANNEL}"')
        assert hears(notifications, stopping, LONG_S)
        began_s = time.monotonic()
        threading.Timer(0.05, stopping.set).start()
        assert not hears(notifications, stopping, LONG_S)
    assert time.monotonic() - began_s < LONG_S / 4
