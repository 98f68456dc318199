"""The hardness where no sign tells photographs apart, as with one answer each and no log-probabilities."""

import numpy as np

from worker.place.hardness import Hardness


def test_photographs_that_no_sign_tells_apart_are_equally_hard():
    known = {name: np.zeros(3) for name in ("disagreement", "coarse")}
    assert Hardness(1.5, {}).of(known).tolist() == [1.5, 1.5, 1.5]
