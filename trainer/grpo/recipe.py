"""A recipe of reinforcement learning: every figure of a GRPO run, from one YAML file. None has a default here.

GRPO (Shao et al. 2024, arXiv 2402.03300): for each question a group of completions is drawn, and each is pushed up
or down by how far its reward lies from the mean of its group. The recipes that come along stand in
`trainer/recipes/grpo`; where their figures come from is said there, beside each.
"""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainer import recipe_file
from trainer.grpo.alarms import Limits
from trainer.grpo.rewards import Rewards
from trainer.rewards.visual import CueReader
from trainer.rewards.weights import RewardSet
from trainer.sft.recipe import Lora

GRPO_RECIPES = recipe_file.RECIPES / "grpo"
ACCELERATE = recipe_file.RECIPES / "accelerate"
"""Configuration files for `accelerate launch`, by the name that `sharding` has."""

KEPT_WHILE_SAVING = 2
"""A kill between saving a checkpoint and marking it complete must leave another one."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Rollout(_Frozen):
    """How completions are drawn. `vllm` "off" draws with transformers; "colocate" with vLLM in the training
    processes, of whose memory it takes the share `memory`; "server" with a vLLM server at `server_url`, started
    with `trl vllm-serve`. `max_model_length` is vLLM's, in tokens, picture and completion included."""

    vllm: Literal["off", "colocate", "server"]
    server_url: str | None
    memory: float = Field(gt=0, lt=1)
    tensor_parallel: int = Field(ge=1)
    max_model_length: int = Field(ge=1)

    @model_validator(mode="after")
    def _served(self) -> "Rollout":
        if (self.vllm == "server") != (self.server_url is not None):
            raise ValueError("server_url is given where vllm is server, and null elsewhere")
        return self


class Alarms(_Frozen):
    """See `trainer.grpo.alarms.Limits`; null switches an alarm off."""

    window: int = Field(ge=1)
    entropy_below: float | None = Field(ge=0)
    entropy_share_of_start: float | None = Field(ge=0, lt=1)
    zero_variance_share: float | None = Field(gt=0, le=1)
    accuracy_fall: float | None = Field(gt=0, lt=1)
    reward_rise: float = Field(ge=0)
    judgements: int = Field(ge=1)


class Assumed(_Frozen):
    """What the dry run reckons with; nothing else reads it. `picture_tokens` are those of an average picture."""

    questions: int = Field(ge=1)
    prompt_tokens: int = Field(ge=1)
    picture_tokens: int = Field(ge=1)
    completion_tokens: int = Field(ge=1)
    rollout_tokens_per_s: float = Field(gt=0)
    training_tokens_per_s: float = Field(gt=0)


class GrpoRecipe(_Frozen):
    """All that decides a GRPO run but model, questions and seed.

    A pass works on `batch_size` completions on each of `processes` devices; a step updates the weights once, after
    `gradient_accumulation_steps` passes. One rollout draws completions for `steps_per_generation` passes, in
    groups of `group_size` to a question, and is used `iterations` times. `clip_low` and `clip_high` bound the
    ratio of new to old probabilities to 1 - low .. 1 + high. `beta` weighs the KL divergence from the model that
    the run began with, `entropy_coef` a bonus for entropy. `scale_rewards` says over what rewards are divided by
    their spread. `sharding` says how devices share the model; it is done by `accelerate launch` with the file of
    that name in `trainer/recipes/accelerate`. `precision`, `attention` and `lora` are as in `trainer.sft.recipe`.
    """

    name: str = Field(pattern=r"^[\w.-]+$")
    source: str
    rewards: Rewards
    lora: Lora | None
    freeze_vision: bool
    precision: Literal["float32", "bfloat16", "auto"]
    attention: Literal["sdpa", "eager"]
    gradient_checkpointing: bool
    sharding: Literal["none", "zero3", "fsdp"]
    processes: int = Field(ge=1)

    epochs: float | None = Field(gt=0)
    steps: int | None = Field(gt=0)
    batch_size: int = Field(ge=1)
    gradient_accumulation_steps: int = Field(ge=1)
    steps_per_generation: int = Field(ge=1)
    group_size: int = Field(ge=2)
    iterations: int = Field(ge=1)

    learning_rate: float = Field(gt=0)
    schedule: Literal["cosine", "linear", "constant_with_warmup"]
    warmup_ratio: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    adam_beta1: float = Field(ge=0, lt=1)
    adam_beta2: float = Field(ge=0, lt=1)
    max_grad_norm: float = Field(gt=0)

    loss: Literal["grpo", "bnpo", "dr_grpo", "dapo"]
    scale_rewards: Literal["group", "batch", "none"]
    beta: float = Field(ge=0)
    clip_low: float = Field(gt=0, lt=1)
    clip_high: float = Field(gt=0)
    entropy_coef: float = Field(ge=0)
    mask_cut_completions: bool

    rollout: Rollout
    temperature: float = Field(gt=0)
    top_p: float = Field(gt=0, le=1)
    top_k: int = Field(ge=0)
    max_completion_tokens: int = Field(ge=1)
    max_pixels: int = Field(ge=1)

    alarms: Alarms
    judge_every_steps: int | None = Field(gt=0)
    save_every_steps: int | None = Field(gt=0)
    keep_checkpoints: int = Field(ge=KEPT_WHILE_SAVING)
    tensorboard: bool
    assumed: Assumed

    @model_validator(mode="after")
    def _fits_together(self) -> "GrpoRecipe":
        found = self._arithmetic()
        if (self.epochs is None) == (self.steps is None):
            found.append("give either epochs or steps, and null for the other")
        if self.sharding != "none" and self.processes == 1:
            found.append(f"sharding {self.sharding} needs more than one of processes")
        if self.sharding == "none" and self.rollout.vllm != "off" and self.precision == "float32":
            found.append("rollout.vllm: vLLM draws in 16 bits here, so precision must be bfloat16")
        if found:
            raise ValueError("; ".join(found))
        return self

    def _arithmetic(self) -> list[str]:
        """The faults of the batch sizes, in words, with figures that would do."""
        found = []
        drawn, per_pass = self.completions_per_rollout, self.batch_size * self.processes
        product = (
            f"batch_size {self.batch_size} x processes {self.processes} x steps_per_generation"
            f" {self.steps_per_generation} = {drawn} completions"
        )
        if drawn % self.group_size:
            fitting = [passes for passes in range(1, 65) if passes * per_pass % self.group_size == 0]
            does = f"steps_per_generation {fitting[0]} would do" if fitting else "change batch_size"
            found.append(f"{product}, which are no whole groups of group_size {self.group_size}; {does}")
        if self.steps_per_generation % self.gradient_accumulation_steps:
            found.append(
                f"a rollout feeds steps_per_generation {self.steps_per_generation} passes, which are no whole"
                f" steps of gradient_accumulation_steps {self.gradient_accumulation_steps}; make it a multiple"
            )
        elif self.save_every_steps is not None and self.save_every_steps % self.steps_per_rollout:
            found.append(
                f"save_every_steps {self.save_every_steps} would save in the middle of a rollout, which feeds"
                f" {self.steps_per_rollout} steps; choose a multiple of {self.steps_per_rollout}"
            )
        return found

    @property
    def completions_per_rollout(self) -> int:
        """Of all processes together."""
        return self.batch_size * self.processes * self.steps_per_generation

    @property
    def completions_per_step(self) -> int:
        """That one update of the weights sees, on all processes together."""
        return self.batch_size * self.processes * self.gradient_accumulation_steps

    @property
    def questions_per_rollout(self) -> int:
        return self.completions_per_rollout // self.group_size

    @property
    def steps_per_rollout(self) -> int:
        """Updates that one rollout feeds."""
        return self.steps_per_generation * self.iterations // self.gradient_accumulation_steps

    @property
    def limits(self) -> Limits:
        return Limits(**self.alarms.model_dump())

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change with any figure of the run; not with what a dry run assumes."""
        canonical = json.dumps(self.model_dump(mode="json", exclude={"assumed"}), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def but(self, **changes: Any) -> "GrpoRecipe":
        """A recipe with some figures changed, checked as a file's would be. A mapping changes only the keys that
        it has; `rewards={"weights": {...}}` leaves the rewards' figures alone. Raises `SetupError`."""
        content = self.model_dump()
        for key, value in changes.items():
            old = content.get(key)
            content[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        return recipe_file.checked(GrpoRecipe, content, f"a change to recipe {self.name}")

    def reward_set(self, cue_reader: CueReader | None) -> RewardSet:
        """The rewards that have a weight, as TRL's only reward function.

        Raises `SetupError` where the visual reward has a weight and nothing reads cues.
        """
        return self.rewards.built(cue_reader, self.max_completion_tokens)


def load_grpo_recipe(name: str) -> GrpoRecipe:
    """The recipe of this name that comes along, or the one in this YAML file.

    Raises `SetupError` with one line that names the file and all faults, with the values that are allowed.
    """
    content, path = recipe_file.read(name, GRPO_RECIPES)
    return recipe_file.checked(GrpoRecipe, content, str(path))


def grpo_names() -> list[str]:
    """Names of the recipes that come along."""
    return recipe_file.names(GRPO_RECIPES)
