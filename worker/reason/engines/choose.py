"""Which engine runs the LVLM: the one that was chosen, else vLLM where there is a GPU and the package, else
transformers."""

import importlib.util
from collections.abc import Callable
from typing import Literal

from worker.errors import SetupError
from worker.reason.engines import Engine
from worker.settings import Settings

Name = Literal["transformers", "vllm"]


def engine_loader(settings: Settings) -> Callable[[str], Engine]:
    """Loads a model, a hub id or a folder, in the engine of these settings. It raises `SetupError`.

    With the engine `openai` it takes the name of a model on the server instead.
    """
    if settings.engine == "openai":
        from worker.reason.engines.openai import load_engine as load_on_server

        if settings.model_server is None:
            raise SetupError("GLOBETAG_ENGINE=openai needs GLOBETAG_MODEL_SERVER, such as http://model:8000/v1")
        server = settings.model_server
        return lambda model: load_on_server(
            model,
            server=server,
            key=settings.model_server_key,
            timeout_s=settings.model_server_timeout_s,
            max_calls=settings.model_server_calls or settings.threads,
        )
    if (settings.engine or _best()) == "vllm":
        from worker.reason.engines.vllm import load_engine as load_in_vllm

        return lambda model: load_in_vllm(
            model,
            device=settings.device,
            max_batch=settings.model_batch or settings.threads,  # no more can come at once
            gpu_memory_share=settings.gpu_memory_share,
        )
    from worker.reason.engines.transformers import load_engine

    return lambda model: load_engine(model, device=settings.device, max_batch=settings.transformers_batch)


def _best() -> Name:
    import torch  # which takes seconds, and a worker with a model server needs none for its LVLM

    return "vllm" if torch.cuda.is_available() and importlib.util.find_spec("vllm") else "transformers"
