"""The file that a row means. A row may name a path, a name without its folder, or an id without its suffix.

Rows are strangers' text: a path that leads out of the folder, by `..`, by a leading slash or over a link, is
refused.
"""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from trainer.curate.sources.found import Why
from worker.intake.sources.names import may_be_photograph

_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".heic", ".avif", ".jp2"}
)
_ADDED_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG")


class NoPicture(Exception):
    """A row means no picture that may be read. `reason` is from the closed list, the text a sentence."""

    def __init__(self, reason: Why, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Pictures:
    """The pictures below a folder.

    `flattened`: a path may also lie there with each slash turned into an underline, as MP16-Pro has them.
    `anywhere`: where a row's path leads nowhere, a single file of that name in any sub-folder is taken; the
    folder is listed once, when that is first asked for.
    """

    def __init__(self, folder: Path, *, flattened: bool = False, anywhere: bool = True) -> None:
        self._folder = folder
        self._flattened = flattened
        self._anywhere = anywhere
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path:
        """The picture that a row names. Raises `NoPicture`."""
        parts = _parts(name)
        for path in self._candidates(parts):
            try:
                if path.is_file():
                    return path
            except OSError:  # a name that is too long for a file
                continue
        if self._anywhere:
            found = [path for spelling in _spellings(parts[-1]) for path in self._named(spelling)]
            if len(found) > 1:
                raise NoPicture(Why.AMBIGUOUS_IMAGE, f"{len(found)} pictures are called {parts[-1]!r}.")
            if found:
                return found[0]
        raise NoPicture(Why.IMAGE_MISSING, f"There is no picture {name!r}.")

    def _candidates(self, parts: tuple[str, ...]) -> Iterator[Path]:
        for spelling in _spellings(parts[-1]):
            yield self._folder.joinpath(*parts[:-1], spelling)
            if self._flattened:
                nested = spelling.split("_", 2) if len(parts) == 1 else []
                yield self._folder / "_".join((*parts[:-1], spelling))
                if len(nested) == 3:
                    yield self._folder.joinpath(*nested)

    def _named(self, name: str) -> list[Path]:
        if self._by_name is None:
            self._by_name = {}
            for folder, folders, files in os.walk(self._folder):
                folders.sort(key=os.fsencode)
                for each in files:
                    if may_be_photograph(each):
                        self._by_name.setdefault(each, []).append(Path(folder, each))
        return self._by_name.get(name, [])


def _parts(name: str) -> tuple[str, ...]:
    """The path's parts; either slash parts them. Raises `NoPicture` for one that leads out of its folder."""
    plain = name.replace("\\", "/")
    path = PurePosixPath(plain)
    if path.is_absolute() or ".." in path.parts or "\0" in plain or plain[1:2] == ":" or "://" in plain:
        raise NoPicture(Why.OUTSIDE_FOLDER, f"{name!r} leads out of the folder.")
    if not path.parts:
        raise NoPicture(Why.NO_IMAGE, f"{name!r} names no file.")
    return path.parts


def _spellings(name: str) -> tuple[str, ...]:
    """The name itself, and with a suffix where it has none that pictures have."""
    if PurePosixPath(name).suffix.lower() in _SUFFIXES:
        return (name,)
    return (name, *(name + suffix for suffix in _ADDED_SUFFIXES))
