"""Runs a vision-language model with Hugging Face transformers: CUDA in bfloat16 when there is a GPU, else the CPU.

For Qwen2.5-VL, Qwen3-VL, InternVL and others whose processor returns token rows of one length and pictures that
are joined along their first axis. Pictures are prepared on the callers' threads; one owner thread generates for
batches of rows, a row being one sample for one picture. Rows share nothing but the batch: each is drawn with its
own settings and its own random stream, so an answer does not depend on its neighbours, except for the last bits
of floating-point sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
)

from schema.reasons import Reason
from worker.batcher import Batcher, BatcherClosed, Fatal
from worker.checkpoints import Checkpoint, one_line, resolve
from worker.errors import JobError
from worker.identity import ModelIdentity
from worker.reason.conversation import MAX_PIXELS, shrunk
from worker.reason.engines import Completion, Prompt, Sampling
from worker.reason.engines.processor import Processor, no_progress_bar
from worker.reason.engines.starting import started
from worker.reason.engines.weights import VARIABLE, wanted

MAX_BATCH_TOKENS = 32_768
"""Prompt and answer tokens of all rows of a batch: 2 GB of keys and values of a Qwen2.5-VL-7B in bfloat16."""

TOKEN_ROWS = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"})
"""What the processor returns with one entry for each token. All else describes pictures."""


@dataclass(frozen=True, slots=True)
class Row:
    """One sample to draw: the processor's output for one picture and prompt (leading axis 1), and how to draw."""

    inputs: dict[str, torch.Tensor]
    sampling: Sampling
    seed: int

    @property
    def tokens(self) -> int:
        return int(self.inputs["input_ids"].shape[1])

    @property
    def cost(self) -> float:
        """Tokens whose keys and values must be held when the answer is as long as allowed."""
        return self.tokens + self.sampling.max_tokens


def load_engine(
    model: str,
    *,
    device: str | None = None,
    dtype: str | None = None,
    max_batch: int = 8,
    max_pixels: int = MAX_PIXELS,
    max_wait_s: float = 0.02,
) -> "TransformersEngine":
    """Returns a ready `worker.reason.engines.Engine` that has answered once.

    `model` is a hub id or a folder, `dtype` a name such as "bfloat16". Pictures above `max_pixels` are shrunk,
    before the checkpoint's own limits. `max_wait_s` is how long the first picture waits for company. Only
    safetensors weights are read, and no code from the checkpoint is run. Raises `SetupError` with one line that
    says what to do.
    """
    checkpoint = resolve(model, variable=VARIABLE, wanted=wanted)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype_name = dtype or ("bfloat16" if where.type == "cuda" else "float32")

    def make() -> TransformersEngine:
        return TransformersEngine(
            checkpoint, where, dtype=dtype_name, max_batch=max_batch, max_pixels=max_pixels, max_wait_s=max_wait_s
        )

    return started(make, model, library="transformers")


class TransformersEngine:
    """See `worker.reason.engines.Engine`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: torch.device,
        *,
        dtype: str,
        max_batch: int,
        max_pixels: int,
        max_wait_s: float,
    ) -> None:
        self._device = device
        self._dtype = getattr(torch, dtype)
        self._max_pixels = max_pixels
        self._processor = Processor(checkpoint.folder)
        self._model = _load(checkpoint, self._dtype, device)
        # Penalties, temperature and the like of the checkpoint's own configuration are left out on purpose:
        # `Sampling` says all that there is to say about how an answer was drawn.
        self._model.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=sorted(self._processor.stop_ids), pad_token_id=self._processor.pad_id
        )
        self.identity = ModelIdentity(
            kind="lvlm",
            name=checkpoint.name,
            version=checkpoint.version,
            untrained=checkpoint.untrained,
            loaded_as=f"{dtype}, up to {max_pixels} px",
        )
        self._batcher: Batcher[Row, Completion] = Batcher(
            self._answer,
            max_size=max_batch,
            max_cost=MAX_BATCH_TOKENS,
            cost=lambda row: row.cost,
            max_wait_s=max_wait_s,
            name="engine",
        )

    def generate(self, prompt: Prompt, image: Image.Image, sampling: Sampling, n: int = 1) -> list[Completion]:
        """Sample i is drawn with seed `sampling.seed + i`; greedy samples are all the same one."""
        distinct = 1 if sampling.temperature == 0 else n
        try:
            inputs = self._prepare(prompt, image)
            rows = [Row(inputs, sampling, sampling.seed + sample) for sample in range(distinct)]
            futures = [self._batcher.enqueue(row) for row in rows]
            completions = [future.result() for future in futures]
        except BatcherClosed:
            raise
        except Exception as error:
            detail = f"the model failed on this picture: {one_line(error)}"
            raise JobError(Reason.MODEL_ERROR, detail) from error
        return completions if distinct == n else completions * n

    def close(self) -> None:
        self._batcher.close()
        self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _prepare(self, prompt: Prompt, image: Image.Image) -> dict[str, torch.Tensor]:
        """Token row and pixels of one conversation: the optional system message, the picture, the question."""
        messages = self._processor.messages(prompt, shrunk(image, self._max_pixels))
        return dict(
            self._processor.of_transformers.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
            )
        )

    def _answer(self, rows: list[Row]) -> Sequence[Completion | Exception]:
        """Runs on the owner thread: one completion, or the reason why not, for each row."""
        longest = max(row.tokens for row in rows)
        draw = DrawRows(rows, self._device)
        try:
            with torch.inference_mode():
                sequences = self._model.generate(
                    **self._collate(rows, longest),
                    max_new_tokens=max(row.sampling.max_tokens for row in rows),
                    logits_processor=LogitsProcessorList([draw]),
                )
        except torch.AcceleratorError as error:
            raise Fatal("the accelerator failed; no later picture could be answered") from error
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()  # the batcher tries the rows one by one: give them all the room there is
            raise
        drawn = sequences[:, longest:].tolist()
        logprobs = torch.stack(draw.logprobs, dim=1).tolist()
        return [
            self._processor.read(tokens, worth, row.sampling.max_tokens)
            for row, tokens, worth in zip(rows, drawn, logprobs, strict=True)
        ]

    def _collate(self, rows: list[Row], longest: int) -> dict[str, torch.Tensor]:
        """Token rows padded on the left to `longest`, pictures joined in the model's type; on the device."""
        batch = {}
        for key in rows[0].inputs:
            parts = [row.inputs[key] for row in rows]
            if key in TOKEN_ROWS:
                filler = self._processor.pad_id if key == "input_ids" else 0
                parts = [
                    torch.nn.functional.pad(part, (longest - part.shape[1], 0), value=filler) for part in parts
                ]
            joined = torch.cat(parts)
            batch[key] = joined.to(self._device, self._dtype if joined.is_floating_point() else None)
        if len(batch["input_ids"]) != len(rows):
            raise AssertionError(f"{len(rows)} rows were joined to {len(batch['input_ids'])}")
        return batch


class DrawRows(LogitsProcessor):  # type: ignore[misc]
    """Makes a greedy search draw each row by its own settings and seed, and notes what it drew.

    Gumbel-max: the argmax of scaled scores plus Gumbel noise is a draw from their softmax (Gumbel 1954; Maddison
    et al. 2014, arXiv 1411.0030). `logprobs` has one entry for each step: the log-probability of every row's token
    under the model itself, before temperature and top-p. Axes: R rows, V vocabulary.
    """

    def __init__(self, rows: Sequence[Row], device: torch.device) -> None:
        self.logprobs: list[torch.Tensor] = []
        self._samplings = [row.sampling for row in rows]
        self._streams = [torch.Generator(device).manual_seed(row.seed) for row in rows]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        chosen = scores.float().clone()
        for place, (sampling, stream) in enumerate(zip(self._samplings, self._streams, strict=True)):
            if sampling.temperature > 0:
                row = _nucleus(chosen[place] / sampling.temperature, sampling.top_p)
                noise = torch.empty_like(row).exponential_(generator=stream)
                chosen[place] = row - noise.clamp_min(torch.finfo(row.dtype).tiny).log()
        picks = chosen.argmax(dim=-1, keepdim=True)
        logprobs_of_picks = scores.float().log_softmax(dim=-1).gather(1, picks)
        self.logprobs.append(logprobs_of_picks.squeeze(1))
        return chosen


def _nucleus(scores: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keeps the likeliest tokens that together hold `top_p` (Holtzman et al. 2020, arXiv 1904.09751)."""
    if top_p >= 1:
        return scores
    sorted_scores, order = scores.sort(descending=True)
    shares = sorted_scores.softmax(dim=-1)
    beyond = shares.cumsum(dim=-1) - shares >= top_p
    beyond[0] = False
    return scores.masked_fill(torch.empty_like(beyond).scatter_(0, order, beyond), float("-inf"))


def _load(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> Any:
    """The model. Where transformers would fill in missing weights with random ones, this raises."""
    with no_progress_bar():
        model, loaded = AutoModelForImageTextToText.from_pretrained(
            checkpoint.folder,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    missing = sorted([*loaded["missing_keys"], *map(str, loaded["mismatched_keys"])])
    if missing:
        raise ValueError(f"{len(missing)} weights are missing or of another shape, first {missing[0]}")
    return model.to(device).eval()
