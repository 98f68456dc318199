"""What leaves for other programs: one file per format.

All formats say the same of each job and differ only in shape. Known places and predictions are told apart by
`place_kind`; output of untrained models is marked by `untrained` and in the remarks; a job without a place has no
point in any of them, but its state and its reason.
"""

from collections.abc import Callable, Iterable
from typing import TextIO

from worker.export import darwin_core, geojson, jsonl
from worker.export.rows import ExportRow

FORMATS: dict[str, Callable[[Iterable[ExportRow], TextIO], int]] = {
    "csv": darwin_core.write,
    "geojson": geojson.write,
    "jsonl": jsonl.write,
}
"""Each format's name with what writes it."""


def write(format_: str, rows: Iterable[ExportRow], stream: TextIO) -> int:
    """Writes all rows to `stream` and returns how many there were. Holds one row at a time.

    `stream` takes text as UTF-8 and must not translate line ends (`newline=""`). Nothing is repaired when `rows`
    or `stream` raises on the way: write to a draft and rename it. Raises `KeyError` for an unknown format.
    """
    return FORMATS[format_](rows, stream)
