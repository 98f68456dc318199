"""What the trained head must beat: five older answers to "can this photograph be placed?", behind one interface.

None of them is fitted to outcomes. Each scores photographs so that higher means more placeable; their scores
have no common unit and are compared by the order that they make. What a baseline needs and a photograph does
not have is a `SetupError`, never a score.

Axes: N photographs, D embedding dimensions, C classes or countries, G gallery, K neighbours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.errors import SetupError
from worker.gate.zeroshot import ZeroShotHead
from worker.place.sphere import EARTH_RADIUS_KM, unit_vectors

Floats = NDArray[np.float64]

_BLOCK = 512


@dataclass(frozen=True, slots=True)
class Photographs:
    """What is known of N photographs before anybody places them; None: nobody has looked.

    `embedding_N_D` is L2-normalised; `areas` gives each photograph's share of the picture by class, of sum 1;
    `p_yes_N` what a vision-language model makes of the question whether it can be placed.
    """

    embedding_N_D: NDArray[np.float32]
    areas: Sequence[Mapping[str, float]] | None = None
    p_yes_N: Floats | None = None

    def __len__(self) -> int:
        return len(self.embedding_N_D)


class Baseline(Protocol):
    """Scores photographs, higher = more placeable."""

    @property
    def name(self) -> str: ...

    def scores(self, photographs: Photographs) -> Floats:
        """Shape (N,), no NaN. Raises `SetupError` where something that it needs is not known."""
        ...


@dataclass(frozen=True, slots=True)
class ZeroShotPrompts:
    """The gate's zero-shot head: the mass on prompts that describe placeable pictures."""

    head: ZeroShotHead
    name: str = "zero-shot prompts"

    def scores(self, photographs: Photographs) -> Floats:
        """In [0, 1]."""
        return np.array([self.head.score(row_D) for row_D in photographs.embedding_N_D])


@dataclass(frozen=True, slots=True)
class ClassAreas:
    """GeoReasoner's locatability (arXiv 2406.18572): the sum over classes of area share times class weight.

    There the areas are a segmentation model's and the weights come from the similarity of class names to clues of
    a game; neither was fitted to where a locator succeeds. `weights` without a class count it as 0.
    """

    weights: Mapping[str, float]
    name: str = "class areas"

    def scores(self, photographs: Photographs) -> Floats:
        """In [0, the largest weight]."""
        if photographs.areas is None:
            raise SetupError(
                f"the baseline {self.name} needs the class areas of each photograph; segment them first"
            )
        return np.array(
            [
                sum(share * self.weights.get(each, 0.0) for each, share in areas.items())
                for areas in photographs.areas
            ]
        )


@dataclass(frozen=True, slots=True)
class CountryProbability:
    """The largest probability of a zero-shot country classifier, as of CLIP (arXiv 2103.00020, section 3.1).

    `text_C_D` are the L2-normalised embeddings of one caption for each country.
    """

    text_C_D: NDArray[np.float32]
    logit_scale: float
    name: str = "country probability"

    def scores(self, photographs: Photographs) -> Floats:
        """In (0, 1]."""
        logits_N_C = self.logit_scale * (photographs.embedding_N_D.astype(np.float64) @ self.text_C_D.T)
        shifted_N_C = np.exp(logits_N_C - logits_N_C.max(axis=1, keepdims=True))
        best_N: Floats = 1.0 / shifted_N_C.sum(axis=1)
        return best_N


@dataclass(frozen=True, slots=True)
class NeighbourSpread:
    """How far apart on Earth the k most similar photographs of known place lie, turned round.

    Where look-alikes stand together the picture tells the place; where they stand all over the world it does not.
    """

    gallery_G_D: NDArray[np.float32]
    lat_G: Floats
    lon_G: Floats
    k: int = 10
    name: str = "neighbour spread"

    def scores(self, photographs: Photographs) -> Floats:
        """Minus the mean distance in km between two of the k neighbours. Near-equal ones go by their order."""
        if not 2 <= self.k <= len(self.gallery_G_D):
            raise SetupError(
                f"the baseline {self.name} compares {self.k} neighbours, of {len(self.gallery_G_D):,} there"
            )
        points_G_3 = unit_vectors(self.lat_G, self.lon_G)
        spread = [np.zeros(0)]
        for start in range(0, len(photographs), _BLOCK):
            cosine_B_G = photographs.embedding_N_D[start : start + _BLOCK] @ self.gallery_G_D.T
            nearest_B_K = np.argsort(-cosine_B_G, axis=1, kind="stable")[:, : self.k]
            near_B_K_3 = points_G_3[nearest_B_K]
            chord_B_K_K = np.linalg.norm(near_B_K_3[:, :, None, :] - near_B_K_3[:, None, :, :], axis=-1)
            km_B_K_K = 2 * EARTH_RADIUS_KM * np.arcsin(np.clip(chord_B_K_K / 2, 0, 1))
            spread.append(km_B_K_K.sum(axis=(1, 2)) / (self.k * (self.k - 1)))
        return -np.concatenate(spread)


@dataclass(frozen=True, slots=True)
class ModelSaysYes:
    """P(yes) of a vision-language model that is asked whether the picture can be placed.

    GLOBE (arXiv 2506.14674) has a model of 7 B parameters for that; `trainer.rewards.endpoint.p_yes` reads P(yes)
    from any endpoint that gives log-probabilities. It costs about what placing the photograph costs.
    """

    name: str = "model says yes"

    def scores(self, photographs: Photographs) -> Floats:
        """In [0, 1]."""
        if photographs.p_yes_N is None or np.isnan(photographs.p_yes_N).any():
            raise SetupError(f"the baseline {self.name} needs a model's answer for each photograph; ask one first")
        return photographs.p_yes_N
