"""`globetag trace`: one job's whole story."""

import json

import click

from worker.database import open_database
from worker.errors import SetupError
from worker.settings import load
from worker.story import MOST_JOBS, Story, find_stories, tell


@click.command()
@click.argument("job", metavar="JOB")
@click.option("--collection", help="Only the job of this collection, where the address stands in several.")
@click.option("--json", "as_json", is_flag=True, help="All rows, as JSON lines: one for each job.")
def command(job: str, collection: str | None, as_json: bool) -> None:
    """Tell one job's whole story.

    When it was enqueued, published, claimed and by whom; what the gate said, what the archive's own photographs
    said, what the model answered, what came of it, and which versions took part. JOB is a job's id or the address
    of a photograph, as it was enqueued.
    """
    settings, _ = load()
    with open_database(settings) as database:
        stories = find_stories(database.engine, job, collection)
    if not stories:
        raise SetupError(
            "there is no such job: give its id, or the address as it was enqueued (file:///…, s3://…, https://…)"
        )
    for number, story in enumerate(stories):
        if as_json:
            click.echo(json.dumps(story.as_json(), default=str))  # pure ASCII: nothing in it commands a terminal
        else:
            click.echo(("\n" if number else "") + in_text(story))
    if len(stories) == MOST_JOBS and not as_json:
        click.echo(f"\nThese are the {MOST_JOBS} latest; --collection chooses.")


def in_text(story: Story) -> str:
    """Chapters with indented lines; a line break inside a text is indented too."""
    parts = []
    for title, lines in tell(story):
        parts.append(title)
        parts += ["  " + line.replace("\n", "\n    ") for line in lines]
    return "\n".join(parts)
