"""What the small models are taught with: scenes of the Atlas as training examples, drawn when their turn comes."""

from collections.abc import Callable
from random import Random

from atlas.drawn import Drawn, picture_of
from atlas.language import by_telling, text_of, true_text
from atlas.scenes import Scene
from atlas.teachers import TEACHERS, teacher_text
from atlas.world import World
from trainer.sft.examples import Example
from worker.reason.answer import Answer
from worker.reason.answer import render as render_answer
from worker.reason.prompt import build_prompt

Words = Callable[[World, Scene], str]

_CLUE_CUES = 3


class Lessons(Drawn[Example]):
    """Scenes with what `words` says of each."""

    def __init__(
        self, world: World, split: str, count: int, words: Words, *, start: int = 0, placeable: bool = False
    ) -> None:
        """As `Drawn`."""
        prompt = build_prompt()
        super().__init__(
            world,
            split,
            count,
            lambda shown: Example(shown.id, picture_of(shown), prompt, words(world, shown)),
            start=start,
            placeable=placeable,
        )


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
