"""What the commands `globetag curate plan|run` have share: whose photographs, which teachers, under which name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from worker.errors import SetupError
from worker.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from trainer.curate.sources import Found
    from trainer.curate.teachers import Teacher

F = TypeVar("F", bound=Callable[..., Any])

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class Source:
    """Whose photographs, as the command line says. No `folder` and no `mp16`: a stored curation (None: the
    latest)."""

    curation: int | None
    folder: Path | None
    mp16: Path | None
    table: Path | None
    pictures: Path | None
    at_most: int | None
    seed: int


def source_options(command: F) -> F:
    """The options that `Source` is made of, and --name and --teachers."""
    options = (
        click.option(
            "--teachers",
            "teachers_path",
            type=_FILE,
            help="The YAML file that names the teachers (docs/curation.md).  [default: GLOBETAG_TEACHERS]",
        ),
        click.option("--curation", type=int, help="The photographs of this curation.  [default: the latest]"),
        click.option("--folder", type=_FOLDER, help="Photographs of this folder, which a CSV places."),
        click.option("--mp16", type=_FOLDER, help="MP-16 or MP16-Pro, in the folder where it was unpacked."),
        click.option("--table", type=_FILE, help="The CSV, for --folder and --mp16 where it cannot be told."),
        click.option("--pictures", type=_FOLDER, help="For --mp16: where the pictures lie, if elsewhere."),
        click.option("--at-most", type=click.IntRange(min=1), help="So many photographs, drawn by chance."),
        click.option("--seed", type=int, default=0, show_default=True, help="Of --at-most."),
        click.option("--name", help="What the distillation is called.  [default: after its source]"),
    )
    for option in reversed(options):
        command = option(command)
    return command


def source_of(given: dict[str, Any]) -> Source:
    """Takes the source's options out of `given`. Raises `UsageError` for those that exclude each other."""
    source = Source(**{name: given.pop(name) for name in Source.__dataclass_fields__})
    chosen = [name for name in ("curation", "folder", "mp16") if getattr(source, name) is not None]
    if len(chosen) > 1:
        raise click.UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other")
    if source.table is not None and source.folder is None and source.mp16 is None:
        raise click.UsageError("--table belongs to --folder or --mp16")
    if source.pictures is not None and source.mp16 is None:
        raise click.UsageError("--pictures belongs to --mp16")
    return source


def teachers_of(path: Path | None, settings: Settings) -> "tuple[Teacher, ...]":
    """The teachers of this file, or of GLOBETAG_TEACHERS."""
    from trainer.curate.teachers import read_teachers

    chosen = path or settings.teachers
    if chosen is None:
        raise SetupError("no teachers are named: give --teachers FILE, or set GLOBETAG_TEACHERS")
    return read_teachers(chosen)


@dataclass(frozen=True)
class Drawn:
    """A source with its photographs. `described` is what `distillation.source` says of it."""

    found: "Found"
    described: dict[str, Any]
    name: str
    curation_id: int | None = None
    collection: str | None = None


def draw(engine: "Engine", source: Source) -> Drawn:
    """Reads the source; files are opened and hashed, nothing is stored."""
    from trainer.curate.sources import held_out_hashes, subjects_of_folder, subjects_of_mp16

    drawing: dict[str, Any] = {"at_most": source.at_most, "seed": source.seed}
    if source.folder is not None:
        held_out = held_out_hashes(engine)
        found = subjects_of_folder(source.folder, source.table, held_out=held_out, **drawing)
        where = str(source.folder.resolve())
        return Drawn(
            found, {"kind": "folder", "folder": where, **drawing}, f"folder-{source.folder.resolve().name}"
        )
    if source.mp16 is not None:
        held_out = held_out_hashes(engine)
        found = subjects_of_mp16(source.mp16, source.table, pictures=source.pictures, held_out=held_out, **drawing)
        where = str(source.mp16.resolve())
        return Drawn(found, {"kind": "mp16", "folder": where, **drawing}, f"mp16-{source.mp16.resolve().name}")
    return _of_curation(engine, source)


def _of_curation(engine: "Engine", source: Source) -> Drawn:
    from dataclasses import replace

    from trainer.curate.balance import chance
    from trainer.curate.manifest import load_manifest
    from trainer.curate.sources import Why, subjects_of_curation

    stored = load_manifest(engine, source.curation)
    found = subjects_of_curation(engine, stored.id)
    described: dict[str, Any] = {"kind": "curation", "curation": stored.id}
    if source.at_most is not None:
        described |= {"at_most": source.at_most, "seed": source.seed}
        chosen = sorted(found.subjects, key=lambda subject: chance(source.seed, subject.id))[: source.at_most]
        counts = found.counts.copy()
        counts[Why.NOT_DRAWN] += len(found.subjects) - len(chosen)
        found = replace(found, subjects=tuple(sorted(chosen, key=lambda subject: subject.id)), counts=+counts)
    collection = stored.parameters.get("collection")
    return Drawn(found, described, f"curation-{stored.id}", stored.id, collection)
