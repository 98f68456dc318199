"""Supervised fine-tuning of the LVLM with TRL's `SFTTrainer`: all parameters, or LoRA adapters (PEFT), by recipe.

The trainer sees a data set of row numbers. Pictures are opened and processed in our collator, one batch at a time,
in this process; nothing is written to disk.
"""

import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from trl import SFTConfig, SFTTrainer

from trainer.checkpoints import checkpoints_of, last_complete, mark_complete
from trainer.merge import (
    ADAPTER,
    fingerprint,
    load_model,
    load_processor,
    made_beside,
    mark_adapter,
    merge_adapter,
    refuse_occupied,
    stored_dtype,
    write_checkpoint,
)
from trainer.sft.collator import IGNORED, Collator, Fault, no_answer, usable_rows
from trainer.sft.examples import Example, digest
from trainer.sft.muon import muon_for
from trainer.sft.recipe import Lora, Recipe
from trainer.training_arguments import common_arguments
from worker.errors import SetupError
from worker.reason.engines.processor import no_progress_bar
from worker.reason.prompt import PROMPT_HASH

BUILDER = "trainer.sft/1"
LAST_STEPS = 10

OnStep = Callable[[int, float], None]


@dataclass(frozen=True, slots=True)
class SftResult:
    """`folder` is a complete checkpoint. Losses are in nats for each token of the answers: `first_loss` of the
    first step, `last_loss` the mean of the last ten. `rows` were learnt from; those of `too_long` (their ids) were
    dropped as the recipe says. `seconds` is the time of the training loop."""

    folder: Path
    steps: int
    first_loss: float
    last_loss: float
    seconds: float
    rows: int
    too_long: tuple[str, ...]


def fine_tune(
    model_folder: Path,
    examples: Sequence[Example],
    recipe: Recipe,
    output: Path,
    *,
    seed: int,
    on_step: OnStep | None = None,
    device: str | None = None,
    fault: Fault = no_answer,
    about: Mapping[str, Any] | None = None,
) -> SftResult:
    """Tunes the checkpoint in `model_folder` on `examples` and writes a complete checkpoint folder to `output`.

    `examples` is asked for each row before the start, for its texts, and again when its batch is due. With
    LoRA the adapter is merged and kept beside the weights. `on_step` is called with the number and the loss of
    each step. `device` is "cpu" or "cuda", by default what there is. The same seed gives the same weights on a
    CPU. Where the recipe saves checkpoints they lie in OUTPUT.checkpoints until the end, and the same call goes on
    from the last one. `fault` says which completions may be learnt: by default answers in the worker's grammar.
    `about` stands in the card beside what is stated there of every tuning, or in its place.

    Raises `SetupError` for an occupied output, no examples, an answer that has a fault, rows
    that are too long (where the recipe refuses), a picture that cannot be opened, and a loss that is no number.
    """
    refuse_occupied(output)
    where = _one_device(device)
    collator = Collator(load_processor(model_folder), examples, recipe.max_pixels)
    rows, too_long = usable_rows(collator, examples, recipe, fault)
    card = _card(model_folder, examples, rows, recipe, seed) | dict(about or {})
    base_dtype = stored_dtype(model_folder)
    with _checkpoints(output, recipe, card) as checkpoints, made_beside(output) as made:
        last = last_complete(checkpoints)
        # Where all parameters are tuned the checkpoint is a whole model; see `_Trainer`.
        start = last if last is not None and recipe.lora is None else model_folder
        model = load_model(start, _training_dtype(recipe), attention=recipe.attention)
        trainer = _trainer(model, collator, rows, recipe, checkpoints, seed, where, on_step)
        started_s = time.monotonic()
        with no_progress_bar():
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
        seconds = time.monotonic() - started_s
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        steps = trainer.state.global_step
        last_loss = sum(losses[-LAST_STEPS:]) / len(losses[-LAST_STEPS:])
        card |= {"steps": steps, "first_loss": losses[0], "last_loss": last_loss}
        tuned = trainer.accelerator.unwrap_model(trainer.model)
        if recipe.lora is None:
            write_checkpoint(tuned.cpu(), model_folder, made, dtype=base_dtype, card=card)
        else:
            adapter = checkpoints / ADAPTER
            tuned.save_pretrained(adapter, save_embedding_layers=False)
            del trainer, tuned, model
            mark_adapter(adapter, model_folder)
            dtype = torch.float32 if recipe.lora.merged_dtype == "float32" else base_dtype
            merge_adapter(model_folder, adapter, made, dtype=dtype, card=card)
    return SftResult(output, steps, losses[0], last_loss, seconds, len(rows), too_long)


def _one_device(name: str | None) -> torch.device:
    """Raises `SetupError` where several processes or GPUs would train, each of them writing the same folder."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SetupError("this tuning runs in one process; start it without a distributed launcher")
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        raise SetupError("this tuning runs on one GPU; set CUDA_VISIBLE_DEVICES to one of them")
    return device


def _training_dtype(recipe: Recipe) -> torch.dtype:
    """Weights that are updated are kept in float32: an update of 1e-5 is lost in a bfloat16 weight. A frozen base
    may be 16 bits wide, since PEFT keeps the adapters in float32."""
    return torch.bfloat16 if recipe.lora is not None and recipe.precision == "bfloat16" else torch.float32


def _trainer(
    model: Any,
    collator: Collator,
    rows: list[int],
    recipe: Recipe,
    folder: Path,
    seed: int,
    device: torch.device,
    on_step: OnStep | None,
) -> "_Trainer":
    if recipe.freeze_vision:
        freeze_vision(model)
    arguments = SFTConfig(
        **common_arguments(recipe, folder, seed, device),
        max_length=None,  # rows were counted; nothing is cut
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    with no_progress_bar():
        trainer = _Trainer(
            model=model,
            args=arguments,
            data_collator=collator,
            train_dataset=Dataset.from_dict({"row": rows}),
            processing_class=collator.processor,
            peft_config=None if recipe.lora is None else lora_config(model, recipe.lora),
            callbacks=[_Watch(on_step)],
        )
    # Not set for every model, though TRL's loss divides by the tokens of the whole step: with it, a step's
    # gradient does not depend on how its rows are split into batches.
    trainer.model_accepts_loss_kwargs = True
    trainer.uses_muon = recipe.optimizer == "muon"
    for printing in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printing)
    return trainer


def freeze_vision(model: Any) -> None:
    """Freezes the vision tower and its merger, which every vision-language model of transformers has."""
    tower = [parameter for name, parameter in model.named_parameters() if re.search(r"(^|\.)visual\.", name)]
    if not tower:
        raise SetupError("the recipe freezes the vision tower, and the model has none of the name `visual`")
    for parameter in tower:
        parameter.requires_grad_(False)


def lora_config(model: Any, lora: Lora) -> LoraConfig:
    """Adapters in the language model alone: the vision tower of Qwen2.5-VL has layers of the same names."""
    pattern = rf".*\blanguage_model\..*\.(?:{'|'.join(map(re.escape, lora.targets))})"
    found = {name.rpartition(".")[2] for name, _ in model.named_modules() if re.fullmatch(pattern, name)}
    if missing := set(lora.targets) - found:
        raise SetupError(f"lora.targets: the language model has no layers {', '.join(sorted(missing))}")
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=pattern,
        bias="none",
        task_type="CAUSAL_LM",
    )


class _Trainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer, but for Muon, the loss on a CPU and how a whole model comes back from a checkpoint."""

    uses_muon = False
    optimizer: Any

    def create_optimizer(self, *arguments: Any, **named: Any) -> Any:
        """What the recipe names; transformers knows AdamW, but not Muon."""
        if not self.uses_muon:
            return super().create_optimizer(*arguments, **named)
        if self.optimizer is None:
            betas = (self.args.adam_beta1, self.args.adam_beta2)
            decay = self.args.weight_decay
            self.optimizer = muon_for(self.model, lr=self.args.learning_rate, betas=betas, weight_decay=decay)
        return self.optimizer

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """On a CPU the cross entropy of the answers' tokens, as plainly as it is defined.

        TRL's fused head scores the prompts' tokens as well, in small tiles, where there is no Triton; for a small
        model that costs a fifth of a step. Only positions from the first answer's start on are scored.
        """
        if model.device.type != "cpu":
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        inputs = dict(inputs)
        labels = inputs.pop("labels")
        scored = labels.shape[1] - int((labels != IGNORED).any(dim=0).int().argmax()) + 1
        outputs = model(**inputs, use_cache=False, logits_to_keep=scored)
        labels = labels[:, 1 - scored :]
        learnt = labels != IGNORED
        summed = torch.nn.functional.cross_entropy(
            outputs.logits[:, :-1][learnt].float(), labels[learnt], reduction="sum"
        )
        loss = summed / (learnt.sum() if num_items_in_batch is None else num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Adapters are loaded as usual; a whole model was loaded from the checkpoint by `fine_tune` already.

        transformers (5.17) saves a Qwen2.5-VL under the names that published checkpoints have, here reads it back
        by the names of its own modules, finds next to none, warns, and goes on with the base's weights.
        """
        if isinstance(self.model, PeftModel):
            super()._load_from_checkpoint(resume_from_checkpoint, model)


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Hands each step's loss on, stops a training whose loss is no number, and marks checkpoints as complete."""

    def __init__(self, on_step: OnStep | None) -> None:
        self._on_step = on_step

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, float], **_: Any) -> None:
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise SetupError(f"the loss is {logs['loss']} at step {state.global_step}; lower learning_rate")
        if self._on_step is not None:
            self._on_step(state.global_step, logs["loss"])

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        mark_complete(Path(args.output_dir, f"checkpoint-{state.global_step}"))


@contextmanager
def _checkpoints(output: Path, recipe: Recipe, card: dict[str, Any]) -> Iterator[Path]:
    """The folder for what the trainer writes; one that outlasts a kill where the recipe saves checkpoints."""
    if recipe.save_every_steps is None:
        output.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
            yield Path(scratch)
        return
    with checkpoints_of(output, card) as folder:
        yield folder


def _card(base: Path, examples: Sequence[Example], rows: list[int], recipe: Recipe, seed: int) -> dict[str, Any]:
    """What the weights came from. No times and no paths: the same run writes the same card."""
    return {
        "untrained": False,
        "built_by": BUILDER,
        "base": base.name,
        "base_fingerprint": fingerprint(base),
        "recipe": recipe.name,
        "recipe_hash": recipe.digest,
        "prompt_hash": PROMPT_HASH,
        "data_hash": digest(examples[row] for row in rows),
        "rows": len(rows),
        "rows_too_long": len(examples) - len(rows),
        "seed": seed,
        "trl": version("trl"),
        "transformers": version("transformers"),
        "peft": version("peft"),
        "torch": version("torch"),
    }
