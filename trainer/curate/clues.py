"""Game clues: a street view, the country that players know it for, and what gives it away.

Two forms are read. GeoReasoner's published `georeasoner_sft.json` is a list of Qwen-VL conversations
(github.com/QwenLM/Qwen-VL, commit aa00ed0; released as ling0821/GeoReasoner_SFT, CC BY-NC 4.0)::

    {"id": "…", "conversations": [
        {"from": "user", "value": "Picture 1: <img>images/1.jpg</img>\\nIn which country …?"},
        {"from": "assistant", "value": "{'country': 'Chile', 'reasons': ['The poles …']}"}]}

and a plain CSV with a header and the columns `image`, `country` and, where known, `clue`, `city` and `region`.

No row is lost silently: one that cannot be used comes back as a value with its reason.
"""

import ast
import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from trainer.sft.examples import Example
from trainer.sft.recipe import Reasons
from worker.errors import SetupError
from worker.place.countries import Countries
from worker.reason.answer import Answer, Unparsable, parse, render
from worker.reason.engines import Prompt

MAX_LITERAL_CHARS = 20_000

_IMAGE = re.compile(r"<img>([^<>\n]{1,1000})</img>")
_ASSISTANT = frozenset({"assistant", "gpt"})
_COLUMNS = frozenset({"image", "clue", "country", "region", "city"})


class WhyUnusable(StrEnum):
    """Why a row is not trained on."""

    MALFORMED = "malformed"
    NO_IMAGE = "no_image"
    IMAGE_MISSING = "image_missing"
    NO_ANSWER = "no_answer"
    NO_COUNTRY = "no_country"
    UNKNOWN_COUNTRY = "unknown_country"
    NO_REASONS = "no_reasons"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Clue:
    """`country` is the gazetteer's common English name, `reasons` what gives the place away, one sentence a line;
    both `reasons` and the finer places may be empty."""

    id: str
    image: Path
    country: str
    region: str
    city: str
    reasons: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """`row` counts from 1, in a CSV without its header. `detail` is a sentence for a person."""

    row: int
    id: str
    reason: WhyUnusable
    detail: str


@dataclass(frozen=True, slots=True)
class ClueFile:
    """All rows of a file: `len(clues) + len(unusable)` is their number."""

    clues: tuple[Clue, ...]
    unusable: tuple[Unusable, ...]

    @property
    def counts(self) -> Counter[WhyUnusable]:
        """How many rows cannot be used, by reason."""
        return Counter(row.reason for row in self.unusable)


def read_clues(
    path: Path, *, reasons: Reasons = "required", pictures: Path | None = None, texts_only: bool = False
) -> ClueFile:
    """Reads a `.json` or `.csv` file of either form.

    With `reasons` "required" a row without a clue is unusable. With `texts_only` nobody looks for pictures;
    otherwise they are looked for where the row says, taken from the file's own folder, and then in `pictures` by
    ever shorter ends of that path: published files name the authors' folders. Raises `SetupError` for a file that
    is neither form, as a whole.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    match path.suffix.lower():
        case ".json":
            rows = _conversations(path, text)
        case ".csv":
            rows = _table(path, text)
        case other:
            raise SetupError(f"{path}: expected .json (GeoReasoner's form) or .csv, not {other or 'no suffix'}")
    countries, folders = Countries(), None if texts_only else (path.parent, pictures or path.parent)
    clues: list[Clue] = []
    unusable: list[Unusable] = []
    seen: dict[tuple[Path, str, str, str], int] = {}
    for number, raw in enumerate(rows, 1):
        read = _check(number, raw, countries, folders, reasons)
        if isinstance(read, Clue):
            key = (read.image, read.country, read.city, read.reasons)
            first = seen.setdefault(key, number)
            if first != number:
                read = Unusable(number, read.id, WhyUnusable.DUPLICATE, f"It says the same as row {first}.")
        if isinstance(read, Clue):
            clues.append(read)
        else:
            unusable.append(read)
    return ClueFile(tuple(clues), tuple(unusable))


def examples(clues: Iterable[Clue], *, prompt: Prompt, reasons: Reasons = "required") -> list[Example]:
    """What the model learns from the clues: the worker's prompt and its canonical answers.

    `reasons` "dropped" leaves the place alone to be learnt, as GeoReasoner's second stage does.
    """
    return [
        Example(
            clue.id,
            clue.image,
            prompt,
            render(
                Answer(
                    reasoning="" if reasons == "dropped" else clue.reasons,
                    country=clue.country,
                    region=clue.region or None,
                    city=clue.city or None,
                )
            ),
        )
        for clue in clues
    ]


def read_literal(text: str) -> Answer | None:
    """The answer in GeoReasoner's pseudo-JSON, such as `{'country': 'Chile', 'reasons': ['…', '…']}`.

    A Python or JSON literal is read exactly; anything else (quotes that do not match, text around it) as far as
    the worker's answer grammar can. None where no place can be read.
    """
    values = _literal(text)
    if values is None:
        read = parse(text)
        return None if isinstance(read, Unparsable) else read
    given = {str(key).strip().lower(): value for key, value in values.items()}
    stated = given.get("reasons") or given.get("reason") or ""
    lines = [str(one) for one in stated if one is not None] if isinstance(stated, list | tuple) else [str(stated)]
    reasoning = "\n".join(line.strip() for line in lines if line.strip())
    names = {key: str(given.get(key) or "") for key in ("country", "region", "city")}
    # Through the grammar, so that placeholders and "unknown" are no places here either.
    claims = "\n".join(f"{key}: {' '.join(name.split())}" for key, name in names.items() if name.strip())
    read = parse(f"<think></think><answer>{claims}</answer>")
    if isinstance(read, Unparsable):
        return None
    return Answer(reasoning, read.country, read.region, read.city, abstains=read.abstains)


def _literal(text: str) -> dict[Any, Any] | None:
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or not 0 < end - start <= MAX_LITERAL_CHARS:
        return None
    body = text[start : end + 1]
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(body)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return value
    return None


@dataclass(frozen=True, slots=True)
class _Raw:
    """A row as it stands. `answer` is None where none can be read, `fault` where the row has no shape at all."""

    id: str
    image: str
    answer: Answer | None
    fault: str = ""


def _conversations(path: Path, text: str) -> Iterator[_Raw]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SetupError(f"{path}: not JSON ({error})") from error
    if not isinstance(rows, list):
        raise SetupError(f"{path}: expected a list of conversations, as in georeasoner_sft.json")
    return (_conversation(row) for row in rows)


def _conversation(row: Any) -> _Raw:
    turns = row.get("conversations") if isinstance(row, dict) else None
    if not isinstance(turns, list):
        return _Raw("", "", None, "The row has no list of conversations.")
    name = str(row.get("id") or "")
    image, asked = "", False
    for turn in turns:
        if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
            return _Raw(name, image, None, "A turn of the conversation has no text.")
        if str(turn.get("from")).lower() not in _ASSISTANT:
            found = _IMAGE.search(turn["value"])
            image, asked = image or (found[1].strip() if found else ""), True
        elif asked:
            return _Raw(name, image, read_literal(turn["value"]))
    return _Raw(name, image, None, "Nobody answers in the conversation.")


def _table(path: Path, text: str) -> Iterator[_Raw]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    try:
        header = [(name or "").strip().lower() for name in reader.fieldnames or ()]
    except csv.Error as error:
        raise SetupError(f"{path}: not CSV ({error})") from error
    if missing := {"image", "country"} - set(header):
        raise SetupError(
            f"{path}: the header lacks {', '.join(sorted(missing))}; it needs image,clue,country[,city]"
        )
    if twice := [name for name, count in Counter(header).items() if count > 1 and name in _COLUMNS]:
        raise SetupError(f"{path}: the header has {', '.join(twice)} twice")
    reader.fieldnames = header
    return _table_rows(path, reader)


def _table_rows(path: Path, reader: "csv.DictReader[str]") -> Iterator[_Raw]:
    try:
        for row in reader:
            if None in row or None in row.values():
                yield _Raw("", "", None, "The row has not as many fields as the header.")
                continue
            said = {name: row.get(name, "").strip() for name in _COLUMNS}
            answer = Answer(said["clue"], said["country"] or None, said["region"] or None, said["city"] or None)
            yield _Raw("", said["image"], answer)
    except csv.Error as error:
        raise SetupError(f"{path}: line {reader.line_num} is not CSV ({error})") from error


def _check(
    number: int, raw: _Raw, countries: Countries, folders: tuple[Path, Path] | None, reasons: Reasons
) -> Clue | Unusable:
    answer = raw.answer or Answer()
    codes = countries.find(answer.country or "")
    if folders is None:
        image: Path | None = Path(raw.image)
    else:
        image = _find(raw.image, *folders) if raw.image else None
    said = "\n".join(line.strip() for line in answer.reasoning.splitlines() if line.strip())
    for reason, detail in _faults(raw, codes, image, lacks_reasons=reasons == "required" and not said):
        return Unusable(number, raw.id or f"row {number}", reason, detail)
    assert image is not None
    identity = raw.id or _identity(image, said)
    country = countries.by_code[codes[0]].name
    return Clue(identity, image, country, answer.region or "", answer.city or "", said)


def _faults(
    raw: _Raw, codes: tuple[str, ...], image: Path | None, *, lacks_reasons: bool
) -> Iterator[tuple[WhyUnusable, str]]:
    """What is wrong with a row, the plainest first."""
    if raw.fault:
        yield WhyUnusable.MALFORMED, raw.fault
    if not raw.image and image is None:
        yield WhyUnusable.NO_IMAGE, "The row names no picture."
    if raw.answer is None:
        yield WhyUnusable.NO_ANSWER, "No place can be read in the answer."
    elif raw.answer.country is None:
        yield WhyUnusable.NO_COUNTRY, "The row names no country."
    elif len(codes) != 1:
        what = "may be several countries" if codes else "is no country that the gazetteer knows"
        yield WhyUnusable.UNKNOWN_COUNTRY, f"{raw.answer.country!r} {what}."
    if lacks_reasons:
        yield WhyUnusable.NO_REASONS, "The row gives no clue."
    if image is None:
        yield WhyUnusable.IMAGE_MISSING, f"There is no picture {raw.image!r}."


def _find(name: str, folder: Path, pictures: Path) -> Path | None:
    """The picture of this name; folders of other systems are parted by either slash."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    candidates = [folder / name, *(pictures.joinpath(*parts[start:]) for start in range(len(parts)))]
    for path in candidates:
        try:
            if path.is_file():
                return path
        except (OSError, ValueError):  # too long, or with characters that no file can have
            continue
    return None


def _identity(image: Path, said: str) -> str:
    return f"{image.name}-{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
