"""The large vision-language model, behind one seam. One file per way to run it."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from PIL.Image import Image

from worker.identity import ModelIdentity


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn; stored with each prediction. `temperature` 0 is greedy."""

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked, without the picture. The picture comes before `user`'s text."""

    system: str
    user: str


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer as the model printed it, special tokens removed.

    `finish_reason` is "length" when the token limit cut it. `mean_logprob` is the mean natural
    log-probability of the drawn tokens, None where the engine cannot tell. `pieces` are the text again, cut where
    tokens end, each with the log-probability of its tokens; none where the engine cannot tell.
    """

    text: str
    finish_reason: Literal["stop", "length"]
    tokens: int
    mean_logprob: float | None
    pieces: tuple[tuple[str, float], ...] = field(default=(), repr=False)


class Engine(Protocol):
    """Runs the model. Thread-safe: many threads call it, it batches what they bring."""

    @property
    def identity(self) -> ModelIdentity: ...

    def generate(self, prompt: Prompt, image: Image, sampling: Sampling, n: int = 1) -> list[Completion]:
        """Returns exactly `n` completions for one picture, in order. Blocks.

        Raises `worker.errors.JobError(model_error)` when the model fails on this picture; a picture never
        fails its neighbours in the batch.
        """
        ...

    def close(self) -> None:
        """Stops the owner thread and frees the model."""
        ...
