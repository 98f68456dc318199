"""Samples out of curation: what teachers said of photographs of known place, and their verdicts."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from trainer.curate.opinions import Case, Opinion, Subject
from trainer.judge.answers import from_answer
from trainer.judge.records import Outcome, Prediction, Truth
from trainer.reward_model.data import Labelled, LeftOut, Picture, Said, Target, labelled
from worker.place.gazetteer import Gazetteer

Open = Callable[[Subject], Picture | LeftOut]
"""Where a photograph is opened, or why it is not."""


def from_cases(cases: Iterable[Case], open_: Open, target: Target, gazetteer: Gazetteer) -> Labelled:
    """A sample for each teacher's reasons. Coordinate teachers vote with their outcome alone."""
    left_out: Counter[LeftOut] = Counter()
    return labelled(_said(cases, open_, target, gazetteer, left_out), left_out)


def _said(
    cases: Iterable[Case], open_: Open, target: Target, gazetteer: Gazetteer, left_out: Counter[LeftOut]
) -> Iterator[Said]:
    for case in cases:
        subject = case.subject
        image = open_(subject)
        if isinstance(image, LeftOut):
            left_out[image] += len(case.opinions)
            continue
        left_out[LeftOut.UNREADABLE] += len(case.troubled)
        truth = Truth(subject.id, subject.lat, subject.lon, country_code=subject.country_code)
        for opinion in case.opinions:
            prediction = _prediction(subject.id, opinion, gazetteer)
            yield Said(
                photograph=subject.id,
                source=opinion.teacher,
                image=image,
                reasoning=None if opinion.answer is None else opinion.answer.reasoning,
                right=None if prediction is None else target.right(truth, prediction),
                verdict=opinion.locatable,
                lat=subject.lat,
                lon=subject.lon,
                taken_by=subject.grouped_by,
            )


def _prediction(id_: str, opinion: Opinion, gazetteer: Gazetteer) -> Prediction | None:
    """The place that a teacher means; None where it gives only a verdict."""
    if opinion.answer is not None:
        return from_answer(id_, opinion.answer, gazetteer)
    if opinion.lat is None or opinion.lon is None:
        return None
    return Prediction(id_, Outcome.LOCATED, lat=opinion.lat, lon=opinion.lon)
