"""Which scene a picture shows, though it was shrunk and encoded anew: by its pixels alone.

Whoever stands in for a teacher has to know what it is shown. Scenes are told apart by a small copy of each, and a
picture is a scene's only when its copy is far nearer to that scene's than to every other's.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atlas.render import render
from atlas.scenes import Scene

SIDE_PX = 32
DRAWN_PX = 224
NEAR_LEVELS = 6.0
"""The mean difference (grey levels of 0..255) that shrinking and JPEG may make; about 1 is usual."""
CLEAR = 2.0
"""The second nearest scene must be so many times farther off."""

Floats = NDArray[np.float32]


class NotRecognised(LookupError):
    """The picture shows none of the scenes, or it cannot be told which."""


class Recogniser:
    """Knows a fixed list of scenes. Thread-safe once made. Axes: N scenes, P values of a copy."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self._scenes = tuple(scenes)
        with ThreadPoolExecutor() as pool:
            self._copies_N_P = np.stack(list(pool.map(lambda one: _copy(render(one, DRAWN_PX)), self._scenes)))
        self._squares_N = (self._copies_N_P**2).sum(axis=1)

    def scene_of(self, picture: Image.Image) -> Scene:
        """Raises `NotRecognised`."""
        copy_P = _copy(picture)
        # By squares first: the few that may be nearest, then their exact mean differences.
        squared_N = self._squares_N - 2 * self._copies_N_P @ copy_P
        near = np.argsort(squared_N)[:8]
        differences = np.abs(self._copies_N_P[near] - copy_P).mean(axis=1)
        order = np.argsort(differences)
        first = float(differences[order[0]])
        second = float(differences[order[1]]) if len(order) > 1 else float("inf")
        if first > NEAR_LEVELS or second < CLEAR * first:
            raise NotRecognised(f"the nearest scenes differ by {first:.1f} and {second:.1f} grey levels")
        return self._scenes[int(near[order[0]])]


def _copy(picture: Image.Image) -> Floats:
    small = picture.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel()
