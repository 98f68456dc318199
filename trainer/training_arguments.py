"""What supervised and reinforcement learning tell transformers' trainer alike, in its own words."""

from pathlib import Path
from typing import Any

import torch

from trainer.grpo.recipe import GrpoRecipe
from trainer.sft.recipe import Recipe


def common_arguments(recipe: Recipe | GrpoRecipe, folder: Path, seed: int, device: torch.device) -> dict[str, Any]:
    """`folder` is where checkpoints go. Nothing is reported by itself; our callbacks do that."""
    return {
        "output_dir": str(folder),
        "seed": seed,
        "data_seed": seed,
        "use_cpu": device.type == "cpu",
        "bf16": _in_bfloat16(recipe, device),
        "num_train_epochs": recipe.epochs or 1,
        "max_steps": recipe.steps or -1,
        "per_device_train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.gradient_accumulation_steps,
        "learning_rate": recipe.learning_rate,
        "lr_scheduler_type": recipe.schedule,
        "warmup_steps": recipe.warmup_ratio,
        "weight_decay": recipe.weight_decay,
        "adam_beta1": recipe.adam_beta1,
        "adam_beta2": recipe.adam_beta2,
        "max_grad_norm": recipe.max_grad_norm,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "save_strategy": "no" if recipe.save_every_steps is None else "steps",
        "save_steps": recipe.save_every_steps or 500,
        "save_total_limit": recipe.keep_checkpoints,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": device.type != "cpu",
        "remove_unused_columns": False,
    }


def _in_bfloat16(recipe: Recipe | GrpoRecipe, device: torch.device) -> bool:
    if recipe.precision == "auto":
        return device.type != "cpu" or bool(torch.cpu._is_avx512_bf16_supported())
    return recipe.precision == "bfloat16"
