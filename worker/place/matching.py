"""Finds a city by name within one country.

In order: exact name or another recorded name, then a near spelling. Spelling is held to a strict rule, because
villages that the table lacks must not become the town whose name is one letter away: same first letter, one edit
(two in long names), a town of some size, and no second candidate.
"""

from collections import defaultdict
from dataclasses import dataclass, field

from worker.place.cities import CityTable
from worker.place.names import city_readings, fold

_MIN_FUZZY_CHARS = 6
_TWO_EDITS_CHARS = 12
_MIN_FUZZY_POPULATION = 10_000
_OTHER_NAME_DISCOUNT = 10
"""A recorded other name counts only when the place is ten times larger than those that bear it as their own:
"Washington" is the capital, but "Ma" (in Chinese) is not Malmö."""


@dataclass(frozen=True, slots=True)
class CityHits:
    """`rows` of the table that bear the name, likeliest first, with the weight (population) that says so."""

    rows: tuple[int, ...]
    weights: tuple[float, ...]
    by_spelling: bool = False


@dataclass(slots=True)
class CountryIndex:
    """Folded names of one country's cities."""

    rows_by_name: dict[str, list[tuple[int, bool]]] = field(default_factory=lambda: defaultdict(list))
    fuzzy_rows: dict[str, int] = field(default_factory=dict)

    @classmethod
    def build(cls, table: CityTable, country_code: str) -> "CountryIndex":
        index = cls()
        for row in table.rows_of(country_code):
            own = fold(table.name[row])
            names = {own: True}
            for other in table.alternates[row].split("\n"):
                names.setdefault(fold(other), False)
            for name, is_own in names.items():
                if len(name) > 1:
                    index.rows_by_name[name].append((row, is_own))
            if table.population_N[row] >= _MIN_FUZZY_POPULATION and len(own) >= _MIN_FUZZY_CHARS:
                index.fuzzy_rows.setdefault(own, row)
        index.rows_by_name = dict(index.rows_by_name)
        return index

    def find(self, text: str, table: CityTable) -> CityHits | None:
        """The cities that `text` names, or None."""
        readings = list(city_readings(text))
        for reading in readings:
            if reading in self.rows_by_name:
                weighted = [
                    (float(max(table.population_N[row], 1)) / (1 if is_own else _OTHER_NAME_DISCOUNT), row)
                    for row, is_own in self.rows_by_name[reading]
                ]
                weighted.sort(key=lambda pair: (-pair[0], pair[1]))
                return CityHits(tuple(row for _, row in weighted), tuple(weight for weight, _ in weighted))
        for reading in readings:
            row = self._by_spelling(reading)
            if row is not None:
                return CityHits((row,), (float(table.population_N[row]),), by_spelling=True)
        return None

    def _by_spelling(self, reading: str) -> int | None:
        from rapidfuzz import process
        from rapidfuzz.distance import OSA

        if len(reading) < _MIN_FUZZY_CHARS:
            return None
        edits = 2 if len(reading) >= _TWO_EDITS_CHARS else 1
        near = process.extract(reading, self.fuzzy_rows.keys(), scorer=OSA.distance, score_cutoff=edits, limit=3)
        near = [hit for hit in near if hit[0][0] == reading[0]]
        return self.fuzzy_rows[near[0][0]] if len(near) == 1 else None
