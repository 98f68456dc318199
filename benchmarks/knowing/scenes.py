"""Scenes with their stored answers, read and looked up, and what the worker would make of them.

Each scene is played as in serving, by the worker's own rules: answers are weighed by `worker.place.weighing`, and
`worker.place.doubt` says how many of them are drawn. Nothing here asks a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from atlas.archive import camera_position
from atlas.scenes import scene
from atlas.world import World
from benchmarks.knowing.store import Store
from trainer.judge.records import Placeable, Truth
from worker.errors import SetupError
from worker.outcome import PredictionRecord
from worker.place.doubt import Doubt
from worker.place.gazetteer import Gazetteer
from worker.place.radius import RadiusModel
from worker.place.sphere import distance_km
from worker.place.verdict import Limits, verdict
from worker.place.votes import Sample, read_sample
from worker.place.weighing import Ground, Weighed, weigh
from worker.reason.answer import Unparsable

NEAR_KM = 25.0
"""An answer farther off is wrong."""
ONE = Doubt(most_answers=1)
ALL = Doubt(min_logprob=float("inf"), enough_agreement=2.0)
"""The doubt that never ends."""

_PLACEABLE: dict[str, Placeable] = {"city": "city", "region": "region", "country": "country", "none": "none"}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One scene. `samples` are all stored answers, the greedy one first; `ground` what is known beside them."""

    truth: Truth
    samples: tuple[Sample, ...]
    gate_score: float = 1.0
    ground: Ground = field(default_factory=Ground)
    _weighed: dict[int, Weighed] = field(default_factory=dict)

    @property
    def is_placeable(self) -> bool:
        return self.truth.placeable != "none"

    def on(self, ground: Ground) -> "Case":
        """The same scene with something else beside its answers."""
        return replace(self, ground=ground, _weighed={})

    def weighed(self, count: int) -> Weighed:
        """What the first `count` answers and the ground come to."""
        if count not in self._weighed:
            self._weighed[count] = weigh(self.samples[:count], self.ground, Gazetteer.load())
        return self._weighed[count]

    def ask(self, doubt: Doubt) -> tuple[int, Weighed]:
        """How many answers the worker draws by this rule, and what they come to (as `worker.reason.asking`)."""
        first, count = self.samples[0], 1
        while True:
            weighed = self.weighed(count)
            further = doubt.further(
                drawn=count,
                agreement=weighed.agreement,
                mean_logprob=first.completion.mean_logprob,
                gate_score=self.gate_score,
                readable=not isinstance(first.answer, Unparsable),
            )
            if further == 0:
                return count, weighed
            count += further

    def record(self, doubt: Doubt, limits: Limits, radius_model: RadiusModel | None = None) -> PredictionRecord:
        """The row that the worker would store."""
        count, weighed = self.ask(doubt)
        return verdict(
            self.samples[:count],
            weighed,
            self.ground,
            request_hash=self.truth.id,
            gate_score=self.gate_score,
            limits=limits,
            radius_model=radius_model,
            gazetteer=Gazetteer.load(),
        )

    def off_km(self, lat: float | None, lon: float | None) -> float:
        """How far off a point is; infinite for none."""
        if lat is None or lon is None:
            return float("inf")
        return distance_km(lat, lon, self.truth.lat, self.truth.lon)

    def weighed_off_km(self, weighed: Weighed) -> float:
        """How far off an outcome is; infinite where it is no place."""
        place = weighed.place.chosen.place if weighed.place else None
        return self.off_km(place.lat, place.lon) if place else float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """N scenes of a split from number 0 on, in order. `photographer_N` numbers the clusters of the bootstrap."""

    split: str
    cases: tuple[Case, ...]
    embedding_N_D: NDArray[np.float32]
    photographer_N: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.cases)

    def part(self, rows: Sequence[int] | NDArray[np.int64]) -> "Scenes":
        """These scenes alone."""
        chosen = np.asarray(rows, dtype=np.int64)
        cases = tuple(self.cases[row] for row in chosen.tolist())
        return Scenes(self.split, cases, self.embedding_N_D[chosen], self.photographer_N[chosen])

    def on(self, grounds: Sequence[Ground]) -> "Scenes":
        """The same scenes, each with its ground."""
        return replace(self, cases=tuple(case.on(each) for case, each in zip(self.cases, grounds, strict=True)))

    @property
    def clusters_N(self) -> NDArray[np.int64]:  # noqa: N802 (names its axis)
        """The photographers, numbered from 0 without gaps."""
        return np.unique(self.photographer_N, return_inverse=True)[1].astype(np.int64)


def stored_scenes(store: Store, split: str, most: int | None = None) -> Scenes:
    """The first `most` answered scenes of a split. Raises `SetupError` where a line is not about its scene."""
    gazetteer, cases, photographers, embeddings = Gazetteer.load(), [], [], []
    for index, row in enumerate(store.read(split, most)):
        truth = true_scene(store.world, split, index)
        if row.id != truth.id:
            raise SetupError(f"{store.file(split)}: line {index + 1} is about {row.id}, not {truth.id}: remove it")
        samples = tuple(read_sample(each, gazetteer) for each in row.completions)
        cases.append(Case(truth, samples, row.gate_score))
        photographers.append(int((truth.photographer or "").rpartition("p")[2]))
        embeddings.append(row.embedding)
    embedding_N_D = np.array(embeddings, dtype=np.float64)
    embedding_N_D /= np.maximum(1e-9, np.linalg.norm(embedding_N_D, axis=1, keepdims=True))  # they were rounded
    return Scenes(split, tuple(cases), embedding_N_D.astype(np.float32), np.array(photographers, dtype=np.int64))


def true_scene(world: World, split: str, index: int) -> Truth:
    """What `truth.csv` of `atlas.archive` would say of a scene, as far as it is needed here."""
    shown = scene(world, split, index)
    lat, lon = camera_position(shown)
    return Truth(
        shown.id,
        lat,
        lon,
        country_code=shown.city.country_code,
        country=shown.city.country,
        region=shown.city.region,
        city=shown.city.name,
        geoname_id=shown.city.geoname_id,
        photographer=shown.photographer,
        placeable=_PLACEABLE[shown.placeable],
    )
