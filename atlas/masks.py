"""What each pixel of a scene shows, down to the value of a cue: what a segmentation model of this world learns.

The side of the road that cars keep to is no colour and no form of anything: cars are one class, and the side is
where they stand (`atlas.seeing`). A taxi is a car too.
"""

import numpy as np
from numpy.typing import NDArray

from atlas.areas import CLASSES, class_map
from atlas.cues import KINDS
from atlas.language import VALUE_WORDS
from atlas.scenes import Scene

CAR = "car"
_CUE_KINDS = {kind.name for kind in KINDS}
_PLACED_BY = "driving_side"


def label_of(kind: str, value: str) -> str:
    """The label of the pixels that show a cue, in words; a car's side has none of its own."""
    if kind == _PLACED_BY:
        return CAR
    return f"{kind.replace('_', ' ')}: {VALUE_WORDS.get(value, value.replace('_', ' '))}"


LABELS = tuple(
    dict.fromkeys(
        [
            *(name for name in CLASSES if name not in _CUE_KINDS),
            *(label_of(kind.name, value) for kind in KINDS for value in kind.values),
        ]
    )
)
"""Every label once: axis L. What shows no cue first."""
_ROW = {label: row for row, label in enumerate(LABELS)}


def label_map(scene: Scene, side_px: int) -> NDArray[np.uint8]:
    """Which of `LABELS` each pixel shows, shape (side_px, side_px); `side_px` is even."""
    labels_C = np.array([_ROW.get(name, 0) for name in CLASSES], dtype=np.uint8)
    for cue in scene.visible:
        labels_C[CLASSES.index(cue.kind)] = _ROW[label_of(cue.kind, cue.value)]
    return labels_C[class_map(scene, side_px // 2)]
