"""Puts each truth beside what was said of it. One Judged for each truth, nothing left over on either side."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from trainer.judge.checks import refuse_swapped_predictions
from trainer.judge.records import Judged, Outcome, Prediction, Run, Truth
from worker.errors import SetupError
from worker.intake.uri import shown

_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".heic", ".avif", ".gif", ".bmp", ".jp2"}
)


def match(name: str, truths: Sequence[Truth], predictions: Sequence[Prediction], *, source: str) -> Run:
    """The run, sorted by id. A truth without a prediction becomes MISSING; `source` names the predictions.

    Ids are compared as they are; where that leaves predictions over, by file name without folder and image
    suffix, if these are unique. Raises `SetupError` for predictions of images that the truth does not know, and
    for answers whose latitude and longitude are exchanged.
    """
    by_id = {prediction.id: prediction for prediction in predictions}
    notes: list[str] = []
    if unknown := by_id.keys() - {truth.id for truth in truths}:
        by_id, notes = _by_stem(truths, predictions, source, len(unknown))
    rows = tuple(
        Judged(truth, by_id.get(truth.id) or Prediction(truth.id, Outcome.MISSING))
        for truth in sorted(truths, key=lambda truth: truth.id)
    )
    refuse_swapped_predictions(rows, source)
    if zeros := sum(row.prediction.lat == 0 and row.prediction.lon == 0 for row in rows):
        notes.append(f"{zeros:,} answers are exactly 0, 0: models echo this from a prompt's template.")
    return Run(name, rows, tuple(notes))


def stem(id_: str) -> str:
    """ "images/00/a.jpg" and "a" are one image. Only image suffixes are cut, since ids may hold dots."""
    path = PurePosixPath(id_.replace("\\", "/"))
    return path.stem if path.suffix.lower() in _SUFFIXES else path.name


def _by_stem(
    truths: Sequence[Truth], predictions: Sequence[Prediction], source: str, unknown: int
) -> tuple[dict[str, Prediction], list[str]]:
    known = {stem(truth.id): truth for truth in truths}
    stems = {stem(prediction.id) for prediction in predictions}
    if len(known) == len(truths) and len(stems) == len(predictions):
        strangers = [prediction for prediction in predictions if stem(prediction.id) not in known]
        if not strangers:
            matched = {known[stem(prediction.id)].id: prediction for prediction in predictions}
            return matched, [f"Images of {source} were matched by file name without folder and suffix."]
        unknown = len(strangers)
    else:
        ids = {truth.id for truth in truths}
        strangers = [prediction for prediction in predictions if prediction.id not in ids]
    first = strangers[0]
    raise SetupError(
        f"{first.where or source}: the truth knows no image {shown(first.id)!r}; {unknown:,} of"
        f" {len(predictions):,} predictions are of unknown images (the truth's ids look like"
        f" {shown(truths[0].id)!r}): the files do not belong together"
    )
