"""`globetag demo`: the whole line on drawn photographs, with nothing to install or to download."""

import sys

import click

from worker import exit_codes
from worker.commands.models import use_test_models
from worker.commands.run import run
from worker.settings import load


@click.command()
def command() -> None:
    """Show the whole thing on drawn photographs, with small UNTRAINED models.

    The photographs with a camera position are placed by it. What the untrained models say of the others is
    noise, and is marked so everywhere: the demo shows the plumbing, not the accuracy. Three files are broken on
    purpose. Where a model is chosen already, that one is used.
    """
    from atlas.photographs import write_photographs

    settings, origin = load()
    if origin["model"] == "default" and origin["clip"] == "default":
        settings = use_test_models(settings)
    folder = settings.home / "demo-photographs"
    write_photographs(folder)
    code = run(settings, (str(folder),), collection="demo")
    if code == exit_codes.SOME_FAILED:
        click.echo("the failures above are part of the demo: each has its reason")
        code = exit_codes.DONE
    sys.exit(code)
