"""What the four steps come to on scenes that no threshold was chosen on: together, in turn, and each left out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.curation.judging import Key, Sample, Tally, kept_of, tally
from benchmarks.knowing.shares import Share, share
from trainer.curate.opinions import Case, Step, Verified
from trainer.curate.thresholds import Thresholds
from trainer.curate.verify import choose, remembering, verify

RAW = "raw"


@dataclass(frozen=True, slots=True)
class Study:
    """By name of what was applied: `after` each step in turn (and raw), `without` one, `alone`.

    `precision` of what all four keep has an interval (95 %, bootstrap over photographers). `best` are the samples
    that are written out: the best kept one of each scene. `by_teacher`: raw and kept.
    """

    thresholds: Thresholds
    after: Mapping[str, Tally]
    without: Mapping[str, Tally]
    alone: Mapping[str, Tally]
    precision: Share | None
    best: Tally
    by_teacher: Mapping[str, tuple[Tally, Tally]]
    verified: Sequence[Verified]
    photographs: int


def study(
    cases: Sequence[Case], samples: Mapping[Key, Sample], thresholds: Thresholds, memory: remembering
) -> Study:
    """Judges the steps on these cases, `samples` being what is true of them."""
    ids = {case.subject.id for case in cases}
    own = {key: sample for key, sample in samples.items() if key[0] in ids}
    all_right = sum(sample.right for sample in own.values())

    def by(steps: Collection[Step]) -> list[Verified]:
        return verify(cases, thresholds, memory.similarity, memory.visible, steps=steps)

    def reached(steps: Collection[Step]) -> Tally:
        return tally(kept_of(by(steps), own), all_right)

    order = list(Step)
    verified = by(order)
    kept = kept_of(verified, own)
    written = [own[key] for key in choose(verified).items()]
    return Study(
        thresholds=thresholds,
        after={RAW: tally(own.values(), all_right)}
        | {step: reached(order[: n + 1]) for n, step in enumerate(order)},
        without={str(step): reached([each for each in order if each != step]) for step in order},
        alone={str(step): reached([step]) for step in order},
        precision=_precision(cases, kept),
        best=tally(written, all_right),
        by_teacher={
            teacher: (
                tally((sample for key, sample in own.items() if key[1] == teacher), all_right),
                tally((sample for sample in kept if sample.key[1] == teacher), all_right),
            )
            for teacher in sorted({teacher for _, teacher in own})
        },
        verified=verified,
        photographs=len(cases),
    )


def _precision(cases: Sequence[Case], kept: Sequence[Sample]) -> Share | None:
    if not kept:
        return None
    names = sorted({case.subject.grouped_by or "" for case in cases})
    cluster = {case.subject.id: names.index(case.subject.grouped_by or "") for case in cases}
    return share(
        np.array([sample.right for sample in kept]), np.array([cluster[sample.key[0]] for sample in kept])
    )
