"""Addresses of photographs: canonical `file://` URIs that survive any file name, and a form fit for people.

A file name on Linux is bytes. Python carries odd bytes as surrogates (PEP 383), which neither JSON nor Postgres
accepts, so local files are stored as percent-encoded `file://` URIs (RFC 8089): plain ASCII, reversible.
"""

import os
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote_to_bytes

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_SHOWN_CHARACTERS = 300


def scheme_of(uri: str) -> str:
    """The scheme in lower case; "" for a plain path that starts with a slash, and for anything without one."""
    found = _SCHEME.match(uri)
    return found[1].lower() if found else ""


def file_uri(path: str | os.PathLike[str]) -> str:
    """The canonical URI of a local file, ASCII only. A relative path counts from the working folder.

    Symbolic links stay as they are named, so that one archive keeps one spelling; only a path with ".." is
    resolved up to its last part, because ".." after a link leads elsewhere than its spelling suggests.
    """
    absolute = Path(path).absolute()
    if ".." in absolute.parts:
        absolute = absolute.parent.resolve() / absolute.name
    return absolute.as_uri()


def local_path(uri: str) -> str | None:
    """The absolute path that a `file:` URI or a plain path names; None when it names none on this machine.

    `?` and `#` are taken literally: a file has no query or fragment, and names with both are common.
    """
    rest = uri
    if scheme_of(uri) == "file":
        rest = uri.partition(":")[2]
        if rest.startswith("//"):
            host, slash, tail = rest[2:].partition("/")
            if host.lower() not in {"", "localhost"}:
                return None
            rest = slash + tail
        if not _is_a_name(rest):
            return None
        rest = os.fsdecode(unquote_to_bytes(os.fsencode(rest)))
    return rest if rest.startswith("/") and _is_a_name(rest) else None


def shown(uri: str) -> str:
    """`uri` for messages and logs: without user names, passwords, query and fragment, on one printable line.

    The query goes because signed URLs carry their key there. Never parse the result.
    """
    scheme = scheme_of(uri)
    text = local_path(uri) if scheme in {"", "file"} else None
    if text is None and scheme in {"", "s3"}:
        text = uri
    if text is None:
        text = re.split(r"[?#]", uri, maxsplit=1)[0]
        # Whoever reads the host differently (backslashes, two "@") must not see the password either.
        text = re.sub(r"^([^:/]*:)?(/*)[^/]*@", r"\1\2", text)
    text = "".join("\N{REPLACEMENT CHARACTER}" if _is_unprintable(c) else c for c in text)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _is_a_name(text: str) -> bool:
    # JSON can carry half a surrogate pair; only those that stand for a byte can be part of a file name.
    return "\0" not in text and not re.search("[\ud800-\udc7f\udd00-\udfff]", text)


def _is_unprintable(character: str) -> bool:
    # Controls, formats (they can turn the writing direction), surrogates and line separators.
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def folder(uri: str) -> str:
    """All of an address before its last slash; of a web address without query and fragment."""
    if uri.lower().startswith(("http://", "https://")):
        uri = uri.partition("#")[0].partition("?")[0]
    return uri.rpartition("/")[0]
