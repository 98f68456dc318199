"""Does a picture fit a text better than others? By an open_clip model.

A cosine between a picture and a text means little by itself: it hangs on the wording and on the model. So a text
is always measured against contrasting ones that could be said in its place. With l the model's logits (its scale
times the cosine), the score is

    exp(l_text) / (exp(l_text) + mean of exp(l_contrast))

0.5 says that the text fits as well as an average contrast, whatever their number. That suits texts of which one
at most can be true. Where several may be, as of the things that a picture shows, the largest would decide alone;
there `standing` says how many of the others the text is ahead of.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.gate.clip import ClipGate, load_gate
from worker.identity import ModelIdentity


class Matcher:
    """Text vectors are remembered. `identity` names the weights."""

    def __init__(self, gate: ClipGate) -> None:
        self._gate = gate
        self._known: dict[str, NDArray[np.float32]] = {}

    @property
    def identity(self) -> ModelIdentity:
        return self._gate.identity

    def picture(self, image: Image.Image) -> NDArray[np.float32]:
        """The L2-normalised embedding, shape (D,). Raises `JobError` where the model fails on it."""
        return self._gate.score(image).embedding_D

    def score(self, picture_D: NDArray[np.float32], text: str, against: Sequence[str]) -> float | None:
        """How well the text fits, 0..1, as the file says; None where there is nothing to measure it against.

        Contrasts that are the text itself do not count.
        """
        cosines = self._cosines(picture_D, text, against)
        if cosines.size < 2:
            return None
        odds = np.exp(np.clip(self._gate.logit_scale * (cosines[1:] - cosines[0]), -700.0, 700.0)).mean()
        return float(1.0 / (1.0 + odds))

    def standing(self, picture_D: NDArray[np.float32], text: str, against: Sequence[str]) -> float | None:
        """The share of the contrasts that the picture fits less than the text, 0..1; None without any."""
        cosines = self._cosines(picture_D, text, against)
        return None if cosines.size < 2 else float((cosines[1:] < cosines[0]).mean())

    def close(self) -> None:
        self._gate.close()

    def _cosines(self, picture_D: NDArray[np.float32], text: str, against: Sequence[str]) -> NDArray[np.float64]:
        """Of the text, then of each contrast that is not the text."""
        texts = [text, *(other for other in dict.fromkeys(against) if other != text)]
        return (self._vectors(texts) @ picture_D).astype(np.float64)

    def _vectors(self, texts: list[str]) -> NDArray[np.float32]:
        new = [text for text in texts if text not in self._known]
        if new:
            self._known.update(zip(new, self._gate.encode_texts(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def load_matcher(clip: str, *, device: str | None = None) -> Matcher:
    """`clip` as in GLOBETAG_CLIP: a folder, a tag of open_clip, or `hf-hub:OWNER/NAME`. Raises `SetupError`."""
    return Matcher(load_gate(clip, device=device))
