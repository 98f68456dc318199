"""Two sides that nothing leaks between: to learn from, and held out to judge by.

Photographs of the same place cell or the same series hang together, directly or over others, and such a group goes
to one side whole. What was decided in earlier curations stands: a group with something held out is held out, one
that was trained on is trained on; from one that has come to be both, only what is held out already is used. New
groups are drawn by chance until enough is held out.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from trainer.curate.balance import chance
from trainer.curate.labels import Dropped, Fate, Known, Side
from worker.place.sphere import EARTH_RADIUS_KM, unit_vectors

_OVERSHOOT = 1.5
"""A new group is held out only where that makes the held-out side at most so many times its target."""
_BLOCK = 512


class Groups:
    """Which of `count` things hang together (union-find; Tarjan, J. ACM 22(2), 1975)."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, index: int) -> int:
        """The same for all of a group."""
        parent = self._parent
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    def tie(self, members: Iterable[int]) -> None:
        """Puts all of these into one group."""
        roots = [self.root(index) for index in members]
        for root in roots[1:]:
            self._parent[self.root(root)] = self.root(roots[0])


def make_groups(
    rows: Sequence[Known], cells: Sequence[str], series: Iterable[list[int]], repeats: Mapping[int, int]
) -> list[int]:
    """The group of each row, named by an index of one of its rows.

    `repeats` gives {row: the row that stands for it}: where the first was trained on, the second has been, as it
    were.
    """
    groups = Groups(len(rows))
    in_cell: dict[str, list[int]] = defaultdict(list)
    for index, cell in enumerate(cells):
        in_cell[cell].append(index)
    for members in in_cell.values():
        groups.tie(members)
    for members in series:
        groups.tie(members)
    for repeat, original in repeats.items():
        if rows[repeat].before is Side.TRAIN and rows[original].before is None:
            groups.tie((repeat, original))
    return [groups.root(index) for index in range(len(rows))]


def choose_sides(
    rows: Sequence[Known], groups: Sequence[int], usable: Collection[int], *, held_out: int, seed: int
) -> dict[int, Fate]:
    """The fate of each of the `usable` indices. About `held_out` of them are to be held out.

    There are more where more were held out before, and fewer where no group is small enough.
    """
    before: dict[int, set[Side]] = defaultdict(set)
    for row, group in zip(rows, groups, strict=True):
        if row.before is not None:
            before[group].add(row.before)
    members: dict[int, list[int]] = defaultdict(list)
    for index in sorted(usable, key=lambda index: chance(seed, rows[index].sha256)):
        members[groups[index]].append(index)

    fate: dict[int, Fate] = {}
    held = 0
    undecided: list[list[int]] = []
    joining: list[int] = []
    for group, of_group in members.items():
        sides = before[group]
        frozen = [index for index in of_group if rows[index].before is Side.HELD_OUT]
        fate.update(dict.fromkeys(frozen, Side.HELD_OUT))
        held += len(frozen)
        others = [index for index in of_group if rows[index].before is not Side.HELD_OUT]
        if len(sides) == 2:
            fate.update(dict.fromkeys(others, Dropped.BETWEEN_SIDES))
        elif Side.HELD_OUT in sides:
            joining += others
        elif Side.TRAIN in sides:
            fate.update(dict.fromkeys(others, Side.TRAIN))
        else:
            undecided.append(of_group)
    for index in sorted(joining, key=lambda index: chance(seed, rows[index].sha256)):
        fate[index] = Side.HELD_OUT if held < held_out else Dropped.HELD_OUT_FULL
        held += fate[index] is Side.HELD_OUT
    for of_group in undecided:  # in the order of chance of their first
        takes = held < held_out and held + len(of_group) <= max(1, _OVERSHOOT * held_out)
        fate.update(dict.fromkeys(of_group, Side.HELD_OUT if takes else Side.TRAIN))
        held += len(of_group) if takes else 0
    return fate


def near_other_side(rows: Sequence[Known], fate: Mapping[int, Fate], *, buffer_km: float) -> set[int]:
    """Indices that lie within `buffer_km` of the other side, now or in an earlier curation, and must give way.

    What is newly held out gives way to what was trained on before; what is trained on gives way to all else.
    """
    if buffer_km <= 0:
        return set()
    trained = [index for index, row in enumerate(rows) if row.before is Side.TRAIN]
    newly_held = [i for i, side in fate.items() if side is Side.HELD_OUT and rows[i].before is not Side.HELD_OUT]
    giving_way = _near(rows, newly_held, trained, buffer_km)
    held = {index for index, row in enumerate(rows) if row.before is Side.HELD_OUT} | set(newly_held) - giving_way
    training = [index for index, side in fate.items() if side is Side.TRAIN]
    return giving_way | _near(rows, training, sorted(held), buffer_km)


def leaks(rows: Sequence[Known], fate: Mapping[int, Fate], ties: Iterable[Collection[int]]) -> int:
    """How many cells and series (`ties`, as indices) have a photograph on each side: 0, or the split is wrong.

    Counts what was held out before, but not what was trained on before and has no fate now.
    """
    count = 0
    for tie in ties:
        sides = {fate.get(index) for index in tie} | {
            Side.HELD_OUT for index in tie if rows[index].before is Side.HELD_OUT
        }
        count += {Side.TRAIN, Side.HELD_OUT} <= sides
    return count


def _near(rows: Sequence[Known], some: Sequence[int], others: Sequence[int], km: float) -> set[int]:
    """Those of `some` that lie within `km` of any of `others`."""
    if not some or not others:
        return set()
    chord = 2 * np.sin(min(km / EARTH_RADIUS_KM, np.pi) / 2)
    others_N_3 = unit_vectors([rows[i].lat for i in others], [rows[i].lon for i in others])
    others_N_3 = others_N_3[np.argsort(others_N_3[:, 2])]
    z_N = others_N_3[:, 2]
    found: set[int] = set()
    northwards = sorted(some, key=lambda index: rows[index].lat)
    for start in range(0, len(northwards), _BLOCK):
        block = northwards[start : start + _BLOCK]
        block_B_3 = unit_vectors([rows[i].lat for i in block], [rows[i].lon for i in block])
        first = int(np.searchsorted(z_N, block_B_3[0, 2] - chord))
        last = int(np.searchsorted(z_N, block_B_3[-1, 2] + chord, side="right"))
        near_B = np.zeros(len(block), dtype=bool)
        for at in range(first, last, _BLOCK):
            gap_B_N_3 = block_B_3[:, None, :] - others_N_3[None, at : min(at + _BLOCK, last), :]
            near_B |= (np.einsum("bnc,bnc->bn", gap_B_N_3, gap_B_N_3) <= chord**2).any(axis=1)
        found |= {index for index, near in zip(block, near_B, strict=True) if near}
    return found
