"""JSON lines: one object for each job, with every column. The format for programs that read as they go."""

import json
from collections.abc import Iterable
from typing import TextIO

from worker.export.remarks import remarks
from worker.export.rows import ExportRow


def write(rows: Iterable[ExportRow], stream: TextIO) -> int:
    """Writes one line for each row; returns how many."""
    count = 0
    for row in rows:
        record = row.to_json() | {"remarks": remarks(row)}
        stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
        count += 1
    return count
