"""The rewards of a recipe: which ones, their weights and figures, and the set that is built of them."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainer.reward_model.card import read
from trainer.rewards.base import Reward
from trainer.rewards.calibration import Calibration
from trainer.rewards.endpoint import Endpoint
from trainer.rewards.format import FormatReward
from trainer.rewards.geo import GeoReward
from trainer.rewards.globe import GlobeAccuracy, GlobeFormat, GlobeLocatability, GlobeVisual
from trainer.rewards.locatable import GivenLocatability, JudgeLocatability, Locatability, LocatableReward
from trainer.rewards.visual import CueReader, VisualReward
from trainer.rewards.weights import PRESETS, RewardSet
from worker.errors import SetupError

PICTURE_COLUMN = "picture"
"""Where rewards that show the picture to a judge find it."""
REWARD_NAMES = (
    "geo", "visual", "locatable", "format",
    "globe_accuracy", "globe_visual", "globe_locatability", "globe_format",
)  # fmt: skip


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Geo(_Frozen):
    """See `trainer.rewards.geo.GeoReward`."""

    scale_km: float = Field(gt=0)
    distance_weight: float = Field(gt=0)
    country_weight: float = Field(ge=0)
    region_weight: float = Field(ge=0)
    city_weight: float = Field(ge=0)


class Visual(_Frozen):
    """See `trainer.rewards.visual.VisualReward`."""

    beta: float = Field(gt=0)


class Decided(_Frozen):
    """See `trainer.rewards.locatable`. `source` is where P(placeable) comes from: the column `p_placeable` of the
    questions, or the judge. `slope` and `intercept` calibrate the judge; 1 and 0 change nothing.

    `reward_model` is the folder of a reward model (`trainer.reward_model`) that the judge's server serves: its
    card has the calibration and the words that it is asked in, so slope and intercept stay 1 and 0.
    """

    source: Literal["column", "judge"]
    overreach: float = Field(ge=0, le=1)
    slope: float
    intercept: float
    reward_model: Path | None = None

    @model_validator(mode="after")
    def _calibrated_once(self) -> "Decided":
        if self.reward_model is not None:
            if self.source != "judge":
                raise ValueError("reward_model: goes with source: judge")
            if (self.slope, self.intercept) != (1.0, 0.0):
                raise ValueError("reward_model: its card has slope and intercept; leave these at 1 and 0")
        return self


class Format(_Frozen):
    """See `trainer.rewards.format.FormatReward`."""

    tolerated: float = Field(gt=0, lt=1)


class Judge(_Frozen):
    """A reward model behind an OpenAI-compatible endpoint; see `trainer.rewards.endpoint.Endpoint`."""

    url: str = Field(pattern=r"^https?://")
    model: str
    timeout_s: float = Field(gt=0)
    attempts: int = Field(ge=1)
    concurrency: int = Field(ge=1)
    api_key_variable: str


class Rewards(_Frozen):
    """`weights` is the name of a preset (`trainer.rewards.weights.PRESETS`) or weights by the names of rewards.

    The figures of a reward are given where it has a weight, and null elsewhere.
    """

    weights: str | dict[str, float]
    geo: Geo | None
    visual: Visual | None
    locatable: Decided | None
    format: Format | None
    judge: Judge | None

    @property
    def by_name(self) -> dict[str, float]:
        """The weights, also of a preset."""
        return dict(PRESETS[self.weights]) if isinstance(self.weights, str) else self.weights

    @model_validator(mode="after")
    def _complete(self) -> "Rewards":
        if isinstance(self.weights, str) and self.weights not in PRESETS:
            raise ValueError(f"weights: no preset is named {self.weights}; there are {', '.join(PRESETS)}")
        weights = self.by_name
        found = [
            f"weights: there is no reward {name}; there are {', '.join(REWARD_NAMES)}"
            for name in weights
            if name not in REWARD_NAMES
        ]
        found += [
            f"weights.{name}: must be at least 0, not {weight}" for name, weight in weights.items() if weight < 0
        ]
        if not any(weight > 0 for weight in weights.values()):
            found.append("weights: none is above 0")
        found += [
            f"{name}: has a weight, so its figures must be given"
            for name in ("geo", "visual", "locatable", "format")
            if name in weights and getattr(self, name) is None
        ]
        judged = self.locatable is not None and self.locatable.source == "judge" and "locatable" in weights
        if (judged or "globe_locatability" in weights) and self.judge is None:
            found.append("judge: a reward asks one, so it must be given")
        if found:
            raise ValueError("; ".join(found))
        return self

    def built(self, cue_reader: CueReader | None, max_completion_tokens: int) -> RewardSet:
        """The rewards that have a weight. Raises `SetupError` where the visual one has, and nothing reads cues."""
        weights = self.by_name
        return RewardSet.of([self._reward(name, cue_reader, max_completion_tokens) for name in weights], weights)

    def _reward(self, name: str, cue_reader: CueReader | None, limit: int) -> Reward:
        match name:
            case "geo" if self.geo is not None:
                return GeoReward(max_completion_tokens=limit, **self.geo.model_dump())
            case "visual" if self.visual is not None:
                if cue_reader is None:
                    raise SetupError(
                        "the reward visual needs a reader of cues, and there is none for these questions; state"
                        " true_cues in the data, or take the reward out of the recipe"
                    )
                return VisualReward(max_completion_tokens=limit, reader=cue_reader, beta=self.visual.beta)
            case "locatable" if self.locatable is not None:
                source, overreach = self._locatability(self.locatable), self.locatable.overreach
                return LocatableReward(max_completion_tokens=limit, source=source, overreach=overreach)
            case "format" if self.format is not None:
                return FormatReward(max_completion_tokens=limit, tolerated=self.format.tolerated)
            case "globe_locatability":
                return GlobeLocatability(endpoint=self._endpoint(), image_column=PICTURE_COLUMN)
            case _:
                return _PUBLISHED[name]()

    def _locatability(self, figures: Decided) -> Locatability:
        if figures.source == "column":
            return GivenLocatability()
        endpoint = self._endpoint()
        if figures.reward_model is not None:
            card = read(figures.reward_model.expanduser())
            return JudgeLocatability(
                endpoint=endpoint, calibration=card.calibration, image_column=PICTURE_COLUMN, system=card.system
            )
        calibration = Calibration(figures.slope, figures.intercept)
        return JudgeLocatability(endpoint=endpoint, calibration=calibration, image_column=PICTURE_COLUMN)

    def _endpoint(self) -> Endpoint:
        if self.judge is None:
            raise AssertionError("no judge: the recipe was checked")
        return Endpoint(**self.judge.model_dump())


_PUBLISHED: dict[str, type[GlobeAccuracy | GlobeVisual | GlobeFormat]] = {
    "globe_accuracy": GlobeAccuracy,
    "globe_visual": GlobeVisual,
    "globe_format": GlobeFormat,
}
"""GLOBE's own without figures: read as they are, cut or not."""
