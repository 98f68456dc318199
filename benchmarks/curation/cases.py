"""Stored rows as cases for the four steps, and what the steps ask: how alike reasons are, what is visible."""

from collections.abc import Mapping, Sequence
from functools import cache
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from atlas import WEIGHTS
from atlas.archive import camera_position
from atlas.scenes import Scene, scene
from atlas.world import World
from benchmarks.curation.store import SPLIT, Row
from trainer.curate.distil.reading import Troubled, read_said
from trainer.curate.opinions import Case, Opinion, Subject, Trouble
from worker.errors import SetupError
from worker.reason.answer import split_cues

if TYPE_CHECKING:
    from worker.gate.clip import ClipGate


def scenes_of(world: World, rows: Sequence[Row]) -> dict[str, Scene]:
    """The scene of each row by its id. Raises `SetupError` where a row is about another scene than its
    number's.
    """
    found = {row.id: scene(world, SPLIT, index) for index, row in enumerate(rows)}
    if wrong := [row_id for row_id, shown in found.items() if shown.id != row_id]:
        raise SetupError(f"the stored answers are about {wrong[0]}, which is another scene here: remove them")
    return found


def subject_of(shown: Scene) -> Subject:
    """The photograph, with the place that an archive knows of it."""
    lat, lon = camera_position(shown)
    city = shown.city
    return Subject(
        id=shown.id,
        uri=f"{shown.id}.jpg",
        lat=lat,
        lon=lon,
        country_code=city.country_code,
        country=city.country,
        region=city.region,
        city=city.name,
        geoname_id=city.geoname_id,
        grouped_by=shown.photographer,
    )


def cases_of(rows: Sequence[Row], scenes: Mapping[str, Scene]) -> list[Case]:
    """One case for each row."""
    cases = []
    for row in rows:
        opinions: list[Opinion] = []
        troubled: dict[str, Trouble] = {}
        for teacher, text in row.said.items():
            read = read_said(teacher, text, None)
            if isinstance(read, Troubled):
                troubled[teacher] = read.trouble
            else:
                opinions.append(read)
        for teacher, (lat, lon, confidence) in row.points.items():
            opinions.append(Opinion(teacher, lat=lat, lon=lon, confidence=confidence))
        cases.append(Case(subject_of(scenes[row.id]), tuple(opinions), troubled))
    return cases


def halves(cases: Sequence[Case], seed: int = 0) -> tuple[list[Case], list[Case]]:
    """Two halves that share no city: thresholds are chosen on the first and judged on the second."""
    cities = sorted({case.subject.geoname_id or 0 for case in cases})
    first = set(Random(seed).sample(cities, len(cities) // 2))
    return (
        [case for case in cases if case.subject.geoname_id in first],
        [case for case in cases if case.subject.geoname_id not in first],
    )


class ClipSentences:
    """`Similarity` by the text tower of the Atlas's own CLIP: the mean of a text's sentences, each embedded
    once.
    """

    def __init__(self, gate: "ClipGate | None" = None) -> None:
        self._gate = gate
        self._vectors: dict[str, NDArray[np.float32]] = {}

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        texts = {text for pair in pairs for text in pair}
        self._embed(sorted({sentence for text in texts for sentence in split_cues(text)}))
        vectors = {text: self._mean(text) for text in texts}
        return [float(vectors[one] @ vectors[other]) for one, other in pairs]

    def _embed(self, sentences: Sequence[str]) -> None:
        if new := [sentence for sentence in sentences if sentence not in self._vectors]:
            if self._gate is None:
                self._gate = clip()
            self._vectors |= dict(zip(new, self._gate.encode_texts(new), strict=True))

    def _mean(self, text: str) -> NDArray[np.float32]:
        sentences = split_cues(text)
        if not sentences:
            return np.full(1, np.nan, dtype=np.float32)
        mean_D = np.mean([self._vectors[sentence] for sentence in sentences], axis=0)
        return np.asarray(mean_D / max(1e-9, float(np.linalg.norm(mean_D))), dtype=np.float32)


@cache
def clip() -> "ClipGate":
    """The gate's backbone, loaded once."""
    from worker.gate.clip import load_gate

    return load_gate(str(WEIGHTS / "clip"), device="cpu")
