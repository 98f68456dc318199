"""Do the answers have anything to do with their images? The cheapest check on a whole run.

A model that never received the pictures writes fluent answers about well-known places; one public run scored 0.2 %
that way, its sibling 79 %. Such answers fit any image as well as their own. So the answers are dealt out anew at
random, many times: if the true pairing is no better than these, something is broken.
"""

from dataclasses import dataclass

import numpy as np

from trainer.judge.columns import Columns
from trainer.judge.distance import geoscore

_SHUFFLES = 400
_MIN_LOCATED = 20
_SUSPICIOUS_P = 0.01


@dataclass(frozen=True, slots=True)
class Pairing:
    """Mean GeoScore of the located with their own images, and with each other's.

    `p_value` is the share of shuffles that are as good as the true pairing (itself counted, so never 0).
    `suspicious` means: p >= 0.01, the answers do not depend on the images.
    """

    located: int
    own_geoscore: float
    shuffled_geoscore: float
    p_value: float

    @property
    def suspicious(self) -> bool:
        return self.p_value >= _SUSPICIOUS_P


def pairing(columns: Columns, *, seed: int) -> Pairing | None:
    """None with fewer than 20 answers or only one true place: then a shuffle tells nothing."""
    points = np.array(
        [
            (row.truth.lat, row.truth.lon, row.prediction.lat, row.prediction.lon)
            for row in columns.run.rows
            if row.prediction.lat is not None
        ],
        dtype=np.float64,
    )
    if len(points) < _MIN_LOCATED or len(np.unique(points[:, :2], axis=0)) == 1:
        return None
    lat_M, lon_M, said_lat_M, said_lon_M = points.T
    haversine = type(columns.distance)()  # whatever formula the figures use: 0.5 % do not matter here, speed does
    own = float(geoscore(haversine.km(lat_M, lon_M, said_lat_M, said_lon_M)).mean())
    rng = np.random.default_rng(seed)
    shuffled = np.empty(_SHUFFLES)
    for number in range(_SHUFFLES):
        dealt = rng.permutation(len(points))
        shuffled[number] = geoscore(haversine.km(lat_M, lon_M, said_lat_M[dealt], said_lon_M[dealt])).mean()
    # Sums in another order differ in the last digits: what is equal must count as equal.
    as_good = int(np.sum(shuffled >= own - 1e-6))
    return Pairing(len(points), own, float(shuffled.mean()), (1 + as_good) / (1 + _SHUFFLES))
