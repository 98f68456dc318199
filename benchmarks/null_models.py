"""A gate and an engine that cost nothing: what is left when they are used is the queue's own work.

They fill the real seams (`worker.gate.Gate`, `worker.reason.engines.Engine`) and say nothing about a photograph,
which is why their identities are marked as untrained.
"""

from collections.abc import Callable

import numpy as np
from PIL.Image import Image

from worker.gate import GateScore
from worker.identity import ModelIdentity
from worker.reason.engines import Completion, Prompt, Sampling

ANSWER = "<think>A tall iron tower stands beyond the bridge.</think><answer>country: France\ncity: Paris</answer>"
"""A well-formed answer that names a place which the gazetteer knows."""

DIMENSIONS = 512
"""As ViT-B-32 has, so that a row costs what it costs in earnest."""


class NullGate:
    """Gives every picture the same score and the same L2-normalised embedding of `DIMENSIONS` numbers."""

    def __init__(self, score: float = 1.0) -> None:
        self._score = GateScore(score, np.full(DIMENSIONS, DIMENSIONS**-0.5, dtype=np.float32))

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity("gate", "null", "1", untrained=True)

    def score(self, image: Image) -> GateScore:  # noqa: ARG002
        """Returns the constant, without a look at the picture."""
        return self._score

    def close(self) -> None:
        """Nothing to free."""


class NullEngine:
    """Answers with what `say` returns for a picture; what `say` raises goes to the caller."""

    def __init__(self, say: Callable[[Image], str] = lambda _: ANSWER) -> None:
        self._say = say

    @property
    def identity(self) -> ModelIdentity:
        return ModelIdentity("lvlm", "null", "1", untrained=True)

    def generate(self, prompt: Prompt, image: Image, sampling: Sampling, n: int = 1) -> list[Completion]:  # noqa: ARG002
        """Returns `n` completions, each a fresh answer of `say`."""
        texts = [self._say(image) for _ in range(n)]
        return [Completion(text, "stop", tokens=len(text.split()), mean_logprob=None) for text in texts]

    def close(self) -> None:
        """Nothing to free."""
