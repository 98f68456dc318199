"""One value for each image and figure: what all counts, means, intervals and comparisons are made of.

Every figure is the mean of a column over the rows for which it is valid. Images without an answer are valid and
wrong: the denominator is all images, unless the title says "of the located".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.judge import places
from trainer.judge.distance import Distance, Floats, geoscore
from trainer.judge.records import Judged, Outcome, Run
from worker.place.gazetteer import Gazetteer

THRESHOLDS_KM = (1, 25, 200, 750, 2500)
_ORDER = (
    "within_1_km", "within_25_km", "bayes_city25", "within_25_km_strict", "within_200_km", "within_750_km",
    "within_2500_km", "answer_rate", "geoscore", "mean_km", "country_id", "bayes_country", "country_name",
    "country_globe", "city_id", "city_name", "city_globe", "level_right", "none_refused", "none_answered",
    "placeable_refused",
)  # fmt: skip
"""As they are shown: the limits of a test world stand beside the figures that they limit."""
LEVEL_KM = {"city": 25, "region": 200}

Bools = NDArray[np.bool_]
OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """`value_N` counts only where `valid_N`. `unit` is "share" (0 or 1 for each image), "km" or "points"."""

    name: str
    title: str
    unit: str
    value_N: Floats
    valid_N: Bools


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Rows are sorted by id. `km_N` is NaN without a point; `cluster_N` numbers the photographers."""

    run: Run
    distance: Distance
    km_N: Floats
    cluster_N: NDArray[np.int64]
    continent: tuple[str, ...]
    by_name: dict[str, Column]

    @property
    def n(self) -> int:
        return len(self.run.rows)

    def outcome_is(self, outcome: Outcome) -> Bools:
        """Which rows ended so."""
        return np.array([row.prediction.outcome is outcome for row in self.run.rows], dtype=np.bool_)


def make_columns(
    run: Run, distance: Distance, gazetteer: Gazetteer, *, on_progress: OnProgress = lambda _: None
) -> Columns:
    """Judges each image. `on_progress` is told how many images more are done."""
    rows = run.rows
    km_N = _km(rows, distance)
    located_N = ~np.isnan(km_N)
    every_N = np.ones(len(rows), dtype=np.bool_)
    inside = {km: distance.within(km_N, km).astype(np.float64) for km in THRESHOLDS_KM}
    columns = [
        Column(f"within_{km}_km", f"within {km:,} km", "share", inside_N, every_N)
        for km, inside_N in inside.items()
    ]
    strict_N = np.array([row.prediction.strict is True for row in rows], dtype=np.float64)
    # Where any raw answer is known, an image without one is as bad as an unreadable one.
    is_read = any(row.prediction.strict is not None for row in rows)
    read_N = np.full(len(rows), is_read, dtype=np.bool_)
    columns += [
        Column("within_25_km_strict", "within 25 km, in the asked form", "share", inside[25] * strict_N, read_N),
        Column("answer_rate", "answered with a point", "share", located_N.astype(np.float64), every_N),
        Column("geoscore", "GeoScore (no answer: 0)", "points", geoscore(km_N), every_N),
        Column("mean_km", "mean distance, of the located", "km", np.nan_to_num(km_N), located_N),
    ]
    continents, by_place = _place_columns(rows, km_N, distance, gazetteer, on_progress)
    columns += by_place
    columns += _world_columns(rows)
    by_name = {column.name: column for column in sorted(columns, key=lambda column: _ORDER.index(column.name))}
    return Columns(run, distance, km_N, _clusters(rows), continents, by_name)


def _km(rows: Sequence[Judged], distance: Distance) -> Floats:
    points = [
        (
            row.truth.lat,
            row.truth.lon,
            np.nan if row.prediction.lat is None else row.prediction.lat,
            np.nan if row.prediction.lon is None else row.prediction.lon,
        )
        for row in rows
    ]
    km_N = np.full(len(rows), np.nan)
    if points:
        table_N_4 = np.array(points, dtype=np.float64)
        located_N = ~np.isnan(table_N_4[:, 2])
        km_N[located_N] = distance.km(*table_N_4[located_N].T)
    return km_N


def _clusters(rows: Sequence[Judged]) -> NDArray[np.int64]:
    """Images of one photographer share a number; an image of an unknown one is a cluster by itself."""
    numbers: dict[tuple[str, str], int] = {}
    keys = (("by", row.truth.photographer) if row.truth.photographer else ("of", row.truth.id) for row in rows)
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _place_columns(
    rows: Sequence[Judged], km_N: Floats, distance: Distance, gazetteer: Gazetteer, on_progress: OnProgress
) -> tuple[tuple[str, ...], list[Column]]:
    """Countries and cities by id and by name. NaN marks rows whose truth has none, so that none can be right."""
    names = ("country_id", "city_id", "country_name", "city_name", "country_globe", "city_globe", "level_right")
    values_F_N = {name: np.full(len(rows), np.nan) for name in names}
    continents = []
    # Systems that only give points have no names that could be right or wrong.
    states_names = any(row.prediction.country or row.prediction.city for row in rows)
    for number, row in enumerate(rows):
        truth, said = row.truth, row.prediction
        place = places.true_place(truth, gazetteer)
        continents.append(place.continent)
        code = places.predicted_country(said, gazetteer)
        if place.country_code is not None:
            values_F_N["country_id"][number] = code == place.country_code
        if place.city_id is not None:
            values_F_N["city_id"][number] = places.predicted_city(said, gazetteer) == place.city_id
        if truth.country and states_names:
            values_F_N["country_name"][number] = places.same_country_name(said.country, truth.country, gazetteer)
            values_F_N["country_globe"][number] = places.globe_match(said.country, truth.country)
        if truth.city and states_names:
            values_F_N["city_name"][number] = places.same_city_name(
                said.city,
                truth.city,
                stated_country=code,
                country_code=place.country_code,
                gazetteer=gazetteer,
            )
            values_F_N["city_globe"][number] = places.globe_match(said.city, truth.city)
        if truth.placeable == "country":
            values_F_N["level_right"][number] = code is not None and code == place.country_code
        elif truth.placeable in LEVEL_KM:
            near = distance.within(km_N[number : number + 1], LEVEL_KM[truth.placeable])
            values_F_N["level_right"][number] = bool(near[0])
        on_progress(1)
    titles = {
        "country_id": "country right, by id",
        "city_id": "city right, by id",
        "country_name": "country right, by name",
        "city_name": "city right, by name",
        "country_globe": "country by GLOBE's string rule",
        "city_globe": "city by GLOBE's string rule",
        "level_right": "right as finely as the picture allows",
    }
    made = [
        Column(name, titles[name], "share", np.nan_to_num(value_N), ~np.isnan(value_N))
        for name, value_N in values_F_N.items()
    ]
    return tuple(continents), made


def _world_columns(rows: Sequence[Judged]) -> list[Column]:
    """What only a closed test world knows: its limits, and which pictures tell nothing."""
    limits = {
        "bayes_country": ("limit of the world: country", [row.truth.bayes_country for row in rows]),
        "bayes_city25": ("limit of the world: within 25 km", [row.truth.bayes_city25 for row in rows]),
    }
    made = []
    for name, (title, values) in limits.items():
        value_N = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        made.append(Column(name, title, "share", np.nan_to_num(value_N), ~np.isnan(value_N)))
    hopeless_N = np.array([row.truth.placeable == "none" for row in rows], dtype=np.bool_)
    placeable_N = np.array([row.truth.placeable not in (None, "none") for row in rows], dtype=np.bool_)
    refused_N = np.array([row.prediction.outcome is Outcome.REFUSED for row in rows], dtype=np.float64)
    located_N = np.array([row.prediction.outcome is Outcome.LOCATED for row in rows], dtype=np.float64)
    made += [
        Column("none_refused", "refused where nothing can be told", "share", refused_N, hopeless_N),
        Column("none_answered", "answered where nothing can be told", "share", located_N, hopeless_N),
        Column("placeable_refused", "refused although something can be told", "share", refused_N, placeable_N),
    ]
    return made
