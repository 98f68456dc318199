"""What a model is, precisely enough to explain a prediction years later."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """One row of `model_version`.

    `name` is what the operator chose (hub id, folder name, open_clip name + tag), `version` a hash of the
    weights and of everything beside them that changes an output (processor, head, prompts of the head).
    `untrained` marks random weights: every place where such output shows must say so.
    """

    kind: str  # "lvlm" or "gate"
    name: str
    version: str
    untrained: bool = False
