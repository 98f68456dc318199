"""What a model is, precisely enough to explain a prediction years later."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """One row of `model_version`.

    `name` is what the operator chose (hub id, folder name, open_clip name + tag), `version` a hash of the
    weights and of everything beside them that changes an output (processor, head, prompts of the head).
    `untrained` marks random weights: every place where such output shows must say so.

    `loaded_as` is how this process loaded it, where that changes an output (number type, largest picture). It is
    no part of the row: the same weights are one version on a CPU and on a GPU, and the trainer that registers
    them cannot know which. It goes into the pipeline's version and the settings that each prediction keeps.

    `backbone` is what a gate's embeddings come from, where that is not the gate itself: a trained head makes
    another gate, but embeddings compare across the heads of one backbone. None: the gate itself.
    """

    kind: str  # "lvlm" or "gate"
    name: str
    version: str
    untrained: bool = False
    loaded_as: str = ""
    backbone: "ModelIdentity | None" = None
