"""The Atlas: a closed world in which the truth about every picture is known, down to how much it can tell.

Names, ids and positions of its cities are real. What they look like is not: each country, region and city draws
its cues from distributions that are merely plausible (`atlas.places`). Some are shared between neighbours, some
are rare and decide alone. Nothing about the real world follows from anything that is measured here.

Whether a cue is visible never depends on the place. So the posterior over cities given the visible cues is exact
naive Bayes, and with it the accuracy that no model can exceed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from atlas.cues import KINDS, CueKind
from atlas.places import Town, towns

DRAWING_VERSION = "1"
"""Part of the world's version: to be raised when `atlas.scenes` or `atlas.render` make other pictures."""

MAIN_P = {
    "driving_side": 0.97,
    "centre_line": 0.88,
    "kerb": 0.85,
    "plate": 0.90,
    "bollard": 0.87,
    "roof": 0.87,
    "wall": 0.86,
    "script": 0.95,
    "warning_sign": 0.94,
    "taxi": 0.88,
    "light": 0.96,
    "vegetation": 0.70,
    "ground": 0.70,
    "relief": 0.70,
    "landmark": 0.80,
}
"""P(the usual value) of a kind, where `atlas.places` gives no other figure."""
ALTERNATIVE_SHARE = 0.7
"""The share of what the usual value leaves that falls to the named alternative; the other values get the rest."""
LESSER_LANDMARKS = 2

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class City:
    """One place, as `worker.place.gazetteer` names it."""

    geoname_id: int
    name: str
    region: str
    country_code: str
    country: str
    lat: float
    lon: float


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Axis C: all cities, trained and unseen, with those of a country and of a region beside each other.

    `version` is 12 hexadecimal digits over everything that scenes depend on. `unseen` are the geoname ids of the
    cities that only the split of that name shows.
    """

    cities: tuple[City, ...]
    kinds: tuple[CueKind, ...]
    version: str
    unseen: frozenset[int]
    probs_C_V: Mapping[str, Floats]
    """For each kind P(value | city); V runs over `CueKind.values`."""
    columns_C: Mapping[tuple[str, str], Floats]
    """The same by (kind, value)."""
    prior_C: Floats
    """Uniform over the trained cities: what the splits train, calibration, test and shift draw from."""
    row_of: Mapping[int, int]
    """Geoname id to index on axis C."""
    country_starts: NDArray[np.intp]
    region_starts: NDArray[np.intp]
    """First index of each country, and of each region, on axis C."""

    def likelihood_C(self, kind: str, value: str) -> Floats:  # noqa: N802 (names its axis)
        """P(value | city) for each city, read-only. Raises `KeyError` for a value that the kind does not have."""
        return self.columns_C[kind, value]

    def posterior_C(  # noqa: N802 (names its axis)
        self, visible: Mapping[str, str], prior_C: Floats | None = None
    ) -> Floats:
        """P(city | these values are visible), exact. The prior is the world's unless one is given."""
        posterior_C = (self.prior_C if prior_C is None else prior_C).copy()
        for cue in visible.items():
            posterior_C *= self.columns_C[cue]
        posterior_C /= posterior_C.sum()
        return posterior_C

    def country_probs(self, posterior_C: Floats) -> dict[str, float]:
        """The posterior summed over the cities of each country code."""
        sums = np.add.reduceat(posterior_C, self.country_starts).tolist()
        return {self.cities[start].country_code: p for start, p in zip(self.country_starts, sums, strict=True)}

    def typical(self, city: City) -> Mapping[str, str]:
        """The likeliest value of every kind in one city."""
        row = self.row_of[city.geoname_id]
        return {kind.name: kind.values[int(np.argmax(self.probs_C_V[kind.name][row]))] for kind in self.kinds}


@cache
def load_world() -> World:
    """The one world; the same on every call, in every process."""
    rows = towns()
    cities = tuple(
        City(town.geoname_id, town.name, town.region, town.country_code, town.country, town.lat, town.lon)
        for town in rows
    )
    probs_C_V = {
        kind.name: np.array(
            [_landmarks(kind, town) if kind.level == "city" else _around(kind, town) for town in rows]
        )
        for kind in KINDS
    }
    columns_C = {
        (kind.name, value): np.ascontiguousarray(probs_C_V[kind.name][:, column])
        for kind in KINDS
        for column, value in enumerate(kind.values)
    }
    unseen = frozenset(town.geoname_id for town in rows if town.unseen)
    prior_C = np.array([0.0 if town.unseen else 1.0 for town in rows])
    prior_C /= prior_C.sum()
    for array in (*probs_C_V.values(), *columns_C.values(), prior_C):
        array.setflags(write=False)
    return World(
        cities=cities,
        kinds=KINDS,
        version=_version(cities, probs_C_V, unseen),
        unseen=unseen,
        probs_C_V=probs_C_V,
        columns_C=columns_C,
        prior_C=prior_C,
        row_of={city.geoname_id: row for row, city in enumerate(cities)},
        country_starts=_starts([city.country_code for city in cities]),
        region_starts=_starts([f"{city.country_code} {city.region}" for city in cities]),
    )


def _around(kind: CueKind, town: Town) -> list[float]:
    """P(value) over `kind.values`, from the words of `atlas.places`; no value is impossible anywhere."""
    main, _, alternative = town.usual[kind.name].partition("/")
    main, _, figure = main.partition("=")
    main_p = float(figure) if figure else MAIN_P[kind.name]
    shares = {main: main_p}
    if alternative:
        shares[alternative] = (1.0 - main_p) * (ALTERNATIVE_SHARE if len(kind.values) > 2 else 1.0)
    return _filled(kind, shares)


def _landmarks(kind: CueKind, town: Town) -> list[float]:
    """The town's own landmark, and a few lesser ones that are no other town's own in its country."""
    own = {each.usual[kind.name] for each in towns() if each.country_code == town.country_code}
    free = [value for value in kind.values if value not in own]
    main_p = MAIN_P[kind.name]
    shares = {town.usual[kind.name]: main_p}
    for byte in hashlib.blake2b(str(town.geoname_id).encode(), digest_size=LESSER_LANDMARKS).digest():
        shares[free.pop(byte % len(free))] = (1.0 - main_p) * ALTERNATIVE_SHARE / LESSER_LANDMARKS
    return _filled(kind, shares)


def _filled(kind: CueKind, shares: dict[str, float]) -> list[float]:
    """Gives what `shares` leave to the other values in equal parts."""
    if unknown := shares.keys() - set(kind.values):
        raise ValueError(f"{kind.name} has no value {', '.join(sorted(unknown))}")
    left = 1.0 - sum(shares.values())
    return [shares[value] if value in shares else left / (len(kind.values) - len(shares)) for value in kind.values]


def _starts(keys: list[str]) -> NDArray[np.intp]:
    starts = [index for index, key in enumerate(keys) if index == 0 or keys[index - 1] != key]
    if len({keys[start] for start in starts}) != len(starts):
        raise ValueError("the cities of a country or region must stand beside each other")
    return np.array(starts, dtype=np.intp)


def _version(cities: tuple[City, ...], probs_C_V: Mapping[str, Floats], unseen: frozenset[int]) -> str:
    described = {
        "drawing": DRAWING_VERSION,
        "cities": [[city.geoname_id, city.name, city.region, city.country, city.lat, city.lon] for city in cities],
        "unseen": sorted(unseen),
        # Rounded: the last bits of a sum may differ between machines, and must not make another world.
        "probs": {kind: np.round(probs, 9).tolist() for kind, probs in probs_C_V.items()},
    }
    return hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=6).hexdigest()
