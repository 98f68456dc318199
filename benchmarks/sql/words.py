"""Made-up sentences about what a photograph shows, whose words are as unevenly frequent as those of a language.

Word number r of the vocabulary is drawn with a probability of 1 / (r + 2.7): Zipf's law as B. Mandelbrot wrote it
("An informational theory of the statistical structure of language", 1953; 2.7 is his offset for English). The
first words are those that such texts are full of, the long tail are names of places.
"""

from collections.abc import Sequence

import numpy as np

_OFFSET = 2.7
_LENGTH = (8, 16)
"""Words in a sentence, from and to."""

_HEAD = """
the a of and with in on is are to at this suggests there by sign street building roof near from which typical
road houses red stone white visible written language tall trees church narrow signs likely old windows region
common style side facade brick tiled plate wooden cars shops letters left right tower mountains background
script yellow square coast green river vegetation blue bridge european balcony northern southern driving poles
shutters plates tram pine traffic lamp pavement cobbled palm market hills harbour license electricity slate
central temple asian latin signage snow dry steep fields statue roofs station cathedral lines cyrillic iron
plaster arched eastern western bollards minaret mosque dome kerb markings grey timber framed olive cypress
terraced sandstone granite canal rice desert tropical birch spruce colonial baroque gothic modernist concrete
thatched adobe pagoda torii lantern awning kiosk tuk-tuk rickshaw scooter lighthouse fjord glacier volcano
vineyard windmill dyke cliff lagoon mangrove savanna steppe
""".split()  # noqa: SIM905


def vocabulary(names: Sequence[str], size: int) -> list[str]:
    """The head of the vocabulary, then names of places: `size` distinct words, the most frequent first."""
    tail = (word for name in names for word in name.lower().split() if word.isalpha())
    words = list(dict.fromkeys([*_HEAD, *tail]))
    if len(words) < size:
        raise ValueError(f"there are {len(words)} words, not {size}")
    return words[:size]


def sentences(words: Sequence[str], count: int, random: np.random.Generator) -> list[str]:
    """`count` sentences of 8 to 16 words, drawn by their rank in `words`."""
    share = 1 / (np.arange(len(words)) + 1 + _OFFSET)
    lengths = random.integers(_LENGTH[0], _LENGTH[1] + 1, count)
    drawn = random.choice(len(words), lengths.sum(), p=share / share.sum())
    parts = np.split(drawn, np.cumsum(lengths)[:-1])
    return [" ".join(words[index] for index in part).capitalize() + "." for part in parts]
