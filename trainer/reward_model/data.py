"""Samples for a reward model: a photograph, somebody's reasons, and whether the two suffice to tell the place.

How outcome and verdict combine, for each text of reasons:

1. Its own outcome counts first: its place was right, or wrong, by the `Target`.
2. Where it has none (it named no place, or one that nobody knows), the majority of the other texts' outcomes for
   that photograph counts: somebody could place it, or nobody could. "No" because the text gives up would be a
   label that the text makes itself: a policy would be paid for giving up by sounding like giving up.
3. Where there is none either, the majority of the teachers' verdicts on that photograph counts.
4. What is still open, or a tie, is left out and counted.

Held out are whole place cells, drawn by chance; what is trained on gives up the photographers (or series) that are
held out. Training samples are as many yes as no; what is held out stays as it is found, since it calibrates.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from PIL.Image import Image

from trainer.curate.balance import chance
from trainer.curate.cells import Grid
from trainer.judge.records import Outcome, Prediction, Truth
from worker.errors import SetupError
from worker.place.sphere import distance_km

CELL_KM = 50.0
MIN_OF_EACH = 40
"""Fewer yes, or fewer no, are nothing to learn from."""
MIN_HELD_OUT_OF_EACH = 20
MIN_CELLS = 5

Picture = Path | Image | Callable[[], Image]


class Target(StrEnum):
    """When a place is right: in the right country, or within so many km of the known place."""

    COUNTRY = "country"
    KM_25 = "25km"
    KM_200 = "200km"
    KM_750 = "750km"

    @property
    def km(self) -> float | None:
        """The radius, None for the country."""
        return None if self is Target.COUNTRY else float(self.removesuffix("km"))

    def right(self, truth: Truth, prediction: Prediction) -> bool | None:
        """None where no place was named, or the known or named one cannot be compared."""
        if self.km is None:
            known, named = truth.country_code, prediction.country_code
            return None if known is None or named is None else known == named
        if prediction.outcome is not Outcome.LOCATED or prediction.lat is None or prediction.lon is None:
            return None
        return distance_km(truth.lat, truth.lon, prediction.lat, prediction.lon) <= self.km


class By(StrEnum):
    """What a label rests on."""

    OUTCOME = "outcome"
    OTHERS = "others"
    VERDICTS = "verdicts"


class LeftOut(StrEnum):
    """Why a text of reasons became no sample."""

    UNREADABLE = "unreadable"
    UNDECIDED = "undecided"
    NO_PICTURE = "no_picture"
    NO_RIGHTS = "no_rights"
    HELD_OUT = "held_out"

    @property
    def sentence(self) -> str:
        """For a person."""
        return _SENTENCES[self]


_SENTENCES = {
    LeftOut.UNREADABLE: "no answer could be read",
    LeftOut.UNDECIDED: "neither an outcome nor a majority of verdicts says yes or no",
    LeftOut.NO_PICTURE: "its picture is not there any more, or another one",
    LeftOut.NO_RIGHTS: "it may not be trained on",
    LeftOut.HELD_OUT: "a curation holds it out: models are judged by it and never learn from it",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What one source said of one photograph of known place (`lat`, `lon` in degrees).

    `reasoning` None: it only votes, by its outcome or its verdict. `right`: see `Target.right`. `verdict`: whether
    it thinks that the photograph can be placed. `taken_by`: photographer or series, where known.
    """

    photograph: str
    source: str
    image: Picture
    reasoning: str | None
    right: bool | None
    verdict: bool | None
    lat: float
    lon: float
    taken_by: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One yes or no. `id` names it in messages and is unique."""

    id: str
    photograph: str
    image: Picture
    reasoning: str
    locatable: bool
    by: By
    cell: str
    taken_by: str | None


@dataclass(frozen=True, slots=True)
class Labelled:
    """`samples` in the order of what was said."""

    samples: tuple[Sample, ...]
    left_out: Mapping[LeftOut, int] = field(default_factory=dict)

    def counts(self) -> str:
        """In words."""
        return told(self.samples, self.left_out)


@dataclass(frozen=True, slots=True)
class Parted:
    """`train` is balanced; `held_out` is as found. `given_up` counts what belongs to neither: samples of
    photographers that are held out, and `surplus` those of the commoner answer."""

    train: tuple[Sample, ...]
    held_out: tuple[Sample, ...]
    given_up: int
    surplus: int


def labelled(said: Iterable[Said], left_out: Mapping[LeftOut, int] | None = None) -> Labelled:
    """A yes or a no for each text of reasons, by the rules above. `left_out` is counted on."""
    of_photograph: dict[str, list[Said]] = defaultdict(list)
    for each in said:
        of_photograph[each.photograph].append(each)
    counts: Counter[LeftOut] = Counter(left_out or {})  # what is said has been read, and counted, by now
    grid, samples = Grid(CELL_KM), []
    for photograph, all_said in of_photograph.items():
        verdict = majority(each.verdict for each in all_said)
        for number, each in enumerate(all_said):
            if each.reasoning is None:
                continue
            others = majority(other.right for place, other in enumerate(all_said) if place != number)
            found = next(
                ((vote, by) for vote, by in ((each.right, By.OUTCOME), (others, By.OTHERS), (verdict, By.VERDICTS))
                 if vote is not None),
                None,
            )  # fmt: skip
            if found is None:
                counts[LeftOut.UNDECIDED] += 1
                continue
            id_ = f"{photograph} {each.source} {number}"
            cell = grid.cell(each.lat, each.lon)
            samples.append(
                Sample(id_, photograph, each.image, each.reasoning, found[0], found[1], cell, each.taken_by)
            )
    return Labelled(tuple(samples), dict(+counts))


def majority(votes: Iterable[bool | None]) -> bool | None:
    """What more say yes or no to; None for a tie and where nobody says."""
    counted = Counter(vote for vote in votes if vote is not None)
    return None if counted[True] == counted[False] else counted[True] > counted[False]


def parted(found: Labelled, *, held_out_share: float, seed: int) -> Parted:
    """Parts samples by place and photographer. The same seed gives the same sides, in any order of samples.

    Raises `SetupError` with counts where either side has too little of yes or of no, or there are too few places.
    """
    cells = Counter(sample.cell for sample in found.samples)
    few = _too_few(found.samples, MIN_OF_EACH)
    if few or len(cells) < MIN_CELLS:
        fault = few or f"they come from {len(cells):,} places of {CELL_KM:.0f} km, at least {MIN_CELLS} are needed"
        raise SetupError(f"too little to train a reward model: {fault} ({found.counts()})")
    held_cells: set[str] = set()
    held_count, wanted = 0, held_out_share * len(found.samples)
    for cell in sorted(cells, key=lambda cell: chance(seed, cell)):
        if held_count + cells[cell] / 2 <= wanted:  # nearer to what is wanted than without it
            held_cells.add(cell)
            held_count += cells[cell]
    held_out = [sample for sample in found.samples if sample.cell in held_cells]
    takers = {sample.taken_by for sample in held_out} - {None}
    rest = [sample for sample in found.samples if sample.cell not in held_cells]
    free = [sample for sample in rest if sample.taken_by not in takers]
    train = balanced(free, seed=seed)
    for side, samples, least in (("train on", free, MIN_OF_EACH), ("hold out", held_out, MIN_HELD_OUT_OF_EACH)):
        if few := _too_few(samples, least):
            raise SetupError(f"too little to {side} for a reward model: {few} ({found.counts()})")
    return Parted(train, tuple(held_out), len(rest) - len(free), len(free) - len(train))


def with_outcomes(held_out: Sequence[Sample]) -> tuple[Sample, ...]:
    """Those that rest on their own outcome, where there are enough of both kinds; else all.

    A chance is calibrated against what happened; a verdict is an opinion about what could happen.
    """
    outcomes = [sample for sample in held_out if sample.by is By.OUTCOME]
    return tuple(held_out if _too_few(outcomes, MIN_HELD_OUT_OF_EACH) else outcomes)


def balanced(samples: Sequence[Sample], *, seed: int) -> tuple[Sample, ...]:
    """As many yes as no: all of the rarer, and of the commoner as many, drawn by chance. In their order."""
    sides = {vote: [sample for sample in samples if sample.locatable is vote] for vote in (True, False)}
    count = min(map(len, sides.values()))
    kept = {
        sample.id
        for side in sides.values()
        for sample in sorted(side, key=lambda sample: chance(seed, sample.id))[:count]
    }
    return tuple(sample for sample in samples if sample.id in kept)


def told(samples: Sequence[Sample], left_out: Mapping[LeftOut, int] | None = None) -> str:
    """Counts in words: how many yes and no, what they rest on, and what was left out."""
    yes = sum(sample.locatable for sample in samples)
    by = Counter(sample.by for sample in samples)
    photographs = len({sample.photograph for sample in samples})
    said = f"{len(samples):,} samples of {photographs:,} photographs, {yes:,} yes and {len(samples) - yes:,} no"
    said += "".join(f"; {by[each]:,} by {each}" for each in By if by[each])
    return said + "".join(f"; left out {n:,}: {why.sentence}" for why, n in (left_out or {}).items() if n)


def _too_few(samples: Sequence[Sample], least: int) -> str | None:
    yes = sum(sample.locatable for sample in samples)
    no = len(samples) - yes
    return None if min(yes, no) >= least else f"{yes:,} yes and {no:,} no, at least {least} of each are needed"
