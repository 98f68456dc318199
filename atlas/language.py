"""The words of the Atlas: what a truthful observer says about a scene, and how to read the stated cues back.

Every (kind, value) has two sentences. Reading back looks whole sentences up, so a negated or quoted cue counts as
nothing, and the time is linear in the text.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from random import Random

import numpy as np

from atlas.cues import KINDS
from atlas.scenes import Scene
from atlas.world import City, World
from worker.reason.answer import Answer, render

Cue = tuple[str, str]
"""A kind and its value."""

VARIANTS = 2
MAX_WORDS = 70
"""What a true text holds at most, tags left out."""

_TEMPLATES: Mapping[str, tuple[str, str]] = {
    "driving_side": ("Cars keep to the {}.", "Traffic drives on the {}."),
    "centre_line": ("The centre line is {}.", "A {} line divides the road."),
    "kerb": ("The kerb is {}.", "Kerbstones are {}."),
    "plate": ("The plate is {}.", "The car has a {} plate."),
    "bollard": ("The bollard is {}.", "A {} bollard stands here."),
    "roof": ("The roof is {}.", "The house has a {} roof."),
    "wall": ("The wall is {}.", "The house has {} walls."),
    "script": ("The sign is in {} script.", "{} letters stand on the sign."),
    "warning_sign": ("The warning sign is a {}.", "A {} warns drivers."),
    "taxi": ("The taxi is {}.", "There is a {} taxi."),
    "light": ("The sun is in the {}.", "Light comes from the {}."),
    "vegetation": ("{} grow here.", "There are {}."),
    "ground": ("The ground is {}.", "{} covers the ground."),
    "relief": ("The horizon shows {}.", "The view ends in {}."),
    "landmark": ("The landmark is a {}.", "A {} stands out."),
}
VALUE_WORDS = {
    "white_dashed": "dashed white",
    "white_solid": "solid white",
    "yellow_dashed": "dashed yellow",
    "yellow_double": "double yellow",
    "plain": "unpainted",
    "red_white": "red and white",
    "black_white": "black and white",
    "yellow_black": "yellow and black",
    "blue_band": "blue-banded",
    "red_band": "red-banded",
    "black_band": "black-banded",
    "yellow_top": "yellow-topped",
    "white_slim": "slim white",
    "triangle_white": "white triangle",
    "triangle_yellow": "yellow triangle",
    "diamond_yellow": "yellow diamond",
    "sun_north": "north",
    "sun_south": "south",
    "flat": "flat land",
    "palm": "palms",
    "conifer": "conifers",
    "broadleaf": "broadleaf trees",
    "cypress": "cypresses",
    "cactus": "cacti",
    "birch": "birches",
    "eucalyptus": "eucalypts",
    "baobab": "baobabs",
    "sea": "the sea",
    "mesa": "a mesa",
    "volcano": "a volcano",
    "red_gable": "red gabled",
    "blue_tile": "blue tiled",
    "cable_stayed_bridge": "cable-stayed bridge",
    "ferris_wheel": "Ferris wheel",
    "minaret_pair": "pair of minarets",
    "cathedral_two_spires": "cathedral with two spires",
    "church_one_spire": "church with one spire",
    "onion_domes": "group of onion domes",
    "opera_shells": "shell-shaped opera house",
    "statue_raised_arm": "statue with a raised arm",
    "twin_towers": "pair of towers",
    "table_mountain_cable": "cable car on a mountain",
    "cross_on_hill": "cross on a hill",
    "colonnade_temple": "temple with columns",
}
"""How a value is worded where its own name with spaces would not do."""
VIEW_SENTENCES = {
    "interior": "This is an indoor room.",
    "close_up": "This is a close-up.",
    "sky": "Only sky is in view.",
    "fog": "Fog hides everything.",
}
"""What is said of the views that show no cue."""
_NOTHING = ("No sign of the place is visible.", "Nothing visible tells the place.")
_TOO_LITTLE = ("These signs fit too many places.", "This is too little to tell the place.")
_DECIDES = ("This looks like {}, above all for the {}.", "It is {}, and the {} says so best.")
"""The place comes first: a word about what decides would have to be guessed before the place is known."""

_SENTENCE = re.compile(r"[^.!?;\n<>]+[.!?;\n]?|[<>]")
_SPACE = re.compile(r"\s+")
_KIND_ORDER = {kind.name: place for place, kind in enumerate(KINDS)}
_ARTICLE = re.compile(r"\b([Aa])(?= [aeiou])")


def cue_phrase(kind: str, value: str, variant: int) -> str:
    """The sentence that states a cue; `variant` counts modulo `VARIANTS`. Raises `KeyError` for an unknown cue."""
    return _phrases()[kind, value][variant % VARIANTS]


def stated_cues(text: str) -> frozenset[tuple[str, str]]:
    """The (kind, value) pairs that a text claims to see: those of which a whole sentence states one.

    Reads any text, a completion with its tags as well as bare reasoning. Letter case and spaces do not matter.
    """
    sentences = _sentences()
    found = (sentences.get(_normal(match[0])) for match in _SENTENCE.finditer(text))
    return frozenset(cue for cue in found if cue is not None)


def true_text(world: World, scene: Scene) -> str:
    """What a truthful observer writes: each visible cue, a place as fine as can be told, and what tells it best.

    The names are those of the true city. Canonical in the sense of `worker.reason.answer`; at most `MAX_WORDS`
    words; never coordinates. The same scene always gets the same text.
    """
    rng = Random(scene.seed)
    cues = [(cue.kind, cue.value) for cue in scene.visible]
    return text_of(world, cues, VIEW_SENTENCES.get(scene.view), scene.city, scene.placeable, rng)


def text_of(world: World, cues: Iterable[Cue], view: str | None, city: City, level: str, rng: Random) -> str:
    """The text that states these cues and names `city` down to `level`; `view` is said where there is no cue.

    The cues stand in the order of `KINDS`, from the country's to the city's. An order that hung on the place would
    have to be guessed by whoever learns from the text.
    """
    ordered = sorted(cues, key=lambda cue: _KIND_ORDER[cue[0]])
    sentences = [cue_phrase(kind, value, rng.randrange(VARIANTS)) for kind, value in ordered]
    if not ordered and view is not None:
        sentences = [view]
    tells_best = by_telling(world, city, ordered)[0][0] if ordered else None
    return completion(sentences, city, level, tells_best, rng)


def by_telling(world: World, city: City, cues: Iterable[Cue]) -> list[Cue]:
    """The cues by their log likelihood ratio for the city against the world's prior, the largest first."""
    row = world.row_of[city.geoname_id]

    def telling(cue: Cue) -> float:
        likelihood_C = world.likelihood_C(*cue)
        return float(np.log(likelihood_C[row]) - np.log(likelihood_C @ world.prior_C))

    return sorted(cues, key=telling, reverse=True)


def completion(sentences: list[str], city: City, level: str, tells_best: str | None, rng: Random) -> str:
    """Cue sentences, a closing one, and the answer that names `city` at the level, or no place at "none".

    `tells_best` is the kind that the closing sentence calls decisive; None where no cue is stated.
    """
    closing = _closing(city, level, tells_best, rng)
    reasoning = " ".join([*sentences, closing])
    if level == "none":
        return render(Answer(reasoning, abstains=True))
    region = city.region if level in ("city", "region") else None
    return render(Answer(reasoning, city.country, region, city.name if level == "city" else None))


def corpus(world: World) -> Iterator[str]:
    """Everything that is said in this world, each sentence and name a few times: for learning a tokenizer.

    About nine hundred short texts, the same in every run.
    """
    rng = Random(0)
    for kind in KINDS:
        for value in kind.values:
            for variant in range(VARIANTS):
                yield cue_phrase(kind.name, value, variant)
    for view in VIEW_SENTENCES.values():
        for variant in range(len(_NOTHING)):
            yield completion([view], world.cities[0], "none", None, Random(variant))
    for city in world.cities:
        typical = list(world.typical(city).items())
        for level in ("city", "region", "country", "none"):
            for tells_best in (rng.choice(typical)[0], "landmark"):
                stated = rng.sample(typical, 3)
                sentences = [cue_phrase(kind, value, rng.randrange(VARIANTS)) for kind, value in stated]
                yield completion(sentences, city, level, tells_best, rng)


def _closing(city: City, level: str, tells_best: str | None, rng: Random) -> str:
    if level == "none":
        return rng.choice(_NOTHING if tells_best is None else _TOO_LITTLE)
    name = {"city": city.name, "region": city.region, "country": city.country}[level]
    if tells_best is None:
        return f"This looks like {name}."
    return rng.choice(_DECIDES).format(name, tells_best.replace("_", " "))


def _sentence(template: str, kind: str, value: str) -> str:
    words = value.capitalize() if kind == "script" else VALUE_WORDS.get(value, value.replace("_", " "))
    sentence = _ARTICLE.sub(r"\1n", template.format(words))
    return sentence[0].upper() + sentence[1:]


@cache
def _phrases() -> Mapping[tuple[str, str], tuple[str, ...]]:
    return {
        (kind.name, value): tuple(_sentence(template, kind.name, value) for template in _TEMPLATES[kind.name])
        for kind in KINDS
        for value in kind.values
    }


@cache
def _sentences() -> Mapping[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for cue, phrases in _phrases().items():
        for phrase in phrases:
            if found.setdefault(_normal(phrase), cue) != cue:
                raise ValueError(f"two cues share the sentence {phrase!r}")
    return found


def _normal(sentence: str) -> str:
    return _SPACE.sub(" ", sentence.strip().rstrip(".!?;")).strip().casefold()
