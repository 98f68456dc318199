"""A recipe: every figure of a fine-tuning, from one YAML file. No figure has a default in the code.

The recipes that come along stand in `trainer/recipes/sft`; where each of their figures comes from is said there,
beside the figure. An own file has the same keys, all of them.
"""

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from trainer import recipe_file

SFT_RECIPES = recipe_file.RECIPES / "sft"

Reasons = Literal["required", "kept", "dropped"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Lora(_Frozen):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) on the linear layers named in `targets`.

    `targets` are the layers' own names, such as `q_proj`; they are sought in the language model alone.
    `merged_dtype` is the type in which merged weights are stored: "base" is that of the base checkpoint, which
    for 16-bit weights rounds small changes away (`trainer.merge` measures how much).
    """

    rank: int = Field(ge=1)
    alpha: int = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)
    targets: tuple[str, ...] = Field(min_length=1)
    merged_dtype: Literal["base", "float32"]


class Recipe(_Frozen):
    """All that decides a fine-tuning but model, data and seed.

    A step updates the weights once, on `batch_size` x `gradient_accumulation_steps` rows. Either `epochs` or
    `steps` is given, the other is null. `reasons` says what becomes of the reasons that data hold: `required`
    (rows without are unusable), `kept`, or `dropped` (only the place is learnt). `lora` null tunes all
    parameters, in float32; `precision` is then that of the arithmetic ("auto": bfloat16 where the processor has
    it), `attention` the kernel of transformers. `optimizer` "muon" is `trainer.sft.muon`. `too_long` says what
    happens to rows of more than `max_length` tokens, picture included: `refuse` to start, or `drop` and count
    them.
    """

    name: str = Field(pattern=r"^[\w.-]+$")
    source: str
    reasons: Reasons
    lora: Lora | None
    freeze_vision: bool
    precision: Literal["float32", "bfloat16", "auto"]
    attention: Literal["sdpa", "eager"]
    epochs: float | None = Field(gt=0)
    steps: int | None = Field(gt=0)
    batch_size: int = Field(ge=1)
    gradient_accumulation_steps: int = Field(ge=1)
    optimizer: Literal["adamw", "muon"]
    learning_rate: float = Field(gt=0)
    schedule: Literal["cosine", "linear", "constant_with_warmup"]
    warmup_ratio: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    adam_beta1: float = Field(ge=0, lt=1)
    adam_beta2: float = Field(ge=0, lt=1)
    max_grad_norm: float = Field(gt=0)
    gradient_checkpointing: bool
    max_length: int = Field(ge=1)
    too_long: Literal["refuse", "drop"]
    max_pixels: int = Field(ge=1)
    save_every_steps: int | None = Field(gt=0)
    keep_checkpoints: int = Field(ge=1)

    @model_validator(mode="after")
    def _one_length(self) -> "Recipe":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either epochs or steps, and null for the other")
        return self

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change with any figure, not with comments or the order of keys."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def but(self, **changes: Any) -> "Recipe":
        """A recipe with some figures changed, checked as a file's would be. Raises `SetupError`."""
        return recipe_file.checked(Recipe, {**self.model_dump(), **changes}, f"a change to recipe {self.name}")


def load_recipe(name: str) -> Recipe:
    """The recipe of this name that comes along, or the one in this YAML file.

    Raises `SetupError` with one line that names the file and the key at fault.
    """
    content, path = recipe_file.read(name, SFT_RECIPES)
    return recipe_file.checked(Recipe, content, str(path))


def names() -> list[str]:
    """Names of the recipes that come along."""
    return recipe_file.names(SFT_RECIPES)
