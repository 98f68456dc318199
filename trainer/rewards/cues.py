"""Reads stated cues out of free text: which phrases of a vocabulary does it claim to see?

Phrases are found as whole words, without regard to case, accents, punctuation and a plural's "s"; of two that
overlap the longer one counts ("palm tree", not "palm"). A phrase that its clause denies ("no palm trees", "without
a taxi", "the sign is missing") is not claimed. A clause ends at punctuation, and at "but" and its like.

The reader sees no more than its vocabulary. An invention is found if its name is verified in some other picture,
so the vocabulary should be that of the whole data set. Scripts without spaces between words are not split.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from worker.place.names import fold

_CLAUSE_END = re.compile(
    r"[.,;:!?()\[\]\n。，；：！？、…]|\s[-–—]\s|\b(?:but|however|although|though|yet)\b", re.IGNORECASE
)
_TAG = re.compile(r"</?\w{1,20}>")
_DENIALS = frozenset({
    "no", "not", "without", "never", "neither", "nor", "none", "lack", "lacks", "lacking", "absence", "absent",
    "missing", "nowhere", "isnt", "arent", "wasnt", "werent", "dont", "doesnt", "cannot", "cant", "havent",
})  # fmt: skip
_GONE = frozenset({"absent", "missing", "nowhere"})
_NEGATIONS = frozenset({"not", "isnt", "arent", "cannot", "never"})
_SEEN = frozenset({"visible", "seen", "present", "there", "found", "shown"})
_LOOK_AHEAD = 4


def phrase_key(phrase: str) -> str:
    """The form in which phrases are compared; "" for one without letters and digits."""
    return " ".join(_words(phrase))


def clauses(text: str) -> list[str]:
    """The parts of a text within which a denial holds. Tags are boundaries too."""
    return _CLAUSE_END.split(_TAG.sub(".", text))


def is_denied(words: Sequence[str], start: int, end: int) -> bool:
    """Does a clause deny what its words from `start` to before `end` name? The words are as in a phrase's key."""
    before = any(
        word in _DENIALS and words[place + 1 : place + 2] != ["only"] for place, word in enumerate(words[:start])
    )
    return before or _is_gone(words[end : end + _LOOK_AHEAD])


@dataclass(frozen=True)
class PhraseReader:
    """Called with a text, gives those of `phrases` that it claims, each once. `phrases` are as of `phrase_key`."""

    phrases: frozenset[str]

    @classmethod
    def over(cls, lists: Iterable[Iterable[str]]) -> "PhraseReader":
        """The reader of all entities that are verified anywhere: one list for each picture of the data set."""
        keys = {phrase_key(phrase) for phrases in lists for phrase in phrases}
        return cls(frozenset(keys - {""}))

    def __call__(self, text: str) -> frozenset[str]:
        found: set[str] = set()
        for clause in clauses(text):
            found.update(self._claimed(_words(clause)))
        return frozenset(found)

    def _claimed(self, words: list[str]) -> Iterator[str]:
        denied = False
        start = 0
        while start < len(words):
            if words[start] in _DENIALS and words[start + 1 : start + 2] != ["only"]:
                denied = True
            phrase = self._longest_at(words, start)
            if phrase is None:
                start += 1
                continue
            start += len(phrase)
            if not denied and not _is_gone(words[start : start + _LOOK_AHEAD]):
                yield " ".join(phrase)

    def _longest_at(self, words: list[str], start: int) -> tuple[str, ...] | None:
        for phrase in self._by_first_word.get(words[start], ()):
            if tuple(words[start : start + len(phrase)]) == phrase:
                return phrase
        return None

    @cached_property
    def _by_first_word(self) -> dict[str, list[tuple[str, ...]]]:
        """Phrases by their first word, longest first."""
        index: dict[str, list[tuple[str, ...]]] = {}
        for words in sorted((tuple(phrase.split()) for phrase in self.phrases), key=len, reverse=True):
            index.setdefault(words[0], []).append(words)
        return index


def _words(text: str) -> list[str]:
    return [_singular(word) for word in fold(text).split()]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _is_gone(words: Sequence[str]) -> bool:
    """Does "... is missing" or "... are not visible" follow?"""
    if not _GONE.isdisjoint(words):
        return True
    return any(word in _NEGATIONS and not _SEEN.isdisjoint(words[place + 1 :]) for place, word in enumerate(words))
