"""Scenes of the Atlas as questions for learning by reward, with what only this world knows of each."""

from typing import Any

from atlas.drawn import Drawn, picture_of
from atlas.language import VALUE_WORDS, stated_cues
from atlas.scenes import Scene
from atlas.world import World
from trainer.grpo.questions import Question
from worker.reason.prompt import build_prompt


class AtlasQuestions(Drawn[Question]):
    """Scenes as questions. Begin where the lessons of supervised tuning ended, and no question is one of them."""

    def __init__(self, world: World, split: str, count: int, *, start: int = 0, placeable: bool = False) -> None:
        """As `Drawn`."""
        prompt = build_prompt()
        super().__init__(
            world,
            split,
            count,
            lambda shown: Question(shown.id, picture_of(shown), prompt, columns_of(shown)),
            start=start,
            placeable=placeable,
        )


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
