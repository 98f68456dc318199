"""How much of a scene's picture each class of thing covers: what a perfect segmentation of it would say.

A class's area is what drawing it changed and nothing later hid. Classes are the kinds of cues (`atlas.cues`), the
things that may stand anywhere (`atlas.scenes.DISTRACTORS`), the views that show nothing, and the ground that
everything else is drawn upon: sky, paving, hoarding, road.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atlas.cues import KINDS
from atlas.render import render
from atlas.scenes import DISTRACTORS, Scene

GROUND = ("sky", "paving", "hoarding", "road")
_NAMES = (
    *GROUND,
    *(kind.name for kind in KINDS),
    *("interior", "close_up", "fog"),
    *(thing for things in DISTRACTORS.values() for thing in things),
)
CLASSES = tuple(dict.fromkeys(_NAMES))
"""Every class, once: the order of axis C."""


def class_areas(scene: Scene, side_px: int = 112) -> dict[str, float]:
    """The share of the picture that each visible class covers; the shares add up to 1."""
    shares_C = area_shares(scene, side_px)
    return {name: float(share) for name, share in zip(CLASSES, shares_C, strict=True) if share > 0}


def area_shares(scene: Scene, side_px: int = 112) -> NDArray[np.float64]:
    """The same for all of `CLASSES`, shape (C,)."""
    class_H_W = class_map(scene, side_px)
    return np.bincount(class_H_W.ravel(), minlength=len(CLASSES)) / class_H_W.size


def class_map(scene: Scene, side_px: int = 112) -> NDArray[np.int64]:
    """Which of `CLASSES` each pixel shows, shape (2 * side_px, 2 * side_px): as the picture is drawn,
    unreduced.
    """
    tracer = _Tracer()
    render(scene, side_px, on_drawn=tracer)
    return tracer.class_H_W


class _Tracer:
    """Keeps the class of each pixel: that of whatever changed its colour last. H rows, W columns."""

    def __init__(self) -> None:
        self.class_H_W: NDArray[np.int64] = np.zeros((0, 0), dtype=np.int64)
        self._before_H_W: NDArray[np.uint32] = np.zeros((0, 0), dtype=np.uint32)

    def __call__(self, class_: str, picture: Image.Image) -> None:
        # One number for each pixel: three times as fast as three of them.
        now_H_W = np.asarray(picture.convert("RGBA")).view(np.uint32)[..., 0]
        if self.class_H_W.size == 0:
            self.class_H_W = np.full(now_H_W.shape, CLASSES.index(class_))
        else:
            self.class_H_W[now_H_W != self._before_H_W] = CLASSES.index(class_)
        self._before_H_W = now_H_W
