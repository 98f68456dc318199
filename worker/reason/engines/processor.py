"""What every engine needs of a checkpoint's processor: its question, its stop tokens, and its text read back.

So all engines ask in the same words, end at the same tokens and read the same text from them.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from transformers import AutoConfig, AutoProcessor, GenerationConfig
from transformers.utils import logging as transformers_logging

from worker.reason.conversation import KEPT_TAGS, conversation
from worker.reason.engines import Completion, Prompt
from worker.reason.engines.pieces import cut


class Processor:
    """The processor of one checkpoint.

    `of_transformers` is the real one, `stop_ids` are the tokens that end an answer, `pad_id` is one that fills.
    """

    def __init__(self, folder: Path) -> None:
        """Reads the checkpoint in `folder`; no code of it is run.

        Raises `ValueError` or `OSError` where it is none, or none that takes pictures.
        """
        local = {"local_files_only": True, "trust_remote_code": False}
        with no_progress_bar():
            self.of_transformers = AutoProcessor.from_pretrained(folder, **local)
        if not hasattr(self.of_transformers, "image_processor"):
            raise ValueError("it takes no pictures")
        tokenizer = self.of_transformers.tokenizer
        self.stop_ids = _stop_ids(folder, tokenizer)
        self.pad_id: int = min(self.stop_ids) if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        self.special_tokens = sorted(special.difference(KEPT_TAGS), key=len, reverse=True)
        self._unsaid_ids = set(tokenizer.convert_tokens_to_ids(self.special_tokens)) | self.stop_ids

    def messages(self, prompt: Prompt, image: Image.Image) -> list[dict[str, Any]]:
        """The conversation that ends with the question, as `apply_chat_template` takes it."""
        return conversation(prompt, image, self.special_tokens)

    def read(self, drawn: Sequence[int], logprobs: Sequence[float], max_tokens: int) -> Completion | Exception:
        """The answer in a row of drawn tokens: cut at its stop token or its limit; what follows is padding.

        Returns, not raises, why there is none: a row must not fail its neighbours.
        """
        allowed = drawn[:max_tokens]
        stop = next((place for place, token in enumerate(allowed) if token in self.stop_ids), None)
        tokens = allowed if stop is None else allowed[: stop + 1]
        if not tokens:
            return ArithmeticError("the model drew no token")
        mean_logprob = sum(logprobs[: len(tokens)]) / len(tokens)
        if math.isnan(mean_logprob):
            return ArithmeticError("the model's scores are not numbers")
        said = [place for place, token in enumerate(tokens) if token not in self._unsaid_ids]
        text = self._decode([tokens[place] for place in said])
        pieces = cut(text, [tokens[place] for place in said], [logprobs[place] for place in said], self._decode)
        return Completion(text, "length" if stop is None else "stop", len(tokens), mean_logprob, pieces)

    def _decode(self, tokens: Sequence[int]) -> str:
        decoded = self.of_transformers.tokenizer.decode(
            tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        assert isinstance(decoded, str)
        return decoded


def _stop_ids(folder: Path, tokenizer: Any) -> set[int]:
    """Tokens that end an answer: those of the generation configuration and the tokenizer's own."""
    try:
        configured = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except OSError:  # it has none of its own
        model_config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        configured = GenerationConfig.from_model_config(model_config)
    ids = configured.eos_token_id
    listed = ids if isinstance(ids, list) else [ids]
    stops = {token for token in (*listed, tokenizer.eos_token_id) if token is not None}
    if not stops:
        raise ValueError("the checkpoint names no token that ends an answer")
    return stops


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Without the bars that transformers shows while it loads and saves."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
