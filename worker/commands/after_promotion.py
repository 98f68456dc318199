"""What becomes of the radii when something else serves: a line for those who promote or roll back."""

from sqlalchemy import Engine

from schema import queries
from worker import registry
from worker.calibrations import versions_in_force
from worker.settings import Settings


def what_follows(engine: Engine, settings: Settings) -> str:
    """One sentence about the radii of what serves now with GLOBETAG_MODEL."""
    by_hand = "`globetag run --verify FOLDER`, then `globetag train calibrate`"
    registered = registry.serving(engine, settings.model)
    with engine.connect() as connection:
        version_id = None if registered is None else registered.id
        if registered is None:
            row = connection.execute(queries.renewal.BASE_ITSELF, {"base": settings.model}).one_or_none()
            version_id = None if row is None else row.id
        answers = connection.execute(
            queries.renewal.NEWEST_ANSWERS, {"model_version_id": version_id}
        ).scalar_one_or_none()
        if answers is not None and versions_in_force(connection, answers):
            return "radii: the calibration that it has counts, unless settings have changed since then"
    if settings.calibrate_photographs == 0:
        return f"radii are nominal until it is calibrated by hand: {by_hand}"
    return (
        f"radii are nominal until it is calibrated: `globetag train worker` asks about up to"
        f" {settings.calibrate_photographs:,} photographs of known place again and does so; by hand: {by_hand}"
    )
