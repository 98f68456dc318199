"""Verification: of what teachers said, what may be learnt from.

The four steps of GLOBE (arXiv 2506.14674), in its order: the verdicts on locatability, the known place, the other
teachers, and what is visible. The steps themselves are in `trainer.curate.steps`.

Every sample that goes in comes out, kept or dropped by exactly one step for exactly one reason.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from trainer.curate import steps as rules
from trainer.curate.claims import claim_of, truth_of
from trainer.curate.opinions import Case, CueSeen, Opinion, Step, Verified
from trainer.curate.steps import Ruling
from trainer.curate.thresholds import Thresholds, Why
from worker.place.gazetteer import Gazetteer

__all__ = ["Counts", "Similarity", "Thresholds", "Visible", "Why", "choose", "count", "remembering", "verify"]

Similarity = Callable[[Sequence[tuple[str, str]]], list[float]]
"""The cosine of each pair of texts by sentence embeddings; NaN where it cannot be told. Symmetric."""
Visible = Callable[[Sequence[tuple[Case, Opinion]]], list[list[CueSeen]]]
"""For each sample the visible things that its reasons name, and whether the photograph shows them."""

ALL_STEPS = frozenset(Step)
UNJUDGED = "unjudged_"
"""Begins the name of a measure that is 1 where a step could not judge a sample: "unjudged_visible"."""


def verify(
    cases: Sequence[Case],
    thresholds: Thresholds | None = None,
    similarity: Similarity | None = None,
    visible: Visible | None = None,
    *,
    steps: Collection[Step] = ALL_STEPS,
    gazetteer: Gazetteer | None = None,
) -> list[Verified]:
    """What becomes of each sample, by subject and teacher in the order of their names.

    A sample is an opinion with an answer; the others only have their say. `similarity` and `visible` None: there
    is no such model, the check counts as not judged and drops nothing. `steps`: those to apply. Raises
    `ValueError` where a photograph or a teacher's opinion of it comes twice.
    """
    samples = [
        _Sample(case, own, thresholds or Thresholds(), gazetteer or Gazetteer.load())
        for case in sorted(_checked(cases), key=lambda case: case.subject.id)
        for own in sorted(case.opinions, key=lambda opinion: opinion.teacher)
        if own.answer is not None
    ]
    for step in Step:
        if step in steps:
            left = [sample for sample in samples if sample.why is None]
            _APPLY[step](left, similarity, visible)
    return [sample.verified() for sample in samples]


@dataclass(slots=True)
class _Sample:
    case: Case
    own: Opinion
    thresholds: Thresholds
    gazetteer: Gazetteer
    why: Why | None = None
    cues: tuple[CueSeen, ...] = ()
    measures: dict[str, float] = field(default_factory=dict)

    @property
    def others(self) -> list[Opinion]:
        """In an order that does not depend on who was asked first."""
        rest = [opinion for opinion in self.case.opinions if opinion.teacher != self.own.teacher]
        return sorted(rest, key=lambda opinion: opinion.teacher)

    def rule(self, step: Step, ruling: Ruling) -> None:
        self.measures |= ruling.measures
        if ruling.unjudged:
            self.measures[UNJUDGED + step] = 1.0
        self.why = self.why or ruling.why

    def verified(self) -> Verified:
        step = None if self.why is None else self.why.step
        return Verified(
            subject_id=self.case.subject.id,
            teacher=self.own.teacher,
            kept=self.why is None,
            dropped_by=step,
            reason=None if self.why is None else str(self.why),
            cues=self.cues,
            measures=self.measures,
        )


def _locatable(samples: Sequence[_Sample], _similarity: Similarity | None, _visible: Visible | None) -> None:
    for sample in samples:
        sample.rule(Step.LOCATABLE, rules.locatable(sample.own, sample.others, sample.thresholds))


def _place(samples: Sequence[_Sample], _similarity: Similarity | None, _visible: Visible | None) -> None:
    for sample in samples:
        assert sample.own.answer is not None
        claim = claim_of(sample.own.answer, sample.gazetteer)
        truth = truth_of(sample.case.subject, sample.gazetteer)
        sample.rule(Step.PLACE, rules.place(claim, truth, sample.thresholds))


def _agreement(samples: Sequence[_Sample], similarity: Similarity | None, _visible: Visible | None) -> None:
    pairs: dict[tuple[str, str], float] = {}
    to_compare: list[tuple[_Sample, list[tuple[str, str]]]] = []
    for sample in samples:
        assert sample.own.answer is not None
        if not rules.reasoning(sample.own):
            sample.rule(Step.AGREEMENT, Ruling(Why.NO_REASONING))
            continue
        claim = claim_of(sample.own.answer, sample.gazetteer)
        said = rules.stances(claim, sample.others, sample.gazetteer, sample.thresholds)
        sample.rule(Step.AGREEMENT, rules.same_place(sample.others, said, sample.thresholds))
        if sample.why is None:
            mine = rules.reasoning(sample.own)
            with_others = [_pair(mine, rules.reasoning(other)) for other in rules.alike(sample.others, said)]
            to_compare.append((sample, with_others))
            pairs |= dict.fromkeys(with_others, float("nan"))
    if similarity is not None and pairs:
        pairs = dict(zip(pairs, similarity(list(pairs)), strict=True))
    for sample, with_others in to_compare:
        told = None if similarity is None else [pairs[pair] for pair in with_others]
        sample.rule(Step.AGREEMENT, rules.same_reasons(told, sample.thresholds))


def _visible(samples: Sequence[_Sample], _similarity: Similarity | None, visible: Visible | None) -> None:
    if visible is None:
        for sample in samples:
            sample.rule(Step.VISIBLE, Ruling(None, unjudged=True))
        return
    if not samples:
        return
    seen = visible([(sample.case, sample.own) for sample in samples])
    for sample, cues in zip(samples, seen, strict=True):
        sample.cues = tuple(cues)
        sample.rule(Step.VISIBLE, rules.visible_things(cues, sample.thresholds))


_APPLY: Mapping[Step, Callable[[Sequence[_Sample], Similarity | None, Visible | None], None]] = {
    Step.LOCATABLE: _locatable,
    Step.PLACE: _place,
    Step.AGREEMENT: _agreement,
    Step.VISIBLE: _visible,
}


def _pair(one: str, other: str) -> tuple[str, str]:
    return (one, other) if one <= other else (other, one)


def _checked(cases: Sequence[Case]) -> Sequence[Case]:
    for what, times in Counter(case.subject.id for case in cases).items():
        if times > 1:
            raise ValueError(f"photograph {what} comes {times} times")
    for case in cases:
        for teacher, times in Counter(opinion.teacher for opinion in case.opinions).items():
            if times > 1:
                raise ValueError(f"photograph {case.subject.id}: teacher {teacher} has {times} opinions")
    return cases


# ------------------------------------------------------------ what came of it


@dataclass(frozen=True, slots=True)
class Counts:
    """`samples` in = `kept` + all that `dropped` counts. `unjudged`: samples that came to a step (or check) that
    could not judge them, whatever became of them afterwards."""

    samples: int
    kept: int
    dropped: Mapping[Step, Mapping[Why, int]]
    unjudged: Mapping[Step, int]

    def left_after(self, step: Step) -> int:
        """How many samples passed this step and those before it."""
        order = list(Step)
        until = order[: order.index(step) + 1]
        return self.samples - sum(sum(self.dropped.get(each, {}).values()) for each in until)

    def to_json(self) -> dict[str, object]:
        """For a row or a card: plain names and numbers."""
        return {
            "samples": self.samples,
            "kept": self.kept,
            "dropped": {
                str(step): {str(why): n for why, n in by_why.items()} for step, by_why in self.dropped.items()
            },
            "unjudged": {str(step): n for step, n in self.unjudged.items()},
            "left_after": {str(step): self.left_after(step) for step in Step},
        }


def count(verified: Iterable[Verified]) -> Counts:
    """How many samples each step dropped, and why."""
    dropped: dict[Step, Counter[Why]] = {step: Counter() for step in Step}
    unjudged: Counter[Step] = Counter()
    samples = kept = 0
    for one in verified:
        samples += 1
        kept += one.kept
        if one.dropped_by is not None and one.reason is not None:
            dropped[one.dropped_by][Why(one.reason)] += 1
        unjudged.update(step for step in Step if one.measures.get(UNJUDGED + step))
    return Counts(samples, kept, {step: dict(by_why) for step, by_why in dropped.items()}, dict(unjudged))


def choose(verified: Iterable[Verified]) -> dict[str, str]:
    """The best kept sample of each photograph: {subject id: teacher}.

    First the one with the smallest share of things that are not there, then the finest place, then the most things
    that are, then the reasons most like another's; the teacher's name decides between equals.
    """
    best: dict[str, Verified] = {}
    for one in verified:
        if one.kept and (one.subject_id not in best or _merit(one) < _merit(best[one.subject_id])):
            best[one.subject_id] = one
    return {subject_id: best[subject_id].teacher for subject_id in sorted(best)}


def _merit(one: Verified) -> tuple[float, float, float, float, str]:
    """The smaller, the better."""
    measures = one.measures
    return (
        measures.get("unsupported_share", 1.0),
        -measures.get("fineness", 0.0),
        -measures.get("cues_visible", 0.0),
        -measures.get("similarity", -1.0),
        one.teacher,
    )


@dataclass(eq=False)
class remembering:  # noqa: N801 (used like a function)
    """A `Similarity` and a `Visible` that ask theirs only once about the same: for sweeps over thresholds.

    A sweep is `[count(verify(cases, t, memory.similarity, memory.visible)) for t in many]`.
    """

    asked_similarity: Similarity | None = None
    asked_visible: Visible | None = None

    @cached_property
    def _cosines(self) -> dict[tuple[str, str], float]:
        return {}

    @cached_property
    def _seen(self) -> dict[tuple[str, str], list[CueSeen]]:
        return {}

    @property
    def similarity(self) -> Similarity | None:
        return None if self.asked_similarity is None else self._similarity

    @property
    def visible(self) -> Visible | None:
        return None if self.asked_visible is None else self._visible

    def _similarity(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        assert self.asked_similarity is not None
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._cosines]
        if new:
            self._cosines.update(zip(new, self.asked_similarity(new), strict=True))
        return [self._cosines[pair] for pair in pairs]

    def _visible(self, samples: Sequence[tuple[Case, Opinion]]) -> list[list[CueSeen]]:
        assert self.asked_visible is not None
        new = [one for one in samples if (one[0].subject.id, one[1].teacher) not in self._seen]
        if new:
            for (case, own), cues in zip(new, self.asked_visible(new), strict=True):
                self._seen[case.subject.id, own.teacher] = cues
        return [self._seen[case.subject.id, own.teacher] for case, own in samples]
