"""What every page that is written here has in common: it appears whole, and nothing foreign runs in it."""

import base64
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def written_whole(path: Path) -> Iterator[TextIO]:
    """A file to write to that becomes `path` at the end, or nothing where that is not reached.

    Its folder is made. Raises `OSError` where it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("w", encoding="utf-8") as page:
            yield page
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def policy(style: str, script: str | None = None) -> str:
    """Content Security Policy Level 3: nothing but this style sheet, this script (None: no script at all) and
    inlined pictures."""
    allowed = f"default-src 'none'; img-src data:; style-src {_source(style)}; "
    if script is not None:
        allowed += f"script-src {_source(script)}; "
    return allowed + "base-uri 'none'; form-action 'none'"


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
