"""Reads labelled place fields out of the text of an answer, whatever dress a model gives them.

Seen from real models: capitalised labels, markdown, bullets, brackets, full-width colons, several labels on one
line, code fences, JSON, JSON with single quotes (GeoReasoner), "City, Country" without labels. A value never
continues on the next line: an empty `country:` stays empty, whatever follows.
"""

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from worker.reason.coordinates import read_pair, read_single

MAX_NAME_CHARS = 200
_MAX_LINE_CHARS = 2000
_MAX_LINES = 2000
_MAX_JSON_CHARS = 20_000
_MAX_REASONS_CHARS = 20_000

_LABELS = {
    "country": ("country", "nation", "country name", "country/territory"),
    "region": ("region", "state", "province", "state/province", "region/state", "state/region", "prefecture",
               "county", "administrative area", "admin1"),
    "city": ("city", "town", "village", "city/town", "town/city", "locality", "nearest city", "municipality"),
    "lat": ("lat", "latitude"),
    "lon": ("lon", "lng", "long", "longitude"),
    "pair": ("coordinates", "coordinate", "gps", "gps coordinates", "lat/lon", "lat, lon", "latitude, longitude",
             "coords"),
    "place": ("location", "place", "answer", "final answer"),
    "reasons": ("reasons", "reason", "reasoning", "explanation", "clues"),
    "other": ("continent", "confidence", "address", "street", "landmark", "district", "neighborhood",
              "neighbourhood", "note", "notes", "population"),
}  # fmt: skip
_KIND = {label: kind for kind, labels in _LABELS.items() for label in labels}
_LABEL = re.compile(
    r"(?<!\w)[\"']?("
    + "|".join(re.escape(label).replace(r"\ ", " ") for label in sorted(_KIND, key=len, reverse=True))
    + r")[\"']?\s{0,5}[:=]",
    re.IGNORECASE,
)
_XML = re.compile(r"<(/?)(country|region|state|city|lat|lon)>", re.IGNORECASE)
_PLACE_KINDS = frozenset({"country", "region", "city"})

_UNSTORABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_BULLET = re.compile(r"^\s*(?:[-•·>#]+|\(?\d{1,2}[.)])\s+")
_NUMBERING = re.compile(r"[;,]\s{1,3}\(?\d{1,2}[.)]\s{0,3}$")  # of the label that follows on the same line
_WRAPPERS = " :=\t\"'“”‘’«»[](){}<>,;|."
_MARKUP = re.compile(r"[<>{}*`]|__+")
_INITIALS = re.compile(r"\b[A-Z]\.[A-Z](?:\.[A-Z])?$")
_UNSURE = re.compile(r"(?:unknown|unclear|uncertain|not sure|unidentified)\b")
_CANNOT = re.compile(
    r"(?:cannot|can't|can ?not|could not|couldn't|unable to|impossible to|not possible to)\s+(?:be\s+)?"
    r"(?:reliably\s+|confidently\s+|accurately\s+)?(?:tell|told|determine|identif|locat|say|place|know|pinpoint)",
    re.IGNORECASE,
)
_UNKNOWN = frozenset({
    "unknown", "cannot tell", "can't tell", "cannot determine", "cannot be determined", "undetermined",
    "indeterminate", "not sure", "unsure", "uncertain", "unclear", "unidentified", "undisclosed",
    "not identifiable", "not locatable", "cannot locate", "not known", "not possible to determine",
    "unknown location", "unknown country", "not determinable", "could not be determined",
})  # fmt: skip
_PLACEHOLDERS = frozenset({
    "", "x", "xx", "xxx", "y", "z", "n/a", "na", "none", "null", "nil", "nan", "-", "--", "---", "?", "??",
    "???", "...", "…", "tbd", "country", "city", "region", "state", "name", "country name", "city name",
    "region name", "your answer", "your answer here", "answer", "string", "value", "not specified",
    "unspecified", "not available", "not applicable", "not given", "the country", "the city",
    "insert country", "insert city", "empty", "blank", "the country's english name",
    "the state or province, if you can tell", "the city or town, if you can tell",
})  # fmt: skip


def clean(text: str) -> str:
    """The text without what Postgres cannot store (NUL, lone surrogates) or a reader cannot see (control and
    direction characters); line ends are \\n."""
    return _UNSTORABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n"))


@dataclass(frozen=True, slots=True)
class Fields:
    """What was found. None where nothing, or nothing that is a place, stands under a label.

    `before` is the text above the labels that were read.
    """

    country: str | None = None
    region: str | None = None
    city: str | None = None
    lat: float | None = None
    lon: float | None = None
    reasons: str = ""
    before: str = ""
    abstains: bool = False
    notes: tuple[str, ...] = field(default=())


class _Labelled(NamedTuple):
    kind: str
    value: str
    line: int


def read_fields(body: str, *, in_answer: bool) -> Fields | None:
    """The fields of an answer's text, or None where it has no place line at all.

    `in_answer` says that the text stood inside answer tags: then the first value of a field counts, and a lone
    "City, Country" is accepted. Elsewhere the labels may be part of the thinking, and the last group counts.
    """
    body = _XML.sub(lambda tag: "\n" if tag[1] else f"\n{tag[2]}: ", body)
    body = body.replace("：", ":").replace("＝", "=").replace("```json", "\n").replace("```", "\n")
    values = _from_json(body)
    if values is not None:
        return replace(_from_values(values), before=body[: body.rfind("{")], notes=("read from JSON",))
    lines = body.split("\n")[-_MAX_LINES:]
    labelled = _labelled(lines)
    first_line, values = _choose(labelled, in_answer=in_answer)
    if not values:
        return _unlabelled(lines, in_answer=in_answer)
    return replace(_from_values(values), before="\n".join(lines[:first_line]))


def _labelled(lines: list[str]) -> list[_Labelled]:
    """Every label in order. A value ends at the next label or at the end of its line."""
    found = []
    for number, line in enumerate(lines):
        plain = _BULLET.sub("", line[:_MAX_LINE_CHARS].replace("*", "").replace("`", "").replace("__", ""))
        found += [_Labelled(_KIND[label], value, number) for label, value in _by_label(plain)]
    return found


def _by_label(text: str) -> list[tuple[str, str]]:
    """Each label in lower case, with the text up to the next label or the end."""
    matches = list(_LABEL.finditer(text))
    ends = [match.start() for match in matches[1:]] + [len(text)]
    return [
        (match[1].lower(), _NUMBERING.sub("", text[match.end() : end]))
        for match, end in zip(matches, ends, strict=False)
    ]


def _choose(labelled: list[_Labelled], *, in_answer: bool) -> tuple[int, dict[str, str]]:
    """The number of the first line of the group that counts, and its values by kind."""
    if not in_answer:
        countries = [index for index, label in enumerate(labelled) if label.kind == "country"]
        start = countries[-1] if countries else 0
        taken = {label.kind for label in labelled[start:]}
        while (
            start > 0 and labelled[start - 1].kind in {"city", "region"} - taken
        ):  # a city line above the country
            start -= 1
            taken.add(labelled[start].kind)
        labelled = labelled[start:]
    values: dict[str, str] = {}
    for label in labelled:
        values.setdefault(label.kind, label.value)
    if values.keys() <= {"reasons", "other"}:
        return 0, {}
    return labelled[0].line, values


def _from_values(values: dict[str, str]) -> Fields:
    fields = Fields(
        country=_name(values.get("country", "")),
        region=_name(values.get("region", "")),
        city=_name(values.get("city", "")),
        lat=read_single(values["lat"], "lat") if "lat" in values else None,
        lon=read_single(values["lon"], "lon") if "lon" in values else None,
        reasons=clean(values.get("reasons", ""))[:_MAX_REASONS_CHARS].strip(),
        abstains=_is_unknown(values.get("country", "")) or _is_unknown(values.get("place", "")),
    )
    for kind in ("pair", "place"):
        if fields.lat is None and fields.lon is None and (point := read_pair(values.get(kind, ""))) is not None:
            fields = replace(fields, lat=point[0], lon=point[1])
    if fields.country is None and fields.city is None and not fields.abstains:
        loose = _city_country(values.get("place", ""))
        if loose is not None:
            fields = replace(fields, country=loose.country, region=loose.region, city=loose.city)
    return fields


def _unlabelled(lines: list[str], *, in_answer: bool) -> Fields | None:
    """A lone "City, Country" line, or a sentence that declines to answer."""
    filled = [line.strip() for line in lines if line.strip()]
    if not filled:
        return None
    last = filled[-1][:_MAX_LINE_CHARS]
    if _CANNOT.search(last) or (len(filled) == 1 and _is_unknown(last)):
        return Fields(abstains=True, before="\n".join(filled[:-1]), notes=("no labels",))
    if len(filled) > 1 or len(last) > MAX_NAME_CHARS:
        return None
    if not in_answer and ("," not in last or not _is_title(last)):
        return None  # any short sentence would do
    return _city_country(last)


def _city_country(line: str) -> Fields | None:
    """ "Paris, France", "Paris, Texas, USA" or "France"; None for anything longer, such as a sentence."""
    plain = _BULLET.sub("", line[:_MAX_LINE_CHARS].replace("*", ""))
    point = read_pair(plain)
    plain = re.split(r"[(\d]", plain, maxsplit=1)[0]
    names = [name for part in plain.split(",") if (name := _name(part)) is not None]
    if not 1 <= len(names) <= 4 or any(len(name.split()) > 5 for name in names):
        return None
    return Fields(
        country=names[-1],
        region=names[-2] if len(names) > 2 else None,
        city=names[0] if len(names) > 1 else None,
        lat=point[0] if point else None,
        lon=point[1] if point else None,
        notes=("no labels",),
    )


def _is_title(line: str) -> bool:
    """Is every longer word capitalised, as in a place name?"""
    return not any(word[0].islower() for word in re.findall(r"[^\W\d_]{4,}", line))


def _from_json(body: str) -> dict[str, str] | None:
    """Keys and values of the last {…} that holds a place, or None. Single-quoted pseudo-JSON is read as well."""
    end = body.rfind("}")
    start = body.rfind("{", 0, end) if end >= 0 else -1
    if start < 0 or end - start > _MAX_JSON_CHARS:
        return None
    text = body[start : end + 1]
    try:
        loaded: Any = json.loads(text)
    except (ValueError, RecursionError):
        loaded = _read_quoted(text)
    values: dict[str, str] = {}
    for key, value in loaded.items():
        kind = _KIND.get(str(key).strip().lower().replace("_", " "))
        if kind is not None:
            values.setdefault(kind, _flat(value))
    return values if values.keys() - {"reasons", "other"} else None


def _flat(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(str(item) for item in value[:100])
    return "" if value is None else str(value)


def _read_quoted(text: str) -> dict[str, str]:
    """Reads `{'country': 'Côte d'Ivoire', 'reasons': ['a', 'b']}` by its known keys; no evaluation.

    A value runs to the next known key. Apostrophes inside it stay, since only its ends are trimmed.
    """
    values: dict[str, str] = {}
    for label, value in _by_label(text[:-1]):
        raw = value.strip().rstrip(",").strip()
        items = re.split(r"['\"]\s{0,5},\s{0,5}['\"]", raw.strip("[]")) if raw.startswith("[") else [raw]
        values.setdefault(label, "\n".join(item.strip().strip("'\"") for item in items))
    return values


def _name(raw: str) -> str | None:
    """The name without wrapping, or None where it is empty, a placeholder or says "unknown"."""
    plain = _MARKUP.sub(" ", clean(raw[: 2 * MAX_NAME_CHARS]))
    label = _LABEL.search(plain)  # in JSON a value may hold another label
    name = " ".join(plain[: label.start() if label else None].split())[:MAX_NAME_CHARS].strip(_WRAPPERS)
    if name.count("(") == name.count(")") + 1:
        name += ")"  # "Mumbai (Bombay)": this one was no wrapper
    elif _INITIALS.search(name):
        name += "."  # "Washington, D.C."
    if _is_unknown(name) or name.casefold() in _PLACEHOLDERS or not any(map(str.isalpha, name)):
        return None
    return name


def _is_unknown(raw: str) -> bool:
    folded = raw[: 2 * MAX_NAME_CHARS].casefold().strip(_WRAPPERS)
    return folded in _UNKNOWN or _UNSURE.match(folded) is not None or _CANNOT.search(folded) is not None
