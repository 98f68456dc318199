"""Writes kept samples as parquet in the shape of MP16-Reason, with our columns beside.

MP16-Reason (arXiv 2506.14674) as GLOBE's code reads it (github.com/lingli1996/GLOBE, plugin.py): `images`, a
list of {bytes, path}; `response`, the reasoning; `solution`, the known place in the tags <country> and <city>;
`entities`, a list of {text}. No feature types are declared beside the columns, so that `images[0]["bytes"]` is
what it is there.

Photographs are taken from their source at this moment and are written only where they are byte for byte what the
teachers saw. Memory: one row group, and the few photographs that are on their way.
"""

import hashlib
import io
import os
import re
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainer.curate.originals import CHANGED, Fetch, Original, OriginalChanged
from trainer.curate.output.rows import Kept
from worker.errors import JobError, SetupError
from worker.intake.formats import sniff
from worker.intake.limits import Limits
from worker.intake.picture import decode
from worker.intake.uri import local_path, shown

DATA_FOLDER = "data"
_ROWS_PER_GROUP = 100
_BYTES_PER_GROUP = 64 << 20
_BYTES_PER_FILE = 480 << 20
_SUFFIX = {"jpeg": "jpg", "tiff": "tif", "jpeg2000": "jp2"}
_QUALITY = 92
_TAG = re.compile(r"[<>]")


@dataclass(frozen=True, slots=True)
class Written:
    """`rows` of so many `photographs` in `files`. `left_out` counts samples by reason, `reduced` the photographs
    that were too large to be written as they are. `by_country`, `by_teacher`, `by_licence`, `by_entities` count
    rows."""

    rows: int
    photographs: int
    files: tuple[str, ...]
    size_bytes: int
    left_out: Counter[str] = field(default_factory=Counter)
    reduced: int = 0
    by_country: Counter[str] = field(default_factory=Counter)
    by_city: Counter[str] = field(default_factory=Counter)
    by_teacher: Counter[str] = field(default_factory=Counter)
    by_licence: Counter[str] = field(default_factory=Counter)
    with_entities: int = 0


@dataclass(frozen=True, slots=True)
class _Picture:
    data: bytes | None
    path: str
    kind: str


def write_dataset(
    folder: Path,
    samples: Iterable[Kept],
    *,
    source: str,
    fetch: Fetch | None,
    limits: Limits | None = None,
    reduce_above_mb: float = 8.0,
    threads: int = 8,
    on_row: Callable[[], None] | None = None,
    finish: Callable[[Path, Written], None] | None = None,
) -> Written:
    """Writes the data set to the new folder `folder`, whole or not at all.

    `fetch` None: paths instead of pictures. A larger original than `reduce_above_mb` is written as the JPEG of
    what the worker's decoder makes of it, no smaller than the models look at. `finish` adds to the folder before
    it gets its name. `on_row` is called for each sample, left out or not. Raises `SetupError` where the folder
    is there already and not empty, or pyarrow is missing, and `OSError` for a full disk.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SetupError(f"{shown(str(folder))} is there already: name a new folder")
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        (draft / DATA_FOLDER).mkdir(parents=True)
        counts = _Counts()
        with _Files(draft / DATA_FOLDER) as files:
            for sample, picture in _with_pictures(samples, fetch, limits or Limits(), reduce_above_mb, threads):
                if isinstance(picture, str):
                    counts.left_out[picture] += 1
                else:
                    files.add(row_of(sample, source=source, picture=picture))
                    counts.add(sample, picture)
                if on_row is not None:
                    on_row()
        written = counts.written(draft, files.names)
        if finish is not None:
            finish(draft, written)
        if folder.exists():
            folder.rmdir()
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return written


def row_of(sample: Kept, *, source: str, picture: _Picture) -> dict[str, Any]:
    """The row of the data set, by column."""
    return {
        "images": [{"bytes": picture.data, "path": picture.path}],
        "response": sample.reasoning,
        "solution": solution(sample.country, sample.city),
        "entities": [{"text": text} for text in sample.entities],
        "answer": sample.answer,
        "sha256": sample.sha256,
        "picture": picture.kind,
        "lat": sample.lat,
        "lon": sample.lon,
        "country_code": sample.country_code,
        "country": sample.country,
        "region": sample.region,
        "city": sample.city,
        "geoname_id": sample.geoname_id,
        "teacher": sample.teacher,
        "model": sample.model,
        "prompt_hash": sample.prompt_hash,
        "chosen": sample.chosen,
        "teachers_agreeing": list(sample.agreeing),
        "verdicts": [
            {"teacher": fate.teacher, "outcome": fate.outcome, "step": fate.step, "reason": fate.reason}
            for fate in sample.fates
        ],
        "cues": [
            {"text": cue.text, "visible": cue.visible, "by": cue.by, "score": cue.score} for cue in sample.cues
        ],
        "measures": [{"name": name, "value": value} for name, value in sorted(sample.measures.items())],
        "photographer": sample.grouped_by,
        "licence": sample.licence,
        "label_id": sample.label_id,
        "source": source,
    }


def solution(country: str | None, city: str | None) -> str:
    """The known place as MP16-Reason writes it. A tag is empty where the name is not known."""
    return f"<country>{_TAG.sub('', country or '')}</country><city>{_TAG.sub('', city or '')}</city>"


def schema() -> Any:
    """The columns, as pyarrow has them. Raises `SetupError` where pyarrow is missing."""
    pa, _ = _arrow()
    text, texts = pa.string(), pa.list_(pa.string())

    def structs(**fields: Any) -> Any:
        return pa.list_(pa.struct(list(fields.items())))

    return pa.schema({
        "images": structs(bytes=pa.binary(), path=text),
        "response": text,
        "solution": text,
        "entities": structs(text=text),
        "answer": text,
        "sha256": text,
        "picture": text,
        "lat": pa.float64(),
        "lon": pa.float64(),
        "country_code": text,
        "country": text,
        "region": text,
        "city": text,
        "geoname_id": pa.int64(),
        "teacher": text,
        "model": text,
        "prompt_hash": text,
        "chosen": pa.bool_(),
        "teachers_agreeing": texts,
        "verdicts": structs(teacher=text, outcome=text, step=text, reason=text),
        "cues": structs(text=text, visible=pa.bool_(), by=text, score=pa.float64()),
        "measures": structs(name=text, value=pa.float64()),
        "photographer": text,
        "licence": text,
        "label_id": pa.int64(),
        "source": text,
    })  # fmt: skip


class _Files:
    """Parquet files of bounded size, in row groups of bounded size."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._schema = schema()
        self._rows: list[dict[str, Any]] = []
        self._bytes_in_group = 0
        self._bytes_in_file = 0
        self._writer: Any = None
        self.names: list[str] = []

    def __enter__(self) -> "_Files":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
            if not self.names:  # a data set without rows is one too
                self._open()
        if self._writer is not None:
            self._writer.close()

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._bytes_in_group += len(row["images"][0]["bytes"] or b"") + len(row["response"])
        if len(self._rows) >= _ROWS_PER_GROUP or self._bytes_in_group >= _BYTES_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        pa, _ = _arrow()
        if self._writer is None:
            self._open()
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._bytes_in_file += self._bytes_in_group
        self._rows, self._bytes_in_group = [], 0
        if self._bytes_in_file >= _BYTES_PER_FILE:
            self._writer.close()
            self._writer, self._bytes_in_file = None, 0

    def _open(self) -> None:
        _, parquet = _arrow()
        self.names.append(f"train-{len(self.names):05d}.parquet")
        self._writer = parquet.ParquetWriter(self._folder / self.names[-1], self._schema, compression="zstd")


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    reduced: int = 0
    with_entities: int = 0
    photographs: set[str] = field(default_factory=set)
    left_out: Counter[str] = field(default_factory=Counter)
    by_country: Counter[str] = field(default_factory=Counter)
    by_city: Counter[str] = field(default_factory=Counter)
    by_teacher: Counter[str] = field(default_factory=Counter)
    by_licence: Counter[str] = field(default_factory=Counter)

    def add(self, sample: Kept, picture: _Picture) -> None:
        self.rows += 1
        self.reduced += picture.kind == "reduced"
        self.with_entities += bool(sample.entities)
        self.photographs.add(sample.sha256)
        self.by_country[sample.country or "unknown"] += 1
        self.by_city[f"{sample.city}, {sample.country}" if sample.city else "unknown"] += 1
        self.by_teacher[sample.teacher] += 1
        self.by_licence[sample.licence or "not stated"] += 1

    def written(self, draft: Path, names: list[str]) -> Written:
        size = sum((draft / DATA_FOLDER / name).stat().st_size for name in names)
        return Written(
            rows=self.rows,
            photographs=len(self.photographs),
            files=tuple(f"{DATA_FOLDER}/{name}" for name in names),
            size_bytes=size,
            left_out=self.left_out,
            reduced=self.reduced,
            by_country=self.by_country,
            by_city=self.by_city,
            by_teacher=self.by_teacher,
            by_licence=self.by_licence,
            with_entities=self.with_entities,
        )


def _with_pictures(
    samples: Iterable[Kept], fetch: Fetch | None, limits: Limits, reduce_above_mb: float, threads: int
) -> Iterator[tuple[Kept, _Picture | str]]:
    """Each sample with its picture, or with the word why it is left out; in order, a few fetched ahead."""
    if fetch is None:
        for sample in samples:
            yield sample, sample.barred or _Picture(None, local_path(sample.uri) or sample.uri, "left_out")
        return
    waiting: deque[tuple[Kept, Future[_Picture | str]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="pictures") as pool:
        try:
            for sample in samples:
                waiting.append((sample, pool.submit(_picture, sample, fetch, limits, reduce_above_mb)))
                if len(waiting) > threads:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _picture(sample: Kept, fetch: Fetch, limits: Limits, reduce_above_mb: float) -> _Picture | str:
    if sample.barred is not None:
        return sample.barred
    try:
        data = Original(sample.uri, sample.sha256, fetch, limits).read()
        if len(data) > reduce_above_mb * 1e6:
            buffer = io.BytesIO()
            image = decode(data, limits).image
            image.info.clear()
            image.save(buffer, "JPEG", quality=_QUALITY)
            return _Picture(buffer.getvalue(), f"{sample.sha256}.jpg", "reduced")
        kind = str(sniff(data))
    except OriginalChanged:
        return CHANGED
    except JobError as error:
        return str(error.reason)
    assert hashlib.sha256(data).hexdigest() == sample.sha256
    return _Picture(data, f"{sample.sha256}.{_SUFFIX.get(kind, kind)}", "original")


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise SetupError("parquet needs pyarrow, which comes with `pip install globetag[train]`") from error
    return pa, parquet
