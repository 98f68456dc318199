"""How well the checkers see: of the cues that teachers state, which they find, against what the scenes show.

Two checkers look at the same pictures: the segmentation model, and the Atlas's CLIP as a matcher of a cue's own
sentences with the picture, each with one cut for each kind of cue. A cut is chosen on scenes of another split.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atlas.cues import KINDS
from atlas.language import Cue, stated_cues
from atlas.scenes import Scene
from benchmarks.curation.store import Row


@dataclass(frozen=True, slots=True)
class Checked:
    """Of the stated cues of a kind: how many, how many are there, and how the checker's yes compares with that."""

    n: int
    there: int
    yes: int
    yes_there: int

    @property
    def precision(self) -> float:
        return self.yes_there / self.yes if self.yes else float("nan")

    @property
    def recall(self) -> float:
        return self.yes_there / self.there if self.there else float("nan")

    @property
    def false_alarm(self) -> float:
        """Of cues that are not there, the share that the checker finds."""
        missing = self.n - self.there
        return (self.yes - self.yes_there) / missing if missing else float("nan")


def checked(
    rows: Sequence[Row], scenes: Mapping[str, Scene], cuts: Mapping[str, float], *, by_clip: bool = False
) -> dict[str, Checked]:
    """By kind of cue, and under "all", over all that the teachers state (once for each teacher)."""
    counts: dict[str, NDArray[np.int64]] = defaultdict(lambda: np.zeros(4, dtype=np.int64))
    for row, cue in stated(rows):
        there = cue in {(each.kind, each.value) for each in scenes[row.id].visible}
        yes = (row.matched if by_clip else row.seen)[cue] >= cuts[cue[0]]
        for name in (cue[0], "all"):
            counts[name] += (1, there, yes, yes and there)
    order = [*(kind.name for kind in KINDS if kind.name in counts), "all"]
    return {name: Checked(*counts[name].tolist()) for name in order}


def stated(rows: Iterable[Row]) -> Iterable[tuple[Row, Cue]]:
    """Every cue that a teacher states of a scene."""
    for row in rows:
        for text in row.said.values():
            for cue in sorted(stated_cues(text)):
                yield row, cue
