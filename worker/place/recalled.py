"""What the pipeline needs of recall: the archive's own photographs with known place that are like another one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.place.candidates import Candidate, credible, evidence, suggestions
from worker.place.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the archive's own photographs with known place say. `nearest_cosine`: of the most similar one.

    `suggestions`: places that a person may take over, as `worker.place.candidates.suggestions` gives them.
    """

    evidence: tuple[Evidence, ...] = ()
    nearest_cosine: float | None = None
    suggestions: tuple[dict[str, Any], ...] = ()


class Recall(Protocol):
    """Finds similar photographs with known place, never the asking one itself. Thread-safe."""

    def __call__(
        self,
        embedding_D: NDArray[np.float32],
        *,
        sha256: str,
        collection: str | None,
        uri: str,
        taken_at: datetime | None,
    ) -> Recalled: ...


def recalled(candidates: Sequence[Candidate]) -> Recalled:
    """What these candidates say."""
    nearest = max((candidate.cosine for candidate in candidates), default=None)
    believed = credible(candidates)
    return Recalled(evidence(believed), nearest, suggestions(believed))
