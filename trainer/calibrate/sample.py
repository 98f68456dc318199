"""What a calibration is made of: located photographs with known place."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.place.difficulty import Difficulty
from worker.place.hardness import SIGNS, signs_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """N photographs. `signs` gives (N,) values for each name, NaN where unknown; each grows with the difficulty.

    `error_km_N`: great-circle distance of the answer from the known place. `cluster_N` numbers from 0 what
    stands or falls together: photographs of one place cell or one series, as the split of a curation ties them.
    """

    signs: dict[str, Floats]
    error_km_N: Floats
    cluster_N: NDArray[np.int64]

    @property
    def n(self) -> int:
        return int(self.error_km_N.size)

    @property
    def clusters(self) -> int:
        return int(np.unique(self.cluster_N).size)

    def part(self, chosen_N: Bools) -> "Sample":
        """Those alone; clusters are numbered anew."""
        _, cluster_M = np.unique(self.cluster_N[chosen_N], return_inverse=True)
        signs = {name: sign_N[chosen_N] for name, sign_N in self.signs.items()}
        return Sample(signs, self.error_km_N[chosen_N], cluster_M.astype(np.int64))


def make_sample(known: Sequence[Difficulty], error_km_N: Floats, cluster_N: NDArray[np.int64]) -> Sample:
    """Of what predictions keep. Raises `ValueError` where the lengths differ or an error is no distance."""
    if not len(known) == error_km_N.size == cluster_N.size:
        raise ValueError(f"{len(known)} difficulties, {error_km_N.size} errors, {cluster_N.size} clusters")
    if not (np.isfinite(error_km_N).all() and (error_km_N >= 0).all()):
        raise ValueError("every error must be a distance; photographs without an answer have none")
    rows = [signs_of(each) for each in known]
    signs = {name: np.array([row[name] for row in rows], dtype=np.float64) for name in SIGNS}
    return Sample(signs, np.asarray(error_km_N, dtype=np.float64), cluster_N.astype(np.int64))


def deal_clusters(cluster_N: NDArray[np.int64], parts: int, *, seed: int) -> NDArray[np.int64]:
    """The part, 0 on, of each photograph: whole clusters, dealt by chance into parts of about equal size."""
    names, size_C = np.unique(cluster_N, return_counts=True)
    order = np.random.default_rng(seed).permutation(names.size)
    part_of = np.zeros(names.size, dtype=np.int64)
    filled = np.zeros(parts)
    for place in order:
        part_of[place] = int(np.argmin(filled))
        filled[part_of[place]] += size_C[place]
    dealt_N: NDArray[np.int64] = part_of[np.searchsorted(names, cluster_N)]
    return dealt_N
