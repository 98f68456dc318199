"""Hand-made scenes with stored answers, for the tests of the study of knowing."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from benchmarks.knowing.scenes import Case, Scenes
from trainer.judge.records import Placeable, Truth
from worker.place.gazetteer import Gazetteer
from worker.place.votes import Sample, read_sample
from worker.reason.engines import Completion

POINTS = {"Lyon": (45.7485, 4.8467, "FR"), "Berlin": (52.5244, 13.4105, "DE"), "Paris": (48.8534, 2.3488, "FR")}
COUNTRIES = {
    "Lyon": "France",
    "Paris": "France",
    "Berlin": "Germany",
    "Madrid": "Spain",
    "Rome": "Italy",
    "Oslo": "Norway",
    "Vienna": "Austria",
    "unknown": "unknown",
}


def sample(city: str, logprob: float = -0.2, finish_reason: Literal["stop", "length"] = "stop") -> Sample:
    """An answer that names a city, or "unknown"."""
    text = f"<think>A town.</think><answer>country: {COUNTRIES[city]}\ncity: {city}</answer>"
    return read_sample(Completion(text, finish_reason, 0, logprob), Gazetteer.load())


def case(
    number: int,
    city: str,
    said: Sequence[str],
    *,
    logprob: float = -0.2,
    photographer: int = 0,
    placeable: Placeable = "city",
) -> Case:
    """A scene in a city, and what was said of it; `logprob` is the first answer's."""
    lat, lon, code = POINTS[city]
    truth = Truth(
        f"test-{number:06d}", lat, lon, country_code=code, photographer=f"p{photographer}", placeable=placeable
    )
    return Case(truth, tuple(sample(each, -0.2 if n else logprob) for n, each in enumerate(said)), 0.9)


def scenes(cases: Sequence[Case], embeddings: Sequence[Sequence[float]] | None = None) -> Scenes:
    """These cases as a split."""
    rows = np.array(embeddings if embeddings is not None else [[1.0, 0.0]] * len(cases), dtype=np.float32)
    by_N = np.array([int((each.truth.photographer or "").removeprefix("p")) for each in cases], dtype=np.int64)
    return Scenes("test", tuple(cases), rows / np.linalg.norm(rows, axis=1, keepdims=True), by_N)
