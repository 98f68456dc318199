"""`globetag dispatch`: only the dispatcher, for set-ups where the workers run elsewhere."""

import signal
import threading

import click

from worker.assemble import broker_ready, dispatcher_of
from worker.database import open_database
from worker.queue.app import make_app
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
        dispatcher = dispatcher_of(settings, database, app)
        thread = threading.Thread(target=dispatcher.run, name="dispatcher")
        stopping = threading.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stopping.set())
        thread.start()
        click.echo("dispatching; Ctrl-C stops")
        stopping.wait()
        dispatcher.stop()
        thread.join()
