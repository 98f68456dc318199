"""Reading manifests: CSV with a header, or JSON Lines with one object per line, a row at a time.

Columns (JSON keys): exactly one of `uri`, `path`, `file` is required and holds an address or a path, relative
ones counted from the manifest's folder; `collection`, `text`, `region`, `date`, `verify` are optional; others
are left alone, so that an archive's own export can serve. A JSON row may keep its hints in an object `hints`,
as the queue's messages do. A bad row is a problem with its line number, and the rows after it are read.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from worker.errors import SetupError
from worker.intake.local import file_tag
from worker.intake.sources.submission import Problem, Submission
from worker.intake.uri import file_uri, local_path, scheme_of, shown

CSV_SUFFIXES = frozenset({".csv", ".tsv"})
JSON_LINES_SUFFIXES = frozenset({".jsonl", ".ndjson"})

_SOURCE_COLUMNS = ("uri", "path", "file")
_HINT_COLUMNS = ("text", "region", "date")
_KNOWN_COLUMNS = frozenset({*_SOURCE_COLUMNS, *_HINT_COLUMNS, "collection", "verify"})
_DELIMITERS = ",;\t"
_PLAIN_ADDRESS = re.compile(
    r"(?:https?|s3)://[a-z0-9][a-z0-9.-]*(?::[0-9]*)?(?:[/?#]|\Z)", re.ASCII | re.IGNORECASE
)
"""Nothing that `address_objection` could find wrong: a known scheme, a host or bucket, nobody's name before it."""
_YES = frozenset({"1", "true", "yes"})
_NO = frozenset({"", "0", "false", "no"})


class _Header(NamedTuple):
    names: list[str]  # lower case, without surrounding blanks
    delimiter: str


class _BadRow(ValueError):
    """The message says what is wrong with a row."""


def read_csv(manifest: Path) -> Iterator[Submission | Problem]:
    """The rows of a CSV file, delimited by the comma, semicolon or tab that its header shows.

    The header is checked at once, before the first row is asked for. Raises SetupError when the file cannot
    be read or its header has not exactly one column that names photographs.
    """
    header = _header(manifest)
    return _csv_rows(manifest, header)


def read_json_lines(manifest: Path) -> Iterator[Submission | Problem]:
    """The objects of a JSON Lines file. Raises SetupError, at once, when the file cannot be read."""
    try:
        manifest.open("rb").close()
    except OSError as error:
        _unreadable(manifest, error)
    return _json_rows(manifest)


def _header(manifest: Path) -> _Header:
    try:
        with manifest.open("rb") as file:
            first = file.readline(1 << 16)
    except OSError as error:
        _unreadable(manifest, error)
    if first[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        raise SetupError(f"{shown(str(manifest))} is UTF-16; save it as CSV in UTF-8.")
    line = first.decode("utf-8-sig", errors="replace").rstrip("\r\n")
    for delimiter in _DELIMITERS:
        names = _cells(line, delimiter)
        sources = [name for name in names if name in _SOURCE_COLUMNS]
        if sources:
            break
    else:
        raise SetupError(
            f"{shown(str(manifest))} has no column uri, path or file in its first line: {shown(line)!r}."
        )
    if len(sources) > 1:
        raise SetupError(
            f"{shown(str(manifest))} has the columns {' and '.join(sources)}; keep the one that names the"
            " photographs and rename the others."
        )
    if repeated := sorted({name for name in names if name in _KNOWN_COLUMNS and names.count(name) > 1}):
        raise SetupError(f"{shown(str(manifest))} has the column {repeated[0]} more than once.")
    return _Header(names, delimiter)


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []
    return [cell.strip().lower() for cell in cells]


def _csv_rows(manifest: Path, header: _Header) -> Iterator[Submission | Problem]:
    # Bytes that are not UTF-8 come in as surrogates, so that the row at fault can be named.
    with manifest.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, delimiter=header.delimiter, strict=True)
        next(rows)
        while True:
            line = rows.line_num + 1
            try:
                cells = next(rows)
                if not cells:
                    continue
                if len(cells) != len(header.names):
                    raise _BadRow(f"it has {len(cells)} fields where the header has {len(header.names)}")
                row = zip(header.names, cells, strict=True)
                yield _submission(manifest, {name: cell for name, cell in row if name in _KNOWN_COLUMNS})
            except StopIteration:
                return
            except (_BadRow, csv.Error) as error:
                yield _problem(manifest, line, rows.line_num, error)


def _json_rows(manifest: Path) -> Iterator[Submission | Problem]:
    with manifest.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            try:
                text = raw.decode("utf-8-sig" if line == 1 else "utf-8").strip()
                if not text:
                    continue
                row = json.loads(text)
                if not isinstance(row, dict):
                    raise _BadRow("it is not a JSON object")
                yield _submission(manifest, row)
            except UnicodeDecodeError:
                yield _problem(manifest, line, line, _BadRow("it is not UTF-8"))
            except (_BadRow, ValueError, RecursionError) as error:
                yield _problem(manifest, line, line, error)


def _submission(manifest: Path, row: Mapping[str, Any]) -> Submission:
    hints = row.get("hints") or {}
    if not isinstance(hints, dict):
        raise _BadRow("hints is not a JSON object")
    sources = [source for name in _SOURCE_COLUMNS if name in row and (source := _text(name, row[name]))]
    if len(sources) != 1:
        raise _BadRow("it names no photograph" if not sources else "it names several photographs")
    uri = _canonical(manifest, sources[0])
    hinted = ((name, row.get(name, hints.get(name))) for name in _HINT_COLUMNS if name in row or name in hints)
    texts = {name: text for name, value in hinted if (text := _text(name, value))}
    path = local_path(uri)
    return Submission(
        uri=uri,
        source_tag=None if path is None else file_tag(path),
        hints=texts,
        collection=_text("collection", row.get("collection")) or None,
        verify=_flag("verify", row.get("verify")),
    )


def _canonical(manifest: Path, source: str) -> str:
    if _PLAIN_ADDRESS.match(source):
        return source
    if "://" not in source and scheme_of(source) != "file":
        return file_uri(manifest.parent / source)
    if scheme_of(source) == "file":
        path = local_path(source)
        if path is None:
            raise _BadRow(f"{shown(source)} names no file on this machine")
        return file_uri(path)
    if objection := address_objection(source):
        raise _BadRow(f"{shown(source)} {objection}")
    return source


def address_objection(uri: str) -> str | None:
    """What is wrong with the form of a web or S3 address, as the end of a sentence about it; None if nothing.

    Only what will never become right is refused; whether the host may be reached, the fetch decides.
    """
    scheme = scheme_of(uri)
    if scheme not in {"http", "https", "s3"}:
        return f"has the scheme {scheme[:20]!r}, where http, https, s3 or file is possible"
    try:
        parts = urlsplit(uri)
    except ValueError:
        return "is not a valid address"
    if not parts.netloc:
        return "names no host or bucket"
    if "@" in parts.netloc:
        return "carries a user name or password, which would be stored"
    return None


def _text(name: str, value: object) -> str:
    """A cell as text, "" for none. Numbers are taken for what they look like: a year is often written so."""
    if type(value) is str and value.isprintable():  # neither NUL nor half a surrogate pair is
        return value.strip()
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _BadRow(f"{name} is not text")
    text = str(value).strip()
    if "\0" in text:
        raise _BadRow(f"{name} has a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _BadRow(f"{name} is not UTF-8") from error
    return text


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = _text(name, value).lower()
    if word not in _YES | _NO:
        raise _BadRow(f"{name} is {shown(word)!r}, where true or false is possible")
    return word in _YES


def _problem(manifest: Path, first: int, last: int, error: Exception) -> Problem:
    lines = f"line {first}" if last <= first else f"lines {first} to {last}"
    return Problem(f"{shown(str(manifest))}, {lines}", f"This row was left out: {_words(error)}.")


def _words(error: Exception) -> str:
    if isinstance(error, _BadRow):
        return str(error)
    if isinstance(error, csv.Error):
        return f"it is not valid CSV ({error}), often a quotation mark that is never closed"
    return f"it is not valid JSON ({error})"


def _unreadable(manifest: Path, error: OSError) -> NoReturn:
    raise SetupError(f"{shown(str(manifest))} could not be read: {error.strerror}.") from error
