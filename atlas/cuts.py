"""From which evidence on a cue counts as seen: one cut for each kind of cue, chosen on scenes of `calibration`.

Against each visible cue stand the two mistakes that a checker must not make: to find in the picture what is merely
usual at its place, where the kind is not visible; and to take one value of a kind for another.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from atlas.archive import write_split
from atlas.scenes import Scene, scene
from atlas.visible import CLIP_NAME, CUTS_NAME, SEGMENTER_NAME, Seen
from atlas.world import World

SPLIT, SCENES = "calibration", 1500
_DIGITS = 4


def write_cuts(world: World, segmenter: Path, clip: Path, scenes: int = SCENES) -> dict[str, dict[str, float]]:
    """Chooses the cuts of both models and writes them beside the segmentation model; by model and kind."""
    from atlas.seeing import Matcher, Seer
    from worker.gate.clip import load_gate

    with tempfile.TemporaryDirectory(prefix="cuts-") as folder:
        write_split(Path(folder), world, SPLIT, scenes, gps_share=0.0)
        shown = [scene(world, SPLIT, index) for index in range(scenes)]
        pictures = [Image.open(Path(folder, f"{one.id}.jpg")).convert("RGB") for one in shown]
    gate = load_gate(str(clip), device="cpu")
    try:
        looks: dict[str, Callable[[Sequence[Image.Image]], list[Seen]]] = {
            SEGMENTER_NAME: Seer(segmenter).look,
            CLIP_NAME: Matcher(gate).look,
        }
        cuts = {name: choose_cuts(world, shown, look(pictures)) for name, look in looks.items()}
    finally:
        gate.close()
    (segmenter / CUTS_NAME).write_text(json.dumps(cuts, indent=2) + "\n")
    return cuts


def choose_cuts(world: World, shown: Sequence[Scene], seen: Sequence[Seen]) -> dict[str, float]:
    """By kind, the cut with the largest difference between the share found of what is there and of what is not."""
    return {kind.name: _cut(*_evidence(world, kind.name, shown, seen)) for kind in world.kinds}


def _evidence(
    world: World, kind: str, shown: Sequence[Scene], seen: Sequence[Seen]
) -> tuple[list[float], list[float]]:
    """For what is there, and for what is not."""
    there, missing = [], []
    for one, looked in zip(shown, seen, strict=True):
        visible = {cue.kind: cue.value for cue in one.visible}
        if kind not in visible:
            missing.append(looked.evidence[kind, world.typical(one.city)[kind]])
            continue
        there.append(looked.evidence[kind, visible[kind]])
        others = [looked.evidence[cue] for cue in looked.evidence if cue[0] == kind and cue[1] != visible[kind]]
        missing.append(max(others))
    return there, missing


def _cut(there: Sequence[float], missing: Sequence[float]) -> float:
    """The middle of the best stretch between two values."""
    there_N, missing_N = np.sort(there), np.sort(missing)
    values = np.unique(np.concatenate([there_N, missing_N]))
    middles = (values[:-1] + values[1:]) / 2
    found = 1 - np.searchsorted(there_N, middles) / there_N.size
    wrong = 1 - np.searchsorted(missing_N, middles) / missing_N.size
    return round(float(middles[int(np.argmax(found - wrong))]), _DIGITS)
