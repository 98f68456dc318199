"""TRL's `GRPOTrainer` as used here: a recipe in its words, and the two places where it does otherwise."""

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from trl import GRPOConfig, GRPOTrainer

from trainer.grpo.recipe import GrpoRecipe
from trainer.training_arguments import common_arguments


def training_dtype(recipe: GrpoRecipe) -> torch.dtype:
    """Weights that are updated are kept in float32: an update of 1e-6 is lost in a bfloat16 weight. DeepSpeed
    keeps such copies itself, and a frozen base may be 16 bits wide."""
    frozen = recipe.lora is not None or recipe.sharding == "zero3"
    return torch.bfloat16 if frozen and recipe.precision == "bfloat16" else torch.float32


def trl_arguments(recipe: GrpoRecipe, folder: Path, seed: int, device: torch.device) -> GRPOConfig:
    """The recipe in TRL's words. `folder` is where checkpoints go."""
    rollout = recipe.rollout
    served = {"vllm_server_base_url": rollout.server_url} if rollout.server_url is not None else {}
    return GRPOConfig(
        **common_arguments(recipe, folder, seed, device),
        steps_per_generation=recipe.steps_per_generation,
        num_generations=recipe.group_size,
        num_iterations=recipe.iterations,
        loss_type=recipe.loss,
        scale_rewards=recipe.scale_rewards,
        beta=recipe.beta,
        epsilon=recipe.clip_low,
        epsilon_high=recipe.clip_high,
        entropy_coef=recipe.entropy_coef,
        mask_truncated_completions=recipe.mask_cut_completions,
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        top_k=recipe.top_k,
        max_completion_length=recipe.max_completion_tokens,
        use_vllm=rollout.vllm != "off",
        vllm_mode="server" if rollout.vllm == "server" else "colocate",
        vllm_gpu_memory_utilization=rollout.memory,
        vllm_tensor_parallel_size=rollout.tensor_parallel,
        vllm_max_model_length=rollout.max_model_length,
        **served,
        log_multimodal=False,
    )


class Trainer(GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer, but for the likelihoods on a CPU and how a whole model comes back from a checkpoint."""

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **pictures: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """On a CPU log-probabilities and entropies of the completions' tokens, as plainly as they are defined.

        TRL's fused head scores the prompts' tokens as well, in small tiles, where there is no Triton; for a small
        model that costs a fifth of a step. Axes: completions x tokens; nats.
        """
        whole = batch_size is None or batch_size >= len(input_ids)
        if input_ids.device.type != "cpu" or compute_aux_loss or not whole:
            return super()._get_per_token_logps_and_entropies(  # type: ignore[no-any-return]
                model, input_ids, attention_mask, logits_to_keep, batch_size, compute_entropy, compute_aux_loss,
                **pictures,
            )  # fmt: skip
        inputs = {name: value for name, value in pictures.items() if isinstance(value, torch.Tensor)}
        with self.accelerator.autocast():
            logits = model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                use_cache=False,
                logits_to_keep=logits_to_keep + 1,  # the last token of the prompt speaks for the first one drawn
                **inputs,
            ).logits
        logprobs = (logits[:, :-1].float() / self.temperature).log_softmax(dim=-1)
        drawn = logprobs.gather(-1, input_ids[:, -logits_to_keep:, None]).squeeze(-1)
        entropies = -(logprobs.exp() * logprobs).sum(dim=-1) if compute_entropy else None
        return drawn, entropies, None

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Adapters are loaded as usual; a whole model was loaded from the checkpoint already, see `fine_tune`.
        DeepSpeed and FSDP load their own."""
        if isinstance(self.model, PeftModel) or self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
