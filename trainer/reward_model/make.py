"""From samples to a reward model that can be served: trained, then calibrated on places that it has not seen."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.reward_model import card as cards
from trainer.reward_model.calibrate import calibrated
from trainer.reward_model.data import By, Parted, Sample, Target, told, with_outcomes
from trainer.reward_model.train import OnStep, asked, asked_hash, seen, train, words_of
from trainer.rewards.locatable import SYSTEM
from trainer.sft.recipe import Recipe
from worker.checkpoints import Checkpoint
from worker.errors import SetupError

OnAsked = Callable[[int, int], None]
"""How many of how many held-out samples have been asked about."""
ASKED_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Made:
    """`folder` is a complete checkpoint with its card. `was_trained`: not by this call, which only calibrated."""

    folder: Path
    card: cards.RewardCard
    was_trained: bool


def make(
    base: Path,
    parted: Parted,
    recipe: Recipe,
    output: Path,
    *,
    target: Target,
    seed: int,
    system: str = SYSTEM,
    on_step: OnStep | None = None,
    on_asked: OnAsked | None = None,
    device: str | None = None,
) -> Made:
    """Trains on `parted.train` and calibrates on `parted.held_out`. `system` is what the judge is told.

    Calibrated is on samples with an outcome of their own, where there are enough of them (`with_outcomes`).

    Where `output` holds the same training already (recipe, samples, seed, base) and was not calibrated, for it was
    interrupted, only that is done. Raises `SetupError` for any other occupied output, and what training and
    calibrating raise; a model that orders held-out samples no better than chance stays without a calibration, and
    so no reward takes it.
    """
    about = {
        "recipe": recipe.name,
        "recipe_hash": recipe.digest,
        "seed": seed,
        "base_fingerprint": Checkpoint(base.name, base, None).fingerprint(),
        "samples": told(parted.train),
        "samples_hash": digest(parted.train),
        "target": str(target),
        "prompt_hash": asked_hash(system),
    }
    was_trained = _is_same(output, about)
    if not was_trained:
        train(
            base, parted.train, recipe, output,
            seed=seed, about=about, system=system, on_step=on_step, device=device,
        )  # fmt: skip
    held_out = with_outcomes(parted.held_out)
    p_yes = list(
        ask(output, held_out, max_pixels=recipe.max_pixels, system=system, device=device, on_asked=on_asked)
    )
    calibration, figures = calibrated(
        p_yes,
        [sample.locatable for sample in held_out],
        [sample.cell for sample in held_out],
        seed=seed,
    )
    figures["by"] = {str(by): sum(sample.by is by for sample in held_out) for by in By}
    made = cards.RewardCard(str(target), _words(output), system, calibration, figures)
    cards.write(output, made)
    return Made(output, made, was_trained)


def ask(
    folder: Path,
    samples: Sequence[Sample],
    *,
    max_pixels: int,
    system: str = SYSTEM,
    device: str | None = None,
    on_asked: OnAsked | None = None,
) -> Iterator[float | None]:
    """P(yes) for each sample, before calibration."""
    from trainer.reward_model.judge import Judge

    with Judge(folder, device=device, max_pixels=max_pixels) as judge:
        for start in range(0, len(samples), ASKED_AT_ONCE):
            some = samples[start : start + ASKED_AT_ONCE]
            yield from judge.p_yes([asked(one.reasoning, system) for one in some], [seen(one) for one in some])
            if on_asked is not None:
                on_asked(start + len(some), len(samples))


def digest(samples: Sequence[Sample]) -> str:
    """Sixteen hex digits over ids, reasons and labels in order."""
    hashed = hashlib.sha256()
    for sample in samples:
        for text in (sample.id, sample.reasoning, str(sample.locatable)):
            encoded = text.encode("utf-8", "surrogatepass")
            hashed.update(len(encoded).to_bytes(8, "big") + encoded)
    return hashed.hexdigest()[:16]


def _is_same(output: Path, about: dict[str, Any]) -> bool:
    if not output.is_dir():
        return False
    card = Checkpoint(output.name, output, None).card
    if cards.KEY in card:
        raise SetupError(f"{output} holds a calibrated reward model already; choose another output, or remove it")
    return bool(card) and all(card.get(name) == value for name, value in about.items())


def _words(folder: Path) -> tuple[str, str]:
    from trainer.merge import load_processor

    return words_of(load_processor(folder).tokenizer)
