"""Reads a curated data set back: as examples for SFT, as questions for GRPO.

Read are our own files, and with them MP16-Reason's four columns alone, of whoever made them. Pictures stay in
the file until their turn comes; a row group is read for each, so that a hundred thousand rows cost no more
memory than their texts.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from trainer.curate.output.rows import cues_of, visible
from trainer.grpo.questions import Question
from trainer.sft.examples import Example
from trainer.sft.recipe import Reasons
from worker.errors import SetupError
from worker.intake.picture import decode
from worker.intake.uri import shown
from worker.reason.answer import Answer, Unparsable, parse, render
from worker.reason.engines import Prompt

_NEEDED = ("images", "response", "solution", "entities")
_OURS = ("answer", "sha256", "lat", "lon", "country_code", "country", "region", "city", "geoname_id", "teacher",
         "cues", "measures")  # fmt: skip
_COUNTRY = re.compile(r"<country>(.*?)</country>", re.DOTALL | re.IGNORECASE)
_CITY = re.compile(r"<city>(.*?)</city>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Picture:
    """Reads and decodes the picture of one row when called, by the worker's own decoder."""

    file: Path
    row_group: int
    row: int
    sha256: str | None

    def __call__(self) -> Image.Image:
        return decode(self.read()).image

    def read(self) -> bytes:
        """The bytes of the picture. Raises `SetupError` where none is stored and the path leads to none."""
        stored = _images(self.file, self.row_group)[self.row]
        first = stored[0] if stored else {}
        data: bytes | None = first.get("bytes")
        if data is not None:
            return data
        try:
            data = Path(first.get("path") or "").read_bytes()
        except (OSError, ValueError) as error:
            raise SetupError(f"{shown(str(self.file))}: a picture is neither in it nor where it says") from error
        if self.sha256 is not None and hashlib.sha256(data).hexdigest() != self.sha256:
            raise SetupError(f"{shown(first['path'])} is not the picture any more that the data set was made of")
        return data


@dataclass(frozen=True, slots=True)
class Row:
    """One row without its picture. `solution` is (country, city); what a column does not say is None."""

    id: str
    picture: Picture
    reasoning: str
    country: str | None
    city: str | None
    entities: tuple[str, ...] | None
    fields: dict[str, Any]


def is_dataset(path: Path) -> bool:
    """Is this a parquet file, or a folder that may hold some?"""
    return path.is_dir() or path.suffix.lower() == ".parquet"


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a parquet file or of a folder that has them in itself or in `data`, in order.

    Raises `SetupError` where nothing can be read, and for files without the columns of MP16-Reason.
    """
    for file in _files(path):
        yield from _rows(file)


def examples(path: Path, *, prompt: Prompt, reasons: Reasons = "kept") -> list[Example]:
    """What SFT learns: the worker's prompt, the teacher's reasons, the known place as fine as the teacher said it.

    A teacher that rightly says no more than the country is not made to say the city. `reasons` as in a recipe:
    "required" leaves out rows without any, "dropped" leaves the place alone to be learnt.
    """
    rows = (row for row in read_rows(path) if row.reasoning or reasons != "required")
    stripped = (replace(row, reasoning="") if reasons == "dropped" else row for row in rows)
    return [Example(row.id, row.picture, prompt, completion(row)) for row in stripped]


def questions(path: Path, *, prompt: Prompt) -> list[Question]:
    """What GRPO asks: one question for each photograph, with the columns that the rewards read.

    `true_cues` and `entities` are what was verified to be visible; None (the visual reward cannot judge) where
    nothing was looked at. Of several rows of a photograph the first counts, with the entities of all.
    """
    by_id: dict[str, Question] = {}
    for row in read_rows(path):
        identity = row.fields.get("sha256") or row.id
        before = by_id.get(identity)
        if before is None:
            by_id[identity] = Question(identity, row.picture, prompt, _columns(row))
        elif row.entities:
            together = dict.fromkeys((*(before.columns["entities"] or ()), *row.entities))
            cues = {"entities": list(together), "true_cues": list(together)}
            by_id[identity] = replace(before, columns={**before.columns, **cues})
    return list(by_id.values())


def completion(row: Row) -> str:
    """What a model should print: the worker's canonical answer."""
    region = row.fields.get("region")
    claimed = parse(row.fields.get("answer") or "")
    if isinstance(claimed, Unparsable):
        return render(Answer(reasoning=row.reasoning, country=row.country, city=row.city))
    return render(
        Answer(
            reasoning=row.reasoning,
            country=row.country or claimed.country,
            region=(region or claimed.region) if claimed.region or claimed.city else None,
            city=(row.city or claimed.city) if claimed.city else None,
        )
    )


def _columns(row: Row) -> dict[str, Any]:
    named = {name: row.fields.get(name) for name in ("lat", "lon", "country_code", "region", "geoname_id")}
    cues = None if row.entities is None else list(row.entities)
    return {
        **named,
        "country": row.country,
        "city": row.city,
        "placeable": None,
        "p_placeable": None,
        "true_cues": cues,
        "entities": cues,
    }


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    for folder in (path / "data", path):
        if found := sorted(folder.glob("*.parquet")):
            return found
    raise SetupError(f"{shown(str(path))} has no parquet file, nor in its folder data")


def _rows(file: Path) -> Iterator[Row]:
    parquet = _open(file)
    there = set(parquet.schema_arrow.names)
    if missing := [name for name in _NEEDED if name not in there]:
        raise SetupError(f"{shown(str(file))} has no column {', '.join(missing)}: not of MP16-Reason's shape")
    columns = [name for name in (*_NEEDED[1:], *_OURS) if name in there]
    number = 0
    for group in range(parquet.num_row_groups):
        for index, fields in enumerate(parquet.read_row_group(group, columns=columns).to_pylist()):
            identity = f"{file.stem}-{number}"
            picture = Picture(file, group, index, fields.get("sha256"))
            yield _row(identity, picture, fields)
            number += 1


def _row(identity: str, picture: Picture, fields: dict[str, Any]) -> Row:
    said = fields.get("solution") or ""
    country, city = (_tagged(pattern, said) for pattern in (_COUNTRY, _CITY))
    listed = fields.get("entities")
    texts = None if listed is None else tuple(entry["text"] for entry in listed if entry and entry.get("text"))
    if texts == () and _not_looked_at(fields):
        texts = None
    teacher = fields.get("teacher")
    return Row(
        id=f"{fields['sha256']}-{teacher}" if fields.get("sha256") else identity,
        picture=picture,
        reasoning=fields.get("response") or "",
        country=fields.get("country") or country,
        city=fields.get("city") or city,
        entities=texts,
        fields=fields,
    )


def _not_looked_at(fields: dict[str, Any]) -> bool:
    """An empty list says that nothing named is there only if somebody looked."""
    cues = cues_of(fields.get("cues"))
    return not visible(cues) and all(cue.visible is None for cue in cues)


def _tagged(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return " ".join(found[1].split()) or None if found else None


def _open(file: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise SetupError("parquet needs pyarrow, which comes with `pip install globetag[train]`") from error
    try:
        return parquet.ParquetFile(file)
    except Exception as error:  # pyarrow raises kinds of its own for what is no parquet
        raise SetupError(f"{shown(str(file))} cannot be read as parquet ({type(error).__name__})") from error


@lru_cache(maxsize=2)
def _images(file: Path, row_group: int) -> list[list[dict[str, Any]]]:
    """The pictures of one row group; two groups are kept, since neighbours are asked for one after the other."""
    column = _open(file).read_row_group(row_group, columns=["images"]).column("images")
    images: list[list[dict[str, Any]]] = column.to_pylist()
    return images
