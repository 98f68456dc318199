"""The gate's head before any head was trained: how much more an image resembles prompts of placeable pictures.

Zero-shot classification as in CLIP (Radford et al. 2021, arXiv 2103.00020, section 3.1): softmax over the scaled
cosines of image and prompts; the score is the mass on the prompts that describe a placeable picture. Both sets
have the same number of prompts, so that an image that resembles none of them scores near 0.5. Nobody has fitted
this to outcomes: it is a baseline and a stopgap, and the score is not a probability.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PLACEABLE = (
    "a photo of a street with readable shop signs",
    "a photo of a famous landmark",
    "a photo of a road with markings, road signs and traffic",
    "a photo of cars with visible number plates",
    "a photo of houses in a local architectural style",
    "a photo of a church, a temple or a mosque",
    "a photo of a market square in a town",
    "an aerial photo of a city",
    "a photo of a harbour with boats",
    "a photo of a mountain landscape",
    "a photo of a coast or a river with buildings",
    "an old photograph of a town",
)
NOT_PLACEABLE = (
    "a close-up photo of food on a plate",
    "a portrait of a person in front of a plain background",
    "a photo of an empty room without windows",
    "a photo of a blank wall",
    "a photo of nothing but sky and clouds",
    "a macro photo of a flower or an insect",
    "a close-up photo of a pet indoors",
    "a screenshot of a computer or a phone",
    "a scan of a printed page or a form",
    "a product photo on a white background",
    "a drawing, a diagram or a logo",
    "a blurred photo in which nothing can be recognised",
)
PROMPTS = PLACEABLE + NOT_PLACEABLE
POSITIVE_P = np.arange(len(PROMPTS)) < len(PLACEABLE)

DEFAULT_THRESHOLD = 0.05
"""A guess that no data stands behind, set low on purpose: a picture is held back only when the prompts of
unplaceable pictures hold 95 % of the mass. Sending one picture too many to the LVLM costs a second; holding back
one too many costs a place that could have been found."""


def prompts_version(prompts: Sequence[str] = PROMPTS) -> str:
    """Hexadecimal digest of the prompts.

    With the weights it determines the text vectors. The vectors themselves are not hashed: their last bits differ
    between processors, and two workers of one fleet would seem to run different gates.
    """
    return hashlib.sha256("\n".join(["zeroshot/1", *prompts]).encode()).hexdigest()


class ZeroShotHead:
    """Scores image embeddings against fixed text vectors. Axes: P prompts, D embedding dimensions."""

    def __init__(
        self, text_vectors_P_D: NDArray[np.float32], positive_P: NDArray[np.bool_], logit_scale: float
    ) -> None:
        if text_vectors_P_D.ndim != 2 or positive_P.shape != text_vectors_P_D.shape[:1]:
            raise ValueError(f"{text_vectors_P_D.shape} text vectors do not go with a mask of {positive_P.shape}")
        if positive_P.all() or not positive_P.any():
            raise ValueError("both kinds of prompts are needed")
        self._text_vectors_P_D = text_vectors_P_D
        self._positive_P = positive_P
        self._logit_scale = logit_scale

    def score(self, embedding_D: NDArray[np.float32]) -> float:
        """Softmax mass of the positive prompts, in [0, 1]. `embedding_D` is L2-normalised, as are the vectors."""
        logits_P = self._logit_scale * (self._text_vectors_P_D.astype(np.float64) @ embedding_D)
        mass_P = np.exp(logits_P - logits_P.max())
        return float(mass_P[self._positive_P].sum() / mass_P.sum())
