"""What stops a reinforcement run: entropy collapse, reward hacking, no variance, figures that are no numbers.

All of it is arithmetic on the figures of the steps; thresholds are the recipe's. Means are over the last `window`
steps, so that one odd batch stops nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from worker.errors import GlobetagError, SetupError

Why = Literal["cancelled", "entropy_collapse", "reward_hacking", "no_variance"]


class RunStopped(GlobetagError):
    """A run that was ended before its last step. `reason` says why, `detail` in which figures it showed."""

    def __init__(self, reason: Why, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop; None switches an alarm off. See the recipe's keys of the same names.

    `entropy_below` is in nats per token. `entropy_share_of_start` is of the mean entropy of the first `window`
    steps. `zero_variance_share` is of the groups in which all completions got the same reward: nothing can be
    learnt from those. Hacking is a fall of the held-out accuracy by `accuracy_fall` below its best, in
    `judgements` judgements one after the other, while the mean reward is `reward_rise` above what it was at the
    best one.
    """

    window: int
    entropy_below: float | None
    entropy_share_of_start: float | None
    zero_variance_share: float | None
    accuracy_fall: float | None
    reward_rise: float
    judgements: int


@dataclass(frozen=True, slots=True)
class _Judged:
    step: int
    accuracy: float
    reward: float


@dataclass
class Watch:
    """Sees the figures of each step in order. Fed with a run's history it goes on where that run stood."""

    limits: Limits
    _steps: int = 0
    _rewards: list[float] = field(default_factory=list)
    _entropies: list[float] = field(default_factory=list)
    _variances: list[float] = field(default_factory=list)
    _first_entropies: list[float] = field(default_factory=list)
    _first_rewards: list[float] = field(default_factory=list)
    _best: _Judged | None = None
    _worse: int = 0

    def see(self, step: int, figures: Mapping[str, float]) -> None:
        """Raises `RunStopped` where an alarm goes off, `SetupError` for a loss or gradient that is no number.

        Read are `loss`, `grad_norm`, `reward`, `entropy`, `zero_variance_groups` and `held_out/accuracy`, as far
        as they are given. Step 0 is the judgement before the first step.
        """
        for name in ("loss", "grad_norm", "reward", "entropy"):
            if not math.isfinite(figures.get(name, 0.0)):
                raise SetupError(f"{name} is {figures[name]} at step {step}; lower learning_rate, or raise beta")
        if step > 0:
            self._note(figures)
            self._entropy(step)
            self._variance(step)
        if "held_out/accuracy" in figures:
            self._hacking(step, figures["held_out/accuracy"])

    def _note(self, figures: Mapping[str, float]) -> None:
        self._steps += 1
        for name, kept in (
            ("reward", self._rewards),
            ("entropy", self._entropies),
            ("zero_variance_groups", self._variances),
        ):
            if name in figures:
                kept.append(figures[name])
                del kept[: -self.limits.window]
        for name, kept in (("reward", self._first_rewards), ("entropy", self._first_entropies)):
            if name in figures and len(kept) < self.limits.window:
                kept.append(figures[name])

    def _entropy(self, step: int) -> None:
        if len(self._entropies) < self.limits.window:
            return
        now, first = _mean(self._entropies), _mean(self._first_entropies)
        floor = self.limits.entropy_below
        if floor is not None and now < floor:
            raise RunStopped(
                "entropy_collapse",
                f"at step {step} the entropy is {now:.4g} nats per token over {self.limits.window} steps, below"
                f" {floor:g}: every completion is nearly the same; raise temperature, entropy_coef or beta",
            )
        share = self.limits.entropy_share_of_start
        if share is not None and now < share * first:
            raise RunStopped(
                "entropy_collapse",
                f"at step {step} the entropy is {now:.4g} nats per token over {self.limits.window} steps, below"
                f" {share:g} of the {first:.4g} at the start; lower learning_rate, or raise entropy_coef or beta",
            )

    def _variance(self, step: int) -> None:
        limit = self.limits.zero_variance_share
        if limit is None or len(self._variances) < self.limits.window:
            return
        share = _mean(self._variances)
        if share >= limit:
            raise RunStopped(
                "no_variance",
                f"at step {step} {share:.0%} of the groups of {self.limits.window} steps had the same reward"
                f" throughout (the limit is {limit:.0%}): nothing can be learnt; raise temperature or group_size,"
                " or choose harder questions or other rewards",
            )

    def _hacking(self, step: int, accuracy: float) -> None:
        fall = self.limits.accuracy_fall
        if fall is None:
            return
        reward = _mean(self._rewards) if self._rewards else math.nan
        if self._best is None or accuracy >= self._best.accuracy:
            self._best, self._worse = _Judged(step, accuracy, reward), 0
            return
        # Before the first step there was no reward: that of the first steps stands for it.
        before = _mean(self._first_rewards) if math.isnan(self._best.reward) else self._best.reward
        risen = reward - before >= self.limits.reward_rise
        fallen = self._best.accuracy - accuracy >= fall
        self._worse = self._worse + 1 if risen and fallen else 0
        if self._worse >= self.limits.judgements:
            raise RunStopped(
                "reward_hacking",
                f"at step {step} the reward is {reward:.4g}, up from {before:.4g} at step"
                f" {self._best.step}, while the held-out accuracy fell from {self._best.accuracy:.1%} to"
                f" {accuracy:.1%}: the model learns to please the rewards; look at its answers, and change their"
                " weights",
            )


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
