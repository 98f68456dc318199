"""Which samples are right, told from the scenes themselves, and what that makes of a set of kept ones.

A sample (one teacher's answer about one scene) is *right* when three things hold:

- it names a place, and each name is that of the scene's true city: country, and region and city where it goes so
  far. A true country with a wrong city is wrong; a true country alone is right. An answer that declines is no
  training sample, so it is not right, however honest.
- it states at least one cue.
- every cue that it states is visible in the scene.

Beside it is counted whether it names a finer place than the scene can tell (`atlas.scenes.Scene.placeable`):
such a sample may be right, by luck or by a good memory, and teaches to guess.

Nothing here is shown to the steps.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from atlas.language import stated_cues
from atlas.scenes import Scene
from atlas.teachers import LEVELS
from trainer.curate.opinions import Case, Verified
from worker.reason.answer import Answer

Key = tuple[str, str]
"""Scene and teacher."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is true of a sample. `cues` stated, of which `visible_cues` are in the scene. `too_fine`: its place is
    finer than the scene can tell."""

    key: Key
    place_right: bool
    cues: int
    visible_cues: int
    too_fine: bool = False

    @property
    def right(self) -> bool:
        return self.place_right and 0 < self.cues == self.visible_cues


@dataclass(frozen=True, slots=True)
class Tally:
    """Of a set of samples: how many, how many of them right, how many of their cues are visible, how many are
    finer than can be told.

    `recall` is the share of all right samples (of the raw set) that this set has.
    """

    n: int
    right: int
    cues: int
    visible_cues: int
    recall: float
    too_fine: int = 0

    @property
    def precision(self) -> float | None:
        return self.right / self.n if self.n else None

    @property
    def cue_precision(self) -> float | None:
        return self.visible_cues / self.cues if self.cues else None


def truth_of(shown: Scene, teacher: str, answer: Answer) -> Sample:
    """What the scene says of an answer about it."""
    stated = stated_cues(answer.reasoning)
    visible = {(cue.kind, cue.value) for cue in shown.visible}
    too_fine = LEVELS.index(_level(answer)) > LEVELS.index(shown.placeable)
    return Sample((shown.id, teacher), _place_right(shown, answer), len(stated), len(stated & visible), too_fine)


def _level(answer: Answer) -> str:
    """How fine the answer's place is."""
    return "city" if answer.city else "region" if answer.region else "country" if answer.country else "none"


def _place_right(shown: Scene, answer: Answer) -> bool:
    named = [
        (answer.country, shown.city.country),
        (answer.region, shown.city.region),
        (answer.city, shown.city.name),
    ]
    return answer.country is not None and all(said is None or said == true for said, true in named)


def samples_of(cases: Sequence[Case], scenes: dict[str, Scene]) -> dict[Key, Sample]:
    """Every sample of the cases."""
    found = [
        truth_of(scenes[case.subject.id], opinion.teacher, opinion.answer)
        for case in cases
        for opinion in case.opinions
        if opinion.answer is not None
    ]
    return {sample.key: sample for sample in found}


def tally(samples: Iterable[Sample], all_right: int) -> Tally:
    """What a set of samples comes to."""
    chosen = list(samples)
    right = sum(sample.right for sample in chosen)
    return Tally(
        n=len(chosen),
        right=right,
        cues=sum(sample.cues for sample in chosen),
        visible_cues=sum(sample.visible_cues for sample in chosen),
        recall=right / all_right if all_right else 0.0,
        too_fine=sum(sample.too_fine for sample in chosen),
    )


def kept_of(verified: Iterable[Verified], samples: dict[Key, Sample]) -> list[Sample]:
    """The samples that were kept."""
    return [samples[one.subject_id, one.teacher] for one in verified if one.kept]
