"""The visible things that a text names: noun phrases around the nouns of a lexicon.

By rules, not by a tagger: why a sample is dropped must be explainable and the same tomorrow, and no tagger runs
without a model of its own. A thing is a noun of `trainer.curate.see.lexicon` (the longest that fits) with the
words that describe it, before it ("a low yellow taxi") or after a verb of being ("the taxi is yellow"). Not read
are what a clause denies ("no taxis"), what it merely supposes, compares with or concludes ("typical of streets in
Peru", "suggests a beach"), and names of places ("Long Beach"); of names only those of buildings are things
("Eiffel Tower"). What a sign says in quotation marks is kept apart: to see it, somebody would have to read it.

It sees no more than its lexicon, in English. What is missing there is not checked, and no count shows it: extend
the lexicon where teachers name other things.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trainer.curate.see.lexicon import CLASSES, NOUN_OF
from trainer.rewards.cues import clauses, is_denied, phrase_key

MAX_CHARS = 20_000
"""Of a longer text the beginning is read: reasons are some thousand characters."""
MAX_WORDS = 4
"""A noun of the lexicon has at most so many words."""

_QUOTED = re.compile(r"[\"“«「『]([^\"“”«»「」『』\n]{1,120})[\"”»」』]|(?<!\w)['‘]([^'‘’\n]{2,60})['’](?!\w)")
_WORD = re.compile(r"\w+(?:['’]\w+)?")
GROUPS = (
    (
        "red", "blue", "green", "yellow", "white", "black", "grey", "brown", "orange", "purple", "pink",
        "beige", "ochre", "golden", "silver", "pastel", "cream",
    ),
    (
        "wooden", "stone", "brick", "concrete", "metal", "glass", "plaster", "thatched", "tiled", "corrugated",
        "adobe", "marble", "slate", "steel", "tin",
    ),
    ("tall", "low", "small", "large"),
    ("snowy", "rocky", "sandy", "grassy", "bare"),
    ("gothic", "baroque", "modern", "medieval", "colonial"),
    ("single", "double", "triple"),
    ("dashed", "solid"),
    ("left", "right"),
)  # fmt: skip
"""Words that stand in each other's place: who says one denies the others."""
_OTHERS = frozenset({
    "big", "little", "high", "long", "short", "wide", "narrow", "old", "new", "round", "square", "flat",
    "steep", "pitched", "gabled", "hipped", "mansard", "domed", "arched", "painted", "striped", "banded",
    "whitewashed", "ornate", "neat", "lush", "dense", "dry", "bushy", "dusty", "muddy", "paved", "unpaved",
    "cobbled", "leafy", "bright", "dark", "light", "pale", "deep", "rusty", "weathered", "multi", "storey",
    "story", "two", "three", "four", "tiered", "pointed", "onion", "shaped", "snow", "capped", "covered",
    "neoclassical", "victorian", "georgian", "art", "deco", "traditional", "distinctive", "typical",
    "triangular", "rectangular", "circular", "diamond", "overhead", "terraced", "half", "timbered", "timber",
    "clay", "terracotta", "palm", "pine", "shop", "road", "street", "double", "decker", "open", "twin",
    "leaning", "slender", "slim", "plain", "dirt", "gravel", "sand", "stepped", "coniferous", "broadleaved",
    "tropical",
})  # fmt: skip
_DESCRIBING = frozenset(word for group in GROUPS for word in group) | _OTHERS
_SPELLINGS = {"gray": "grey", "colored": "coloured"}
_BEING = frozenset({"is", "are", "was", "were", "appear", "appears", "look", "looks", "painted", "seem", "seems"})
_HEDGE_PHRASES = (
    "typical of", "typical for", "typical in", "typically", "common in", "common to", "commonly",
    "characteristic of", "known for", "famous for", "unlike", "instead of", "rather than", "suggests",
    "suggest", "suggesting", "indicates", "indicate", "indicating", "implies", "imply", "implying",
    "reminiscent of", "consistent with", "associated with", "similar to", "resembles", "found in",
    "found across", "seen in", "used in", "often", "usually", "points to", "pointing to", "as in", "expected",
    "hints at", "rules out",
)  # fmt: skip
_HEDGES = tuple(tuple(phrase_key(hedge).split()) for hedge in _HEDGE_PHRASES)
"""What follows in the clause is compared with or concluded."""
_SUPPOSING = frozenset({"would", "could", "might", "should", "if"})
"""A clause with one of these tells nothing of what is seen."""
_BUILT = frozenset({
    "tower", "bridge", "church", "cathedral", "castle", "palace", "temple", "mosque", "gate", "arch", "statue",
    "monument", "fountain", "lighthouse", "stadium", "museum", "opera house", "memorial", "basilica", "shrine",
    "pagoda", "obelisk", "clock tower", "abbey", "aqueduct", "windmill", "town hall", "city hall", "fortress",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Thing:
    """`text` is how it is named, `noun` its head in the lexicon ("" for what a sign says), `classes` the
    segmentation classes that show it, `described` the words that describe it. `quoted`: it is what a sign says;
    `named`: it has a name of its own."""

    text: str
    noun: str = ""
    classes: tuple[str, ...] = ()
    described: tuple[str, ...] = ()
    quoted: bool = False
    named: bool = False


def things(reasoning: str) -> tuple[Thing, ...]:
    """The visible things that a text claims to see, in its order, each text once."""
    found: dict[str, Thing] = {}
    reasoning = reasoning[:MAX_CHARS]
    for match in _QUOTED.finditer(reasoning):
        said = " ".join((match[1] or match[2]).split())
        found.setdefault(f'"{said}"', Thing(f'"{said}"', quoted=True))
    for clause in clauses(_QUOTED.sub(" , ", reasoning)):
        for thing in _of_clause([match[0] for match in _WORD.finditer(clause)]):
            found.setdefault(thing.text, thing)
    return tuple(found.values())


def of_phrase(phrase: str) -> Thing:
    """A thing that a teacher lists by itself: the last one in the phrase, under the phrase's own words."""
    text = " ".join(phrase.split())
    read = [thing for thing in things(text) if not thing.quoted]
    if not read:
        return Thing(text, quoted=_QUOTED.fullmatch(text) is not None)
    head = read[-1]
    return Thing(text, head.noun, head.classes, head.described, named=head.named)


def _of_clause(words: Sequence[str]) -> Iterator[Thing]:
    keys = [_SPELLINGS.get(key, key) for key in map(phrase_key, words)]
    until = _hedged_from(keys)
    place = 0
    while place < until:
        noun, size = _noun_at(keys, place)
        if noun is None:
            place += 1
            continue
        start, end = place, place + size
        # "stone wall", "roof tiles": of nouns in a row the last is the thing, the others describe it.
        while end < until and (after := _noun_at(keys, end))[0] is not None:
            noun, place, end = after[0], end, end + after[1]
        begin = _describing_from(keys, start)
        if not is_denied(keys, begin, end):
            thing = _thing(words, keys, noun, begin, place, end)
            if thing is not None:
                yield thing
        place = end


def _thing(words: Sequence[str], keys: Sequence[str], noun: str, begin: int, head: int, end: int) -> Thing | None:
    if head > 0 and words[end - 1][:1].isupper() and not words[end - 1].isupper():
        start = head
        while start > 0 and words[start - 1][:1].isupper() and keys[start - 1] not in {"the", "a"}:
            start -= 1
        name = " ".join(words[start:end])
        return Thing(name, noun, CLASSES[noun], named=True) if start < head and noun in _BUILT else None
    before = [keys[at] for at in range(begin, head) if keys[at] != "and"]
    described = tuple(dict.fromkeys([*before, *_said_of_it(keys, end)]))
    return Thing(" ".join([*described, noun]), noun, CLASSES[noun], described)


def _noun_at(keys: Sequence[str], place: int) -> tuple[str | None, int]:
    """The longest noun of the lexicon that begins here, and how many words it has."""
    for size in range(min(MAX_WORDS, len(keys) - place), 0, -1):
        noun = NOUN_OF.get(" ".join(keys[place : place + size]))
        if noun is not None:
            return noun, size
    return None, 0


def _describing_from(keys: Sequence[str], start: int) -> int:
    """Where the words that describe what begins at `start` begin themselves; "and" only between two of them."""
    begin = start
    while begin > 0:
        joins = keys[begin - 1] == "and" and begin < start and begin > 1 and _describes(keys[begin - 2])
        if not (joins or _describes(keys[begin - 1])):
            break
        begin -= 1
    return begin


def _said_of_it(keys: Sequence[str], end: int) -> list[str]:
    """The describing words in "... is red and white", up to the end of their row."""
    if end >= len(keys) or keys[end] not in _BEING:
        return []
    said: list[str] = []
    for key in keys[end + 1 :]:
        if _describes(key) and key not in _BEING:
            said.append(key)
        elif key not in {"and", "painted", "all", "mostly"}:
            break
    return said


def _describes(key: str) -> bool:
    return key in _DESCRIBING


def _hedged_from(keys: Sequence[str]) -> int:
    """Where a clause stops telling what is seen; its length where it never does."""
    if not _SUPPOSING.isdisjoint(keys):
        return 0
    for place in range(len(keys)):
        if any(tuple(keys[place : place + len(hedge)]) == hedge for hedge in _HEDGES):
            return place
    return len(keys)
