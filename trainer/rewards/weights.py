"""Weights by name, and the set that makes one reward of several.

GLOBE (arXiv 2506.14674) states its weights three times, differently; all are here. Its README names no weight for
the format, its scripts always do.

How a None counts. TRL sums weighted parts with `nansum`: a part that is None for one completion counts as 0 there,
and its siblings of the same prompt, which were judged, gain by that. A judge that could not decide would thus be a
punishment. Here:

- a part that is None counts as the mean of that part over the other completions of the same sample in this batch:
  it moves the completion neither way;
- where none of them could be judged, the part is left out for the sample and the other weights are scaled up to
  the same sum, so that samples stay comparable;
- a completion without any part of its own is None (TRL then gives it no advantage).

Use the set as TRL's only reward function for this. Its parts given one by one come to nearly the same only with
TRL's `multi_objective_aggregation="normalize_then_sum"`, which weighs parts by their spread.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainer.rewards.base import Completion, Reward, Scores
from worker.errors import SetupError

PRESETS: Mapping[str, Mapping[str, float]] = {
    "globetag": {"geo": 1.0, "visual": 1.0, "locatable": 0.5, "format": 0.2},
    "globe_readme": {"globe_accuracy": 1.0, "globe_locatability": 0.2, "globe_visual": 0.5},
    "globe_script_all": {
        "globe_accuracy": 1.0, "globe_locatability": 0.5, "globe_visual": 0.2, "globe_format": 1.0,
    },
    "globe_script_two": {"globe_accuracy": 1.0, "globe_visual": 0.5, "globe_format": 1.0},
    "globe_script_one": {"globe_accuracy": 1.0, "globe_format": 1.0},
}  # fmt: skip
"""`globetag` is ours. The others are GLOBE's README and its `train_{all,two,one}_rewards.sh`."""


@dataclass(frozen=True, slots=True)
class PartStatistics:
    """Of one part over a batch: how many were judged, how many not; `mean`, `std` (population), `low`, `high` over
    the judged ones, None where there are none."""

    judged: int
    cannot_judge: int
    mean: float | None
    std: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Scored:
    """`totals`: one per completion, in 0..sum of weights, or None. `parts`: by name, before weighing."""

    totals: Scores
    parts: Mapping[str, Scores]
    statistics: Mapping[str, PartStatistics]


@dataclass(frozen=True)
class RewardSet:
    """Rewards with their weights. Weight 0 measures a part without letting it count."""

    rewards: tuple[Reward, ...]
    weights: tuple[float, ...]

    @classmethod
    def of(cls, rewards: Iterable[Reward], weights: str | Mapping[str, float]) -> "RewardSet":
        """`weights` is a preset's name, or weights by the names of the rewards.

        Raises `SetupError` with all faults at once: unknown preset, a reward without weight or the reverse, a
        reward twice, weights that are negative or all 0.
        """
        rewards = tuple(rewards)
        if isinstance(weights, str):
            if weights not in PRESETS:
                raise SetupError(f"no preset of weights is named {weights}; there are {', '.join(PRESETS)}")
            weights = PRESETS[weights]
        names = [reward.name for reward in rewards]
        faults = [f"the reward {name} has no weight" for name in names if name not in weights]
        faults += [f"the weight {name} belongs to no reward" for name in weights if name not in names]
        faults += [f"the reward {name} comes twice" for name in sorted(set(names)) if names.count(name) > 1]
        faults += [
            f"the weight of {name} is {weight}, not a number of at least 0"
            for name, weight in weights.items()
            if not (math.isfinite(weight) and weight >= 0)
        ]
        if not faults and not any(weight > 0 for weight in weights.values()):
            faults.append("no weight is above 0")
        if faults:
            raise SetupError("weights of the rewards: " + "; ".join(faults))
        return cls(rewards, tuple(float(weights[name]) for name in names))

    @property
    def __name__(self) -> str:
        """TRL logs the sum under this name."""
        return "reward_set"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the data set must have, each once."""
        return tuple(dict.fromkeys(column for reward in self.rewards for column in reward.columns))

    def __call__(self, completions: Sequence[Completion], **columns: Any) -> Scores:
        """The totals. Where TRL's `log_metric` is given, each part's statistics are logged through it."""
        scored = self.score(completions, **columns)
        log_metric = columns.get("log_metric")
        if log_metric is not None:
            for name, figure in metrics(scored.statistics).items():
                log_metric(name, figure)
        return scored.totals

    def score(self, completions: Sequence[Completion], **columns: Any) -> Scored:
        """Parts and totals. Raises what the rewards raise."""
        parts = {reward.name: reward(completions, **columns) for reward in self.rewards}
        counting = [
            (weight, parts[reward.name])
            for reward, weight in zip(self.rewards, self.weights, strict=True)
            if weight > 0
        ]
        ids = [str(id_) for id_ in columns["id"]]
        filled = [(weight, scores, _means_by_id(ids, scores)) for weight, scores in counting]
        totals = [_total(row, id_, filled) for row, id_ in enumerate(ids)]
        return Scored(totals, parts, {name: _statistics(scores) for name, scores in parts.items()})


def metrics(statistics: Mapping[str, PartStatistics]) -> dict[str, float]:
    """What to log: `reward_part/NAME/mean`, `std` (where anything was judged) and `cannot_judge` (a share)."""
    found: dict[str, float] = {}
    for name, part in statistics.items():
        n = part.judged + part.cannot_judge
        found[f"reward_part/{name}/cannot_judge"] = part.cannot_judge / n if n else 0.0
        if part.mean is not None and part.std is not None:
            found[f"reward_part/{name}/mean"] = part.mean
            found[f"reward_part/{name}/std"] = part.std
    return found


def _means_by_id(ids: Sequence[str], scores: Scores) -> dict[str, float]:
    judged: dict[str, list[float]] = {}
    for id_, score in zip(ids, scores, strict=True):
        if score is not None:
            judged.setdefault(id_, []).append(score)
    return {id_: math.fsum(values) / len(values) for id_, values in judged.items()}


def _total(row: int, id_: str, filled: Sequence[tuple[float, Scores, Mapping[str, float]]]) -> float | None:
    if all(scores[row] is None for _, scores, _ in filled):
        return None
    weighed = weight_present = 0.0
    for weight, scores, means in filled:
        own = scores[row]
        score = means.get(id_) if own is None else own
        if score is not None:
            weighed += weight * score
            weight_present += weight
    return weighed / weight_present * math.fsum(weight for weight, _, _ in filled)


def _statistics(scores: Scores) -> PartStatistics:
    judged = [score for score in scores if score is not None]
    if not judged:
        return PartStatistics(0, len(scores), None, None, None, None)
    mean = math.fsum(judged) / len(judged)
    std = math.sqrt(math.fsum((score - mean) ** 2 for score in judged) / len(judged))
    return PartStatistics(len(judged), len(scores) - len(judged), mean, std, min(judged), max(judged))
