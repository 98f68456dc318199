"""Can this photograph be placed at all? CLIP embeddings, and a head that scores them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from worker.identity import ModelIdentity


@dataclass(frozen=True, slots=True)
class GateScore:
    """`score` is the head's estimate in [0, 1] that the photograph can be placed (higher = easier).

    `embedding_D` is the image's L2-normalised CLIP embedding, float32; it is stored with the image. `p_within` are
    the chances that this pipeline's answer lies within so many km, and `score` the first of them; None: no
    head was fitted to outcomes, and `score` is no probability.
    """

    score: float
    embedding_D: NDArray[np.float32]
    p_within: Mapping[int, float] | None = None


class Gate(Protocol):
    """Scores pictures. Thread-safe: many threads call it, it batches what they bring."""

    @property
    def identity(self) -> ModelIdentity: ...

    def score(self, image: Image) -> GateScore:
        """Blocks until this picture's batch was scored. `image` is upright RGB of any size."""
        ...

    def close(self) -> None:
        """Stops the owner thread and frees the model."""
        ...
