"""P(yes) of a reward model, asked of its weights directly: the same tokens and pixels as from a server.

Serving a judge is a server's work (`vllm serve FOLDER`). This is for what must be known before it is served: how
good it is on held-out places, and its calibration.
"""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from PIL.Image import Image

from trainer.merge import load_model, load_processor
from trainer.rewards.endpoint import Token, p_yes
from trainer.sft.collator import Collator
from worker.reason.conversation import MAX_PIXELS
from worker.reason.engines import Prompt

TOP = 20
"""As many alternatives as `trainer.rewards.endpoint.Endpoint` asks for."""


class Judge:
    """A reward model in this process. `batch` questions are put at once, pictures above `max_pixels` shrunk.

    `dtype` is a name such as "float32"; by default bfloat16 on a GPU.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: str | None = None,
        batch: int = 16,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Raises `SetupError` where the folder holds no such model."""
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._collator = Collator(load_processor(folder), (), max_pixels)
        name = dtype or ("bfloat16" if self._device.type == "cuda" else "float32")
        self._model: Any = load_model(folder, getattr(torch, name)).to(self._device).eval()
        self._batch = batch

    def __enter__(self) -> "Judge":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def p_yes(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[float | None]:
        """As the endpoint reads it: None where neither yes nor no is among the likeliest first tokens."""
        return [p_yes(tokens) for tokens in self.first_tokens(prompts, images)]

    def first_tokens(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[list[Token]]:
        """For each question the likeliest first tokens of the answer with their log-probabilities, in order."""
        found: list[list[Token]] = []
        for start in range(0, len(prompts), self._batch):
            rows = slice(start, start + self._batch)
            found += self._first(prompts[rows], images[rows])
        return found

    def _first(self, prompts: Sequence[Prompt], images: Sequence[Image]) -> list[list[Token]]:
        inputs = {
            name: value.to(self._device, self._model.dtype if value.is_floating_point() else None)
            for name, value in self._collator.ask(prompts, images).items()
        }
        last_N = inputs["attention_mask"].sum(dim=1) - 1  # rows are padded on the right
        kept, column_N = torch.unique(last_N, return_inverse=True)
        with torch.inference_mode():
            logits = self._model(**inputs, use_cache=False, logits_to_keep=kept).logits
        logprobs_N_V = logits[torch.arange(len(prompts)), column_N].float().log_softmax(dim=-1)
        value_N_K, token_N_K = logprobs_N_V.topk(TOP, dim=-1)
        decode = self._collator.processor.tokenizer.decode
        return [
            [(decode([token]), value) for token, value in zip(tokens, values, strict=True)]
            for tokens, values in zip(token_N_K.tolist(), value_N_K.tolist(), strict=True)
        ]
