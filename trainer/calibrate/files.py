"""The same for published predictions: can their confidences carry a radius, and does it keep its promise?

The confidence is the only sign. It need not be a probability: curves follow its quantiles.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.calibrate.sample import Sample
from trainer.curate.cells import Grid
from trainer.judge.matching import match
from trainer.judge.read import read_predictions, read_truth
from trainer.judge.records import Judged
from worker.errors import SetupError
from worker.place.gazetteer import Gazetteer
from worker.place.sphere import distances_km

_CELL_KM = 50.0


def read_files(predictions: Path, truth: Path, gazetteer: Gazetteer) -> Sample:
    """The located images of a predictions file that state a confidence, against the truth.

    Clusters are photographers where the truth names them, else place cells. Raises `SetupError` where there is no
    confidence, or it is the same everywhere: then there is nothing that a radius could follow.
    """
    truths = read_truth(truth, gazetteer)
    run = match(predictions.name, truths, read_predictions(predictions, gazetteer), source=predictions.name)
    located = [row for row in run.rows if row.prediction.lat is not None]
    stated = [row for row in located if row.prediction.confidence is not None]
    if not stated:
        raise SetupError(
            f"{predictions.name}: {len(located):,} answers with a point, none with a confidence (a column"
            " confidence, score or probability): without any sign of difficulty there is one radius for all"
        )
    if len(stated) < len(located):
        raise SetupError(
            f"{predictions.name}: {len(located) - len(stated):,} of {len(located):,} answers with a point state no"
            " confidence; what is left would be a choice of the easy ones: complete the column"
        )
    unsure_N = np.array([-(row.prediction.confidence or 0.0) for row in stated])
    if float(np.ptp(unsure_N)) == 0.0:
        raise SetupError(f"{predictions.name}: all {len(stated):,} confidences are the same and tell nothing")
    point_N_4 = np.array(
        [(row.truth.lat, row.truth.lon, row.prediction.lat, row.prediction.lon) for row in stated],
        dtype=np.float64,
    )
    _, cluster_N = np.unique(_clusters(stated), return_inverse=True)
    return Sample({"unsure": unsure_N}, distances_km(*point_N_4.T), cluster_N.astype(np.int64))


def _clusters(rows: Sequence[Judged]) -> list[str]:
    grid = Grid(_CELL_KM)
    return [row.truth.photographer or f"cell {grid.cell(row.truth.lat, row.truth.lon)}" for row in rows]
