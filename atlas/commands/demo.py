"""`globetag demo`: the whole line on a drawn world whose truth is known, and the verdict on every answer."""

import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from atlas import WEIGHTS
from atlas.exam import MAX_TOKENS
from atlas.verdict import Judgement, Verdict, judge
from atlas.verdict_page import OddFile, write_page
from worker import exit_codes
from worker.commands.models import use_test_models
from worker.commands.run import run
from worker.database import open_database
from worker.errors import SetupError
from worker.export.rows import ExportRow, read_rows
from worker.intake.uri import file_uri
from worker.place.gazetteer import Gazetteer
from worker.settings import Settings, load

COLLECTION = "demo"
SCENES = 48
GPS_SHARE = 0.25
PAGE_NAME = "verdict.html"

ODD_FILES: Mapping[str, str] = {
    "harbour-reykjavik.jpg": "a caption, and a camera position in the north-west",
    "night-tokyo.jpg": "a camera position in the north-east",
    "coast-cape-town.jpg": "a camera position in the south-east",
    "skyline-buenos-aires.jpg": "a camera position in the south-west",
    "beach-suva.jpg": "a camera position beside the antimeridian",
    "savanna-nairobi.jpg": "a camera position beside the equator",
    "beach-sydney.webp": "WebP with a camera position",
    "skyline-new-york.tif": "TIFF with a camera position",
    "harbour-cmyk.jpg": "a CMYK print",
    "road-turned.jpg": "stored lying, to be turned by its EXIF orientation",
    "snow-16bit.png": "a grey scan of 16 bits a sample",
    "coast-cutout.png": "partly transparent",
    "hills.jpg": "nothing but a picture",
    "hills (copy).jpg": "a copy of another file",
    "broken-empty.jpg": "an empty file",
    "broken-text.jpg": "a letter that is called .jpg",
    "broken-truncated.jpg": "a file that breaks off",
}
"""Of the drawn photographs (`atlas.photographs`) those that show what the scenes do not, with what that is. Where
there is no camera position a model's answer means nothing: the others without one are therefore left out."""


@click.command()
def command() -> None:
    """Show the whole thing on a drawn world, with tiny trained models and a verdict on each answer.

    Places 48 drawn scenes and some odd files, three of them broken on purpose, as `globetag run` would. Then it
    compares every answer, and every reason given for it, with the truth, which only a drawn world has. The
    figures say nothing about real photographs. Where a model is chosen already, that one is used.
    """
    settings, origin = load()
    if origin["model"] == "default" and origin["clip"] == "default":
        settings = use_test_models(settings)
    if Path(settings.model) == settings.models_folder.absolute() / "vlm-untrained":
        settings = with_trained_models(settings, WEIGHTS)
    sys.exit(demo(settings, WEIGHTS))


def with_trained_models(settings: Settings, weights: Path) -> Settings:
    """The settings with the trained tiny models in the folder `weights`, for this run alone.

    They are not chosen for the folder: of real photographs they would give convincing nonsense, where the
    untrained ones give none. Raises `SetupError` where they are missing.
    """
    vlm, clip = _trained(weights)
    if missing := [str(folder) for folder in (vlm, clip) if not folder.is_dir()]:
        raise SetupError(
            f"the demo's trained models are missing ({', '.join(missing)}): `make atlas` trains them, or"
            " `globetag models use` chooses others"
        )
    click.echo("the demo itself runs with tiny models that were trained on its drawn world", err=True)
    return settings.model_copy(update={"model": str(vlm), "clip": str(clip), "max_tokens": MAX_TOKENS})


def demo(settings: Settings, weights: Path) -> int:
    """Places the demo's files, judges the scenes, prints the table and writes the page. Returns the exit code.

    `weights` is where the trained tiny models are, to tell them from models that the user chose.
    """
    from atlas.archive import write_split
    from atlas.photographs import write_photographs
    from atlas.world import load_world

    photographs = settings.home / "demo-photographs"
    scenes, odd = photographs / "atlas", photographs / "odd"
    truth_file = write_split(scenes, load_world(), "test", SCENES, gps_share=GPS_SHARE)
    write_photographs(odd)
    code = run(settings, (str(scenes), *(str(odd / name) for name in ODD_FILES)), collection=COLLECTION)
    if code not in (exit_codes.DONE, exit_codes.SOME_FAILED):
        return code
    if code == exit_codes.SOME_FAILED:
        click.echo("the failures above are part of the demo: each has its reason")

    with open_database(settings) as database:
        rows = {row.uri: row for row in read_rows(database.engine, collection=COLLECTION)}
    judgement = judge(truth_file, rows.values(), Gazetteer.load())
    Console().print(_table(judgement))
    click.echo(
        "a drawn toy world: these figures say nothing about real photographs; the odd files beside it have no true"
        " place, and what a model says of them means nothing"
    )
    page = settings.reports_folder / PAGE_NAME
    write_page(
        page,
        judgement,
        _odd_files(odd, rows),
        comes_along=_are_trained(settings, weights),
        made_at=datetime.now().astimezone(),
        file_roots=settings.file_roots or None,
    )
    click.echo(f"verdict: {page}")
    return exit_codes.DONE


def _trained(weights: Path) -> tuple[Path, Path]:
    return weights / "vlm-best", weights / "clip"


def _are_trained(settings: Settings, weights: Path) -> bool:
    chosen = (Path(settings.model).expanduser().resolve(), Path(settings.clip).expanduser().resolve())
    return chosen == tuple(folder.resolve() for folder in _trained(weights))


def _odd_files(folder: Path, rows: Mapping[str, ExportRow]) -> list[OddFile]:
    return [OddFile(name, oddity, rows.get(file_uri(folder / name))) for name, oddity in ODD_FILES.items()]


_LINES: Mapping[Verdict, tuple[str, str]] = {
    Verdict.RIGHT: ("right: within 25 km", "green"),
    Verdict.COUNTRY: ("right country, no city or another", "yellow"),
    Verdict.WRONG: ("wrong", "red"),
    Verdict.ABSTAINED_RIGHTLY: ("abstained rightly: nothing tells the place", "green"),
    Verdict.ABSTAINED: ("abstained, though it could be placed", "yellow"),
    Verdict.NO_ANSWER: ("no usable answer", "red"),
    Verdict.KNOWN: ("known by the camera: no model asked", ""),
}


def _table(judgement: Judgement) -> Table:
    """Each scene once, then the shares beside what the best possible observer reaches."""
    table = Table(title="The verdict on the drawn scenes", title_justify="left", show_header=False, box=None)
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    table.add_row(f"{len(judgement.scenes)}", "scenes", style="bold")
    for verdict, count in judgement.counts.items():
        words, style = _LINES[verdict]
        table.add_row(f"{count}", f"  {words}", style=style if count else "dim")
    if (mark := judgement.mark) is not None:
        table.add_row("", f"of {judgement.placeable_asked} asked scenes that can be placed:", style="bold")
        table.add_row(f"{mark.country:.0%}", f"  right country (best possible {mark.bayes_country:.0%})")
        table.add_row(f"{mark.city25:.0%}", f"  within 25 km (best possible {mark.bayes_city25:.0%})")
    if judgement.stated:
        table.add_row(f"{judgement.invented}", f"of {judgement.stated} stated signs are invented", style="bold")
    return table
