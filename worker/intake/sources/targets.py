"""What people name on the command line, turned into submissions."""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from worker.errors import JobError, SetupError
from worker.intake.fetch_limits import FetchLimits
from worker.intake.local import file_tag
from worker.intake.s3 import S3Fetcher, bucket_and_key
from worker.intake.sources.folder import walk
from worker.intake.sources.manifest import (
    CSV_SUFFIXES,
    JSON_LINES_SUFFIXES,
    address_objection,
    read_csv,
    read_json_lines,
)
from worker.intake.sources.names import may_be_photograph
from worker.intake.sources.submission import Problem, Submission
from worker.intake.uri import file_uri, local_path, scheme_of, shown

_Found = Iterator[Submission | Problem]


def iter_submissions(targets: Sequence[str], *, recursive: bool = True) -> Iterator[Submission | Problem]:
    """Everything that `targets` name, in their order, each in a fixed order, without holding it in memory.

    A target is a file, a folder, a pattern (`photos/**/*.jpg`), a manifest (.csv, .tsv, .jsonl, .ndjson), a
    web URL, or `s3://bucket/prefix`: an object of exactly this key, or else all whose keys start with it.
    Folders and prefixes yield what `names` takes for photographs; without `recursive`, not from sub-folders.
    What cannot be submitted is yielded as a `Problem`. Targets that overlap yield a photograph twice.

    Raises SetupError at once, before anything is yielded, for a target that does not exist or is no valid
    manifest; during iteration, for an S3 prefix that cannot be listed.
    """
    found = [_open(target, recursive) for target in targets]
    return chain.from_iterable(start() for start in found)


def _open(target: str, recursive: bool) -> Callable[[], _Found]:
    """How to list `target`, after checking what can be checked without listing it."""
    if os.path.lexists(target):
        return _open_path(target, recursive)
    scheme = scheme_of(target)
    if scheme == "file":
        path = local_path(target)
        if path is None or not os.path.lexists(path):
            raise SetupError(f"{shown(target)} does not exist; give a file, a folder or a manifest.")
        return _open_path(path, recursive)
    if "://" in target:
        if objection := address_objection(target):
            raise SetupError(f"{shown(target)} {objection}.")
        if scheme == "s3":
            return lambda: _prefix(target, recursive)
        return lambda: iter([Submission(target)])
    if glob.has_magic(target):
        return _open_pattern(target, recursive)
    raise SetupError(f"{shown(target)} does not exist; give a file, a folder or a manifest.")


def _open_path(path: str, recursive: bool) -> Callable[[], _Found]:
    absolute = Path(path).absolute()
    if absolute.is_dir():
        return lambda: walk(str(absolute), recursive=recursive)
    suffix = absolute.suffix.lower()
    if suffix in CSV_SUFFIXES:
        rows = read_csv(absolute)
        return lambda: rows
    if suffix in JSON_LINES_SUFFIXES:
        rows = read_json_lines(absolute)
        return lambda: rows
    return lambda: iter([_of_file(absolute)])


def _of_file(path: Path) -> Submission | Problem:
    if not path.is_file():
        return Problem(shown(str(path)), "This is not a regular file.")
    if not may_be_photograph(path.name):
        # `photos/*` in a shell names the sidecars too.
        return Problem(shown(str(path)), "This is not a photograph, going by its name.")
    return Submission(file_uri(path), file_tag(str(path)))


def _open_pattern(pattern: str, recursive: bool) -> Callable[[], _Found]:
    """The matches are sorted, so they are held in memory: about 200 bytes for each."""
    # Path.glob takes no absolute pattern.
    matches = sorted(glob.iglob(pattern, recursive=True), key=os.fsencode)  # noqa: PTH207
    if not matches:
        raise SetupError(f"{shown(pattern)} matches nothing.")
    return lambda: _matches(matches, recursive)


def _matches(matches: list[str], recursive: bool) -> _Found:
    for match in matches:
        path = Path(match).absolute()
        if path.is_dir():
            yield from walk(str(path), recursive=recursive)
        elif may_be_photograph(path.name):
            yield _of_file(path)


def _prefix(target: str, recursive: bool) -> _Found:
    store = S3Fetcher(FetchLimits())
    try:
        bucket, prefix = bucket_and_key(target)
        for item in store.list(target, recursive=recursive):
            exactly = item.key == prefix
            name = item.key.rpartition("/")[2]
            # A name that is empty stands for a folder, as the web console makes them.
            if exactly or (name and may_be_photograph(name)):
                yield Submission(f"s3://{bucket}/{item.key}", item.etag or None)
            if exactly and not prefix.endswith("/"):
                return
    except JobError as error:
        raise SetupError(f"{shown(target)} could not be listed. {error.detail}") from error
    finally:
        store.close()
