"""A prompt and a picture as the messages that a model's processor takes: the same in serving and in training."""

from collections.abc import Iterable
from typing import Any

from PIL import Image

from worker.reason.engines import Prompt

MAX_PIXELS = 1280 * 28 * 28
"""About a megapixel; 1280 visual tokens of a Qwen2.5-VL."""
KEPT_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
"""Part of the answer, even where a tokenizer calls them special."""


def conversation(prompt: Prompt, image: Image.Image, special_tokens: Iterable[str]) -> list[dict[str, Any]]:
    """The messages of one question: the system's where there is one, then picture and text of the user.

    Special tokens in the texts are broken up: a prompt may quote an archive's caption, and a caption may say
    `<|im_end|>`. It must stay words and not end the turn, nor stand for a picture.
    """
    tokens = sorted(special_tokens, key=len, reverse=True)
    question = {"type": "text", "text": defused(prompt.user, tokens)}
    messages = [{"role": "user", "content": [{"type": "image", "image": image}, question]}]
    if prompt.system:
        system = {"type": "text", "text": defused(prompt.system, tokens)}
        messages.insert(0, {"role": "system", "content": [system]})
    return messages


def defused(text: str, special_tokens: Iterable[str]) -> str:
    """The text with a space inside each special token. Longer tokens come first."""
    for token in special_tokens:
        text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def shrunk(image: Image.Image, max_pixels: int) -> Image.Image:
    """The picture at no more than `max_pixels`, before the processor's own limits."""
    scale = (max_pixels / (image.width * image.height)) ** 0.5
    if scale >= 1:
        return image
    size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC)
