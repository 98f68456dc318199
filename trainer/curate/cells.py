"""Cells of nearly equal area on the sphere.

Bands of equal height from pole to pole; each is parted into as many columns as fit its area. The two polar bands
are one cell each, so that at a pole, where every meridian ends, there is one cell and no longitude matters.
"""

import math
from dataclasses import dataclass

from worker.place.sphere import EARTH_RADIUS_KM, HALF_CIRCUMFERENCE_KM, is_valid, wrap_lon


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells of about `cell_km` by `cell_km`. Two points of a cell are less than 2.3 `cell_km` apart.

    Raises `ValueError` where `cell_km` is not above 0 and at most 5000.
    """

    cell_km: float

    def __post_init__(self) -> None:
        if not 0 < self.cell_km <= 5000:
            raise ValueError(f"cells of {self.cell_km} km: expected more than 0 and at most 5000")

    @property
    def bands(self) -> int:
        """How many bands there are from pole to pole."""
        return round(HALF_CIRCUMFERENCE_KM / self.cell_km)

    def columns(self, band: int) -> int:
        """How many cells a band (0 at the south pole) has."""
        if band in (0, self.bands - 1):
            return 1
        height_rad = math.pi / self.bands
        south = band * height_rad - math.pi / 2
        area_km2 = 2 * math.pi * EARTH_RADIUS_KM**2 * (math.sin(south + height_rad) - math.sin(south))
        height_km = HALF_CIRCUMFERENCE_KM / self.bands
        return max(1, round(area_km2 / height_km**2))

    def cell(self, lat: float, lon: float) -> str:
        """The name of the cell, "band/column". Raises `ValueError` for what is no point on Earth."""
        if not is_valid(lat, lon):
            raise ValueError(f"{lat}, {lon} is no point on Earth")
        band = min(int((lat + 90.0) / 180.0 * self.bands), self.bands - 1)
        columns = self.columns(band)
        column = min(int((wrap_lon(lon) + 180.0) / 360.0 * columns), columns - 1)
        return f"{band}/{column}"
