"""What a run keeps on the disk while it goes on, and what it says where memory or disk do not suffice."""

import errno
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors import SafetensorError

from trainer.grpo.recipe import GrpoRecipe
from worker.errors import SetupError

log = logging.getLogger(__name__)

STEPS_NAME = "steps.jsonl"
COMPLETE = "complete"
"""Written last into a checkpoint: what lacks it was cut off by a kill and is never loaded."""

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
def checkpoints_of(output: Path, card: dict[str, Any]) -> Iterator[Path]:
    """The folder beside `output` in which the run keeps its state; removed when the run is done.

    Raises `SetupError` where it holds that of another run.
    """
    folder = output.with_name(f"{output.name}.checkpoints")
    run = folder / "run.json"
    main = PartialState().is_main_process
    if run.exists() and json.loads(run.read_bytes()) != card and last_complete(folder) is not None:
        raise SetupError(f"{folder} holds checkpoints of another run; remove it, or choose another output")
    if main:
        folder.mkdir(parents=True, exist_ok=True)
        written = run.with_suffix(".new")
        written.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        written.replace(run)
    PartialState().wait_for_everyone()
    try:
        yield folder
    except BaseException:
        if main and not any(folder.glob("checkpoint-*")) and not (folder / STEPS_NAME).exists():
            shutil.rmtree(folder, ignore_errors=True)  # refused before anything was done
        raise
    if main:
        shutil.rmtree(folder)


def last_complete(checkpoints: Path) -> Path | None:
    """The newest checkpoint that is marked complete; removes those that are not."""
    found: dict[int, Path] = {}
    for path in checkpoints.glob("checkpoint-*"):
        if path.joinpath(COMPLETE).is_file():
            found[int(path.name.rpartition("-")[2])] = path
        elif PartialState().is_main_process:
            log.warning("%s was cut off while it was written; it is removed", path)
            shutil.rmtree(path)
    return found[max(found)] if found else None


def mark_complete(checkpoint: Path) -> None:
    """Marks a checkpoint whose files are all written. They are put on the disk first: a mark must not outlive what
    it stands for."""
    for path in checkpoint.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
    checkpoint.joinpath(COMPLETE).touch()


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
