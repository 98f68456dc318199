"""A worse eye: verdicts of the checker turned round by chance, at a stated rate.

In this world a small segmentation model sees nearly everything. On photographs none does. So the steps are judged
again with checkers that err as often as real ones might: each verdict on a cue is turned round at the rate, by a
chance that hangs on photograph and cue alone, so that all teachers who state it meet the same error.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from trainer.curate.opinions import Case, CueSeen, Opinion
from trainer.curate.verify import Visible

RATES = (0.05, 0.1, 0.2)


class Dimmed:
    """A `Visible` whose verdicts are wrong at this rate more often."""

    def __init__(self, visible: Visible, rate: float) -> None:
        self._visible = visible
        self._rate = rate

    def __call__(self, asked: Sequence[tuple[Case, Opinion]]) -> list[list[CueSeen]]:
        return [
            [self._turned(case.subject.id, cue) for cue in cues]
            for (case, _), cues in zip(asked, self._visible(asked), strict=True)
        ]

    def _turned(self, photograph: str, cue: CueSeen) -> CueSeen:
        errs = Random(f"{photograph} {cue.text}").random() < self._rate
        return cue if cue.visible is None or not errs else replace(cue, visible=not cue.visible)
