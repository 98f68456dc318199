"""`globetag serve`: the HTTP interface."""

import signal
import sys
import threading

import click

from worker.database import open_database
from worker.errors import SetupError
from worker.http.tokens import make_token
from worker.settings import load


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free one.")
@click.option("--new-token", metavar="NAME", help="Make a token for a caller of this name, and end.")
@click.option("--collection", multiple=True, help="With --new-token: the caller's only collections.")
def command(host: str, port: int, new_token: str | None, collection: tuple[str, ...]) -> None:
    """Take photographs and tell of them over HTTP, until stopped.

    POST /v1/jobs queues, GET /v1/jobs/ID tells what became of it; /openapi.json describes both. Workers and the
    dispatcher run elsewhere. Several of these may run. Without GLOBETAG_HTTP_TOKENS only this machine is served.
    """
    if new_token is not None:
        _show_new_token(new_token, collection)
        return
    from worker.http.server import open_server

    settings, _ = load()
    stopping = threading.Event()
    with open_database(settings) as database, open_server(settings, database, host=host, port=port) as server:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, lambda *_: stopping.set())
        server.start()
        click.echo(f"serving on {host} port {server.port}; Ctrl-C stops")
        while not stopping.wait(1.0):
            if server.ended.is_set():
                break
        server.stop()
        sys.exit(0 if server.failure is None and stopping.is_set() else 1)


def _show_new_token(name: str, collections: tuple[str, ...]) -> None:
    try:
        token, entry = make_token(name, collections)
    except ValueError:
        raise SetupError("a caller's name has 1 to 64 of A-Z a-z 0-9 . _ -") from None
    click.echo("For the caller, shown this once:", err=True)
    click.echo(token)
    click.echo("To be added to GLOBETAG_HTTP_TOKENS, with a space between entries:", err=True)
    click.echo(entry)
