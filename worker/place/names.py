"""Place names made comparable: folding, and the shapes in which people write one name."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ə": "e", "ħ": "h"}
)
_SILENT = dict.fromkeys(map(ord, "'’‘`´ʻʼʹ"))
_NOT_WORDS = re.compile(r"[\W_]+")
_ABBREVIATIONS = {"st": "saint", "ste": "sainte", "mt": "mount", "ft": "fort", "sta": "santa", "sto": "santo"}

_CITY_PREFIX = re.compile(
    r"(?:the )?(?:city|town|village|municipality|commune|metropolitan area|province|prefecture|region|district)"
    r" of "
    r"|(?:greater|metropolitan|downtown|central|near|old|historic) (?=\w)"
)
_CITY_SUFFIX = re.compile(
    r" (?:city|town|village|municipality|metropolitan area|metropolitan city|metro area|urban area|area|"
    r"prefecture|district|old town|city centre|city center|downtown|and surroundings|shi)$"
)
_REGION_WORDS = frozenset({
    "the", "of", "province", "provincia", "region", "regione", "state", "estado", "oblast", "krai", "kray",
    "prefecture", "department", "departement", "departamento", "county", "governorate", "canton",
    "voivodeship", "division", "lan", "regency", "republic", "autonomous", "special",
})  # fmt: skip
_MAX_NAME_CHARS = 200


@lru_cache(maxsize=4096)
def fold(name: str) -> str:
    """The name without case, accents, apostrophes and punctuation; "St." reads "saint". Any script; may be ""."""
    if name.isascii():
        plain = name.lower()
    else:
        # Twice, since one step can undo the other: "𝕬" decomposes to a capital, "ŉ" folds to two signs.
        decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
        plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter)).translate(_LETTERS)
    words = _NOT_WORDS.sub(" ", plain.translate(_SILENT)).split()
    return " ".join(_ABBREVIATIONS.get(word, word) for word in words)


def fold_region(name: str) -> str:
    """`fold` without the words for a kind of division: "Texas", "State of Texas" and "Texas state" are one."""
    words = fold(name).split()
    kept = [word for word in words if word not in _REGION_WORDS]
    return " ".join(kept or words)


def city_readings(text: str) -> Iterator[str]:
    """The folded names that `text` may mean, most literal first, each once.

    "Mumbai (Bombay)" and "Bombay / Mumbai" hold two names; "City of Bath" and "Quezon City" may or may not mean
    their last or first word, so the whole is tried first. What follows a comma is not part of the name.
    """
    text = text[:_MAX_NAME_CHARS]
    head = text.partition(",")[0]
    wholes = [head, *re.split(r"[()/]", head)] if re.search(r"[()/]", head) else [head]
    seen = {""}
    for candidate in [text, *wholes]:
        folded = fold(candidate)
        if folded not in seen:
            seen.add(folded)
            yield folded
    for candidate in wholes:
        shorter = _CITY_SUFFIX.sub("", _CITY_PREFIX.sub("", fold(candidate), count=1))
        if shorter not in seen:
            seen.add(shorter)
            yield shorter


def after_comma(text: str) -> list[str]:
    """["Texas", "USA"] of "Paris, Texas, USA"."""
    return [part.strip() for part in text[:_MAX_NAME_CHARS].split(",")[1:] if part.strip()]


class RegionNames:
    """Finds the code of a country's division by one of its names. A name that two share finds neither."""

    def __init__(self, names_by_code: Mapping[str, Sequence[str]]) -> None:
        self._whole: dict[str, set[str]] = {}
        self._bare: dict[str, set[str]] = {}
        self._postal: dict[str, set[str]] = {}
        for code, names in names_by_code.items():
            for name in names:
                if _is_postal(name):
                    self._postal.setdefault(name, set()).add(code)
                else:
                    self._whole.setdefault(fold(name), set()).add(code)
                    self._bare.setdefault(fold_region(name), set()).add(code)

    def find(self, text: str) -> str | None:
        """The whole name goes before the bare one, so that "Moscow" and "Moscow Oblast" stay two. Postal codes
        count only in capitals."""
        text = text[:_MAX_NAME_CHARS].strip()
        for codes in (
            self._postal.get(text) if _is_postal(text) else None,
            self._whole.get(fold(text)),
            self._bare.get(fold_region(text)),
        ):
            if codes and len(codes) == 1:
                return next(iter(codes))
        return None


def _is_postal(name: str) -> bool:
    return name.isupper() and name.isascii() and 2 <= len(name) <= 3
