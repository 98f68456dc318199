"""A question in the form of OpenAI's API: conversation, picture, and how to draw.

Servers take more or less beyond OpenAI's own fields. What they are asked in is called a dialect here; which one a
server takes is found out by asking (`served`).
"""

import base64
import io
from dataclasses import dataclass, field
from typing import Any, Literal

from PIL import Image

from worker.reason.conversation import shrunk
from worker.reason.engines import Prompt, Sampling
from worker.reason.engines.choices import SPECIAL_TOKEN

_MOST_WEBP_PX = 16_383
"""Of a side (WebP container specification, VP8L header: 14 bits)."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a request has beside the fields that every server knows."""

    name: str
    picture: Literal["webp", "png"]
    extras: dict[str, Any] = field(default_factory=dict)


DIALECTS = (
    # `Sampling` says all that there is to say about how an answer is drawn, whatever the server's defaults are.
    # Tags such as <think> are special tokens to some tokenizers, and must not be left out.
    Dialect(
        "extended",
        "webp",
        {
            "logprobs": True,
            "skip_special_tokens": False,
            "spaces_between_special_tokens": False,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        },
    ),
    Dialect("standard", "png", {"logprobs": True}),
    Dialect("plain", "png"),
)
"""The first that the server takes is spoken: vLLM's and SGLang's, OpenAI's own, one without log-probabilities."""


def messages(prompt: Prompt, image: Image.Image | None, dialect: Dialect, max_pixels: int) -> list[dict[str, Any]]:
    """The conversation of `worker.reason.conversation` in the API's form: the picture comes before the text.

    Special tokens in the texts are broken up as there; which they are is known by their form alone.
    """
    content: list[dict[str, Any]] = [{"type": "text", "text": _defused(prompt.user)}]
    if image is not None:
        url = data_url(shrunk(image, max_pixels), dialect.picture)
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    asked: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if prompt.system:
        asked.insert(0, {"role": "system", "content": _defused(prompt.system)})
    return asked


def request(
    model: str, asked: list[dict[str, Any]], sampling: Sampling, dialect: Dialect, n: int = 1
) -> dict[str, Any]:
    """The body of a request for `n` answers."""
    return {
        "model": model,
        "messages": asked,
        "n": n,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        **dialect.extras,
    }


def data_url(image: Image.Image, form: Literal["webp", "png"]) -> str:
    """The picture without loss. Lossless WebP is smaller than PNG and written in a fraction of the time."""
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    if max(rgb.size) > _MOST_WEBP_PX:
        form = "png"
    written = io.BytesIO()
    if form == "webp":
        rgb.save(written, "WEBP", lossless=True, quality=0, method=0)
    else:
        rgb.save(written, "PNG", compress_level=1)
    return f"data:image/{form};base64,{base64.b64encode(written.getvalue()).decode('ascii')}"


def _defused(text: str) -> str:
    return SPECIAL_TOKEN.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)
