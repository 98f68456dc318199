"""Balance over regions: no cell and no country may fill a manifest.

The rule: at most `cell_cap` photographs of a cell and `country_cap` of a country. In a cell the better sourced go
first, and chance (by the seed) decides between equals. In a country each cell gives its first, then each its
second, and so on, so that a crowded city gives way before a village does. What is held out already is never
dropped.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from trainer.curate.labels import SOURCE_RANK, Dropped, Known, Side


def chance(seed: int, text: str) -> str:
    """A fixed random key: what is sorted by it is shuffled, and does not change when others come or go."""
    return hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()


def over_caps(
    rows: Sequence[Known], cells: Sequence[str], *, cell_cap: int, country_cap: int, seed: int
) -> dict[int, Dropped]:
    """{index of `rows`: the cap that it is over}. `cells` are the rows' cells."""

    def preference(index: int) -> tuple[bool, int, str]:
        row = rows[index]
        return row.before is not Side.HELD_OUT, SOURCE_RANK[row.source], chance(seed, row.sha256)

    dropped: dict[int, Dropped] = {}
    in_cell: dict[str, list[int]] = defaultdict(list)
    for index, cell in enumerate(cells):
        in_cell[cell].append(index)
    turn: dict[int, int] = {}
    for members in in_cell.values():
        for place, index in enumerate(sorted(members, key=preference)):
            turn[index] = place
            if place >= cell_cap and rows[index].before is not Side.HELD_OUT:
                dropped[index] = Dropped.CELL_FULL
    of_country: Counter[str | None] = Counter()
    left = [index for index in range(len(rows)) if index not in dropped]
    for index in sorted(left, key=lambda index: (preference(index)[0], turn[index], *preference(index)[1:])):
        code = rows[index].country_code
        if of_country[code] >= country_cap and rows[index].before is not Side.HELD_OUT:
            dropped[index] = Dropped.COUNTRY_FULL
        else:
            of_country[code] += 1
    return dropped
