"""Sentence embeddings: how alike are two texts?

Any encoder that transformers knows, by hub id or folder: the token vectors are averaged over the text and
L2-normalised (Reimers and Gurevych, Sentence-BERT, EMNLP 2019). Where a checkpoint says that it pools by its first
token (`1_Pooling/config.json` of sentence-transformers), that is done instead. Weights are read from safetensors
only, and no code of the checkpoint is run.

Axes: B batch, L tokens, D dimensions, N texts.
"""

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from trainer.curate.see.segment import load_weights, wanted_files
from worker.checkpoints import Checkpoint, cannot_load, resolve
from worker.errors import SetupError

VARIABLE = "GLOBETAG_SENTENCES"
MAX_TOKENS = 512
"""Longer texts are cut here, or where the checkpoint ends."""

_POOLING = Path("1_Pooling", "config.json")
_LOCAL = {"local_files_only": True, "trust_remote_code": False}


def load_embedder(name: str, *, device: str | None = None, max_batch: int = 64) -> "Embedder":
    """`name` is a hub id or a folder; `device` None takes the GPU when there is one.

    Raises `SetupError` with one line that says what to do.
    """
    checkpoint = resolve(name, variable=VARIABLE, wanted=_wanted)
    on = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        return Embedder(checkpoint, on, max_batch)
    except SetupError:
        raise
    except Exception as error:
        hint = f"{VARIABLE} must name a text encoder with safetensors weights and a tokenizer"
        raise cannot_load(VARIABLE, name, error, hint) from error


def _wanted(names: Collection[str]) -> Collection[str]:
    """Without the copies for other runtimes, which lie in folders of their own."""
    return [name for name in wanted_files(names) if "/" not in name or name == _POOLING.as_posix()]


class Embedder:
    """`embed` gives vectors, remembered by text; `similarity` is what `trainer.curate.verify` takes."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device, max_batch: int) -> None:
        self.checkpoint = checkpoint
        self._by_first_token = _by_first_token(checkpoint)
        self._model = load_weights(AutoModel, checkpoint.folder, unused="pooler.").to(device).eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint.folder, **_LOCAL)
        if self._tokenizer.pad_token is None:
            raise ValueError("its tokenizer has no padding token")
        self._max_tokens = _max_tokens(self._tokenizer, self._model.config)
        self._device = device
        self._max_batch = max_batch
        self._blank_D = np.zeros(self._model.config.hidden_size, dtype=np.float32)
        self._known: dict[str, NDArray[np.float32]] = {}

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """L2-normalised vectors, shape (N, D). That of a blank text has only zeros."""
        # Longest first: texts of a batch are as long as its longest, and memory runs out at once or never.
        unknown = {text for text in texts if text not in self._known}
        new = sorted(filter(str.strip, unknown), key=lambda text: (-len(text), text))
        self._known |= {text: self._blank_D for text in unknown if not text.strip()}
        for start in range(0, len(new), self._max_batch):
            batch = new[start : start + self._max_batch]
            self._known.update(zip(batch, self._encode(batch), strict=True))
        return (
            np.stack([self._known[text] for text in texts])
            if texts
            else np.zeros((0, len(self._blank_D)), np.float32)
        )

    def similarity(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Cosines in -1..1; NaN where one of two texts is blank."""
        if not pairs:
            return []
        ones_N_D = self.embed([one for one, _ in pairs])
        others_N_D = self.embed([other for _, other in pairs])
        cosines = np.clip(np.einsum("nd,nd->n", ones_N_D, others_N_D), -1.0, 1.0).tolist()
        told = [bool(one.strip() and other.strip()) for one, other in pairs]
        return [cosine if can_tell else math.nan for cosine, can_tell in zip(cosines, told, strict=True)]

    def _encode(self, texts: list[str]) -> list[NDArray[np.float32]]:
        tokens = self._tokenizer(
            texts, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            hidden_B_L_D = self._model(**tokens).last_hidden_state.float()
            mask_B_L_1 = tokens["attention_mask"].unsqueeze(-1).float()
            if self._by_first_token:
                pooled_B_D = hidden_B_L_D[:, 0]
            else:
                pooled_B_D = (hidden_B_L_D * mask_B_L_1).sum(1) / mask_B_L_1.sum(1).clamp(min=1.0)
            vectors_B_D = torch.nn.functional.normalize(pooled_B_D, dim=-1).cpu().numpy()
        if not np.isfinite(vectors_B_D).all():
            raise ArithmeticError("the sentence embeddings are not finite")
        return list(vectors_B_D)


def _by_first_token(checkpoint: Checkpoint) -> bool:
    path = checkpoint.folder / _POOLING
    if not path.is_file():
        return False
    try:
        pooling = json.loads(path.read_bytes())
        modes = {key for key, on in pooling.items() if key.startswith("pooling_mode_") and on is True}
    except (ValueError, AttributeError) as error:
        raise SetupError(f"{path} is not a JSON object; remove or repair it") from error
    if modes <= {"pooling_mode_mean_tokens"}:
        return False
    if modes == {"pooling_mode_cls_token"}:
        return True
    raise SetupError(
        f"{VARIABLE}={checkpoint.name}: pools by {', '.join(sorted(modes))}; choose mean or first token"
    )


def _max_tokens(tokenizer: Any, config: Any) -> int:
    """RoBERTa's positions begin behind its padding id, so that two of them are not to be had."""
    positions = getattr(config, "max_position_embeddings", MAX_TOKENS)
    behind = (config.pad_token_id or 0) + 1 if "roberta" in config.model_type else 0
    return max(2, min(MAX_TOKENS, int(min(tokenizer.model_max_length, MAX_TOKENS)), positions - behind))
