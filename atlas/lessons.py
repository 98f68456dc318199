"""What the small models are taught with: scenes of the Atlas as training examples, drawn when their turn comes."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import overload

from PIL import Image

from atlas.language import by_telling, text_of, true_text
from atlas.render import render
from atlas.scenes import Scene, scene
from atlas.teachers import TEACHERS, teacher_text
from atlas.world import World
from trainer.examples import Example
from worker.reason.answer import Answer
from worker.reason.answer import render as render_answer
from worker.reason.prompt import build_prompt

Words = Callable[[World, Scene], str]

_CLUE_CUES = 3
_SIDES_PX = (112, 112, 168, 224)
"""Scenes are drawn at several sizes, since what a processor makes of a large picture is a little softer."""


class Lessons(Sequence[Example]):
    """`count` scenes of a split from number `start` on, with what `words` says of each. Costs no memory."""

    def __init__(
        self, world: World, split: str, count: int, words: Words, *, start: int = 0, placeable: bool = False
    ) -> None:
        """`placeable`: only scenes in which something tells the place; the others are passed over."""
        self._world = world
        self._split = split
        self._words = words
        telling = (index for index in itertools.count(start) if _is_placeable(world, split, index))
        self._indexes = tuple(itertools.islice(telling, count)) if placeable else range(start, start + count)
        self._prompt = build_prompt()

    def __len__(self) -> int:
        return len(self._indexes)

    @overload
    def __getitem__(self, row: int) -> Example: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[Example]: ...
    def __getitem__(self, row: int | slice) -> Example | Sequence[Example]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        shown = scene(self._world, self._split, self._indexes[row])
        side_px = _SIDES_PX[shown.seed % len(_SIDES_PX)]
        return Example(shown.id, partial(_draw, shown, side_px), self._prompt, self._words(self._world, shown))


def teachers_words(world: World, shown: Scene) -> str:
    """What one of the imperfect teachers says; which one is decided by the scene."""
    teacher = Random(f"teacher {shown.id}").choice(TEACHERS)
    return teacher_text(world, shown, teacher)


def truthful_words(world: World, shown: Scene) -> str:
    """What a truthful observer says."""
    return true_text(world, shown)


def clue_words(world: World, shown: Scene) -> str:
    """A geography game's clue: what is telling in the picture, and the country (GeoReasoner, arXiv 2406.18572, its
    first stage). Only for scenes that can be placed."""
    rng = Random(f"clue {shown.id}")
    visible = [(cue.kind, cue.value) for cue in shown.visible]
    telling = by_telling(world, shown.city, visible)[:_CLUE_CUES]
    return text_of(world, telling, None, shown.city, "country", rng)


def place_words(_world: World, shown: Scene) -> str:
    """Country and city without reasons (GeoReasoner's second stage)."""
    return render_answer(Answer(country=shown.city.country, city=shown.city.name))


def _is_placeable(world: World, split: str, index: int) -> bool:
    return scene(world, split, index).placeable != "none"


def _draw(shown: Scene, side_px: int) -> Image.Image:
    return render(shown, side_px)
