"""Whether a picture shows a cue that somebody states: what curation's last step goes by in this world.

Two models look, at the picture alone; nobody tells them what is true of the scene. The evidence of the
segmentation model (`atlas.teach_segmenter`) for a cue is how sure it is of the surest few cells of the picture;
the side that cars keep to is read off where the cars stand. The evidence of the gate's CLIP is the cosine of
the picture with the two sentences that state the cue. Cues are read from a text by
`atlas.language.stated_cues`.

Axes: B pictures, L labels, H rows, W columns, S sentences, Q cues, D embedding dimensions.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessor

from atlas import WEIGHTS
from atlas.cues import KINDS
from atlas.language import VARIANTS, Cue, cue_phrase, stated_cues
from atlas.masks import CAR, LABELS, label_of
from trainer.curate.opinions import Case, CueSeen, Opinion

if TYPE_CHECKING:
    from worker.gate.clip import ClipGate

CELLS = 4
"""The evidence is the mean of so many cells of 28 x 28: a plate covers about ten."""
BATCH = 64
SEGMENTER_NAME, CLIP_NAME = "segmenter", "clip"
CUTS_NAME = "cuts.json"
SEGMENTER = WEIGHTS / "segmenter"
CUES: tuple[Cue, ...] = tuple((kind.name, value) for kind in KINDS for value in kind.values)


@dataclass(frozen=True, slots=True)
class Seen:
    """The evidence for each cue in one picture, 0..1."""

    evidence: Mapping[Cue, float]


def load_cuts(by: str = SEGMENTER_NAME, folder: Path = SEGMENTER) -> dict[str, float]:
    """By kind of cue, the evidence of this model from which it counts as seen (see `atlas.cuts`)."""
    cuts: dict[str, dict[str, float]] = json.loads((folder / CUTS_NAME).read_text())
    return cuts[by]


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


class AtlasVisible:
    """`trainer.curate.verify`'s `Visible`: the cues of each sample, and whether `seen_in` shows them."""

    def __init__(
        self,
        seen_in: Callable[[Sequence[Case]], Sequence[Seen]],
        cuts: Mapping[str, float],
        by: str = SEGMENTER_NAME,
    ) -> None:
        """`seen_in` tells the evidence of each case's photograph; `by` names what looked."""
        self._seen_in = seen_in
        self._cuts = cuts
        self._by = by

    def __call__(self, asked: Sequence[tuple[Case, Opinion]]) -> list[list[CueSeen]]:
        found = self._seen_in([case for case, _ in asked])
        return [
            list(self._judged(stated_cues(opinion.answer.reasoning if opinion.answer else ""), seen))
            for (_, opinion), seen in zip(asked, found, strict=True)
        ]

    def _judged(self, cues: Iterable[Cue], seen: Seen) -> Iterable[CueSeen]:
        for kind, value in sorted(cues):
            evidence = seen.evidence[kind, value]
            yield CueSeen(f"{kind}={value}", evidence >= self._cuts[kind], self._by, round(evidence, 4))
