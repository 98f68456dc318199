"""What can be said of Atlas scenes in CLIP's manner, and which of it is true of which scene.

The list of captions is closed: the sentences of `atlas.language` about cues and views, "a photo taken in ..." for
every trained place, and the gate's own zero-shot prompts (`worker.gate.zeroshot`). So each pair of scene and
caption is known to be true, false or undecided. Undecided is what nobody who sees the picture could deny: its own
city where that cannot be told, or a market square in a town that shows a street.

Axes: T captions.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from atlas.cues import KINDS
from atlas.language import VARIANTS, VIEW_SENTENCES, cue_phrase
from atlas.scenes import Scene
from atlas.world import City, World
from worker.gate.zeroshot import NOT_PLACEABLE, PLACEABLE

LEVELS = ("country", "region", "city")
"""From the coarsest to the finest."""
FAMILIES = ("cue", "place", "prompt")
"""Sentences about what is visible (cues, or the kind of view), names of places, and the gate's prompts."""

_WORSHIP = frozenset(
    {
        "cathedral_two_spires",
        "church_one_spire",
        "colonnade_temple",
        "dome",
        "minaret_pair",
        "onion_domes",
        "pagoda",
        "stepped_temple",
        "stupa",
        "torii_gate",
    }
)
_MOUNTAINS = frozenset({"snowy_peaks", "mesa", "volcano"})
_ROAD = frozenset({"centre_line", "warning_sign", "driving_side"})

_FITS: Mapping[str, Callable[[str, Mapping[str, str]], bool]] = {
    # From a view and its visible values by kind. No scene fits the prompts that are missing here.
    "a photo of a street with readable shop signs": lambda view, cues: view == "street" and "script" in cues,
    "a photo of a famous landmark": lambda _, cues: "landmark" in cues,
    "a photo of a road with markings, road signs and traffic": lambda view, cues: (
        view == "street" and bool(_ROAD & cues.keys())
    ),
    "a photo of cars with visible number plates": lambda _, cues: "plate" in cues,
    "a photo of houses in a local architectural style": lambda _, cues: "roof" in cues or "wall" in cues,
    "a photo of a church, a temple or a mosque": lambda _, cues: cues.get("landmark") in _WORSHIP,
    "a photo of a mountain landscape": lambda _, cues: cues.get("relief") in _MOUNTAINS,
    "a photo of a coast or a river with buildings": lambda _, cues: cues.get("relief") == "sea",
    "a photo of an empty room without windows": lambda view, _: view == "interior",
    "a close-up photo of food on a plate": lambda view, _: view == "close_up",
    "a macro photo of a flower or an insect": lambda view, _: view == "close_up",
    "a close-up photo of a pet indoors": lambda view, _: view == "close_up",
    "a photo of nothing but sky and clouds": lambda view, _: view == "sky",
    "a blurred photo in which nothing can be recognised": lambda view, _: view == "fog",
}
"""The nearest prompts, not always exact ones: the rooms here have a window, and of a close-up's three one fits."""


@dataclass(frozen=True, slots=True)
class Captions:
    """The closed list on axis T: each text once, and the family of each as an index into `FAMILIES`."""

    texts: tuple[str, ...]
    families: tuple[int, ...]
    index: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Truth:
    """Indexes on axis T of what is true of a scene, and of what is undecided; all else is false."""

    true: tuple[int, ...]
    undecided: tuple[int, ...]


@cache
def captions(world: World) -> Captions:
    """All captions of this world, the same on every call. Places that only the split `unseen` shows have none."""
    families: dict[str, int] = {}
    for kind in KINDS:
        for value in kind.values:
            families |= dict.fromkeys(_cue_texts(kind.name, value), FAMILIES.index("cue"))
    families |= dict.fromkeys(VIEW_SENTENCES.values(), FAMILIES.index("cue"))
    for city in world.cities:
        if city.geoname_id not in world.unseen:
            families |= {place_caption(city, level): FAMILIES.index("place") for level in LEVELS}
    families |= dict.fromkeys((*PLACEABLE, *NOT_PLACEABLE), FAMILIES.index("prompt"))
    texts = tuple(families)
    return Captions(texts, tuple(families.values()), {text: row for row, text in enumerate(texts)})


def place_caption(city: City, level: str) -> str:
    """ "a photo taken in" a city and all that it lies in, or in its region or country alone."""
    names = {"city": (city.name, city.region, city.country), "region": (city.region, city.country)}
    return f"a photo taken in {', '.join(names.get(level, (city.country,)))}"


def truth(world: World, scene: Scene) -> Truth:
    """What may be said of a scene.

    True are the sentences of its visible cues (or of its view, where it shows none), its place down to
    `placeable`, and the prompts that fit. Undecided are finer names of its true place, and:

    - of a placeable scene the PLACEABLE prompts that no scene fits, and likewise of a view without any cue the
      NOT_PLACEABLE ones: they differ from what is there in degree;
    - of a scene whose cues do not suffice to place it, the NOT_PLACEABLE prompts, for they deny what is there.
      The PLACEABLE ones are false of it, also where their words fit: to the gate they mean that a picture can be
      placed.
    """
    known = captions(world)
    cues = {cue.kind: cue.value for cue in scene.visible}
    true = [text for kind, value in cues.items() for text in _cue_texts(kind, value)] or [
        VIEW_SENTENCES[scene.view]
    ]
    reach = LEVELS.index(scene.placeable) + 1 if scene.placeable in LEVELS else 0
    places = [place_caption(scene.city, level) for level in LEVELS]
    true += places[:reach]
    undecided = places[reach:]
    if cues and not reach:
        undecided += NOT_PLACEABLE
    else:
        true += [prompt for prompt, fits in _FITS.items() if fits(scene.view, cues)]
        undecided += [prompt for prompt in (PLACEABLE if reach else NOT_PLACEABLE) if prompt not in _FITS]
    rows = known.index
    # A town may be called like its region or country: what is true once is not undecided as well.
    true_rows = dict.fromkeys(rows[text] for text in true if text in rows)
    undecided_rows = dict.fromkeys(rows[text] for text in undecided if text in rows)
    return Truth(tuple(true_rows), tuple(row for row in undecided_rows if row not in true_rows))


def _cue_texts(kind: str, value: str) -> list[str]:
    return [cue_phrase(kind, value, variant) for variant in range(VARIANTS)]
