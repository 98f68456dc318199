"""A vision-language model learns to say yes or no, by the supervised trainer and in the words of serving.

Each sample becomes what `trainer.rewards.locatable.JudgeLocatability` asks: its system prompt, the photograph as
the JPEG that is sent, and the reasons without the answer. The first token of the completion is the yes or the no.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, overload

from PIL.Image import Image

from trainer.reward_model.data import Picture, Sample
from trainer.rewards.endpoint import as_sent
from trainer.rewards.locatable import SYSTEM, question
from trainer.sft.examples import Example
from trainer.sft.recipe import Recipe
from worker.errors import SetupError
from worker.intake.picture import decode
from worker.reason.engines import Prompt

SPELLINGS = (("yes", "no"), ("Yes", "No"), (" yes", " no"))
"""`trainer.rewards.endpoint.p_yes` reads all of them; the prompt asks for the first."""

OnStep = Callable[[int, float], None]


@dataclass(frozen=True)
class Examples(Sequence[Example]):
    """Samples as the trainer takes them. `words` are the yes and the no."""

    samples: Sequence[Sample]
    words: tuple[str, str]
    system: str = SYSTEM

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, row: int) -> Example: ...
    @overload
    def __getitem__(self, row: slice) -> list[Example]: ...
    def __getitem__(self, row: int | slice) -> Example | list[Example]:
        if isinstance(row, slice):
            return [self[one] for one in range(*row.indices(len(self)))]
        sample = self.samples[row]
        word = self.words[0 if sample.locatable else 1]
        return Example(sample.id, partial(seen, sample), asked(sample.reasoning, self.system), word)


def asked(reasoning: str, system: str = SYSTEM) -> Prompt:
    """What is asked beside the photograph."""
    return Prompt(system, question(reasoning))


def asked_hash(system: str) -> str:
    """Changes with the words that a reward model is asked in."""
    return hashlib.sha256(f"{system}\x00{question(chr(0))}".encode()).hexdigest()[:16]


def seen(sample: Sample) -> Image:
    """The photograph as the judge gets to see it: what is sent is a JPEG."""
    return decode(as_sent(opened(sample.id, sample.image))).image


def opened(id_: str, picture: Picture) -> Image:
    """Upright RGB. A file goes through the worker's own decoder, and raises what that raises."""
    return Example(id_, picture, Prompt("", ""), "").open()


def words_of(tokenizer: Any) -> tuple[str, str]:
    """The first spelling of yes and no in which each is one token. Raises `SetupError` where there is none."""
    for spelling in SPELLINGS:
        if all(len(ids) == 1 for ids in tokenizer(list(spelling), add_special_tokens=False)["input_ids"]):
            return spelling
    raise SetupError(
        "the model's tokenizer has no single token for yes and for no, so that no P(yes) could be read from its"
        " first token; choose another model"
    )


def train(
    base: Path,
    samples: Sequence[Sample],
    recipe: Recipe,
    output: Path,
    *,
    seed: int,
    about: dict[str, Any],
    system: str = SYSTEM,
    on_step: OnStep | None = None,
    device: str | None = None,
) -> tuple[str, str]:
    """Writes a complete checkpoint to `output`, its card with what is `about` it; returns the yes and the no.

    Raises what `trainer.sft.fine_tune.fine_tune` raises, and `SetupError` for a tokenizer without the words.
    """
    from trainer.merge import load_processor
    from trainer.sft.fine_tune import fine_tune

    words = words_of(load_processor(base).tokenizer)
    fine_tune(
        base,
        Examples(samples, words, system),
        recipe,
        output,
        seed=seed,
        on_step=on_step,
        device=device,
        fault=lambda said: None if said in words else f"it is neither {words[0]!r} nor {words[1]!r}",
        about=about,
    )
    return words
