"""What the contenders on transformers share: the model, and its answers about a batch of pictures.

The question, the size of pictures and greedy decoding are the worker's own, so that all do the same work.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from benchmarks.line import TINY
from worker.reason.engines import Sampling
from worker.reason.prompt import build_prompt

MODEL = Path(os.environ.get("PEERS_MODEL", TINY))
PROMPT = build_prompt()
SAMPLING = Sampling()


class Model:
    """A checkpoint with its processor, as the manual of transformers loads them."""

    def __init__(self) -> None:
        self._processor = AutoProcessor.from_pretrained(MODEL, padding_side="left")
        self._model = AutoModelForImageTextToText.from_pretrained(MODEL, dtype=torch.float32).eval()

    def answer(self, pictures: Sequence[Image.Image]) -> list[str]:
        """One answer for each picture, all in one batch."""
        inputs = self._processor.apply_chat_template(
            [messages(picture) for picture in pictures],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )
        with torch.inference_mode():
            drawn = self._model.generate(**inputs, max_new_tokens=SAMPLING.max_tokens, do_sample=False)
        found: list[str] = self._processor.batch_decode(
            drawn[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return found


def messages(picture: Image.Image) -> list[dict[str, Any]]:
    """The worker's question about a picture."""
    return [
        {"role": "system", "content": [{"type": "text", "text": PROMPT.system}]},
        {
            "role": "user",
            "content": [{"type": "image", "image": picture}, {"type": "text", "text": PROMPT.user}],
        },
    ]


def read(path: str | Path) -> Image.Image:
    """The picture in a file."""
    with Image.open(path) as picture:
        return picture.convert("RGB")


def files_of(folder: Path) -> list[str]:
    """The photographs of a folder."""
    return sorted(str(path) for path in folder.glob("*.jpg"))
