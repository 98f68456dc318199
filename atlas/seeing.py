"""Whether a picture shows a cue that somebody states: what curation's last step goes by in this world.

The segmentation model of `atlas.teach_segmenter` looks at the picture alone; nobody tells it what is true of the
scene. Its evidence for a cue is how sure it is of the surest few cells of the picture. Cues are read from a text by
`atlas.language.stated_cues`. The side that cars keep to is read off where the cars stand.

Axes: B pictures, L labels, H rows, W columns, K kinds of cue.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

from atlas import WEIGHTS
from atlas.cues import KINDS
from atlas.language import Cue, stated_cues
from atlas.masks import CAR, LABELS, label_of
from trainer.curate.opinions import Case, CueSeen, Opinion

CELLS = 4
"""The evidence is the mean of so many cells of 28 x 28: a plate covers about ten."""
BATCH = 64
BY = "atlas-segmenter"
CUTS_NAME = "cuts.json"
CUES: tuple[Cue, ...] = tuple((kind.name, value) for kind in KINDS for value in kind.values)


@dataclass(frozen=True, slots=True)
class Seen:
    """The evidence for each cue in one picture, 0..1."""

    evidence: Mapping[Cue, float]


class Seer:
    """The segmentation model, ready. `cuts`: by kind, the evidence from which a cue counts as seen."""

    def __init__(self, folder: Path = WEIGHTS / "segmenter") -> None:
        self._model: Any = SegformerForSemanticSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
        self._processor = SegformerImageProcessor.from_pretrained(folder)
        self._row = {label: row for row, label in self._model.config.id2label.items()}
        if sorted(self._row, key=lambda label: int(self._row[label])) != list(LABELS):
            raise ValueError(f"{folder} has other labels than this world")
        self.cuts: Mapping[str, float] = json.loads((folder / CUTS_NAME).read_text()) if (
            folder / CUTS_NAME
        ).exists() else {}

    def look(self, pictures: Sequence[Image.Image]) -> list[Seen]:
        """The evidence in each picture."""
        seen: list[Seen] = []
        for start in range(0, len(pictures), BATCH):
            batch = [picture.convert("RGB") for picture in pictures[start : start + BATCH]]
            pixels = self._processor(batch, return_tensors="pt")["pixel_values"]
            with torch.inference_mode():
                p_B_L_H_W = self._model(pixel_values=pixels).logits.softmax(dim=1).numpy()
            seen += [Seen(self._evidence(p_L_H_W)) for p_L_H_W in p_B_L_H_W]
        return seen

    def _evidence(self, p_L_H_W: NDArray[np.float32]) -> dict[Cue, float]:
        cars = [CAR, *(label_of("taxi", value) for kind, value in CUES if kind == "taxi")]
        car_H_W = p_L_H_W[[self._row[label] for label in cars]].sum(axis=0)
        middle = car_H_W.shape[1] // 2
        sides = {"left": car_H_W[:, :middle], "right": car_H_W[:, middle:]}
        return {
            (kind, value): _surest(
                sides[value] if kind == "driving_side" else p_L_H_W[self._row[label_of(kind, value)]]
            )
            for kind, value in CUES
        }


def _surest(p_H_W: NDArray[np.float32]) -> float:
    flat = p_H_W.ravel()
    return float(np.partition(flat, -CELLS)[-CELLS:].mean())


class AtlasVisible:
    """`trainer.curate.verify`'s `Visible`: the cues of each sample, and whether `seen_in` shows them."""

    def __init__(self, seen_in: Callable[[Sequence[Case]], Sequence[Seen]], cuts: Mapping[str, float]) -> None:
        """`seen_in` tells the evidence of each case's photograph."""
        self._seen_in = seen_in
        self._cuts = cuts

    def __call__(self, asked: Sequence[tuple[Case, Opinion]]) -> list[list[CueSeen]]:
        found = self._seen_in([case for case, _ in asked])
        return [
            list(self._judged(stated_cues(opinion.answer.reasoning if opinion.answer else ""), seen))
            for (_, opinion), seen in zip(asked, found, strict=True)
        ]

    def _judged(self, cues: Iterable[Cue], seen: Seen) -> Iterable[CueSeen]:
        for kind, value in sorted(cues):
            evidence = seen.evidence[kind, value]
            yield CueSeen(f"{kind}={value}", evidence >= self._cuts[kind], BY, round(evidence, 4))
