"""Samples out of stored predictions: raw answers about photographs of known place."""

from collections import Counter
from collections.abc import Iterable, Iterator

from trainer.judge.records import Judged, Outcome
from trainer.reward_model.data import Labelled, LeftOut, Said, Target, labelled
from worker.reason.answer import Answer, parse


def from_judged(rows: Iterable[tuple[str, Judged]], target: Target) -> Labelled:
    """A sample for each raw answer; `rows` are (who answered, truth and prediction).

    Several may be about one photograph. Answers that cannot be read, and those whose raw text was not kept, are
    counted as unreadable; photographs without a file as without a picture.
    """
    left_out: Counter[LeftOut] = Counter()
    return labelled(_said(rows, target, left_out), left_out)


def _said(rows: Iterable[tuple[str, Judged]], target: Target, left_out: Counter[LeftOut]) -> Iterator[Said]:
    for source, row in rows:
        truth, prediction = row.truth, row.prediction
        answer = parse(prediction.raw) if prediction.raw else None
        if not isinstance(answer, Answer) or prediction.outcome is Outcome.UNPARSABLE:
            left_out[LeftOut.UNREADABLE] += 1
        elif truth.image is None:
            left_out[LeftOut.NO_PICTURE] += 1
        else:
            yield Said(
                photograph=truth.id,
                source=source,
                image=truth.image,
                reasoning=answer.reasoning,
                right=target.right(truth, prediction),
                verdict=not answer.abstains,
                lat=truth.lat,
                lon=truth.lon,
                taken_by=truth.photographer,
            )
