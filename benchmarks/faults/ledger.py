"""N in = N out: what the database says about a run, and what was worked on twice."""

from dataclasses import dataclass

from sqlalchemy import Engine, func, select, text

from schema.tables import image, job, prediction, trace


@dataclass(frozen=True, slots=True)
class Stand:
    """How the jobs of a run stand."""

    jobs: int
    settled: int
    done: int
    attempts: int
    struck_alone: int


def stand(database: Engine) -> Stand:
    """Counts all jobs. `attempts` beyond one for each are work that was begun again; `struck_alone` lost workers
    twice or more, so at least once while nothing else was in work there."""
    is_done = job.c.state == "done"
    is_settled = job.c.state.in_(["done", "failed", "dead"])
    columns = [
        func.count(),
        func.count().filter(is_settled),
        func.count().filter(is_done),
        func.coalesce(func.sum(job.c.attempts), 0),
        func.count().filter(job.c.losses > 1),
    ]
    with database.connect() as connection:
        return Stand(*(int(value) for value in connection.execute(select(*columns)).one()))


def in_work(database: Engine, pid: int | None = None) -> int:
    """How many jobs are claimed, by anybody or by the process `pid` of this machine."""
    count = select(func.count()).select_from(job).where(job.c.state == "running")
    if pid is not None:
        count = count.where(job.c.worker.like(f"%/{pid}/%"))
    with database.connect() as connection:
        return int(connection.execute(count).scalar_one())


def duplicates(database: Engine, count: int) -> int:
    """Rows too many: of jobs, of photographs, of predictions for a photograph, of traces for a prediction."""
    answers = func.count(func.distinct(func.concat(prediction.c.image_id, " ", prediction.c.pipeline_version)))
    with database.connect() as connection:
        rows = {
            table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in (job, image, prediction, trace)
        }
        uris = int(connection.execute(select(func.count(job.c.uri.distinct()))).scalar_one())
        contents = int(connection.execute(select(func.count(image.c.sha256.distinct()))).scalar_one())
        answered = int(connection.execute(select(answers)).scalar_one())
        told = int(connection.execute(select(func.count(trace.c.prediction_id.distinct()))).scalar_one())
    return (
        max(0, rows["job"] - min(uris, count))
        + (rows["image"] - contents)
        + (rows["prediction"] - answered)
        + (rows["trace"] - told)
    )


def states(database: Engine) -> dict[str, int]:
    """How many jobs ended how, with their reason where they have one."""
    kind = func.concat_ws("/", job.c.state, job.c.reason)
    with database.connect() as connection:
        return {row[0]: int(row[1]) for row in connection.execute(select(kind, func.count()).group_by(kind))}


def events_missing(database: Engine) -> int:
    """Jobs without an event that was handed to the exchange."""
    with database.connect() as connection:
        return int(
            connection.execute(
                text(
                    "SELECT count(*) FROM job j WHERE NOT EXISTS "
                    "(SELECT FROM outbox o WHERE o.subject = j.id::text AND o.sent_at IS NOT NULL)"
                )
            ).scalar_one()
        )
