"""What a run says where memory or disk do not suffice."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from safetensors import SafetensorError

from trainer.grpo.recipe import GrpoRecipe
from worker.errors import SetupError

_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DISK_FULL_SAID = (
    *(f"(os error {number})" for number in sorted(_DISK_FULL)),
    "PytorchStreamWriter failed writing",
)
"""What safetensors and torch say in errors that carry no number."""
_TOO_LARGE = (
    "out of memory with batch_size {recipe.batch_size} and completions of {recipe.max_completion_tokens} tokens;"
    " lower them, turn gradient_checkpointing on, or use lora"
)


@contextmanager
def explained(recipe: GrpoRecipe) -> Iterator[None]:
    """Turns memory and disk that do not suffice, and a model that fell apart, into `SetupError`."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise SetupError(_TOO_LARGE.format(recipe=recipe)) from error
    except (OSError, RuntimeError, SafetensorError) as error:
        said = " ".join(str(error).split())
        if "can't allocate memory" in said:  # torch's, on a CPU
            raise SetupError(f"{_TOO_LARGE.format(recipe=recipe)} ({said})") from error
        if "probability tensor contains" in said:  # torch's, where a token is drawn
            raise SetupError("the model's scores are no numbers; lower learning_rate, or raise beta") from error
        if getattr(error, "errno", None) not in _DISK_FULL and not any(mark in said for mark in _DISK_FULL_SAID):
            raise
        raise SetupError(f"the disk is full ({said}); make room, and repeat the call: it goes on") from error
