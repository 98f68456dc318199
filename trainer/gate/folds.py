"""Folds of whole place cells: what is learnt at a place is never judged there."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.curate.balance import chance


def folds_by_cell(cells: Sequence[str], count: int, *, seed: int) -> NDArray[np.int64]:
    """The fold of each photograph, 0 to `count` - 1, shape (N,); all of a cell have the same.

    Cells go, the fullest first and equals by chance, to the fold that has the fewest photographs: folds are
    about as large as the cells allow. The order of the photographs does not matter. Raises `ValueError` where
    there are fewer cells than folds.
    """
    sizes = Counter(cells)
    if len(sizes) < count:
        raise ValueError(f"{len(sizes)} cells do not make {count} folds")
    load = [0] * count
    fold_of: dict[str, int] = {}
    for cell in sorted(sizes, key=lambda cell: (-sizes[cell], chance(seed, cell), cell)):
        fold = load.index(min(load))
        fold_of[cell] = fold
        load[fold] += sizes[cell]
    return np.array([fold_of[cell] for cell in cells], dtype=np.int64)
