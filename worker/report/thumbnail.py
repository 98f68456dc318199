"""Small pictures for the report, made from the original files: as data URIs, so that the page stays one file."""

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from schema.reasons import JobState
from worker.errors import JobError
from worker.export.remarks import sentence_of
from worker.export.rows import ExportRow
from worker.intake.local import read_file
from worker.intake.picture import decode
from worker.intake.uri import local_path

_LONGEST_SIDE_PX = 400
_QUALITY = 72
_MAX_FILE_BYTES = 128 << 20


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """`data_uri` is None where there is no picture; `note` then says why."""

    data_uri: str | None = None
    width_px: int = 0
    height_px: int = 0
    note: str = ""


def make_thumbnail(row: ExportRow, file_roots: Sequence[Path] | None = None) -> Thumbnail:
    """The photograph of a settled job, small, without any metadata.

    Only files of this machine are read (below `file_roots` where given) and only while they are still the file
    that was judged. Decodes nothing of a job that failed. Never raises because of the photograph.
    """
    path = local_path(row.uri)
    if path is None:
        return Thumbnail(note="The photograph is not on this machine.")
    if row.state != JobState.DONE or row.sha256 is None:
        return Thumbnail(note="No picture.")
    try:
        data = read_file(path, max_bytes=_MAX_FILE_BYTES, roots=file_roots)
        if hashlib.sha256(data).hexdigest() != row.sha256:
            return Thumbnail(note="The file has changed since it was judged.")
        return thumbnail_of(data)
    except JobError as error:
        return Thumbnail(note=f"No picture: {sentence_of(error.reason)}")


def thumbnail_of(data: bytes) -> Thumbnail:
    """A photograph's bytes as a small picture without any metadata. Raises `JobError` as `decode` does."""
    image = decode(data).image
    image.thumbnail((_LONGEST_SIDE_PX, _LONGEST_SIDE_PX), reducing_gap=2.0)
    image.info.clear()
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Thumbnail(f"data:image/jpeg;base64,{encoded}", image.width, image.height)
