"""Which engine runs the LVLM: the one that was chosen, else vLLM where there is a GPU and the package, else
transformers."""

import importlib.util
from collections.abc import Callable
from typing import Literal

import torch

from worker.reason.engines import Engine
from worker.settings import Settings

Name = Literal["transformers", "vllm"]


def engine_loader(settings: Settings) -> Callable[[str], Engine]:
    """Loads a model, a hub id or a folder, in the engine of these settings. It raises `SetupError`."""
    if (settings.engine or _best()) == "vllm":
        from worker.reason.engines.vllm import load_engine as load_in_vllm

        return lambda model: load_in_vllm(
            model,
            device=settings.device,
            max_batch=settings.threads,  # no more can come at once
            gpu_memory_share=settings.gpu_memory_share,
        )
    from worker.reason.engines.transformers import load_engine

    return lambda model: load_engine(model, device=settings.device, max_batch=settings.model_batch)


def _best() -> Name:
    return "vllm" if torch.cuda.is_available() and importlib.util.find_spec("vllm") else "transformers"
