"""The figures of each step of a GRPO run: their names, and the file that keeps them.

Names, as far as a step has them:

    loss, grad_norm, learning_rate
    reward, reward_std          mean and spread of the weighted sums
    NAME/mean, NAME/std         of each part before weighing; NAME/cannot_judge: share of completions without one
    kl, entropy                 nats per token
    clipped                     share of tokens whose ratio was clipped
    zero_variance_groups        share of groups with the same reward throughout
    completion_tokens, cut      mean length; share that the token limit cut
    step_s, reward_s            seconds of the step without judging and saving; of the rewards in it
    tokens_per_s                tokens of completions per second of the step
    held_out/NAME               what the judge said, at the steps at which it was asked
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PLAIN = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "reward": "reward",
    "reward_std": "reward_std",
    "kl": "kl",
    "entropy": "entropy",
    "clip_ratio/region_mean": "clipped",
    "frac_reward_zero_std": "zero_variance_groups",
    "completions/mean_length": "completion_tokens",
    "completions/clipped_ratio": "cut",
}
_PART = "reward_part/"
STEPS_NAME = "steps.jsonl"


def plain(logs: Mapping[str, Any], completions: int, *, step_s: float, reward_s: float) -> dict[str, float]:
    """TRL's figures of a step under plain names. `completions` are those of a rollout, on all processes.

    A step that reuses an older rollout draws no completions and has no figures of them.
    """
    figures = {name: float(logs[key]) for key, name in _PLAIN.items() if logs.get(key) is not None}
    figures |= {
        key.removeprefix(_PART): float(value)
        for key, value in logs.items()
        if key.startswith(_PART) and value is not None
    }
    figures |= {"step_s": step_s, "reward_s": reward_s}
    if "completion_tokens" in figures and step_s > 0:
        figures["tokens_per_s"] = figures["completion_tokens"] * completions / step_s
    return figures


class History:
    """The figures of a run in a file of JSON lines. What a resumed run is about to repeat is cut off."""

    def __init__(self, path: Path, resumed_step: int, *, writes: bool = True) -> None:
        self._path = path
        self._writes = writes
        self.entries = [entry for entry in _read(path) if entry["step"] <= resumed_step]
        if resumed_step == 0:
            self.entries = []
        if writes:
            written = path.with_suffix(".new")
            written.write_text("".join(map(_line, self.entries)), encoding="utf-8")
            written.replace(path)

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures that are no numbers become null in the file."""
        entry = {"step": float(step), **figures}
        self.entries.append(entry)
        if self._writes:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(_line(entry))

    def latest(self) -> dict[str, float]:
        """The last value of each name, without the step."""
        found: dict[str, float] = {}
        for entry in self.entries:
            found |= entry
        found.pop("step", None)
        return found


def _read(path: Path) -> list[dict[str, float]]:
    """The entries of the file; what a kill left half-written at its end is left out."""
    entries: list[dict[str, float]] = []
    if not path.exists():
        return entries
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            break
        entries.append({name: math.nan if value is None else value for name, value in entry.items()})
    return entries


def _line(entry: Mapping[str, float]) -> str:
    finite = {name: value if math.isfinite(value) else None for name, value in entry.items()}
    return json.dumps(finite) + "\n"
