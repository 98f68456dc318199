"""Whether a photograph of this world shows what is said of it: curation's last step, whoever looks.

What looks (`atlas.seeing`) gives its evidence for each cue; from a cut on, one for each kind of cue, a cue
counts as seen. Cues are read from a text by `atlas.language.stated_cues`. Nobody here knows what is true of a
scene.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atlas import WEIGHTS
from atlas.cues import KINDS
from atlas.language import Cue, stated_cues
from trainer.curate.opinions import Case, CueSeen, Opinion

CUTS_NAME = "cuts.json"
SEGMENTER = WEIGHTS / "segmenter"
SEGMENTER_NAME, CLIP_NAME = "segmenter", "clip"
CUES: tuple[Cue, ...] = tuple((kind.name, value) for kind in KINDS for value in kind.values)
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """The evidence for each cue in one picture, 0..1."""

    evidence: Mapping[Cue, float]


def load_cuts(by: str = SEGMENTER_NAME, folder: Path = SEGMENTER) -> dict[str, float]:
    """By kind of cue, the evidence of this model from which it counts as seen (see `atlas.cuts`)."""
    cuts: dict[str, dict[str, float]] = json.loads((folder / CUTS_NAME).read_text())
    return cuts[by]


class AtlasVisible:
    """`trainer.curate.verify`'s `Visible`: the cues of each sample, and whether `seen_in` shows them."""

    def __init__(
        self,
        seen_in: Callable[[Sequence[Case]], Sequence[Seen]],
        cuts: Mapping[str, float],
        by: str = SEGMENTER_NAME,
    ) -> None:
        """`seen_in` tells the evidence of each case's photograph; `by` names what looked."""
        self._seen_in = seen_in
        self._cuts = cuts
        self._by = by

    def __call__(self, asked: Sequence[tuple[Case, Opinion]]) -> list[list[CueSeen]]:
        found = self._seen_in([case for case, _ in asked])
        return [
            list(self._judged(stated_cues(opinion.answer.reasoning if opinion.answer else ""), seen))
            for (_, opinion), seen in zip(asked, found, strict=True)
        ]

    def _judged(self, cues: Iterable[Cue], seen: Seen) -> Iterable[CueSeen]:
        for kind, value in sorted(cues):
            evidence = seen.evidence[kind, value]
            yield CueSeen(f"{kind}={value}", evidence >= self._cuts[kind], self._by, round(evidence, _DIGITS))
