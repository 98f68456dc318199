"""Brokers that lose everything, and workers that quarrel over one: what ends is seen, what was lost is remade."""

import logging
import os
import subprocess
import sys
import threading

import pytest
from kombu import Connection, Queue
from kombu.message import Message
from sqlalchemy import text

from schema.messages import DEAD_SUFFIX, LOCATE_QUEUE
from tests.integration.test_queue import Hold
from tests.support import ON_PGMQ, ON_RABBITMQ, ROOT, wait_for, write_pictures
from worker.assemble import dispatcher_of
from worker.queue.app import make_app
from worker.queue.broker import BROKER_ERRORS, waiting
from worker.queue.consumer import Consumer, ConsumerEnded

DEAD_QUEUE = LOCATE_QUEUE + DEAD_SUFFIX


class Broken:
    """A channel whose connection has ended."""

    no_ack_consumers = None

    def basic_ack(self, *_args, **_options):
        raise ConnectionError("connection already closed")


def test_two_workers_of_one_machine_work_side_by_side(line, tmp_path):
    """While one has its threads full the other does the rest."""
    line.enqueue(write_pictures(tmp_path / "pictures", 40))
    hold = Hold()
    with line.working(hold):
        wait_for(lambda: hold.count == line.settings.threads, "every thread at work")
        environment = os.environ | {
            "GLOBETAG_DATABASE_URL": line.database.url,
            "GLOBETAG_BROKER_URL": line.settings.broker_url or "",
        }
        command = [sys.executable, "-m", "benchmarks.faults.null_worker", "0.001"]
        other = subprocess.Popen(command, cwd=ROOT, env=environment)
        try:
            wait_for(lambda: line.states().get("done", 0) == 32, "the other worker's share", timeout_s=50)
            other.terminate()
            assert other.wait(60) == 0
        finally:
            hold.release.set()
            other.kill()
            other.wait(30)
        line.wait_until_settled(40)
    assert line.states() == {"done": 40}
    assert {row.attempts for row in line.jobs().values()} == {1}


@pytest.mark.rabbitmq
def test_a_consumer_that_cannot_consume_says_so(settings, database, rabbitmq):
    """Celery only writes it into the log: a worker without a consumer would live on and do nothing."""
    mine = settings.model_copy(update={"broker_url": rabbitmq})
    consumer = Consumer(make_app(mine, database.url, lambda _: None), name="locked-out", queues=[LOCATE_QUEUE])
    with Connection(rabbitmq) as another:
        locked = Queue(LOCATE_QUEUE, exclusive=True, durable=False, auto_delete=True)
        locked.bind(another.default_channel).declare()
        consumer.start()
        wait_for(lambda: consumer.failure, "the failure")
        assert isinstance(consumer.failure, ConsumerEnded)
        consumer.end(30)


@ON_RABBITMQ
def test_queues_that_the_broker_has_lost_are_made_again_with_their_dead_letter_queue(line, tmp_path):
    with line.producer.connection_for_write() as broker:
        for name in (LOCATE_QUEUE, DEAD_QUEUE):
            Queue(name, channel=broker.default_channel).delete()
        with pytest.raises(BROKER_ERRORS):
            waiting(broker, LOCATE_QUEUE)
    line.enqueue(write_pictures(tmp_path / "pictures", 5))
    dispatcher = dispatcher_of(line.settings, line.database, line.producer)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        wait_for(lambda: all(row.published_at for row in line.jobs().values()), "five messages")
    finally:
        dispatcher.stop()
        thread.join(30)
    assert not thread.is_alive()
    assert wait_for(line.messages, "the messages in the broker") == 5
    assert line.messages(DEAD_QUEUE) == 0, "it is there"


@ON_PGMQ
@pytest.mark.parametrize("settle", ["ack", "requeue"])
def test_settling_a_message_after_its_connection_has_ended_is_no_error(line, settle):
    """Threads still have messages in hand when a connection breaks. The message is kept, and comes again."""
    with line.producer.connection_for_write() as connection:
        channel = connection.default_channel
        connection.Producer(channel).publish({"n": 1}, routing_key=LOCATE_QUEUE, exchange="")
        message = channel.basic_get(LOCATE_QUEUE)
    getattr(message, settle)()
    assert line.messages() == 1


@ON_PGMQ
@pytest.mark.parametrize("settle", ["ack", "reject", "requeue"])
def test_a_message_that_the_database_cannot_settle_leaves_room_for_the_next(line, settle):
    """The loop that reads may notice nothing, and would wait for room that never comes."""
    with line.producer.connection_for_write() as connection:
        channel = connection.default_channel
        channel.basic_qos(0, 1, False)
        connection.Producer(channel).publish({"n": 1}, routing_key=LOCATE_QUEUE, exchange="")
        message = channel.basic_get(LOCATE_QUEUE)
        assert not channel.qos.can_consume()
        with line.database.engine.begin() as elsewhere:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            elsewhere.execute(text(others + " AND datname = current_database()"))
        with pytest.raises(BROKER_ERRORS):
            getattr(message, settle)()
        assert channel.qos.can_consume()
    assert line.messages() == 1


def test_a_message_that_cannot_be_acknowledged_is_one_line_in_the_log(caplog):
    caplog.set_level(logging.INFO)
    message = Message(body="", channel=Broken(), delivery_tag=7)
    message.ack_log_error(logging.getLogger("celery.worker.request"), (ConnectionError,))
    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("INFO", None)
    assert "Couldn't ack 7" in record.getMessage()
