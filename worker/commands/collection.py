"""`globetag collection`: what a collection asks of its places, and whether it is worked on."""

import click

from schema import queries
from schema.messages import JOB_CHANNEL
from worker.database import open_database
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer
from worker.place.region import UnknownRegion, read_constraint
from worker.settings import load


@click.command()
@click.argument("name")
@click.option("--region", help="Where all its photographs were taken: countries or regions, `;` between several.")
@click.option("--max-radius-km", type=click.FloatRange(min=0, min_open=True), help="Wider places are refused.")
@click.option("--anywhere", is_flag=True, help="Take both back.")
@click.option("--pause/--resume", "pause", default=None, help="Begin none of its photographs, or go on.")
@click.option(
    "--precision-km",
    type=click.FloatRange(0.1, 5000),
    help="Readers, exports and reports see its places no finer than this; from 0.1 to 5,000.",
)
@click.option("--full-precision", is_flag=True, help="Take that back.")
def command(
    name: str,
    region: str | None,
    max_radius_km: float | None,
    anywhere: bool,
    pause: bool | None,
    precision_km: float | None,
    full_precision: bool,
) -> None:
    """Show or set what the collection NAME asks of its places, and how precisely they are shown; pause it.

    Region and radius hold for photographs that are placed from now on: `globetag enqueue` them again, or `globetag
    retry`. While a collection is paused its photographs stay queued, and more may be added; those in work are
    finished. `globetag cancel` takes queued ones back.

    The precision holds at once, for all of them, and no job is taken up until it is in force. A photograph that
    several collections hold is shown as coarsely as the strictest asks. What was exported before stays as it is.
    """
    if full_precision and precision_km is not None:
        raise click.UsageError("--precision-km and --full-precision contradict each other")
    settings, _ = load()
    with open_database(settings) as database, database.engine.begin() as connection:
        row = connection.execute(queries.collections.COLLECTION_RULES, {"name": name}).one_or_none()
        if row is None:
            there = (
                ", ".join(connection.execute(queries.collections.COLLECTION_NAMES).scalars().all()[:10]) or "none"
            )
            raise SetupError(f"there is no collection {name!r}; there is {there}")
        asked = {"region": row.region, "max_radius_km": row.max_radius_km}
        if anywhere:
            asked = {"region": None, "max_radius_km": None}
        if region is not None:
            asked["region"] = _known(region)
        if max_radius_km is not None:
            asked["max_radius_km"] = max_radius_km
        if anywhere or region is not None or max_radius_km is not None:
            connection.execute(queries.collections.SET_COLLECTION_RULES, {"name": name, **asked})
        if pause is not None:
            connection.execute(queries.flow.PAUSE if pause else queries.flow.RESUME, {"name": name})
            connection.execute(queries.jobs.NOTIFY_JOBS, {"channel": JOB_CHANNEL})
        is_paused = row.paused_at is not None if pause is None else pause
        cap_km = None if full_precision else row.precision_km if precision_km is None else precision_km
        if cap_km != row.precision_km:
            connection.execute(queries.collections.SET_PRECISION, {"name": name, "precision_km": cap_km})
    radius = f"radius up to {asked['max_radius_km']:,g} km" if asked["max_radius_km"] else "any radius"
    precision = f", shown to {cap_km:,g} km" if cap_km else ""
    click.echo(f"{name}: {asked['region'] or 'anywhere'}, {radius}{precision}{', paused' if is_paused else ''}")


def _known(region: str) -> str:
    try:
        read_constraint((region,), Gazetteer.load())
    except UnknownRegion as error:
        raise SetupError(
            f"{error} Give a country, or a first-level division with its country (`Brittany, France`)"
        ) from error
    return region.strip()
