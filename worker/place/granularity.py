"""How finely a place may be named: no finer than its radius supports, and no finer than anybody said."""

from schema.reasons import Granularity

WIDEST_KM = {
    Granularity.STREET: 1.0,
    Granularity.CITY: 25.0,
    Granularity.REGION: 200.0,
    Granularity.COUNTRY: 750.0,
}
"""The widest radius for each, from fine to coarse: the thresholds of the geolocation benchmarks."""
_ORDER = tuple(WIDEST_KM)


def supported(radius_km: float) -> Granularity | None:
    """The finest granularity that a radius supports; None where it is too wide even for a country."""
    return next((granularity for granularity, widest_km in WIDEST_KM.items() if radius_km <= widest_km), None)


def coarser_of(one: Granularity, other: Granularity) -> Granularity:
    return max(one, other, key=_ORDER.index)
