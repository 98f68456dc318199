"""Asks a model server that speaks OpenAI's API: vLLM, SGLang and others. The model is there; here is none.

One server with a GPU feeds many light workers. Each of a worker's threads brings one photograph and waits for its
answer; the server batches what all of them bring. The picture is shrunk here, as the other engines do, and sent
without loss, so that a server with the same weights gives the same answers.

`served` meets the server at the start, `chat` puts the question, `model_server` calls and says what becomes of a
photograph when one goes wrong, `choices` reads the answers.
"""

import logging
from dataclasses import replace
from typing import Any

import httpx
from PIL import Image

from worker.batcher import BatcherClosed
from worker.errors import SetupError
from worker.identity import ModelIdentity
from worker.reason.conversation import MAX_PIXELS
from worker.reason.engines import Completion, Prompt, Sampling
from worker.reason.engines.chat import DIALECTS, Dialect, messages, request
from worker.reason.engines.choices import Odd, read_choices
from worker.reason.engines.model_server import ModelServer
from worker.reason.engines.served import SERVER, Served, find_dialect, find_served

log = logging.getLogger(__name__)

_BASE_BYTES = 1 << 20
_TOKEN_BYTES = 1 << 10
"""Of an answer's JSON for each token: its text, its bytes and its log-probability take a fifth of that."""


def load_engine(
    model: str,
    *,
    server: str,
    key: str | None = None,
    timeout_s: float = 300.0,
    max_calls: int = 32,
    max_pixels: int = MAX_PIXELS,
) -> "OpenaiEngine":
    """Returns a ready `worker.reason.engines.Engine` that has answered once.

    `model` is the name under which the server serves it, `server` the address that ends before
    `/chat/completions`. At most `max_calls` requests run at once. Raises `SetupError` with one line that says what
    to do.
    """
    try:
        calls = ModelServer(server, key, timeout_s=timeout_s, most_calls=max_calls)
    except (httpx.InvalidURL, ValueError) as error:
        raise SetupError(f"{SERVER} must look like http://model:8000/v1 ({type(error).__name__})") from error
    try:
        served = find_served(calls, model, has_key=key is not None)
        dialect = find_dialect(calls, model, max_pixels, has_key=key is not None)
        log.info("%s serves %s; it is spoken to in the dialect %s", server, model, dialect.name)
        return OpenaiEngine(calls, served, dialect, max_pixels=max_pixels)
    except BaseException:
        calls.close()
        raise


class OpenaiEngine:
    """See `worker.reason.engines.Engine`."""

    def __init__(self, calls: ModelServer, served: Served, dialect: Dialect, *, max_pixels: int) -> None:
        self._calls = calls
        self._model = served.name
        self._dialect = dialect
        self._max_pixels = max_pixels
        # vLLM draws sample i of a request with seed + i, as is wanted here; what others do is laid down nowhere.
        self._draws_together = served.owner == "vllm" and dialect is DIALECTS[0]
        self._closed = False
        self.identity = ModelIdentity(
            kind="lvlm",
            name=served.name,
            version=served.version,
            loaded_as=f"model server ({served.server_version}), {dialect.name}, up to {max_pixels} px",
        )

    def generate(self, prompt: Prompt, image: Image.Image, sampling: Sampling, n: int = 1) -> list[Completion]:
        """Sample i is drawn with seed `sampling.seed + i`; greedy samples are all the same one."""
        if self._closed:
            raise BatcherClosed("the engine is closed")
        distinct = 1 if sampling.temperature == 0 else n
        together = distinct if self._draws_together else 1
        asked = messages(prompt, image, self._dialect, self._max_pixels)
        found: list[Completion] = []
        for first in range(0, distinct, together):
            found += self._ask(asked, replace(sampling, seed=sampling.seed + first), together)
        return found if distinct == n else found * n

    def close(self) -> None:
        self._closed = True
        self._calls.close()

    def _ask(self, asked: list[dict[str, Any]], sampling: Sampling, n: int) -> list[Completion]:
        body = request(self._model, asked, sampling, self._dialect, n)
        data = self._calls.chat(body, most_bytes=_BASE_BYTES + _TOKEN_BYTES * n * sampling.max_tokens)
        try:
            return read_choices(data, n=n, max_tokens=sampling.max_tokens)
        except Odd as odd:
            raise self._calls.nonsense(str(odd)) from odd
