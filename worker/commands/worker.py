"""`globetag worker`: works on queued photographs until it is told to stop."""

import signal
import sys
import threading
from contextlib import nullcontext

import click

from worker.assemble import assemble, load_models
from worker.database import open_database
from worker.queue.drain import draining
from worker.settings import load


@click.command()
@click.option(
    "--dispatch/--no-dispatch", default=True, help="Also publish queued jobs to the broker.", show_default=True
)
@click.option(
    "--drain-s", type=float, default=None, help="On SIGTERM, wait this long for work in hand; default: all."
)
def command(dispatch: bool, drain_s: float | None) -> None:
    """Work on queued photographs until stopped.

    Ctrl-C or SIGTERM: takes nothing more, finishes what is in work, stops. A second time: stops at once, and
    what was in work goes back into the queue.
    """
    settings, _ = load()
    stopping = threading.Event()
    at_once = threading.Event()

    def on_signal(*_: object) -> None:
        if stopping.is_set():
            at_once.set()
        stopping.set()

    with (
        open_database(settings) as database,
        load_models(settings, database) as models,
        assemble(settings, database, models, dispatch=dispatch) as worker,
    ):
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, on_signal)
        worker.runner.start()
        untrained = " (UNTRAINED test models: the places mean nothing)" if worker.is_untrained else ""
        click.echo(f"worker {worker.service.worker} is ready: {worker.model.name}{untrained}")
        with draining(worker.app, settings, database.engine) if dispatch else nullcontext():
            while not stopping.wait(1.0):
                if worker.failure is not None:
                    break
        failure = worker.failure
        worker.serving.stop()
        click.echo("draining: finishing what is in work" if failure is None else f"stopping: {failure}", err=True)
        worker.runner.stop(drain_s=drain_s, at_once=at_once)
    sys.exit(0 if failure is None else 1)
