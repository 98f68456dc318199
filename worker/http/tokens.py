"""Who may call: bearer tokens, of which only the SHA-256 is kept.

An entry of GLOBETAG_HTTP_TOKENS is `NAME:SHA256`, or `NAME:SHA256:COLLECTION,COLLECTION` for a caller who sees and
fills these collections alone; their names are percent-encoded. Several entries stand with spaces between them. Two
of the same name are the same caller: that is how a token is exchanged for another without a gap.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from urllib.parse import quote, unquote

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who may call. `collections` None: all of them, and new ones."""

    name: str
    collections: frozenset[str] | None = None

    def may_use(self, collection: str) -> bool:
        """May it put photographs into this collection, and see what became of them?"""
        return self.collections is None or collection in self.collections


ANYONE_HERE = Caller("local")
"""Whoever calls while no token is configured: that is possible from this machine alone."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token's SHA-256 (hexadecimal), and whose it is."""

    caller: Caller
    sha256: str

    @property
    def name(self) -> str:
        return self.caller.name


def read_tokens(text: str) -> tuple[Token, ...]:
    """Raises `ValueError` that names the faulty entry's place, not its text: that may be the secret itself."""
    return tuple(_read(entry, number) for number, entry in enumerate(text.split(), start=1))


def make_token(name: str, collections: tuple[str, ...] = ()) -> tuple[str, str]:
    """A fresh token of 256 random bits, and its entry. Raises `ValueError` on a bad name."""
    token = secrets.token_urlsafe(32)
    named = ",".join(quote(collection, safe="") for collection in collections)
    entry = f"{name}:{_digest(token)}" + (f":{named}" if named else "")
    read_tokens(entry)
    return token, entry


def caller_of(token: str, known: tuple[Token, ...]) -> Caller | None:
    """Whose token it is. All known ones are looked at, each in the same time, whether or not they match."""
    digest = _digest(token)
    found = None
    for each in known:
        if hmac.compare_digest(each.sha256, digest):
            found = each.caller
    return found


def _read(entry: str, number: int) -> Token:
    name, sha256, *rest = [*entry.split(":"), ""][:3] if entry.count(":") in (1, 2) else ("", "")
    if not _NAME.fullmatch(name) or not _SHA256.fullmatch(sha256):
        raise ValueError(
            f"entry {number} is not NAME:SHA256 with 64 digits of 0-9a-f (`globetag serve --new-token`)"
        )
    collections = frozenset(unquote(each) for each in "".join(rest).split(",") if each)
    if entry.count(":") == 2 and not collections:
        raise ValueError(f"entry {number} ends in ':' without the name of a collection")
    return Token(Caller(name, collections or None), sha256)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
