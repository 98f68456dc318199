"""The command `globetag`. Each command is one file in `worker/commands`, imported when it is called.

Rooms that stand on the worker, such as the trainer, bring commands along as entry points of the group
`globetag.commands`, so that the worker need not know of them.

Exit codes: 0 all is done; 1 the set-up is wrong (one line says what to do); 2 wrong usage; 3 finished, but some
photographs failed; 130 interrupted, nothing lost.
"""

import importlib
import importlib.metadata
import logging
import sys
import warnings

import click

from worker import exit_codes
from worker.errors import SetupError

_COMMANDS = {
    "run": "Place the photographs of folders, files, manifests; work until done; report.",
    "enqueue": "Put photographs into the queue for workers to place.",
    "worker": "Work on queued photographs until stopped.",
    "dispatch": "Publish queued photographs to the broker until stopped.",
    "ingress": "Take in what other programs ask for, until stopped.",
    "serve": "Take photographs and tell of them over HTTP, until stopped.",
    "status": "Show how far everything is.",
    "trace": "Tell one job's whole story.",
    "retry": "Put failed photographs back into the queue.",
    "dead": "List, show, replay or drop messages that never became jobs.",
    "export": "Write places and reasons as CSV, GeoJSON or JSON lines.",
    "cancel": "Take queued photographs back.",
    "collection": "Show or set what a collection asks of its places; pause it, or let it go on.",
    "conflicts": "List what contradicts each other about a photograph.",
    "label": "Set the known place of a photograph.",
    "forget": "Erase photographs and all that was found out about them, for good.",
    "db": "The database: its address, its schema, start and stop of the embedded one.",
    "models": "Show, choose, promote and roll back models.",
    "webhook": "Have events posted to an address, signed.",
    "settings": "Show all settings and where each comes from.",
}


class _LazyGroup(click.Group):
    """Knows its commands by name and one line; imports one only when it is called."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [*_COMMANDS, *sorted(_foreign().names)]

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _COMMANDS:
            command = importlib.import_module(f"worker.commands.{cmd_name}").command
        elif cmd_name in _foreign().names:
            command = _foreign()[cmd_name].load()
        else:
            return None
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        lines = dict(_COMMANDS)
        for name in sorted(_foreign().names):
            command = self.get_command(ctx, name)
            assert command is not None
            lines[name] = command.get_short_help_str(limit=100)
        with formatter.section("Commands"):
            formatter.write_dl(list(lines.items()))


def _foreign() -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group="globetag.commands")


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-v", "--verbose", count=True, help="More of what happens inside; twice for everything.")
@click.version_option(package_name="globetag")
def cli(verbose: int) -> None:
    """Globetag places the photographs of an archive: where was it taken, how sure, and why.

    With no settings at all it brings its own Postgres along (in .globetag/). See `globetag settings`.

    Exit codes: 0 done, 1 set-up is wrong, 2 wrong usage, 3 some photographs failed, 130 interrupted.
    """
    _set_up_logging(verbose)


def main() -> None:
    """Entry point: turns the errors that an operator can mend into one line."""
    try:
        cli.main(standalone_mode=False)
    except SetupError as error:
        click.echo(f"globetag: {error}", err=True)
        sys.exit(exit_codes.SETUP_IS_WRONG)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(exit_codes.INTERRUPTED)


def _set_up_logging(verbose: int) -> None:
    level = {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for chatty in (
        "celery.app.trace",
        "PIL",
        "exifread",
        "httpx",
        "httpcore",
        "botocore",
        "urllib3",
        "psycopg.pool",
        "pgmq",
        "amqp",
    ):
        logging.getLogger(chatty).setLevel(max(level, logging.ERROR if verbose < 2 else logging.INFO))
    if verbose < 2:
        warnings.filterwarnings("ignore", module=r"platformdirs|pgmq|kombu\.transport\.pgmq")


if __name__ == "__main__":
    main()
