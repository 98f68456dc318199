"""`globetag settings`: every setting, its value, its origin."""

import click
from rich.console import Console
from rich.table import Table

from worker.http.tokens import read_tokens
from worker.secrets import HIDDEN, without_password
from worker.settings import describe, load


@click.command()
def command() -> None:
    """Show all settings and where each comes from. Passwords are hidden."""
    settings, origin = load()
    table = Table(title="Settings", title_justify="left")
    for heading in ("setting", "value", "from", "meaning"):
        table.add_column(heading, overflow="fold")
    for name, meaning in describe():
        field = name.removeprefix("GLOBETAG_").lower()
        value = getattr(settings, field)
        if field.endswith("_url") and value:
            value = without_password(value)
        if field.endswith("_key") and value:
            value = HIDDEN
        if field == "http_tokens" and value:
            value = ", ".join(token.name for token in read_tokens(value))
        table.add_row(name, "unset" if value in (None, ()) else str(value), origin[field], meaning)
    Console().print(table)
