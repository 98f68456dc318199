"""`globetag dispatch`: only the dispatcher, for set-ups where the workers run elsewhere."""

import signal
import threading

import click

from worker.assemble import broker_ready
from worker.database import open_database
from worker.queue.app import make_app
from worker.queue.dispatch import Dispatcher
from worker.queue.drain import draining
from worker.settings import load


@click.command()
def command() -> None:
    """Publish queued photographs to the broker until stopped.

    `globetag worker` does this too, unless told `--no-dispatch`. Several dispatchers may run.
    """
    settings, _ = load()
    with open_database(settings) as database:
        app = make_app(settings, database.url)
        broker_ready(app, settings)
        dispatcher = Dispatcher(database.engine, app, depth=settings.queue_depth)
        thread = threading.Thread(target=dispatcher.run, name="dispatcher")
        stopping = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stopping.set())
        thread.start()
        click.echo("dispatching; Ctrl-C stops")
        with draining(app, settings, database.engine):
            stopping.wait()
        dispatcher.stop()
        thread.join()
