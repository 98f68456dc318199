"""Places that an archive's caption names, as far as they can be told with certainty. Claims, and often untrue:
a caption tells what is shown, who owned it or where it was printed.

Found are a well-known city ("Prague"), a city with its country or region ("Bath, England") and a country. A name
that may mean several places, a person ("Sofia and Victoria") or a common word says too little: large cities count
only where one single country has one of that name, and all that is found weighs little (see `worker.place.votes`).
"""

import re
from collections.abc import Iterator

from worker.place.gazetteer import Gazetteer, Place

MAX_CHARS = 500
MAX_PLACES = 3
_MAX_WORDS = 4
_WORD = re.compile(r"[^\W\d_][\w'’.-]*")
_LOWER_INSIDE = frozenset(
    {"de", "la", "le", "les", "del", "do", "da", "di", "of", "the", "am", "an", "der", "sur"}
)


def caption_places(caption: str | None, gazetteer: Gazetteer) -> tuple[Place, ...]:
    """The places that `caption` names, in its order, each once; at most `MAX_PLACES`. Never raises on text."""
    found: list[Place] = []
    for line in re.split(r"[;:()\n.!?]|,(?!\s)", (caption or "")[:MAX_CHARS]):
        parts = [part.strip() for part in line.split(",")]
        place = 0
        while place < len(parts):
            after = parts[place + 1] if place + 1 < len(parts) else None
            named, used_next = _in_part(parts[place], after, gazetteer)
            found += [each for each in named if each not in found]
            place += 2 if used_next else 1
    return tuple(found[:MAX_PLACES])


def _in_part(text: str, after: str | None, gazetteer: Gazetteer) -> tuple[list[Place], bool]:
    """The places in the words before a comma, and whether what follows it was needed to tell which."""
    names = list(_names(text))
    if after and names:
        last = names[-1]
        for country in gazetteer.country_codes(after, by_spelling=False):
            match = gazetteer.city(last, country)
            if match and not match.rivals and not match.by_spelling:
                return [match.place], True
        for region in gazetteer.regions_named(after):
            match = gazetteer.city(last, region.country_code, region.name)
            if match and not match.region_disagrees and not match.by_spelling:
                return [match.place], True
    found = [_known(name, gazetteer) or _known(_tail(name), gazetteer) for name in names]
    return [place for place in found if place is not None], False


def _known(name: str, gazetteer: Gazetteer) -> Place | None:
    if not name:
        return None
    codes = gazetteer.country_codes(name, by_spelling=False) if len(name) > 3 else ()
    if len(codes) == 1:
        return gazetteer.country(codes[0])
    homes = gazetteer.well_known_elsewhere(name, "")
    match = gazetteer.city(name, homes[0]) if len(homes) == 1 else None
    return match.place if match and not match.rivals and not match.by_spelling else None


def _tail(name: str) -> str:
    """ "Prague" of "View of Prague"; empty without such words."""
    words = name.split()
    starts = [place + 1 for place, word in enumerate(words) if word in ("of", "the")]
    return " ".join(words[starts[-1] :]) if starts else ""


def _names(text: str) -> Iterator[str]:
    """Runs of words that begin with a capital ("Rio de Janeiro"), at most four words each."""
    run: list[str] = []
    for word in [*(match[0].rstrip(".'’-") for match in _WORD.finditer(text)), ""]:
        if word and (word[0].isupper() or (run and word in _LOWER_INSIDE)):
            run.append(word)
            continue
        while run and run[-1] in _LOWER_INSIDE:
            run.pop()
        if 0 < len(run) <= _MAX_WORDS:
            yield " ".join(run)
        run = []
