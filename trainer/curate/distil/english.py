"""Is a text in another language than English? By its script, and by the little words that every text is full of.

Signs and names that a text quotes may be in any language, so what stands in quotation marks does not count, and a
text of few words is taken for English: what is dropped wrongly is lost.
"""

import re
import unicodedata

LEAST_WORDS = 12
LEAST_LETTERS = 40
MOST_FOREIGN_LETTERS = 0.5
MAX_CHARS = 20_000

_QUOTED = re.compile(r"\"[^\"\n]{0,200}\"|“[^”\n]{0,200}”|«[^»\n]{0,200}»|「[^」\n]{0,200}」|‘[^’\n]{0,200}’")
_WORD = re.compile(r"[^\W\d_]+")
_ENGLISH_WORDS = """
the of and a an in is are with that this on to for as which not by at from or it be has have there no but its these
was were likely suggests consistent
"""
_FOREIGN_WORDS = """
el los las del una unos que con por para es son está en y o pero como se su sus lo un de la le les des du et est
dans une sur qui pas avec pour plus ce cette ces il elle sont au aux ou di gli che non per sono della dei delle
questo questa anche um uma os das dos na nas nos em não com são esta isso mais ao
der die und ist nicht ein eine einen einem mit auf für von zu den dem sich auch wie sind im het een van niet zijn
dat voor ook op te och att det som är på av inte med til og ikke ett
jest nie się że jak przez oraz ve bir bu için ile da yang dan ini itu dengan untuk dari pada je
"""
"""Of the languages that teachers have been seen to fall into, without those that are English words too."""
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
_FOREIGN = frozenset(_FOREIGN_WORDS.split()) - _ENGLISH


def is_other_language(text: str) -> bool:
    """Is most of it in another script than Latin, or do another language's little words outnumber the English?"""
    plain = _QUOTED.sub(" ", text[:MAX_CHARS])
    letters = [character for character in plain if character.isalpha()]
    if len(letters) >= LEAST_LETTERS:
        foreign = sum(not _is_latin(character) for character in letters)
        if foreign / len(letters) > MOST_FOREIGN_LETTERS:
            return True
    elif letters and all(not _is_latin(character) for character in letters):
        return True
    words = [word.casefold() for word in _WORD.findall(plain)]
    if len(words) < LEAST_WORDS:
        return False
    english = sum(word in _ENGLISH for word in words)
    others = sum(word in _FOREIGN for word in words)
    return others >= 3 and others > 2 * english


def _is_latin(character: str) -> bool:
    return character.isascii() or unicodedata.name(character, "").startswith("LATIN")
