"""Are the stated cues in the picture, and are the picture's cues stated?

With S the stated and T the verified cues, both sets:

R_vis = F_beta = (1 + beta^2) |S and T| / (|S| + beta^2 |T|),  precision |S and T| / |S|, recall |S and T| / |T|

(van Rijsbergen 1979). The default beta of 0.5 weighs precision twice as much as recall: for an archive an
invented reason is worse than one left out. No cue stated where there are some: 0. Nothing verified and nothing
stated: 1; nothing verified and something stated: 0.

GLOBE's paper (arXiv 2506.14674, Eq. 2) has the share of the stated entities that are in the picture, so that one
safe cue is worth as much as five; its code has the share of the listed entities that are named, so that inventing
costs nothing and naming more can only help. F_beta has neither hole: a cue that is not there always lowers it, a
cue that is there always raises it, and a cue said twice counts once.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from trainer.rewards.base import Reward, Sample
from trainer.rewards.cues import PhraseReader, phrase_key
from worker.errors import SetupError

CueReader = Callable[[str], frozenset[str]]


@dataclass(frozen=True, kw_only=True)
class VisualReward(Reward):
    """Column: `column`, a list of verified cues: texts, or objects whose "text" is one; None: not judged.

    `reader` gives the cues that a reasoning states, in the words of the column after `key`: a function of a
    module, so that the reward can be pickled. Read is what the parser takes for the reasoning.
    """

    name: ClassVar[str] = "visual"

    reader: CueReader
    beta: float = 0.5
    column: str = "true_cues"
    key: Callable[[str], str] = str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise SetupError(f"reward visual: beta must be a positive number, not {self.beta}")

    @classmethod
    def of_phrases(
        cls, lists: Iterable[Iterable[str]], *, beta: float = 0.5, column: str = "true_cues"
    ) -> "VisualReward":
        """For free text. `lists` are the verified entities of all pictures of the data set: see `PhraseReader`."""
        return cls(reader=PhraseReader.over(lists), key=phrase_key, beta=beta, column=column)

    @property
    def columns(self) -> tuple[str, ...]:
        return ("id", self.column)

    def score(self, sample: Sample) -> float | None:
        listed = cue_list(sample, self.column)
        if listed is None:
            return None
        true = frozenset(map(self.key, listed)) - {""}
        if isinstance(self.reader, PhraseReader) and not true <= self.reader.phrases:
            strangers = ", ".join(sorted(true - self.reader.phrases)[:3])
            raise sample.failed(f"the cue reader does not know {strangers}; build it over the whole data set")
        return f_beta(self.reader(sample.answer.reasoning), true, self.beta)


def f_beta(stated: frozenset[str], true: frozenset[str], beta: float) -> float:
    """F_beta of `stated` against `true`, in 0..1; 1 where both are empty."""
    if not stated and not true:
        return 1.0
    right = len(stated & true)
    return (right + beta**2 * right) / (len(stated) + beta**2 * len(true))  # so that all right is exactly 1


def cue_list(sample: Sample, column: str) -> tuple[str, ...] | None:
    """The verified cues of a sample, None where it has no list. Raises `RewardFailed` for anything else."""
    listed = sample.get(column)
    if listed is None:
        return None
    if isinstance(listed, str | Mapping) or not isinstance(listed, Iterable):
        raise sample.failed(f"column {column} holds {listed!r:.80}, not a list of cues")
    cues: list[str] = []
    for entry in listed:
        cue = entry.get("text") if isinstance(entry, Mapping) else entry
        if not isinstance(cue, str):
            raise sample.failed(f"column {column} lists {entry!r:.80}, not a text")
        cues.append(cue)
    return tuple(cues)
