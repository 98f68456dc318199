"""Reading a file of this machine: whole, unchanged while it was read, and only where that is allowed."""

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path

from schema.reasons import Reason
from worker.errors import JobError, Transient
from worker.intake.fetch_limits import in_units
from worker.intake.uri import shown

# Without O_NONBLOCK, opening a FIFO would wait for its writer for ever.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_REASONS = {
    errno.ENOENT: Reason.NOT_FOUND,
    errno.ENOTDIR: Reason.NOT_FOUND,
    errno.ELOOP: Reason.NOT_FOUND,
    errno.ENAMETOOLONG: Reason.NOT_FOUND,
    errno.EACCES: Reason.FORBIDDEN,
    errno.EPERM: Reason.FORBIDDEN,
}
"""What other codes say (a disk's EIO, a file server's ESTALE, too many open files) may pass: tried again."""


def read_file(path: str, *, max_bytes: int, roots: Sequence[Path] | None = None) -> bytes:
    """The bytes of the regular file at the absolute `path`.

    With `roots`, the file must lie below one of these folders after all symbolic links; what lies elsewhere
    is refused in the same words whether it exists or not.

    Raises JobError (not_found, forbidden, refused_address, too_large, not_an_image for what is no regular
    file), and Transient(unreachable) for a failing disk or a file that changed while it was read.
    """
    try:
        descriptor = _open(path) if roots is None else _open_below(path, roots)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor has no path
            before = os.fstat(descriptor)
            _require_regular(path, before)
            if before.st_size > max_bytes:
                raise JobError(
                    Reason.TOO_LARGE,
                    f"{shown(path)} has {in_units(before.st_size)}; the limit is {in_units(max_bytes)}.",
                )
            # One byte more than expected is asked for, so that growth shows.
            parts = []
            missing = before.st_size + 1
            while missing > 0 and (part := file.read(missing)):
                parts.append(part)
                missing -= len(part)
            after = os.fstat(descriptor)
    except OSError as error:
        raise _failure(path, error) from error
    if missing != 1 or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise Transient(Reason.UNREACHABLE, f"{shown(path)} was changed while it was read.")
    return b"".join(parts)  # a single part comes back as it is, not copied


def file_tag(path: str) -> str | None:
    """ "size:mtime_ns" of a file, a cheap sign of its state; None when it cannot be looked at."""
    try:
        return tag_of(os.stat(path))  # noqa: PTH116 - takes a str with surrogates as cheaply as it comes
    except OSError:
        return None


def tag_of(status: os.stat_result) -> str:
    """The tag of `file_tag` from a status that is already known."""
    return f"{status.st_size}:{status.st_mtime_ns}"


def _open(path: str) -> int:
    # Looked at first, because merely opening some devices acts on them.
    _require_regular(path, os.stat(path))  # noqa: PTH116
    return os.open(path, _FLAGS)


def _open_below(path: str, roots: Sequence[Path]) -> int:
    """Opens `path`'s real file, refusing any link that appears after the path was resolved.

    Each folder on the way down is opened relative to the one above with O_NOFOLLOW, so swapping a folder for
    a link between check and use gains nothing.
    """
    real = Path(os.path.realpath(path))
    for root in roots:
        real_root = root.resolve()
        if real_root in real.parents:
            break
    else:
        raise JobError(
            Reason.REFUSED_ADDRESS, f"{shown(path)} lies outside the folders that this worker may read."
        )
    *folders, name = real.relative_to(real_root).parts
    folder = os.open(real_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in folders:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        _require_regular(path, os.stat(name, dir_fd=folder, follow_symlinks=False))
        return os.open(name, _FLAGS | os.O_NOFOLLOW, dir_fd=folder)
    finally:
        os.close(folder)


def _require_regular(path: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise JobError(Reason.NOT_AN_IMAGE, f"{shown(path)} is a folder.")
    if not stat.S_ISREG(status.st_mode):
        raise JobError(Reason.NOT_AN_IMAGE, f"{shown(path)} is a device, pipe or socket, not a regular file.")


def _failure(path: str, error: OSError) -> JobError:
    detail = f"{shown(path)}: {error.strerror or error}."
    reason = _REASONS.get(error.errno or 0)
    return Transient(Reason.UNREACHABLE, detail) if reason is None else JobError(reason, detail)
