"""How far is too far: the distance formula, the earth and the comparison, stated with every figure.

Published numbers differ in all three: GeoCLIP and GAEA use the WGS 84 ellipsoid and `<=`, OSV-5M a sphere of
6371 km and `<` (read in their code). On Im2GPS3k the choice moves up to 5 of 2,997 images at 25 km.
"""

import operator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worker.errors import SetupError
from worker.place import sphere

Formula = Literal["haversine", "geodesic"]
Comparison = Literal["le", "lt"]
FORMULAS: tuple[Formula, ...] = ("haversine", "geodesic")
COMPARISONS: tuple[Comparison, ...] = ("le", "lt")

GEOSCORE_SCALE_KM = 1492.7
"""GeoScore = 5000 * exp(-d / 1492.7 km): the score of the game GeoGuessr on its world map, in this form in the
code of OSV-5M (arXiv 2404.18873, `metrics/distance_based.py`) and PIGEON (arXiv 2307.05845)."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Distance:
    """`radius_km` is the sphere's; the geodesic formula has its own earth (WGS 84, Karney 2013)."""

    formula: Formula = "haversine"
    radius_km: float = 6371.0
    comparison: Comparison = "le"

    def km(self, lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> Floats:
        """Distances in km between points in degrees, which broadcast; NaN where a coordinate is NaN.

        Raises `SetupError` where the package for the geodesic formula is not installed.
        """
        if self.formula == "haversine":
            return sphere.distances_km(lat1, lon1, lat2, lon2) * (self.radius_km / sphere.EARTH_RADIUS_KM)
        return _geodesic_km(lat1, lon1, lat2, lon2)

    def within(self, km_N: Floats, threshold_km: float) -> NDArray[np.bool_]:
        """Which distances count as inside the threshold; NaN (no answer) never does."""
        compare = operator.le if self.comparison == "le" else operator.lt
        inside: NDArray[np.bool_] = compare(km_N, threshold_km)
        return inside

    def describe(self) -> str:
        """In words, for the head of every output."""
        earth = f"sphere of {self.radius_km:g} km" if self.formula == "haversine" else "WGS 84 ellipsoid"
        sign = "≤" if self.comparison == "le" else "<"
        return f"{self.formula}, {earth}, distance {sign} threshold"


def geoscore(km_N: Floats) -> Floats:
    """5000 for the very place, falling to 0; 0 without an answer (NaN)."""
    return np.nan_to_num(5000.0 * np.exp(-km_N / GEOSCORE_SCALE_KM), nan=0.0)


def _geodesic_km(lat1: ArrayLike, lon1: ArrayLike, lat2: ArrayLike, lon2: ArrayLike) -> Floats:
    try:
        from geographiclib.geodesic import Geodesic
    except ImportError as error:
        raise SetupError(
            "--formula geodesic needs the package geographiclib: pip install geographiclib"
        ) from error
    earth = Geodesic.WGS84
    points = np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in (lat1, lon1, lat2, lon2)))
    flat = zip(*(each.ravel().tolist() for each in points), strict=True)
    km = [earth.Inverse(*four, Geodesic.DISTANCE)["s12"] / 1000 for four in flat]
    return np.array(km, dtype=np.float64).reshape(points[0].shape)
