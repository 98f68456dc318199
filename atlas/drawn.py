"""Scenes as a sequence of whatever a trainer wants of them, their pictures drawn when their turn comes."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar, overload

from PIL import Image

from atlas.render import render
from atlas.scenes import Scene, scene
from atlas.world import World

T = TypeVar("T")

_SIDES_PX = (112, 112, 168, 224)
"""Scenes are drawn at several sizes, since what a processor makes of a large picture is a little softer."""


class Drawn(Sequence[T], Generic[T]):
    """`count` scenes of a split from number `start` on, as `make` turns each. Costs no memory."""

    def __init__(
        self,
        world: World,
        split: str,
        count: int,
        make: Callable[[Scene], T],
        *,
        start: int = 0,
        placeable: bool = False,
    ) -> None:
        """`placeable`: only scenes in which something tells the place; the others are passed over."""
        self._world = world
        self._split = split
        self._make = make
        telling = (index for index in itertools.count(start) if scene(world, split, index).placeable != "none")
        self._indexes = tuple(itertools.islice(telling, count)) if placeable else range(start, start + count)

    def __len__(self) -> int:
        return len(self._indexes)

    @overload
    def __getitem__(self, row: int) -> T: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[T]: ...
    def __getitem__(self, row: int | slice) -> T | Sequence[T]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        return self._make(scene(self._world, self._split, self._indexes[row]))


def picture_of(shown: Scene) -> Callable[[], Image.Image]:
    """Draws the scene when called, at a side that the scene decides."""
    return partial(render, shown, _SIDES_PX[shown.seed % len(_SIDES_PX)])
