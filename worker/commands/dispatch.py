"""`globetag dispatch`: only the dispatcher, for set-ups where the workers run elsewhere."""

import signal
import threading

import click

from worker.assemble import broker_ready, dispatcher_of
from worker.database import open_database
from worker.events.beside import switch_events, ways_out
from worker.metrics_port import Readiness, new_registry, open_port
from worker.queue.app import make_app
from worker.queue.drain import draining
from worker.queue_figures import in_words, problems, queue_figures
from worker.settings import load


@click.command()
def command() -> None:
    """Publish queued photographs to the broker, and events to those who want them, until stopped.

    `globetag worker` does this too, unless told `--no-dispatch`. Several dispatchers may run.
    """
    settings, _ = load()
    registry = new_registry()
    readiness = Readiness("database and broker are being looked for")
    with open_port(settings, registry, readiness) as is_watched, open_database(settings) as database:
        app = make_app(settings, database.url)
        broker_ready(app, settings)
        dispatcher = dispatcher_of(settings, database, app)
        switch_events(settings, database.engine)
        events = ways_out(settings, database.engine, app)
        thread = threading.Thread(target=dispatcher.run, name="dispatcher")
        stopping = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stopping.set())
        thread.start()
        events.start()
        with (
            draining(app, settings, database.engine),
            queue_figures(settings, database, app, registry if is_watched else None) as broker,
        ):
            readiness.follow(lambda: in_words(problems(database.engine, broker)))
            click.echo("dispatching; Ctrl-C stops")
            stopping.wait()
            readiness.refuse("stopping")
        dispatcher.stop()
        thread.join()
        events.stop()
