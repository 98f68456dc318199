"""Synthetic image embeddings for measuring searches: clustered unit vectors, any number, in blocks, from a seed.

A photograph is a mean that all share (embeddings of one model lie in a cone), plus its place, plus its own:

    normalise(mean + place + own),   place and own normal with the variances of `_SPECTRUM_D` squared

- The cone: the mean is so long that photographs of different places have a median cosine near 0.5. The 59 real
  photographs of this project have 0.46 with the small CLIP of the Atlas.
- The spectrum: variances fall as 1 / rank, so that no few directions carry everything.
- The places: 20 photographs each on average, heavy-tailed, so that there are crowded regions and lonely ones.
- The queries: new photographs, a share of them of places that the archive has nothing of. Those lie outside of
  every cluster, which is the hardest case for a graph.

What makes a nearest-neighbour search hard is the local intrinsic dimension (LID) around the queries, not the
number of columns (Aumüller & Ceccarello, "Benchmarking Nearest Neighbor Search: Influence of Local Intrinsic
Dimensionality and Result Diversity in Real-World Datasets", CEUR 2436, 2019). `lid` estimates it, and the
benchmark prints it beside its figures. At 50,000 photographs its median is 23; around new places it is about 55.
What it is for real photographs under a real CLIP has not been measured here.

Axes: N photographs, Q queries, K neighbours, D dimensions.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIMENSIONS = 512
BLOCK = 10_000

_PER_PLACE = 20
_OWN = 0.7
_MEAN = 1.2
_SPECTRUM_D = np.arange(1, DIMENSIONS + 1) ** -0.5
_SPECTRUM_D /= np.linalg.norm(_SPECTRUM_D)

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Archive:
    """`count` photographs. `place_N` numbers their places, which are at `centre_P_D` and at `lat_P`, `lon_P`."""

    seed: int
    count: int
    place_N: NDArray[np.int64]
    centre_P_D: Floats
    lat_P: NDArray[np.float64]
    lon_P: NDArray[np.float64]

    def block(self, number: int) -> Floats:
        """The photographs from `number * BLOCK` on, at most `BLOCK` of them, shape (N, D)."""
        place_N = self.place_N[number * BLOCK : (number + 1) * BLOCK]
        return _photographs(np.random.default_rng([self.seed, 1, number]), self.centre_P_D[place_N])

    def blocks(self) -> Iterator[Floats]:
        """All photographs, in order."""
        for number in range(-(-self.count // BLOCK)):
            yield self.block(number)

    def queries(self, count: int, *, new_places: float = 0.3) -> Floats:
        """Photographs that are not in the archive; a share of them of places that it has nothing of."""
        random = np.random.default_rng([self.seed, 2])
        known = int(count * (1 - new_places))
        drawn = self.place_N[random.integers(0, self.count, known)]
        centres = np.concatenate([self.centre_P_D[drawn], _centres(random, count - known)])
        return _photographs(random, centres)


def archive(count: int, seed: int = 0) -> Archive:
    """The same archive for the same seed and count."""
    random = np.random.default_rng([seed, 0])
    places = max(1, count // _PER_PLACE)
    share_P = random.pareto(1.5, places) + 0.1
    place_N = random.choice(places, size=count, p=share_P / share_P.sum())
    lat_P = np.degrees(np.arcsin(random.uniform(-1, 1, places)))
    return Archive(seed, count, place_N, _centres(random, places), lat_P, random.uniform(-180, 180, places))


def nearest(
    vectors: Archive, queries_Q_D: Floats, k: int, excluded_N: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Floats]:
    """The numbers of the `k` nearest photographs that are not excluded, and their cosines: by comparing all."""
    best_Q_K = np.full((len(queries_Q_D), k), -2.0, dtype=np.float32)
    number_Q_K = np.full((len(queries_Q_D), k), -1, dtype=np.int64)
    for block_number, block_N_D in enumerate(vectors.blocks()):
        start = block_number * BLOCK
        cosine_Q_N = queries_Q_D @ block_N_D.T
        cosine_Q_N[:, excluded_N[start : start + BLOCK]] = -2.0
        numbers_Q_N = np.broadcast_to(np.arange(start, start + len(block_N_D)), cosine_Q_N.shape)
        all_cosines = np.concatenate([best_Q_K, cosine_Q_N], axis=1)
        all_numbers = np.concatenate([number_Q_K, numbers_Q_N], axis=1)
        top = np.argpartition(-all_cosines, k - 1, axis=1)[:, :k]
        best_Q_K, number_Q_K = np.take_along_axis(all_cosines, top, 1), np.take_along_axis(all_numbers, top, 1)
    order = np.argsort(-best_Q_K, axis=1)
    return np.take_along_axis(number_Q_K, order, 1), np.take_along_axis(best_Q_K, order, 1)


def lid(cosine_Q_K: Floats) -> NDArray[np.float64]:
    """Local intrinsic dimension around each query from its `K` nearest: the maximum-likelihood (Hill) estimate.

    Amsaleg et al., "Estimating Local Intrinsic Dimensionality", KDD 2015, on Euclidean distances of unit vectors.
    """
    distance_Q_K = np.sqrt(np.maximum(2.0 - 2.0 * cosine_Q_K.astype(np.float64), 1e-12))
    return np.asarray(-1.0 / np.log(distance_Q_K / distance_Q_K[:, -1:])[:, :-1].mean(axis=1))


def _centres(random: np.random.Generator, count: int) -> Floats:
    return np.asarray(
        random.standard_normal((count, DIMENSIONS), dtype=np.float32) * _SPECTRUM_D, dtype=np.float32
    )


def _photographs(random: np.random.Generator, centres_N_D: Floats) -> Floats:
    own_N_D = random.standard_normal(centres_N_D.shape, dtype=np.float32) * _SPECTRUM_D.astype(np.float32)
    drawn_N_D = centres_N_D + np.float32(_OWN) * own_N_D
    drawn_N_D[:, -1] += _MEAN  # the direction does not matter: this one is the emptiest
    return np.asarray(drawn_N_D / np.linalg.norm(drawn_N_D, axis=1, keepdims=True), dtype=np.float32)
