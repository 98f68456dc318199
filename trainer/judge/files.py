"""Tables out of files: CSV with any usual delimiter, JSON, JSON lines. Rows keep their number for messages."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from worker.errors import SetupError
from worker.intake.uri import shown

_DELIMITERS = ",;\t|"
_LIST_KEYS = ("predictions", "results", "data", "rows", "images", "items", "samples", "annotations")
_EMPTY = frozenset({"", "nan", "none", "null", "na", "n/a", "-"})
_MAX_CELL_CHARS = 10_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """`fields` by folded column name. `number` is the line of a CSV or JSON lines file, else the item, from 1."""

    number: int
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A file's rows, in its order. `columns` are the folded names, `unit` is "line" or "item"."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    unit: str = "line"

    def where(self, row: Row) -> str:
        """File and row, for messages."""
        return f"{self.name}, {self.unit} {row.number:,}"


def read_table(path: Path, *, columns: Sequence[str] | None = None) -> Table:
    """Reads a whole file. `columns` names the first ones of a tab-separated file without a header line.

    Raises `SetupError` that names file and row where the file is missing, empty, not text, or no table.
    """
    name = shown(str(path))
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SetupError(f"{name} cannot be read: {error.strerror}") from error
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SetupError(f"{name} is UTF-16; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SetupError(f"{name}, line {line:,}: not UTF-8; save the file as UTF-8") from error
    if not text.strip():
        raise SetupError(f"{name} is empty: 0 rows")
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        table = _read_json_lines(name, text)
    elif suffix == ".json":
        table = _read_json(name, text)
    else:
        table = _read_csv(name, text, columns)
    if not table.rows:
        raise SetupError(f"{name} has a header and 0 rows")
    return table


def fold_column(name: str) -> str:
    """ "Pred Lat", "pred-lat" and "pred_LAT" are one column."""
    return re.sub(r"[\s\-./]+", "_", name.strip().lower())


def is_empty(value: object) -> bool:
    """No value: an empty cell, null, or one of the words that stand for it ("NaN", "None")."""
    if isinstance(value, float):
        return math.isnan(value)  # json.loads accepts NaN
    return value is None or (isinstance(value, str) and value.strip().lower() in _EMPTY)


def _read_csv(name: str, text: str, columns: Sequence[str] | None) -> Table:
    first = text.split("\n", 1)[0]
    delimiter = "\t" if columns is not None else max(_DELIMITERS, key=first.count)
    csv.field_size_limit(_MAX_CELL_CHARS)
    lines = io.StringIO(text, newline="")
    if columns is None:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    else:  # Flickr's own tables hold lone quotation marks in free text, and no quoting at all
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    try:
        header = tuple(columns) if columns is not None else tuple(fold_column(cell) for cell in next(reader))
        _check_header(name, header)
        rows = []
        while True:
            number = reader.line_num + 1
            cells = next(reader, None)
            if cells is None:
                break
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) < len(header) or (columns is None and len(cells) > len(header)):
                raise SetupError(
                    f"{name}, line {number:,}: {len(cells)} fields where there must be {len(header)}"
                    " (a footer, a broken quotation mark or a delimiter inside a name)"
                )
            rows.append(Row(number, dict(zip(header, cells, strict=False))))
    except csv.Error as error:
        raise SetupError(f"{name}, line {reader.line_num:,}: not valid CSV ({error})") from error
    return Table(name, header, tuple(rows))


def _check_header(name: str, header: Sequence[str]) -> None:
    repeated = sorted({column for column in header if column and header.count(column) > 1})
    if repeated:
        raise SetupError(f"{name}, line 1: the column {repeated[0]!r} is there {header.count(repeated[0])} times")
    if all(re.fullmatch(r"[-+.\d_eE]*", column) for column in header):
        raise SetupError(f"{name}, line 1: no header line; the first line must name the columns")


def _read_json_lines(name: str, text: str) -> Table:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            rows.append(_object(name, "line", number, _loads(name, line, number)))
    return _of_objects(name, rows, "line")


def _read_json(name: str, text: str) -> Table:
    loaded = _loads(name, text, None)
    if isinstance(loaded, dict):
        listed = next((loaded[key] for key in _LIST_KEYS if isinstance(loaded.get(key), list)), None)
        if listed is not None:
            loaded = listed
        elif loaded and all(isinstance(value, dict) for value in loaded.values()):
            loaded = [{"id": key} | value for key, value in loaded.items()]  # {id: {lat, lon}}
        elif loaded and all(isinstance(value, list) for value in loaded.values()):
            loaded = _from_columns(name, loaded)
    if not isinstance(loaded, list):
        raise SetupError(f"{name}: not a list of objects, nor an object of them by id or by column")
    rows = [_object(name, "item", number, item) for number, item in enumerate(loaded, start=1)]
    return _of_objects(name, rows, "item")


def _from_columns(name: str, columns: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise SetupError(f"{name}: its columns have different lengths: {lengths}")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _loads(name: str, text: str, line: int | None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        at = line if line is not None else getattr(error, "lineno", 1)
        _fail(f"{name}, line {at:,}: not valid JSON ({str(error)[:120]})", error)


def _object(name: str, unit: str, number: int, item: Any) -> Row:
    if not isinstance(item, dict):
        raise SetupError(f"{name}, {unit} {number:,}: not a JSON object")
    return Row(number, {fold_column(str(key)): value for key, value in item.items()})


def _of_objects(name: str, rows: Iterable[Row], unit: str) -> Table:
    listed = tuple(rows)
    columns = dict.fromkeys(key for row in listed for key in row.fields)
    return Table(name, tuple(columns), listed, unit)


def _fail(message: str, cause: Exception) -> NoReturn:
    raise SetupError(message) from cause
