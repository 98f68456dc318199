"""`globetag forget`: erases photographs, or a whole collection, and keeps them from coming back."""

import getpass
import hashlib
import re
import uuid
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from schema.reasons import ForgetReason
from worker.database import open_database
from worker.errors import SetupError
from worker.forgetting import Chosen, Erasure, erase, survey
from worker.intake.uri import file_uri
from worker.settings import load

_HASH = re.compile(r"[0-9a-f]{64}")

_STILL_THERE = (
    "Not reached from here: the original files, reports and thumbnails (GLOBETAG_HOME/reports), exports, messages"
    " in the broker's dead-letter queues, backups of the database. See PRIVACY.md."
)


@click.command()
@click.argument("photographs", nargs=-1)
@click.option("--collection", help="A whole collection instead.")
@click.option("--everywhere", is_flag=True, help="With --collection: also what other collections hold too.")
@click.option(
    "--reason",
    type=click.Choice([reason.value for reason in ForgetReason]),
    help="Why; a code is all that is kept.",
)
@click.option("--by", "forgotten_by", help="Who has it erased.  [default: the user's name]")
@click.option("--dry-run", is_flag=True, help="Only show what would be erased.")
@click.option("--confirm", "typed", help="For scripts: `erase`, or the collection's name, instead of typing it.")
def command(
    photographs: tuple[str, ...],
    collection: str | None,
    everywhere: bool,
    reason: str | None,
    forgotten_by: str | None,
    dry_run: bool,
    typed: str | None,
) -> None:
    """Erase PHOTOGRAPHS (sha256, job id, file, or address) and all that was stored of them; it cannot be undone.

    Rows, traces, embeddings, labels, jobs, suggestions to others, entries in training manifests: in one
    transaction. The hash of each file's content stays, and with it the file is refused (`forgotten`) whoever
    enqueues it again. Models that learnt from it are listed, not changed.
    """
    if bool(photographs) == (collection is not None):
        raise click.UsageError("name photographs, or give --collection")
    if everywhere and collection is None:
        raise click.UsageError("--everywhere goes with --collection")
    settings, _ = load()
    chosen = _chosen(photographs, collection, everywhere)
    with open_database(settings) as database:
        found = survey(database.engine, chosen)
        _show(found)
        if dry_run or not (any(found.rows_by_table.values()) or found.hashes):
            return
        if reason is None:
            raise click.UsageError("say --reason: it is kept beside the hash")
        _confirm(collection or "erase", typed)
        # What is there now may be more than what was shown: more than that was not agreed to.
        done = erase(
            database.engine,
            chosen,
            forgotten_by=forgotten_by or getpass.getuser(),
            reason=ForgetReason(reason),
            agree=lambda now: _is_no_more(now, found),
        )
    if done is None:
        raise SetupError("nothing was erased: meanwhile more has come in than was shown; call it again")
    click.echo(f"erased; {len(done.hashes)} content hashes are refused from now on. {_STILL_THERE}")


def _chosen(photographs: tuple[str, ...], collection: str | None, everywhere: bool) -> Chosen:
    hashes, uris, jobs = [], [], []
    for given in photographs:
        if _HASH.fullmatch(given):
            hashes.append(given)
        elif _is_job_id(given):
            jobs.append(given)
        else:
            path = Path(given)
            if path.is_file():
                hashes.append(hashlib.sha256(path.read_bytes()).hexdigest())
            uris.append(given if "://" in given else file_uri(path.absolute()))
    return Chosen(tuple(hashes), tuple(uris), tuple(jobs), collection, everywhere)


def _is_job_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _is_no_more(now: Erasure, shown: Erasure) -> bool:
    return set(now.hashes) <= set(shown.hashes)


def _confirm(word: str, typed: str | None) -> None:
    if typed is None:
        typed = click.prompt(f"This cannot be undone. Type {word} to erase", default="", show_default=False)
    if typed != word:
        raise SetupError(f"nothing was erased: {word} was to be typed")


def _show(found: Erasure) -> None:
    console = Console()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    table.add_column()
    for name, rows in found.rows_by_table.items():
        table.add_row(f"{rows:,}", name)
    console.print(table)
    if not any(found.rows_by_table.values()):
        console.print("Nothing is stored of it." + (" Its hash is refused from now on." if found.hashes else ""))
    elif not found.hashes:
        console.print("These jobs never had a photograph: there is no hash to refuse by.")
    if found.shared:
        console.print(f"{found.shared:,} photographs stay, for other collections hold them too (--everywhere).")
    for model in found.taught:
        how = f"learnt from {model.photographs} of them" if model.photographs else "goes on from one that did"
        where = f", {model.folder}" if model.folder else ""
        console.print(
            f"model version {model.model_id} ({model.name} {model.version}{where}) {how}: retrain to be rid of it",
            highlight=False,
            markup=False,
        )
    for run in found.teaching_runs:
        console.print(f"training run {run} is learning from them now: cancel it first")
