"""Scenes of the Atlas as questions for learning by reward, with what only this world knows of each."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any, overload

from PIL import Image

from atlas.language import VALUE_WORDS, stated_cues
from atlas.render import render
from atlas.scenes import Scene, scene
from atlas.world import World
from trainer.questions import Question
from worker.reason.prompt import build_prompt

_SIDES_PX = (112, 112, 168, 224)
"""As in `atlas.lessons`: several sizes, since what a processor makes of a large picture is a little softer."""


class AtlasQuestions(Sequence[Question]):
    """`count` scenes of a split from number `start` on. Pictures are drawn when their batch is due.

    Begin where the lessons of supervised tuning ended, and no question is one of them.
    """

    def __init__(self, world: World, split: str, count: int, *, start: int = 0, placeable: bool = False) -> None:
        """`placeable`: only scenes in which something tells the place; the others are passed over."""
        self._world = world
        self._split = split
        telling = (index for index in itertools.count(start) if scene(world, split, index).placeable != "none")
        self._indexes = tuple(itertools.islice(telling, count)) if placeable else range(start, start + count)
        self._prompt = build_prompt()

    def __len__(self) -> int:
        return len(self._indexes)

    @overload
    def __getitem__(self, row: int) -> Question: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[Question]: ...
    def __getitem__(self, row: int | slice) -> Question | Sequence[Question]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        shown = scene(self._world, self._split, self._indexes[row])
        side_px = _SIDES_PX[shown.seed % len(_SIDES_PX)]
        return Question(shown.id, partial(_draw, shown, side_px), self._prompt, columns_of(shown))


def columns_of(shown: Scene) -> dict[str, Any]:
    """What the rewards read of a scene.

    `true_cues` are "kind=value", as `read_cues` gives them. `p_placeable` is the chance of the best possible guess
    at the country. `entities` are the words for the cues' values, which both sentences of a cue hold, for GLOBE's
    own reward, which looks for substrings.
    """
    city = shown.city
    return {
        "lat": city.lat,
        "lon": city.lon,
        "country_code": city.country_code,
        "country": city.country,
        "region": city.region,
        "city": city.name,
        "geoname_id": city.geoname_id,
        "placeable": shown.placeable,
        "p_placeable": shown.bayes_country,
        "true_cues": [f"{cue.kind}={cue.value}" for cue in shown.visible],
        "entities": [VALUE_WORDS.get(cue.value, cue.value.replace("_", " ")) for cue in shown.visible],
    }


def read_cues(text: str) -> frozenset[str]:
    """The cues that a text claims to see, as "kind=value": the reader for the visual reward."""
    return frozenset(f"{kind}={value}" for kind, value in stated_cues(text))


def _draw(shown: Scene, side_px: int) -> Image.Image:
    return render(shown, side_px)
