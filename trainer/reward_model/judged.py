"""Samples out of stored predictions: raw answers about photographs of known place."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from trainer.judge.records import Judged, Outcome
from trainer.reward_model.data import Labelled, LeftOut, Picture, Said, Target, labelled
from worker.reason.answer import Answer, parse


def from_judged(
    rows: Iterable[tuple[str, Judged]],
    target: Target,
    *,
    pictures: Mapping[str, Picture] | None = None,
    left_out: Mapping[LeftOut, int] | None = None,
) -> Labelled:
    """A sample for each raw answer; `rows` are (who answered, truth and prediction).

    Several may be about one photograph. An answer that names no place is a verdict that it cannot be placed, any
    other that it can. Answers that cannot be read, and those whose raw text was not kept, are counted as
    unreadable; photographs that are neither in `pictures` (by id) nor have a file, as without a picture.
    """
    counts: Counter[LeftOut] = Counter(left_out or {})
    return labelled(_said(rows, target, pictures or {}, counts), counts)


def _said(
    rows: Iterable[tuple[str, Judged]],
    target: Target,
    pictures: Mapping[str, Picture],
    left_out: Counter[LeftOut],
) -> Iterator[Said]:
    for source, row in rows:
        truth, prediction = row.truth, row.prediction
        answer = parse(prediction.raw) if prediction.raw else None
        if not isinstance(answer, Answer) or prediction.outcome is Outcome.UNPARSABLE:
            left_out[LeftOut.UNREADABLE] += 1
        elif (image := pictures.get(truth.id, truth.image)) is None:
            left_out[LeftOut.NO_PICTURE] += 1
        else:
            yield Said(
                photograph=truth.id,
                source=source,
                image=image,
                reasoning=answer.reasoning,
                right=target.right(truth, prediction),
                verdict=not answer.abstains,
                lat=truth.lat,
                lon=truth.lon,
                taken_by=truth.photographer,
            )
