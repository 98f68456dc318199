"""`globetag webhook`: addresses that events are posted to, signed as Standard Webhooks asks."""

import json
import uuid
from datetime import UTC, datetime

import click

from schema import queries
from schema.events import PUBLISHED, WEBHOOK_TEST, cloud_event
from worker.database import open_database
from worker.errors import SetupError
from worker.events.deliverer import post_event
from worker.events.posting import Poster, receiver, url_fault
from worker.events.signing import new_secret
from worker.settings import load


@click.group()
def command() -> None:
    """Have events posted to an address, signed.

    The dispatcher delivers (`globetag dispatch`, `globetag worker`, `globetag run`). See docs/events.md.
    """


@command.command()
@click.argument("url")
@click.option("--type", "types", multiple=True, type=click.Choice(PUBLISHED), help="Only these events.")
@click.option("--collection", help="Only events of this collection.")
def add(url: str, types: tuple[str, ...], collection: str | None) -> None:
    """Post events to URL from now on. Prints the secret that signs them, this once."""
    settings, _ = load()
    if fault := url_fault(url, allow_private=settings.allow_private_addresses):
        raise SetupError(f"{receiver(url)} cannot be a webhook: the address {fault}")
    secret = new_secret()
    with open_database(settings) as database, database.engine.begin() as connection:
        collection_id = None
        if collection is not None:
            collection_id = connection.execute(
                queries.collections.ENSURE_COLLECTION, {"name": collection}
            ).scalar_one()
        row = {
            "url": url,
            "secret": secret,
            "types": json.dumps(types) if types else None,
            "collection_id": collection_id,
        }
        webhook_id = connection.execute(queries.webhooks.ADD_WEBHOOK, row).scalar_one()
    click.echo(f"webhook {webhook_id} was added; its secret, which is not shown again:")
    click.echo(secret)


@command.command("list")
def list_() -> None:
    """Show all webhooks, and how their deliveries stand."""
    settings, _ = load()
    with open_database(settings) as database, database.engine.connect() as connection:
        rows = connection.execute(queries.webhooks.LIST_WEBHOOKS).all()
    for row in rows:
        wants = ", ".join(row.types) if row.types else "all events"
        where = f" of {row.collection}" if row.collection else ""
        click.echo(f"{row.webhook_id}: {row.receiver}, {wants}{where}")
        click.echo(f"    {row.delivered:,} delivered, {row.pending:,} pending, {row.dead:,} given up")
        if not row.enabled:
            click.echo(
                f"    DISABLED: {row.disabled_reason} `globetag webhook enable {row.webhook_id}` tries again"
            )
        elif row.failing_since is not None:
            click.echo(f"    failing since {row.failing_since:%Y-%m-%d %H:%M}: {row.last_problem}")
    if not rows:
        click.echo("there are no webhooks; `globetag webhook add URL` adds one")


@command.command()
@click.argument("webhook_id", type=int)
def remove(webhook_id: int) -> None:
    """Post nothing more to webhook WEBHOOK_ID, and forget what was pending for it."""
    settings, _ = load()
    with open_database(settings) as database, database.engine.begin() as connection:
        url = connection.execute(queries.webhooks.REMOVE_WEBHOOK, {"id": webhook_id}).scalar_one_or_none()
    click.echo(f"webhook {webhook_id} ({receiver(_there(url, webhook_id))}) was removed")


@command.command()
@click.argument("webhook_id", type=int)
def test(webhook_id: int) -> None:
    """Post one test event to webhook WEBHOOK_ID now, and say what came of it."""
    settings, _ = load()
    with open_database(settings) as database, database.engine.connect() as connection:
        row = connection.execute(queries.webhooks.READ_WEBHOOK, {"id": webhook_id}).one_or_none()
    if row is None:
        raise _unknown(webhook_id)
    where = receiver(row.url)
    event = cloud_event(
        uuid.uuid4(), WEBHOOK_TEST, f"webhook/{webhook_id}", datetime.now(UTC), {"webhook_id": webhook_id}
    )
    poster = Poster(allow_private=settings.allow_private_addresses)
    answer = post_event(poster, row.url, tuple(filter(None, (row.secret, row.previous_secret))), event)
    poster.close()
    if answer.problem is not None:
        raise SetupError(f"{where} did not accept the test event: {answer.problem}")
    click.echo(f"{where} accepted the test event ({answer.status})")


@command.command()
@click.argument("webhook_id", type=int)
@click.option(
    "--overlap-h",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="The secret before signs too for so many hours.",
)
def rotate(webhook_id: int, overlap_h: float) -> None:
    """Give webhook WEBHOOK_ID a new secret. Prints it, this once."""
    settings, _ = load()
    secret = new_secret()
    change = {"id": webhook_id, "secret": secret, "overlap_s": overlap_h * 3600}
    with open_database(settings) as database, database.engine.begin() as connection:
        _there(connection.execute(queries.webhooks.ROTATE_SECRET, change).scalar_one_or_none(), webhook_id)
    click.echo(f"webhook {webhook_id} has a new secret, which is not shown again:")
    click.echo(secret)


@command.command()
@click.argument("webhook_id", type=int)
def enable(webhook_id: int) -> None:
    """Try webhook WEBHOOK_ID again, with all that was given up and is still kept."""
    settings, _ = load()
    with open_database(settings) as database, database.engine.begin() as connection:
        url = connection.execute(queries.webhooks.ENABLE_WEBHOOK, {"id": webhook_id}).scalar_one_or_none()
        where = receiver(_there(url, webhook_id))
        revived = connection.execute(queries.webhooks.REVIVE_DELIVERIES, {"id": webhook_id}).scalar_one()
    click.echo(f"webhook {webhook_id} ({where}) is enabled; {revived:,} events are tried again")


def _there(url: str | None, webhook_id: int) -> str:
    if url is None:
        raise _unknown(webhook_id)
    return url


def _unknown(webhook_id: int) -> SetupError:
    return SetupError(f"there is no webhook {webhook_id}; `globetag webhook list` shows all that there are")
