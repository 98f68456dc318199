"""What looks for cues in pictures of this world, at the picture alone: the evidence that `atlas.visible` judges
by.

The evidence of the segmentation model (`atlas.teach_segmenter`) for a cue is how sure it is of the surest few
cells of the picture; the side that cars keep to is read off where the cars stand. The evidence of the gate's
CLIP is the cosine of the picture with the two sentences that state the cue.

Axes: B pictures, L labels, H rows, W columns, S sentences, Q cues, D embedding dimensions.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

from atlas.language import VARIANTS, Cue, cue_phrase
from atlas.masks import CAR, LABELS, label_of
from atlas.visible import CUES, SEGMENTER, Seen

if TYPE_CHECKING:
    from worker.gate.clip import ClipGate

CELLS = 4
"""The evidence is the mean of so many cells of 28 x 28: a plate covers about ten."""
BATCH = 64


class Seer:
    """The segmentation model, ready."""

    def __init__(self, folder: Path = SEGMENTER) -> None:
        self._model: Any = SegformerForSemanticSegmentation.from_pretrained(folder, dtype=torch.float32).eval()
        self._processor = SegformerImageProcessor.from_pretrained(folder)
        self._row = {label: row for row, label in self._model.config.id2label.items()}
        if sorted(self._row, key=lambda label: int(self._row[label])) != list(LABELS):
            raise ValueError(f"{folder} has other labels than this world")

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


class Matcher:
    """The gate's CLIP, asked for each cue whether its sentences fit the picture."""

    def __init__(self, gate: "ClipGate") -> None:
        self._gate = gate
        sentences = [cue_phrase(kind, value, variant) for kind, value in CUES for variant in range(VARIANTS)]
        vectors_S_D = gate.encode_texts(sentences)
        self._cue_Q_D = vectors_S_D.reshape(len(CUES), VARIANTS, -1).mean(axis=1)

    def look(self, pictures: Sequence[Image.Image]) -> list[Seen]:
        """The cosines with each picture."""
        with ThreadPoolExecutor(BATCH) as pool:
            vectors = list(pool.map(lambda picture: self._gate.score(picture).embedding_D, pictures))
        return [Seen(dict(zip(CUES, (self._cue_Q_D @ vector_D).tolist(), strict=True))) for vector_D in vectors]
